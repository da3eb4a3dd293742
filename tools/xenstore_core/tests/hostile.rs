//! Eight clients, two of them hostile, send random messages: nothing panics, nobody passes their quotas, and the others wait
//! at most twice as long as when the two behave. `XENSTORE_FULL=1` sends ten million messages.

mod support;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use support::{Random, SOCKET, World, domain};
use xenstore_core::wire::{self, Header, Operation, PAYLOAD_MAX};
use xenstore_core::{Config, ConnectionId, Event, Quota};

const CLIENTS: [ConnectionId; 8] = [
    SOCKET,
    ConnectionId::Domain(1),
    ConnectionId::Domain(2),
    ConnectionId::Domain(3),
    ConnectionId::Domain(4),
    ConnectionId::Domain(5),
    // These two may be hostile.
    ConnectionId::Domain(6),
    ConnectionId::Domain(7),
];

fn world() -> World {
    let mut world = World::new(Config::default(), &[1, 2, 3, 4, 5, 6, 7]);
    for id in 1..=7 {
        let home = format!("/local/domain/{id}");
        world.write(SOCKET, &home, "").unwrap();
        // The others may read, and so are told of what happens here.
        world
            .ask(SOCKET, Operation::SetPerms, 0, &[&home, &format!("r{id}")])
            .unwrap();
    }
    world.write(SOCKET, "/shared", "").unwrap();
    world
        .ask(SOCKET, Operation::SetPerms, 0, &["/shared", "b0"])
        .unwrap();
    world.journal.clear();
    world
}

/// A request such as drivers make.
fn polite(random: &mut Random, request: u32) -> Vec<u8> {
    let path = format!("data/{}/{}", random.below(6), random.below(4));
    let (operation, payload) = match random.below(12) {
        0..=3 => (Operation::Read, format!("{path}\0")),
        4..=6 => (Operation::Write, format!("{path}\0value")),
        7 => (Operation::Directory, "data\0".to_string()),
        8 => (Operation::Rm, format!("{path}\0")),
        9 => (Operation::Watch, format!("{path}\0t\0")),
        10 => (Operation::Unwatch, format!("{path}\0t\0")),
        _ => (Operation::Mkdir, format!("{path}\0")),
    };
    wire::message(operation as u32, request, 0, payload.as_bytes())
}

/// Anything at all.
fn hostile(random: &mut Random, request: u32) -> Vec<u8> {
    let deep = || "/a".repeat(900);
    let path = match random.below(9) {
        0 => "/local/domain/1/data".to_string(),
        1 => format!("/shared/{}", random.below(300)),
        2 => deep(),
        3 => format!("/local/domain/{}{}", 6 + random.below(2), deep()),
        4 => "@releaseDomain".to_string(),
        5 => String::from_utf8_lossy(&random.next().to_le_bytes()).into_owned(),
        6 => "/".to_string(),
        _ => format!("n{}/{}", random.below(40), random.below(40)),
    };
    let mut payload = path.into_bytes();
    payload.push(0);
    match random.below(5) {
        0 => payload.extend(vec![b'x'; random.below(4096) as usize]),
        1 => payload.extend_from_slice(b"token\0"),
        2 => payload.extend_from_slice(b"n6\0b1\0r2\0"),
        3 => payload.extend((0..random.below(64)).map(|_| random.next() as u8)),
        _ => {}
    }
    if random.below(8) == 0 {
        payload = b"T\0".to_vec();
    }
    payload.truncate(PAYLOAD_MAX);
    let kind = match random.below(40) {
        0 => random.next() as u32,
        1..=4 => Operation::TransactionStart as u32,
        5..=7 => Operation::TransactionEnd as u32,
        8..=16 => Operation::Write as u32,
        17..=20 => Operation::Watch as u32,
        21..=23 => Operation::Rm as u32,
        _ => random.below(28) as u32,
    };
    let transaction = if random.below(3) == 0 {
        random.below(12) as u32
    } else {
        0
    };
    let transaction = if kind == Operation::TransactionStart as u32 {
        0
    } else {
        transaction
    };
    let mut message = wire::message(kind, request, transaction, &payload);
    if random.below(20_000) == 0 {
        let length = 4097 + random.below(1 << 30) as u32;
        let header = Header {
            kind,
            request,
            transaction,
            length,
        };
        message = header.to_bytes().to_vec();
    }
    message
}

/// What polite clients waited, each with one request at a time.
struct Outcome {
    /// In turns, which anyone's requests are.
    turns: u64,
    /// In steps of work, of which a turn has as many as its request takes: in time, that is.
    steps: u64,
    messages: u64,
    /// Requests of the hostile ones that were handled.
    hostile: u64,
    most_memory: u64,
}

/// Requests of a domain that were handled.
fn handled(w: &World, id: u16) -> u64 {
    let metrics = w.store.metrics_of(id).unwrap();
    let requests = metrics
        .lines()
        .filter(|line| line.starts_with("xenstore_requests_total{"));
    requests
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

/// The value that 99 of 100 are not above; values with how often they came.
fn percentile(counts: &BTreeMap<u64, u64>) -> u64 {
    let total: u64 = counts.values().sum();
    let mut below = 0;
    let found = counts.iter().find(|(_, count)| {
        below += **count;
        below * 100 >= total * 99
    });
    found.map_or(0, |(value, _)| *value)
}

fn run(messages: u64, with_hostile: bool) -> Outcome {
    let mut w = world();
    let mut random = Random(if with_hostile { 11 } else { 12 });
    let mut sent_at: BTreeMap<ConnectionId, (u64, u64)> = BTreeMap::new();
    let mut backlog: BTreeMap<ConnectionId, VecDeque<u8>> = BTreeMap::new();
    let mut turns: BTreeMap<u64, u64> = BTreeMap::new();
    let mut steps: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut count, mut turn, mut most_memory) = (0u64, 0u64, 0u64);
    let mut request = 0;
    while count < messages {
        for (index, id) in CLIENTS.into_iter().enumerate() {
            if with_hostile && index >= 6 {
                // As much as is taken, in pieces of any size; replies are taken rarely.
                let queue = backlog.entry(id).or_default();
                while queue.len() < 8192 {
                    request += 1;
                    queue.extend(hostile(&mut random, request));
                    count += 1;
                }
                let space = w.store.input_space(id).min(1 + random.below(1024) as usize);
                let bytes: Vec<u8> = queue.drain(..space.min(queue.len())).collect();
                if !bytes.is_empty() {
                    w.step(Event::Received {
                        connection: id,
                        bytes: &bytes,
                    });
                }
                if w.disconnected.pop().is_some() {
                    let ConnectionId::Domain(domain) = id else {
                        continue;
                    };
                    backlog.remove(&id);
                    w.introduce(domain);
                }
                if random.below(20) == 0 {
                    let bytes = w.store.backlog(id);
                    let part = random.below(bytes as u64 + 1) as usize;
                    w.step(Event::Sent {
                        connection: id,
                        count: part,
                    });
                }
                continue;
            }
            // At times nobody else wants anything, and the hostile ones get all that they ask for.
            let is_pause = turn % 8192 < 1024;
            if let Entry::Vacant(free) = sent_at.entry(id)
                && !is_pause
            {
                request += 1;
                count += 1;
                let mut message = polite(&mut random, request);
                if id == SOCKET {
                    message = polite_socket(message);
                }
                w.step(Event::Received {
                    connection: id,
                    bytes: &message,
                });
                free.insert((turn, w.store.work()));
            }
        }
        w.step(Event::Turn);
        turn += 1;
        if turn % 512 == 0 {
            w.step(Event::Tick { now: turn / 8 });
        }
        for id in &CLIENTS[..if with_hostile { 6 } else { 8 }] {
            w.deliver(*id);
            let inbox = w.inbox.entry(*id).or_default();
            let replied = inbox.iter().any(|(header, _)| header.request != 0);
            inbox.clear();
            if replied && let Some((since, work)) = sent_at.remove(id) {
                *turns.entry(turn - since).or_default() += 1;
                *steps.entry(w.store.work() - work).or_default() += 1;
            }
        }
        w.journal.clear();
        w.log.clear();
        if turn % 64 == 0 {
            for id in 1..=7 {
                let usage = w.store.usage(id).unwrap();
                most_memory = most_memory.max(usage.memory);
                assert!(usage.nodes <= 1000 && usage.watches <= 128 && usage.transactions <= 10);
                assert!(usage.outstanding <= 20);
                let limit = u64::from(w.store.limit(id, Quota::Memory));
                // A reply may pass the limit, but then nothing more is handled.
                assert!(
                    usage.memory <= limit + 4096 + 16 + 64,
                    "domain {id}: {usage:?}"
                );
            }
        }
        if turn % 65_536 == 0 {
            w.check();
        }
    }
    w.check();
    Outcome {
        turns: percentile(&turns),
        steps: percentile(&steps),
        messages: count,
        hostile: handled(&w, 6) + handled(&w, 7),
        most_memory,
    }
}

/// The same below `/local/domain/0` is not domain 0's home alone: it takes the shared directory.
fn polite_socket(message: Vec<u8>) -> Vec<u8> {
    let header = Header::parse(&message).expect("it is whole");
    let mut payload = b"/shared/".to_vec();
    payload.extend_from_slice(&message[wire::HEADER_SIZE..]);
    wire::message(header.kind, header.request, 0, &payload)
}

#[test]
fn hostile_clients_do_not_starve_others() {
    let messages = if std::env::var_os("XENSTORE_FULL").is_some() {
        10_000_000
    } else {
        100_000
    };
    let alone = run(messages / 10, false);
    let beside = run(messages, true);
    println!(
        "{} messages: 99th percentile {} turns, {} steps with polite clients, {} and {} with two hostile ones; \
         {} of theirs handled; most memory {} bytes",
        beside.messages,
        alone.turns,
        alone.steps,
        beside.turns,
        beside.steps,
        beside.hostile,
        beside.most_memory
    );
    assert!(beside.hostile > messages / 20, "{}", beside.hostile);
    for (alone, beside) in [(alone.turns, beside.turns), (alone.steps, beside.steps)] {
        assert!(alone > 0 && beside <= 2 * alone, "{alone} and {beside}");
    }
}

/// Whatever bytes come, in whatever order.
#[test]
fn any_bytes_at_all() {
    let mut w = world();
    let mut random = Random(3);
    for number in 0..20_000u64 {
        let id = domain(1 + (number % 7) as u16);
        let count = random.below(40) as usize;
        let bytes: Vec<u8> = (0..count)
            .map(|_| {
                if random.below(3) == 0 {
                    random.next() as u8
                } else {
                    random.below(4) as u8
                }
            })
            .collect();
        if w.store.input_space(id) >= count {
            w.step(Event::Received {
                connection: id,
                bytes: &bytes,
            });
        }
        w.run();
        w.deliver_all();
        w.inbox.clear();
        if let Some(ConnectionId::Domain(domain)) = w.disconnected.pop() {
            w.introduce(domain);
        }
    }
    w.check();
}
