//! A client that waits for each answer.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use xen_abi::{DomId, EvtchnPort};

use crate::error::ClientError;
use crate::permission::Permission;
use crate::request::{self, Session, TransactionId, WatchEvent, payload};
use crate::transaction::Transaction;
use crate::transport::{Endpoint, Transport, candidates, sockets};
use crate::wire::Operation;

/// A connection to xenstored.
///
/// Paths are absolute, or relative to the domain's own (`/local/domain/N`).
#[derive(Debug)]
pub struct Client {
    pub(crate) transport: Transport,
    pub(crate) session: Session,
}

impl Client {
    /// Connects to the first of [`candidates`] that answers.
    ///
    /// # Errors
    ///
    /// The first one's error if none does.
    pub fn connect() -> Result<Self, ClientError> {
        Self::open(Transport::open_first(&candidates())?)
    }

    /// Connects to xenstored's socket only: it, not another domain, serves the connection.
    ///
    /// # Errors
    ///
    /// That there is none.
    pub fn connect_to_socket() -> Result<Self, ClientError> {
        Self::open(Transport::open_first(&sockets())?)
    }

    /// Connects to one that is known.
    ///
    /// # Errors
    ///
    /// Those of opening it.
    pub fn connect_to(endpoint: &Endpoint) -> Result<Self, ClientError> {
        Self::open(Transport::open(endpoint)?)
    }

    fn open(transport: Transport) -> Result<Self, ClientError> {
        Ok(Self {
            transport,
            session: Session::default(),
        })
    }

    /// Makes a request and waits for its answer. For what the other methods do not offer.
    ///
    /// # Errors
    ///
    /// xenstored's refusal, or the connection's end.
    pub fn request(
        &mut self,
        operation: Operation,
        transaction: TransactionId,
        payload: &[u8],
    ) -> Result<Vec<u8>, ClientError> {
        let (number, message) = self.session.request(operation, transaction, payload)?;
        self.transport.write_all(&message)?;
        loop {
            while let Some(answer) = self.session.next_answer()? {
                // Any other would be one to a request that nobody made.
                if answer.request == number {
                    return Ok(answer.result?);
                }
            }
            self.receive()?;
        }
    }

    /// Waits for bytes from xenstored.
    pub(crate) fn receive(&mut self) -> Result<(), ClientError> {
        let mut bytes = [0; 4096 + 16];
        let length = loop {
            match self.transport.read(&mut bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if length == 0 {
            return Err(ClientError::Connection(
                std::io::ErrorKind::UnexpectedEof.into(),
            ));
        }
        self.session.push(&bytes[..length]);
        Ok(())
    }

    /// The requests of a transaction, or those outside of any.
    fn plain(&mut self) -> Transaction<'_> {
        Transaction {
            client: self,
            id: TransactionId::NONE,
        }
    }

    /// A node's value.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.plain().read(path)
    }

    /// A node's value as text; what is not UTF-8 is replaced.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`.
    pub fn read_string(&mut self, path: &str) -> Result<String, ClientError> {
        self.plain().read_string(path)
    }

    /// The names of a node's children.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`.
    pub fn directory(&mut self, path: &str) -> Result<Vec<String>, ClientError> {
        self.plain().directory(path)
    }

    /// Whether a node is there and may be read.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub fn exists(&mut self, path: &str) -> Result<bool, ClientError> {
        self.plain().exists(path)
    }

    /// Sets a node's value; makes it and what leads to it if need be.
    ///
    /// # Errors
    ///
    /// `EACCES`, `ENOSPC` for a quota.
    pub fn write(&mut self, path: &str, value: impl AsRef<[u8]>) -> Result<(), ClientError> {
        self.plain().write(path, value)
    }

    /// Makes a node, if it is not there.
    ///
    /// # Errors
    ///
    /// `EACCES`, `ENOSPC` for a quota.
    pub fn make_directory(&mut self, path: &str) -> Result<(), ClientError> {
        self.plain().make_directory(path)
    }

    /// Removes a node and all below it.
    ///
    /// # Errors
    ///
    /// `EACCES`; `ENOENT` if its parent is not there either.
    pub fn remove(&mut self, path: &str) -> Result<(), ClientError> {
        self.plain().remove(path)
    }

    /// A node's permissions, the owner's first.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`.
    pub fn permissions(&mut self, path: &str) -> Result<Vec<Permission>, ClientError> {
        self.plain().permissions(path)
    }

    /// Sets a node's permissions, the owner's first.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`, `EINVAL`.
    pub fn set_permissions(
        &mut self,
        path: &str,
        permissions: &[Permission],
    ) -> Result<(), ClientError> {
        self.plain().set_permissions(path, permissions)
    }

    /// Does a transaction, again and again while others get in its way. What `body` returns as an error ends it without
    /// a trace.
    ///
    /// # Errors
    ///
    /// Those of `body`, and of starting and ending the transaction.
    pub fn transaction<R>(
        &mut self,
        mut body: impl FnMut(&mut Transaction<'_>) -> Result<R, ClientError>,
    ) -> Result<R, ClientError> {
        loop {
            let mut transaction = self.begin()?;
            match body(&mut transaction) {
                Ok(result) => {
                    if transaction.commit()? {
                        return Ok(result);
                    }
                }
                Err(error) => {
                    transaction.abort()?;
                    return Err(error);
                }
            }
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// `ENOSPC` with too many open.
    pub fn begin(&mut self) -> Result<Transaction<'_>, ClientError> {
        let answer = self.request(Operation::TransactionStart, TransactionId::NONE, b"\0")?;
        let id = TransactionId(request::number(&answer)?);
        Ok(Transaction { client: self, id })
    }

    /// Continues a transaction that [`Transaction::keep_open`] left.
    pub fn resume_transaction(&mut self, id: TransactionId) -> Transaction<'_> {
        Transaction { client: self, id }
    }

    /// Watches a path, or `@introduceDomain` and `@releaseDomain`. An event comes at once, and one for each change
    /// at or below the path.
    ///
    /// # Errors
    ///
    /// `EEXIST` for the same path and token, `EINVAL`, `E2BIG` with too many.
    pub fn watch(&mut self, path: &str, token: &str) -> Result<(), ClientError> {
        self.done(Operation::Watch, &payload(&[path, token])?)
    }

    /// The same for changes at most `depth` levels below the node; 0: of the node alone. Stores before Xen 4.22's do not
    /// know depths, and watch all below.
    ///
    /// # Errors
    ///
    /// As of [`Client::watch`].
    pub fn watch_depth(&mut self, path: &str, token: &str, depth: u32) -> Result<(), ClientError> {
        let payload = payload(&[path, token, &depth.to_string()])?;
        self.done(Operation::Watch, &payload)
    }

    /// Ends a watch. Events of it may still be queued.
    ///
    /// # Errors
    ///
    /// `ENOENT`.
    pub fn unwatch(&mut self, path: &str, token: &str) -> Result<(), ClientError> {
        self.done(Operation::Unwatch, &payload(&[path, token])?)
    }

    /// The next event that has arrived already.
    pub fn pending_event(&mut self) -> Option<WatchEvent> {
        self.session.events.pop_front()
    }

    /// Waits for an event; `None` after `timeout`. Without one, forever.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub fn next_event(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<Option<WatchEvent>, ClientError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            // There is no request under way: answers are nobody's.
            while self.session.next_answer()?.is_some() {}
            if let Some(event) = self.session.events.pop_front() {
                return Ok(Some(event));
            }
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if !self.is_readable_within(left)? {
                    return Ok(None);
                }
            }
            self.receive()?;
        }
    }

    fn is_readable_within(&self, time: Duration) -> Result<bool, ClientError> {
        let timeout = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        let mut descriptors = [PollFd::new(&self.transport, PollFlags::IN)];
        match rustix::event::poll(&mut descriptors, Some(&timeout)) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(ClientError::Connection(errno.into())),
        }
    }

    /// Tells xenstored of a new domain, its ring's frame and the port that its end of the event channel is.
    ///
    /// # Errors
    ///
    /// `EACCES` unless privileged, `EINVAL` if it cannot be reached, `EEXIST`.
    pub fn introduce(
        &mut self,
        domain: DomId,
        frame: u64,
        port: EvtchnPort,
    ) -> Result<(), ClientError> {
        let words = [domain.to_string(), frame.to_string(), port.to_string()];
        self.done(Operation::Introduce, &payload(&words)?)
    }

    /// Ends xenstored's connection to a domain.
    ///
    /// # Errors
    ///
    /// `EACCES`, `ENOENT`.
    pub fn release(&mut self, domain: DomId) -> Result<(), ClientError> {
        self.done(Operation::Release, &payload(&[domain.to_string()])?)
    }

    /// Tells xenstored that a domain that was shut down goes on.
    ///
    /// # Errors
    ///
    /// `EACCES`, `ENOENT`.
    pub fn resume(&mut self, domain: DomId) -> Result<(), ClientError> {
        self.done(Operation::Resume, &payload(&[domain.to_string()])?)
    }

    /// Lets a domain act for another.
    ///
    /// # Errors
    ///
    /// `EACCES`, `ENOENT`.
    pub fn set_target(&mut self, domain: DomId, target: DomId) -> Result<(), ClientError> {
        let words = [domain.to_string(), target.to_string()];
        self.done(Operation::SetTarget, &payload(&words)?)
    }

    /// Whether xenstored knows a domain.
    ///
    /// # Errors
    ///
    /// `EACCES`.
    pub fn is_introduced(&mut self, domain: DomId) -> Result<bool, ClientError> {
        let payload = payload(&[domain.to_string()])?;
        let answer = self.request(Operation::IsDomainIntroduced, TransactionId::NONE, &payload)?;
        Ok(answer.starts_with(b"T"))
    }

    /// A domain's own path.
    ///
    /// # Errors
    ///
    /// `EINVAL`.
    pub fn domain_path(&mut self, domain: DomId) -> Result<String, ClientError> {
        let payload = payload(&[domain.to_string()])?;
        let answer = self.request(Operation::GetDomainPath, TransactionId::NONE, &payload)?;
        Ok(request::string(&answer))
    }

    /// Ends all watches and transactions of this connection.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub fn reset_watches(&mut self) -> Result<(), ClientError> {
        self.done(Operation::ResetWatches, b"\0")
    }

    /// A command of xenstored's own (`help` lists them) with its arguments.
    ///
    /// # Errors
    ///
    /// `EACCES` unless privileged, `EINVAL`.
    pub fn control<S: AsRef<str>>(&mut self, words: &[S]) -> Result<String, ClientError> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let payload = payload(&words)?;
        let answer = self.request(Operation::Control, TransactionId::NONE, &payload)?;
        Ok(request::string(&answer))
    }

    fn done(&mut self, operation: Operation, payload: &[u8]) -> Result<(), ClientError> {
        self.request(operation, TransactionId::NONE, payload)
            .map(drop)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}
