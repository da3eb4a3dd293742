//! What domains use, and what they may: quotas are charged here and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Error;
use crate::connection::domain_of;
use crate::domain::{Delta, Domain};
use crate::event::{ConnectionId, DOMAIN_0, DomainId, Host, Level};
use crate::permissions::{Access, Permissions, Subject};
use crate::quota::Quota;
use crate::store::Store;
use crate::transaction::Transaction;
use crate::tree::Node;

impl Store {
    /// Whom a connection acts as.
    pub(crate) fn subject(&self, connection: ConnectionId) -> Subject {
        let domain = domain_of(connection);
        Subject {
            domain,
            target: self.domains.get(domain).and_then(|domain| domain.target),
            privileged: domain == DOMAIN_0,
        }
    }

    /// What `subject` may do where these are the permissions.
    pub(crate) fn access(&self, permissions: &Permissions, subject: Subject) -> Access {
        permissions.access(subject, |domain| self.domains.since(domain))
    }

    /// Changes what a domain uses, and logs if that crosses a limit.
    pub(crate) fn charge(&mut self, id: DomainId, nodes: i64, memory: i64) {
        let Some(domain) = self.domains.get_mut(id) else {
            return;
        };
        let before = domain.usage.memory;
        domain.add(Delta { nodes, memory });
        let after = domain.usage.memory;
        self.memory = self.memory.saturating_sub(before).saturating_add(after);
        self.report_memory();
        let Some(domain) = self.domains.get_mut(id).filter(|_| id != DOMAIN_0) else {
            return;
        };
        let used = domain.usage.memory;
        let hard = u64::from(domain.limit(Quota::Memory, &self.config.hard));
        let over_hard = hard != 0 && used >= hard;
        let soft = Quota::all().find(|quota| {
            let limit = u64::from(self.config.soft.get(*quota));
            limit != 0 && domain.usage.get(*quota) >= limit
        });
        if over_hard != domain.hard_reported {
            domain.hard_reported = over_hard;
            let (level, text) = if over_hard {
                (
                    Level::Error,
                    "exceeds hard memory quota, its interface is stalled",
                )
            } else {
                (Level::Info, "is below hard memory quota again")
            };
            self.log(level, format!("domain {id} {text}"));
        }
        self.report_soft(id, soft);
    }

    /// Whether all domains together use more than they may.
    pub(crate) fn is_too_large(&self) -> bool {
        self.config.memory_max != 0 && self.memory >= self.config.memory_max
    }

    fn report_memory(&mut self) {
        // Not at every message when it is about the limit.
        let below = self.config.memory_max - self.config.memory_max / 16;
        if self.is_too_large() && !self.memory_reported {
            self.memory_reported = true;
            let most = self.config.memory_max;
            self.log(
                Level::Error,
                format!(
                    "the store has {most} bytes, as many as it may: what takes more is refused"
                ),
            );
        } else if self.memory_reported && self.memory < below {
            self.memory_reported = false;
            self.log(Level::Info, "the store may grow again".to_string());
        }
    }

    fn report_soft(&mut self, id: DomainId, exceeded: Option<Quota>) {
        let Some(domain) = self.domains.get_mut(id) else {
            return;
        };
        if exceeded.is_some() == domain.soft_reported {
            return;
        }
        domain.soft_reported = exceeded.is_some();
        match exceeded {
            Some(quota) => {
                let name = quota.name();
                self.log(
                    Level::Warning,
                    format!("domain {id} exceeds soft quota of {name}"),
                );
            }
            None => self.log(
                Level::Info,
                format!("domain {id} is below its soft quotas again"),
            ),
        }
    }

    /// Accounts a change of nodes to their owner: at once, or at the transaction's end.
    pub(crate) fn account(
        &mut self,
        transaction: &mut Option<Transaction>,
        owner: DomainId,
        nodes: i64,
        memory: i64,
    ) {
        match transaction {
            Some(transaction) => {
                let delta = transaction.deltas.entry(owner).or_default();
                delta.nodes += nodes;
                delta.memory += memory;
            }
            None => self.charge(owner, nodes, memory),
        }
    }

    /// Whether the domain may own so many nodes and bytes more.
    pub(crate) fn may_own(
        &self,
        transaction: &Option<Transaction>,
        subject: Subject,
        owner: DomainId,
        nodes: i64,
        memory: i64,
    ) -> Result<(), Error> {
        if subject.privileged || owner == DOMAIN_0 {
            return Ok(());
        }
        let delta = transaction
            .as_ref()
            .and_then(|transaction| transaction.deltas.get(&owner))
            .copied()
            .unwrap_or_default();
        let Some(domain) = self.domains.get(owner) else {
            return Err(Error::Enoent);
        };
        let over = |quota: Quota, used: u64, more: i64| {
            let limit = domain.limit(quota, &self.config.hard);
            more > 0 && limit != 0 && used.saturating_add_signed(more) > u64::from(limit)
        };
        let usage = &domain.usage;
        if over(
            Quota::Nodes,
            usage.nodes.saturating_add_signed(delta.nodes),
            nodes,
        ) {
            return Err(Error::Enospc);
        }
        if over(
            Quota::Memory,
            usage.memory.saturating_add_signed(delta.memory),
            memory,
        ) {
            return Err(Error::Enomem);
        }
        Ok(())
    }

    /// Whether a node may be this large.
    pub(crate) fn size_allowed(&self, subject: Subject, size: u64) -> Result<(), Error> {
        let limit = self.limit(subject.domain, Quota::NodeSize);
        if !subject.privileged && limit != 0 && size > u64::from(limit) {
            return Err(Error::Enospc);
        }
        Ok(())
    }

    /// Makes the domain known, if it exists.
    pub(crate) fn know(&mut self, id: DomainId, host: &dyn Host) -> bool {
        if self.domains.get(id).is_some() {
            return true;
        }
        if !host.domain_exists(id) {
            return false;
        }
        self.domains.0.insert(id, Domain::new(self.generation));
        self.journal_domain(id);
        true
    }

    /// Writes what the journal keeps of a domain.
    pub(crate) fn journal_domain(&mut self, id: DomainId) {
        if let Some(domain) = self.domains.get(id) {
            self.journal.domain(id, domain);
        }
    }

    /// Counts all nodes and their owners' use anew: after the tree was made by other means.
    pub(crate) fn recount(&mut self) {
        let (count, owned) = self.count_nodes();
        self.node_count = count;
        for (owner, delta) in owned {
            if let Some(domain) = self.domains.get_mut(owner) {
                let before = domain.usage.memory;
                domain.add(delta);
                self.memory = self.memory.saturating_sub(before) + domain.usage.memory;
            }
        }
    }

    /// Nodes, and what each owner's take.
    pub(crate) fn count_nodes(&self) -> (u64, BTreeMap<DomainId, Delta>) {
        let mut count = 0;
        let mut owned: BTreeMap<DomainId, Delta> = BTreeMap::new();
        self.tree.walk(&mut |path: &str, node: &Node| {
            count += 1;
            let delta = owned.entry(node.owner()).or_default();
            delta.nodes += 1;
            delta.memory += node.memory(path.len()) as i64;
        });
        (count, owned)
    }

    /// Whether these permissions' owner is the domain that it was when they were written.
    pub(crate) fn owner_is_known(&self, permissions: &Arc<Permissions>) -> bool {
        self.domains
            .since(permissions.owner())
            .is_some_and(|since| since <= permissions.generation)
    }
}
