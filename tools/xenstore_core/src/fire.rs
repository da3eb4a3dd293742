//! Watch events: who hears of a change.
//!
//! A client hears of a change if it may read the node, before or after the change. That a node came or went is also heard
//! by those who may read its parent, whose list of children tells it; of other changes of a node that they may not read
//! they hear nothing.

use std::sync::Arc;

use crate::connection::{Cause, Outgoing, domain_of};
use crate::event::{ConnectionId, DOMAIN_0, DomainId};
use crate::path;
use crate::permissions::{Access, Permissions};
use crate::quota::Quota;
use crate::store::Store;
use crate::transaction::Fire;
use crate::tree::Node;
use crate::watch::WatchId;
use crate::wire::{Header, PAYLOAD_MAX};

/// A change of one node, for its watchers.
pub(crate) struct Change<'a> {
    pub(crate) path: &'a str,
    pub(crate) fire: Fire,
    /// The node's permissions before and after, its parent's if it came or went: whoever may read by any of them hears of it.
    pub(crate) readable_by: [Option<&'a Arc<Permissions>>; 3],
    pub(crate) cause: Cause,
}

impl Store {
    /// Tells watchers of a change.
    pub(crate) fn fire(&mut self, change: &Change<'_>) {
        let found = match change.fire {
            Fire::Above => self.watches.matching(change.path, &self.work),
            Fire::Exactly => self.watches.exactly(change.path, &self.work),
        };
        self.tell(found, change.path, &change.readable_by, change.cause);
    }

    /// Tells these watchers, as far as they may read.
    pub(crate) fn tell(
        &mut self,
        found: Vec<(ConnectionId, WatchId)>,
        path: &str,
        readable_by: &[Option<&Arc<Permissions>>],
        cause: Cause,
    ) {
        let mut last: Option<(ConnectionId, bool)> = None;
        for (connection, id) in found {
            let permitted = match last {
                Some((known, permitted)) if known == connection => permitted,
                _ => self.permitted(connection, readable_by),
            };
            last = Some((connection, permitted));
            if permitted {
                self.send_event(connection, id, path, cause);
            }
        }
    }

    fn permitted(
        &self,
        connection: ConnectionId,
        readable_by: &[Option<&Arc<Permissions>>],
    ) -> bool {
        let subject = self.subject(connection);
        readable_by
            .iter()
            .flatten()
            .any(|permissions| self.access(permissions, subject).allows(Access::READ))
    }

    /// Tells watchers that a node went, with all below it. Those who watch a node below hear of that one.
    pub(crate) fn fire_removed(
        &mut self,
        path: &str,
        removed: &Arc<Node>,
        parent: Option<&Arc<Permissions>>,
        cause: Cause,
    ) {
        for below in self.watches.below(path, &self.work) {
            let Some((node, parent)) = descend(path, removed, &below, &self.work) else {
                continue;
            };
            self.fire(&Change {
                path: &below,
                fire: Fire::Exactly,
                readable_by: [Some(&node.permissions), Some(&parent.permissions), None],
                cause,
            });
        }
        self.fire(&Change {
            path,
            fire: Fire::Above,
            readable_by: [Some(&removed.permissions), parent, None],
            cause,
        });
    }

    /// Tells of a domain's coming or going: `@introduceDomain` or `@releaseDomain`, to watches without a depth or domain
    /// (`plain`), and to those for this domain, or with a depth, which hear of the domain by number.
    pub(crate) fn fire_special(&mut self, name: &str, domain: DomainId, plain: bool) {
        let Some(node) = self.tree.get(name, &self.work) else {
            return;
        };
        let permissions = node.permissions.clone();
        let numbered = format!("{name}/{domain}");
        let mut events = Vec::new();
        for (connection, id) in self.watches.exactly(name, &self.work) {
            match self.watches.get(id).map(|watch| watch.depth) {
                Some(None) if plain => events.push((connection, id, name)),
                Some(Some(1..)) => events.push((connection, id, numbered.as_str())),
                _ => {}
            }
        }
        for (connection, id) in self.watches.exactly(&numbered, &self.work) {
            events.push((connection, id, numbered.as_str()));
        }
        for (connection, id, path) in events {
            if self.permitted(connection, &[Some(&permissions)]) {
                self.send_event(connection, id, path, None);
            }
        }
    }

    /// Queues an event, unless the same one waits already, or its receiver has no memory left for it.
    pub(crate) fn send_event(
        &mut self,
        id: ConnectionId,
        watch: WatchId,
        path: &str,
        cause: Cause,
    ) {
        let Some(watch) = self.watches.get(watch) else {
            return;
        };
        let domain = domain_of(id);
        let shown = if watch.relative {
            let prefix = path::domain_path(domain).len() + 1;
            path.get(prefix..).unwrap_or(path)
        } else {
            path
        };
        let length = shown.len() + watch.token.len() + 2;
        if length > PAYLOAD_MAX {
            return;
        }
        let mut payload = Vec::with_capacity(length);
        payload.extend_from_slice(shown.as_bytes());
        payload.push(0);
        payload.extend_from_slice(&watch.token);
        payload.push(0);
        let waits = |payload: &[u8]| {
            self.connections
                .get(&id)
                .is_none_or(|connection| connection.pending_events.contains(payload))
        };
        if !path.starts_with('@') && waits(&payload) {
            return;
        }
        self.queue_event(id, domain, payload.into(), cause);
    }

    fn queue_event(
        &mut self,
        id: ConnectionId,
        domain: DomainId,
        payload: Arc<[u8]>,
        cause: Cause,
    ) {
        let header = Header {
            kind: xen_abi::io::xs_wire::XS_WATCH_EVENT,
            request: 0,
            transaction: 0,
            length: u32::try_from(payload.len()).unwrap_or(0),
        };
        let timeout = self.config.event_timeout;
        let expires = if domain == DOMAIN_0 || timeout == 0 || self.now == 0 {
            0
        } else {
            self.now + timeout
        };
        let message = Outgoing {
            header: header.to_bytes(),
            payload,
            is_event: true,
            cause,
            expires,
        };
        let limit = u64::from(self.limit(domain, Quota::Memory));
        let Some(receiver) = self.domains.get_mut(domain) else {
            return;
        };
        if domain != DOMAIN_0 && limit != 0 && receiver.usage.memory + message.memory() > limit {
            receiver.counters.events_dropped += 1;
            return;
        }
        receiver.counters.events += 1;
        self.queue(id, message);
    }
}

/// The node at `below` in a tree whose node at `path` is `top`, and that node's parent.
fn descend<'a>(
    path: &str,
    top: &'a Arc<Node>,
    below: &str,
    work: &crate::map::Work,
) -> Option<(&'a Arc<Node>, &'a Arc<Node>)> {
    let rest = below.strip_prefix(path)?.strip_prefix('/')?;
    let (mut node, mut parent) = (top, top);
    for name in rest.split('/') {
        parent = node;
        node = node.children.get(name, work)?;
    }
    Some((node, parent))
}
