//! Where xenstored is reached.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A way to reach xenstored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Its socket.
    Socket(PathBuf),
    /// The kernel's device, for any domain.
    Device(PathBuf),
}

/// Where to look, in this order: `$XENSTORED_PATH`, the sockets below `/run` and `/var/run`, the kernel's devices.
pub fn candidates() -> Vec<Endpoint> {
    let mut all = sockets();
    all.extend([
        Endpoint::Device("/dev/xen/xenbus".into()),
        Endpoint::Device("/proc/xen/xenbus".into()),
    ]);
    all
}

/// The sockets alone.
pub(crate) fn sockets() -> Vec<Endpoint> {
    if let Some(path) = env::var_os("XENSTORED_PATH") {
        return vec![endpoint(PathBuf::from(path))];
    }
    vec![
        Endpoint::Socket("/run/xenstored/socket".into()),
        Endpoint::Socket("/var/run/xenstored/socket".into()),
    ]
}

/// `$XENSTORED_PATH` may name a device as well.
fn endpoint(path: PathBuf) -> Endpoint {
    if path.starts_with("/dev") || path.starts_with("/proc") {
        Endpoint::Device(path)
    } else {
        Endpoint::Socket(path)
    }
}

/// A stream to xenstored.
#[derive(Debug)]
pub(crate) enum Transport {
    Socket(UnixStream),
    Device(File),
}

impl Transport {
    pub(crate) fn open(endpoint: &Endpoint) -> io::Result<Self> {
        let named = |path: &Path, error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        match endpoint {
            Endpoint::Socket(path) => UnixStream::connect(path)
                .map(Self::Socket)
                .map_err(|error| named(path, error)),
            Endpoint::Device(path) => OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .map(Self::Device)
                .map_err(|error| named(path, error)),
        }
    }

    /// The first that can be opened; the first one's error if none can.
    pub(crate) fn open_first(endpoints: &[Endpoint]) -> io::Result<Self> {
        let mut first_error = None;
        for endpoint in endpoints {
            match Self::open(endpoint) {
                Ok(transport) => return Ok(transport),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }

    /// A second handle of the same stream.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Socket(stream) => Self::Socket(stream.try_clone()?),
            Self::Device(file) => Self::Device(file.try_clone()?),
        })
    }

    /// Ends the stream for all handles; not possible with a device.
    pub(crate) fn shut_down(&self) {
        if let Self::Socket(stream) = self {
            // Fails if it has ended already.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Read for Transport {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(stream) => stream.read(bytes),
            Self::Device(file) => file.read(bytes),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(stream) => stream.write(bytes),
            Self::Device(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(stream) => stream.as_fd(),
            Self::Device(file) => file.as_fd(),
        }
    }
}
