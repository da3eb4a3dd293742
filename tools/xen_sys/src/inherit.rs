//! Descriptors that the program before this one, of the same process, left open.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, FdFlags};

/// Takes a descriptor that was inherited over `exec`. From now on it is closed with its owner, and by `exec`.
///
/// # Errors
///
/// `EBADF` if there is none of this number, or it was not inherited: whatever this program opens itself is marked to
/// be closed by `exec`, and so is what was taken before.
pub fn adopt_descriptor(number: i32) -> io::Result<OwnedFd> {
    // The first three are the standard library's.
    if number < 3 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: used for two calls only, which fail if no such descriptor is open; nothing is assumed of it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if rustix::io::fcntl_getfd(borrowed)?.contains(FdFlags::CLOEXEC) {
        return Err(Errno::BADF.into());
    }
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: nobody owns it. Rust's library and this crate open all descriptors with CLOEXEC, which this one did not
    // have, so it came with `exec`; and now that it has, it cannot be taken a second time.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_was_opened_here_cannot_be_taken() {
        let file = File::open("/proc/self/stat").unwrap();
        assert!(adopt_descriptor(file.as_raw_fd()).is_err());
        assert!(adopt_descriptor(-1).is_err());
        assert!(adopt_descriptor(1).is_err());
        assert!(adopt_descriptor(100_000).is_err());
    }
}
