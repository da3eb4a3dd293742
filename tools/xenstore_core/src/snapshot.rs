//! A snapshot: the whole state as bytes.
//!
//! Magic, version, length and checksum of the body; then the body: generation, limits, domains, nodes (parents before
//! children), connections (with their watches, transactions, and bytes in either direction). A transaction's version of
//! the tree is written as its difference from the store's.

use std::fmt;
use std::sync::Arc;

use crate::codec::{Writer, checksum};
use crate::connection::Connection;
use crate::event::ConnectionId;
use crate::journal::{write_domain, write_limits, write_message, write_permissions, write_watch};
use crate::path;
use crate::store::Store;
use crate::transaction::{Fire, Transaction};
use crate::tree::{self, Node, Tree};

/// How a snapshot begins.
pub(crate) const MAGIC: &[u8; 8] = b"XENOSTOR";
/// The format's version.
pub(crate) const VERSION: u32 = 1;

/// What is wrong with a snapshot or a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The byte at which it was found, if it is about one.
    pub offset: Option<usize>,
    /// What it is.
    pub text: String,
}

impl Problem {
    /// A problem of the whole.
    pub(crate) fn whole(text: impl Into<String>) -> Self {
        Problem {
            offset: None,
            text: text.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(offset) = self.offset {
            write!(formatter, "at byte {offset}: ")?;
        }
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Problem {}

impl Store {
    /// The whole state.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.write_body(&mut body);
        let mut out = Writer::default();
        out.0.extend_from_slice(MAGIC);
        out.u32(VERSION);
        out.u64(body.0.len() as u64);
        out.u32(checksum(&body.0));
        out.0.append(&mut body.0);
        out.0
    }

    fn write_body(&self, out: &mut Writer) {
        out.u64(self.generation);
        write_limits(out, &self.config.hard);
        write_limits(out, &self.config.soft);
        out.count(self.domains.0.len());
        for (id, domain) in &self.domains.0 {
            out.u16(*id);
            write_domain(out, domain);
            out.u64(domain.conflict_credit.cast_unsigned());
        }
        out.u64(self.node_count);
        self.tree
            .walk(&mut |path, node| write_node(out, path, node));
        out.count(self.introducing.len());
        for (domain, (frame, port)) in &self.introducing {
            out.u16(*domain);
            out.u64(*frame);
            out.u32(*port);
        }
        out.count(self.connections.len());
        for (id, connection) in &self.connections {
            write_connection_id(out, *id);
            self.write_connection(out, connection);
        }
        out.count(self.turns.len());
        for id in &self.turns {
            write_connection_id(out, *id);
        }
    }

    fn write_connection(&self, out: &mut Writer, connection: &Connection) {
        out.bool(connection.ignored);
        out.u64(connection.credit.cast_unsigned());
        out.u64(connection.received_total);
        out.u64(connection.sent_total);
        out.bytes(&connection.remembered);
        out.bytes(connection.pending());
        out.bool(connection.waiting.is_some());
        if let Some(waiting) = connection.waiting {
            out.0.extend_from_slice(&waiting.header.to_bytes());
            out.option(waiting.introducing.map(u64::from));
        }
        out.count(connection.sent);
        out.count(connection.output.len());
        for message in &connection.output {
            let cause = message.cause.filter(|(domain, number)| {
                let domain = self.domains.get(*domain);
                domain.is_some_and(|domain| domain.outstanding.contains_key(number))
            });
            write_message(out, message, cause);
        }
        // Oldest first: events of one change come in this order.
        let mut watches: Vec<_> = connection.watches.values().copied().collect();
        watches.sort_unstable();
        let watches: Vec<_> = watches
            .iter()
            .filter_map(|id| self.watches.get(*id))
            .collect();
        out.count(watches.len());
        for watch in watches {
            write_watch(out, watch);
        }
        out.u32(connection.next_transaction);
        out.count(connection.transactions.len());
        for (number, transaction) in &connection.transactions {
            out.u32(*number);
            self.write_transaction(out, transaction);
        }
    }

    fn write_transaction(&self, out: &mut Writer, transaction: &Transaction) {
        out.bool(transaction.failed);
        out.bool(transaction.conflict);
        out.u64(transaction.memory);
        out.count(transaction.deltas.len());
        for (domain, delta) in &transaction.deltas {
            out.u16(*domain);
            out.u64(delta.nodes.cast_unsigned());
            out.u64(delta.memory.cast_unsigned());
        }
        out.count(transaction.seen.len());
        for (path, seen) in &transaction.seen {
            out.bytes(path.as_bytes());
            out.u64(seen.content);
            out.u64(seen.children);
            out.bool(seen.used_children);
        }
        out.count(transaction.changed.len());
        for (path, changed) in &transaction.changed {
            out.bytes(path.as_bytes());
            out.u64(changed.order);
            out.u8(match changed.fire {
                None => 0,
                Some(Fire::Above) => 1,
                Some(Fire::Exactly) => 2,
            });
            out.bool(changed.before.is_some());
            if let Some(before) = &changed.before {
                write_permissions(out, before);
            }
        }
        let difference = difference(&self.tree, &transaction.tree);
        out.count(difference.len());
        for (path, node) in &difference {
            out.bool(node.is_some());
            match node {
                Some(node) => write_node(out, path, node),
                None => out.bytes(path.as_bytes()),
            }
        }
    }
}

fn write_connection_id(out: &mut Writer, id: ConnectionId) {
    match id {
        ConnectionId::Domain(domain) => {
            out.u8(0);
            out.u64(u64::from(domain));
        }
        ConnectionId::Socket(socket) => {
            out.u8(1);
            out.u64(socket);
        }
    }
}

fn write_node(out: &mut Writer, path: &str, node: &Node) {
    out.bytes(path.as_bytes());
    out.bytes(&node.data);
    write_permissions(out, &node.permissions);
    out.u64(node.content_generation);
    out.u64(node.children_generation);
    out.u16(node.writer);
}

/// What makes `view` of `base`: nodes to put (parents first), and paths to remove. What both share is not looked at.
pub(crate) fn difference(base: &Tree, view: &Tree) -> Vec<(String, Option<Arc<Node>>)> {
    type Side<'a> = Option<&'a Arc<Node>>;
    let mut found = Vec::new();
    let mut pending: Vec<(String, Side<'_>, Side<'_>)> = Vec::new();
    for (path, node) in view.roots() {
        let old = base.roots().find(|(other, _)| *other == path);
        pending.push((path.to_string(), old.map(|(_, node)| node), Some(node)));
    }
    while let Some((path, old, new)) = pending.pop() {
        let Some(new) = new else {
            found.push((path, None));
            continue;
        };
        let Some(old) = old else {
            tree::walk(&path, new, &mut |path, node| {
                // Only the content is of use: children are in the list themselves.
                let mut node = node.clone();
                node.children = Default::default();
                found.push((path.to_string(), Some(Arc::new(node))));
            });
            continue;
        };
        if Arc::ptr_eq(old, new) {
            continue;
        }
        if old.content_generation != new.content_generation
            || old.children_generation != new.children_generation
            || old.permissions != new.permissions
        {
            found.push((path.clone(), Some(new.clone())));
        }
        if old.children.same(&new.children) {
            continue;
        }
        let (mut olds, mut news) = (
            old.children.iter().peekable(),
            new.children.iter().peekable(),
        );
        loop {
            let (old, new) = match (olds.peek(), news.peek()) {
                (None, None) => break,
                (Some(_), None) => (olds.next(), None),
                (None, Some(_)) => (None, news.next()),
                (Some((a, _)), Some((b, _))) => match a.cmp(b) {
                    std::cmp::Ordering::Less => (olds.next(), None),
                    std::cmp::Ordering::Greater => (None, news.next()),
                    std::cmp::Ordering::Equal => (olds.next(), news.next()),
                },
            };
            if let Some((name, _)) = old.or(new) {
                let child = path::child(&path, name);
                pending.push((child, old.map(|(_, node)| node), new.map(|(_, node)| node)));
            }
        }
    }
    found
}
