//! What a request costs does not depend on how much is in the store: 2,000 domains with 50 nodes each, against 10.
//!
//! Counted in the store's own steps of work (entries visited in trees, nodes handled). `XENSTORE_FULL=1` also measures the
//! time, on a machine that should be quiet; `cargo xtask bench store` counts the processor's instructions.

mod support;

use std::time::Instant;

use support::{SOCKET, World, domain};
use xenstore_core::wire::Operation;
use xenstore_core::{Config, DomainId};

fn populated(domains: DomainId) -> World {
    let ids: Vec<DomainId> = (1..=domains).collect();
    let mut world = World::new(Config::default(), &ids);
    for id in ids {
        let home = format!("/local/domain/{id}");
        world.send(
            SOCKET,
            Operation::Mkdir as u32,
            0,
            format!("{home}\0").as_bytes(),
        );
        let perms = format!("{home}\0n{id}\0");
        world.send(SOCKET, Operation::SetPerms as u32, 0, perms.as_bytes());
        world.run();
        world.deliver(SOCKET);
        for node in 0..49 {
            let payload = format!("device/{}/{node}\0value", node % 4);
            world.send(domain(id), Operation::Write as u32, 0, payload.as_bytes());
            world.run();
            world.deliver(domain(id));
        }
        world.send(domain(id), Operation::Watch as u32, 0, b"device\0t\0");
        world.send(
            SOCKET,
            Operation::Watch as u32,
            0,
            format!("{home}/device/0\0t\0").as_bytes(),
        );
        world.run();
        world.deliver(domain(id));
        world.deliver(SOCKET);
        world.inbox.clear();
        world.journal.clear();
    }
    world
}

/// Steps for one write, one transaction of three operations, one watch set and fired.
fn costs(world: &mut World, id: DomainId) -> [(&'static str, u64); 4] {
    let mut last = world.store.work();
    let mut since = |world: &World| {
        let now = world.store.work();
        let cost = now - last;
        last = now;
        cost
    };
    let client = domain(id);
    let ask = |world: &mut World, operation: Operation, tx: u32, payload: &[u8]| {
        world.send(client, operation as u32, tx, payload);
        world.run();
        world.deliver(client);
        world.deliver(SOCKET);
    };
    ask(world, Operation::Write, 0, b"device/1/1\0new");
    let write = since(world);
    ask(world, Operation::TransactionStart, 0, b"\0");
    let reply = world
        .inbox
        .get_mut(&client)
        .and_then(|inbox| inbox.pop_back())
        .unwrap()
        .1;
    let tx = String::from_utf8(reply)
        .unwrap()
        .trim_end_matches('\0')
        .parse()
        .unwrap();
    ask(world, Operation::Read, tx, b"device/2/2\0");
    ask(world, Operation::Write, tx, b"device/2/2\0new");
    ask(world, Operation::Write, tx, b"device/3/new\0new");
    ask(world, Operation::TransactionEnd, tx, b"T\0");
    let transaction = since(world);
    ask(world, Operation::Watch, 0, b"device/0\0u\0");
    let watch = since(world);
    ask(world, Operation::Write, 0, b"device/0/4\0fire");
    let fire = since(world);
    [
        ("write", write),
        ("transaction", transaction),
        ("watch", watch),
        ("fire", fire),
    ]
}

/// The best times of many rounds of `costs`'s three kinds of requests, in nanoseconds.
fn times(world: &mut World, id: DomainId) -> [(&'static str, u128); 3] {
    let client = domain(id);
    let mut best = [
        ("write", u128::MAX),
        ("transaction", u128::MAX),
        ("watch", u128::MAX),
    ];
    let ask = |world: &mut World, operation: Operation, tx: u32, payload: &[u8]| {
        world.send(client, operation as u32, tx, payload);
        world.run();
        world.deliver(client);
        world.deliver(SOCKET);
    };
    for round in 0..5000_u32 {
        let value = round % 10;
        let began = Instant::now();
        let payload = format!("device/1/1\0{value}");
        ask(world, Operation::Write, 0, payload.as_bytes());
        let written = Instant::now();
        ask(world, Operation::TransactionStart, 0, b"\0");
        let inbox = world.inbox.get_mut(&client).unwrap();
        let reply = inbox.pop_back().unwrap().1;
        let number = String::from_utf8(reply).unwrap();
        let tx = number.trim_end_matches('\0').parse().unwrap();
        let payload = format!("device/2/2\0{value}");
        ask(world, Operation::Write, tx, payload.as_bytes());
        ask(world, Operation::TransactionEnd, tx, b"T\0");
        let ended = Instant::now();
        ask(world, Operation::Watch, 0, b"device/0\0v\0");
        ask(world, Operation::Write, 0, b"device/0/4\0fire");
        ask(world, Operation::Unwatch, 0, b"device/0\0v\0");
        let watched = Instant::now();
        let inbox = &world.inbox[&client];
        assert!(
            inbox
                .iter()
                .all(|(header, _)| header.kind != xen_abi::io::xs_wire::XS_ERROR)
        );
        world.journal.clear();
        world.inbox.clear();
        let times = [written - began, ended - written, watched - ended];
        for ((_, best), time) in best.iter_mut().zip(times) {
            *best = (*best).min(time.as_nanos());
        }
    }
    best
}

#[test]
fn cost_does_not_grow_with_the_store() {
    let few = costs(&mut populated(10), 5);
    let mut large = populated(2000);
    let many = costs(&mut large, 1234);
    large.check();
    for ((what, few), (_, many)) in few.into_iter().zip(many) {
        println!("{what}: {few} steps with 10 domains, {many} with 2,000");
        assert!(few > 0 && many * 2 <= few * 3, "{what}: {few} and {many}");
    }
    if std::env::var_os("XENSTORE_FULL").is_none() {
        return;
    }
    let few = times(&mut populated(10), 5);
    for ((what, few), (_, many)) in few.into_iter().zip(times(&mut large, 1234)) {
        println!("{what}: {few} ns with 10 domains, {many} ns with 2,000");
        assert!(many * 2 <= few * 3, "{what}: {few} and {many} ns");
    }
}

/// What requests cost about a path that has so many levels, of which some are missing.
fn deep(levels: usize) -> Vec<(&'static str, u64)> {
    let mut w = World::new(Config::default(), &[1]);
    let home = "/local/domain/1";
    w.write(SOCKET, home, "").unwrap();
    w.ask(SOCKET, Operation::SetPerms, 0, &[home, "n1"])
        .unwrap();
    let id = domain(1);
    let (half, whole) = ("a/".repeat(levels / 2), "a/".repeat(levels));
    let path = |text: &str| text.trim_end_matches('/').to_string();
    let missing = format!("{half}b{}", "/b".repeat(levels / 2 - 1));
    let mut costs = Vec::new();
    let mut run = |w: &mut World, what, request: &mut dyn FnMut(&mut World)| {
        let before = w.store.work();
        request(w);
        costs.push((what, w.store.work() - before));
    };
    run(&mut w, "made", &mut |w| {
        w.write(id, &path(&half), "").unwrap();
    });
    run(&mut w, "not there", &mut |w| {
        w.read(id, &missing).unwrap_err();
    });
    let tx = w.begin(id);
    run(&mut w, "not there, in a transaction", &mut |w| {
        w.ask(id, Operation::Read, tx, &[&missing]).unwrap_err();
    });
    run(&mut w, "made in a transaction", &mut |w| {
        w.write_in(id, tx, &path(&whole), b"1").unwrap();
    });
    run(&mut w, "a transaction's end", &mut |w| {
        w.end(id, tx, true).unwrap();
    });
    let tx = w.begin(id);
    run(&mut w, "removed in a transaction", &mut |w| {
        w.ask(id, Operation::Rm, tx, &["a"]).unwrap();
    });
    w.end(id, tx, false).unwrap();
    run(&mut w, "removed", &mut |w| {
        w.ask(id, Operation::Rm, 0, &["a"]).unwrap();
    });
    assert_eq!(w.store.usage(1).unwrap().nodes, 1);
    w.check();
    costs
}

/// What a domain asks for is handled at a stretch: it must not be able to ask for very much.
#[test]
fn long_paths_cost_in_proportion() {
    for ((what, short), (_, long)) in deep(90).into_iter().zip(deep(900)) {
        println!("{what}: {short} steps with 90 levels, {long} with 900");
        assert!(
            long <= 15 * short && long < 30_000,
            "{what}: {short}, {long}"
        );
    }
}
