//! Clients on the Unix socket, which are domain 0's programs.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use mio::net::UnixStream;
use mio::{Interest, Token};
use xenstore_core::{ConnectionId, Event};

use super::{Daemon, FIRST_SOCKET, Level};

/// A client.
#[derive(Debug)]
pub(super) struct Socket {
    stream: UnixStream,
    /// It was told that it would be woken when it takes more.
    waits_for_room: bool,
    /// When its oldest unanswered bytes came.
    arrival: Option<Instant>,
}

/// All clients.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    by_number: BTreeMap<u64, Socket>,
    pub(super) next: u64,
}

impl Sockets {
    /// The descriptors, for a successor.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (u64, i32)> {
        self.by_number
            .iter()
            .map(|(number, socket)| (*number, socket.stream.as_raw_fd()))
    }

    pub(super) fn arrival(&mut self, number: u64) -> Option<&mut Option<Instant>> {
        Some(&mut self.by_number.get_mut(&number)?.arrival)
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = impl AsFd> {
        self.by_number.values().map(|socket| socket.stream.as_fd())
    }
}

/// The token of a client's stream.
fn token(number: u64) -> Token {
    // Of 64 bits both.
    Token(FIRST_SOCKET.saturating_add(number as usize))
}

impl Daemon {
    /// Takes a client.
    pub(super) fn open_socket(&mut self, stream: UnixStream) {
        let number = self.sockets.next;
        self.sockets.next += 1;
        if self.add_socket(number, stream) {
            self.step(Event::SocketOpened(number));
        }
    }

    /// Takes a client over from a predecessor.
    pub(super) fn adopt_socket(&mut self, number: u64, descriptor: OwnedFd) {
        let stream = UnixStream::from_std(descriptor.into());
        self.sockets.next = self.sockets.next.max(number + 1);
        if self.add_socket(number, stream) {
            // Whatever came meanwhile is there without a new event.
            self.ready_sockets.push(number);
            self.outputs.push(ConnectionId::Socket(number));
        } else {
            self.step(Event::SocketClosed(number));
        }
    }

    fn add_socket(&mut self, number: u64, mut stream: UnixStream) -> bool {
        let registered =
            self.poll
                .registry()
                .register(&mut stream, token(number), Interest::READABLE);
        if let Err(error) = registered {
            self.log
                .write(Level::Error, &format!("a client is turned away: {error}"));
            return false;
        }
        let socket = Socket {
            stream,
            waits_for_room: false,
            arrival: None,
        };
        self.sockets.by_number.insert(number, socket);
        true
    }

    /// Ends a client's connection.
    pub(super) fn close_socket(&mut self, number: u64) {
        if let Some(mut socket) = self.sockets.by_number.remove(&number) {
            // It goes with the descriptor anyway.
            let _ = self.poll.registry().deregister(&mut socket.stream);
        }
    }

    /// Takes what a client has to say, as far as the core takes it.
    pub(super) fn read_socket(&mut self, number: u64) {
        let id = ConnectionId::Socket(number);
        let Some(socket) = self.sockets.by_number.get_mut(&number) else {
            return;
        };
        // Without space the core tells when there is some.
        let space = self.store.input_space(id).min(self.buffer.len());
        if space == 0 {
            return;
        }
        match socket.stream.read(&mut self.buffer[..space]) {
            Ok(0) => self.closing.push(number),
            Ok(count) => {
                self.received(id, count);
                // With less than it could have been, there is no more for now, and an event when there is.
                if count == space {
                    self.ready_sockets.push(number);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.ready_sockets.push(number);
            }
            Err(_) => self.closing.push(number),
        }
    }

    /// Hands out what waits for a client, as far as it takes it.
    pub(super) fn write_socket(&mut self, number: u64) {
        let id = ConnectionId::Socket(number);
        loop {
            let Some(socket) = self.sockets.by_number.get_mut(&number) else {
                return;
            };
            let mut slices = [IoSlice::new(&[]); 64];
            let mut used = 0;
            let mut wanted = 0;
            for (slot, chunk) in slices.iter_mut().zip(self.store.output(id)) {
                *slot = IoSlice::new(chunk);
                used += 1;
                wanted += chunk.len();
            }
            let room = if wanted == 0 {
                None
            } else {
                match socket.stream.write_vectored(&slices[..used]) {
                    Ok(count) => {
                        self.sent(id, count);
                        if count == wanted {
                            continue;
                        }
                        Some(())
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => {
                        self.closing.push(number);
                        None
                    }
                }
            };
            self.wait_for_room(number, room.is_some());
            return;
        }
    }

    /// Has the client's stream watched for room, or no longer.
    fn wait_for_room(&mut self, number: u64, wait: bool) {
        let Some(socket) = self.sockets.by_number.get_mut(&number) else {
            return;
        };
        if socket.waits_for_room == wait {
            return;
        }
        socket.waits_for_room = wait;
        let interest = if wait {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        let registered =
            self.poll
                .registry()
                .reregister(&mut socket.stream, token(number), interest);
        if registered.is_err() {
            self.closing.push(number);
        }
    }
}
