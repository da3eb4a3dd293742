//! Messages: a header of four words and a payload.
//!
//! Numbers are in the byte order of x86. A payload is at most [`MAX_PAYLOAD`] bytes; nothing else of it is known here.

use std::fmt;

use xen_abi::io::xs_wire::{self, XsdSockmsg};
use zerocopy::{FromBytes, IntoBytes};

/// The length of a header in bytes.
pub const HEADER_LENGTH: usize = size_of::<XsdSockmsg>();
/// The most bytes that a payload may have.
pub const MAX_PAYLOAD: usize = xs_wire::XENSTORE_PAYLOAD_MAX as usize;

macro_rules! operations {
    ($($(#[$meta:meta])* $name:ident = $number:ident, $text:literal;)*) => {
        /// What a message is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Operation {
            $(
                #[doc = concat!("`", stringify!($number), "`")]
                $(#[$meta])*
                $name = xs_wire::$number,
            )*
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The operation of a header's number.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $(xs_wire::$number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name in Xen's traces.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

operations! {
    Control = XS_CONTROL, "CONTROL";
    Directory = XS_DIRECTORY, "DIRECTORY";
    Read = XS_READ, "READ";
    GetPermissions = XS_GET_PERMS, "GET_PERMS";
    Watch = XS_WATCH, "WATCH";
    Unwatch = XS_UNWATCH, "UNWATCH";
    TransactionStart = XS_TRANSACTION_START, "TRANSACTION_START";
    TransactionEnd = XS_TRANSACTION_END, "TRANSACTION_END";
    Introduce = XS_INTRODUCE, "INTRODUCE";
    Release = XS_RELEASE, "RELEASE";
    GetDomainPath = XS_GET_DOMAIN_PATH, "GET_DOMAIN_PATH";
    Write = XS_WRITE, "WRITE";
    MakeDirectory = XS_MKDIR, "MKDIR";
    Remove = XS_RM, "RM";
    SetPermissions = XS_SET_PERMS, "SET_PERMS";
    WatchEvent = XS_WATCH_EVENT, "WATCH_EVENT";
    Error = XS_ERROR, "ERROR";
    IsDomainIntroduced = XS_IS_DOMAIN_INTRODUCED, "IS_DOMAIN_INTRODUCED";
    Resume = XS_RESUME, "RESUME";
    SetTarget = XS_SET_TARGET, "SET_TARGET";
    ResetWatches = XS_RESET_WATCHES, "RESET_WATCHES";
    DirectoryPart = XS_DIRECTORY_PART, "DIRECTORY_PART";
}

/// What is in front of each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The operation's number, known or not.
    pub operation: u32,
    /// The client's choice, which its answer repeats. 0 in events.
    pub request: u32,
    /// The transaction that this is part of; 0 for none.
    pub transaction: u32,
    /// The payload's length in bytes.
    pub length: u32,
}

impl Header {
    /// As bytes.
    pub fn to_bytes(self) -> [u8; HEADER_LENGTH] {
        let header = XsdSockmsg {
            kind: self.operation,
            req_id: self.request,
            tx_id: self.transaction,
            len: self.length,
        };
        let mut bytes = [0; HEADER_LENGTH];
        bytes.copy_from_slice(header.as_bytes());
        bytes
    }

    /// From bytes; `None` if they are too few.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (header, _) = XsdSockmsg::read_from_prefix(bytes).ok()?;
        Some(Self {
            operation: header.kind,
            request: header.req_id,
            transaction: header.tx_id,
            length: header.len,
        })
    }
}

/// Appends a message to `output`.
pub fn encode(
    output: &mut Vec<u8>,
    operation: Operation,
    request: u32,
    transaction: u32,
    payload: &[u8],
) -> Result<(), TooLong> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    if payload.len() > MAX_PAYLOAD {
        return Err(TooLong { length });
    }
    let header = Header {
        operation: operation as u32,
        request,
        transaction,
        length,
    };
    output.extend_from_slice(&header.to_bytes());
    output.extend_from_slice(payload);
    Ok(())
}

/// A payload longer than the protocol allows: the sender cannot be understood any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The length that the header has.
    pub length: u32,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a payload of {} bytes: {MAX_PAYLOAD} at most",
            self.length
        )
    }
}

impl std::error::Error for TooLong {}

/// Finds messages in a stream of bytes that arrives in pieces.
///
/// Holds what has arrived and was not yet consumed. Whoever calls it keeps that bounded: with a whole message in it,
/// more need not be added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where in the buffer the first message starts: what is before was consumed.
    start: usize,
}

impl Decoder {
    /// Adds what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        // Only what is left of an incomplete message is moved, and only when more of it comes.
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The bytes that were not consumed.
    pub fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// The first message, if it is complete: its header and payload.
    pub fn peek(&self) -> Result<Option<(Header, &[u8])>, TooLong> {
        split(self.pending())
    }

    /// How many more bytes the first message needs, at least; 0 if it is complete.
    pub fn missing(&self) -> Result<usize, TooLong> {
        let pending = self.pending();
        let Some(header) = Header::from_bytes(pending) else {
            return Ok(HEADER_LENGTH - pending.len());
        };
        Ok(message_length(&header)?.saturating_sub(pending.len()))
    }

    /// Takes `length` bytes away: those of messages that were dealt with.
    pub fn consume(&mut self, length: usize) {
        self.start = self.start.saturating_add(length).min(self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Takes the first message, if it is complete.
    pub fn take(&mut self) -> Result<Option<(Header, Vec<u8>)>, TooLong> {
        let Some((header, payload)) = self.peek()? else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.consume(HEADER_LENGTH + payload.len());
        Ok(Some((header, payload)))
    }
}

/// A message's length with its header.
fn message_length(header: &Header) -> Result<usize, TooLong> {
    let length = header.length as usize;
    if length > MAX_PAYLOAD {
        return Err(TooLong {
            length: header.length,
        });
    }
    Ok(HEADER_LENGTH + length)
}

/// The message at the start of `bytes`, if it is complete.
pub fn split(bytes: &[u8]) -> Result<Option<(Header, &[u8])>, TooLong> {
    let Some(header) = Header::from_bytes(bytes) else {
        return Ok(None);
    };
    let length = message_length(&header)?;
    Ok(bytes
        .get(HEADER_LENGTH..length)
        .map(|payload| (header, payload)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_round_trip() {
        for operation in Operation::ALL {
            assert_eq!(Operation::from_number(*operation as u32), Some(*operation));
        }
        assert_eq!(Operation::from_number(20), None);
        assert_eq!(Operation::from_number(xs_wire::XS_TYPE_COUNT), None);
    }

    #[test]
    fn a_message_too_long_is_known_by_its_header() {
        let mut decoder = Decoder::default();
        let header = |length| Header {
            operation: 2,
            request: 1,
            transaction: 0,
            length,
        };
        decoder.push(&header(4097).to_bytes()[..15]);
        assert_eq!(decoder.take(), Ok(None));
        assert_eq!(decoder.missing(), Ok(1));
        decoder.push(&header(4097).to_bytes()[15..]);
        assert_eq!(decoder.take(), Err(TooLong { length: 4097 }));
        let mut decoder = Decoder::default();
        decoder.push(&header(4096).to_bytes());
        assert_eq!(decoder.take(), Ok(None));
        assert_eq!(decoder.missing(), Ok(4096));
        assert_eq!(
            encode(&mut Vec::new(), Operation::Read, 0, 0, &[0; 4097]),
            Err(TooLong { length: 4097 })
        );
    }

    proptest! {
        /// However a stream is cut, the same messages come out.
        #[test]
        fn any_cut_gives_the_messages(
            messages in prop::collection::vec(
                (0..23_u32, any::<u32>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..300)), 1..8),
            cuts in prop::collection::vec(1..200_usize, 1..40),
        ) {
            let mut stream = Vec::new();
            for (operation, request, transaction, payload) in &messages {
                let header = Header {
                    operation: *operation, request: *request, transaction: *transaction, length: payload.len() as u32,
                };
                stream.extend_from_slice(&header.to_bytes());
                stream.extend_from_slice(payload);
            }
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            let mut rest = stream.as_slice();
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (piece, later) = rest.split_at((*cuts.next().unwrap_or(&1)).min(rest.len()));
                rest = later;
                decoder.push(piece);
                while let Some((header, payload)) = decoder.take().unwrap() {
                    found.push((header.operation, header.request, header.transaction, payload));
                }
            }
            prop_assert!(decoder.pending().is_empty());
            prop_assert_eq!(found, messages);
        }

        /// Any bytes give messages or an error, and what is consumed is never more than what came.
        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.take() {}
            prop_assert!(decoder.pending().len() <= bytes.len());
        }
    }
}
