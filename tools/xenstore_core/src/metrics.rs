//! Counters, by domain, and their text for Prometheus.

use std::fmt::Write;

use crate::domain::{Domain, Domains};
use crate::quota::{Limits, Quota};
use crate::wire::Operation;

/// Numbers of operations' types, with gaps.
const OPERATIONS: usize = 27;
/// Upper bounds of the latency histogram's buckets, in microseconds; the last bucket has none.
const BUCKETS: [u64; 8] = [10, 50, 100, 500, 1_000, 10_000, 100_000, 1_000_000];

/// What a domain's requests came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    operations: [u64; OPERATIONS],
    /// ERROR replies.
    pub(crate) errors: u64,
    /// Transactions that ended with EAGAIN.
    pub(crate) conflicts: u64,
    /// Watch events queued.
    pub(crate) events: u64,
    /// Watch events that were not queued for want of memory.
    pub(crate) events_dropped: u64,
    /// Steps of work that its requests took.
    pub(crate) work: u64,
    latency: [u64; BUCKETS.len() + 1],
    latency_sum: u64,
}

impl Counters {
    /// Counts a request.
    pub(crate) fn operation(&mut self, operation: Operation) {
        if let Some(count) = self.operations.get_mut(operation as usize) {
            *count += 1;
        }
    }

    /// Counts a request's time from arrival to reply.
    pub(crate) fn latency(&mut self, microseconds: u64) {
        let bucket = BUCKETS
            .iter()
            .position(|bound| microseconds <= *bound)
            .unwrap_or(BUCKETS.len());
        self.latency[bucket] += 1;
        self.latency_sum = self.latency_sum.saturating_add(microseconds);
    }
}

/// Gauges of the store as a whole.
pub(crate) struct Totals {
    pub(crate) nodes: u64,
    pub(crate) watches: u64,
    pub(crate) connections: u64,
    pub(crate) transactions: u64,
    pub(crate) generation: u64,
    pub(crate) memory: u64,
    pub(crate) memory_max: u64,
}

/// Everything as Prometheus text.
pub(crate) fn text(domains: &Domains, limits: &Limits, totals: &Totals) -> String {
    let mut out = String::new();
    let mut head = |name: &str, kind: &str, help: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "# HELP xenstore_{name} {help}\n# TYPE xenstore_{name} {kind}"
        );
    };
    head("nodes", "gauge", "Nodes in the store.");
    let _ = writeln!(out, "xenstore_nodes {}", totals.nodes);
    for (name, value, help) in [
        ("watches", totals.watches, "Watches set."),
        (
            "connections",
            totals.connections,
            "Rings and sockets served.",
        ),
        ("transactions", totals.transactions, "Transactions open."),
        (
            "generation",
            totals.generation,
            "Changes made since the store began.",
        ),
        (
            "memory_bytes",
            totals.memory,
            "What all domains use together.",
        ),
        (
            "memory_max_bytes",
            totals.memory_max,
            "What they may use together; 0 for no limit.",
        ),
    ] {
        let _ = writeln!(
            out,
            "# HELP xenstore_{name} {help}\n# TYPE xenstore_{name} gauge\nxenstore_{name} {value}"
        );
    }
    per_domain(&mut out, domains, limits);
    out
}

/// The counters of these domains; `limits` are those of domains without limits of their own.
pub(crate) fn per_domain(out: &mut String, domains: &Domains, limits: &Limits) {
    type Value = fn(&Counters) -> u64;
    let counters: [(&str, &str, Value); 5] = [
        ("errors_total", "Requests answered with an error.", |c| {
            c.errors
        }),
        (
            "conflicts_total",
            "Transactions that ended with EAGAIN.",
            |c| c.conflicts,
        ),
        ("watch_events_total", "Watch events queued.", |c| c.events),
        (
            "watch_events_dropped_total",
            "Watch events dropped at the quota.",
            |c| c.events_dropped,
        ),
        ("work_total", "Steps of work for its requests.", |c| c.work),
    ];
    for (name, help, value) in counters {
        let _ = writeln!(
            out,
            "# HELP xenstore_{name} {help}\n# TYPE xenstore_{name} counter"
        );
        for (id, domain) in &domains.0 {
            let value = value(&domain.counters);
            let _ = writeln!(out, "xenstore_{name}{{domid=\"{id}\"}} {value}");
        }
    }
    let _ = writeln!(
        out,
        "# HELP xenstore_requests_total Requests, by operation.\n# TYPE xenstore_requests_total counter"
    );
    for (id, domain) in &domains.0 {
        for operation in Operation::ALL {
            let count = domain.counters.operations[*operation as usize];
            if count != 0 {
                let name = operation.name();
                let _ = writeln!(
                    out,
                    "xenstore_requests_total{{domid=\"{id}\",operation=\"{name}\"}} {count}"
                );
            }
        }
    }
    quotas(out, domains, "used", "Use of a quota.", |domain, quota| {
        domain.usage.get(quota)
    });
    let help = "Limit of a quota; 0 for none, as of domain 0 whatever this says.";
    quotas(out, domains, "limit", help, |domain, quota| {
        domain.limit(quota, limits).into()
    });
    latencies(out, domains);
}

/// A gauge of each quota that is about a whole domain.
fn quotas(
    out: &mut String,
    domains: &Domains,
    name: &str,
    help: &str,
    value: impl Fn(&Domain, Quota) -> u64,
) {
    let _ = writeln!(
        out,
        "# HELP xenstore_quota_{name} {help}\n# TYPE xenstore_quota_{name} gauge"
    );
    for (id, domain) in &domains.0 {
        for quota in Quota::all().filter(|quota| quota.is_of_domain()) {
            let value = value(domain, quota);
            let quota = quota.name();
            let _ = writeln!(
                out,
                "xenstore_quota_{name}{{domid=\"{id}\",quota=\"{quota}\"}} {value}"
            );
        }
    }
}

fn latencies(out: &mut String, domains: &Domains) {
    let _ = writeln!(
        out,
        "# HELP xenstore_latency_microseconds From a request's arrival to its reply.\n\
         # TYPE xenstore_latency_microseconds histogram"
    );
    for (id, domain) in &domains.0 {
        let counters = &domain.counters;
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(&counters.latency) {
            below += count;
            let _ = writeln!(
                out,
                "xenstore_latency_microseconds_bucket{{domid=\"{id}\",le=\"{bound}\"}} {below}"
            );
        }
        let all: u64 = counters.latency.iter().sum();
        let sum = counters.latency_sum;
        let _ = writeln!(
            out,
            "xenstore_latency_microseconds_bucket{{domid=\"{id}\",le=\"+Inf\"}} {all}\n\
             xenstore_latency_microseconds_sum{{domid=\"{id}\"}} {sum}\n\
             xenstore_latency_microseconds_count{{domid=\"{id}\"}} {all}"
        );
    }
}
