//! Domains' rings: requests in, responses out.
//!
//! What was taken from a ring or put into it counts when the journal has it, and is published only then. So after a
//! crash the journal knows better than the page how far both sides are, and the page's indices are set by it: a request
//! is neither lost nor taken twice, a response neither lost nor given twice, byte by byte.

use std::collections::BTreeMap;
use std::time::Instant;

use xen_abi::io::xs_wire::{XENSTORE_SERVER_FEATURE_ERROR, XENSTORE_SERVER_FEATURE_RECONNECTION};
use xen_abi::{DomId, EvtchnPort};
use xen_sys::SharedPages;
use xenstore_core::{ConnectionId, Error, Event};

use super::{Daemon, Level};
use crate::ring::{Ring, WildIndex};

/// A domain's ring and event channel.
#[derive(Debug)]
pub(super) struct RingConnection {
    ring: Ring,
    port: EvtchnPort,
    /// What the core had received and sent when the ring's indices were 0: they differ from the core's counts by this.
    /// Known to the core as what to remember.
    base: (u32, u32),
    /// Taken or put since it was published.
    touched: bool,
    /// When its oldest unanswered bytes came.
    arrival: Option<Instant>,
    /// Not served any more, until the domain begins anew.
    failed: bool,
}

/// All rings.
#[derive(Debug, Default)]
pub(super) struct Rings {
    by_domain: BTreeMap<DomId, RingConnection>,
    by_port: BTreeMap<EvtchnPort, DomId>,
    /// Those with something to publish.
    touched: Vec<DomId>,
}

impl Rings {
    pub(super) fn domain_of(&self, port: EvtchnPort) -> Option<DomId> {
        self.by_port.get(&port).copied()
    }

    pub(super) fn domains(&self) -> Vec<DomId> {
        self.by_domain.keys().copied().collect()
    }

    pub(super) fn arrival(&mut self, domain: DomId) -> Option<&mut Option<Instant>> {
        Some(&mut self.by_domain.get_mut(&domain)?.arrival)
    }

    fn touch(&mut self, domain: DomId) {
        if let Some(connection) = self.by_domain.get_mut(&domain)
            && !connection.touched
        {
            connection.touched = true;
            self.touched.push(domain);
        }
    }
}

fn remembered(base: (u32, u32)) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&base.0.to_le_bytes());
    bytes[4..].copy_from_slice(&base.1.to_le_bytes());
    bytes
}

fn base_of(bytes: &[u8]) -> (u32, u32) {
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    (word(0).unwrap_or(0), word(4).unwrap_or(0))
}

impl Daemon {
    /// Serves a ring whose page and port are there, continuing at the indices.
    fn add_ring(&mut self, domain: DomId, ring: Ring, port: EvtchnPort, base: (u32, u32)) {
        let connection = RingConnection {
            ring,
            port,
            base,
            touched: false,
            arrival: None,
            failed: false,
        };
        self.remove_ring(domain);
        self.rings.by_port.insert(port, domain);
        self.rings.by_domain.insert(domain, connection);
    }

    /// Unmaps a domain's ring and closes its port.
    pub(super) fn remove_ring(&mut self, domain: DomId) {
        if let Some(old) = self.rings.by_domain.remove(&domain) {
            self.rings.by_port.remove(&old.port);
            self.machine.unbind(old.port);
        }
    }

    /// Maps a ring and binds its port.
    fn connect(
        &mut self,
        domain: DomId,
        frame: u64,
        remote: EvtchnPort,
    ) -> std::io::Result<(SharedPages, EvtchnPort)> {
        let page = self.machine.map_ring(domain, frame)?;
        let port = self.machine.bind(domain, remote)?;
        Ok((page, port))
    }

    /// INTRODUCE of a domain that is new; or again, of a new event channel for one that is known.
    pub(super) fn introduce(&mut self, domain: DomId, frame: u64, remote: EvtchnPort, again: bool) {
        let result = match self.connect_introduced(domain, frame, remote, again) {
            Ok(()) => Ok(()),
            Err(error) => {
                let line = format!("domain {domain} cannot be introduced: {error}");
                self.log.write(Level::Warning, &line);
                Err(Error::Einval)
            }
        };
        self.step(Event::Introduced { domain, result });
        self.remember_base(domain);
        self.ready_rings.push(domain);
    }

    fn connect_introduced(
        &mut self,
        domain: DomId,
        frame: u64,
        remote: EvtchnPort,
        again: bool,
    ) -> std::io::Result<()> {
        if again && domain == 0 {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        // The old port first: the domain may wait for a new one at the same number.
        self.remove_ring(domain);
        let (page, port) = self.connect(domain, frame, remote)?;
        let mut ring = Ring::from_page(page);
        if again {
            ring.reset(self.store.features(domain));
        } else {
            ring.begin(self.store.features(domain));
        }
        let base = ring.indices();
        self.add_ring(domain, ring, port, base);
        self.rings.touch(domain);
        Ok(())
    }

    fn remember_base(&mut self, domain: DomId) {
        if let Some(connection) = self.rings.by_domain.get(&domain) {
            let bytes = remembered(connection.base);
            self.step(Event::Remember {
                connection: ConnectionId::Domain(domain),
                bytes: &bytes,
            });
        }
    }

    /// Domain 0's own kernel, which nobody introduces.
    pub(super) fn attach_own_kernel(&mut self) {
        if self.store.connection(ConnectionId::Domain(0)).is_some() {
            return;
        }
        let result = self.machine.own_kernel().and_then(|(page, remote)| {
            let port = self.machine.bind(0, remote)?;
            Ok((page, remote, port))
        });
        match result {
            Ok((page, remote, port)) => {
                let mut ring = Ring::from_page(page);
                ring.set_features(self.store.features(0));
                let base = ring.indices();
                self.add_ring(0, ring, port, base);
                self.step(Event::DomainAttached {
                    domain: 0,
                    frame: 0,
                    port: remote,
                });
                self.remember_base(0);
                self.ready_rings.push(0);
                // It waits for this before it uses the store at all.
                self.notify(port);
            }
            Err(error) => {
                let line = format!("domain 0's kernel is not served: {error}");
                self.log.write(Level::Warning, &line);
            }
        }
    }

    /// Finds all rings again that the state knows of, and continues where it says they are.
    pub(super) fn restore_rings(&mut self) {
        let domains: Vec<DomId> = self
            .store
            .connections()
            .filter_map(|connection| match connection {
                ConnectionId::Domain(domain) => Some(domain),
                ConnectionId::Socket(_) => None,
            })
            .collect();
        for domain in domains {
            if domain != 0 && !self.machine.domain_exists(domain) {
                self.step(Event::DomainGone(domain));
                continue;
            }
            if let Err(error) = self.restore_ring(domain) {
                let line = format!("domain {domain}'s ring cannot be continued: {error}");
                self.log.write(Level::Error, &line);
                self.step(Event::RingFailed(domain));
            }
        }
    }

    fn restore_ring(&mut self, domain: DomId) -> std::io::Result<()> {
        let id = ConnectionId::Domain(domain);
        let Some(connection) = self.store.connection(id) else {
            return Ok(());
        };
        let base = base_of(connection.remembered);
        // Counts of 64 bits, indices of 32.
        let taken = base.0.wrapping_add(connection.received as u32);
        let put = base.1.wrapping_add(connection.sent as u32);
        let ignored = connection.ignored;
        let (page, port) = match connection.introduced {
            Some((frame, remote)) if domain != 0 => self.connect(domain, frame, remote)?,
            _ => {
                let (page, remote) = self.machine.own_kernel()?;
                (page, self.machine.bind(domain, remote)?)
            }
        };
        let mut ring = Ring::new(page, taken, put);
        ring.set_features(self.store.features(domain));
        self.add_ring(domain, ring, port, base);
        if let Some(connection) = self.rings.by_domain.get_mut(&domain) {
            connection.failed = ignored;
        }
        if !ignored {
            self.rings.touch(domain);
            self.ready_rings.push(domain);
            self.outputs.push(id);
            // Events were lost while nobody listened; this one says so to the domain.
            self.notify(port);
        }
        Ok(())
    }

    /// Takes what a domain has to say, as far as the core takes it.
    pub(super) fn read_ring(&mut self, domain: DomId) {
        let id = ConnectionId::Domain(domain);
        let Some(connection) = self.rings.by_domain.get_mut(&domain) else {
            return;
        };
        let may_reconnect = self.store.features(domain) & XENSTORE_SERVER_FEATURE_RECONNECTION != 0;
        if may_reconnect && connection.ring.wants_reconnection() {
            self.reconnect(domain);
            return;
        }
        if connection.failed {
            return;
        }
        let space = self.store.input_space(id).min(self.buffer.len());
        let result = connection.ring.take_requests(&mut self.buffer[..space]);
        match result {
            Ok(0) => {}
            Ok(count) => {
                self.rings.touch(domain);
                self.received(id, count);
            }
            Err(fault) => self.ring_failed(domain, fault),
        }
    }

    /// The domain asked to begin anew: its watches and transactions end.
    fn reconnect(&mut self, domain: DomId) {
        self.step(Event::Reconnected(domain));
        if let Some(connection) = self.rings.by_domain.get_mut(&domain) {
            connection.failed = false;
            connection.base = (0, 0);
        }
        self.remember_base(domain);
        // As with any change of indices: the journal first.
        self.commit();
        let features = self.store.features(domain);
        if let Some(connection) = self.rings.by_domain.get_mut(&domain) {
            connection.ring.reset(features);
            let port = connection.port;
            self.notify(port);
        }
    }

    fn ring_failed(&mut self, domain: DomId, fault: WildIndex) {
        let line = format!(
            "domain {domain}'s ring has impossible indices: {:#x} here, {:#x} there",
            fault.ours, fault.theirs
        );
        self.log.write(Level::Warning, &line);
        if let Some(connection) = self.rings.by_domain.get_mut(&domain) {
            connection.failed = true;
        }
        self.step(Event::RingFailed(domain));
    }

    /// The core gave a ring up: tells the domain why.
    pub(super) fn fail_ring(&mut self, domain: DomId, error: u32) {
        let tells_errors = self.store.features(domain) & XENSTORE_SERVER_FEATURE_ERROR != 0;
        if let Some(connection) = self.rings.by_domain.get_mut(&domain) {
            connection.failed = true;
            if tells_errors {
                connection.ring.set_error(error);
            }
            let port = connection.port;
            self.notify(port);
        }
    }

    /// Hands out what waits for a domain, as far as there is room.
    pub(super) fn write_ring(&mut self, domain: DomId) {
        let id = ConnectionId::Domain(domain);
        let Some(connection) = self.rings.by_domain.get_mut(&domain) else {
            return;
        };
        if connection.failed {
            return;
        }
        let mut space = match connection.ring.response_space() {
            Ok(space) => space,
            Err(fault) => return self.ring_failed(domain, fault),
        };
        let mut count = 0;
        for chunk in self.store.output(id) {
            if space == 0 {
                break;
            }
            let put = connection.ring.put_responses(chunk, space);
            space -= put;
            count += put;
        }
        if count > 0 {
            self.rings.touch(domain);
            self.sent(id, count);
        }
    }

    /// Publishes what the journal has now, and sends events. Then looks again: a domain that sees a request of its own not
    /// taken yet, or a ring of responses not full, sends no event for what it does next (Linux's `xb_write`, `xb_read`).
    pub(super) fn publish_rings(&mut self) {
        let mut touched = std::mem::take(&mut self.rings.touched);
        for domain in touched.drain(..) {
            let Some(connection) = self.rings.by_domain.get_mut(&domain) else {
                continue;
            };
            connection.touched = false;
            if connection.ring.publish() {
                let port = connection.port;
                self.notify(port);
            }
            self.look_again(domain);
        }
        self.rings.touched = touched;
    }

    /// Notes what a domain did without an event, before the indices were published.
    fn look_again(&mut self, domain: DomId) {
        let Some(connection) = self.rings.by_domain.get(&domain) else {
            return;
        };
        if connection.failed {
            return;
        }
        let id = ConnectionId::Domain(domain);
        // What cannot be is found out by whoever reads or writes.
        let has_requests = connection.ring.has_requests().unwrap_or(true);
        let has_space = connection
            .ring
            .response_space()
            .is_ok_and(|space| space > 0);
        if has_requests {
            self.ready_rings.push(domain);
        }
        if has_space && self.store.output(id).next().is_some() {
            self.outputs.push(id);
        }
    }

    fn notify(&mut self, port: EvtchnPort) {
        if let Err(error) = self.machine.notify(port) {
            self.log
                .write(Level::Warning, &format!("event on port {port}: {error}"));
        }
    }
}
