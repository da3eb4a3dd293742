//! Requests as clients make them, and answers as they read them, without I/O.

use std::collections::VecDeque;

use xen_abi::Errno;

use crate::error::{ClientError, StoreError};
use crate::permission::Permission;
use crate::wire::{self, Decoder, Header, Operation};

/// An open transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub u32);

impl TransactionId {
    /// No transaction: each request by itself.
    pub const NONE: Self = Self(0);
}

/// A change that a watch saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// What changed, at or below the watched path; relative if the watch was.
    pub path: String,
    /// The token that the watch was set with.
    pub token: String,
}

/// A connection's state: what was asked, and what has come.
#[derive(Debug, Default)]
pub(crate) struct Session {
    decoder: Decoder,
    next_request: u32,
    pub(crate) events: VecDeque<WatchEvent>,
}

/// An answer: whose, and what.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) request: u32,
    pub(crate) result: Result<Vec<u8>, StoreError>,
}

impl Session {
    /// A message with an operation and its payload; its number.
    pub(crate) fn request(
        &mut self,
        operation: Operation,
        transaction: TransactionId,
        payload: &[u8],
    ) -> Result<(u32, Vec<u8>), ClientError> {
        // 0 is for events.
        self.next_request = self.next_request.checked_add(1).unwrap_or(1);
        let mut message = Vec::with_capacity(wire::HEADER_LENGTH + payload.len());
        wire::encode(
            &mut message,
            operation,
            self.next_request,
            transaction.0,
            payload,
        )
        .map_err(|_| ClientError::Argument("longer than xenstore's messages may be"))?;
        Ok((self.next_request, message))
    }

    /// Adds what has arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
    }

    /// The next answer; events before it are queued.
    pub(crate) fn next_answer(&mut self) -> Result<Option<Answer>, ClientError> {
        loop {
            let message = self
                .decoder
                .take()
                .map_err(|_| ClientError::Protocol("too long"))?;
            let Some((header, payload)) = message else {
                return Ok(None);
            };
            if header.operation == Operation::WatchEvent as u32 {
                self.events.push_back(event(&payload)?);
            } else {
                return Ok(Some(answer(&header, payload)));
            }
        }
    }
}

fn answer(header: &Header, payload: Vec<u8>) -> Answer {
    let result = if header.operation == Operation::Error as u32 {
        let name = String::from_utf8_lossy(&payload);
        Err(StoreError::from_name(name.trim_end_matches('\0')))
    } else {
        Ok(payload)
    };
    Answer {
        request: header.request,
        result,
    }
}

fn event(payload: &[u8]) -> Result<WatchEvent, ClientError> {
    let mut strings = strings(payload);
    match (strings.next(), strings.next()) {
        (Some(path), Some(token)) => Ok(WatchEvent { path, token }),
        _ => Err(ClientError::Protocol("an event without path and token")),
    }
}

/// The strings of a payload, each of which ends with a NUL.
pub(crate) fn strings(payload: &[u8]) -> impl Iterator<Item = String> {
    payload
        .strip_suffix(b"\0")
        .map(|payload| payload.split(|byte| *byte == 0))
        .into_iter()
        .flatten()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// The string that a payload is, with or without a NUL at its end.
pub(crate) fn string(payload: &[u8]) -> String {
    let text = payload.strip_suffix(b"\0").unwrap_or(payload);
    String::from_utf8_lossy(text).into_owned()
}

/// Strings, each with a NUL at its end.
pub(crate) fn payload<S: AsRef<[u8]>>(strings: &[S]) -> Result<Vec<u8>, ClientError> {
    let mut payload = Vec::new();
    for string in strings {
        if string.as_ref().contains(&0) {
            return Err(ClientError::Argument("there is a NUL in it"));
        }
        payload.extend_from_slice(string.as_ref());
        payload.push(0);
    }
    Ok(payload)
}

/// A path, and a value, which has no NUL at its end and may contain any.
pub(crate) fn write_payload(path: &str, value: &[u8]) -> Result<Vec<u8>, ClientError> {
    let mut payload = payload(&[path])?;
    payload.extend_from_slice(value);
    Ok(payload)
}

/// A path and permissions.
pub(crate) fn permissions_payload(
    path: &str,
    permissions: &[Permission],
) -> Result<Vec<u8>, ClientError> {
    let mut words = vec![path.to_owned()];
    words.extend(permissions.iter().map(Permission::to_string));
    payload(&words)
}

/// The permissions in an answer.
pub(crate) fn permissions(payload: &[u8]) -> Result<Vec<Permission>, ClientError> {
    strings(payload)
        .map(|text| {
            text.parse()
                .map_err(|_| ClientError::Protocol("not a list of permissions"))
        })
        .collect()
}

/// The number that an answer is.
pub(crate) fn number(payload: &[u8]) -> Result<u32, ClientError> {
    string(payload)
        .parse()
        .map_err(|_| ClientError::Protocol("not a number"))
}

/// Collects the parts of a directory that is too long for one answer (`DIRECTORY_PART`).
#[derive(Debug, Default)]
pub(crate) struct Parts {
    generation: Option<String>,
    collected: Vec<u8>,
}

impl Parts {
    /// The next request's payload.
    pub(crate) fn request(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        payload(&[path, &self.collected.len().to_string()])
    }

    /// Takes an answer; gives whether it was the last. Starts anew if the directory changed meanwhile.
    pub(crate) fn add(&mut self, answer: &[u8]) -> Result<bool, ClientError> {
        let Some(end) = answer.iter().position(|byte| *byte == 0) else {
            return Err(ClientError::Protocol("a part without a generation"));
        };
        let generation = string(&answer[..end]);
        let names = &answer[end + 1..];
        if self
            .generation
            .as_ref()
            .is_some_and(|known| *known != generation)
        {
            *self = Self::default();
            return Ok(false);
        }
        self.generation = Some(generation);
        if names.is_empty() {
            return Ok(true);
        }
        // The last part ends with an empty name.
        match names.strip_suffix(b"\0\0") {
            Some(last) => {
                self.collected.extend_from_slice(last);
                self.collected.push(0);
                Ok(true)
            }
            None if names == b"\0" => Ok(true),
            None => {
                self.collected.extend_from_slice(names);
                Ok(false)
            }
        }
    }

    /// All names.
    pub(crate) fn names(&self) -> Vec<String> {
        strings(&self.collected).collect()
    }
}

/// Whether an error says that an answer would not fit one message.
pub(crate) fn is_too_big(error: &ClientError) -> bool {
    error.errno() == Some(Errno::E2BIG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_with_nul() {
        assert_eq!(strings(b"").count(), 0);
        assert_eq!(strings(b"a\0").collect::<Vec<_>>(), ["a"]);
        assert_eq!(strings(b"a\0bc\0").collect::<Vec<_>>(), ["a", "bc"]);
        assert!(payload(&["a\0b"]).is_err());
    }

    #[test]
    fn parts_are_joined() {
        let mut parts = Parts::default();
        assert_eq!(parts.request("/a").unwrap(), b"/a\x000\0");
        assert!(!parts.add(b"7\0one\0two\0").unwrap());
        assert_eq!(parts.request("/a").unwrap(), b"/a\x008\0");
        assert!(parts.add(b"7\0three\0\0").unwrap());
        assert_eq!(parts.names(), ["one", "two", "three"]);
        // A change in between.
        let mut parts = Parts::default();
        assert!(!parts.add(b"7\0one\0").unwrap());
        assert!(!parts.add(b"8\0two\0\0").unwrap());
        assert_eq!(parts.request("/a").unwrap(), b"/a\x000\0");
    }

    #[test]
    fn events_do_not_hide_answers() {
        let mut session = Session::default();
        let mut bytes = Vec::new();
        wire::encode(&mut bytes, Operation::WatchEvent, 0, 0, b"/a\0t\0").unwrap();
        wire::encode(&mut bytes, Operation::Error, 9, 0, b"ENOENT\0").unwrap();
        session.push(&bytes);
        let answer = session.next_answer().unwrap().unwrap();
        assert_eq!(answer.request, 9);
        assert_eq!(answer.result, Err(StoreError(Errno::ENOENT)));
        assert_eq!(session.events.len(), 1);
    }
}
