//! Journal and snapshots: what was committed comes back, whole records only, wherever the journal was cut.
//! `XENSTORE_FULL=1` runs the full length.

mod support;

use support::{Random, SOCKET, World, domain};
use xenstore_core::wire::Operation;
use xenstore_core::{Config, ConnectionId, Error, Event, Store, describe};

fn full() -> bool {
    std::env::var_os("XENSTORE_FULL").is_some()
}

fn world() -> World {
    with(Config::default())
}

fn with(config: Config) -> World {
    let mut world = World::new(config, &[1, 2]);
    for id in [1, 2] {
        let home = format!("/local/domain/{id}");
        world.write(SOCKET, &home, "").unwrap();
        let other = format!("r{}", 3 - id);
        world
            .ask(
                SOCKET,
                Operation::SetPerms,
                0,
                &[&home, &format!("n{id}"), &other],
            )
            .unwrap();
    }
    world
}

/// A snapshot's body without sockets, and without the generation, which also counts what was never committed.
fn canonical(store: &Store) -> Vec<u8> {
    let (store, _) = Store::recover(Config::default(), Some(&store.snapshot()), &[]).unwrap();
    store.snapshot()[32..].to_vec()
}

/// Something random. Messages go in, turns are taken, output is taken, each on its own.
fn step(world: &mut World, random: &mut Random, transactions: bool) {
    let clients = [SOCKET, domain(0), domain(1), domain(2)];
    let id = *random.pick(&clients);
    let paths = [
        "/local/domain/1/a",
        "/local/domain/1/a/b",
        "/local/domain/2/c",
        "/x",
        "/x/y",
        "rel",
    ];
    let path = *random.pick(&paths);
    let transaction = match id {
        ConnectionId::Socket(_) => random.below(3) as u32,
        _ if transactions => random.below(3) as u32,
        _ => 0,
    };
    let (operation, payload): (Operation, Vec<u8>) = match random.below(16) {
        0..=3 => (
            Operation::Write,
            format!("{path}\0{}", random.below(1000)).into_bytes(),
        ),
        4 => (Operation::Rm, format!("{path}\0").into_bytes()),
        5 => (Operation::Watch, format!("{path}\0token\0").into_bytes()),
        6 => (Operation::Unwatch, format!("{path}\0token\0").into_bytes()),
        7 => (
            Operation::SetPerms,
            format!("{path}\0n1\0r2\0").into_bytes(),
        ),
        8 if id == SOCKET || transactions => (Operation::TransactionStart, b"\0".to_vec()),
        9 => (Operation::TransactionEnd, b"T\0".to_vec()),
        10 => {
            let count = world.store.backlog(id).min(random.below(90) as usize);
            return world.step(Event::Sent {
                connection: id,
                count,
            });
        }
        11..=13 => return world.step(Event::Turn),
        14 => match random.below(40) {
            0 => return world.step(Event::DomainShutdown(2)),
            1 => (Operation::Introduce, b"2\x0077\x003\0".to_vec()),
            2 => (Operation::ResetWatches, b"\0".to_vec()),
            3 => (Operation::SetQuota, b"1\0nodes\x0099\0".to_vec()),
            4 => return world.step(Event::RingFailed(2)),
            5 => return world.step(Event::DomainGone(2)),
            6 => {
                return world.step(Event::Remember {
                    connection: id,
                    bytes: path.as_bytes(),
                });
            }
            _ => (Operation::Mkdir, format!("{path}\0").into_bytes()),
        },
        _ => (Operation::Read, format!("{path}\0").into_bytes()),
    };
    let transaction = if operation == Operation::TransactionStart {
        0
    } else {
        transaction
    };
    let message = xenstore_core::wire::message(operation as u32, 9, transaction, &payload);
    // A piece of it, at times.
    let count = match random.below(4) {
        0 => random.below(message.len() as u64) as usize,
        _ => message.len(),
    };
    for bytes in [&message[..count], &message[count..]] {
        if !bytes.is_empty() && world.store.input_space(id) >= bytes.len() {
            world.step(Event::Received {
                connection: id,
                bytes,
            });
        } else {
            return;
        }
    }
}

/// Lengths of the journal, and the store's state at each.
type States = Vec<(usize, Vec<u8>)>;

/// A snapshot, the journal since, and the states on the way.
fn history(seed: u64, steps: usize, transactions: bool) -> (Vec<u8>, Vec<u8>, States) {
    let mut world = world();
    world.deliver_all();
    let mut random = Random(seed);
    let snapshot = world.store.snapshot();
    world.journal.clear();
    let mut states = vec![(0, canonical(&world.store))];
    for _ in 0..steps {
        let before = world.journal.len();
        step(&mut world, &mut random, transactions);
        if world.journal.len() != before {
            states.push((world.journal.len(), canonical(&world.store)));
        }
        world.check();
    }
    (snapshot, world.journal, states)
}

#[test]
fn any_prefix_gives_what_was_committed_then() {
    let (seeds, steps) = if full() { (40, 1500) } else { (4, 150) };
    let mut cuts = 0;
    for seed in 0..seeds {
        let (snapshot, journal, states) = history(seed, steps, false);
        // At every byte of the first histories; at each record, one before and one after, of the others.
        let every_byte = seed < if full() { 10 } else { 2 };
        let mut expected = 0;
        for cut in 0..=journal.len() {
            if states.get(expected + 1).is_some_and(|(end, _)| cut >= *end) {
                expected += 1;
            }
            let (begin, state) = &states[expected];
            let near = cut - begin < 2
                || states
                    .get(expected + 1)
                    .is_some_and(|(end, _)| end - cut < 2);
            if !(near || (every_byte && cut < 20_000)) {
                continue;
            }
            cuts += 1;
            let (store, recovered) =
                Store::recover(Config::default(), Some(&snapshot), &journal[..cut]).unwrap();
            assert!(recovered.bytes <= cut && recovered.bytes >= *begin);
            assert_eq!(recovered.problem.is_some(), recovered.bytes != cut);
            if recovered.bytes == *begin {
                assert!(
                    store.snapshot()[32..] == state[..],
                    "seed {seed}: cut at {cut}"
                );
                assert!(store.check().is_empty());
            }
        }
    }
    println!("{cuts} cuts");
}

#[test]
fn with_transactions_open() {
    let seeds = if full() { 300 } else { 10 };
    for seed in 0..seeds {
        let (snapshot, journal, _) = history(1000 + seed, 200, true);
        let (store, recovered) =
            Store::recover(Config::default(), Some(&snapshot), &journal).unwrap();
        assert_eq!(recovered.problem, None);
        assert!(store.check().is_empty(), "{:?}", store.check());
    }
}

#[test]
fn damage_is_found_and_never_believed() {
    let (snapshot, journal, _) = history(77, 120, true);
    let mut ends = vec![0];
    while let Some(length) = journal
        .get(ends[ends.len() - 1]..)
        .and_then(<[u8]>::first_chunk)
    {
        ends.push(ends[ends.len() - 1] + 8 + u32::from_le_bytes(*length) as usize);
    }
    let mut random = Random(5);
    for _ in 0..if full() { 20_000 } else { 300 } {
        let mut damaged = journal.clone();
        let place = random.below(damaged.len() as u64) as usize;
        damaged[place] ^= 1 << random.below(8);
        let (store, recovered) =
            Store::recover(Config::default(), Some(&snapshot), &damaged).unwrap();
        assert!(recovered.bytes <= place && recovered.problem.is_some());
        assert!(ends.contains(&recovered.bytes));
        assert!(store.check().is_empty());
        let mut damaged = snapshot.clone();
        let place = random.below(damaged.len() as u64) as usize;
        damaged[place] ^= 1 << random.below(8);
        assert!(Store::restore(Config::default(), &damaged).is_err());
        assert!(describe(&damaged).is_err());
        let cut = random.below(snapshot.len() as u64) as usize;
        assert!(Store::restore(Config::default(), &snapshot[..cut]).is_err());
    }
    assert!(describe(&snapshot).unwrap().contains("nodes"));
    assert!(describe(b"something else").is_err());
}

#[test]
fn a_live_update_is_not_noticed() {
    // A tree that was made anew has another shape, and so other costs: these must not change whose turn it is.
    let config = Config {
        turn_budget: 1 << 30,
        ..Config::default()
    };
    let rounds = if full() { 2000 } else { 60 };
    for seed in 0..rounds {
        let mut world = with(config.clone());
        let mut random = Random(3000 + seed);
        let mut twin = Random(3000 + seed);
        let mut updated = with(config.clone());
        for number in 0..120 {
            step(&mut world, &mut random, true);
            step(&mut updated, &mut twin, true);
            if number % 10 == 3 {
                let snapshot = updated.store.snapshot();
                updated.store = Store::restore(config.clone(), &snapshot).unwrap();
                assert!(
                    updated.store.snapshot() == snapshot,
                    "seed {seed}: restored, it is another"
                );
                updated.check();
            }
            for id in [SOCKET, domain(0), domain(1), domain(2)] {
                let (a, b) = (world.store.backlog(id), updated.store.backlog(id));
                let (left, right) = (world.store.memory_report(), updated.store.memory_report());
                assert_eq!(a, b, "seed {seed}, step {number}: {id:?}\n{left}{right}");
                assert!(
                    world
                        .store
                        .output(id)
                        .flatten()
                        .eq(updated.store.output(id).flatten())
                );
            }
            // Whose turn is next is not kept: all turns are taken before another update.
            if number % 10 == 2 {
                world.run();
                updated.run();
            }
        }
    }
}

#[test]
fn a_thousand_watches_and_ten_transactions() {
    let mut world = world();
    for number in 0..1000 {
        let path = format!("/w/{number}");
        world.write(SOCKET, &path, "").unwrap();
        world
            .ask(SOCKET, Operation::Watch, 0, &[&path, "t"])
            .unwrap();
    }
    let open: Vec<u32> = (0..10).map(|_| world.begin(domain(1))).collect();
    for tx in &open {
        let path = format!("t{tx}");
        world.write_in(domain(1), *tx, &path, b"v").unwrap();
    }
    world.events(SOCKET);
    for round in 0..if full() { 100 } else { 5 } {
        let snapshot = world.store.snapshot();
        world.store = Store::restore(Config::default(), &snapshot).unwrap();
        world.write(SOCKET, &format!("/w/{round}"), "v").unwrap();
        assert_eq!(world.paths(SOCKET), [format!("/w/{round}")]);
    }
    for tx in &open {
        assert_eq!(world.end(domain(1), *tx, true), Ok(b"OK\0".to_vec()));
    }
    for tx in &open {
        assert_eq!(world.read(domain(1), &format!("t{tx}")), Ok(b"v".to_vec()));
    }
    world.check();
}

#[test]
fn domains_go_on_after_a_crash() {
    let mut world = world();
    let snapshot = world.store.snapshot();
    world.journal.clear();
    world
        .ask(domain(1), Operation::Watch, 0, &["w", "t"])
        .unwrap();
    let tx = world.begin(domain(1));
    world.write_in(domain(1), tx, "mine", b"v").unwrap();
    // A reply that was not taken, half a request, and a write that nobody answered yet.
    world.send(domain(1), Operation::Read as u32, 0, b"w\0");
    world.run();
    let half = xenstore_core::wire::message(Operation::Write as u32, 900, 0, b"late\0value");
    world.step(Event::Received {
        connection: domain(1),
        bytes: &half[..20],
    });
    let waits: Vec<u8> = world.store.output(domain(1)).flatten().copied().collect();
    let totals = world.store.connection(domain(1)).unwrap();
    let totals = (totals.received, totals.sent, totals.introduced);

    let (store, _) = Store::recover(Config::default(), Some(&snapshot), &world.journal).unwrap();
    let state = store.connection(domain(1)).unwrap();
    assert_eq!((state.received, state.sent, state.introduced), totals);
    assert!(store.output(domain(1)).flatten().copied().eq(waits));
    world.store = store;
    world.step(Event::SocketOpened(1));
    world.step(Event::Received {
        connection: domain(1),
        bytes: &half[20..],
    });
    world.run();
    world.deliver_all();
    assert_eq!(
        world.read(SOCKET, "/local/domain/1/late"),
        Ok(b"value".to_vec())
    );
    assert_eq!(
        world.ask(domain(1), Operation::Read, tx, &["mine"]),
        Ok(b"v".to_vec())
    );
    assert_eq!(world.end(domain(1), tx, true), Err(Error::Eagain));
    world.write(SOCKET, "/local/domain/1/w", "").unwrap();
    world.events(SOCKET);
    assert!(world.paths(domain(1)).contains(&"w".to_string()));
    world.check();
}
