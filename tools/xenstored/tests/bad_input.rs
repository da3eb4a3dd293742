//! What clients, domains and disks do wrong: each gets the protocol's error or is served no longer, with a line in the
//! log; everyone else notices nothing, and the daemon goes on.
#![forbid(unsafe_code)]

mod harness;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use harness::{PATIENCE, Server};
use xenstore::wire::{Header, Operation};
use xenstored::machine::SimulatedDomain;

fn header(operation: u32, transaction: u32, length: u32) -> [u8; 16] {
    Header {
        operation,
        request: 5,
        transaction,
        length,
    }
    .to_bytes()
}

/// Waits for something to become true.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_socket_that_talks_nonsense_is_closed() {
    let mut server = Server::new("nonsense", &[]);
    let mut bystander = server.client();
    let mut stream = UnixStream::connect(server.path("socket")).unwrap();
    stream
        .write_all(&header(Operation::Read as u32, 0, 4097))
        .unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "closed");
    eventually("a line in the log", || {
        server.log().contains("disconnected")
    });
    // Unknown operations and transactions are errors, and nothing more.
    let mut stream = UnixStream::connect(server.path("socket")).unwrap();
    for (operation, transaction, error) in [
        (99, 0, &b"ENOSYS\0"[..]),
        (20, 0, b"ENOSYS\0"),
        (Operation::Error as u32, 0, b"ENOSYS\0"),
        (Operation::Read as u32, 77, b"ENOENT\0"),
        (Operation::Read as u32, 0, b"EINVAL\0"),
    ] {
        stream
            .write_all(&header(operation, transaction, 0))
            .unwrap();
        let mut answer = vec![0; 16 + error.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer[16..], error, "operation {operation}");
    }
    // Closed in the middle of a message.
    stream
        .write_all(&header(Operation::Read as u32, 0, 100))
        .unwrap();
    stream.write_all(b"/some").unwrap();
    drop(stream);
    bystander.write("/a", "b").unwrap();
    assert_eq!(bystander.control(&["check"]).unwrap(), "OK");
    assert!(server.is_alive());
}

#[test]
fn wild_indices_end_a_ring_until_the_domain_begins_anew() {
    let mut server = Server::new("wild", &[]);
    let mut client = server.client();
    let mut good = server.domain(&mut client, 1);
    let mut bad = server.domain(&mut client, 2);
    good.watch("x", "t");
    assert_eq!(good.event().0, "x");
    bad.watch("x", "t");
    assert_eq!(bad.event().0, "x");
    let (features, ..) = bad.domain.ring.state();
    assert_eq!(features & 3, 3, "reconnection and the error field");
    // req_prod
    bad.domain.ring.page().store_u32(2052, 0xdead_beef);
    bad.domain.notify();
    eventually("the error", || bad.domain.ring.state().2 == 2);
    good.write(0, "x", "1").unwrap();
    assert_eq!(good.event().0, "x");
    // Anew: indices are zero, the old watch is gone.
    bad.domain.ring.ask_reconnection();
    bad.domain.notify();
    eventually("a connection", || {
        bad.domain.ring.state() == (features, 0, 0)
    });
    assert_eq!(bad.domain.ring.page().load_u32(2052), 0);
    bad.write(0, "x", "2").unwrap();
    assert_eq!(bad.read(0, "x").unwrap(), "2");
    assert!(bad.is_quiet());
    // A payload that is too long.
    bad.send_bytes(&header(Operation::Write as u32, 0, 5000));
    eventually("the error", || bad.domain.ring.state().2 == 3);
    bad.domain.ring.ask_reconnection();
    bad.domain.notify();
    eventually("a connection", || {
        bad.domain.ring.state() == (features, 0, 0)
    });
    assert_eq!(bad.read(0, "x").unwrap(), "2");
    // rsp_cons, with something to say.
    bad.domain.ring.page().store_u32(2056, 0x8000_0000);
    bad.send(Operation::Read, 0, b"x\0");
    eventually("the error", || bad.domain.ring.state().2 == 2);
    // What is not served is not served after a restart either.
    server.kill();
    server.start();
    good.write(0, "x", "3").unwrap();
    assert_eq!(bad.domain.ring.state().2, 2);
    assert_eq!(server.client().control(&["check"]).unwrap(), "OK");
}

#[test]
fn a_domain_dies_in_the_middle_of_a_message() {
    let server = Server::new("dies", &[]);
    let mut client = server.client();
    let mut domain = server.domain(&mut client, 7);
    domain.write(0, "data", "something").unwrap();
    client.watch("@releaseDomain", "r").unwrap();
    assert!(client.next_event(Some(PATIENCE)).unwrap().is_some());
    domain.send_bytes(&header(Operation::Write as u32, 0, 3000));
    domain.send_bytes(&[b'a'; 900]);
    domain.domain.shut_down().unwrap();
    let event = client.next_event(Some(PATIENCE)).unwrap().unwrap();
    assert_eq!(event.path, "@releaseDomain");
    domain.domain.destroy().unwrap();
    let event = client.next_event(Some(PATIENCE)).unwrap().unwrap();
    assert_eq!(event.path, "@releaseDomain");
    assert!(!client.is_introduced(7).unwrap());
    // Its number may be used again.
    let mut domain = server.domain(&mut client, 7);
    assert_eq!(domain.read(0, "data"), Err("ENOENT".to_owned()));
    assert_eq!(client.control(&["check"]).unwrap(), "OK");
}

#[test]
fn a_domain_that_goes_while_nobody_looks_is_noticed() {
    let mut server = Server::new("unseen", &[]);
    let mut client = server.client();
    let stays = server.domain(&mut client, 1);
    let goes = server.domain(&mut client, 2);
    server.kill();
    goes.domain.destroy().unwrap();
    server.start();
    let mut client = server.client();
    assert!(client.is_introduced(1).unwrap());
    assert!(!client.is_introduced(2).unwrap());
    drop(stays);
}

#[test]
fn a_disk_that_is_full_refuses_changes_and_nothing_else() {
    let mut server = Server::new("full", &[]);
    let mut client = server.client();
    let mut domain = server.domain(&mut client, 1);
    domain.write(0, "x", "1").unwrap();
    // No file can be made there any more.
    let hidden = server.path("hidden");
    fs::rename(server.path("state"), &hidden).unwrap();
    let value = "v".repeat(2000);
    let refused = (0..2000).find_map(|_| client.write("/big", &value).err());
    let error = refused.expect("the journal ends").to_string();
    assert!(error.contains("ENOSPC"), "{error}");
    assert_eq!(domain.write(0, "x", "2"), Err("ENOSPC".to_owned()));
    assert_eq!(domain.read(0, "x").unwrap(), "1");
    assert!(server.log().contains("cannot be written"));
    fs::rename(&hidden, server.path("state")).unwrap();
    eventually("it is writable again", || {
        client.write("/big", "small").is_ok()
    });
    domain.write(0, "x", "3").unwrap();
    server.kill();
    server.start();
    assert_eq!(domain.read(0, "x").unwrap(), "3");
    assert_eq!(server.client().read_string("/big").unwrap(), "small");
}

#[test]
fn a_full_disk_takes_nothing_from_domains_when_the_daemon_is_killed() {
    let mut server = Server::on_small_disk("small", 6 << 20);
    let mut client = server.client();
    let mut domain = server.domain(&mut client, 1);
    let long = "v".repeat(1500);
    domain.write(0, "long", &long).unwrap();
    domain.watch("x", "t");
    assert_eq!(domain.event().0, "x");
    let filler = server.on_disk("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    // Or its blocks outlive its name.
    drop(file);
    let refused = (0..2000).find_map(|_| client.write("/big", &long).err());
    let error = refused.expect("the journal ends").to_string();
    assert!(error.contains("ENOSPC"), "{error}");
    for round in 0..4 {
        // Each is in the journal, which is full several times over.
        for number in 0..1000 {
            assert_eq!(domain.read(0, "long").unwrap(), long, "{round} {number}");
        }
        assert_eq!(domain.write(0, "x", "2"), Err("ENOSPC".to_owned()));
        domain.watch(&format!("watch-{round}"), "t");
        assert_eq!(domain.event().0, format!("watch-{round}"));
        // Its answer is on the way when the daemon dies, or its request is.
        let request = domain.send(Operation::Read, 0, b"long\0");
        thread::sleep(Duration::from_micros(round * 300));
        server.kill();
        server.start();
        assert_eq!(domain.answer(request).unwrap(), long.as_bytes());
    }
    assert!(server.log().contains("cannot be written"));
    assert!(
        !server.log().contains("nor in the reserve"),
        "{}",
        server.log()
    );
    fs::remove_file(&filler).unwrap();
    let mut client = server.client();
    eventually("it is writable again", || {
        client.write("/local/domain/1/watch-3", "").is_ok()
    });
    assert_eq!(domain.event().0, "watch-3");
    domain.write(0, "x", "3").unwrap();
    assert_eq!(domain.event().0, "x");
    assert!(domain.is_quiet());
    assert_eq!(client.control(&["check"]).unwrap(), "OK");
}

/// The state's file of a kind: `snapshot` or `journal`. There is one, of the generation that counts.
fn state_file(server: &Server, kind: &str) -> PathBuf {
    let entries = fs::read_dir(server.path("state")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(kind)
    });
    let path = paths.next().unwrap();
    assert_eq!(paths.next(), None);
    path
}

#[test]
fn a_state_that_is_damaged_is_told_of_and_believed_as_far_as_it_goes() {
    const HEADER: usize = 64;
    const LENGTH_AT: usize = 24;
    let mut server = Server::new("damaged", &[]);
    let mut client = server.client();
    client.write("/before", "the snapshot").unwrap();
    drop(client);
    server.kill();
    server.start();
    let mut client = server.client();
    for number in 0..100 {
        client.write(&format!("/n/{number}"), "value").unwrap();
    }
    server.kill();
    // A bit in the middle of the journal, and one of its length.
    let path = state_file(&server, "journal");
    let mut bytes = fs::read(&path).unwrap();
    let word = bytes[LENGTH_AT..LENGTH_AT + 8].try_into().unwrap();
    let length = usize::try_from(u64::from_le_bytes(word)).unwrap();
    bytes[HEADER + length / 2] ^= 0x10;
    fs::write(&path, &bytes).unwrap();
    server.start();
    let mut client = server.client();
    assert_eq!(client.read_string("/before").unwrap(), "the snapshot");
    let left = client.directory("/n").unwrap().len();
    assert!((20..80).contains(&left), "{left}");
    assert!(!client.exists(&format!("/n/{left}")).unwrap());
    assert!(server.log().contains("warning: the journal: at byte"));
    client.write("/after", "").unwrap();
    server.kill();
    let path = state_file(&server, "journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(HEADER + 3);
    fs::write(&path, &bytes).unwrap();
    server.start();
    let mut client = server.client();
    assert_eq!(client.directory("/n").unwrap().len(), left);
    assert!(!client.exists("/after").unwrap());
    assert!(server.log().contains("cut off"), "{}", server.log());
    server.kill();
    // Without its snapshot a journal says nothing.
    let path = state_file(&server, "snapshot");
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER + 100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let check = std::process::Command::new(Server::program())
        .arg(format!("--check={}", path.display()))
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(1));
    let text = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(text.contains("checksum"), "{text}");
    server.start();
    let mut client = server.client();
    assert!(!client.exists("/before").unwrap());
    assert!(server.log().contains("its checksum does not match"));
    client.write("/new", "life").unwrap();
    assert_eq!(client.control(&["check"]).unwrap(), "OK");
    let path = state_file(&server, "snapshot");
    let check = std::process::Command::new(Server::program())
        .arg(format!("--check={}", path.display()))
        .output()
        .unwrap();
    assert!(check.status.success());
    assert!(String::from_utf8_lossy(&check.stdout).contains("in order"));
}

#[test]
fn a_domain_has_the_features_that_it_is_given() {
    let mut server = Server::new("features", &[]);
    let mut client = server.client();
    let plain = SimulatedDomain::create(&server.machine(), 4).unwrap();
    // The error field, but neither reconnection nor depths.
    const SET_FEATURE: u32 = 24;
    let mut stream = UnixStream::connect(server.path("socket")).unwrap();
    stream.write_all(&header(SET_FEATURE, 0, 4)).unwrap();
    stream.write_all(b"4\x002\0").unwrap();
    let mut answer = [0; 19];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[16..], b"OK\0");
    client.introduce(4, 0, 1).unwrap();
    assert_eq!(plain.ring.state().0, 2);
    plain.ring.page().store_u32(2052, 0xdead_beef);
    plain.notify();
    eventually("the error", || plain.ring.state().2 == 2);
    plain.ring.ask_reconnection();
    plain.notify();
    server.kill();
    server.start();
    assert!(server.client().is_introduced(4).unwrap());
    assert_eq!(plain.ring.state(), (2, 1, 2), "asks in vain");
}

#[test]
fn counters_of_many_domains_reach_a_slow_reader() {
    const DOMAINS: u16 = 250;
    let server = Server::new("many", &[]);
    let mut client = server.client();
    let domains: Vec<_> = (1..=DOMAINS)
        .map(|number| {
            let mut domain = server.domain(&mut client, number);
            domain.write(0, "x", "1").unwrap();
            domain
        })
        .collect();
    // One that asks in pieces, and takes its time; one that asks nothing, and is no reason to wait for it.
    let mut slow = UnixStream::connect(server.path("metrics")).unwrap();
    let idle = UnixStream::connect(server.path("metrics")).unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n")
        .unwrap();
    thread::sleep(Duration::from_millis(50));
    slow.write_all(b"\r\n").unwrap();
    thread::sleep(Duration::from_millis(200));
    client.write("/a", "b").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    let (header, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(header.ends_with(&format!("Content-Length: {}", text.len())));
    assert!(text.len() > 256 << 10, "more than a socket holds");
    for number in 1..=DOMAINS {
        let line = format!("xenstore_latency_microseconds_count{{domid=\"{number}\"}} ");
        assert!(text.contains(&line), "{number}");
    }
    assert!(text.ends_with('\n'));
    let mut bare = UnixStream::connect(server.path("metrics")).unwrap();
    bare.write_all(b"\n").unwrap();
    let mut text = String::new();
    bare.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("# HELP xenstore_nodes "));
    drop((idle, domains));
}

#[test]
fn counters_and_traces_are_to_be_had() {
    let server = Server::new("counters", &[]);
    let mut client = server.client();
    let mut domain = server.domain(&mut client, 3);
    let trace = server.path("trace");
    client
        .control(&["logfile", trace.to_str().unwrap()])
        .unwrap();
    assert_eq!(client.control(&["log", "on"]).unwrap(), "OK");
    domain.write(0, "x", "\x1b[2J").unwrap();
    assert_eq!(client.control(&["log", "off"]).unwrap(), "OK");
    let text = fs::read_to_string(&trace).unwrap();
    assert!(text.contains("IN D3 tx=0 WRITE (x \\x1b[2J)"), "{text}");
    assert!(text.contains("OUT D3 tx=0 WRITE (OK)"), "{text}");
    let mut stream = UnixStream::connect(server.path("metrics")).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.0 200 OK\r\n"), "{text}");
    let line = "xenstore_requests_total{domid=\"3\",operation=\"WRITE\"} 1\n";
    assert!(text.contains(line), "{text}");
    let plain = client.control(&["metrics"]).unwrap();
    assert!(plain.contains("# TYPE xenstore_nodes gauge"));
}

#[test]
fn a_program_that_is_none_does_not_take_over() {
    let mut server = Server::new("impostor", &[]);
    let mut client = server.client();
    client.write("/a", "b").unwrap();
    for program in ["/bin/false", "/etc/hostname"] {
        client.control(&["live-update", "-f", program]).unwrap();
        let answer = client.control(&["live-update", "-s"]).unwrap();
        assert!(answer.contains("nothing has changed"), "{answer}");
    }
    assert_eq!(client.read_string("/a").unwrap(), "b");
    assert!(server.is_alive());
}

#[test]
fn a_store_that_is_too_large_refuses_what_takes_more() {
    let mut server = Server::new("large", &["--memory-max", "1"]);
    let mut client = server.client();
    let mut domain = server.domain(&mut client, 1);
    domain.write(0, "x", "1").unwrap();
    let value = "v".repeat(2000);
    let refused = (0..2000).find_map(|n| client.write(&format!("/big/{n}"), &value).err());
    let error = refused.expect("there is a limit").to_string();
    assert!(error.contains("ENOMEM"), "{error}");
    assert_eq!(domain.write(0, "x", "2"), Err("ENOMEM".to_owned()));
    assert_eq!(domain.read(0, "x").unwrap(), "1");
    assert!(server.log().contains("as many as it may"));
    client.remove("/big").unwrap();
    domain.write(0, "x", "3").unwrap();
    assert_eq!(client.control(&["check"]).unwrap(), "OK");
    let text = client.control(&["metrics", "1"]).unwrap();
    assert!(text.contains("xenstore_requests_total{domid=\"1\",operation=\"WRITE\"}"));
    assert!(text.len() < 4000, "a message does not hold it");
    assert!(server.is_alive());
}
