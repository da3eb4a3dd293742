//! Bytes as a course of events: what fuzzers make up. Everything that can happen to a store is in it: pieces of messages,
//! whole ones of any operation, turns, output taken, domains that come and go, crashes, live updates.

use std::collections::BTreeSet;

use xenstore_core::wire::{self, Operation};
use xenstore_core::{Config, ConnectionId, DomainId, Effect, Event, Store};

/// A store, and what its daemon would have on disk.
struct Scene {
    store: Store,
    host: BTreeSet<DomainId>,
    snapshot: Vec<u8>,
    journal: Vec<u8>,
    now: u64,
}

const DOMAINS: [DomainId; 4] = [0, 1, 2, 3];

impl Scene {
    fn new() -> Self {
        let store = Store::new(Config::default());
        let snapshot = store.snapshot();
        let mut scene = Scene {
            store,
            host: DOMAINS.into(),
            snapshot,
            journal: Vec::new(),
            now: 0,
        };
        scene.step(Event::SocketOpened(1));
        scene.step(Event::DomainAttached {
            domain: 0,
            frame: 1,
            port: 1,
        });
        for id in [1, 2] {
            scene.send(
                4,
                Operation::Introduce as u32,
                0,
                format!("{id}\x001\x001\0").as_bytes(),
            );
            let home = format!("/local/domain/{id}\0");
            scene.send(4, Operation::Mkdir as u32, 0, home.as_bytes());
            scene.send(
                4,
                Operation::SetPerms as u32,
                0,
                format!("{home}n{id}\0").as_bytes(),
            );
            scene.run(100);
        }
        scene
    }

    fn step(&mut self, event: Event<'_>) {
        let mut pending = vec![self.store.step(event, &self.host)];
        self.journal.extend(self.store.take_journal());
        while let Some(effects) = pending.pop() {
            for effect in effects {
                match effect {
                    Effect::Introduce { domain, .. } => {
                        let result = Ok(());
                        let event = Event::Introduced { domain, result };
                        pending.push(self.store.step(event, &self.host));
                    }
                    Effect::Control { connection, .. } => {
                        let result = Ok(&b"OK\0"[..]);
                        let event = Event::ControlDone { connection, result };
                        pending.push(self.store.step(event, &self.host));
                    }
                    Effect::Disconnect {
                        connection: ConnectionId::Socket(socket),
                        ..
                    } => pending.push(self.store.step(Event::SocketOpened(socket), &self.host)),
                    _ => {}
                }
                self.journal.extend(self.store.take_journal());
            }
        }
    }

    fn connection(number: u8) -> ConnectionId {
        match number % 8 {
            id @ 0..=3 => ConnectionId::Domain(u16::from(id)),
            _ => ConnectionId::Socket(1),
        }
    }

    fn send(&mut self, who: u8, kind: u32, transaction: u32, payload: &[u8]) {
        let message = wire::message(kind, 7, transaction, payload);
        self.receive(who, &message);
    }

    fn receive(&mut self, who: u8, bytes: &[u8]) {
        let connection = Self::connection(who);
        let space = self.store.input_space(connection);
        let bytes = &bytes[..bytes.len().min(space)];
        self.step(Event::Received { connection, bytes });
    }

    fn run(&mut self, turns: usize) {
        for _ in 0..turns {
            if !self.store.has_work() {
                break;
            }
            self.step(Event::Turn);
        }
    }

    fn act(&mut self, action: u8, who: u8, bytes: &[u8]) {
        let first = bytes.first().copied().unwrap_or(0);
        let connection = Self::connection(who);
        let domain = DOMAINS[usize::from(who) % DOMAINS.len()];
        match action {
            0 => self.receive(who, bytes),
            1..=4 => {
                let (transaction, payload) = bytes.get(1..).map_or((0, &[][..]), |rest| {
                    rest.split_first()
                        .map_or((0, &[][..]), |(tx, payload)| (*tx, payload))
                });
                self.send(who, u32::from(first), u32::from(transaction), payload);
                if action > 2 {
                    self.run(1);
                }
            }
            5 => self.run(usize::from(first) + 1),
            6 => {
                let count = self
                    .store
                    .backlog(connection)
                    .min(usize::from(first) * 16 + 1);
                self.step(Event::Sent { connection, count });
            }
            _ => match first % 8 {
                0 => self.step(Event::DomainShutdown(domain)),
                1 => self.step(Event::DomainGone(domain)),
                2 => {
                    self.send(
                        4,
                        Operation::Introduce as u32,
                        0,
                        format!("{domain}\x001\x001\0").as_bytes(),
                    );
                }
                3 => {
                    self.now += 7_000;
                    self.step(Event::Tick { now: self.now });
                }
                4 => self.step(Event::RingFailed(domain)),
                5 => {
                    let bytes = self.store.snapshot();
                    self.store =
                        Store::restore(Config::default(), &bytes).expect("its own snapshot");
                    assert!(self.store.snapshot() == bytes, "restored, it is another");
                    self.snapshot = bytes;
                    self.journal.clear();
                }
                6 => {
                    let recovered =
                        Store::recover(Config::default(), Some(&self.snapshot), &self.journal);
                    let (store, recovered) = recovered.expect("its own journal");
                    assert_eq!(recovered.problem, None);
                    self.store = store;
                    self.step(Event::SocketOpened(1));
                }
                _ => {
                    // What a disk may do: nothing of it may be believed, or hurt.
                    let (mut snapshot, mut journal) = (self.snapshot.clone(), self.journal.clone());
                    for (place, byte) in bytes.iter().enumerate() {
                        let index = place * 97 + usize::from(*byte);
                        if let Some(byte) = snapshot.get_mut(index) {
                            *byte ^= 0x55;
                        }
                        if let Some(byte) = journal.get_mut(index) {
                            *byte ^= 0x55;
                        }
                    }
                    let _ = Store::restore(Config::default(), &snapshot);
                    let _ = Store::recover(Config::default(), Some(&self.snapshot), &journal);
                }
            },
        }
    }
}

/// Plays a script, and panics if anything is out of order afterwards.
pub(crate) fn play(mut script: &[u8]) {
    let mut scene = Scene::new();
    while let Some((head, rest)) = script.split_first() {
        let (length, rest) = rest
            .split_first()
            .map_or((0, rest), |(length, rest)| (*length, rest));
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(length)));
        scene.act(head >> 5, head & 31, bytes);
        script = rest;
    }
    scene.run(1000);
    let problems = scene.store.check();
    assert!(problems.is_empty(), "{problems:?}");
    let bytes = scene.store.snapshot();
    let again = Store::restore(Config::default(), &bytes).expect("its own snapshot");
    assert!(again.snapshot() == bytes, "restored, it is another");
    let recovered = Store::recover(Config::default(), Some(&scene.snapshot), &scene.journal);
    let (store, recovered) = recovered.expect("its own journal");
    assert_eq!(recovered.problem, None);
    assert!(store.check().is_empty());
}
