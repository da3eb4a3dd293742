//! What each operation answers, and whom it tells.

mod support;

use support::{SOCKET, World, domain};
use xenstore_core::wire::Operation::{self, *};
use xenstore_core::{Config, Error, Event, Level, Quota, Reason};

const A: xenstore_core::ConnectionId = xenstore_core::ConnectionId::Domain(1);
const B: xenstore_core::ConnectionId = xenstore_core::ConnectionId::Domain(2);

fn world() -> World {
    let mut world = World::new(Config::default(), &[1, 2]);
    for id in [1, 2] {
        let home = format!("/local/domain/{id}");
        world.write(SOCKET, &home, "").unwrap();
        world
            .ask(SOCKET, SetPerms, 0, &[&home, &format!("n{id}")])
            .unwrap();
    }
    world.deliver_all();
    for id in [SOCKET, A, B] {
        world.events(id);
    }
    world
}

fn perms(world: &mut World, path: &str, perms: &[&str]) {
    let mut strings = vec![path];
    strings.extend(perms);
    world.ask(SOCKET, SetPerms, 0, &strings).unwrap();
}

#[test]
fn values_and_directories() {
    let mut w = world();
    assert_eq!(w.read(SOCKET, "/"), Ok(vec![]));
    assert_eq!(w.write(SOCKET, "/x/y/z", "1\u{0}2"), Ok(b"OK\0".to_vec()));
    assert_eq!(w.read(SOCKET, "/x/y/z"), Ok(b"1\x002".to_vec()));
    assert_eq!(w.read(SOCKET, "/x/y"), Ok(vec![]));
    assert_eq!(w.read(SOCKET, "/x/q"), Err(Error::Enoent));
    assert_eq!(w.ask(SOCKET, Mkdir, 0, &["/x/a"]), Ok(b"OK\0".to_vec()));
    assert_eq!(w.ask(SOCKET, Mkdir, 0, &["/x/y/z"]), Ok(b"OK\0".to_vec()));
    assert_eq!(w.read(SOCKET, "/x/y/z"), Ok(b"1\x002".to_vec()));
    assert_eq!(w.ask(SOCKET, Directory, 0, &["/x"]), Ok(b"a\0y\0".to_vec()));
    assert_eq!(w.ask(SOCKET, Directory, 0, &["/x/a"]), Ok(vec![]));
    assert_eq!(w.ask(SOCKET, Rm, 0, &["/x/y"]), Ok(b"OK\0".to_vec()));
    assert_eq!(w.read(SOCKET, "/x/y/z"), Err(Error::Enoent));
    assert_eq!(w.ask(SOCKET, Rm, 0, &["/x/y"]), Ok(b"OK\0".to_vec()));
    assert_eq!(w.ask(SOCKET, Rm, 0, &["/x/y/z"]), Err(Error::Enoent));
    assert_eq!(w.ask(SOCKET, Rm, 0, &["/"]), Err(Error::Einval));
    assert_eq!(w.read(SOCKET, "/tool/xenstored"), Ok(vec![]));
    w.check();
}

#[test]
fn payloads_must_be_well_formed() {
    let mut w = world();
    let mut bad = |operation: Operation, payload: &[u8]| {
        assert_eq!(
            w.ask_raw(SOCKET, operation as u32, 0, payload),
            Err(Error::Einval),
            "{operation:?} {payload:?}"
        );
    };
    for operation in [Read, Directory, GetPerms, Mkdir, Rm] {
        for payload in [
            &b""[..],
            b"/",
            b"\0",
            b"/a\0b",
            b"/a\0\0",
            b"/a/\0",
            b"/a b\0",
        ] {
            bad(operation, payload);
        }
    }
    for payload in [&b""[..], b"/x"] {
        bad(Write, payload);
    }
    for payload in [
        &b"/\0"[..],
        b"/\0x0\0",
        b"/\0r\0",
        b"/\0r0x\0",
        b"",
        b"\0n0\0",
    ] {
        bad(SetPerms, payload);
    }
    for payload in [
        &b"/\0"[..],
        b"/\0t",
        b"/\0t\0x\0",
        b"/\0t\x001\x002\0",
        b"//\0t\0",
    ] {
        bad(Watch, payload);
    }
    for payload in [
        &b"1\0"[..],
        b"1\x002\0",
        b"1\x002\x000\0",
        b"0\x002\x003\0",
        b"x\x002\x003\0",
    ] {
        bad(Introduce, payload);
    }
    for payload in [&b"/\0"[..], b"/\0x\0", b"/\x000\0x\0"] {
        bad(DirectoryPart, payload);
    }
    bad(GetDomainPath, b"x\0");
    bad(Release, b"0\0");
    bad(Control, b"");
    bad(Control, b"nonsense\0");
    for number in [15, 16, 20, 27, 1000, u32::MAX] {
        assert_eq!(
            w.ask_raw(SOCKET, number, 0, b"/\0"),
            Err(Error::Enosys),
            "{number}"
        );
    }
    w.check();
}

#[test]
fn errors_do_not_tell_what_is_hidden() {
    let mut w = world();
    w.write(SOCKET, "/secret/there", "").unwrap();
    for path in ["/secret/there", "/secret/not", "/nothing/at/all"] {
        assert_eq!(w.read(A, path), Err(Error::Eacces), "{path}");
        assert_eq!(w.write(A, path, ""), Err(Error::Eacces), "{path}");
        assert_eq!(w.ask(A, Rm, 0, &[path]), Err(Error::Eacces), "{path}");
    }
    perms(&mut w, "/secret", &["r0"]);
    assert_eq!(w.read(A, "/secret/not"), Err(Error::Enoent));
    assert_eq!(w.write(A, "/secret/not", ""), Err(Error::Eacces));
    assert_eq!(w.read(A, "/secret/there"), Err(Error::Eacces));
}

#[test]
fn permissions_are_inherited_and_owned() {
    let mut w = world();
    perms(&mut w, "/local/domain/1", &["n1", "r2"]);
    w.write(A, "data/x", "v").unwrap();
    assert_eq!(w.read(B, "/local/domain/1/data/x"), Ok(b"v".to_vec()));
    assert_eq!(w.write(B, "/local/domain/1/data/x", ""), Err(Error::Eacces));
    assert_eq!(w.ask(A, GetPerms, 0, &["data/x"]), Ok(b"n1\0r2\0".to_vec()));
    assert_eq!(
        w.ask(B, SetPerms, 0, &["/local/domain/1/data/x", "n1"]),
        Err(Error::Eacces)
    );
    assert_eq!(w.ask(A, SetPerms, 0, &["data/x", "n2"]), Err(Error::Eperm));
    assert_eq!(
        w.ask(A, SetPerms, 0, &["data/x", "n1", "b2"]),
        Ok(b"OK\0".to_vec())
    );
    assert_eq!(
        w.write(B, "/local/domain/1/data/x/y", "B's"),
        Ok(b"OK\0".to_vec())
    );
    assert_eq!(
        w.ask(B, GetPerms, 0, &["/local/domain/1/data/x/y"]),
        Ok(b"n2\0b2\0".to_vec())
    );
    // A's node, and B's: each counts for its owner.
    assert_eq!(w.store.usage(1).unwrap().nodes, 3);
    assert_eq!(w.store.usage(2).unwrap().nodes, 2);
    // Domain 0 makes nodes for the owner of the directory.
    w.write(SOCKET, "/local/domain/1/made", "").unwrap();
    assert_eq!(w.store.usage(1).unwrap().nodes, 4);
    w.ask(SOCKET, SetPerms, 0, &["/local/domain/1/made", "n2"])
        .unwrap();
    assert_eq!(w.store.usage(1).unwrap().nodes, 3);
    assert_eq!(w.store.usage(2).unwrap().nodes, 3);
    w.check();
}

#[test]
fn domains_that_do_not_exist_have_no_permissions() {
    let mut w = world();
    w.write(SOCKET, "/x", "").unwrap();
    assert_eq!(
        w.ask(SOCKET, SetPerms, 0, &["/x", "n9"]),
        Err(Error::Enoent)
    );
    w.ask(SOCKET, SetPerms, 0, &["/x", "n0", "r9"]).unwrap();
    assert_eq!(w.ask(SOCKET, GetPerms, 0, &["/x"]), Ok(b"n0\0".to_vec()));
    w.introduce(9);
    assert_eq!(w.read(domain(9), "/x"), Err(Error::Eacces));
    // A domain that exists may be named before it is introduced, and keeps that.
    w.host.insert(10);
    w.ask(SOCKET, SetPerms, 0, &["/x", "n0", "r10"]).unwrap();
    w.introduce(10);
    assert_eq!(w.read(domain(10), "/x"), Ok(vec![]));
}

#[test]
fn a_reused_domain_id_inherits_nothing() {
    let mut w = world();
    w.write(A, "mine", "v").unwrap();
    w.write(SOCKET, "/shared/deep", "v").unwrap();
    perms(&mut w, "/shared/deep", &["n0", "r1"]);
    w.write(SOCKET, "/elsewhere", "v").unwrap();
    perms(&mut w, "/elsewhere", &["n1"]);
    let tx = w.begin(B);
    assert_eq!(w.read(A, "/shared/deep"), Ok(b"v".to_vec()));
    w.step(Event::DomainGone(1));
    w.check();
    assert_eq!(w.read(SOCKET, "/local/domain/1/mine"), Err(Error::Enoent));
    assert_eq!(w.read(SOCKET, "/elsewhere"), Err(Error::Enoent));
    w.introduce(1);
    assert_eq!(w.read(A, "/shared/deep"), Err(Error::Eacces));
    assert_eq!(
        w.ask(SOCKET, GetPerms, 0, &["/shared/deep"]),
        Ok(b"n0\0".to_vec())
    );
    assert_eq!(w.write(A, "mine", ""), Err(Error::Eacces));
    w.end(B, tx, true).unwrap();
    w.check();
}

#[test]
fn a_transaction_cannot_bring_back_a_dead_domain() {
    let mut w = world();
    let tx = w.begin(SOCKET);
    w.write_in(SOCKET, tx, "/new", b"").unwrap();
    w.ask(SOCKET, SetPerms, tx, &["/new", "n1"]).unwrap();
    w.step(Event::DomainGone(1));
    assert_eq!(w.end(SOCKET, tx, true), Err(Error::Eagain));
    w.check();
}

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

#[test]
fn unprivileged_domains_may_not() {
    let mut w = world();
    for operation in Operation::ALL
        .iter()
        .filter(|operation| operation.privileged())
    {
        assert_eq!(
            w.ask(A, *operation, 0, &["1", "1", "1"]),
            Err(Error::Eacces),
            "{operation:?}"
        );
    }
    assert_eq!(
        w.ask(A, GetDomainPath, 0, &["7"]),
        Ok(b"/local/domain/7\0".to_vec())
    );
    assert_eq!(w.ask(A, GetFeature, 0, &["1"]), Err(Error::Eacces));
    assert_eq!(w.ask_raw(A, GetFeature as u32, 0, b""), Ok(b"7\0".to_vec()));
}

#[test]
fn targets() {
    let mut w = world();
    w.write(A, "x", "v").unwrap();
    assert_eq!(w.read(B, "/local/domain/1/x"), Err(Error::Eacces));
    assert_eq!(w.ask(SOCKET, SetTarget, 0, &["2", "9"]), Err(Error::Enoent));
    w.ask(SOCKET, SetTarget, 0, &["2", "1"]).unwrap();
    assert_eq!(w.write(B, "/local/domain/1/x", "w"), Ok(b"OK\0".to_vec()));
    w.step(Event::DomainGone(1));
    w.introduce(1);
    w.write(SOCKET, "/local/domain/1", "").unwrap();
    perms(&mut w, "/local/domain/1", &["n1"]);
    assert_eq!(w.read(B, "/local/domain/1"), Err(Error::Eacces));
}

#[test]
fn transactions_are_isolated_and_whole() {
    let mut w = world();
    w.write(SOCKET, "/a", "0").unwrap();
    w.ask(SOCKET, Watch, 0, &["/", "t"]).unwrap();
    w.events(SOCKET);
    let tx = w.begin(SOCKET);
    w.write_in(SOCKET, tx, "/a", b"1").unwrap();
    w.write_in(SOCKET, tx, "/b/c", b"1").unwrap();
    w.write_in(SOCKET, tx, "/a", b"2").unwrap();
    w.write_in(SOCKET, tx, "/gone", b"").unwrap();
    w.ask(SOCKET, Rm, tx, &["/gone"]).unwrap();
    assert_eq!(w.read(SOCKET, "/a"), Ok(b"0".to_vec()));
    assert_eq!(w.ask(SOCKET, Read, tx, &["/a"]), Ok(b"2".to_vec()));
    assert_eq!(w.events(SOCKET), []);
    w.write(SOCKET, "/elsewhere", "").unwrap();
    w.events(SOCKET);
    w.end(SOCKET, tx, true).unwrap();
    assert_eq!(w.read(SOCKET, "/a"), Ok(b"2".to_vec()));
    assert_eq!(w.read(SOCKET, "/elsewhere"), Ok(vec![]));
    assert_eq!(w.paths(SOCKET), ["/a", "/b/c"]);
    assert_eq!(w.end(SOCKET, tx, true), Err(Error::Enoent));
    let tx = w.begin(SOCKET);
    w.write_in(SOCKET, tx, "/a", b"3").unwrap();
    assert_eq!(
        w.ask_raw(SOCKET, TransactionEnd as u32, tx, b"X\0"),
        Err(Error::Einval)
    );
    assert_eq!(
        w.ask(SOCKET, TransactionStart, tx, &[""]),
        Err(Error::Ebusy)
    );
    w.end(SOCKET, tx, false).unwrap();
    assert_eq!(w.read(SOCKET, "/a"), Ok(b"2".to_vec()));
    assert_eq!(w.end(SOCKET, 0, true), Err(Error::Enoent));
    assert_eq!(w.events(SOCKET), []);
    w.check();
}

#[test]
fn conflicts() {
    type Outside<'a> = &'a dyn Fn(&mut World);
    type Inside<'a> = &'a dyn Fn(&mut World, u32);
    let outside: [(&str, Outside<'_>); 5] = [
        ("write", &|w| drop(w.write(SOCKET, "/d/x", "new").unwrap())),
        ("remove", &|w| {
            drop(w.ask(SOCKET, Rm, 0, &["/d/x"]).unwrap())
        }),
        ("permissions", &|w| perms(w, "/d/x", &["n0", "r1"])),
        ("another child", &|w| {
            drop(w.write(SOCKET, "/d/other", "").unwrap())
        }),
        ("unrelated", &|w| drop(w.write(SOCKET, "/e/x", "").unwrap())),
    ];
    // What is done in the transaction, and with which of the above it conflicts.
    let inside: [(&str, Inside<'_>, [bool; 5]); 5] = [
        (
            "read",
            &|w, t| drop(w.ask(SOCKET, Read, t, &["/d/x"])),
            [true, true, true, false, false],
        ),
        (
            "write",
            &|w, t| drop(w.write_in(SOCKET, t, "/d/x", b"t")),
            [true, true, true, false, false],
        ),
        (
            "list",
            &|w, t| drop(w.ask(SOCKET, Directory, t, &["/d"])),
            [false, true, false, true, false],
        ),
        (
            "create",
            &|w, t| drop(w.write_in(SOCKET, t, "/d/new", b"")),
            [false, false, false, false, false],
        ),
        (
            "remove all",
            &|w, t| drop(w.ask(SOCKET, Rm, t, &["/d"])),
            [true, true, true, true, false],
        ),
    ];
    for (what, inside, conflicts) in inside {
        for ((with, outside), conflict) in outside.iter().zip(conflicts) {
            let mut w = world();
            w.write(SOCKET, "/d/x", "").unwrap();
            w.write(SOCKET, "/e/x", "").unwrap();
            let tx = w.begin(SOCKET);
            inside(&mut w, tx);
            outside(&mut w);
            let expected = if conflict {
                Err(Error::Eagain)
            } else {
                Ok(b"OK\0".to_vec())
            };
            assert_eq!(w.end(SOCKET, tx, true), expected, "{what} against {with}");
            w.check();
        }
    }
}

#[test]
fn two_transactions_create_in_one_directory() {
    let mut w = world();
    w.write(SOCKET, "/d", "").unwrap();
    let (one, two) = (w.begin(SOCKET), w.begin(A));
    perms(&mut w, "/d", &["b0"]);
    let three = w.begin(A);
    w.write_in(SOCKET, one, "/d/x", b"1").unwrap();
    w.write_in(A, three, "/d/y", b"2").unwrap();
    assert_eq!(w.end(A, two, true), Ok(b"OK\0".to_vec()));
    assert_eq!(
        w.end(SOCKET, one, true),
        Err(Error::Eagain),
        "permissions of /d changed"
    );
    let one = w.begin(SOCKET);
    w.write_in(SOCKET, one, "/d/x", b"1").unwrap();
    w.end(SOCKET, one, true).unwrap();
    w.end(A, three, true).unwrap();
    assert_eq!(w.ask(SOCKET, Directory, 0, &["/d"]), Ok(b"x\0y\0".to_vec()));
    w.check();
}

#[test]
fn long_directories_come_in_parts() {
    let mut w = world();
    let mut expected = Vec::new();
    for number in 0..1000 {
        let name = format!("child-{number:04}");
        w.write(SOCKET, &format!("/big/{name}"), "").unwrap();
        expected.extend_from_slice(name.as_bytes());
        expected.push(0);
    }
    assert_eq!(w.ask(SOCKET, Directory, 0, &["/big"]), Err(Error::E2big));
    let (mut list, mut generation) = (Vec::new(), None);
    loop {
        let part = w
            .ask(SOCKET, DirectoryPart, 0, &["/big", &list.len().to_string()])
            .unwrap();
        assert!(part.len() <= 4096);
        let end = part.iter().position(|byte| *byte == 0).unwrap();
        assert_eq!(
            *generation.get_or_insert_with(|| part[..end].to_vec()),
            part[..end]
        );
        let names = &part[end + 1..];
        let whole = list.len() + names.len() == expected.len() + 1;
        list.extend_from_slice(&names[..names.len() - usize::from(whole)]);
        if whole {
            break;
        }
    }
    assert_eq!(list, expected);
    let past = w
        .ask(SOCKET, DirectoryPart, 0, &["/big", "1000000"])
        .unwrap();
    assert!(past.ends_with(b"\0\0"));
}

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
fn messages_in_any_pieces() {
    let mut w = world();
    let mut stream = Vec::new();
    for number in 1000..1020u32 {
        let data = "v".repeat((number as usize - 1000) * 30);
        let payload = format!("/p/{number}\0{data}");
        stream.extend(xenstore_core::wire::message(
            11,
            number,
            0,
            payload.as_bytes(),
        ));
    }
    let mut random = support::Random(7);
    let mut rest = &stream[..];
    while !rest.is_empty() {
        let space = w.store.input_space(SOCKET);
        let count = (random.below(900) as usize).min(rest.len()).min(space);
        let (piece, left) = rest.split_at(count);
        w.step(Event::Received {
            connection: SOCKET,
            bytes: piece,
        });
        rest = left;
        if random.below(3) == 0 {
            w.step(Event::Turn);
        }
    }
    w.run();
    assert_eq!(w.read(SOCKET, "/p/1019").unwrap().len(), 570);
}

#[test]
fn control() {
    let mut w = world();
    assert_eq!(w.ask(SOCKET, Control, 0, &["check"]), Ok(b"OK\0".to_vec()));
    assert_eq!(
        w.ask(SOCKET, Control, 0, &["log", "on"]),
        Ok(b"OK\0".to_vec())
    );
    assert_eq!(
        w.ask(SOCKET, Control, 0, &["quota", "set", "nodes", "7"]),
        Ok(b"OK\0".to_vec())
    );
    assert_eq!(w.ask(SOCKET, GetQuota, 0, &["nodes"]), Ok(b"7\0".to_vec()));
    w.ask(SOCKET, Control, 0, &["quota", "set", "1", "nodes", "9"])
        .unwrap();
    assert_eq!(
        w.ask(SOCKET, GetQuota, 0, &["1", "nodes"]),
        Ok(b"9\0".to_vec())
    );
    assert_eq!(
        w.ask(SOCKET, GetQuota, 0, &["2", "nodes"]),
        Ok(b"7\0".to_vec())
    );
    for words in [
        &["quota", "set", "x", "1"][..],
        &["quota", "set", "nodes", "x"],
        &["quota-soft", "x"],
    ] {
        assert_eq!(w.ask(SOCKET, Control, 0, words), Err(Error::Einval));
    }
    for words in [
        &["quota"][..],
        &["quota", "1"],
        &["quota", "max"],
        &["quota", "max", "-r"],
        &["help"],
        &["quota-soft"],
    ] {
        let text = String::from_utf8(w.ask(SOCKET, Control, 0, words).unwrap()).unwrap();
        assert!(text.lines().count() > 1 && text.ends_with('\0'), "{text}");
    }
    let metrics = w.store.metrics();
    assert!(
        metrics.contains("xenstore_quota_used{domid=\"1\",quota=\"nodes\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("operation=\"CONTROL\""));
}

#[test]
fn deep_paths() {
    let mut w = world();
    let path = "/a".repeat(1536);
    w.write(SOCKET, &path, "deep").unwrap();
    let tx = w.begin(SOCKET);
    w.write_in(SOCKET, tx, &path, b"deeper").unwrap();
    w.ask(SOCKET, Watch, 0, &[&path, "t"]).unwrap();
    w.ask(SOCKET, Rm, 0, &["/a"]).unwrap();
    assert_eq!(w.end(SOCKET, tx, true), Err(Error::Eagain));
    assert_eq!(w.paths(SOCKET).len(), 2);
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
