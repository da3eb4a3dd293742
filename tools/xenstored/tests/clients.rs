//! The clients of the crate `xenstore` with the real daemon.
#![forbid(unsafe_code)]

mod harness;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use harness::{PATIENCE, Server};
use xenstore::wire::Operation;
use xenstore::{AsyncClient, ClientError, Endpoint, TransactionId};

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
