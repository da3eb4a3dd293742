//! The naive store: a map of all paths, copied whole for each transaction. And a checker that runs it beside the real one.

use std::collections::{BTreeMap, BTreeSet};

use xenstore_core::wire::Operation;
use xenstore_core::{Config, ConnectionId, Error, Quota};

use super::{Reply, SOCKET, World, domain};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    data: Vec<u8>,
    /// Domain and letter; the first is the owner's.
    perms: Vec<(u16, char)>,
}

pub(crate) type Tree = BTreeMap<String, Node>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Read(String),
    Write(String, Vec<u8>),
    Mkdir(String),
    Rm(String),
    Dir(String),
    GetPerms(String),
    SetPerms(String, Vec<(u16, char)>),
}

impl Op {
    pub(crate) fn path(&self) -> &str {
        match self {
            Op::Read(path)
            | Op::Write(path, _)
            | Op::Mkdir(path)
            | Op::Rm(path)
            | Op::Dir(path)
            | Op::GetPerms(path)
            | Op::SetPerms(path, _) => path,
        }
    }
}

/// A change, and whether only watches on exactly this path hear of it.
type Touched = Vec<(String, bool)>;

fn parent(path: &str) -> String {
    match path.rfind('/') {
        Some(0) | None => "/".into(),
        Some(slash) => path[..slash].into(),
    }
}

fn is_below(path: &str, above: &str) -> bool {
    above == "/"
        || path
            .strip_prefix(above)
            .is_some_and(|rest| rest.starts_with('/'))
}

fn allowed(node: &Node, who: u16, letter: char) -> bool {
    let owner = node.perms[0].0;
    if who == 0 || who == owner {
        return true;
    }
    let granted = node.perms[1..]
        .iter()
        .find(|(domain, _)| *domain == who)
        .unwrap_or(&node.perms[0])
        .1;
    letter != 'o' && (granted == letter || granted == 'b')
}

fn children<'a>(tree: &'a Tree, path: &'a str) -> impl Iterator<Item = &'a str> {
    tree.keys()
        .filter(move |key| *key != "/" && parent(key) == path)
        .map(|key| key.rsplit('/').next().unwrap_or_default())
}

pub(crate) fn owned(tree: &Tree, who: u16) -> i64 {
    tree.values().filter(|node| node.perms[0].0 == who).count() as i64
}

/// What `who` gets for `op`, and what it changes. `room` is how many nodes more it may own.
pub(crate) fn apply(tree: &mut Tree, who: u16, op: &Op, room: i64) -> (Reply, Touched) {
    let fail = |error| (Err(error), Vec::new());
    let ok = |touched| (Ok(b"OK\0".to_vec()), touched);
    let path = op.path().to_string();
    let letter = match op {
        Op::Read(_) | Op::Dir(_) | Op::GetPerms(_) => 'r',
        Op::Write(..) | Op::Mkdir(_) | Op::Rm(_) => 'w',
        Op::SetPerms(..) => 'o',
    };
    let mut nearest = path.clone();
    while !tree.contains_key(&nearest) {
        nearest = parent(&nearest);
    }
    if !allowed(&tree[&nearest], who, letter) {
        return fail(Error::Eacces);
    }
    let there = nearest == path;
    match op {
        Op::Read(_) | Op::Dir(_) | Op::GetPerms(_) | Op::SetPerms(..) if !there => {
            fail(Error::Enoent)
        }
        Op::Read(_) => (Ok(tree[&path].data.clone()), Vec::new()),
        Op::Dir(_) => {
            let mut list = Vec::new();
            for name in children(tree, &path) {
                list.extend_from_slice(name.as_bytes());
                list.push(0);
            }
            (Ok(list), Vec::new())
        }
        Op::GetPerms(_) => {
            let text: String = tree[&path]
                .perms
                .iter()
                .map(|(domain, letter)| format!("{letter}{domain}\0"))
                .collect();
            (Ok(text.into_bytes()), Vec::new())
        }
        Op::SetPerms(_, perms) => {
            let node = tree.get_mut(&path).expect("it is there");
            if who != 0 && perms[0].0 != node.perms[0].0 {
                return fail(Error::Eperm);
            }
            node.perms.clone_from(perms);
            ok(vec![(path, false)])
        }
        Op::Mkdir(_) if there => ok(Vec::new()),
        Op::Write(_, data) if there => {
            tree.get_mut(&path)
                .expect("it is there")
                .data
                .clone_from(data);
            ok(vec![(path, false)])
        }
        Op::Write(..) | Op::Mkdir(_) => {
            let mut missing = Vec::new();
            let mut next = path.clone();
            while next != nearest {
                missing.push(next.clone());
                next = parent(&next);
            }
            let mut perms = tree[&nearest].perms.clone();
            if who != 0 {
                perms[0].0 = who;
                if missing.len() as i64 > room {
                    return fail(Error::Enospc);
                }
            }
            for new in missing {
                let data = match op {
                    Op::Write(_, data) if new == path => data.clone(),
                    _ => Vec::new(),
                };
                let perms = perms.clone();
                tree.insert(new, Node { data, perms });
            }
            ok(vec![(path, false)])
        }
        Op::Rm(_) if path == "/" => fail(Error::Einval),
        Op::Rm(_) if !there => {
            if nearest == parent(&path) {
                ok(Vec::new())
            } else {
                fail(Error::Enoent)
            }
        }
        Op::Rm(_) => {
            let gone: Vec<String> = tree
                .keys()
                .filter(|key| is_below(key, &path))
                .cloned()
                .collect();
            let mut touched: Touched = gone.into_iter().map(|key| (key, true)).collect();
            touched.push((path, false));
            for (key, _) in &touched {
                tree.remove(key);
            }
            ok(touched)
        }
    }
}

struct Transaction {
    copy: Tree,
    start: Tree,
    /// How many commits there were.
    since: usize,
    ops: Vec<(Op, Reply)>,
    touched: Touched,
}

/// The real store and the naive one, side by side.
pub(crate) struct Checker {
    pub(crate) world: World,
    tree: Tree,
    transactions: BTreeMap<(ConnectionId, u32), Transaction>,
    watches: Vec<(ConnectionId, String, String)>,
    commits: Vec<BTreeSet<String>>,
    quota: i64,
    pub(crate) conflicts: usize,
    pub(crate) committed: usize,
}

fn who(id: ConnectionId) -> u16 {
    match id {
        ConnectionId::Domain(domain) => domain,
        ConnectionId::Socket(_) => 0,
    }
}

impl Checker {
    pub(crate) fn new(quota: u32) -> Self {
        let mut config = Config::default();
        config.hard.set(Quota::Nodes, quota);
        let mut checker = Checker {
            world: World::new(config, &[1, 2]),
            tree: Tree::new(),
            transactions: BTreeMap::new(),
            watches: Vec::new(),
            commits: Vec::new(),
            quota: i64::from(quota),
            conflicts: 0,
            committed: 0,
        };
        for path in ["/", "/tool", "/tool/xenstored"] {
            let (data, perms) = (Vec::new(), vec![(0, 'n')]);
            checker.tree.insert(path.into(), Node { data, perms });
        }
        for (path, perms) in [
            ("/t", vec![(0, 'b')]),
            ("/local/domain/1", vec![(1, 'n')]),
            ("/local/domain/2", vec![(2, 'n'), (1, 'r')]),
        ] {
            checker.run(SOCKET, 0, &Op::Mkdir(path.into()));
            checker.run(SOCKET, 0, &Op::SetPerms(path.into(), perms));
        }
        checker
    }

    pub(crate) fn watch(&mut self, id: ConnectionId, path: &str, token: &str) {
        let reply = self.world.ask(id, Operation::Watch, 0, &[path, token]);
        let watch = (id, path.to_string(), token.to_string());
        if self.watches.contains(&watch) {
            assert_eq!(reply, Err(Error::Eexist));
        } else {
            assert_eq!(reply, Ok(b"OK\0".to_vec()));
            assert_eq!(
                self.world.events(id),
                [(path.to_string(), token.to_string())]
            );
            self.watches.push(watch);
        }
    }

    pub(crate) fn begin(&mut self, id: ConnectionId) -> u32 {
        let number = self.world.begin(id);
        let transaction = Transaction {
            copy: self.tree.clone(),
            start: self.tree.clone(),
            since: self.commits.len(),
            ops: Vec::new(),
            touched: Vec::new(),
        };
        self.transactions.insert((id, number), transaction);
        number
    }

    /// Runs an operation in both, and compares.
    pub(crate) fn run(&mut self, id: ConnectionId, number: u32, op: &Op) {
        let who = who(id);
        let found = self.real(id, number, op);
        let used = owned(&self.tree, who);
        if number != 0 {
            let transaction = self
                .transactions
                .get_mut(&(id, number))
                .expect("it is open");
            let delta = owned(&transaction.copy, who) - owned(&transaction.start, who);
            let room = self.quota - used - delta;
            let (expected, touched) = apply(&mut transaction.copy, who, op, room);
            assert_eq!(found, expected, "{id:?} in {number}: {op:?}");
            transaction.ops.push((op.clone(), expected));
            transaction.touched.extend(touched);
            self.expect_events(&[], &Tree::new());
            return;
        }
        let before = self.tree.clone();
        let (expected, touched) = apply(&mut self.tree, who, op, self.quota - used);
        assert_eq!(found, expected, "{id:?}: {op:?}");
        self.commits.push(changed(&before, &self.tree, &touched));
        self.expect_events(&touched, &before);
    }

    fn real(&mut self, id: ConnectionId, number: u32, op: &Op) -> Reply {
        let path = op.path();
        let operation = match op {
            Op::Read(_) => Operation::Read,
            Op::Write(_, data) => return self.world.write_in(id, number, path, data),
            Op::Mkdir(_) => Operation::Mkdir,
            Op::Rm(_) => Operation::Rm,
            Op::Dir(_) => Operation::Directory,
            Op::GetPerms(_) => Operation::GetPerms,
            Op::SetPerms(_, perms) => {
                let perms: Vec<String> = perms
                    .iter()
                    .map(|(domain, letter)| format!("{letter}{domain}"))
                    .collect();
                let strings: Vec<&str> = std::iter::once(path)
                    .chain(perms.iter().map(String::as_str))
                    .collect();
                return self.world.ask(id, Operation::SetPerms, number, &strings);
            }
        };
        self.world.ask(id, operation, number, &[path])
    }

    /// Ends a transaction in both, and compares what became of it.
    pub(crate) fn end(&mut self, id: ConnectionId, number: u32, keep: bool) {
        let transaction = self.transactions.remove(&(id, number)).expect("it is open");
        let found = self.world.end(id, number, keep);
        if !keep {
            assert_eq!(found, Ok(b"OK\0".to_vec()));
            return self.expect_events(&[], &Tree::new());
        }
        let who = who(id);
        let before = self.tree.clone();
        let mut after = before.clone();
        let mut differs = false;
        for (op, reply) in &transaction.ops {
            if *reply != Err(Error::Enospc) {
                differs |= apply(&mut after, who, op, i64::MAX).0 != *reply;
            }
        }
        // A node that it named was changed by another, and is there.
        let meanwhile: BTreeSet<&String> =
            self.commits[transaction.since..].iter().flatten().collect();
        let named_changed = transaction.ops.iter().any(|(op, _)| {
            before.contains_key(op.path()) && meanwhile.contains(&op.path().to_string())
        });
        let related = transaction.ops.iter().any(|(op, _)| {
            let path = op.path();
            meanwhile
                .iter()
                .any(|other| *other == path || is_below(other, path) || is_below(path, other))
        });
        let delta = owned(&transaction.copy, who) - owned(&transaction.start, who);
        let over = who != 0 && delta > 0 && owned(&before, who) + delta > self.quota;
        match found {
            Err(Error::Eagain) => {
                assert!(related, "a conflict with nothing: {:?}", transaction.ops);
                self.conflicts += 1;
                self.expect_events(&[], &before);
            }
            Err(Error::Enospc) => {
                assert!(over, "a quota that is not exceeded");
                self.expect_events(&[], &before);
            }
            Ok(_) => {
                assert!(!differs, "not serialisable: {:?}", transaction.ops);
                assert!(
                    !named_changed,
                    "a conflict was missed: {:?}",
                    transaction.ops
                );
                assert!(!over, "a quota was passed");
                self.committed += 1;
                self.tree = after;
                let mut touched: Touched = Vec::new();
                for (path, exact) in transaction.touched {
                    match touched.iter_mut().find(|(known, _)| *known == path) {
                        Some((_, known)) => *known &= exact,
                        None => touched.push((path, exact)),
                    }
                }
                touched
                    .retain(|(path, _)| before.contains_key(path) || self.tree.contains_key(path));
                self.commits.push(changed(&before, &self.tree, &touched));
                self.expect_events(&touched, &before);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Everybody got exactly the events of these changes.
    fn expect_events(&mut self, touched: &[(String, bool)], before: &Tree) {
        let mut expected = Vec::new();
        for (path, exact) in touched {
            let above = parent(path);
            let at = |tree: &Tree, path: &str, id| {
                tree.get(path).is_some_and(|n| allowed(n, who(id), 'r'))
            };
            for (id, watched, token) in &self.watches {
                let concerns = path == watched || (!exact && is_below(path, watched));
                let holder = if self.tree.contains_key(&above) {
                    &self.tree
                } else {
                    before
                };
                // The parent's list of children tells of comings and goings, and of nothing else.
                let came_or_went = before.contains_key(path) != self.tree.contains_key(path);
                let permitted = at(before, path, *id)
                    || at(&self.tree, path, *id)
                    || came_or_went && at(holder, &above, *id);
                if concerns && permitted {
                    expected.push((*id, path.clone(), token.clone()));
                }
            }
        }
        let mut found = Vec::new();
        for id in [SOCKET, domain(1), domain(2)] {
            let events = self.world.events(id);
            found.extend(events.into_iter().map(|(path, token)| (id, path, token)));
        }
        // Two watches with the same token give the same event, which waits once.
        expected.sort();
        expected.dedup();
        found.sort();
        assert_eq!(found, expected, "after {touched:?}");
    }

    /// The trees are equal, and the store finds itself in order.
    pub(crate) fn compare(&mut self) {
        self.world.check();
        let found = self.world.dump();
        assert!(found.keys().eq(self.tree.keys()));
        for (path, node) in &self.tree {
            let perms: String = node
                .perms
                .iter()
                .map(|(domain, letter)| format!("{letter}{domain}\0"))
                .collect();
            assert_eq!(found[path], (node.data.clone(), perms), "{path}");
        }
    }
}

fn changed(before: &Tree, after: &Tree, touched: &[(String, bool)]) -> BTreeSet<String> {
    let mut changed: BTreeSet<String> = touched.iter().map(|(path, _)| path.clone()).collect();
    changed.extend(
        after
            .keys()
            .filter(|path| !before.contains_key(*path))
            .cloned(),
    );
    changed
}
