//! Quotas, memory, and those who do not keep to their share.

mod support;

use support::{A, B, SOCKET, World, perms, world};
use xenstore_core::wire::Operation::*;
use xenstore_core::{Config, Error, Event, Level, Quota, Reason};

#[test]
fn quotas_at_their_limits() {
    let mut w = world();
    let limit = |quota: Quota| Config::default().hard.get(quota) as u64;
    // Nodes: the home is one.
    for number in 1..limit(Quota::Nodes) {
        w.write(A, &format!("d{}/n{number}", number / 100), "")
            .unwrap_or_else(|error| {
                assert_eq!(
                    (error, w.store.usage(1).unwrap().nodes),
                    (Error::Enospc, 1000)
                );
                vec![]
            });
    }
    assert_eq!(w.store.usage(1).unwrap().nodes, 1000);
    assert_eq!(w.write(A, "more", ""), Err(Error::Enospc));
    w.ask(A, Rm, 0, &["d0/n1"]).unwrap();
    assert_eq!(w.write(A, "two/more", ""), Err(Error::Enospc));
    assert_eq!(w.write(A, "more", ""), Ok(b"OK\0".to_vec()));
    // Node size, and what domain 0 may.
    w.ask(A, Rm, 0, &["d1"]).unwrap();
    let free = 2048 - 16 - 8;
    assert_eq!(w.write(A, "s", &"x".repeat(free)), Ok(b"OK\0".to_vec()));
    assert_eq!(w.write(A, "s", &"x".repeat(free + 1)), Err(Error::Enospc));
    assert_eq!(
        w.write(SOCKET, "/local/domain/1/s", &"x".repeat(4000)),
        Ok(b"OK\0".to_vec())
    );
    for number in 0..limit(Quota::Watches) {
        w.ask(A, Watch, 0, &["x", &number.to_string()]).unwrap();
    }
    assert_eq!(w.ask(A, Watch, 0, &["x", "t"]), Err(Error::E2big));
    for _ in 0..limit(Quota::Transactions) {
        w.begin(A);
    }
    assert_eq!(w.ask(A, TransactionStart, 0, &[""]), Err(Error::Enospc));
    w.write(A, "p", "").unwrap();
    assert_eq!(
        w.ask(A, SetPerms, 0, &["p", "n1", "r2", "r2", "r2", "r2"]),
        Ok(b"OK\0".to_vec())
    );
    let six = ["p", "n1", "r2", "r2", "r2", "r2", "r2"];
    assert_eq!(w.ask(A, SetPerms, 0, &six), Err(Error::Enospc));
    assert_eq!(
        w.read(A, &format!("/{}", "x".repeat(2047))),
        Err(Error::Eacces)
    );
    assert_eq!(
        w.read(A, &format!("/{}", "x".repeat(2048))),
        Err(Error::Einval)
    );
    w.check();
}

#[test]
fn node_quota_holds_within_transactions() {
    let mut w = world();
    w.ask(SOCKET, SetQuota, 0, &["1", "nodes", "5"]).unwrap();
    let (one, two) = (w.begin(A), w.begin(A));
    for (tx, names) in [(one, ["a", "b", "c"]), (two, ["d", "e", "f"])] {
        for name in names {
            w.write_in(A, tx, name, b"").unwrap();
        }
    }
    w.write_in(A, one, "g", b"").unwrap();
    assert_eq!(w.write_in(A, one, "h", b""), Err(Error::Enospc));
    w.ask(A, Rm, one, &["g"]).unwrap();
    w.end(A, one, true).unwrap();
    assert_eq!(w.store.usage(1).unwrap().nodes, 4);
    assert_eq!(w.end(A, two, true), Err(Error::Enospc));
    assert_eq!(w.store.usage(1).unwrap().nodes, 4);
    w.check();
}

#[test]
fn transaction_nodes_are_limited() {
    let mut w = world();
    let tx = w.begin(A);
    let mut refused = 0;
    for number in 0..1100 {
        let path = format!("n{number}");
        refused += u32::from(w.ask(A, Read, tx, &[&path]) == Err(Error::Enospc));
    }
    assert!(refused > 0);
    assert_eq!(w.end(A, tx, true), Err(Error::Enomem));
    w.check();
}

#[test]
fn a_slow_reader_stalls_itself_and_those_who_flood_it() {
    let mut w = world();
    perms(&mut w, "/local/domain/1", &["n1", "r2"]);
    w.ask(B, Watch, 0, &["/local/domain/1", "t"]).unwrap();
    // B takes nothing; A causes events for B until it is stalled.
    let mut handled = 0;
    for number in 0..100 {
        if w.store.input_space(A) < 200 {
            break;
        }
        w.send(A, Write as u32, 0, format!("n{number}\0").as_bytes());
        w.run();
        w.deliver(A);
        handled += 1;
    }
    assert!(handled > 20);
    assert_eq!(w.store.usage(1).unwrap().outstanding, 20);
    w.check();
    w.deliver(B);
    w.run();
    w.deliver_all();
    while w.store.has_work() {
        w.run();
        w.deliver_all();
    }
    assert_eq!(w.store.usage(1).unwrap().outstanding, 0);
    w.check();
}

#[test]
fn events_expire_so_that_their_cause_goes_on() {
    let mut w = world();
    perms(&mut w, "/local/domain/1", &["n1", "r2"]);
    w.ask(B, Watch, 0, &["/local/domain/1", "t"]).unwrap();
    w.step(Event::Tick { now: 1000 });
    for number in 0..30 {
        w.send(A, Write as u32, 0, format!("n{number}\0").as_bytes());
        w.run();
        w.deliver(A);
    }
    assert_eq!(w.store.usage(1).unwrap().outstanding, 20);
    w.step(Event::Tick { now: 20_999 });
    assert_eq!(w.store.usage(1).unwrap().outstanding, 20);
    w.step(Event::Tick { now: 21_000 });
    w.run();
    w.deliver(A);
    assert!(w.store.usage(1).unwrap().outstanding < 20);
    w.check();
}

#[test]
fn same_events_are_not_queued_twice() {
    let mut w = world();
    w.ask(A, Watch, 0, &["x", "t"]).unwrap();
    w.events(A);
    for _ in 0..5 {
        w.write(SOCKET, "/local/domain/1/x", "").unwrap();
    }
    assert_eq!(w.events(A).len(), 5, "taken each time");
    for _ in 0..5 {
        w.send(SOCKET, Write as u32, 0, b"/local/domain/1/x\0");
        w.run();
    }
    w.deliver_all();
    assert_eq!(w.events(A).len(), 1, "not taken meanwhile");
}

#[test]
fn memory_is_bounded_and_warned_of() {
    let mut w = world();
    w.ask(SOCKET, SetQuota, 0, &["1", "memory", "100000"])
        .unwrap();
    w.ask(
        SOCKET,
        Control,
        0,
        &["quota-soft", "set", "memory", "50000"],
    )
    .unwrap();
    let mut last = Ok(vec![]);
    for number in 0..100 {
        last = w.write(A, &format!("n{number}"), &"x".repeat(2000));
        if last.is_err() {
            break;
        }
    }
    assert_eq!(last, Err(Error::Enomem));
    assert!(w.store.usage(1).unwrap().memory <= 100_000);
    assert_eq!(
        w.ask(A, Watch, 0, &["x", &"t".repeat(3000)]),
        Err(Error::Enomem)
    );
    let warned = |w: &World| {
        w.log
            .iter()
            .filter(|(level, _)| *level == Level::Warning)
            .count()
    };
    assert_eq!(warned(&w), 1);
    w.ask(A, Rm, 0, &["n1"]).unwrap();
    w.write(A, "n1", "small").unwrap();
    assert_eq!(warned(&w), 1, "once");
    w.check();
}

#[test]
fn too_long_a_message_ends_the_connection() {
    let mut w = world();
    let header = xenstore_core::wire::Header {
        kind: 2,
        request: 1,
        transaction: 0,
        length: 4097,
    };
    w.ask(A, Watch, 0, &["x", "t"]).unwrap();
    let effects = w.store.step(
        Event::Received {
            connection: A,
            bytes: &header.to_bytes(),
        },
        &w.host,
    );
    assert!(effects.iter().any(|effect| matches!(
        effect,
        xenstore_core::Effect::Disconnect {
            reason: Reason::TooLong,
            ..
        }
    )));
    assert_eq!(w.store.input_space(A), 0);
    assert_eq!(w.store.usage(1).unwrap().watches, 0);
    w.check();
    w.introduce(1);
    assert_eq!(
        w.ask(A, Read, 0, &["/"]),
        Err(Error::Eacces),
        "served again"
    );
    // A second message in the same piece is looked at when the first is done.
    let mut bytes = xenstore_core::wire::message(2, 1, 0, b"/\0");
    bytes.extend(header.to_bytes());
    w.step(Event::Received {
        connection: SOCKET,
        bytes: &bytes,
    });
    w.run();
    assert!(w.disconnected.contains(&SOCKET));
    w.check();
}

#[test]
fn old_versions_are_let_go() {
    let mut w = World::new(
        Config {
            versions_max: 64,
            ..Config::default()
        },
        &[],
    );
    w.write(SOCKET, "/d/x", "1").unwrap();
    let tx = w.begin(SOCKET);
    w.write_in(SOCKET, tx, "/d/mine", b"m").unwrap();
    for number in 0..100 {
        w.write(SOCKET, &format!("/other/{number}"), "").unwrap();
    }
    assert_eq!(
        w.ask(SOCKET, Read, tx, &["/d/mine"]),
        Ok(b"m".to_vec()),
        "its own writes stay"
    );
    assert_eq!(
        w.ask(SOCKET, Read, tx, &["/other/0"]),
        Ok(vec![]),
        "upon the current version"
    );
    assert_eq!(w.end(SOCKET, tx, true), Err(Error::Eagain));
    assert_eq!(w.read(SOCKET, "/d/mine"), Err(Error::Enoent));
    w.check();
}

#[test]
fn who_spoils_transactions_is_slowed_down() {
    let mut w = world();
    perms(&mut w, "/local/domain/1", &["n1", "r2"]);
    w.step(Event::Tick { now: 1000 });
    w.write(A, "x", "").unwrap();
    for _ in 0..5 {
        let tx = w.begin(SOCKET);
        w.ask(SOCKET, Read, tx, &["/local/domain/1/x"]).unwrap();
        w.write(A, "x", "spoil").unwrap();
        assert_eq!(w.end(SOCKET, tx, true), Err(Error::Eagain));
    }
    w.send(A, Write as u32, 0, b"x\0");
    w.run();
    assert_eq!(w.store.backlog(A), 0, "not handled yet");
    let tx = w.begin(SOCKET);
    w.ask(SOCKET, Read, tx, &["/local/domain/1/x"]).unwrap();
    w.end(SOCKET, tx, true).unwrap();
    assert!(w.store.deadline().is_some());
    w.step(Event::Tick { now: 2000 });
    w.run();
    assert!(w.store.backlog(A) > 0, "handled");
}

/// Domain 0 has no quota, but all together do not take the machine's memory.
#[test]
fn the_store_as_a_whole_has_a_limit() {
    let config = Config {
        memory_max: 64 << 10,
        ..Config::default()
    };
    let mut w = World::new(config, &[1]);
    let value = "v".repeat(1000);
    let refused = (0..200).find_map(|number| {
        w.write(SOCKET, &format!("/big/{number}"), &value)
            .err()
            .map(|error| (number, error))
    });
    let (number, error) = refused.expect("there is a limit");
    assert_eq!(error, Error::Enomem);
    assert!(number > 30, "{number}");
    assert!(
        w.log
            .iter()
            .any(|(_, line)| line.contains("as many as it may"))
    );
    // Nobody may add; reading, and making room, works.
    assert_eq!(w.ask(A, Watch, 0, &["/x", "t"]), Err(Error::Enomem));
    assert_eq!(w.ask(SOCKET, Mkdir, 0, &["/more"]), Err(Error::Enomem));
    assert_eq!(
        w.ask_raw(A, TransactionStart as u32, 0, b"\0"),
        Err(Error::Enomem)
    );
    assert_eq!(w.read(SOCKET, "/big/0").unwrap(), value.as_bytes());
    w.check();
    w.ask(SOCKET, Rm, 0, &["/big/0"]).unwrap();
    w.ask(SOCKET, Rm, 0, &["/big"]).unwrap();
    w.write(SOCKET, "/big", "again").unwrap();
    assert!(
        w.log
            .iter()
            .any(|(_, line)| line.contains("may grow again"))
    );
    assert!(
        w.store
            .metrics()
            .contains("\nxenstore_memory_max_bytes 65536\n")
    );
    let reply = w.ask(SOCKET, Control, 0, &["metrics", "1"]).unwrap();
    let text = String::from_utf8(reply).unwrap();
    assert!(
        text.contains("xenstore_errors_total{domid=\"1\"} 2\n"),
        "{text}"
    );
    assert!(!text.contains("domid=\"0\""));
    assert_eq!(
        w.ask(SOCKET, Control, 0, &["metrics", "9"]),
        Err(Error::Enoent)
    );
    w.check();
}
