//! The socket for clients, and the one where counters are read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Token};
use xenstore_core::Level;

use super::live_update::set_inheritable;
use super::{Daemon, FIRST_SOCKET, LISTENER, METRICS};

/// Tokens of those who read counters begin here.
const FIRST_READER: usize = 16;
/// So many at once.
const READERS: usize = 64;
/// How long one may take before another gets its place.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest request that is waited for.
const REQUEST_MAX: usize = 16 << 10;

/// Somebody who reads counters.
#[derive(Debug)]
struct Reader {
    stream: UnixStream,
    since: Instant,
    request: Vec<u8>,
    /// `None` until the request is there.
    answer: Option<Vec<u8>>,
    /// Bytes of the answer that were written.
    written: usize,
}

impl Reader {
    /// Takes what there is of the request; gives whether it is whole: one of HTTP's, any other line, or nothing at all.
    fn is_asked(&mut self) -> bool {
        let mut bytes = [0; 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(count) => self.request.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return true,
            }
            if self.request.len() > REQUEST_MAX {
                return true;
            }
        }
        let is_http = self.request.starts_with(b"GET ");
        let end: &[u8] = if is_http { b"\r\n\r\n" } else { b"\n" };
        self.request.windows(end.len()).any(|bytes| bytes == end)
    }

    /// The answer: with HTTP's header if it asked so, otherwise the bare text.
    fn answer_with(&self, text: &str) -> Vec<u8> {
        let header = if self.request.starts_with(b"GET ") {
            format!(
                "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
                text.len()
            )
        } else {
            String::new()
        };
        [header.as_bytes(), text.as_bytes()].concat()
    }

    /// Writes what is taken; gives whether more is to be written later.
    fn write(&mut self) -> bool {
        let answer = self.answer.as_deref().unwrap_or_default();
        while let Some(rest) = answer.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        false
    }
}

/// Both sockets, and who reads counters.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    clients: Option<UnixListener>,
    metrics: Option<UnixListener>,
    readers: BTreeMap<usize, Reader>,
    /// A client waits in the kernel for want of descriptors: to be taken when one is closed.
    pub(super) starved: bool,
}

impl Listeners {
    /// The descriptors, for a successor.
    pub(super) fn descriptors(&self) -> [Option<i32>; 2] {
        [&self.clients, &self.metrics]
            .map(|listener| listener.as_ref().map(|listener| listener.as_raw_fd()))
    }
}

impl Listeners {
    /// Whether they survive `exec`.
    pub(super) fn set_inheritable(&self, inheritable: bool) {
        for listener in self.clients.iter().chain(&self.metrics) {
            set_inheritable(listener, inheritable);
        }
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(named)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(named)?;
    // Whoever connects may do anything: root only.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(named)?;
    Ok(listener)
}

impl Daemon {
    /// Listens; on descriptors of a predecessor if there are.
    pub(super) fn listen(
        &mut self,
        clients: Option<OwnedFd>,
        metrics: Option<OwnedFd>,
    ) -> io::Result<()> {
        let adopt = |descriptor: OwnedFd| UnixListener::from_std(descriptor.into());
        let mut listener = match clients {
            Some(descriptor) => adopt(descriptor),
            None => bind(&self.options.socket)?,
        };
        let registry = self.poll.registry();
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        self.listeners.clients = Some(listener);
        let metrics = match (metrics, &self.options.metrics) {
            (Some(descriptor), _) => Some(adopt(descriptor)),
            (None, Some(path)) => Some(bind(path)?),
            (None, None) => None,
        };
        if let Some(mut listener) = metrics {
            registry.register(&mut listener, METRICS, Interest::READABLE)?;
            self.listeners.metrics = Some(listener);
        }
        Ok(())
    }

    /// Takes all clients that wait.
    pub(super) fn accept_clients(&mut self) {
        self.listeners.starved = false;
        while let Some(listener) = &self.listeners.clients {
            match listener.accept() {
                Ok((stream, _)) => self.open_socket(stream),
                Err(error) => {
                    if !self.accept_failed(&error) {
                        return;
                    }
                }
            }
        }
    }

    /// Whether to go on.
    fn accept_failed(&mut self, error: &io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::WouldBlock => false,
            io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => true,
            _ => {
                self.listeners.starved = true;
                self.log
                    .write(Level::Error, &format!("a client cannot be taken: {error}"));
                false
            }
        }
    }

    /// Takes those who want to read counters.
    pub(super) fn accept_readers(&mut self) {
        while let Some(listener) = &self.listeners.metrics {
            match listener.accept() {
                Ok((stream, _)) => self.add_reader(stream),
                Err(error) => {
                    if !self.accept_failed(&error) {
                        return;
                    }
                }
            }
        }
    }

    fn add_reader(&mut self, mut stream: UnixStream) {
        let free = (FIRST_READER..FIRST_READER + READERS).find(|number| {
            let reader = self.listeners.readers.get(number);
            reader.is_none_or(|reader| reader.since.elapsed() > PATIENCE)
        });
        // One too many is closed at once.
        let Some(number) = free.filter(|number| *number < FIRST_SOCKET) else {
            return;
        };
        if let Some(mut old) = self.listeners.readers.remove(&number) {
            // It goes with the descriptor anyway.
            let _ = self.poll.registry().deregister(&mut old.stream);
        }
        let registry = self.poll.registry();
        if registry
            .register(&mut stream, Token(number), Interest::READABLE)
            .is_ok()
        {
            let reader = Reader {
                stream,
                since: Instant::now(),
                request: Vec::new(),
                answer: None,
                written: 0,
            };
            self.listeners.readers.insert(number, reader);
        }
    }

    /// Answers a reader, as far as it takes the answer.
    pub(super) fn serve_reader(&mut self, number: usize) {
        let Some(mut reader) = self.listeners.readers.remove(&number) else {
            return;
        };
        let registry = self.poll.registry();
        let mut waits = true;
        if reader.answer.is_some() {
            waits = reader.write();
        } else if reader.is_asked() {
            reader.answer = Some(reader.answer_with(&self.metrics()));
            waits = reader.write()
                && registry
                    .reregister(&mut reader.stream, Token(number), Interest::WRITABLE)
                    .is_ok();
        }
        if waits {
            self.listeners.readers.insert(number, reader);
        } else {
            // It goes with the descriptor anyway.
            let _ = registry.deregister(&mut reader.stream);
        }
    }
}
