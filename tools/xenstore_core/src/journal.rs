//! The journal: records of what was committed, one for each step that committed something.
//!
//! A record is its body's length, the body's checksum, and the body: the generation that the store has after it, then
//! changes, each a number and its fields. What concerns rings (watches, transactions, bytes received and queued) is in it,
//! so that domains notice nothing of a restart; what concerns sockets is not, for they do not outlive the daemon.

use std::sync::Arc;

use crate::codec::{Writer, checksum};
use crate::connection::{Cause, Outgoing};
use crate::domain::Domain;
use crate::event::DomainId;
use crate::permissions::{Permission, Permissions};
use crate::quota::{Limits, Quota};
use crate::tree::Node;
use crate::watch::Watch;

/// Bytes before a record's body.
pub(crate) const RECORD_HEADER: usize = 8;
/// Longest body that is believed.
pub(crate) const RECORD_MAX: usize = 1 << 28;

/// What a change in a record is.
pub(crate) mod kind {
    pub(crate) const NODE: u8 = 1;
    pub(crate) const REMOVE: u8 = 2;
    pub(crate) const DOMAIN: u8 = 3;
    pub(crate) const DOMAIN_GONE: u8 = 4;
    pub(crate) const WATCH: u8 = 5;
    pub(crate) const UNWATCH: u8 = 6;
    pub(crate) const UNWATCH_ALL: u8 = 7;
    pub(crate) const BEGIN: u8 = 8;
    pub(crate) const PRIVATE: u8 = 9;
    pub(crate) const END: u8 = 10;
    pub(crate) const CLEARED: u8 = 11;
    pub(crate) const IGNORED: u8 = 12;
    pub(crate) const RECEIVED: u8 = 13;
    pub(crate) const CONSUMED: u8 = 14;
    pub(crate) const QUEUED: u8 = 15;
    pub(crate) const SENT: u8 = 16;
    pub(crate) const DROPPED: u8 = 17;
    pub(crate) const REMEMBER: u8 = 18;
    pub(crate) const LIMITS: u8 = 19;
}

/// Records that were not taken yet, and the one that is being made.
#[derive(Debug)]
pub(crate) struct Journal {
    enabled: bool,
    out: Vec<u8>,
    body: Writer,
}

impl Journal {
    pub(crate) fn new(enabled: bool) -> Self {
        Journal {
            enabled,
            out: Vec::new(),
            body: Writer::default(),
        }
    }

    /// The finished records.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Finishes the record, if there is anything in it.
    pub(crate) fn end_record(&mut self, generation: u64) {
        if self.body.0.is_empty() {
            return;
        }
        let mut header = Writer::default();
        header.u64(generation);
        header.0.append(&mut self.body.0);
        let body = header.0;
        self.out
            .extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.out.extend_from_slice(&checksum(&body).to_le_bytes());
        self.out.extend_from_slice(&body);
    }

    /// Begins a change; `None` if there is no journal.
    fn change(&mut self, kind: u8) -> Option<&mut Writer> {
        if !self.enabled {
            return None;
        }
        self.body.u8(kind);
        Some(&mut self.body)
    }

    fn of_domain(&mut self, kind: u8, domain: DomainId) -> Option<&mut Writer> {
        let writer = self.change(kind)?;
        writer.u16(domain);
        Some(writer)
    }

    pub(crate) fn node(
        &mut self,
        path: &str,
        data: &[u8],
        permissions: &Arc<Permissions>,
        writer_id: DomainId,
        generation: u64,
    ) {
        if let Some(writer) = self.change(kind::NODE) {
            writer.u64(generation);
            writer.bytes(path.as_bytes());
            writer.bytes(data);
            write_permissions(writer, permissions);
            writer.u16(writer_id);
        }
    }

    pub(crate) fn remove(&mut self, path: &str, writer_id: DomainId, generation: u64) {
        if let Some(writer) = self.change(kind::REMOVE) {
            writer.u64(generation);
            writer.bytes(path.as_bytes());
            writer.u16(writer_id);
        }
    }

    pub(crate) fn domain(&mut self, id: DomainId, domain: &Domain) {
        if let Some(writer) = self.of_domain(kind::DOMAIN, id) {
            write_domain(writer, domain);
        }
    }

    pub(crate) fn domain_gone(&mut self, id: DomainId) {
        self.of_domain(kind::DOMAIN_GONE, id);
    }

    pub(crate) fn watch(&mut self, id: DomainId, watch: &Watch) {
        if let Some(writer) = self.of_domain(kind::WATCH, id) {
            write_watch(writer, watch);
        }
    }

    pub(crate) fn unwatch(&mut self, id: DomainId, path: &str, token: &[u8]) {
        if let Some(writer) = self.of_domain(kind::UNWATCH, id) {
            writer.bytes(path.as_bytes());
            writer.bytes(token);
        }
    }

    pub(crate) fn unwatch_all(&mut self, id: DomainId) {
        self.of_domain(kind::UNWATCH_ALL, id);
    }

    pub(crate) fn begin(&mut self, id: DomainId, transaction: u32) {
        if let Some(writer) = self.of_domain(kind::BEGIN, id) {
            writer.u32(transaction);
        }
    }

    /// What a transaction has at a path now: a node, or none.
    pub(crate) fn private(
        &mut self,
        id: DomainId,
        transaction: u32,
        path: &str,
        node: Option<&Arc<Node>>,
    ) {
        if let Some(writer) = self.of_domain(kind::PRIVATE, id) {
            writer.u32(transaction);
            writer.bytes(path.as_bytes());
            writer.bool(node.is_some());
            if let Some(node) = node {
                writer.bytes(&node.data);
                write_permissions(writer, &node.permissions);
            }
        }
    }

    pub(crate) fn end(&mut self, id: DomainId, transaction: u32) {
        if let Some(writer) = self.of_domain(kind::END, id) {
            writer.u32(transaction);
        }
    }

    pub(crate) fn cleared(&mut self, id: DomainId) {
        self.of_domain(kind::CLEARED, id);
    }

    pub(crate) fn ignored(&mut self, id: DomainId) {
        self.of_domain(kind::IGNORED, id);
    }

    pub(crate) fn received(&mut self, id: DomainId, bytes: &[u8]) {
        if let Some(writer) = self.of_domain(kind::RECEIVED, id) {
            writer.bytes(bytes);
        }
    }

    pub(crate) fn consumed(&mut self, id: DomainId, payload: usize) {
        if let Some(writer) = self.of_domain(kind::CONSUMED, id) {
            writer.count(payload);
        }
    }

    pub(crate) fn queued(&mut self, id: DomainId, message: &Outgoing) {
        if let Some(writer) = self.of_domain(kind::QUEUED, id) {
            write_message(writer, message, None);
        }
    }

    pub(crate) fn sent(&mut self, id: DomainId, count: usize) {
        if let Some(writer) = self.of_domain(kind::SENT, id) {
            writer.count(count);
        }
    }

    pub(crate) fn dropped(&mut self, id: DomainId, index: usize) {
        if let Some(writer) = self.of_domain(kind::DROPPED, id) {
            writer.count(index);
        }
    }

    pub(crate) fn remember(&mut self, id: DomainId, bytes: &[u8]) {
        if let Some(writer) = self.of_domain(kind::REMEMBER, id) {
            writer.bytes(bytes);
        }
    }

    pub(crate) fn limits(&mut self, hard: &Limits, soft: &Limits) {
        if let Some(writer) = self.change(kind::LIMITS) {
            write_limits(writer, hard);
            write_limits(writer, soft);
        }
    }
}

pub(crate) fn write_permissions(writer: &mut Writer, permissions: &Permissions) {
    writer.u64(permissions.generation);
    writer.count(permissions.entries.len());
    for Permission { domain, access } in &permissions.entries {
        writer.u16(*domain);
        writer.u8(access.bits());
    }
}

pub(crate) fn write_domain(writer: &mut Writer, domain: &Domain) {
    writer.u64(domain.since);
    writer.bool(domain.introduced.is_some());
    let (frame, port) = domain.introduced.unwrap_or_default();
    writer.u64(frame);
    writer.u32(port);
    writer.bool(domain.shut_down);
    writer.option(domain.target.map(u64::from));
    writer.u32(domain.features);
    writer.count(domain.limits.len());
    for (quota, limit) in &domain.limits {
        writer.u8(*quota as u8);
        writer.u32(*limit);
    }
}

pub(crate) fn write_watch(writer: &mut Writer, watch: &Watch) {
    writer.bytes(watch.path.as_bytes());
    writer.bytes(&watch.token);
    writer.bool(watch.relative);
    writer.option(watch.depth.map(u64::from));
}

/// `cause` is not the journal's matter: after a crash nobody waits for effects of earlier requests.
pub(crate) fn write_message(writer: &mut Writer, message: &Outgoing, cause: Cause) {
    writer.bool(message.is_event);
    let (domain, number) = cause.unwrap_or_default();
    writer.u16(domain);
    writer.u64(number);
    writer.0.extend_from_slice(&message.header);
    writer.bytes(&message.payload);
}

pub(crate) fn write_limits(writer: &mut Writer, limits: &Limits) {
    for quota in Quota::all() {
        writer.u32(limits.get(quota));
    }
}
