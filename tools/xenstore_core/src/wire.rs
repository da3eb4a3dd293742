//! Messages as bytes. Source: `public/io/xs_wire.h`, `docs/misc/xenstore.txt`.

use xen_abi::io::xs_wire;

use crate::Error;

/// Bytes of a message's header.
pub const HEADER_SIZE: usize = 16;
/// Most bytes of a message's payload.
pub const PAYLOAD_MAX: usize = xs_wire::XENSTORE_PAYLOAD_MAX as usize;
/// Bit of `server_features`: WATCH takes a depth (Xen 4.22).
pub const FEATURE_WATCH_DEPTH: u32 = 4;
/// The `server_features` that the core does its part for.
pub const FEATURES: u32 = xs_wire::XENSTORE_SERVER_FEATURE_RECONNECTION
    | xs_wire::XENSTORE_SERVER_FEATURE_ERROR
    | FEATURE_WATCH_DEPTH;

/// A message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The operation, as it came.
    pub kind: u32,
    /// Echoed in the reply.
    pub request: u32,
    /// The transaction; 0 for none. Echoed in the reply.
    pub transaction: u32,
    /// Bytes of payload that follow.
    pub length: u32,
}

impl Header {
    /// Reads a header from the first 16 bytes; `None` if there are fewer.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |index: usize| -> Option<u32> {
            let bytes = bytes.get(index * 4..index * 4 + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        Some(Header {
            kind: word(0)?,
            request: word(1)?,
            transaction: word(2)?,
            length: word(3)?,
        })
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        let words = [self.kind, self.request, self.transaction, self.length];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// A whole message, for clients and tests.
pub fn message(kind: u32, request: u32, transaction: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        kind,
        request,
        transaction,
        length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
    };
    let mut bytes = Vec::with_capacity(HEADER_SIZE + payload.len());
    bytes.extend_from_slice(&header.to_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

macro_rules! operations {
    ($($name:ident = $number:expr, $text:literal;)*) => {
        /// A request's operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        #[allow(missing_docs, reason = "the names are the protocol's")]
        pub enum Operation { $($name = $number,)* }

        impl Operation {
            /// All operations that a client may request.
            pub const ALL: &'static [Operation] = &[$(Operation::$name,)*];

            /// The operation with this number. WATCH_EVENT and ERROR are none: only the store sends them.
            pub fn from_number(number: u32) -> Option<Self> {
                match number { $(n if n == $number => Some(Operation::$name),)* _ => None }
            }

            /// Its name in the protocol's description.
            pub fn name(self) -> &'static str {
                match self { $(Operation::$name => $text,)* }
            }
        }
    };
}

operations! {
    Control = xs_wire::XS_CONTROL, "CONTROL";
    Directory = xs_wire::XS_DIRECTORY, "DIRECTORY";
    Read = xs_wire::XS_READ, "READ";
    GetPerms = xs_wire::XS_GET_PERMS, "GET_PERMS";
    Watch = xs_wire::XS_WATCH, "WATCH";
    Unwatch = xs_wire::XS_UNWATCH, "UNWATCH";
    TransactionStart = xs_wire::XS_TRANSACTION_START, "TRANSACTION_START";
    TransactionEnd = xs_wire::XS_TRANSACTION_END, "TRANSACTION_END";
    Introduce = xs_wire::XS_INTRODUCE, "INTRODUCE";
    Release = xs_wire::XS_RELEASE, "RELEASE";
    GetDomainPath = xs_wire::XS_GET_DOMAIN_PATH, "GET_DOMAIN_PATH";
    Write = xs_wire::XS_WRITE, "WRITE";
    Mkdir = xs_wire::XS_MKDIR, "MKDIR";
    Rm = xs_wire::XS_RM, "RM";
    SetPerms = xs_wire::XS_SET_PERMS, "SET_PERMS";
    IsDomainIntroduced = xs_wire::XS_IS_DOMAIN_INTRODUCED, "IS_DOMAIN_INTRODUCED";
    Resume = xs_wire::XS_RESUME, "RESUME";
    SetTarget = xs_wire::XS_SET_TARGET, "SET_TARGET";
    ResetWatches = xs_wire::XS_RESET_WATCHES, "RESET_WATCHES";
    DirectoryPart = xs_wire::XS_DIRECTORY_PART, "DIRECTORY_PART";
    GetFeature = 23, "GET_FEATURE";
    SetFeature = 24, "SET_FEATURE";
    GetQuota = 25, "GET_QUOTA";
    SetQuota = 26, "SET_QUOTA";
}

impl Operation {
    /// Only privileged clients may ask for it (others get EACCES).
    pub fn privileged(self) -> bool {
        matches!(
            self,
            Operation::Control
                | Operation::Introduce
                | Operation::Release
                | Operation::IsDomainIntroduced
                | Operation::Resume
                | Operation::SetTarget
                | Operation::SetFeature
                | Operation::GetQuota
                | Operation::SetQuota
        )
    }

    /// It changes the store, or is part of what will.
    pub fn changes(self) -> bool {
        matches!(
            self,
            Operation::Write
                | Operation::Mkdir
                | Operation::Rm
                | Operation::SetPerms
                | Operation::Introduce
                | Operation::SetTarget
                | Operation::TransactionStart
                | Operation::SetFeature
                | Operation::SetQuota
        )
    }

    /// The store takes more memory after it, or may.
    pub fn grows(self) -> bool {
        self == Operation::Watch || self != Operation::Rm && self.changes()
    }

    /// The transaction in its header is ignored.
    pub fn ignores_transaction(self) -> bool {
        matches!(self, Operation::Watch | Operation::Unwatch)
    }
}

/// The payload as exactly one string: one NUL, at its end.
pub fn only_string(payload: &[u8]) -> Result<&[u8], Error> {
    match payload.split_last() {
        Some((0, string)) if !string.contains(&0) => Ok(string),
        _ => Err(Error::Einval),
    }
}

/// The strings of a payload that a NUL ends; bytes after the last NUL belong to none.
pub fn strings(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let end = rest.iter().position(|byte| *byte == 0)?;
        let (string, tail) = rest.split_at(end);
        rest = tail.get(1..).unwrap_or_default();
        Some(string)
    })
}

/// The first string of a payload, and the bytes after its NUL.
pub fn split_string(payload: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let end = payload
        .iter()
        .position(|byte| *byte == 0)
        .ok_or(Error::Einval)?;
    let (string, rest) = payload.split_at(end);
    Ok((string, rest.get(1..).unwrap_or_default()))
}

/// A decimal number; anything else is no number.
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        if !byte.is_ascii_digit() {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))
    })
}
