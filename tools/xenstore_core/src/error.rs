//! The errors that travel on the wire, by name. Source: `public/io/xs_wire.h`, `xsd_errors`.

use std::fmt;

/// An error of the protocol: its name is the payload of an ERROR reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are errno's")]
pub enum Error {
    Einval,
    Eacces,
    Eexist,
    Eisdir,
    Enoent,
    Enomem,
    Enospc,
    Eio,
    Enotempty,
    Enosys,
    Erofs,
    Ebusy,
    Eagain,
    Eisconn,
    E2big,
    Eperm,
}

impl Error {
    const NAMES: [(Error, &'static str); 16] = [
        (Error::Einval, "EINVAL"),
        (Error::Eacces, "EACCES"),
        (Error::Eexist, "EEXIST"),
        (Error::Eisdir, "EISDIR"),
        (Error::Enoent, "ENOENT"),
        (Error::Enomem, "ENOMEM"),
        (Error::Enospc, "ENOSPC"),
        (Error::Eio, "EIO"),
        (Error::Enotempty, "ENOTEMPTY"),
        (Error::Enosys, "ENOSYS"),
        (Error::Erofs, "EROFS"),
        (Error::Ebusy, "EBUSY"),
        (Error::Eagain, "EAGAIN"),
        (Error::Eisconn, "EISCONN"),
        (Error::E2big, "E2BIG"),
        (Error::Eperm, "EPERM"),
    ];

    /// The name on the wire, without its NUL.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(error, _)| *error == self)
            .map_or("EINVAL", |(_, name)| name)
    }

    /// The error of this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| known.as_bytes() == name)
            .map(|(error, _)| *error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl std::error::Error for Error {}
