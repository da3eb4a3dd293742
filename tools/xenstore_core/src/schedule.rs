//! Whose turn it is, and how much each may have waiting.
//!
//! Round robin: each connection that has a whole request gets a turn, one request at a time. A request that costs more
//! steps of work than the budget of a turn makes its connection sit out turns until the others had as much; a domain's,
//! many times as much: a request cannot be interrupted, so that all others wait for it, which may not happen often.
//! Nobody sits out turns that nobody else wants. A domain over its quota of outstanding requests or memory gets no turns
//! until what it caused is delivered.

use crate::connection::{Connection, Outgoing, domain_of};
use crate::domain::CONFLICT_BURST;
use crate::event::{ConnectionId, DOMAIN_0, DomainId, Effect, Host, Level, Reason};
use crate::quota::Quota;
use crate::store::Store;
use crate::wire::PAYLOAD_MAX;

/// A connection with more bytes than this to take gets no further requests handled.
const BACKLOG_PAUSE: usize = 64 << 10;
/// What a domain pays for a step of work beyond the budget of a turn, in steps. With two domains that do nothing but send
/// requests of many steps, fewer than one in a hundred of others' requests waits for one.
const EXCESS_PRICE: u64 = 64;
/// How fast a domain regains the right to spoil transactions: thousandths per 10 milliseconds.
const CONFLICT_REGAIN: u64 = 33;

impl Store {
    /// Whether the connection's next request may be handled.
    fn runnable(&self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(&id) else {
            return false;
        };
        if connection.ignored
            || connection.waiting.is_some()
            || !connection.has_message()
            || connection.backlog() > BACKLOG_PAUSE
        {
            return false;
        }
        match id {
            ConnectionId::Domain(domain) if domain != DOMAIN_0 => self.may_run(domain),
            _ => true,
        }
    }

    fn may_run(&self, id: DomainId) -> bool {
        let Some(domain) = self.domains.get(id) else {
            return false;
        };
        let below = |quota: Quota, used: u64| {
            let limit = domain.limit(quota, &self.config.hard);
            limit == 0 || used < u64::from(limit)
        };
        domain.conflict_credit > 0
            && below(Quota::Outstanding, domain.outstanding.len() as u64)
            && below(Quota::Memory, domain.usage.memory)
    }

    /// Gives the connection a place among those that wait for a turn, if it has reason to.
    pub(crate) fn consider(&mut self, id: ConnectionId) {
        if !self.runnable(id) {
            return;
        }
        if let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.queued) {
            connection.queued = true;
            self.turns.push_back(id);
        }
    }

    /// Handles one request.
    pub(crate) fn turn(&mut self, host: &dyn Host) {
        let budget = i64::from(self.config.turn_budget.max(1));
        let mut passed = 0;
        while let Some(id) = self.turns.pop_front() {
            let runnable = self.runnable(id);
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            if !runnable {
                connection.queued = false;
                continue;
            }
            connection.credit = (connection.credit + budget).min(budget);
            if connection.credit <= 0 {
                self.turns.push_back(id);
                passed += 1;
                if passed >= self.turns.len() {
                    self.pass_rounds(budget);
                    passed = 0;
                }
                continue;
            }
            let before = self.work.total();
            let Some((header, payload)) = connection.take_message() else {
                connection.queued = false;
                continue;
            };
            if let ConnectionId::Domain(domain) = id {
                self.journal.consumed(domain, payload.len());
            }
            self.offer_space(id);
            self.handle(id, header, &payload, host);
            self.spend(id, self.work.total() - before);
            break;
        }
        // Those at the front that cannot run any more would make `has_work` lie.
        while let Some(id) = self.turns.front().copied() {
            if self.runnable(id) {
                break;
            }
            self.turns.pop_front();
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.queued = false;
            }
        }
    }

    /// All who wait for a turn sit out: lets as many rounds pass as it takes for the first of them.
    fn pass_rounds(&mut self, budget: i64) {
        let credits = |id| self.connections.get(id).map(|c: &Connection| c.credit);
        let waiting = self.turns.iter().filter_map(credits);
        let rounds = waiting.map(|credit| -credit / budget).min().unwrap_or(0);
        for id in &self.turns {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.credit += rounds.max(0) * budget;
            }
        }
    }

    fn spend(&mut self, id: ConnectionId, work: u64) {
        if let Some(domain) = self.domains.get_mut(domain_of(id)) {
            domain.counters.work = domain.counters.work.wrapping_add(work);
        }
        let excess = work.saturating_sub(u64::from(self.config.turn_budget.max(1)));
        let price = match domain_of(id) {
            DOMAIN_0 => work,
            _ => work.saturating_add(excess.saturating_mul(EXCESS_PRICE - 1)),
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            let price = i64::try_from(price).unwrap_or(i64::MAX);
            // No further than can be counted, however long it has misbehaved.
            connection.credit = connection.credit.saturating_sub(price).max(-(1 << 40));
            connection.queued = false;
        }
        self.consider(id);
    }

    pub(crate) fn received(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.ignored) else {
            return;
        };
        if bytes.len() > connection.space() {
            // The daemon's mistake; losing bytes would make nonsense of all that follow.
            return self.disconnect(id, Reason::Communication);
        }
        connection.input.extend_from_slice(bytes);
        connection.received_total += bytes.len() as u64;
        connection.full = connection.space() == 0;
        if let ConnectionId::Domain(domain) = id {
            self.journal.received(domain, bytes);
        }
        self.check_header(id);
        self.consider(id);
    }

    /// A header that announces too much ends the connection.
    fn check_header(&mut self, id: ConnectionId) {
        let too_long = self
            .connections
            .get(&id)
            .and_then(Connection::first_header)
            .is_some_and(|header| header.length as usize > PAYLOAD_MAX);
        if too_long {
            self.disconnect(id, Reason::TooLong);
        }
    }

    fn offer_space(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && std::mem::take(&mut connection.full)
        {
            self.effects.push(Effect::InputSpace(id));
        }
        self.check_header(id);
    }

    pub(crate) fn sent(&mut self, id: ConnectionId, count: usize) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let count = count.min(connection.backlog());
        connection.sent += count;
        connection.sent_total += count as u64;
        let mut done = Vec::new();
        while let Some(first) = connection.output.front() {
            if connection.sent < first.length() {
                break;
            }
            connection.sent -= first.length();
            done.extend(connection.pop());
        }
        if connection.backlog() == 0 {
            self.behind.remove(&id);
        }
        if let ConnectionId::Domain(domain) = id {
            self.journal.sent(domain, count);
        }
        for message in done {
            self.delivered(id, &message);
        }
        self.consider(id);
    }

    /// A message left a connection's queue: its memory is free, and its request may be done.
    pub(crate) fn delivered(&mut self, id: ConnectionId, message: &Outgoing) {
        self.charge(domain_of(id), 0, -(message.memory() as i64));
        let Some((domain_id, cause)) = message.cause else {
            return;
        };
        if let Some(domain) = self.domains.get_mut(domain_id)
            && let Some(left) = domain.outstanding.get_mut(&cause)
        {
            *left -= 1;
            if *left == 0 {
                domain.outstanding.remove(&cause);
                domain.note_peak();
            }
        }
        self.consider(ConnectionId::Domain(domain_id));
    }

    /// Queues a message, and wakes the daemon if there was none.
    pub(crate) fn queue(&mut self, id: ConnectionId, message: Outgoing) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.ignored) else {
            return;
        };
        let wake = connection.backlog() == 0;
        let memory = message.memory() as i64;
        if let Some((domain, cause)) = message.cause
            && let Some(domain) = self.domains.get_mut(domain)
        {
            *domain.outstanding.entry(cause).or_default() += 1;
            domain.note_peak();
        }
        if let ConnectionId::Domain(domain) = id {
            self.journal.queued(domain, &message);
        }
        connection.push(message);
        let backlog = connection.backlog();
        self.charge(domain_of(id), 0, memory);
        if wake {
            self.behind.insert(id);
            self.effects.push(Effect::Output(id));
        }
        let privileged = domain_of(id) == DOMAIN_0;
        if privileged && backlog > self.config.backlog_max {
            self.disconnect(id, Reason::Backlog);
        }
    }

    pub(crate) fn tick(&mut self, now: u64) {
        let passed = now.saturating_sub(self.now).min(60_000);
        self.now = now;
        for id in self.throttled.clone() {
            let Some(domain) = self.domains.get_mut(id) else {
                self.throttled.remove(&id);
                continue;
            };
            let regained = i64::try_from(passed * CONFLICT_REGAIN / 10).unwrap_or(0);
            domain.conflict_credit = (domain.conflict_credit + regained).min(CONFLICT_BURST);
            if domain.conflict_credit == CONFLICT_BURST {
                self.throttled.remove(&id);
            }
            self.consider(ConnectionId::Domain(id));
        }
        self.drop_expired(now);
    }

    /// Drops events that unprivileged domains did not take in time, so that those who caused them may go on.
    fn drop_expired(&mut self, now: u64) {
        let mut dropped = Vec::new();
        for (id, connection) in &mut self.connections {
            if connection
                .output
                .iter()
                .all(|m| m.expires == 0 || m.expires > now)
            {
                continue;
            }
            let begun = usize::from(connection.sent > 0);
            let mut index = begun;
            let domain = domain_of(*id);
            while let Some(message) = connection.output.get(index) {
                if message.expires == 0 || message.expires > now {
                    index += 1;
                    continue;
                }
                if let Some(message) = connection.output.remove(index) {
                    connection.output_bytes -= message.length();
                    connection.pending_events.remove(&message.payload);
                    self.journal.dropped(domain, index);
                    dropped.push((*id, message));
                }
            }
        }
        for (id, message) in dropped {
            if let Some(domain) = self.domains.get_mut(domain_of(id)) {
                domain.counters.events_dropped += 1;
            }
            self.delivered(id, &message);
            self.consider(id);
        }
    }

    /// Charges a domain for having spoiled another's transaction.
    pub(crate) fn charge_conflict(&mut self, culprit: DomainId, victim: DomainId) {
        if culprit == DOMAIN_0 || culprit == victim {
            return;
        }
        let Some(domain) = self.domains.get_mut(culprit) else {
            return;
        };
        domain.conflict_credit -= 1000;
        let exhausted = domain.conflict_credit <= 0;
        if self.throttled.insert(culprit) || exhausted {
            let line =
                format!("domain {culprit}: its writes spoil transactions of domain {victim}");
            self.log(Level::Info, line);
        }
    }
}
