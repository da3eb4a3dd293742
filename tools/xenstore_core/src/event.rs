//! What goes into [`Store::step`](crate::Store::step), and what comes out of it.

use crate::Error;

/// A domain's number.
pub type DomainId = u16;

/// Domain 0, which may do everything; clients on sockets are its programs.
pub const DOMAIN_0: DomainId = 0;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionId {
    /// A domain's ring.
    Domain(DomainId),
    /// A socket; the number is the daemon's choice, never used twice while the daemon (or what it was live-updated to) runs.
    Socket(u64),
}

/// Something happened outside.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Time passes: milliseconds of any clock that never goes back (across a restart it may). About once a second, and
    /// whenever [`Store::deadline`](crate::Store::deadline) is reached.
    Tick {
        /// Milliseconds.
        now: u64,
    },
    /// A client connected to the socket.
    SocketOpened(u64),
    /// The socket is closed; all of its state is dropped.
    SocketClosed(u64),
    /// A ring is there without an INTRODUCE: domain 0's own at start. Fires no watch.
    DomainAttached {
        /// The domain.
        domain: DomainId,
        /// Its frame with the ring.
        frame: u64,
        /// Its (remote) event channel.
        port: u32,
    },
    /// The answer to [`Effect::Introduce`]. If it succeeded, the ring's indices are zero and its state is connected.
    Introduced {
        /// The domain.
        domain: DomainId,
        /// What came of mapping and binding.
        result: Result<(), Error>,
    },
    /// The ring's indices are nonsense: what the domain has here is dropped, and it is ignored until introduced again.
    RingFailed(DomainId),
    /// The domain asked to begin anew, in its ring page's `connection` field: what it has here is dropped, and it is
    /// served again if it was ignored. The ring's indices are to be set to zero afterwards.
    Reconnected(DomainId),
    /// The journal cannot be written, or can be again: until then whatever changes the store is refused with ENOSPC.
    Storage {
        /// Whether it cannot.
        full: bool,
    },
    /// The domain shut down (or crashed): `@releaseDomain` fires, once until RESUME.
    DomainShutdown(DomainId),
    /// The domain is dying or gone: its nodes and permissions go, `@releaseDomain` fires.
    DomainGone(DomainId),
    /// Bytes of requests, at most [`Store::input_space`](crate::Store::input_space). They are kept until whole messages' turns come.
    Received {
        /// From whom.
        connection: ConnectionId,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// So many bytes of [`Store::output`](crate::Store::output) were handed over.
    Sent {
        /// To whom.
        connection: ConnectionId,
        /// How many bytes.
        count: usize,
    },
    /// Handle one request: that of the client whose turn it is. Nothing happens if there is none
    /// ([`Store::has_work`](crate::Store::has_work)).
    Turn,
    /// The answer to [`Effect::Control`].
    ControlDone {
        /// Whose request it was.
        connection: ConnectionId,
        /// The reply's payload, or the error.
        result: Result<&'a [u8], Error>,
    },
    /// Replaces what the daemon wants remembered of a connection (ring indices, local port, …), in snapshots and, for rings, in
    /// the journal.
    Remember {
        /// Of whom.
        connection: ConnectionId,
        /// Opaque to the core; at most 4096 bytes.
        bytes: &'a [u8],
    },
}

/// What the daemon is to do, in this order. Journal first ([`Store::take_journal`](crate::Store::take_journal)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// There is output for a connection that had none.
    Output(ConnectionId),
    /// The connection's [`Store::input_space`](crate::Store::input_space) was zero, and is no longer.
    InputSpace(ConnectionId),
    /// Map the domain's ring (grant 1, or the frame), bind its event channel, zero the ring's indices, set `connection` to
    /// connected; then step with [`Event::Introduced`]. The request waits for it.
    Introduce {
        /// The domain.
        domain: DomainId,
        /// Its frame with the ring.
        frame: u64,
        /// Its event channel.
        port: u32,
        /// It is introduced already: only bind the (new) event channel and reset the ring.
        again: bool,
    },
    /// Unmap the domain's ring and unbind its event channel.
    Release(DomainId),
    /// Close the socket, or for a ring write [`Reason::ring_error`] into the page; the core has dropped the connection's
    /// state, and ignores a ring until it is introduced again.
    Disconnect {
        /// Whom.
        connection: ConnectionId,
        /// Why.
        reason: Reason,
    },
    /// A command of CONTROL that needs the world; answer with [`Event::ControlDone`].
    Control {
        /// Who asked.
        connection: ConnectionId,
        /// What.
        command: ControlCommand,
    },
    /// A line for the log.
    Log(Level, String),
}

/// Why a connection is no longer served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A message longer than 4096 bytes of payload.
    TooLong,
    /// The daemon reported wild ring indices.
    RingIndices,
    /// A client that does not read what it is sent has too much waiting.
    Backlog,
    /// Restoring it failed.
    Communication,
}

impl Reason {
    /// The value for the ring page's `error` field.
    pub fn ring_error(self) -> u32 {
        match self {
            Reason::TooLong => xen_abi::io::xs_wire::XENSTORE_ERROR_PROTO,
            Reason::RingIndices => xen_abi::io::xs_wire::XENSTORE_ERROR_RINGIDX,
            Reason::Backlog | Reason::Communication => xen_abi::io::xs_wire::XENSTORE_ERROR_COMM,
        }
    }
}

/// Commands of CONTROL for the daemon. (check, quota, quota-soft, help are the core's own.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlCommand {
    /// `log|on`, `log|off`, `log|+switch`, `log|-switch`; `None` asks for the settings.
    Log(Option<String>),
    /// `logfile|<file>`.
    LogFile(String),
    /// `live-update|…`: the arguments of `xenstore-control live-update`.
    LiveUpdate(Vec<String>),
    /// `memreport|[<file>]`; the core's figures are [`Store::memory_report`](crate::Store::memory_report).
    MemoryReport(Option<String>),
    /// `print|<string>`.
    Print(String),
    /// `metrics`, of all domains: Prometheus text; the core's part is [`Store::metrics`](crate::Store::metrics).
    Metrics,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For tracing operations.
    Trace,
    /// Good to know.
    Info,
    /// A client misbehaves, or nears its quota.
    Warning,
    /// Something is wrong.
    Error,
}

/// What only the hypervisor knows, asked during a step.
pub trait Host {
    /// Whether the domain exists (and is not dying).
    fn domain_exists(&self, domain: DomainId) -> bool;
}

/// Any set of domains will do, as in tests.
impl Host for std::collections::BTreeSet<DomainId> {
    fn domain_exists(&self, domain: DomainId) -> bool {
        self.contains(&domain)
    }
}
