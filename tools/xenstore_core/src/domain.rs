//! What is known of domains: since when, introduced or not, their quotas, use and counters.

use std::collections::BTreeMap;

use crate::event::{DOMAIN_0, DomainId};
use crate::metrics::Counters;
use crate::quota::{Limits, Quota};

/// A domain that is introduced, or that a node's permissions name.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    /// The store's generation when it became known: permissions written before mean an earlier domain of this number.
    pub(crate) since: u64,
    /// Frame and event channel, if it is introduced.
    pub(crate) introduced: Option<(u64, u32)>,
    /// Its shutdown was seen, and `@releaseDomain` fired for it.
    pub(crate) shut_down: bool,
    /// The domain that it acts for.
    pub(crate) target: Option<DomainId>,
    /// Features that it may use (SET_FEATURE).
    pub(crate) features: u32,
    /// Quotas of its own.
    pub(crate) limits: BTreeMap<Quota, u32>,
    /// What it uses.
    pub(crate) usage: Usage,
    /// What it used at most.
    pub(crate) peak: Usage,
    /// Requests whose effects are not all delivered: number, and how many messages are still to be.
    pub(crate) outstanding: BTreeMap<u64, u32>,
    /// A warning was logged, and the value has not fallen since.
    pub(crate) soft_reported: bool,
    /// The same for the hard limit of memory.
    pub(crate) hard_reported: bool,
    /// How many transactions of others it may still spoil before it is slowed down, in thousandths.
    pub(crate) conflict_credit: i64,
    /// What it did.
    pub(crate) counters: Counters,
}

/// What a domain uses of each quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nodes that it owns.
    pub nodes: u64,
    /// Watches.
    pub watches: u64,
    /// Open transactions.
    pub transactions: u64,
    /// Bytes.
    pub memory: u64,
    /// Requests with effects that are not delivered yet.
    pub outstanding: u64,
}

impl Usage {
    /// The use of a quota that is about a whole domain; 0 for others.
    pub fn get(&self, quota: Quota) -> u64 {
        match quota {
            Quota::Nodes => self.nodes,
            Quota::Watches => self.watches,
            Quota::Outstanding => self.outstanding,
            Quota::Memory => self.memory,
            Quota::Transactions => self.transactions,
            Quota::TransactionNodes | Quota::NodePermissions | Quota::PathMax | Quota::NodeSize => {
                0
            }
        }
    }

    fn max(self, other: Usage) -> Usage {
        Usage {
            nodes: self.nodes.max(other.nodes),
            watches: self.watches.max(other.watches),
            transactions: self.transactions.max(other.transactions),
            memory: self.memory.max(other.memory),
            outstanding: self.outstanding.max(other.outstanding),
        }
    }
}

/// A change of use: nodes and bytes, by owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) nodes: i64,
    pub(crate) memory: i64,
}

/// How many transactions of others a domain may spoil at once (thousandths).
pub(crate) const CONFLICT_BURST: i64 = 5_000;

impl Domain {
    /// A domain that is known from now on.
    pub(crate) fn new(since: u64) -> Self {
        Domain {
            since,
            introduced: None,
            shut_down: false,
            target: None,
            features: crate::wire::FEATURES,
            limits: BTreeMap::new(),
            usage: Usage::default(),
            peak: Usage::default(),
            outstanding: BTreeMap::new(),
            soft_reported: false,
            hard_reported: false,
            conflict_credit: CONFLICT_BURST,
            counters: Counters::default(),
        }
    }

    /// Applies a change of use.
    pub(crate) fn add(&mut self, delta: Delta) {
        self.usage.nodes = self.usage.nodes.saturating_add_signed(delta.nodes);
        self.usage.memory = self.usage.memory.saturating_add_signed(delta.memory);
        self.note_peak();
    }

    /// Remembers the highest use.
    pub(crate) fn note_peak(&mut self) {
        self.usage.outstanding = self.outstanding.len() as u64;
        self.peak = self.peak.max(self.usage);
    }

    /// Its limit of a quota: its own, or everybody's.
    pub(crate) fn limit(&self, quota: Quota, global: &Limits) -> u32 {
        self.limits
            .get(&quota)
            .copied()
            .unwrap_or_else(|| global.get(quota))
    }
}

/// All domains that are known.
#[derive(Clone, Debug)]
pub(crate) struct Domains(pub(crate) BTreeMap<DomainId, Domain>);

impl Domains {
    /// Domain 0.
    pub(crate) fn new() -> Self {
        Domains(BTreeMap::from([(DOMAIN_0, Domain::new(0))]))
    }

    /// The domain of this number.
    pub(crate) fn get(&self, domain: DomainId) -> Option<&Domain> {
        self.0.get(&domain)
    }

    /// The domain of this number, to change it.
    pub(crate) fn get_mut(&mut self, domain: DomainId) -> Option<&mut Domain> {
        self.0.get_mut(&domain)
    }

    /// Since when the number means the domain that it means now.
    pub(crate) fn since(&self, domain: DomainId) -> Option<u64> {
        self.0.get(&domain).map(|domain| domain.since)
    }
}
