//! What the daemon waits for: descriptors by names of our own.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

/// Whose descriptor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The event channels.
    Events,
    /// The store's thread has something to say.
    Store,
    /// A signal came.
    Signal,
    /// The near end of a console's pty.
    Pty(u32),
    /// A console's socket, to which viewers connect.
    Listener(u32),
    /// A viewer of a console.
    Viewer(u32, u32),
}

impl Name {
    fn encode(self) -> u64 {
        let word = |kind: u64, console: u32, viewer: u32| {
            kind << 60 | u64::from(console & 0x0fff_ffff) << 32 | u64::from(viewer)
        };
        match self {
            Name::Events => word(0, 0, 0),
            Name::Store => word(1, 0, 0),
            Name::Signal => word(2, 0, 0),
            Name::Pty(console) => word(3, console, 0),
            Name::Listener(console) => word(4, console, 0),
            Name::Viewer(console, viewer) => word(5, console, viewer),
        }
    }

    fn decode(word: u64) -> Option<Name> {
        let console = (word >> 32 & 0x0fff_ffff) as u32;
        Some(match word >> 60 {
            0 => Name::Events,
            1 => Name::Store,
            2 => Name::Signal,
            3 => Name::Pty(console),
            4 => Name::Listener(console),
            5 => Name::Viewer(console, word as u32),
            _ => return None,
        })
    }
}

/// What is wanted of a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// To be told when it can be read.
    pub read: bool,
    /// To be told when it can be written.
    pub write: bool,
}

/// A descriptor about which there is something to do.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Whose it is.
    pub name: Name,
    /// It can be read, or is closed.
    pub read: bool,
}

/// The set of descriptors.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
    /// What the kernel was told, so that it is told only of changes.
    interests: BTreeMap<Name, Interest>,
}

impl Poll {
    /// An empty set.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn new() -> io::Result<Poll> {
        Ok(Poll {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            interests: BTreeMap::new(),
        })
    }

    /// Sets what is wanted of a descriptor.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC`.
    pub fn set(&mut self, name: Name, descriptor: impl AsFd, interest: Interest) -> io::Result<()> {
        let known = self.interests.get(&name);
        if known == Some(&interest) {
            return Ok(());
        }
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, interest.read);
        flags.set(epoll::EventFlags::OUT, interest.write);
        let data = epoll::EventData::new_u64(name.encode());
        match known {
            // A descriptor of which nothing is wanted would still say when it is closed, again and again.
            Some(_) if interest == Interest::default() => {
                epoll::delete(&self.epoll, descriptor)?;
                self.interests.remove(&name);
                return Ok(());
            }
            None if interest == Interest::default() => return Ok(()),
            Some(_) => epoll::modify(&self.epoll, descriptor, data, flags)?,
            None => epoll::add(&self.epoll, descriptor, data, flags)?,
        }
        self.interests.insert(name, interest);
        Ok(())
    }

    /// Forgets a descriptor that is about to be closed.
    pub fn forget(&mut self, name: Name) {
        // Closing it takes it out of the kernel's set.
        self.interests.remove(&name);
    }

    /// Waits, at most so long.
    ///
    /// # Errors
    ///
    /// None that can be helped.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Ready>> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let mut buffer = [MaybeUninit::uninit(); 64];
        let events = match epoll::wait(&self.epoll, &mut buffer, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        };
        Ok(events
            .iter()
            .filter_map(|event| {
                let flags = event.flags;
                Some(Ready {
                    name: Name::decode(event.data.u64())?,
                    read: flags.intersects(
                        epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR,
                    ),
                })
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_kernel() {
        for name in [
            Name::Events,
            Name::Store,
            Name::Signal,
            Name::Pty(1),
            Name::Listener(0x0fff_ffff),
            Name::Viewer(7, u32::MAX),
        ] {
            assert_eq!(Name::decode(name.encode()), Some(name));
        }
        assert_eq!(Name::decode(u64::MAX), None);
    }

    #[test]
    fn a_closed_peer_is_told_until_nothing_is_wanted() {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut poll = Poll::new().unwrap();
        let read = Interest {
            read: true,
            write: false,
        };
        poll.set(Name::Pty(1), &near, read).unwrap();
        drop(far);
        let ready = poll.wait(Some(Duration::ZERO)).unwrap();
        assert!(matches!(
            ready[..],
            [Ready {
                name: Name::Pty(1),
                read: true
            }]
        ));
        poll.set(Name::Pty(1), &near, Interest::default()).unwrap();
        assert!(poll.wait(Some(Duration::ZERO)).unwrap().is_empty());
    }
}
