//! All watches, by path: those that a change concerns are found on the way to its path, however many others there are.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;
use std::ops::Bound;
use std::sync::Arc;

use crate::event::ConnectionId;
use crate::map::Work;
use crate::path;

/// A watch's number; later ones have higher numbers.
pub(crate) type WatchId = u64;

/// A watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    /// Whose.
    pub(crate) connection: ConnectionId,
    /// Canonical path, or special name.
    pub(crate) path: String,
    /// Any bytes.
    pub(crate) token: Vec<u8>,
    /// Given as a relative path: events name relative paths, too.
    pub(crate) relative: bool,
    /// Levels below `path` that it is about; all if `None`.
    pub(crate) depth: Option<u32>,
}

type Hasher = BuildHasherDefault<DefaultHasher>;

/// The watches of all connections.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_path: HashMap<Arc<str>, Vec<(ConnectionId, WatchId)>, Hasher>,
    /// The same paths in order, for those below another.
    paths: BTreeSet<Arc<str>>,
    /// How many of the paths have this length: so that a change on a path with many levels looks up few.
    lengths: BTreeMap<usize, usize>,
    all: BTreeMap<WatchId, Watch>,
    next: WatchId,
}

impl Watches {
    /// Adds a watch.
    pub(crate) fn add(&mut self, watch: Watch) -> WatchId {
        let id = self.next;
        self.next += 1;
        let on_path = match self.by_path.get_mut(watch.path.as_str()) {
            Some(on_path) => on_path,
            None => {
                let path: Arc<str> = watch.path.as_str().into();
                *self.lengths.entry(path.len()).or_default() += 1;
                self.paths.insert(path.clone());
                self.by_path.entry(path).or_default()
            }
        };
        on_path.push((watch.connection, id));
        self.all.insert(id, watch);
        id
    }

    /// Removes a watch.
    pub(crate) fn remove(&mut self, id: WatchId) -> Option<Watch> {
        let watch = self.all.remove(&id)?;
        let path = watch.path.as_str();
        if let Some(on_path) = self.by_path.get_mut(path) {
            on_path.retain(|(_, other)| *other != id);
            if on_path.is_empty() {
                self.by_path.remove(path);
                self.paths.remove(path);
                if let Some(count) = self.lengths.get_mut(&path.len()) {
                    *count -= 1;
                    if *count == 0 {
                        self.lengths.remove(&path.len());
                    }
                }
            }
        }
        Some(watch)
    }

    /// The watch of a number.
    pub(crate) fn get(&self, id: WatchId) -> Option<&Watch> {
        self.all.get(&id)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Watches that a change at `path` concerns: on the path itself and above. Sorted by connection, then age.
    pub(crate) fn matching(&self, path: &str, work: &Work) -> Vec<(ConnectionId, WatchId)> {
        let mut found = Vec::new();
        let mut above = path;
        let mut levels = 0;
        loop {
            work.add(1);
            if self.lengths.contains_key(&above.len()) {
                for (connection, id) in self.by_path.get(above).into_iter().flatten() {
                    work.add(1);
                    let near = |watch: &Watch| watch.depth.is_none_or(|depth| levels <= depth);
                    if self.all.get(id).is_some_and(near) {
                        found.push((*connection, *id));
                    }
                }
            }
            if above == "/" || (above.starts_with('@') && !above.contains('/')) {
                break;
            }
            above = path::parent(above);
            levels += 1;
        }
        found.sort_unstable();
        found
    }

    /// Watches on exactly this path. Sorted by connection, then age.
    pub(crate) fn exactly(&self, path: &str, work: &Work) -> Vec<(ConnectionId, WatchId)> {
        let mut found = self.by_path.get(path).cloned().unwrap_or_default();
        work.add(1 + found.len() as u64);
        found.sort_unstable();
        found
    }

    /// Paths below `path` that have watches, children before parents.
    pub(crate) fn below(&self, path: &str, work: &Work) -> Vec<Arc<str>> {
        let start = path::child(path, "");
        let below = self
            .paths
            .range::<str, _>((Bound::Excluded(start.as_str()), Bound::Unbounded))
            .take_while(|below| below.starts_with(&start));
        let mut found: Vec<_> = below.cloned().collect();
        work.add(1 + found.len() as u64);
        found.reverse();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: ConnectionId = ConnectionId::Domain(1);

    fn watch(path: &str, depth: Option<u32>) -> Watch {
        Watch {
            connection: DOMAIN,
            path: path.into(),
            token: Vec::new(),
            relative: false,
            depth,
        }
    }

    #[test]
    fn found_and_pruned() {
        let work = Work::default();
        let mut watches = Watches::default();
        let paths = [
            "/",
            "/a",
            "/a/b",
            "/a/b",
            "/a/b/c/d",
            "/ab",
            "@releaseDomain",
        ];
        let ids: Vec<_> = paths
            .iter()
            .map(|path| watches.add(watch(path, None)))
            .collect();
        let found = |watches: &Watches, path: &str| -> Vec<WatchId> {
            watches
                .matching(path, &work)
                .into_iter()
                .map(|(_, id)| id)
                .collect()
        };
        assert_eq!(found(&watches, "/a/b"), [0, 1, 2, 3]);
        assert_eq!(found(&watches, "/a/b/c"), [0, 1, 2, 3]);
        assert_eq!(found(&watches, "/abc"), [0]);
        assert_eq!(found(&watches, "@releaseDomain"), [6]);
        let below: Vec<_> = watches.below("/a", &work);
        assert_eq!(
            below.iter().map(|path| &**path).collect::<Vec<_>>(),
            ["/a/b/c/d", "/a/b"]
        );
        assert_eq!(watches.below("/", &work).len(), 4);
        assert_eq!(watches.exactly("/a/b", &work).len(), 2);
        for id in ids {
            assert!(watches.remove(id).is_some());
            assert!(watches.remove(id).is_none());
            assert!(!found(&watches, "/a/b/c/d").contains(&id));
        }
        assert!(watches.by_path.is_empty() && watches.paths.is_empty());
        assert!(watches.lengths.is_empty() && watches.len() == 0);
    }

    #[test]
    fn depth_limits() {
        let work = Work::default();
        let mut watches = Watches::default();
        watches.add(watch("/a", Some(0)));
        watches.add(watch("/a", Some(1)));
        watches.add(watch("/", Some(1)));
        let count = |path: &str| watches.matching(path, &work).len();
        assert_eq!(
            (count("/"), count("/a"), count("/a/b"), count("/a/b/c")),
            (1, 3, 1, 0)
        );
    }
}
