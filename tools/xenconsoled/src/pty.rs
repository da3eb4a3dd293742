//! A pseudo-terminal, whose other end programs such as Debian's `xenconsole` open.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;

/// A pty. Its far end is kept open, so that it is there while nobody looks.
#[derive(Debug)]
pub struct Pty {
    near: OwnedFd,
    _far: OwnedFd,
    path: String,
}

impl Pty {
    /// Makes one, raw, open to its owner and the group `tty`.
    ///
    /// # Errors
    ///
    /// Those of the calls that it takes, `EMFILE` or `ENOSPC` among them.
    pub fn open() -> io::Result<Pty> {
        let near =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&near)?;
        rustix::pty::unlockpt(&near)?;
        let path = rustix::pty::ptsname(&near, Vec::new())?;
        let path = path.into_string().map_err(io::Error::other)?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let far = rustix::fs::open(path.as_str(), flags, Mode::empty())?;
        let mut settings = rustix::termios::tcgetattr(&far)?;
        settings.make_raw();
        rustix::termios::tcsetattr(&far, OptionalActions::Now, &settings)?;
        rustix::fs::fcntl_setfl(&near, OFlags::RDWR | OFlags::NONBLOCK)?;
        let pty = Pty {
            near,
            _far: far,
            path,
        };
        // Without a group `tty`, or the right to give it, the owner alone may look.
        let _ = pty.share();
        Ok(pty)
    }

    fn share(&self) -> io::Result<()> {
        if let Some(group) = tty_group() {
            rustix::fs::fchown(&self._far, None, Some(Gid::from_raw(group)))?;
        }
        rustix::fs::fchmod(&self._far, Mode::from_raw_mode(0o620))?;
        Ok(())
    }

    /// The far end's path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Writes what the far end has room for.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if that is nothing.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.near, bytes)?)
    }

    /// Reads what was typed.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if that is nothing.
    pub fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.near, bytes)?)
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.near.as_fd()
    }
}

fn tty_group() -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    // tty:x:5:
    let line = groups.lines().find(|line| line.starts_with("tty:"))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn bytes_pass_as_they_are() {
        let pty = Pty::open().unwrap();
        let mut far = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(pty.path())
            .unwrap();
        assert_eq!(pty.write(b"a\n\x03\r").unwrap(), 4);
        let mut bytes = [0; 4];
        far.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"a\n\x03\r");
        far.write_all(b"\x04\x1ax\n").unwrap();
        let mut bytes = [0; 8];
        assert_eq!(pty.read(&mut bytes).unwrap(), 4);
        assert!(bytes.starts_with(b"\x04\x1ax\n"));
        assert_eq!(
            pty.read(&mut bytes).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn a_viewer_that_reads_nothing_does_not_stop_us() {
        let pty = Pty::open().unwrap();
        let mut written = 0;
        let error = loop {
            match pty.write(&[b'x'; 4096]) {
                Ok(count) => written += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!((1000..1 << 20).contains(&written), "{written}");
    }
}
