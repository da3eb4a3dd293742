//! What a request costs does not depend on how much is in the store: 2,000 domains with 50 nodes each, against 10.
//!
//! Counted in the store's own steps of work (entries visited in trees, nodes handled); `cargo xtask bench store` counts the
//! processor's instructions.

mod support;

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
}
