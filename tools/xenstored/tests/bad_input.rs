//! What clients, domains and disks do wrong: each gets the protocol's error or is served no longer, with a line in the
//! log; everyone else notices nothing, and the daemon goes on.
#![forbid(unsafe_code)]

mod harness;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use harness::{PATIENCE, Server};
use xenstore::wire::{Header, Operation};

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
