//! What each operation answers, and whom it tells.

mod support;

use support::{A, B, SOCKET, World, domain, perms, world};
use xenstore_core::wire::Operation::{self, *};
use xenstore_core::{Error, Event};

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
fn features_are_what_a_domain_was_given() {
    let mut w = world();
    w.host.insert(3);
    assert_eq!(w.store.features(3), 7);
    // Not of those that are served already, and no features that there are not.
    assert_eq!(w.ask(SOCKET, SetFeature, 0, &["1", "3"]), Err(Error::Ebusy));
    assert_eq!(
        w.ask(SOCKET, SetFeature, 0, &["3", "8"]),
        Err(Error::Einval)
    );
    assert_eq!(
        w.ask(SOCKET, SetFeature, 0, &["9", "3"]),
        Err(Error::Enoent)
    );
    w.ask(SOCKET, SetFeature, 0, &["3", "3"]).unwrap();
    w.introduce(3);
    assert_eq!(w.store.features(3), 3);
    assert_eq!(w.ask(SOCKET, GetFeature, 0, &["3"]), Ok(b"3\0".to_vec()));
    let c = domain(3);
    assert_eq!(w.ask_raw(c, GetFeature as u32, 0, b""), Ok(b"3\0".to_vec()));
    assert_eq!(w.ask(c, Watch, 0, &["x", "t", "1"]), Err(Error::Einval));
    w.ask(c, Watch, 0, &["x", "t"]).unwrap();
    w.ask(A, Watch, 0, &["x", "t", "1"]).unwrap();
    // The next domain of this number has its own.
    w.host.remove(&3);
    w.step(Event::DomainGone(3));
    w.introduce(3);
    assert_eq!(w.store.features(3), 7);
    w.check();
}
