//! The clients of the crate `xenstore` with the real daemon.
#![forbid(unsafe_code)]

mod harness;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use harness::{PATIENCE, Server};
use xenstore::wire::{self, Operation};
use xenstore::{AsyncClient, ClientError, Endpoint, TransactionId};
use xenstored::machine::SimulatedDomain;

/// Wakes a thread that waits for a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park_timeout(PATIENCE),
        }
    }
}

#[test]
fn a_directory_larger_than_a_message_is_listed() {
    let server = Server::new("directory", &[]);
    let mut client = server.client();
    let mut names: Vec<String> = (0..500)
        .map(|number| format!("a-rather-long-name-{number:04}"))
        .collect();
    for name in &names {
        client.write(&format!("/d/{name}"), name).unwrap();
    }
    let mut listed = client.directory("/d").unwrap();
    listed.sort();
    names.sort();
    assert_eq!(listed, names);
}

#[test]
fn a_transaction_that_conflicts_is_done_again() {
    let server = Server::new("again", &[]);
    let mut one = server.client();
    let mut two = server.client();
    one.write("/n", "1").unwrap();
    let mut attempts = 0;
    one.transaction(|transaction| {
        attempts += 1;
        let value: u64 = transaction.read_string("/n")?.parse().unwrap_or(0);
        if attempts == 1 {
            two.write("/n", "10")?;
        }
        transaction.write("/n", (value + 1).to_string())
    })
    .unwrap();
    assert_eq!(attempts, 2);
    assert_eq!(one.read_string("/n").unwrap(), "11");
    let refused = one.transaction(|transaction| {
        transaction.write("/n", "never")?;
        transaction.read("/not-there")
    });
    assert!(refused.unwrap_err().is_not_found());
    assert_eq!(one.read_string("/n").unwrap(), "11");
}

#[test]
fn tasks_share_a_connection() {
    let mut server = Server::new("tasks", &[]);
    server.client();
    let endpoint = Endpoint::Socket(server.path("socket"));
    let client = AsyncClient::connect_to(&endpoint).unwrap();
    block_on(async {
        client.watch("/a", "token").await.unwrap();
        assert_eq!(client.next_event().await.unwrap().path, "/a");
        // Sent at once, awaited in another order.
        let replies: Vec<_> = (0..50)
            .map(|number| {
                let payload = format!("/b/{number}\0{number}");
                client.request(Operation::Write, TransactionId::NONE, payload.as_bytes())
            })
            .collect();
        for reply in replies.into_iter().rev() {
            assert_eq!(reply.await.unwrap(), b"OK\0");
        }
        assert_eq!(client.directory("/b").await.unwrap().len(), 50);
        let transaction = client.begin().await.unwrap();
        transaction.write("/a", b"1").await.unwrap();
        assert!(client.read("/a").await.unwrap_err().is_not_found());
        assert!(transaction.commit().await.unwrap());
        let event = client.next_event().await.unwrap();
        assert_eq!((event.path.as_str(), event.token.as_str()), ("/a", "token"));
        // One that is dropped does nothing.
        let transaction = client.begin().await.unwrap();
        transaction.write("/a", b"2").await.unwrap();
        drop(transaction);
        assert_eq!(client.read("/a").await.unwrap(), b"1");
    });
    server.kill();
    block_on(async {
        let error = client.read("/a").await.unwrap_err();
        assert!(matches!(error, ClientError::Connection(_)), "{error}");
        assert!(client.next_event().await.is_err());
    });
}

#[test]
fn a_domain_that_sends_events_as_linux_does_is_answered() {
    const ROUNDS: u32 = 1000;
    const REQUESTS: usize = 3;
    // Offsets of how far requests were taken, and are there.
    const TAKEN: usize = 2048;
    const WRITTEN: usize = 2052;
    let server = Server::new("events", &[]);
    let mut client = server.client();
    let domain = SimulatedDomain::create(&server.machine(), 5).unwrap();
    client.introduce(5, 0, 1).unwrap();
    let mut request = Vec::new();
    wire::encode(&mut request, Operation::GetDomainPath, 7, 0, b"5\0").unwrap();
    let answer = 16 + "/local/domain/5\0".len();
    for round in 0..ROUNDS {
        for _ in 0..REQUESTS {
            let page = domain.ring.page();
            let before = page.load_u32(WRITTEN);
            assert_eq!(domain.ring.put_requests(&request), request.len());
            // No event if earlier requests are not taken yet: then the daemon is going to look.
            if before.wrapping_sub(page.load_u32(TAKEN)).cast_signed() <= 0 {
                domain.notify();
            }
            // So that the daemon is met in each of its steps.
            for _ in 0..round % 100 * 50 {
                std::hint::spin_loop();
            }
        }
        let deadline = Instant::now() + PATIENCE;
        let mut received = 0;
        while received < REQUESTS * answer {
            assert!(Instant::now() < deadline, "round {round}: no answer");
            domain.wait(Duration::from_millis(100));
            received += domain.ring.take_responses().len();
        }
        assert_eq!(received, REQUESTS * answer);
    }
}
