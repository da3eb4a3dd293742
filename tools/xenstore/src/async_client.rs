//! A client for many tasks, on any executor: a thread of its own reads what xenstored sends.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use xen_abi::Errno;

use crate::error::{ClientError, StoreError};
use crate::request::{self, Session, TransactionId, WatchEvent, payload, write_payload};
use crate::transport::{Endpoint, Transport, candidates};
use crate::wire::Operation;

/// A connection to xenstored that tasks share: its clones are the same connection. It ends with the last of them.
#[derive(Clone, Debug)]
pub struct AsyncClient {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    writer: Mutex<Transport>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    session: Session,
    /// Requests under way, and their answers.
    requests: HashMap<u32, Slot>,
    events: VecDeque<WatchEvent>,
    event_wakers: Vec<Waker>,
    /// Why the connection ended.
    ended: Option<(io::ErrorKind, String)>,
}

#[derive(Debug, Default)]
struct Slot {
    result: Option<Result<Vec<u8>, StoreError>>,
    waker: Option<Waker>,
}

impl Shared {
    /// A thread that panicked left nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what has arrived, and wakes whoever waits for it.
    fn receive(&self, bytes: &[u8]) -> Result<(), ClientError> {
        let mut wakers = Vec::new();
        let mut state = self.state();
        state.session.push(bytes);
        while let Some(answer) = state.session.next_answer()? {
            if let Some(slot) = state.requests.get_mut(&answer.request) {
                slot.result = Some(answer.result);
                wakers.extend(slot.waker.take());
            }
        }
        let events = std::mem::take(&mut state.session.events);
        if !events.is_empty() {
            state.events.extend(events);
            wakers.append(&mut state.event_wakers);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn end(&self, error: &ClientError) {
        let mut state = self.state();
        let kind = match error {
            ClientError::Connection(error) => error.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        state.ended.get_or_insert((kind, error.to_string()));
        let mut wakers = std::mem::take(&mut state.event_wakers);
        wakers.extend(
            state
                .requests
                .values_mut()
                .filter_map(|slot| slot.waker.take()),
        );
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn error(&self) -> Option<ClientError> {
        let (kind, text) = self.ended.as_ref()?;
        Some(ClientError::Connection(io::Error::new(*kind, text.clone())))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The reading thread sees the end.
        self.writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .shut_down();
    }
}

impl AsyncClient {
    /// Connects to the first of [`candidates`] that answers.
    ///
    /// # Errors
    ///
    /// The first one's error if none does; that of starting a thread.
    pub fn connect() -> Result<Self, ClientError> {
        Self::open(Transport::open_first(&candidates())?)
    }

    /// Connects to one that is known.
    ///
    /// # Errors
    ///
    /// Those of opening it; that of starting a thread.
    pub fn connect_to(endpoint: &Endpoint) -> Result<Self, ClientError> {
        Self::open(Transport::open(endpoint)?)
    }

    fn open(transport: Transport) -> Result<Self, ClientError> {
        let shared = Arc::new(Shared::default());
        let mut reader = transport.try_clone()?;
        let for_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("xenstore".to_owned())
            .spawn(move || {
                let mut bytes = [0; 8192];
                loop {
                    let result = match reader.read(&mut bytes) {
                        Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                        Ok(length) => for_thread.receive(&bytes[..length]),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                        Err(error) => Err(error.into()),
                    };
                    if let Err(error) = result {
                        for_thread.end(&error);
                        return;
                    }
                }
            })?;
        Ok(Self {
            handle: Arc::new(Handle {
                shared,
                writer: Mutex::new(transport),
            }),
        })
    }

    /// Sends a request; its answer is awaited with the result. Requests of one task are served in their order even
    /// if their answers are awaited later.
    pub fn request(
        &self,
        operation: Operation,
        transaction: TransactionId,
        payload: &[u8],
    ) -> Reply {
        Reply {
            shared: Arc::clone(&self.handle.shared),
            request: self.send(operation, transaction, payload),
        }
    }

    fn send(
        &self,
        operation: Operation,
        transaction: TransactionId,
        payload: &[u8],
    ) -> Result<u32, Option<ClientError>> {
        // Held from numbering to sending, so that the order is the same.
        let mut writer = self
            .handle
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (number, message) = {
            let mut state = self.handle.shared.state();
            if let Some(error) = state.error() {
                return Err(Some(error));
            }
            let (number, message) = state
                .session
                .request(operation, transaction, payload)
                .map_err(Some)?;
            state.requests.insert(number, Slot::default());
            (number, message)
        };
        // Waits if xenstored does not read: it always does, unless this client does not.
        if let Err(error) = writer.write_all(&message) {
            self.handle.shared.state().requests.remove(&number);
            return Err(Some(error.into()));
        }
        Ok(number)
    }

    /// A node's value.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.request(Operation::Read, TransactionId::NONE, &payload(&[path])?)
            .await
    }

    /// Sets a node's value.
    ///
    /// # Errors
    ///
    /// `EACCES`, `ENOSPC` for a quota.
    pub async fn write(&self, path: &str, value: &[u8]) -> Result<(), ClientError> {
        let payload = write_payload(path, value)?;
        self.request(Operation::Write, TransactionId::NONE, &payload)
            .await
            .map(drop)
    }

    /// The names of a node's children.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`, `E2BIG` if they do not fit one answer.
    pub async fn directory(&self, path: &str) -> Result<Vec<String>, ClientError> {
        let answer = self
            .request(
                Operation::Directory,
                TransactionId::NONE,
                &payload(&[path])?,
            )
            .await?;
        Ok(request::strings(&answer).collect())
    }

    /// Removes a node and all below it.
    ///
    /// # Errors
    ///
    /// `EACCES`, `ENOENT`.
    pub async fn remove(&self, path: &str) -> Result<(), ClientError> {
        self.request(Operation::Remove, TransactionId::NONE, &payload(&[path])?)
            .await
            .map(drop)
    }

    /// Watches a path; its events come from [`AsyncClient::next_event`], with the token.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `EINVAL`, `E2BIG`.
    pub async fn watch(&self, path: &str, token: &str) -> Result<(), ClientError> {
        let payload = payload(&[path, token])?;
        self.request(Operation::Watch, TransactionId::NONE, &payload)
            .await
            .map(drop)
    }

    /// Ends a watch.
    ///
    /// # Errors
    ///
    /// `ENOENT`.
    pub async fn unwatch(&self, path: &str, token: &str) -> Result<(), ClientError> {
        let payload = payload(&[path, token])?;
        self.request(Operation::Unwatch, TransactionId::NONE, &payload)
            .await
            .map(drop)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// `ENOSPC` with too many open.
    pub async fn begin(&self) -> Result<AsyncTransaction, ClientError> {
        let answer = self
            .request(Operation::TransactionStart, TransactionId::NONE, b"\0")
            .await?;
        Ok(AsyncTransaction {
            client: self.clone(),
            id: TransactionId(request::number(&answer)?),
        })
    }

    /// The next event of any watch; each event goes to one task.
    ///
    /// # Errors
    ///
    /// The connection's end.
    pub async fn next_event(&self) -> Result<WatchEvent, ClientError> {
        std::future::poll_fn(|context| {
            let mut state = self.handle.shared.state();
            if let Some(event) = state.events.pop_front() {
                return Poll::Ready(Ok(event));
            }
            if let Some(error) = state.error() {
                return Poll::Ready(Err(error));
            }
            state.event_wakers.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// A transaction of an [`AsyncClient`]: aborted unless committed.
#[derive(Debug)]
pub struct AsyncTransaction {
    client: AsyncClient,
    id: TransactionId,
}

impl AsyncTransaction {
    /// Makes a request within the transaction.
    pub fn request(&self, operation: Operation, payload: &[u8]) -> Reply {
        self.client.request(operation, self.id, payload)
    }

    /// A node's value.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.request(Operation::Read, &payload(&[path])?).await
    }

    /// Sets a node's value.
    ///
    /// # Errors
    ///
    /// `EACCES`, `ENOSPC` for a quota.
    pub async fn write(&self, path: &str, value: &[u8]) -> Result<(), ClientError> {
        self.request(Operation::Write, &write_payload(path, value)?)
            .await
            .map(drop)
    }

    /// Commits; `false` if another change got in the way, and nothing was done.
    ///
    /// # Errors
    ///
    /// `ENOSPC` for a quota, the connection's.
    pub async fn commit(mut self) -> Result<bool, ClientError> {
        let id = std::mem::replace(&mut self.id, TransactionId::NONE);
        let answer = self
            .client
            .request(Operation::TransactionEnd, id, b"T\0")
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) if error.errno() == Some(Errno::EAGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for AsyncTransaction {
    fn drop(&mut self) {
        if self.id != TransactionId::NONE {
            // Nobody waits for the answer.
            drop(
                self.client
                    .request(Operation::TransactionEnd, self.id, b"F\0"),
            );
        }
    }
}

/// An answer to wait for. Dropping it does not take the request back.
#[derive(Debug)]
pub struct Reply {
    shared: Arc<Shared>,
    /// The request's number; or why it was not sent.
    request: Result<u32, Option<ClientError>>,
}

impl Future for Reply {
    type Output = Result<Vec<u8>, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let number = match &mut self.request {
            Ok(number) => *number,
            Err(error) => {
                let error = error.take();
                return Poll::Ready(Err(
                    error.unwrap_or(ClientError::Argument("was answered before"))
                ));
            }
        };
        let mut state = self.shared.state();
        let ended = state.error();
        let Some(slot) = state.requests.get_mut(&number) else {
            return Poll::Ready(Err(ClientError::Argument("was answered before")));
        };
        if let Some(result) = slot.result.take() {
            state.requests.remove(&number);
            return Poll::Ready(result.map_err(ClientError::Store));
        }
        if let Some(error) = ended {
            state.requests.remove(&number);
            return Poll::Ready(Err(error));
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Ok(number) = self.request {
            self.shared.state().requests.remove(&number);
        }
    }
}
