//! The store's content: a persistent tree of nodes. A copy is a snapshot, and costs nothing.
//!
//! The root of roots has as children the node `/` (by an empty name) and the special nodes (`@releaseDomain`, …).

use std::sync::Arc;

use crate::event::{DOMAIN_0, DomainId};
use crate::map::{Map, Work};
use crate::path;
use crate::permissions::Permissions;

/// What a node costs besides its contents, as in Xen's records.
const NODE_OVERHEAD: u64 = 16;
/// What an entry of its permissions costs.
const PERMISSION_SIZE: u64 = 8;

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The value.
    pub(crate) data: Arc<[u8]>,
    /// Who may use it.
    pub(crate) permissions: Arc<Permissions>,
    /// By name.
    pub(crate) children: Map<Arc<str>, Arc<Node>>,
    /// Bytes of the children's names, each with a NUL.
    pub(crate) child_bytes: u32,
    /// When value or permissions were written last.
    pub(crate) content_generation: u64,
    /// When a child came or went last (or the node itself came).
    pub(crate) children_generation: u64,
    /// Who changed it last.
    pub(crate) writer: DomainId,
}

impl Node {
    /// A node without children.
    pub(crate) fn new(
        data: Arc<[u8]>,
        permissions: Arc<Permissions>,
        generation: u64,
        writer: DomainId,
    ) -> Arc<Self> {
        Arc::new(Node {
            data,
            permissions,
            children: Map::default(),
            child_bytes: 0,
            content_generation: generation,
            children_generation: generation,
            writer,
        })
    }

    /// Who owns it.
    pub(crate) fn owner(&self) -> DomainId {
        self.permissions.owner()
    }

    /// What counts against the quota of node sizes.
    pub(crate) fn size(&self) -> u64 {
        size(
            self.permissions.entries.len(),
            self.data.len(),
            self.child_bytes,
        )
    }

    /// What counts against its owner's memory.
    pub(crate) fn memory(&self, path_length: usize) -> u64 {
        self.size() + path_length as u64
    }

    /// The newest of its generations.
    pub(crate) fn generation(&self) -> u64 {
        self.content_generation.max(self.children_generation)
    }
}

/// What counts against the quota of node sizes.
pub(crate) fn size(permissions: usize, data: usize, child_bytes: u32) -> u64 {
    NODE_OVERHEAD + PERMISSION_SIZE * permissions as u64 + data as u64 + u64::from(child_bytes)
}

/// What a new child adds to its parent's `child_bytes`.
pub(crate) fn name_bytes(name: &str) -> u32 {
    u32::try_from(name.len() + 1).unwrap_or(u32::MAX)
}

/// A version of the whole store.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    top: Arc<Node>,
}

impl Tree {
    /// Only `/`, the special nodes, and `/tool/xenstored`: all of them domain 0's.
    pub(crate) fn new(work: &Work) -> Self {
        let node = || Node::new(Arc::default(), Permissions::private(), 0, DOMAIN_0);
        let mut tree = Tree { top: node() };
        for name in ["", "@introduceDomain", "@releaseDomain"] {
            if let Some(top) = Arc::get_mut(&mut tree.top) {
                top.children.insert(name.into(), node(), work);
            }
        }
        for path in ["/tool", "/tool/xenstored"] {
            tree.insert(path, node(), 0, DOMAIN_0, work);
        }
        tree
    }

    /// Nothing at all, not even `/`: to be filled from a snapshot.
    pub(crate) fn empty() -> Self {
        Tree {
            top: Node::new(Arc::default(), Permissions::private(), 0, DOMAIN_0),
        }
    }

    /// The node at a canonical path.
    pub(crate) fn get(&self, path: &str, work: &Work) -> Option<&Arc<Node>> {
        let mut node = &self.top;
        for name in path::names(path) {
            node = node.children.get(name, work)?;
        }
        Some(node)
    }

    /// The node at a path that is there, to change it: what is shared on the way to it is copied.
    pub(crate) fn get_mut(&mut self, path: &str, work: &Work) -> Option<&mut Node> {
        self.get(path, work)?;
        self.existing(path, work)
    }

    /// The same without asking first whether it is there: if it is not, copies are made in vain.
    pub(crate) fn existing(&mut self, path: &str, work: &Work) -> Option<&mut Node> {
        let mut node = Arc::make_mut(&mut self.top);
        for name in path::names(path) {
            node = Arc::make_mut(node.children.get_mut(name, work)?);
        }
        Some(node)
    }

    /// The nearest node at or above a path, with its path. Each level is looked at once, however many are missing.
    pub(crate) fn nearest<'a>(&self, path: &'a str, work: &Work) -> (&'a str, &Arc<Node>) {
        let mut found = None;
        let mut end = 0;
        for name in path::names(path) {
            let above = found.map_or(&self.top, |(_, node)| node);
            let Some(node) = above.children.get(name, work) else {
                break;
            };
            end += name.len() + usize::from(found.is_some());
            found = Some((path.get(..end.max(1)).unwrap_or("/"), node));
        }
        // Above a special name that there is not is `/`; a tree without that is one that is still being restored.
        found.unwrap_or_else(|| ("/", self.get("/", work).unwrap_or(&self.top)))
    }

    /// Puts a node in at a path whose parent is there: answers the parent's owner. Replaces the node that was there, with
    /// all its children.
    pub(crate) fn insert(
        &mut self,
        path: &str,
        node: Arc<Node>,
        generation: u64,
        writer: DomainId,
        work: &Work,
    ) -> Option<DomainId> {
        if path == "/" || path.starts_with('@') {
            let name = if path == "/" { "" } else { path };
            let top = Arc::make_mut(&mut self.top);
            top.children.insert(name.into(), node, work);
            return Some(DOMAIN_0);
        }
        let name = path::last_name(path);
        let parent = self.existing(path::parent(path), work)?;
        if parent.children.insert(name.into(), node, work).is_none() {
            parent.child_bytes = parent.child_bytes.saturating_add(name_bytes(name));
            parent.children_generation = generation;
            parent.writer = writer;
        }
        Some(parent.owner())
    }

    /// Puts a chain of new nodes in, each below the one before, the first below a node that is there: answers that one's
    /// owner. The nodes have no children yet.
    pub(crate) fn insert_chain(
        &mut self,
        chain: Vec<(&str, Arc<Node>)>,
        writer: DomainId,
        work: &Work,
    ) -> Option<DomainId> {
        let mut below: Option<(&str, Arc<Node>)> = None;
        for (path, mut node) in chain.into_iter().rev() {
            if let Some((path, child)) = below {
                let name = path::last_name(path);
                let node = Arc::make_mut(&mut node);
                node.child_bytes = name_bytes(name);
                node.children_generation = child.content_generation;
                node.children.insert(name.into(), child, work);
            }
            below = Some((path, node));
        }
        let (path, node) = below?;
        let generation = node.content_generation;
        self.insert(path, node, generation, writer, work)
    }

    /// Takes a node out, with all below it. Not `/`, nor special nodes.
    pub(crate) fn remove(
        &mut self,
        path: &str,
        generation: u64,
        writer: DomainId,
        work: &Work,
    ) -> Option<Arc<Node>> {
        if path == "/" || path.starts_with('@') {
            return None;
        }
        let name = path::last_name(path);
        self.get(path, work)?;
        let parent = self.existing(path::parent(path), work)?;
        let removed = parent.children.remove(name, work)?;
        parent.child_bytes = parent.child_bytes.saturating_sub(name_bytes(name));
        parent.children_generation = generation;
        parent.writer = writer;
        Some(removed)
    }

    /// `/` and the special nodes, by path.
    pub(crate) fn roots(&self) -> impl Iterator<Item = (&str, &Arc<Node>)> {
        self.top
            .children
            .iter()
            .map(|(name, node)| (if name.is_empty() { "/" } else { name }, node))
    }

    /// Calls `visit` for every node, parents first.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(&str, &Node)) {
        for (path, node) in self.roots() {
            walk(path, node, visit);
        }
    }
}

/// Looks up paths one after the other: what a path shares with the one before is not walked again.
pub(crate) struct Cursor<'a> {
    tree: &'a Tree,
    path: String,
    /// The nodes on the way to `path`, each with the end of its own.
    nodes: Vec<(usize, &'a Arc<Node>)>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tree: &'a Tree) -> Self {
        Cursor {
            tree,
            path: String::new(),
            nodes: Vec::new(),
        }
    }

    /// The node at a canonical path.
    pub(crate) fn get(&mut self, path: &str, work: &Work) -> Option<&'a Arc<Node>> {
        if path == "/" || path.starts_with('@') {
            return self.tree.get(path, work);
        }
        // A name ends with the path, or where a slash follows.
        let is_on_way = |end: usize, own: &str| {
            let rest = path.strip_prefix(own.get(..end).unwrap_or(own));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // Of two paths in order, few of the levels of the first are not on the way to the second.
        while let Some((end, _)) = self.nodes.last()
            && !is_on_way(*end, &self.path)
        {
            self.nodes.pop();
        }
        let (mut end, mut node) = match self.nodes.last() {
            Some((end, node)) => (*end, *node),
            None => (0, self.tree.get("/", work)?),
        };
        self.path.truncate(end);
        self.path.push_str(path.get(end..)?);
        for name in path.get(end..)?.split('/').skip(1) {
            node = node.children.get(name, work)?;
            end += 1 + name.len();
            self.nodes.push((end, node));
        }
        Some(node)
    }
}

/// Calls `visit` for a node and all below it, parents first.
pub(crate) fn walk(path: &str, node: &Arc<Node>, visit: &mut dyn FnMut(&str, &Node)) {
    // Not recursive: a path may have 1,500 levels.
    let mut pending = vec![(path.to_string(), node)];
    while let Some((path, node)) = pending.pop() {
        visit(&path, node);
        let first = pending.len();
        for (name, child) in node.children.iter() {
            pending.push((path::child(&path, name), child));
        }
        pending[first..].reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_do_not_change() {
        let work = Work::default();
        let node = || Node::new(Arc::default(), Permissions::private(), 1, 0);
        let mut tree = Tree::new(&work);
        assert!(tree.insert("/a", node(), 1, 0, &work).is_some());
        assert!(tree.insert("/a/b", node(), 1, 0, &work).is_some());
        assert!(tree.insert("/x/y", node(), 1, 0, &work).is_none());
        let before = tree.clone();
        if let Some(node) = tree.get_mut("/a/b", &work) {
            node.data = b"new"[..].into();
        }
        assert!(tree.remove("/a/b", 2, 0, &work).is_some());
        assert!(tree.get("/a/b", &work).is_none());
        assert_eq!(
            before.get("/a/b", &work).map(|node| node.data.len()),
            Some(0)
        );
        assert_eq!(tree.get("/a", &work).map(|node| node.child_bytes), Some(0));
        assert_eq!(
            before.get("/a", &work).map(|node| node.child_bytes),
            Some(2)
        );
        let nearest = |path| before.nearest(path, &work).0;
        assert_eq!(tree.nearest("/a/b/c", &work).0, "/a");
        assert_eq!((nearest("/a/b/c"), nearest("/a/b")), ("/a/b", "/a/b"));
        assert_eq!((nearest("/b/c"), nearest("/")), ("/", "/"));
        assert_eq!(nearest("@releaseDomain/3"), "@releaseDomain");
        assert_eq!(nearest("@nothing"), "/");
        let mut paths = Vec::new();
        before.walk(&mut |path, _| paths.push(path.to_string()));
        let expected = [
            "/",
            "/a",
            "/a/b",
            "/tool",
            "/tool/xenstored",
            "@introduceDomain",
            "@releaseDomain",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn a_cursor_finds_what_get_finds() {
        let work = Work::default();
        let node = || Node::new(Arc::default(), Permissions::private(), 1, 0);
        let mut tree = Tree::new(&work);
        for path in ["/a", "/a/b", "/a/b/c", "/a-b", "/ab", "/ab/c"] {
            assert!(tree.insert(path, node(), 1, 0, &work).is_some());
        }
        let chain = vec![("/ab/c/d", node()), ("/ab/c/d/e", node())];
        assert_eq!(tree.insert_chain(chain, 0, &work), Some(0));
        assert_eq!(tree.get("/ab/c/d", &work).unwrap().child_bytes, 2);
        let paths = [
            "/",
            "/a",
            "/a/b",
            "/a/b/c",
            "/a/b/c/x",
            "/a/b/c/x/y",
            "/a/b/d",
            "/a/x/y",
            "/a-b",
            "/ab",
            "/ab/c",
            "/ab/c/d/e",
            "/ab/c/d/f",
            "@releaseDomain",
            "/tool",
            "/x/y/z",
            "/x/y",
        ];
        // In any order.
        let mut cursor = Cursor::new(&tree);
        for first in paths {
            for second in paths {
                for path in [first, second] {
                    let found = cursor.get(path, &work).map(Arc::as_ptr);
                    assert_eq!(found, tree.get(path, &work).map(Arc::as_ptr), "{path}");
                }
            }
        }
    }
}
