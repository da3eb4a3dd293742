//! The store: its state, the step, and what the daemon may ask.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::connection::Connection;
use crate::domain::{Domains, Usage};
use crate::event::{ConnectionId, DomainId, Effect, Event, Host, Level, Reason};
use crate::journal::Journal;
use crate::map::Work;
use crate::metrics::{self, Totals};
use crate::quota::{Limits, Quota};
use crate::tree::Tree;
use crate::watch::Watches;

/// What the daemon chooses.
#[derive(Clone, Debug)]
pub struct Config {
    /// Limits of unprivileged domains.
    pub hard: Limits,
    /// Limits whose excess is logged.
    pub soft: Limits,
    /// Steps of work that a connection may cause per turn before others have had theirs.
    pub turn_budget: u32,
    /// A socket, or domain 0's ring, with more bytes waiting than this is disconnected.
    pub backlog_max: usize,
    /// Milliseconds after which an event that an unprivileged domain does not take is dropped; 0: never.
    pub event_timeout: u64,
    /// Versions of nodes that open transactions may keep alive, all together.
    pub versions_max: u64,
    /// Bytes that all domains together may use, domain 0 as well; 0: no limit. Above it, whatever may take more is refused
    /// with ENOMEM.
    pub memory_max: u64,
    /// Whether [`Store::take_journal`] is used.
    pub journal: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            hard: Limits::hard_defaults(),
            soft: Limits::soft_defaults(),
            turn_budget: 256,
            backlog_max: 16 << 20,
            event_timeout: 20_000,
            versions_max: 1 << 17,
            memory_max: 0,
            journal: true,
        }
    }
}

/// Where a connection stands, for the daemon to find its place again after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionState<'a> {
    /// Bytes received since it was opened, or introduced last.
    pub received: u64,
    /// Bytes sent since then, as far as the core was told.
    pub sent: u64,
    /// Bytes that wait to be sent.
    pub backlog: usize,
    /// What [`Event::Remember`] brought.
    pub remembered: &'a [u8],
    /// It misbehaved, and is not served.
    pub ignored: bool,
    /// Frame and event channel of a ring's INTRODUCE.
    pub introduced: Option<(u64, u32)>,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    pub(crate) config: Config,
    pub(crate) tree: Tree,
    /// Nodes in `tree`.
    pub(crate) node_count: u64,
    /// The last generation given to a change.
    pub(crate) generation: u64,
    /// Nodes changed so far.
    pub(crate) changes: u64,
    pub(crate) domains: Domains,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) watches: Watches,
    /// Connections with something to do, in the order of their turns.
    pub(crate) turns: VecDeque<ConnectionId>,
    /// Open transactions by how old the version is that they keep alive.
    pub(crate) versions: BTreeSet<(u64, ConnectionId, u32)>,
    /// Domains that are slowed down because they spoil others' transactions.
    pub(crate) throttled: BTreeSet<DomainId>,
    /// All connections with a backlog, and maybe some without: so that nobody goes through all for that.
    pub(crate) behind: BTreeSet<ConnectionId>,
    /// Domains being introduced, with frame and event channel.
    pub(crate) introducing: BTreeMap<DomainId, (u64, u32)>,
    /// The last tick's time.
    pub(crate) now: u64,
    /// The last number of a request with effects.
    pub(crate) last_cause: u64,
    /// Nothing that changes the store is done, for it would not last.
    pub(crate) storage_full: bool,
    /// What all domains use together, in bytes.
    pub(crate) memory: u64,
    /// It was logged that this is too much.
    pub(crate) memory_reported: bool,
    pub(crate) journal: Journal,
    pub(crate) effects: Vec<Effect>,
    pub(crate) work: Work,
}

impl Store {
    /// A store with only `/tool/xenstored` and domain 0.
    pub fn new(config: Config) -> Self {
        let work = Work::default();
        let tree = Tree::new(&work);
        let mut store = Store::with_tree(config, tree, work);
        store.recount();
        store
    }

    pub(crate) fn with_tree(config: Config, tree: Tree, work: Work) -> Self {
        Store {
            journal: Journal::new(config.journal),
            config,
            tree,
            node_count: 0,
            generation: 1,
            changes: 0,
            domains: Domains::new(),
            connections: BTreeMap::new(),
            watches: Watches::default(),
            turns: VecDeque::new(),
            versions: BTreeSet::new(),
            throttled: BTreeSet::new(),
            behind: BTreeSet::new(),
            introducing: BTreeMap::new(),
            now: 0,
            last_cause: 0,
            storage_full: false,
            memory: 0,
            memory_reported: false,
            effects: Vec::new(),
            work,
        }
    }

    /// Takes an event in, and answers what is to be done.
    pub fn step(&mut self, event: Event<'_>, host: &dyn Host) -> Vec<Effect> {
        match event {
            Event::Tick { now } => self.tick(now),
            Event::SocketOpened(socket) => {
                self.connections
                    .entry(ConnectionId::Socket(socket))
                    .or_default();
            }
            Event::SocketClosed(socket) => self.drop_connection(ConnectionId::Socket(socket)),
            Event::DomainAttached {
                domain,
                frame,
                port,
            } => self.attach(domain, frame, port),
            Event::Introduced { domain, result } => self.introduced(domain, result),
            Event::RingFailed(domain) => {
                self.disconnect(ConnectionId::Domain(domain), Reason::RingIndices);
            }
            Event::Reconnected(domain) => self.clear(ConnectionId::Domain(domain)),
            Event::Storage { full } => self.storage_full = full,
            Event::DomainShutdown(domain) => self.domain_shut_down(domain),
            Event::DomainGone(domain) => self.domain_gone(domain),
            Event::Received { connection, bytes } => self.received(connection, bytes),
            Event::Sent { connection, count } => self.sent(connection, count),
            Event::Turn => self.turn(host),
            Event::ControlDone { connection, result } => self.control_done(connection, result),
            Event::Remember { connection, bytes } => self.remember(connection, bytes),
        }
        self.finish_step();
        std::mem::take(&mut self.effects)
    }

    fn finish_step(&mut self) {
        self.journal.end_record(self.generation);
    }

    /// Whether a request waits that may be handled now: [`Event::Turn`] will do something.
    pub fn has_work(&self) -> bool {
        !self.turns.is_empty()
    }

    /// How many bytes of requests may be passed now. 0 also for a connection that is ignored or not there. When it was 0
    /// and is no longer, [`Effect::InputSpace`] says so.
    pub fn input_space(&self, connection: ConnectionId) -> usize {
        self.connections
            .get(&connection)
            .map_or(0, Connection::space)
    }

    /// What waits to be sent, in pieces, for `writev` or a ring.
    pub fn output(&self, connection: ConnectionId) -> impl Iterator<Item = &[u8]> {
        self.connections
            .get(&connection)
            .filter(|connection| !connection.ignored)
            .into_iter()
            .flat_map(Connection::chunks)
    }

    /// Bytes that wait to be sent.
    pub fn backlog(&self, connection: ConnectionId) -> usize {
        self.connections
            .get(&connection)
            .map_or(0, Connection::backlog)
    }

    /// All connections.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.keys().copied()
    }

    /// Where a connection stands.
    pub fn connection(&self, id: ConnectionId) -> Option<ConnectionState<'_>> {
        let connection = self.connections.get(&id)?;
        let introduced = match id {
            ConnectionId::Domain(domain) => self.domains.get(domain)?.introduced,
            ConnectionId::Socket(_) => None,
        };
        Some(ConnectionState {
            received: connection.received_total,
            sent: connection.sent_total,
            backlog: connection.backlog(),
            remembered: &connection.remembered,
            ignored: connection.ignored,
            introduced,
        })
    }

    /// Domains that the store knows, and whether they are introduced: for these the daemon watches for shutdown and death.
    pub fn domains(&self) -> impl Iterator<Item = (DomainId, bool)> {
        self.domains
            .0
            .iter()
            .map(|(id, domain)| (*id, domain.introduced.is_some()))
    }

    /// The features that a domain may use: for its ring's `server_features`.
    pub fn features(&self, domain: DomainId) -> u32 {
        let domain = self.domains.get(domain);
        domain.map_or(crate::wire::FEATURES, |domain| domain.features)
    }

    /// What a domain uses of its quotas.
    pub fn usage(&self, domain: DomainId) -> Option<Usage> {
        self.domains.get(domain).map(|domain| domain.usage)
    }

    /// A domain's limit; 0: none.
    pub fn limit(&self, domain: DomainId, quota: Quota) -> u32 {
        self.domains.get(domain).map_or_else(
            || self.config.hard.get(quota),
            |domain| domain.limit(quota, &self.config.hard),
        )
    }

    /// Steps of work done so far: what things cost, the same on every machine.
    pub fn work(&self) -> u64 {
        self.work.total()
    }

    /// When [`Event::Tick`] is wanted next, by the clock of the last one; `None`: whenever.
    pub fn deadline(&self) -> Option<u64> {
        let soon = if !self.throttled.is_empty() {
            50
        } else if self.has_backlog() {
            1000
        } else {
            return None;
        };
        Some(self.now + soon)
    }

    fn has_backlog(&self) -> bool {
        let connections = |id| self.connections.get(id);
        self.behind
            .iter()
            .filter_map(connections)
            .any(|connection| connection.backlog() > 0)
    }

    /// The records of what was committed since it was called last: to be appended to the journal before anything of it is
    /// shown to anyone.
    pub fn take_journal(&mut self) -> Vec<u8> {
        self.journal.take()
    }

    /// A request of `connection` took so long from arrival to reply: for the histogram of its domain.
    pub fn note_latency(&mut self, connection: ConnectionId, microseconds: u64) {
        let domain = crate::connection::domain_of(connection);
        if let Some(domain) = self.domains.get_mut(domain) {
            domain.counters.latency(microseconds);
        }
    }

    /// Counters of all domains as Prometheus text.
    pub fn metrics(&self) -> String {
        let totals = Totals {
            nodes: self.node_count,
            watches: self.watches.len() as u64,
            connections: self.connections.len() as u64,
            transactions: self.versions.len() as u64,
            generation: self.generation,
            memory: self.memory,
            memory_max: self.config.memory_max,
        };
        metrics::text(&self.domains, &self.config.hard, &totals)
    }

    /// The counters of one domain, as Prometheus text; none if it is not known.
    pub fn metrics_of(&self, id: DomainId) -> Option<String> {
        let domain = self.domains.get(id)?.clone();
        let mut text = String::new();
        let domain = Domains([(id, domain)].into());
        metrics::per_domain(&mut text, &domain, &self.config.hard);
        Some(text)
    }

    /// The figures of CONTROL's memreport.
    pub fn memory_report(&self) -> String {
        let mut report = format!(
            "nodes {}, watches {}, connections {}, transactions {}\n",
            self.node_count,
            self.watches.len(),
            self.connections.len(),
            self.versions.len()
        );
        for (id, domain) in &self.domains.0 {
            let usage = &domain.usage;
            report.push_str(&format!(
                "domain {id}: {} bytes, {} nodes, {} watches, {} transactions, {} outstanding\n",
                usage.memory, usage.nodes, usage.watches, usage.transactions, usage.outstanding
            ));
        }
        report
    }

    /// A new generation, for a change.
    pub(crate) fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    pub(crate) fn log(&mut self, level: Level, line: String) {
        self.effects.push(Effect::Log(level, line));
    }

    fn remember(&mut self, id: ConnectionId, bytes: &[u8]) {
        let bytes = bytes.get(..bytes.len().min(4096)).unwrap_or_default();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.remembered = bytes.to_vec();
            if let ConnectionId::Domain(domain) = id {
                self.journal.remember(domain, bytes);
            }
        }
    }
}
