//! Killed at random points under load, and continued as another program: nothing that was committed is lost, nothing is
//! half done, no message is lost or repeated, watches fire once.
//!
//! Short here; the whole length with `cargo test --release -p xenstored --test durability -- --ignored`.
#![forbid(unsafe_code)]

mod harness;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use harness::{Domain, Server};
use xenstore::wire::{self, Operation};

/// Numbers that look random, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What a domain does for as long as it is let: writes that its own watch sees, transactions of two nodes that are always
/// equal, long values; checks each answer. Gives how often.
fn live(mut domain: Domain, stop: &AtomicBool, progress: &AtomicU64) -> u64 {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ u64::from(domain.number));
    domain.watch("data/counter", "t");
    assert_eq!(domain.event(), ("data/counter".into(), "t".into()));
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        count += 1;
        let text = count.to_string();
        domain.write(0, "data/counter", &text).unwrap();
        // One for the change, and no other.
        assert_eq!(domain.event(), ("data/counter".into(), "t".into()));
        assert_eq!(domain.read(0, "data/counter").unwrap(), text);
        // Longer than a ring: half of it is in the daemon when it dies.
        let long = "x".repeat(numbers.below(2000) as usize);
        domain.write(0, "data/long", &long).unwrap();
        assert_eq!(domain.read(0, "data/long").unwrap(), long);
        loop {
            let transaction = domain.begin();
            domain.write(transaction, "data/a", &text).unwrap();
            if numbers.below(4) == 0 {
                assert_eq!(domain.read(transaction, "data/a").unwrap(), text);
            }
            domain.write(transaction, "data/b", &text).unwrap();
            match domain.request(Operation::TransactionEnd, transaction, b"T\0") {
                Ok(_) => break,
                Err(error) => assert_eq!(error, "EAGAIN"),
            }
            let before = (count - 1).to_string();
            for name in ["data/a", "data/b"] {
                match domain.read(0, name) {
                    Ok(value) => assert_eq!(value, before, "half done"),
                    Err(error) => assert!(error == "ENOENT" && count == 1),
                }
            }
        }
        assert_eq!(domain.read(0, "data/a").unwrap(), text);
        assert_eq!(domain.read(0, "data/b").unwrap(), text);
        progress.fetch_add(1, Ordering::Relaxed);
    }
    assert!(domain.is_quiet(), "a message that nobody asked for");
    count
}

fn killed(times: u64) {
    let mut server = Server::new("killed", &[]);
    let mut client = server.client();
    let stop = Arc::new(AtomicBool::new(false));
    let progress = Arc::new(AtomicU64::new(0));
    let domains: Vec<_> = (1..=4)
        .map(|number| {
            let domain = server.domain(&mut client, number);
            let (stop, progress) = (Arc::clone(&stop), Arc::clone(&progress));
            thread::spawn(move || (number, live(domain, &stop, &progress)))
        })
        .collect();
    let mut numbers = Numbers(88_172_645_463_325_252);
    let mut written = 0_u64;
    for round in 0..times {
        // A client on the socket, which loses its connection: what was answered is there.
        let mut client = server.client();
        let again = client.read_string("/tool/count").unwrap_or_default();
        if !again.is_empty() {
            let again: u64 = again.parse().unwrap();
            // The last may have been committed without an answer.
            assert!(
                again == written || again == written + 1,
                "{again} {written}"
            );
        }
        let stop_at = numbers.below(40);
        let done = Arc::new(AtomicBool::new(false));
        let writer = {
            let done = Arc::clone(&done);
            let mut next = written;
            thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    if client.write("/tool/count", (next + 1).to_string()).is_err() {
                        break;
                    }
                    next += 1;
                }
                next
            })
        };
        thread::sleep(Duration::from_micros(stop_at * 500 + numbers.below(500)));
        assert!(server.is_alive(), "it ended by itself in round {round}");
        server.kill();
        done.store(true, Ordering::Relaxed);
        written = writer.join().unwrap();
        server.start();
        if domains.iter().any(thread::JoinHandle::is_finished) {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut client = server.client();
    for domain in domains {
        let (number, count) = domain.join().unwrap();
        let home = format!("/local/domain/{number}/data");
        let value = client.read_string(&format!("{home}/counter")).unwrap();
        assert_eq!(value, count.to_string());
    }
    assert_eq!(client.control(&["check"]).unwrap(), "OK");
    println!(
        "killed {times} times, {} rounds of 4 domains",
        progress.load(Ordering::Relaxed)
    );
}

#[test]
fn killed_at_random_points() {
    killed(25);
}

#[test]
#[ignore = "minutes"]
fn killed_at_500_random_points() {
    killed(500);
}

fn updated(times: u64) {
    const WATCHES: usize = 1000;
    const TRANSACTIONS: usize = 10;
    let mut server = Server::new("updated", &[]);
    let mut client = server.client();
    let stop = Arc::new(AtomicBool::new(false));
    let progress = Arc::new(AtomicU64::new(0));
    let domains: Vec<_> = (1..=3)
        .map(|number| {
            let domain = server.domain(&mut client, number);
            let (stop, progress) = (Arc::clone(&stop), Arc::clone(&progress));
            thread::spawn(move || (number, live(domain, &stop, &progress)))
        })
        .collect();
    let mut watcher = server.client();
    for index in 0..WATCHES {
        watcher
            .watch(&format!("/w/{index}"), &index.to_string())
            .unwrap();
    }
    for _ in 0..WATCHES {
        assert!(
            watcher
                .next_event(Some(harness::PATIENCE))
                .unwrap()
                .is_some()
        );
    }
    // Otherwise each transaction would make it, and be in the way of the others.
    client.write("/t", "").unwrap();
    let mut holder = server.client();
    let open: Vec<_> = (0..TRANSACTIONS)
        .map(|index| {
            let mut transaction = holder.begin().unwrap();
            transaction.write(&format!("/t/{index}"), "inside").unwrap();
            transaction.keep_open()
        })
        .collect();
    let program = Server::program();
    for round in 0..times {
        // A message that is half sent when the program changes.
        let mut half = UnixStream::connect(server.path("socket")).unwrap();
        let mut message = Vec::new();
        wire::encode(&mut message, Operation::Read, 7, 0, b"/tool\0").unwrap();
        half.write_all(&message[..19]).unwrap();
        assert_eq!(
            client.control(&["live-update", "-f", program]).unwrap(),
            "OK"
        );
        assert_eq!(client.control(&["live-update", "-s"]).unwrap(), "OK");
        assert!(server.is_alive());
        half.write_all(&message[19..]).unwrap();
        let mut header = [0; 16];
        half.read_exact(&mut header).unwrap();
        assert_eq!(header[..8], message[..8]);
        for index in [round as usize % WATCHES, WATCHES - 1] {
            client
                .write(&format!("/w/{index}"), round.to_string())
                .unwrap();
            let event = watcher
                .next_event(Some(harness::PATIENCE))
                .unwrap()
                .unwrap();
            assert_eq!(event.token, index.to_string());
            assert_eq!(event.path, format!("/w/{index}"));
        }
        assert!(watcher.pending_event().is_none());
        for (index, id) in open.iter().enumerate() {
            let mut transaction = holder.resume_transaction(*id);
            let value = transaction.read_string(&format!("/t/{index}")).unwrap();
            assert_eq!(value, "inside");
            transaction.keep_open();
        }
        assert!(!client.exists("/t/0").unwrap());
    }
    for id in open {
        assert!(holder.resume_transaction(id).commit().unwrap());
    }
    for index in 0..TRANSACTIONS {
        assert_eq!(
            client.read_string(&format!("/t/{index}")).unwrap(),
            "inside"
        );
    }
    // All watches are there, and each fires once.
    for index in 0..WATCHES {
        client.write(&format!("/w/{index}"), "last").unwrap();
    }
    let mut tokens: Vec<usize> = (0..WATCHES)
        .map(|_| watcher.next_event(Some(harness::PATIENCE)))
        .map(|event| event.unwrap().unwrap().token.parse().unwrap())
        .collect();
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(0..WATCHES));
    assert!(watcher.pending_event().is_none());
    stop.store(true, Ordering::Relaxed);
    for domain in domains {
        let (number, count) = domain.join().unwrap();
        let path = format!("/local/domain/{number}/data/counter");
        assert_eq!(client.read_string(&path).unwrap(), count.to_string());
    }
    assert_eq!(client.control(&["check"]).unwrap(), "OK");
    println!(
        "updated {times} times, {} rounds of 3 domains",
        progress.load(Ordering::Relaxed)
    );
}

#[test]
fn continued_as_another_program() {
    updated(5);
}

#[test]
#[ignore = "minutes"]
fn continued_as_another_program_100_times() {
    updated(100);
}
