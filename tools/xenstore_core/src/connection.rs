//! A connection: what came in and waits for its turn, what goes out, its watches and transactions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::event::{ConnectionId, DOMAIN_0, DomainId};
use crate::transaction::Transaction;
use crate::watch::WatchId;
use crate::wire::{HEADER_SIZE, Header, PAYLOAD_MAX};

/// Most bytes of requests that wait: two messages of the largest size.
pub(crate) const INPUT_MAX: usize = 2 * (HEADER_SIZE + PAYLOAD_MAX);
/// What a message that waits costs besides its bytes.
const MESSAGE_OVERHEAD: u64 = 64;

/// A request of an unprivileged domain that has effects still to be delivered.
pub(crate) type Cause = Option<(DomainId, u64)>;

/// A message that waits to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) header: [u8; HEADER_SIZE],
    pub(crate) payload: Arc<[u8]>,
    /// An event of a watch, not a reply.
    pub(crate) is_event: bool,
    /// The request that it is an effect of.
    pub(crate) cause: Cause,
    /// When it is dropped if it was not begun (milliseconds); 0: never.
    pub(crate) expires: u64,
}

impl Outgoing {
    /// Its bytes.
    pub(crate) fn length(&self) -> usize {
        HEADER_SIZE + self.payload.len()
    }

    /// An event of which a second one need not wait. Domains' coming and going is told each time.
    pub(crate) fn counts_once(&self) -> bool {
        self.is_event && self.payload.first() != Some(&b'@')
    }

    /// What it costs its receiver.
    pub(crate) fn memory(&self) -> u64 {
        self.length() as u64 + MESSAGE_OVERHEAD
    }
}

/// A request that waits for the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) header: Header,
    /// The domain that is being introduced, if it is that.
    pub(crate) introducing: Option<DomainId>,
}

/// A connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// Bytes of requests.
    pub(crate) input: Vec<u8>,
    /// Bytes of `input` that are handled already.
    pub(crate) consumed: usize,
    /// Messages to be sent.
    pub(crate) output: VecDeque<Outgoing>,
    /// Bytes of the first message that are sent already.
    pub(crate) sent: usize,
    /// Bytes in `output`, with those that are sent already.
    pub(crate) output_bytes: usize,
    /// Payloads of events in `output`.
    pub(crate) pending_events: BTreeSet<Arc<[u8]>>,
    /// Its watches, by path and token.
    pub(crate) watches: BTreeMap<(String, Vec<u8>), WatchId>,
    /// Its open transactions.
    pub(crate) transactions: BTreeMap<u32, Transaction>,
    /// The number of its next transaction.
    pub(crate) next_transaction: u32,
    /// Its request that waits for the daemon.
    pub(crate) waiting: Option<Waiting>,
    /// It misbehaved: nothing of it is read or sent.
    pub(crate) ignored: bool,
    /// It has a place among those that wait for a turn.
    pub(crate) queued: bool,
    /// Steps of work that it may cause at once.
    pub(crate) credit: i64,
    /// Input was refused for lack of space since it was last offered.
    pub(crate) full: bool,
    /// Bytes received and sent since it began, for the daemon to find its place again.
    pub(crate) received_total: u64,
    /// See `received_total`.
    pub(crate) sent_total: u64,
    /// What the daemon wants remembered.
    pub(crate) remembered: Vec<u8>,
}

impl Connection {
    /// The bytes that are not handled yet.
    pub(crate) fn pending(&self) -> &[u8] {
        self.input.get(self.consumed..).unwrap_or_default()
    }

    /// The header of the first message, if it has arrived.
    pub(crate) fn first_header(&self) -> Option<Header> {
        Header::parse(self.pending())
    }

    /// Whether a whole message has arrived.
    pub(crate) fn has_message(&self) -> bool {
        self.first_header()
            .is_some_and(|header| self.pending().len() - HEADER_SIZE >= header.length as usize)
    }

    /// Takes the first message's header and payload.
    pub(crate) fn take_message(&mut self) -> Option<(Header, Vec<u8>)> {
        let header = self.first_header()?;
        let end = HEADER_SIZE.checked_add(header.length as usize)?;
        let payload = self.pending().get(HEADER_SIZE..end)?.to_vec();
        self.consumed += end;
        if self.consumed >= INPUT_MAX / 2 || self.consumed == self.input.len() {
            self.input.drain(..self.consumed);
            self.consumed = 0;
        }
        Some((header, payload))
    }

    /// How many bytes more it may send now.
    pub(crate) fn space(&self) -> usize {
        if self.ignored {
            return 0;
        }
        INPUT_MAX.saturating_sub(self.pending().len())
    }

    /// Bytes that wait to be sent.
    pub(crate) fn backlog(&self) -> usize {
        self.output_bytes.saturating_sub(self.sent)
    }

    /// What waits to be sent, in pieces.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut skip = self.sent;
        self.output
            .iter()
            .flat_map(|message| [&message.header[..], &message.payload[..]])
            .filter_map(move |chunk| {
                let skipped = skip.min(chunk.len());
                skip -= skipped;
                chunk.get(skipped..).filter(|chunk| !chunk.is_empty())
            })
    }

    /// Puts a message at the end.
    pub(crate) fn push(&mut self, message: Outgoing) {
        self.output_bytes += message.length();
        if message.counts_once() {
            self.pending_events.insert(message.payload.clone());
        }
        self.output.push_back(message);
    }

    /// Takes the first message, sent or dropped.
    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let message = self.output.pop_front()?;
        self.output_bytes = self.output_bytes.saturating_sub(message.length());
        if message.is_event {
            self.pending_events.remove(&message.payload);
        }
        Some(message)
    }
}

/// The domain that a connection acts as.
pub(crate) fn domain_of(connection: ConnectionId) -> DomainId {
    match connection {
        ConnectionId::Domain(domain) => domain,
        ConnectionId::Socket(_) => DOMAIN_0,
    }
}
