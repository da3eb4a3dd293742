//! The daemon: one thread, one loop.
//!
//! A round: wait; take what clients have sent; let the core handle a number of requests; write its journal; do what it
//! wants done; hand out answers; write the journal again, and publish the rings. In this order nobody sees anything that
//! a crash would undo.

mod control;
mod effects;
mod listeners;
mod live_update;
mod rings;
mod sockets;
mod start;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use xen_abi::DomId;
use xenstore_core::{ConnectionId, DOMAIN_0, Effect, Event, Level, Store};

use crate::log::{Log, Trace};
use crate::machine::{DomainState, Machine, Signal};
use crate::options::Options;
use crate::state::StateDirectory;

use listeners::Listeners;
use live_update::Plan;
use rings::Rings;
use sockets::Sockets;

/// Tokens: the machine's descriptor, the listeners, then their clients, then sockets.
const MACHINE: Token = Token(0);
const LISTENER: Token = Token(1);
const METRICS: Token = Token(2);
const FIRST_SOCKET: usize = 1 << 16;

/// How many requests are handled before answers go out and new requests are looked at.
const REQUESTS_PER_ROUND: usize = 64;
/// Bytes taken from a client at once.
const BUFFER: usize = 16 << 10;
/// How often a second round of housekeeping is.
const TICK: Duration = Duration::from_secs(1);

/// The daemon.
pub struct Daemon {
    options: Options,
    poll: Poll,
    store: Store,
    machine: Box<dyn Machine>,
    state: Option<StateDirectory>,
    log: Log,
    trace: Trace,
    listeners: Listeners,
    sockets: Sockets,
    rings: Rings,
    /// What the core wants done, after the journal was written.
    effects: VecDeque<Effect>,
    /// To look at for requests in this round.
    ready_sockets: Vec<u64>,
    ready_rings: Vec<DomId>,
    /// With something to hand out.
    outputs: Vec<ConnectionId>,
    /// Whose streams ended.
    closing: Vec<u64>,
    buffer: Vec<u8>,
    signals: Vec<Signal>,
    started: Instant,
    /// When this round was, if anybody has asked.
    round_time: Option<Instant>,
    last_tick: Instant,
    /// No new generation of the state could be written: changes are refused until one can.
    degraded: bool,
    /// Nor one in the reserve: what happens is in memory only.
    journal_ended: bool,
    update: Plan,
}

impl Daemon {
    /// Serves, for ever.
    ///
    /// # Errors
    ///
    /// That the kernel will not let it wait.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            let timeout = self.timeout();
            self.serve_once(&mut events, timeout)?;
        }
    }

    /// A single round: waits at most `timeout`, and does what there is to do.
    ///
    /// # Errors
    ///
    /// That the kernel will not let it wait.
    pub fn serve_once(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        for event in &*events {
            self.dispatch(event.token());
        }
        self.round();
        Ok(())
    }

    /// What is wrong with the store: nothing, unless there is a bug.
    pub fn check(&self) -> Vec<String> {
        self.store.check().iter().map(ToString::to_string).collect()
    }

    /// How long to wait: not at all with work left.
    fn timeout(&self) -> Option<Duration> {
        if self.store.has_work()
            || !self.ready_sockets.is_empty()
            || !self.ready_rings.is_empty()
            || !self.closing.is_empty()
            || !self.effects.is_empty()
            || !self.outputs.is_empty()
        {
            return Some(Duration::ZERO);
        }
        if self.degraded {
            return Some(TICK);
        }
        let deadline = Duration::from_millis(self.store.deadline()?);
        Some(deadline.saturating_sub(self.started.elapsed()))
    }

    fn dispatch(&mut self, token: Token) {
        match token {
            MACHINE => self.look_at_machine(),
            LISTENER => self.accept_clients(),
            METRICS => self.accept_readers(),
            Token(number) if number >= FIRST_SOCKET => {
                let number = (number - FIRST_SOCKET) as u64;
                self.ready_sockets.push(number);
                self.outputs.push(ConnectionId::Socket(number));
            }
            Token(number) => self.serve_reader(number),
        }
    }

    fn look_at_machine(&mut self) {
        let mut signals = std::mem::take(&mut self.signals);
        if let Err(error) = self.machine.signals(&mut signals) {
            self.log
                .write(Level::Error, &format!("event channels: {error}"));
        }
        for signal in signals.drain(..) {
            match signal {
                Signal::Port(port) => {
                    // Of a ring that was unmapped meanwhile, otherwise.
                    if let Some(domain) = self.rings.domain_of(port) {
                        self.look_at_ring(domain);
                    }
                }
                Signal::DomainChanged => self.look_at_domains(),
                Signal::Everything => {
                    self.look_at_domains();
                    for domain in self.rings.domains() {
                        self.look_at_ring(domain);
                    }
                }
            }
        }
        self.signals = signals;
    }

    fn look_at_ring(&mut self, domain: DomId) {
        self.ready_rings.push(domain);
        self.outputs.push(ConnectionId::Domain(domain));
    }

    /// Some domain shut down, died, or went.
    fn look_at_domains(&mut self) {
        let known: Vec<DomId> = self
            .store
            .domains()
            .map(|(domain, _)| domain)
            .filter(|domain| *domain != DOMAIN_0)
            .collect();
        let states = self.machine.states(&known);
        for (domain, state) in known.into_iter().zip(states) {
            match state {
                DomainState::Alive => {}
                DomainState::ShutDown => self.step(Event::DomainShutdown(domain)),
                DomainState::Gone => self.step(Event::DomainGone(domain)),
            }
        }
    }

    fn round(&mut self) {
        self.tick();
        let mut ready = std::mem::take(&mut self.ready_rings);
        for domain in ready.drain(..) {
            self.read_ring(domain);
        }
        // What came in meanwhile is for the next round.
        ready.append(&mut self.ready_rings);
        self.ready_rings = ready;
        let ready = std::mem::take(&mut self.ready_sockets);
        for number in ready {
            self.read_socket(number);
        }
        for _ in 0..REQUESTS_PER_ROUND {
            if !self.store.has_work() {
                break;
            }
            self.step(Event::Turn);
        }
        self.commit();
        self.do_effects();
        self.hand_out();
        self.commit();
        self.publish_rings();
        if !self.closing.is_empty() {
            self.close_sockets();
        }
    }

    fn hand_out(&mut self) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for connection in outputs.drain(..) {
            match connection {
                ConnectionId::Domain(domain) => self.write_ring(domain),
                ConnectionId::Socket(number) => self.write_socket(number),
            }
        }
        outputs.append(&mut self.outputs);
        self.outputs = outputs;
    }

    /// Clients that have gone, once what they had asked for was done.
    fn close_sockets(&mut self) {
        let closing = std::mem::take(&mut self.closing);
        for number in closing {
            let id = ConnectionId::Socket(number);
            // Requests that came before the end are handled first, unless they wait for something.
            self.close_socket(number);
            self.trace.closed(id);
            self.step(Event::SocketClosed(number));
        }
        if self.listeners.starved {
            self.accept_clients();
        }
        self.commit();
        self.do_effects();
    }

    fn tick(&mut self) {
        self.round_time = None;
        let time = self.now();
        let now = u64::try_from((time - self.started).as_millis()).unwrap_or(u64::MAX);
        let due = self
            .store
            .deadline()
            .is_some_and(|deadline| now >= deadline);
        if !due && time - self.last_tick < TICK {
            return;
        }
        self.last_tick = time;
        self.step(Event::Tick { now });
        if self.degraded {
            self.begin_generation(false);
        }
    }

    /// Bytes of a connection are in the buffer.
    fn received(&mut self, connection: ConnectionId, count: usize) {
        self.note_arrival(connection);
        let buffer = std::mem::take(&mut self.buffer);
        if let Some(bytes) = buffer.get(..count) {
            if self.trace.is_on() {
                self.trace.received(connection, bytes);
            }
            self.step(Event::Received { connection, bytes });
        }
        self.buffer = buffer;
    }

    /// When a connection's oldest unanswered bytes came.
    fn arrival(&mut self, connection: ConnectionId) -> Option<&mut Option<Instant>> {
        match connection {
            ConnectionId::Domain(domain) => self.rings.arrival(domain),
            ConnectionId::Socket(number) => self.sockets.arrival(number),
        }
    }

    fn note_arrival(&mut self, connection: ConnectionId) {
        if !self.options.latency {
            return;
        }
        let now = self.now();
        if let Some(arrival) = self.arrival(connection) {
            arrival.get_or_insert(now);
        }
    }

    /// The time of this round, asked for once.
    fn now(&mut self) -> Instant {
        *self.round_time.get_or_insert_with(Instant::now)
    }

    /// Bytes of a connection's output were handed over.
    fn sent(&mut self, connection: ConnectionId, count: usize) {
        if self.trace.is_on() {
            let mut bytes: Vec<u8> = Vec::new();
            for chunk in self.store.output(connection) {
                bytes.extend_from_slice(chunk);
                if bytes.len() >= count {
                    break;
                }
            }
            bytes.truncate(count);
            self.trace.sent(connection, &bytes);
        }
        if let Some(arrival) = self.arrival(connection).and_then(Option::take) {
            let time = u64::try_from(arrival.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.store.note_latency(connection, time);
        }
        self.step(Event::Sent { connection, count });
    }

    /// Has the core take something in; its effects wait for the journal.
    fn step(&mut self, event: Event<'_>) {
        let effects = self.store.step(event, &*self.machine);
        self.effects.extend(effects);
    }
}
