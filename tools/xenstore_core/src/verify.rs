//! Whether a store, or a snapshot, is what it should be. Everything that is kept up step by step is counted anew.

use std::collections::BTreeMap;

use crate::connection::{Connection, domain_of};
use crate::domain::{Domain, Usage};
use crate::event::{ConnectionId, DomainId};
use crate::lifecycle::watch_memory;
use crate::snapshot::Problem;
use crate::store::{Config, Store};
use crate::tree;

impl Store {
    /// Recounts everything, and says what is wrong: nothing, unless there is a bug. Takes time in proportion to the store.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.check_nodes(&mut problems);
        self.check_usage(&mut problems);
        for (id, connection) in &self.connections {
            self.check_connection(*id, connection, &mut problems);
        }
        let watches: usize = self.connections.values().map(|c| c.watches.len()).sum();
        if watches != self.watches.len() {
            let text = format!(
                "{watches} watches of connections, {} set",
                self.watches.len()
            );
            problems.push(Problem::whole(text));
        }
        let open: usize = self
            .connections
            .values()
            .map(|c| c.transactions.len())
            .sum();
        if open != self.versions.len() {
            let text = format!("{open} transactions open, {} counted", self.versions.len());
            problems.push(Problem::whole(text));
        }
        problems
    }

    fn check_nodes(&self, problems: &mut Vec<Problem>) {
        for root in ["/", "@introduceDomain", "@releaseDomain"] {
            if self.tree.get(root, &self.work).is_none() {
                problems.push(Problem::whole(format!("{root} is missing")));
            }
        }
        let mut count = 0;
        self.tree.walk(&mut |path, node| {
            count += 1;
            let names: u32 = node
                .children
                .iter()
                .map(|(name, _)| tree::name_bytes(name))
                .sum();
            if names != node.child_bytes {
                problems.push(Problem::whole(format!(
                    "{path}: its children's names are miscounted"
                )));
            }
            if !self.owner_is_known(&node.permissions) {
                let text = format!("{path} belongs to unknown domain {}", node.owner());
                problems.push(Problem::whole(text));
            }
            if node.generation() > self.generation {
                problems.push(Problem::whole(format!("{path} is newer than the store")));
            }
        });
        if count != self.node_count {
            let text = format!("{count} nodes, {} counted", self.node_count);
            problems.push(Problem::whole(text));
        }
    }

    fn check_usage(&self, problems: &mut Vec<Problem>) {
        let mut expected: BTreeMap<DomainId, Usage> = BTreeMap::new();
        for (owner, delta) in self.count_nodes().1 {
            let usage = expected.entry(owner).or_default();
            usage.nodes = delta.nodes.unsigned_abs();
            usage.memory = delta.memory.unsigned_abs();
        }
        for (id, connection) in &self.connections {
            let usage = expected.entry(domain_of(*id)).or_default();
            usage.watches += connection.watches.len() as u64;
            usage.transactions += connection.transactions.len() as u64;
            let watches = connection.watches.keys();
            usage.memory += watches
                .map(|(path, token)| watch_memory(path, token))
                .sum::<u64>();
            usage.memory += connection.output.iter().map(|m| m.memory()).sum::<u64>();
            usage.memory += connection
                .transactions
                .values()
                .map(|t| t.memory)
                .sum::<u64>();
        }
        for (id, domain) in &self.domains.0 {
            let mut expected = expected.remove(id).unwrap_or_default();
            expected.outstanding = domain.outstanding.len() as u64;
            let found = Usage {
                outstanding: domain.outstanding.len() as u64,
                ..domain.usage
            };
            if found != expected {
                let text = format!("domain {id} uses {expected:?}, counted are {found:?}");
                problems.push(Problem::whole(text));
            }
            self.check_outstanding(*id, domain, problems);
        }
        let memory: u64 = self.domains.0.values().map(|d| d.usage.memory).sum();
        if memory != self.memory {
            let text = format!("domains use {memory} bytes, {} are counted", self.memory);
            problems.push(Problem::whole(text));
        }
        for id in expected.keys() {
            problems.push(Problem::whole(format!(
                "domain {id} is unknown, and uses something"
            )));
        }
    }

    fn check_outstanding(&self, id: DomainId, domain: &Domain, problems: &mut Vec<Problem>) {
        let mut causes: BTreeMap<u64, u32> = BTreeMap::new();
        for connection in self.connections.values() {
            for (of, cause) in connection.output.iter().filter_map(|message| message.cause) {
                if of == id {
                    *causes.entry(cause).or_default() += 1;
                }
            }
        }
        // Causes of an earlier domain with this number are in nobody's accounts.
        causes.retain(|cause, _| domain.outstanding.contains_key(cause));
        if causes != domain.outstanding {
            let text = format!("domain {id}: its outstanding requests are miscounted");
            problems.push(Problem::whole(text));
        }
    }

    fn check_connection(
        &self,
        id: ConnectionId,
        connection: &Connection,
        problems: &mut Vec<Problem>,
    ) {
        let mut bad = |text: &str| problems.push(Problem::whole(format!("{id:?}: {text}")));
        let bytes: usize = connection
            .output
            .iter()
            .map(|message| message.length())
            .sum();
        if bytes != connection.output_bytes {
            bad("its output is miscounted");
        }
        let events = connection
            .output
            .iter()
            .filter(|message| message.counts_once());
        if !events
            .clone()
            .all(|event| connection.pending_events.contains(&event.payload))
        {
            bad("an event is not known to wait");
        }
        for ((path, token), number) in &connection.watches {
            let watch = self.watches.get(*number);
            if watch.is_none_or(|w| w.connection != id || w.path != *path || w.token != *token) {
                bad("a watch is not what it seems");
            }
        }
    }
}

/// What is in a snapshot, for people.
pub fn describe(snapshot: &[u8]) -> Result<String, Vec<Problem>> {
    let store = Store::restore(Config::default(), snapshot).map_err(|problem| vec![problem])?;
    let problems = store.check();
    if problems.is_empty() {
        Ok(store.memory_report())
    } else {
        Err(problems)
    }
}
