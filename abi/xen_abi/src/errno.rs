//! Error numbers of hypercalls (`public/errno.h`). A hypercall returns them negated.

use core::fmt;

/// An error number, positive (`EINVAL` is 22).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Errno(pub i32);

macro_rules! error_numbers {
    ($($(#[$meta:meta])* $name:ident = $value:literal;)*) => {
        impl Errno {
            $(
                $(#[$meta])*
                pub const $name: Self = Self($value);
            )*

            /// The name, if the number is one of `public/errno.h`.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

error_numbers! {
    /// Operation not permitted.
    EPERM = 1;
    /// No such file or directory.
    ENOENT = 2;
    /// No such process; for Xen: no such domain.
    ESRCH = 3;
    /// Interrupted. Only inside of the hypervisor.
    EINTR = 4;
    /// Input or output error.
    EIO = 5;
    /// No such device or address.
    ENXIO = 6;
    /// Argument list too long.
    E2BIG = 7;
    /// Not an executable format.
    ENOEXEC = 8;
    /// Bad file number.
    EBADF = 9;
    /// No child processes.
    ECHILD = 10;
    /// Try again.
    EAGAIN = 11;
    /// Out of memory.
    ENOMEM = 12;
    /// Permission denied; for Xen: also a wrong interface version.
    EACCES = 13;
    /// Bad address.
    EFAULT = 14;
    /// Device or resource busy.
    EBUSY = 16;
    /// Exists already.
    EEXIST = 17;
    /// Cross-device link.
    EXDEV = 18;
    /// No such device.
    ENODEV = 19;
    /// Not a directory.
    ENOTDIR = 20;
    /// Is a directory.
    EISDIR = 21;
    /// Invalid argument.
    EINVAL = 22;
    /// File table overflow.
    ENFILE = 23;
    /// Too many open files.
    EMFILE = 24;
    /// No space left on device.
    ENOSPC = 28;
    /// Read-only file system.
    EROFS = 30;
    /// Too many links.
    EMLINK = 31;
    /// Argument out of the domain of the function.
    EDOM = 33;
    /// Result not representable.
    ERANGE = 34;
    /// A deadlock would occur.
    EDEADLK = 35;
    /// File name too long.
    ENAMETOOLONG = 36;
    /// No record locks available.
    ENOLCK = 37;
    /// Function not implemented.
    ENOSYS = 38;
    /// Directory not empty.
    ENOTEMPTY = 39;
    /// No data available.
    ENODATA = 61;
    /// Timer expired.
    ETIME = 62;
    /// Not a data message.
    EBADMSG = 74;
    /// Value too large for its type.
    EOVERFLOW = 75;
    /// Illegal byte sequence.
    EILSEQ = 84;
    /// The call is to be restarted. Only inside of the hypervisor.
    ERESTART = 85;
    /// Socket operation on something else.
    ENOTSOCK = 88;
    /// Message too large.
    EMSGSIZE = 90;
    /// Operation not supported.
    EOPNOTSUPP = 95;
    /// Address in use already.
    EADDRINUSE = 98;
    /// Address not available.
    EADDRNOTAVAIL = 99;
    /// No buffer space available.
    ENOBUFS = 105;
    /// Connected already.
    EISCONN = 106;
    /// Not connected.
    ENOTCONN = 107;
    /// Timed out.
    ETIMEDOUT = 110;
    /// Connection refused.
    ECONNREFUSED = 111;
}

impl Errno {
    /// What a hypercall returns for this error: the number negated.
    pub const fn to_return_value(self) -> i64 {
        -(self.0 as i64)
    }

    /// The error in a hypercall's return value, if it is one.
    pub const fn from_return_value(value: i64) -> Option<Self> {
        if value < 0 && value > -4096 {
            Some(Self(-(value as i32)))
        } else {
            None
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::Errno;

    #[test]
    fn display_prints_names() {
        assert_eq!(Errno::EINVAL.to_string(), "EINVAL");
        assert_eq!(Errno(4000).to_string(), "errno 4000");
    }

    #[test]
    fn return_values_round_trip() {
        assert_eq!(Errno::ENOSYS.to_return_value(), -38);
        assert_eq!(Errno::from_return_value(-38), Some(Errno::ENOSYS));
        for value in [0, 1, i64::MAX, i64::MIN, -4096] {
            assert_eq!(Errno::from_return_value(value), None);
        }
        assert_eq!(Errno::from_return_value(-4095), Some(Errno(4095)));
    }
}
