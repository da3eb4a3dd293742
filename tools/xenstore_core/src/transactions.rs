//! Transactions: begun, committed, and kept from pinning old versions of the store for ever.

use std::sync::Arc;

use crate::Error;
use crate::connection::domain_of;
use crate::event::{ConnectionId, DOMAIN_0, DomainId};
use crate::fire::Change;
use crate::map::Work;
use crate::nodes::Asker;
use crate::path;
use crate::permissions::Permissions;
use crate::quota::Quota;
use crate::store::Store;
use crate::transaction::{Changed, Transaction};
use crate::tree::{Cursor, Node, Tree};

impl Store {
    /// TRANSACTION_START: answers its number.
    pub(crate) fn begin(&mut self, asker: &Asker) -> Result<u32, Error> {
        let domain = asker.subject.domain;
        let limit = self.limit(domain, Quota::Transactions);
        let open = self.domains.get(domain).map_or(0, |d| d.usage.transactions);
        if !asker.subject.privileged && limit != 0 && open >= u64::from(limit) {
            return Err(Error::Enospc);
        }
        let transaction = Transaction::new(self.tree.clone(), self.changes);
        self.memory_left(domain, transaction.memory)?;
        let Some(connection) = self.connections.get_mut(&asker.connection) else {
            return Err(Error::Enoent);
        };
        let mut id = connection.next_transaction;
        while id == 0 || connection.transactions.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        connection.next_transaction = id.wrapping_add(1);
        self.journal_transaction(asker.connection, |journal, domain| {
            journal.begin(domain, id)
        });
        self.open_transaction(asker.connection, id, transaction);
        Ok(id)
    }

    /// Puts a transaction among the open ones, and accounts it.
    pub(crate) fn open_transaction(
        &mut self,
        id: ConnectionId,
        number: u32,
        transaction: Transaction,
    ) {
        let domain = domain_of(id);
        let (began, memory) = (transaction.began, transaction.memory);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.transactions.insert(number, transaction);
        self.versions.insert((began, id, number));
        if let Some(domain) = self.domains.get_mut(domain) {
            domain.usage.transactions += 1;
            domain.note_peak();
        }
        self.charge(domain, 0, memory as i64);
    }

    /// The accounts of a transaction that is no more.
    pub(crate) fn close_transaction(
        &mut self,
        id: ConnectionId,
        number: u32,
        transaction: &Transaction,
    ) {
        self.versions.remove(&(transaction.began, id, number));
        let domain = domain_of(id);
        if let Some(domain) = self.domains.get_mut(domain) {
            domain.usage.transactions = domain.usage.transactions.saturating_sub(1);
        }
        self.charge(domain, 0, -(transaction.memory as i64));
        self.journal_transaction(id, |journal, domain| journal.end(domain, number));
    }

    fn journal_transaction(
        &mut self,
        id: ConnectionId,
        record: impl FnOnce(&mut crate::journal::Journal, DomainId),
    ) {
        // Sockets do not outlive the daemon.
        if let ConnectionId::Domain(domain) = id {
            record(&mut self.journal, domain);
        }
    }

    /// Writes to the journal what a request changed in a transaction.
    pub(crate) fn journal_private(
        &mut self,
        id: ConnectionId,
        number: u32,
        transaction: &Transaction,
        since: u64,
    ) {
        let ConnectionId::Domain(domain) = id else {
            return;
        };
        let mut view = Cursor::new(&transaction.tree);
        for (path, _) in transaction
            .changed
            .iter()
            .filter(|(_, changed)| changed.touched > since)
        {
            let node = view.get(path, &self.work);
            self.journal.private(domain, number, path, node);
        }
    }

    /// TRANSACTION_END with T: all of it, or nothing.
    pub(crate) fn commit(&mut self, asker: &Asker, transaction: &Transaction) -> Result<(), Error> {
        if transaction.failed {
            return Err(Error::Enomem);
        }
        if self.storage_full && !transaction.changed.is_empty() {
            return Err(Error::Enospc);
        }
        self.commit_checked(asker, transaction)?;
        self.publish(asker, transaction);
        Ok(())
    }

    fn commit_checked(&mut self, asker: &Asker, transaction: &Transaction) -> Result<(), Error> {
        let conflicting = transaction
            .conflicting(&self.tree, &self.work)
            .map(str::to_string);
        let mut view = Cursor::new(&transaction.tree);
        let orphan = transaction.changed.keys().any(|path| {
            let node = view.get(path, &self.work);
            node.is_some_and(|node| !self.owner_is_known(&node.permissions))
        });
        if transaction.conflict || orphan || conflicting.is_some() {
            if let Some(path) = conflicting {
                let culprit = self.tree.nearest(&path, &self.work).1.writer;
                self.charge_conflict(culprit, asker.subject.domain);
            }
            if let Some(domain) = self.domains.get_mut(asker.subject.domain) {
                domain.counters.conflicts += 1;
            }
            return Err(Error::Eagain);
        }
        for (owner, delta) in &transaction.deltas {
            if delta.nodes > 0 || delta.memory > 0 {
                self.may_own(&None, asker.subject, *owner, delta.nodes, delta.memory)?;
            }
        }
        Ok(())
    }

    /// Makes what a transaction changed everybody's.
    fn publish(&mut self, asker: &Asker, transaction: &Transaction) {
        self.publish_nodes(transaction, asker.subject.domain);
        let mut events: Vec<(&String, &Changed)> = transaction.changed.iter().collect();
        events.sort_by_key(|(_, changed)| changed.order);
        for (path, changed) in events {
            let Some(fire) = changed.fire else {
                continue;
            };
            let after = self.permissions_at(path);
            if after.is_none() && changed.before.is_none() {
                // Made and removed again: nobody could see it.
                continue;
            }
            let came_or_went = changed.before.is_none() || after.is_none();
            let parent = came_or_went
                .then(|| self.parent_permissions(path, transaction))
                .flatten();
            self.fire(&Change {
                path,
                fire,
                readable_by: [changed.before.as_ref(), after.as_ref(), parent.as_ref()],
                cause: asker.cause,
            });
        }
    }

    /// Nodes that it changed, made and removed. New ones, each below the one before, go in together.
    fn publish_nodes(&mut self, transaction: &Transaction, writer: DomainId) {
        let mut view = Cursor::new(&transaction.tree);
        let mut paths = transaction.changed.keys().peekable();
        while let Some(path) = paths.next() {
            let Some(node) = view.get(path, &self.work) else {
                self.take(&mut None, path, writer);
                continue;
            };
            let permissions = node.permissions.clone();
            if self.tree.get(path, &self.work).is_some() {
                let data = node.data.clone();
                self.put(&mut None, path, data, permissions, writer);
                continue;
            }
            let mut above = path;
            let mut chain = vec![(path.as_str(), node.data.clone())];
            while let Some(below) = paths.peek()
                && path::parent(below) == above.as_str()
                && let Some(node) = view.get(below, &self.work)
                && node.permissions == permissions
            {
                chain.push((below.as_str(), node.data.clone()));
                above = below;
                paths.next();
            }
            self.put_new(&mut None, chain, &permissions, writer);
        }
    }

    /// Those of a node's parent, or what they were before the transaction removed it.
    fn parent_permissions(
        &self,
        path: &str,
        transaction: &Transaction,
    ) -> Option<Arc<Permissions>> {
        let above = path::parent(path);
        self.permissions_at(above)
            .or_else(|| transaction.changed.get(above)?.before.clone())
    }

    fn permissions_at(&self, path: &str) -> Option<Arc<Permissions>> {
        let node = self.tree.get(path, &self.work)?;
        Some(node.permissions.clone())
    }

    /// Lets go of versions that transactions have kept alive for too many changes: such a transaction goes on upon the
    /// current version, and its end answers EAGAIN. All open transactions together keep `versions_max` old nodes' versions
    /// at most.
    pub(crate) fn trim_versions(&mut self) {
        while let Some((began, id, number)) = self.versions.first().copied() {
            let share = self.config.versions_max / self.versions.len() as u64;
            if self.changes - began <= share.max(64) {
                break;
            }
            self.versions.pop_first();
            let Some(mut transaction) = self
                .connections
                .get_mut(&id)
                .and_then(|connection| connection.transactions.remove(&number))
            else {
                continue;
            };
            self.rebase(&mut transaction);
            self.versions.insert((transaction.began, id, number));
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.transactions.insert(number, transaction);
            }
        }
    }

    /// Puts what a transaction changed upon the current version; it cannot be committed then.
    pub(crate) fn rebase(&mut self, transaction: &mut Transaction) {
        let old = std::mem::replace(&mut transaction.tree, self.tree.clone());
        transaction.conflict = true;
        transaction.began = self.changes;
        let Transaction { changed, tree, .. } = transaction;
        for path in changed.keys() {
            let node = old.get(path, &self.work).cloned();
            self.generation += 1;
            overlay(tree, path, node, self.generation, &self.work);
        }
    }
}

/// Gives a tree a node's content, or takes the node out.
pub(crate) fn overlay(
    tree: &mut Tree,
    path: &str,
    node: Option<Arc<Node>>,
    generation: u64,
    work: &Work,
) {
    let Some(node) = node else {
        tree.remove(path, generation, DOMAIN_0, work);
        return;
    };
    let (data, permissions) = (node.data.clone(), node.permissions.clone());
    if let Some(there) = tree.get_mut(path, work) {
        there.data = data;
        there.permissions = permissions;
        there.content_generation = generation;
    } else {
        let node = Node::new(data, permissions, generation, DOMAIN_0);
        tree.insert(path, node, generation, DOMAIN_0, work);
    }
}
