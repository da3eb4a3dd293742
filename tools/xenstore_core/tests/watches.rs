//! What fires which watches, and for whom.

mod support;

use support::{A, B, SOCKET, World, domain, perms, world};
use xenstore_core::wire::Operation::*;
use xenstore_core::{Error, Event};

#[test]
fn watches_fire_once_for_those_who_may_read() {
    let mut w = world();
    for (id, path) in [
        (SOCKET, "/local"),
        (A, "x"),
        (A, "/local/domain/2"),
        (B, "/local/domain/1"),
    ] {
        w.ask(id, Watch, 0, &[path, "t"]).unwrap();
        let first = w.events(id);
        assert_eq!(first, [(path.to_string(), "t".to_string())]);
    }
    w.write(A, "x/y", "1").unwrap();
    assert_eq!(w.paths(A), ["x/y"]);
    assert_eq!(w.paths(SOCKET), ["/local/domain/1/x/y"]);
    assert_eq!(w.paths(B), [""; 0]);
    // B may read the directory, and so hears of what comes in it, but not of what it cannot read further down.
    perms(&mut w, "/local/domain/1", &["n1", "r2"]);
    assert_eq!(w.paths(B), ["/local/domain/1"]);
    w.write(A, "z", "1").unwrap();
    w.write(A, "x/y/q", "1").unwrap();
    assert_eq!(w.paths(B), ["/local/domain/1/z"]);
    w.ask(A, Mkdir, 0, &["z"]).unwrap();
    assert_eq!(w.paths(B), [""; 0]);
    // A change of permissions is heard by those who could read before, too.
    w.ask(A, SetPerms, 0, &["z", "n1"]).unwrap();
    assert_eq!(w.paths(B), ["/local/domain/1/z"]);
    // Now B may not read it, and hears of its going and coming only; alone or in a transaction.
    w.ask(A, Watch, 0, &["z", "z"]).unwrap();
    for in_transaction in [false, true] {
        let begin = |w: &mut World| if in_transaction { w.begin(A) } else { 0 };
        let finish = |w: &mut World, tx| {
            if in_transaction {
                w.end(A, tx, true).unwrap();
            }
        };
        w.events(A);
        let tx = begin(&mut w);
        w.write_in(A, tx, "z", b"secret").unwrap();
        w.ask(A, SetPerms, tx, &["z", "n1", "w2"]).unwrap();
        finish(&mut w, tx);
        assert_eq!(w.paths(B), [""; 0]);
        assert_eq!(w.paths(A).len(), if in_transaction { 1 } else { 2 });
        w.ask(A, Mkdir, 0, &["other"]).unwrap();
        w.events(B);
        let tx = begin(&mut w);
        w.ask(A, Rm, tx, &["z"]).unwrap();
        finish(&mut w, tx);
        assert_eq!(w.paths(B), ["/local/domain/1/z"]);
        w.ask(A, SetPerms, 0, &["other", "n1"]).unwrap();
        w.events(B);
        let tx = begin(&mut w);
        w.write_in(A, tx, "z", b"").unwrap();
        w.ask(A, SetPerms, tx, &["z", "n1"]).unwrap();
        w.write_in(A, tx, "other", b"secret").unwrap();
        finish(&mut w, tx);
        let mut heard = w.paths(B);
        heard.dedup();
        assert_eq!(heard, ["/local/domain/1/z"]);
    }
    w.check();
}

#[test]
fn removal_fires_on_what_is_watched_below() {
    let mut w = world();
    w.write(SOCKET, "/d/a/b", "").unwrap();
    w.write(SOCKET, "/d/c", "").unwrap();
    for path in ["/", "/d", "/d/a/b", "/d/c", "/d/nothing"] {
        w.ask(SOCKET, Watch, 0, &[path, path]).unwrap();
    }
    w.events(SOCKET);
    w.ask(SOCKET, Rm, 0, &["/d"]).unwrap();
    let mut events = w.events(SOCKET);
    assert_eq!(events.pop(), Some(("/d".into(), "/d".into())));
    assert_eq!(events.pop(), Some(("/d".into(), "/".into())));
    events.sort();
    assert_eq!(
        events,
        [
            ("/d/a/b".into(), "/d/a/b".into()),
            ("/d/c".into(), "/d/c".into())
        ]
    );
}

#[test]
fn watches_come_and_go() {
    let mut w = world();
    w.ask(A, Watch, 0, &["x", "t"]).unwrap();
    assert_eq!(w.ask(A, Watch, 0, &["x", "t"]), Err(Error::Eexist));
    assert_eq!(
        w.ask(A, Watch, 0, &["/local/domain/1/x", "t"]),
        Err(Error::Eexist)
    );
    w.ask(A, Watch, 0, &["x", "u"]).unwrap();
    assert_eq!(w.ask(A, Unwatch, 0, &["x", "v"]), Err(Error::Enoent));
    w.ask(A, Unwatch, 0, &["x", "t"]).unwrap();
    assert_eq!(w.ask(A, Unwatch, 0, &["x", "t"]), Err(Error::Enoent));
    w.events(A);
    w.write(A, "x", "").unwrap();
    assert_eq!(w.events(A), [("x".into(), "u".into())]);
    let tx = w.begin(A);
    w.ask_raw(A, ResetWatches as u32, 0, b"\0").unwrap();
    assert_eq!(w.end(A, tx, true), Err(Error::Enoent));
    w.write(A, "x", "").unwrap();
    assert_eq!(w.events(A), []);
    assert_eq!(w.store.usage(1).unwrap().watches, 0);
    assert_eq!(w.store.usage(1).unwrap().transactions, 0);
    let tx = w.begin(A);
    w.ask_raw(A, ResetWatches as u32, tx, b"\0").unwrap();
    assert_eq!(w.end(A, tx, true), Err(Error::Enoent));
    w.check();
}

#[test]
fn depth_limits_what_is_heard() {
    let mut w = world();
    for (token, depth) in [("0", "0"), ("1", "1"), ("all", "")] {
        w.ask(SOCKET, Watch, 0, &["/d", token, depth]).unwrap();
    }
    w.events(SOCKET);
    let mut tokens = |path: &str| -> Vec<String> {
        w.write(SOCKET, path, "").unwrap();
        w.events(SOCKET)
            .into_iter()
            .map(|(_, token)| token)
            .collect()
    };
    assert_eq!(tokens("/d"), ["0", "1", "all"]);
    assert_eq!(tokens("/d/e"), ["1", "all"]);
    assert_eq!(tokens("/d/e/f"), ["all"]);
}

#[test]
fn special_watches() {
    let mut w = world();
    w.ask(SOCKET, Watch, 0, &["@introduceDomain", "i"]).unwrap();
    w.ask(SOCKET, Watch, 0, &["@releaseDomain", "r"]).unwrap();
    w.ask(SOCKET, Watch, 0, &["@releaseDomain", "d", "1"])
        .unwrap();
    w.ask(SOCKET, Watch, 0, &["@releaseDomain/2", "2"]).unwrap();
    w.ask(B, Watch, 0, &["@releaseDomain", "b"]).unwrap();
    assert_eq!(w.events(SOCKET).len(), 4);
    w.introduce(3);
    assert_eq!(w.events(SOCKET), [("@introduceDomain".into(), "i".into())]);
    w.introduce(3);
    assert_eq!(w.events(SOCKET), []);
    for _ in 0..2 {
        w.step(Event::DomainShutdown(3));
    }
    w.deliver_all();
    let events = [
        ("@releaseDomain".to_string(), "r".to_string()),
        ("@releaseDomain/3".into(), "d".into()),
    ];
    assert_eq!(w.events(SOCKET), events);
    w.ask(SOCKET, Resume, 0, &["3"]).unwrap();
    w.step(Event::DomainShutdown(3));
    w.deliver_all();
    assert_eq!(w.events(SOCKET).len(), 2);
    w.step(Event::DomainGone(3));
    w.deliver_all();
    assert_eq!(w.events(SOCKET), events);
    assert_eq!(
        w.paths(B).len(),
        1,
        "only the first event: B may not hear of domains"
    );
    perms(&mut w, "@releaseDomain", &["n0", "r2"]);
    assert_eq!(
        w.ask(SOCKET, GetPerms, 0, &["@releaseDomain"]),
        Ok(b"n0\0r2\0".to_vec())
    );
    w.events(B);
    w.ask(SOCKET, Release, 0, &["1"]).unwrap();
    assert_eq!(w.events(B), [("@releaseDomain".into(), "b".into())]);
    assert_eq!(w.ask(SOCKET, Release, 0, &["1"]), Err(Error::Enoent));
    assert_eq!(w.read(SOCKET, "@releaseDomain"), Err(Error::Einval));
    assert_eq!(
        w.ask(SOCKET, IsDomainIntroduced, 0, &["1"]),
        Ok(b"F\0".to_vec())
    );
    assert_eq!(
        w.ask(SOCKET, IsDomainIntroduced, 0, &["2"]),
        Ok(b"T\0".to_vec())
    );
    w.check();
}

#[test]
fn introduction_can_fail() {
    let mut w = world();
    w.host.insert(5);
    w.mapping = Err(Error::Enoent);
    assert_eq!(
        w.ask(SOCKET, Introduce, 0, &["5", "1", "1"]),
        Err(Error::Enoent)
    );
    assert_eq!(
        w.ask(SOCKET, IsDomainIntroduced, 0, &["5"]),
        Ok(b"F\0".to_vec())
    );
    w.mapping = Ok(());
    w.introduce(5);
    assert_eq!(
        w.ask(SOCKET, IsDomainIntroduced, 0, &["5"]),
        Ok(b"T\0".to_vec())
    );
    w.ask(domain(5), Watch, 0, &["x", "t"]).unwrap();
    w.introduce(5);
    assert_eq!(w.store.usage(5).unwrap().watches, 0, "reset with the ring");
    w.check();
}
