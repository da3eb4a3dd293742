//! The socket for clients, and the one where counters are read.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Token};
use xenstore_core::Level;

use super::live_update::set_inheritable;
use super::{Daemon, FIRST_SOCKET, LISTENER, METRICS};

/// Tokens of those who read counters begin here.
const FIRST_READER: usize = 16;
/// So many at once.
const READERS: usize = 64;

/// Both sockets, and who reads counters.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    clients: Option<UnixListener>,
    metrics: Option<UnixListener>,
    readers: HashMap<usize, UnixStream>,
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
                Ok((mut stream, _)) => {
                    let free = (FIRST_READER..FIRST_READER + READERS)
                        .find(|number| !self.listeners.readers.contains_key(number));
                    // One too many is closed at once.
                    if let Some(number) = free
                        && number < FIRST_SOCKET
                        && self
                            .poll
                            .registry()
                            .register(&mut stream, Token(number), Interest::READABLE)
                            .is_ok()
                    {
                        self.listeners.readers.insert(number, stream);
                    }
                }
                Err(error) => {
                    if !self.accept_failed(&error) {
                        return;
                    }
                }
            }
        }
    }

    /// Answers a reader: with HTTP if it asked so, otherwise (it said nothing, and ended) with the bare text.
    pub(super) fn serve_reader(&mut self, number: usize) {
        let Some(stream) = self.listeners.readers.get_mut(&number) else {
            return;
        };
        let mut request = [0; 1024];
        let length = match stream.read(&mut request) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            result => result.unwrap_or(0),
        };
        let text = self.metrics();
        let answer = if request[..length].starts_with(b"GET ") {
            format!(
                "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
        } else {
            text
        };
        if let Some(mut stream) = self.listeners.readers.remove(&number) {
            // As much as the socket takes at once: a reader that is slower than that does without the rest.
            let _ = stream.write_all(answer.as_bytes());
            let _ = self.poll.registry().deregister(&mut stream);
        }
    }
}
