//! A store with clients, for tests: carries out effects as a daemon would, and keeps what clients were sent.

#![allow(dead_code, reason = "not every test uses all of it")]

pub(crate) mod reference;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use xen_abi::io::xs_wire::{XS_ERROR, XS_WATCH_EVENT};
use xenstore_core::wire::{self, HEADER_SIZE, Header, Operation};
use xenstore_core::{Config, ConnectionId, DomainId, Effect, Error, Event, Level, Store};

/// A client's answer: the payload, or the error.
pub(crate) type Reply = Result<Vec<u8>, Error>;

pub(crate) const SOCKET: ConnectionId = ConnectionId::Socket(1);

pub(crate) fn domain(id: DomainId) -> ConnectionId {
    ConnectionId::Domain(id)
}

pub(crate) struct World {
    pub(crate) store: Store,
    /// Domains that exist.
    pub(crate) host: BTreeSet<DomainId>,
    /// Whole messages that clients got.
    pub(crate) inbox: BTreeMap<ConnectionId, VecDeque<(Header, Vec<u8>)>>,
    partial: BTreeMap<ConnectionId, Vec<u8>>,
    /// All of the journal.
    pub(crate) journal: Vec<u8>,
    pub(crate) log: Vec<(Level, String)>,
    pub(crate) disconnected: Vec<ConnectionId>,
    /// Whether `Introduce` succeeds.
    pub(crate) mapping: Result<(), Error>,
    last_request: u32,
    /// The clock, in milliseconds.
    now: u64,
}

impl World {
    /// A store with a socket, domain 0's ring, and these domains introduced.
    pub(crate) fn new(config: Config, domains: &[DomainId]) -> Self {
        let mut world = World::of(Store::new(config));
        world.step(Event::SocketOpened(1));
        world.step(Event::DomainAttached {
            domain: 0,
            frame: 1,
            port: 1,
        });
        for id in domains {
            world.introduce(*id);
        }
        world
    }

    pub(crate) fn of(store: Store) -> Self {
        World {
            store,
            host: BTreeSet::from([0]),
            inbox: BTreeMap::new(),
            partial: BTreeMap::new(),
            journal: Vec::new(),
            log: Vec::new(),
            disconnected: Vec::new(),
            mapping: Ok(()),
            last_request: 0,
            now: 0,
        }
    }

    pub(crate) fn step(&mut self, event: Event<'_>) {
        let mut pending = VecDeque::from(self.store.step(event, &self.host));
        self.journal.extend(self.store.take_journal());
        while let Some(effect) = pending.pop_front() {
            let effects = match effect {
                Effect::Introduce { domain, .. } => {
                    let result = self.mapping;
                    self.store
                        .step(Event::Introduced { domain, result }, &self.host)
                }
                Effect::Control { connection, .. } => {
                    let result = Ok(&b"OK\0"[..]);
                    self.store
                        .step(Event::ControlDone { connection, result }, &self.host)
                }
                Effect::Log(level, line) => {
                    self.log.push((level, line));
                    Vec::new()
                }
                Effect::Disconnect { connection, .. } => {
                    self.disconnected.push(connection);
                    Vec::new()
                }
                _ => Vec::new(),
            };
            self.journal.extend(self.store.take_journal());
            pending.extend(effects);
        }
    }

    /// Gives a client what waits for it.
    pub(crate) fn deliver(&mut self, id: ConnectionId) {
        let bytes: Vec<u8> = self.store.output(id).flatten().copied().collect();
        if bytes.is_empty() {
            return;
        }
        self.step(Event::Sent {
            connection: id,
            count: bytes.len(),
        });
        let partial = self.partial.entry(id).or_default();
        partial.extend(bytes);
        let inbox = self.inbox.entry(id).or_default();
        while let Some(header) = Header::parse(partial) {
            let end = HEADER_SIZE + header.length as usize;
            if partial.len() < end {
                break;
            }
            let payload = partial[HEADER_SIZE..end].to_vec();
            partial.drain(..end);
            inbox.push_back((header, payload));
        }
    }

    pub(crate) fn deliver_all(&mut self) {
        for id in self.store.connections().collect::<Vec<_>>() {
            self.deliver(id);
        }
    }

    /// Sends a request without waiting.
    pub(crate) fn send(
        &mut self,
        id: ConnectionId,
        kind: u32,
        transaction: u32,
        payload: &[u8],
    ) -> u32 {
        self.last_request += 1;
        let bytes = wire::message(kind, self.last_request, transaction, payload);
        self.step(Event::Received {
            connection: id,
            bytes: &bytes,
        });
        self.last_request
    }

    /// Handles all requests.
    pub(crate) fn run(&mut self) {
        while self.store.has_work() {
            self.step(Event::Turn);
        }
    }

    fn take_reply(&mut self, id: ConnectionId, request: u32) -> Option<(Header, Vec<u8>)> {
        let inbox = self.inbox.entry(id).or_default();
        let place = inbox
            .iter()
            .position(|(header, _)| header.kind != XS_WATCH_EVENT && header.request == request)?;
        inbox.remove(place)
    }

    /// Sends a request, and answers its reply. Everybody gets what waits for them.
    pub(crate) fn ask_raw(
        &mut self,
        id: ConnectionId,
        kind: u32,
        transaction: u32,
        payload: &[u8],
    ) -> Reply {
        let request = self.send(id, kind, transaction, payload);
        self.run();
        self.deliver_all();
        let (header, payload) = self
            .take_reply(id, request)
            .or_else(|| {
                // A domain that spoiled too many transactions of others has to wait.
                self.now += 1000;
                self.step(Event::Tick { now: self.now });
                self.run();
                self.deliver_all();
                self.take_reply(id, request)
            })
            .expect("no reply");
        if header.kind == XS_ERROR {
            let name = payload
                .strip_suffix(b"\0")
                .expect("an error's name ends with NUL");
            return Err(Error::from_name(name).expect("a known error"));
        }
        assert_eq!((header.kind, header.transaction), (kind, transaction));
        Ok(payload)
    }

    pub(crate) fn ask(
        &mut self,
        id: ConnectionId,
        operation: Operation,
        transaction: u32,
        strings: &[&str],
    ) -> Reply {
        let mut payload = Vec::new();
        for string in strings {
            payload.extend_from_slice(string.as_bytes());
            payload.push(0);
        }
        self.ask_raw(id, operation as u32, transaction, &payload)
    }

    pub(crate) fn read(&mut self, id: ConnectionId, path: &str) -> Reply {
        self.ask(id, Operation::Read, 0, &[path])
    }

    pub(crate) fn write_in(&mut self, id: ConnectionId, tx: u32, path: &str, data: &[u8]) -> Reply {
        let mut payload = path.as_bytes().to_vec();
        payload.push(0);
        payload.extend_from_slice(data);
        self.ask_raw(id, Operation::Write as u32, tx, &payload)
    }

    pub(crate) fn write(&mut self, id: ConnectionId, path: &str, data: &str) -> Reply {
        self.write_in(id, 0, path, data.as_bytes())
    }

    pub(crate) fn begin(&mut self, id: ConnectionId) -> u32 {
        let reply = self.ask_raw(id, Operation::TransactionStart as u32, 0, b"\0");
        let text = String::from_utf8(reply.expect("it begins")).expect("a number");
        text.trim_end_matches('\0').parse().expect("a number")
    }

    pub(crate) fn end(&mut self, id: ConnectionId, tx: u32, keep: bool) -> Reply {
        let keep = if keep { "T" } else { "F" };
        self.ask(id, Operation::TransactionEnd, tx, &[keep])
    }

    pub(crate) fn introduce(&mut self, id: DomainId) {
        self.host.insert(id);
        let strings = [&*id.to_string(), "77", "3"];
        self.ask(SOCKET, Operation::Introduce, 0, &strings)
            .expect("it is introduced");
    }

    /// Takes the events that a client got: path and token.
    pub(crate) fn events(&mut self, id: ConnectionId) -> Vec<(String, String)> {
        let inbox = self.inbox.entry(id).or_default();
        let mut events = Vec::new();
        inbox.retain(|(header, payload)| {
            let is_event = header.kind == XS_WATCH_EVENT;
            if is_event {
                let text = String::from_utf8(payload.clone()).expect("events are text here");
                let mut parts = text.split('\0').map(str::to_string);
                let part = (
                    parts.next().unwrap_or_default(),
                    parts.next().unwrap_or_default(),
                );
                events.push(part);
            }
            !is_event
        });
        events
    }

    pub(crate) fn paths(&mut self, id: ConnectionId) -> Vec<String> {
        self.events(id).into_iter().map(|(path, _)| path).collect()
    }

    /// The whole tree as domain 0 sees it: path, value, permissions.
    pub(crate) fn dump(&mut self) -> BTreeMap<String, (Vec<u8>, String)> {
        let mut found = BTreeMap::new();
        let mut pending = vec!["/".to_string()];
        while let Some(path) = pending.pop() {
            let value = self.read(SOCKET, &path).expect("it is there");
            let perms = self
                .ask(SOCKET, Operation::GetPerms, 0, &[&path])
                .expect("it has some");
            let perms = String::from_utf8(perms).expect("text");
            let names = self
                .ask(SOCKET, Operation::Directory, 0, &[&path])
                .expect("a list");
            for name in names
                .split(|byte| *byte == 0)
                .filter(|name| !name.is_empty())
            {
                let name = String::from_utf8_lossy(name);
                let base = if path == "/" { "" } else { &path };
                pending.push(format!("{base}/{name}"));
            }
            found.insert(path, (value, perms));
        }
        found
    }

    /// Panics if the store's own check finds anything.
    pub(crate) fn check(&self) {
        let problems = self.store.check();
        assert!(problems.is_empty(), "{problems:?}");
    }
}

/// A small generator of pseudo-random numbers: the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// A domain.
pub(crate) const A: ConnectionId = ConnectionId::Domain(1);
/// Another one.
pub(crate) const B: ConnectionId = ConnectionId::Domain(2);

/// A store with the homes of [`A`] and [`B`].
pub(crate) fn world() -> World {
    let mut world = World::new(Config::default(), &[1, 2]);
    for id in [1, 2] {
        let home = format!("/local/domain/{id}");
        world.write(SOCKET, &home, "").unwrap();
        world
            .ask(SOCKET, Operation::SetPerms, 0, &[&home, &format!("n{id}")])
            .unwrap();
    }
    world.deliver_all();
    for id in [SOCKET, A, B] {
        world.events(id);
    }
    world
}

/// Sets permissions.
pub(crate) fn perms(world: &mut World, path: &str, perms: &[&str]) {
    let mut strings = vec![path];
    strings.extend(perms);
    world.ask(SOCKET, Operation::SetPerms, 0, &strings).unwrap();
}
