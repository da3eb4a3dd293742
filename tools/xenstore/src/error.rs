//! Errors by their names, as the protocol has them, and a client's own.

use std::fmt;
use std::io;

use xen_abi::Errno;

/// The errors that the protocol names, in the header's order.
const NAMES: &[(&str, Errno)] = &[
    ("EINVAL", Errno::EINVAL),
    ("EACCES", Errno::EACCES),
    ("EEXIST", Errno::EEXIST),
    ("EISDIR", Errno::EISDIR),
    ("ENOENT", Errno::ENOENT),
    ("ENOMEM", Errno::ENOMEM),
    ("ENOSPC", Errno::ENOSPC),
    ("EIO", Errno::EIO),
    ("ENOTEMPTY", Errno::ENOTEMPTY),
    ("ENOSYS", Errno::ENOSYS),
    ("EROFS", Errno::EROFS),
    ("EBUSY", Errno::EBUSY),
    ("EAGAIN", Errno::EAGAIN),
    ("EISCONN", Errno::EISCONN),
    ("E2BIG", Errno::E2BIG),
    ("EPERM", Errno::EPERM),
];

/// An error that xenstored answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreError(pub Errno);

impl StoreError {
    /// The error that has a name of the protocol's. Names that it does not know stand for `EINVAL`, as in Xen.
    pub fn from_name(name: &str) -> Self {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        Self(known.map_or(Errno::EINVAL, |(_, errno)| *errno))
    }

    /// The name in the protocol; an error that has none there is called `EINVAL`.
    pub fn name(self) -> &'static str {
        let known = NAMES.iter().find(|(_, errno)| *errno == self.0);
        known.map_or("EINVAL", |(name, _)| *name)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            Errno::EACCES | Errno::EPERM => "permission denied",
            Errno::ENOENT => "no such node",
            Errno::EEXIST => "exists already",
            Errno::EAGAIN => "the transaction conflicts with another",
            Errno::ENOSPC => "quota exceeded",
            Errno::ENOMEM => "out of memory",
            Errno::EINVAL => "invalid argument",
            Errno::ENOSYS => "not supported",
            Errno::E2BIG => "too big",
            _ => return f.write_str(self.name()),
        };
        write!(f, "{text} ({})", self.name())
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for StoreError {}

/// Why a client has no answer.
#[derive(Debug)]
pub enum ClientError {
    /// xenstored refused.
    Store(StoreError),
    /// The connection failed; it is of no use any more.
    Connection(io::Error),
    /// xenstored's answer makes no sense; the connection is of no use any more.
    Protocol(&'static str),
    /// A path, value or token that the protocol cannot carry: too long, or with a NUL.
    Argument(&'static str),
}

impl ClientError {
    /// The error number, if it was xenstored that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Store(error) => Some(error.0),
            _ => None,
        }
    }

    /// Whether the node is not there.
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(Errno::ENOENT)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Connection(error) => write!(f, "connection to xenstored: {error}"),
            Self::Protocol(what) => write!(f, "xenstored's answer: {what}"),
            Self::Argument(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

impl From<StoreError> for ClientError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (name, errno) in NAMES {
            assert_eq!(StoreError::from_name(name), StoreError(*errno));
            assert_eq!(StoreError(*errno).name(), *name);
        }
        assert_eq!(StoreError::from_name("EWHAT"), StoreError(Errno::EINVAL));
        assert_eq!(StoreError(Errno::ESRCH).name(), "EINVAL");
    }
}
