//! Does each of a few things many times, in a store with as many domains as the argument says, 50 nodes each. For
//! `cargo xtask bench store`, which counts instructions by the names of the functions below.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::hint::black_box;

use xenstore_core::wire::{self, Operation};
use xenstore_core::{Config, ConnectionId, DomainId, Effect, Event, Store};

/// Times each thing is done.
const ROUNDS: u32 = 200;

struct Bench {
    store: Store,
    host: BTreeSet<DomainId>,
}

impl Bench {
    fn new(domains: DomainId) -> Self {
        let mut bench = Bench {
            store: Store::new(Config::default()),
            host: (0..=domains).collect(),
        };
        bench.step(Event::SocketOpened(1));
        for id in 1..=domains {
            bench.ask(
                ConnectionId::Socket(1),
                Operation::Introduce,
                0,
                &format!("{id}\x001\x001\0"),
            );
            let home = format!("/local/domain/{id}\0");
            bench.ask(ConnectionId::Socket(1), Operation::Mkdir, 0, &home);
            bench.ask(
                ConnectionId::Socket(1),
                Operation::SetPerms,
                0,
                &format!("{home}n{id}\0"),
            );
            for node in 0..46 {
                let payload = format!("device/{}/{node}\0value", node % 4);
                bench.ask(ConnectionId::Domain(id), Operation::Write, 0, &payload);
            }
            bench.ask(
                ConnectionId::Domain(id),
                Operation::Watch,
                0,
                "device/0\0t\0",
            );
        }
        bench
    }

    fn step(&mut self, event: Event<'_>) {
        for effect in self.store.step(event, &self.host) {
            match effect {
                Effect::Introduce { domain, .. } => {
                    let result = Ok(());
                    self.step(Event::Introduced { domain, result });
                }
                Effect::Output(connection) => {
                    let count = self
                        .store
                        .output(connection)
                        .map(|chunk| black_box(chunk).len())
                        .sum();
                    self.step(Event::Sent { connection, count });
                }
                _ => {}
            }
        }
        black_box(self.store.take_journal());
    }

    fn ask(&mut self, id: ConnectionId, operation: Operation, tx: u32, payload: &str) {
        let bytes = wire::message(operation as u32, 1, tx, payload.as_bytes());
        self.step(Event::Received {
            connection: id,
            bytes: &bytes,
        });
        while self.store.has_work() {
            self.step(Event::Turn);
        }
    }
}

#[inline(never)]
fn measure_write(bench: &mut Bench, id: ConnectionId) {
    for round in 0..ROUNDS {
        bench.ask(id, Operation::Write, 0, &format!("device/1/1\0{round}"));
    }
}

#[inline(never)]
fn measure_read(bench: &mut Bench, id: ConnectionId) {
    for _ in 0..ROUNDS {
        bench.ask(id, Operation::Read, 0, "device/1/1\0");
    }
}

#[inline(never)]
fn measure_transaction(bench: &mut Bench, id: ConnectionId) {
    for round in 1..=ROUNDS {
        bench.ask(id, Operation::TransactionStart, 0, "\0");
        bench.ask(id, Operation::Read, round, "device/2/2\0");
        bench.ask(id, Operation::Write, round, "device/2/2\0new");
        bench.ask(id, Operation::Write, round, "device/3/3\0new");
        bench.ask(id, Operation::TransactionEnd, round, "T\0");
    }
}

#[inline(never)]
fn measure_watch(bench: &mut Bench, id: ConnectionId) {
    for _ in 0..ROUNDS {
        bench.ask(id, Operation::Watch, 0, "device/1\0u\0");
        bench.ask(id, Operation::Unwatch, 0, "device/1\0u\0");
    }
}

#[inline(never)]
fn measure_fire(bench: &mut Bench, id: ConnectionId) {
    for round in 0..ROUNDS {
        bench.ask(id, Operation::Write, 0, &format!("device/0/4\0{round}"));
    }
}

fn main() {
    let domains = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let mut bench = Bench::new(domains);
    let id = ConnectionId::Domain(domains / 2 + 1);
    for measure in [
        measure_write,
        measure_read,
        measure_transaction,
        measure_watch,
        measure_fire,
    ] {
        let before = bench.store.work();
        measure(&mut bench, id);
        println!(
            "{} steps each",
            (bench.store.work() - before) / u64::from(ROUNDS)
        );
    }
}
