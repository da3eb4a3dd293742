//! A transaction: its own version of the tree, and what it saw and changed.
//!
//! At its end, it conflicts if a node whose content it used (read, wrote, or found absent) has changed meanwhile, or a
//! list of children that it read (or removed). Children that two transactions put into the same directory do not conflict:
//! the tree is merged node by node.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::Delta;
use crate::event::DomainId;
use crate::permissions::Permissions;
use crate::tree::{Cursor, Node, Tree};

/// What a transaction, and each node that it touches, costs its domain in memory.
pub(crate) const TRANSACTION_MEMORY: u64 = 256;
/// See [`TRANSACTION_MEMORY`]; besides the path, and the value that is written.
pub(crate) const ACCESS_MEMORY: u64 = 128;

/// The generation of what is not there.
pub(crate) const ABSENT: u64 = u64::MAX;

/// What a transaction saw of a node, by the generations that it had before the transaction changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) content: u64,
    pub(crate) children: u64,
    /// The list of children was used, not only the node.
    pub(crate) used_children: bool,
}

/// What a transaction changed at a path; the result is in its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// In this order watches fire.
    pub(crate) order: u64,
    /// The transaction's count of changes when it was changed last.
    pub(crate) touched: u64,
    /// Fires watches: of those on and above the path, or only of those exactly on it.
    pub(crate) fire: Option<Fire>,
    /// The permissions that the node had before the transaction, if it was there.
    pub(crate) before: Option<Arc<Permissions>>,
}

/// Which watches a change fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fire {
    /// Those on the path and above.
    Above,
    /// Those on exactly the path: a node went with one above it, for which the others fire.
    Exactly,
}

/// A transaction.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// Its version.
    pub(crate) tree: Tree,
    /// The store's count of changes when it began: a place in the order of versions kept alive.
    pub(crate) began: u64,
    pub(crate) seen: BTreeMap<String, Seen>,
    pub(crate) changed: BTreeMap<String, Changed>,
    /// Changes made so far.
    pub(crate) steps: u64,
    /// What its end changes in the use of quotas.
    pub(crate) deltas: BTreeMap<DomainId, Delta>,
    /// It failed in its middle; its end answers ENOMEM.
    pub(crate) failed: bool,
    /// It cannot be committed any more; its end answers EAGAIN.
    pub(crate) conflict: bool,
    /// What it costs its domain.
    pub(crate) memory: u64,
}

impl Transaction {
    /// A transaction that begins now.
    pub(crate) fn new(tree: Tree, began: u64) -> Self {
        Transaction {
            tree,
            began,
            seen: BTreeMap::new(),
            changed: BTreeMap::new(),
            steps: 0,
            deltas: BTreeMap::new(),
            failed: false,
            conflict: false,
            memory: TRANSACTION_MEMORY,
        }
    }

    /// Remembers what it saw of a node. Before a change of the node, or of what children it has, it must have been seen.
    pub(crate) fn see(&mut self, path: &str, node: Option<&Node>, children: bool) {
        if let Some(seen) = self.seen.get_mut(path) {
            seen.used_children |= children;
            return;
        }
        let seen = Seen {
            content: node.map_or(ABSENT, |node| node.content_generation),
            children: node.map_or(ABSENT, |node| node.children_generation),
            used_children: children,
        };
        self.seen.insert(path.to_string(), seen);
    }

    /// Remembers that it changed a node. What was before must have been seen.
    pub(crate) fn change(
        &mut self,
        path: &str,
        fire: Option<Fire>,
        before: Option<&Arc<Permissions>>,
    ) {
        let order = self.changed.len() as u64;
        let known = self.seen.get(path).map(|seen| seen.content);
        // A node that the transaction itself made had no permissions before.
        let before = before.filter(|_| known != Some(ABSENT));
        self.steps += 1;
        let changed = self.changed.entry(path.to_string()).or_insert(Changed {
            order,
            touched: 0,
            fire,
            before: before.cloned(),
        });
        changed.touched = self.steps;
        match (changed.fire, fire) {
            (None, _) | (Some(Fire::Exactly), Some(Fire::Above)) => changed.fire = fire,
            _ => {}
        }
    }

    /// How many nodes it touched.
    pub(crate) fn touched(&self) -> u64 {
        self.seen.len() as u64
    }

    /// The path of something it saw that is different in `tree`.
    pub(crate) fn conflicting(&self, tree: &Tree, work: &crate::map::Work) -> Option<&str> {
        let differs = |seen: &Seen, node: Option<&Arc<Node>>| {
            let content = node.map_or(ABSENT, |node| node.content_generation);
            let children = node.map_or(ABSENT, |node| node.children_generation);
            seen.content != content || (seen.used_children && seen.children != children)
        };
        let mut cursor = Cursor::new(tree);
        self.seen
            .iter()
            .find(|(path, seen)| differs(seen, cursor.get(path, work)))
            .map(|(path, _)| path.as_str())
    }
}
