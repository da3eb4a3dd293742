//! Nodes: looked up with the rights of who asks, made, changed, removed; in the store itself or in a transaction.

use std::sync::Arc;

use crate::Error;
use crate::connection::Cause;
use crate::event::{ConnectionId, DomainId};
use crate::path;
use crate::permissions::{Access, Permissions, Subject};
use crate::quota::Quota;
use crate::store::Store;
use crate::transaction::{ACCESS_MEMORY, Fire, Transaction};
use crate::tree::{self, Node, Tree};

/// Who asks for something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) connection: ConnectionId,
    pub(crate) subject: Subject,
    /// Its request, if it is to wait for the events that it causes.
    pub(crate) cause: Cause,
}

impl Store {
    /// The tree that a request sees.
    pub(crate) fn view<'a>(&'a self, transaction: &'a Option<Transaction>) -> &'a Tree {
        transaction
            .as_ref()
            .map_or(&self.tree, |transaction| &transaction.tree)
    }

    /// Remembers that a transaction used a node; refuses when it uses too many.
    pub(crate) fn see(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        path: &str,
        children: bool,
    ) -> Result<(), Error> {
        let Some(open) = transaction else {
            return Ok(());
        };
        let is_known = open.seen.contains_key(path);
        let node = (!is_known).then(|| open.tree.get(path, &self.work).cloned());
        self.see_node(
            asker,
            transaction,
            path,
            node.flatten().as_deref(),
            children,
        )
    }

    /// The same of a node that was looked up already; what it is does not matter if it was seen before.
    fn see_node(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        path: &str,
        node: Option<&Node>,
        children: bool,
    ) -> Result<(), Error> {
        let Some(open) = transaction else {
            return Ok(());
        };
        self.work.add(1);
        if !open.seen.contains_key(path) {
            let domain = asker.subject.domain;
            let memory = ACCESS_MEMORY + path.len() as u64;
            let limit = u64::from(self.limit(domain, Quota::TransactionNodes));
            let refused = if asker.subject.privileged {
                None
            } else if limit != 0 && open.touched() >= limit {
                Some(Error::Enospc)
            } else {
                self.memory_left(domain, memory).err()
            };
            if let Some(error) = refused {
                open.failed = true;
                return Err(error);
            }
            open.memory += memory;
            self.charge(domain, 0, memory as i64);
        }
        open.see(path, node, children);
        Ok(())
    }

    /// Whether a domain may use so much more memory for anything but nodes.
    pub(crate) fn memory_left(&self, domain: DomainId, more: u64) -> Result<(), Error> {
        let limit = u64::from(self.limit(domain, Quota::Memory));
        let used = self.domains.get(domain).map_or(0, |d| d.usage.memory);
        if domain != crate::DOMAIN_0 && limit != 0 && used + more > limit {
            return Err(Error::Enomem);
        }
        Ok(())
    }

    /// Looks a node up for `need`. What is not there is ENOENT only to those who may do as much to the nearest node above.
    pub(crate) fn find(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        path: &str,
        need: Access,
    ) -> Result<Arc<Node>, Error> {
        self.see(asker, transaction, path, false)?;
        if let Some(node) = self.view(transaction).get(path, &self.work) {
            let access = self.access(&node.permissions, asker.subject);
            return if access.allows(need) {
                Ok(node.clone())
            } else {
                Err(Error::Eacces)
            };
        }
        let nearest = self.see_above(asker, transaction, path)?;
        if self
            .access(&nearest.permissions, asker.subject)
            .allows(need)
        {
            Err(Error::Enoent)
        } else {
            Err(Error::Eacces)
        }
    }

    /// Remembers all that is used to know that a path is not there; answers the nearest node above.
    fn see_above(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        path: &str,
    ) -> Result<Arc<Node>, Error> {
        let (above, node) = self.view(transaction).nearest(path, &self.work);
        let node = node.clone();
        // As long as this is missing, so is all below it.
        let missing = path::level_below(above, path);
        self.see_node(asker, transaction, missing, None, false)?;
        self.see_node(asker, transaction, above, Some(&node), false)?;
        Ok(node)
    }

    /// Gives a node another value or other permissions, or puts a new one below a parent that is there.
    pub(crate) fn put(
        &mut self,
        transaction: &mut Option<Transaction>,
        path: &str,
        data: Arc<[u8]>,
        permissions: Arc<Permissions>,
        writer: DomainId,
    ) {
        if self.view(transaction).get(path, &self.work).is_some() {
            self.change(transaction, path, data, permissions, writer);
        } else {
            self.put_new(transaction, vec![(path, data)], &permissions, writer);
        }
    }

    fn tree_mut<'a>(own: &'a mut Tree, transaction: &'a mut Option<Transaction>) -> &'a mut Tree {
        match transaction {
            Some(transaction) => &mut transaction.tree,
            None => own,
        }
    }

    /// Gives a node that is there another value or other permissions.
    fn change(
        &mut self,
        transaction: &mut Option<Transaction>,
        path: &str,
        data: Arc<[u8]>,
        permissions: Arc<Permissions>,
        writer: DomainId,
    ) {
        let generation = self.next_generation();
        if transaction.is_none() {
            self.journal
                .node(path, &data, &permissions, writer, generation);
            self.changes += 1;
        }
        let tree = Self::tree_mut(&mut self.tree, transaction);
        let Some(node) = tree.existing(path, &self.work) else {
            return;
        };
        let (old_owner, old_memory) = (node.owner(), node.memory(path.len()) as i64);
        node.data = data;
        node.permissions = permissions;
        node.content_generation = generation;
        node.writer = writer;
        let (owner, memory) = (node.owner(), node.memory(path.len()) as i64);
        if owner == old_owner {
            self.account(transaction, owner, 0, memory - old_memory);
        } else {
            self.account(transaction, old_owner, -1, -old_memory);
            self.account(transaction, owner, 1, memory);
        }
    }

    /// Puts new nodes in, each below the one before, the first below a node that is there.
    pub(crate) fn put_new(
        &mut self,
        transaction: &mut Option<Transaction>,
        new: Vec<(&str, Arc<[u8]>)>,
        permissions: &Arc<Permissions>,
        writer: DomainId,
    ) {
        let is_main = transaction.is_none();
        let owner = permissions.owner();
        let mut chain = Vec::with_capacity(new.len());
        for (path, data) in new {
            let generation = self.next_generation();
            if is_main {
                self.journal
                    .node(path, &data, permissions, writer, generation);
                self.changes += 1;
                self.node_count += 1;
            }
            let node = Node::new(data, permissions.clone(), generation, writer);
            let mut memory = node.memory(path.len()) as i64;
            if !chain.is_empty() {
                // Its parent is new, too, and has the same owner.
                memory += i64::from(tree::name_bytes(path::last_name(path)));
            }
            self.account(transaction, owner, 1, memory);
            chain.push((path, node));
        }
        let Some((first, _)) = chain.first() else {
            return;
        };
        let name = i64::from(tree::name_bytes(path::last_name(first)));
        let tree = Self::tree_mut(&mut self.tree, transaction);
        if let Some(parent) = tree.insert_chain(chain, writer, &self.work) {
            self.account(transaction, parent, 0, name);
        }
    }

    /// Takes a node out, with all below it, from the tree and the accounts.
    pub(crate) fn take(
        &mut self,
        transaction: &mut Option<Transaction>,
        path: &str,
        writer: DomainId,
    ) -> Option<Arc<Node>> {
        let generation = self.next_generation();
        let main = transaction.is_none();
        let tree = match transaction {
            Some(transaction) => &mut transaction.tree,
            None => &mut self.tree,
        };
        let removed = tree.remove(path, generation, writer, &self.work)?;
        let parent = tree
            .get(path::parent(path), &self.work)
            .map(|parent| parent.owner());
        if let Some(parent) = parent {
            let name = i64::from(tree::name_bytes(path::last_name(path)));
            self.account(transaction, parent, 0, -name);
        }
        let mut count = 0;
        let mut freed = Vec::new();
        tree::walk(path, &removed, &mut |path, node| {
            count += 1;
            freed.push((node.owner(), node.memory(path.len()) as i64));
        });
        self.work.add(count);
        for (owner, memory) in freed {
            self.account(transaction, owner, -1, -memory);
        }
        if main {
            self.journal.remove(path, writer, generation);
            self.node_count -= count;
            self.changes += count;
        }
        Some(removed)
    }

    /// WRITE and MKDIR: the node gets the value, and is made if it is not there, with all that is missing above it.
    pub(crate) fn write(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        path: &str,
        data: Option<&[u8]>,
    ) -> Result<(), Error> {
        match self.find(asker, transaction, path, Access::WRITE) {
            Ok(node) => match data {
                Some(data) => self.overwrite(asker, transaction, path, node, data),
                None => Ok(()),
            },
            Err(Error::Enoent) => self.create(asker, transaction, path, data.unwrap_or_default()),
            Err(error) => Err(error),
        }
    }

    fn overwrite(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        path: &str,
        node: Arc<Node>,
        data: &[u8],
    ) -> Result<(), Error> {
        let more = data.len() as i64 - node.data.len() as i64;
        let size = node.size().saturating_add_signed(more);
        self.size_allowed(asker.subject, size)?;
        self.may_own(transaction, asker.subject, node.owner(), 0, more)?;
        let permissions = node.permissions.clone();
        // Not shared while it is changed.
        drop(node);
        self.keep_private(asker, transaction, data.len())?;
        self.changed(
            asker,
            transaction,
            path,
            Some(Fire::Above),
            Some(&permissions),
        );
        self.change(
            transaction,
            path,
            data.into(),
            permissions.clone(),
            asker.subject.domain,
        );
        if transaction.is_none() {
            self.fire_changed(path, [Some(&permissions), None], false, asker.cause);
        }
        Ok(())
    }

    /// Charges a transaction for what it keeps of its own.
    fn keep_private(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        bytes: usize,
    ) -> Result<(), Error> {
        if let Some(transaction) = transaction {
            let domain = asker.subject.domain;
            self.memory_left(domain, bytes as u64)?;
            transaction.memory += bytes as u64;
            self.charge(domain, 0, bytes as i64);
        }
        Ok(())
    }

    fn create(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        path: &str,
        data: &[u8],
    ) -> Result<(), Error> {
        let subject = asker.subject;
        let (above, nearest) = self.view(transaction).nearest(path, &self.work);
        let nearest = nearest.clone();
        let mut missing = Vec::new();
        let mut next = path;
        while next != above {
            missing.push(next);
            next = path::parent(next);
        }
        missing.reverse();
        let generation = self.generation;
        let permissions = nearest
            .permissions
            .inherited(subject, generation, |domain| self.domains.since(domain));
        let entries = permissions.entries.len();

        // Everything is checked before anything is changed.
        let names = |path: &&str| tree::name_bytes(path::last_name(path));
        let first = missing.first().map_or(0, names);
        self.size_allowed(subject, nearest.size() + u64::from(first))?;
        let mut memory = 0;
        for (level, path) in missing.iter().enumerate() {
            let child = missing.get(level + 1).map_or(0, names);
            let value = if child == 0 { data.len() } else { 0 };
            let size = tree::size(entries, value, child);
            self.size_allowed(subject, size)?;
            memory += size as i64 + path.len() as i64;
        }
        let owner = permissions.owner();
        self.may_own(transaction, subject, owner, missing.len() as i64, memory)?;
        self.may_own(transaction, subject, nearest.owner(), 0, i64::from(first))?;
        drop(nearest);
        self.keep_private(asker, transaction, data.len())?;

        let mut new: Vec<(&str, Arc<[u8]>)> = Vec::with_capacity(missing.len());
        for missing in missing {
            let last = missing == path;
            let _ = self.see_node(asker, transaction, missing, None, false);
            self.changed(
                asker,
                transaction,
                missing,
                last.then_some(Fire::Above),
                None,
            );
            new.push((missing, if last { data.into() } else { Arc::default() }));
        }
        self.put_new(transaction, new, &permissions, subject.domain);
        if transaction.is_none() {
            self.fire_changed(path, [Some(&permissions), None], true, asker.cause);
        }
        Ok(())
    }

    fn changed(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        path: &str,
        fire: Option<Fire>,
        before: Option<&Arc<Permissions>>,
    ) {
        // Whoever may change a node could see it; only the quota of nodes can be in the way, and it has been asked.
        let _ = self.see(asker, transaction, path, false);
        if let Some(transaction) = transaction {
            transaction.change(path, fire, before);
        }
    }

    /// RM: the node goes, with all below it.
    pub(crate) fn remove(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        path: &str,
    ) -> Result<(), Error> {
        match self.find(asker, transaction, path, Access::WRITE) {
            Ok(_) => {}
            Err(Error::Enoent) => {
                let parent = path::parent(path);
                let there = self.view(transaction).get(parent, &self.work).is_some();
                return if there { Ok(()) } else { Err(Error::Enoent) };
            }
            Err(error) => return Err(error),
        }
        if path == "/" {
            return Err(Error::Einval);
        }
        self.see(asker, transaction, path::parent(path), false)?;
        self.remove_checked(asker, transaction, path)
    }

    fn remove_checked(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        path: &str,
    ) -> Result<(), Error> {
        let writer = asker.subject.domain;
        if transaction.is_some() {
            let mut gone = Vec::new();
            if let Some(node) = self.view(transaction).get(path, &self.work) {
                tree::walk(path, node, &mut |path, node| {
                    gone.push((path.to_string(), node.clone()));
                });
            }
            // Children before parents, as their events come.
            gone.reverse();
            for (below, node) in &gone {
                self.see_node(asker, transaction, below, Some(node), true)?;
            }
            for (below, node) in &gone {
                let fire = if below == path {
                    Fire::Above
                } else {
                    Fire::Exactly
                };
                self.changed(
                    asker,
                    transaction,
                    below,
                    Some(fire),
                    Some(&node.permissions),
                );
            }
            drop(gone);
            self.take(transaction, path, writer);
            return Ok(());
        }
        self.remove_now(path, writer, asker.cause);
        Ok(())
    }

    /// Takes a node out of the store itself, and tells its watchers.
    pub(crate) fn remove_now(&mut self, path: &str, writer: DomainId, cause: Cause) {
        if let Some(removed) = self.take(&mut None, path, writer) {
            let parent = self
                .tree
                .get(path::parent(path), &self.work)
                .map(|parent| parent.permissions.clone());
            self.fire_removed(path, &removed, parent.as_ref(), cause);
        }
    }

    /// SET_PERMS, when the entries are known to be valid.
    pub(crate) fn set_permissions(
        &mut self,
        asker: &Asker,
        transaction: &mut Option<Transaction>,
        path: &str,
        permissions: Permissions,
    ) -> Result<(), Error> {
        let node = self.find(asker, transaction, path, Access::OWNER)?;
        let subject = asker.subject;
        let owner = permissions.owner();
        if !subject.privileged && owner != node.owner() {
            return Err(Error::Eperm);
        }
        let size = tree::size(permissions.entries.len(), node.data.len(), node.child_bytes);
        self.size_allowed(subject, size)?;
        let more = size as i64 - node.size() as i64;
        self.may_own(transaction, subject, owner, 0, more)?;
        let (before, data) = (node.permissions.clone(), node.data.clone());
        drop(node);
        self.keep_private(asker, transaction, 0)?;
        let after = Arc::new(permissions);
        self.changed(asker, transaction, path, Some(Fire::Above), Some(&before));
        self.change(transaction, path, data, after.clone(), subject.domain);
        if transaction.is_none() {
            self.fire_changed(path, [Some(&before), Some(&after)], false, asker.cause);
        }
        Ok(())
    }

    /// Tells watchers that a node changed, or that it came: of this its parent tells as well.
    fn fire_changed(
        &mut self,
        path: &str,
        [before, after]: [Option<&Arc<Permissions>>; 2],
        came: bool,
        cause: Cause,
    ) {
        let found = self.watches.matching(path, &self.work);
        if found.is_empty() {
            return;
        }
        let parent = came
            .then(|| self.tree.get(path::parent(path), &self.work))
            .flatten()
            .map(|parent| parent.permissions.clone());
        let readable_by = [before, after, parent.as_ref()];
        self.tell(found, path, &readable_by, cause);
    }
}
