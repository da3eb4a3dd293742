//! Connections and domains come and go.

use crate::Error;
use crate::connection::{Connection, domain_of};
use crate::domain::Domain;
use crate::event::{ConnectionId, DOMAIN_0, DomainId, Effect, Level, Reason};
use crate::path;
use crate::permissions::Permissions;
use crate::store::Store;
use crate::tree;

impl Store {
    /// Drops a connection's watches.
    pub(crate) fn drop_watches(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let watches = std::mem::take(&mut connection.watches);
        for ((path, token), watch) in watches {
            self.watches.remove(watch);
            self.charge_watch(id, &path, &token, false);
        }
        if let ConnectionId::Domain(domain) = id {
            self.journal.unwatch_all(domain);
        }
    }

    /// Drops a connection's transactions.
    pub(crate) fn drop_transactions(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let transactions = std::mem::take(&mut connection.transactions);
        for (number, transaction) in transactions {
            self.close_transaction(id, number, &transaction);
        }
    }

    /// Drops everything that a connection has here, but not the connection.
    pub(crate) fn clear(&mut self, id: ConnectionId) {
        self.drop_watches(id);
        self.drop_transactions(id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let fresh = Connection {
            queued: connection.queued,
            credit: connection.credit,
            remembered: std::mem::take(&mut connection.remembered),
            next_transaction: connection.next_transaction,
            ..Connection::default()
        };
        let mut old = std::mem::replace(connection, fresh);
        if let ConnectionId::Domain(domain) = id {
            self.journal.cleared(domain);
        }
        while let Some(message) = old.pop() {
            self.delivered(id, &message);
        }
    }

    /// Forgets a connection.
    pub(crate) fn drop_connection(&mut self, id: ConnectionId) {
        self.clear(id);
        self.remove_connection(id);
    }

    /// It loses its place among those that wait for a turn, too: another of its name would have two.
    fn remove_connection(&mut self, id: ConnectionId) {
        if self
            .connections
            .remove(&id)
            .is_some_and(|connection| connection.queued)
        {
            self.turns.retain(|other| *other != id);
        }
    }

    /// Serves a connection no longer.
    pub(crate) fn disconnect(&mut self, id: ConnectionId, reason: Reason) {
        if self
            .connections
            .get(&id)
            .is_none_or(|connection| connection.ignored)
        {
            return;
        }
        self.clear(id);
        match id {
            ConnectionId::Socket(_) => self.remove_connection(id),
            ConnectionId::Domain(domain) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.ignored = true;
                }
                self.journal.ignored(domain);
            }
        }
        self.log(
            Level::Warning,
            format!("{id:?} is disconnected: {reason:?}"),
        );
        self.effects.push(Effect::Disconnect {
            connection: id,
            reason,
        });
    }

    /// A ring that is there from the start.
    pub(crate) fn attach(&mut self, id: DomainId, frame: u64, port: u32) {
        let since = self.generation;
        let domain = self
            .domains
            .0
            .entry(id)
            .or_insert_with(|| Domain::new(since));
        domain.introduced = Some((frame, port));
        let connection = ConnectionId::Domain(id);
        self.connections.entry(connection).or_default();
        self.journal_domain(id);
    }

    /// The ring of a domain was mapped, or could not be: the INTRODUCE that asked for it is answered.
    pub(crate) fn introduced(&mut self, id: DomainId, result: Result<(), Error>) {
        let asker = self.connections.iter_mut().find_map(|(asker, connection)| {
            let waiting = connection.waiting?;
            if waiting.introducing != Some(id) {
                return None;
            }
            connection.waiting = None;
            Some((*asker, waiting.header))
        });
        let pending = self.introducing.remove(&id);
        if let (Ok(()), Some((frame, port))) = (result, pending) {
            self.introduce(id, frame, port);
        }
        if let Some((asker, header)) = asker {
            let cause = self.new_cause(asker);
            self.reply(asker, header, result.map(|()| b"OK\0"[..].into()), cause);
            self.consider(asker);
        }
        self.trim_versions();
    }

    fn introduce(&mut self, id: DomainId, frame: u64, port: u32) {
        let since = self.generation;
        let domain = self
            .domains
            .0
            .entry(id)
            .or_insert_with(|| Domain::new(since));
        let first = domain.introduced.is_none();
        domain.introduced = Some((frame, port));
        domain.shut_down &= !first;
        let connection = ConnectionId::Domain(id);
        self.connections.entry(connection).or_default();
        self.clear(connection);
        self.journal_domain(id);
        if first {
            self.fire_special("@introduceDomain", id, true);
        }
    }

    /// Takes a domain and what it used out of the accounts.
    pub(crate) fn forget_domain(&mut self, id: DomainId) -> Option<Domain> {
        let domain = self.domains.0.remove(&id)?;
        self.memory = self.memory.saturating_sub(domain.usage.memory);
        Some(domain)
    }

    /// Whether a domain is introduced.
    pub(crate) fn is_introduced(&self, id: DomainId) -> bool {
        self.domains
            .get(id)
            .is_some_and(|domain| domain.introduced.is_some())
    }

    pub(crate) fn domain_shut_down(&mut self, id: DomainId) {
        let Some(domain) = self.domains.get_mut(id) else {
            return;
        };
        if domain.introduced.is_none() || std::mem::replace(&mut domain.shut_down, true) {
            return;
        }
        self.journal_domain(id);
        self.fire_special("@releaseDomain", id, true);
    }

    /// A domain died, or is released: its connection, its nodes, and what others' nodes say of it.
    pub(crate) fn domain_gone(&mut self, id: DomainId) {
        if id == DOMAIN_0 || self.domains.get(id).is_none() {
            return;
        }
        self.drop_connection(ConnectionId::Domain(id));
        self.remove_owned(id);
        // Permissions written up to now do not mean a later domain of this number.
        self.next_generation();
        let domain = self.forget_domain(id);
        self.throttled.remove(&id);
        let mut changed = Vec::new();
        for (other, domain) in &mut self.domains.0 {
            if domain.target == Some(id) {
                domain.target = None;
                changed.push(*other);
            }
        }
        for other in changed {
            self.journal_domain(other);
        }
        self.journal.domain_gone(id);
        if domain.is_some_and(|domain| domain.introduced.is_some()) {
            self.effects.push(Effect::Release(id));
            self.fire_special("@releaseDomain", id, true);
        }
        self.trim_versions();
    }

    /// Removes the nodes that a domain owns, with all below them. What cannot be removed becomes domain 0's.
    fn remove_owned(&mut self, id: DomainId) {
        let own = path::domain_path(id);
        // All of them are here, as a rule.
        if let Some(node) = self.tree.get(&own, &self.work).cloned() {
            self.remove_owned_below(&own, &node, id);
        }
        let left = |store: &Store| store.domains.get(id).is_some_and(|d| d.usage.nodes > 0);
        if !left(self) {
            return;
        }
        let roots: Vec<_> = self
            .tree
            .roots()
            .map(|(path, node)| (path.to_string(), node.clone()))
            .collect();
        for (path, node) in roots {
            if node.owner() == id {
                let mut entries = node.permissions.entries.clone();
                if let Some(owner) = entries.first_mut() {
                    owner.domain = DOMAIN_0;
                }
                let generation = self.generation;
                let permissions = Permissions {
                    generation,
                    entries,
                };
                self.put(
                    &mut None,
                    &path,
                    node.data.clone(),
                    permissions.into(),
                    DOMAIN_0,
                );
            }
            if left(self) {
                self.remove_owned_below(&path, &node, id);
            }
        }
    }

    fn remove_owned_below(&mut self, path: &str, node: &std::sync::Arc<tree::Node>, id: DomainId) {
        let mut owned: Vec<String> = Vec::new();
        let mut visited = 0;
        tree::walk(path, node, &mut |path, node| {
            visited += 1;
            let removable = path != "/" && !path.starts_with('@');
            let covered = |path: &str| {
                owned.last().is_some_and(|last: &String| {
                    path.strip_prefix(last.as_str())
                        .is_some_and(|rest| rest.starts_with('/'))
                })
            };
            if removable && node.owner() == id && !covered(path) {
                owned.push(path.to_string());
            }
        });
        self.work.add(visited);
        for path in owned {
            self.remove_now(&path, DOMAIN_0, None);
        }
    }

    /// Adds a watch to the accounts, or takes it out.
    pub(crate) fn charge_watch(&mut self, id: ConnectionId, path: &str, token: &[u8], add: bool) {
        let domain = domain_of(id);
        let memory = watch_memory(path, token) as i64;
        if let Some(domain) = self.domains.get_mut(domain) {
            let watches = &mut domain.usage.watches;
            *watches = if add {
                *watches + 1
            } else {
                watches.saturating_sub(1)
            };
        }
        self.charge(domain, 0, if add { memory } else { -memory });
    }
}

/// What a watch costs.
pub(crate) fn watch_memory(path: &str, token: &[u8]) -> u64 {
    /// Entries in the tables of watches.
    const OVERHEAD: u64 = 256;
    OVERHEAD + path.len() as u64 + token.len() as u64
}
