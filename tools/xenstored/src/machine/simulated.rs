//! A machine in a directory, for tests and measurements without Xen.
//!
//! `domain-N/ring` is the page of domain N, which exists as long as the file does; `domain-N/shutdown` says that it
//! shut down. Events are datagrams: to `events` a domain's number, or [`CHANGED`]; to `domain-N/events` an empty one.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xen_abi::{DomId, EvtchnPort};
use xen_sys::SharedPages;
use xenstore_core::Host;

use super::{DomainState, Machine, Signal};
use crate::ring::DomainEnd;

/// In place of a domain's number: some domain changed its state.
const CHANGED: u32 = u32::MAX;
/// A domain's local port is its number and this.
const FIRST_PORT: EvtchnPort = 1000;

/// The machine's side that the daemon sees.
#[derive(Debug)]
pub struct Simulated {
    directory: PathBuf,
    events: UnixDatagram,
}

impl Simulated {
    /// The machine in a directory, which is there.
    ///
    /// # Errors
    ///
    /// Those of making the socket.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join("events");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let events = UnixDatagram::bind(path)?;
        events.set_nonblocking(true)?;
        Ok(Self {
            directory: directory.to_owned(),
            events,
        })
    }

    fn domain(&self, domain: DomId) -> PathBuf {
        self.directory.join(format!("domain-{domain}"))
    }

    fn state(&self, domain: DomId) -> DomainState {
        let directory = self.domain(domain);
        if !directory.join("ring").exists() {
            DomainState::Gone
        } else if directory.join("shutdown").exists() {
            DomainState::ShutDown
        } else {
            DomainState::Alive
        }
    }
}

fn map(directory: &Path) -> io::Result<SharedPages> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(directory.join("ring"))?;
    if file.metadata()?.len() < 4096 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    SharedPages::map_file(&file, 0, 1, true)
}

impl Host for Simulated {
    fn domain_exists(&self, domain: DomId) -> bool {
        self.state(domain) != DomainState::Gone
    }
}

impl Machine for Simulated {
    fn descriptor(&self) -> RawFd {
        self.events.as_raw_fd()
    }

    fn signals(&mut self, signals: &mut Vec<Signal>) -> io::Result<()> {
        loop {
            let mut bytes = [0; 4];
            match self.events.recv(&mut bytes) {
                Ok(_) => signals.push(match u32::from_le_bytes(bytes) {
                    CHANGED => Signal::DomainChanged,
                    domain => Signal::Port(FIRST_PORT.saturating_add(domain)),
                }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn map_ring(&mut self, domain: DomId, _frame: u64) -> io::Result<SharedPages> {
        map(&self.domain(domain))
    }

    fn bind(&mut self, domain: DomId, _remote: EvtchnPort) -> io::Result<EvtchnPort> {
        if !self.domain_exists(domain) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(FIRST_PORT + EvtchnPort::from(domain))
    }

    fn unbind(&mut self, _port: EvtchnPort) {}

    fn notify(&mut self, port: EvtchnPort) -> io::Result<()> {
        let domain = port.saturating_sub(FIRST_PORT);
        let path = self.directory.join(format!("domain-{domain}/events"));
        match self.events.send_to(&[], path) {
            // Full: it has events to see already. Not there: it looks by itself.
            Ok(_) => Ok(()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::NotFound
                        | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn own_kernel(&mut self) -> io::Result<(SharedPages, EvtchnPort)> {
        Ok((map(&self.domain(0))?, 0))
    }

    fn states(&self, domains: &[DomId]) -> Vec<DomainState> {
        domains.iter().map(|domain| self.state(*domain)).collect()
    }
}

/// A domain of such a machine, as its own kernel sees itself.
#[derive(Debug)]
pub struct SimulatedDomain {
    /// Its end of the rings.
    pub ring: DomainEnd,
    number: DomId,
    machine: PathBuf,
    events: UnixDatagram,
}

impl SimulatedDomain {
    /// Makes a domain with an empty page. Nobody has told xenstored of it.
    ///
    /// # Errors
    ///
    /// Those of making its files.
    pub fn create(machine: &Path, number: DomId) -> io::Result<Self> {
        let directory = machine.join(format!("domain-{number}"));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("ring"), [0; 4096])?;
        let path = directory.join("events");
        // Of an earlier domain of this number.
        let _ = fs::remove_file(&path);
        let events = UnixDatagram::bind(path)?;
        Ok(Self {
            ring: DomainEnd::new(map(&directory)?),
            number,
            machine: machine.to_owned(),
            events,
        })
    }

    /// Sends an event to xenstored. Without a xenstored nothing happens: it looks when it starts.
    pub fn notify(&self) {
        let _ = self.events.send_to(
            &u32::from(self.number).to_le_bytes(),
            self.machine.join("events"),
        );
    }

    /// Waits for an event from xenstored, or for the time to pass.
    pub fn wait(&self, time: Duration) {
        // An event or none: the ring says what there is.
        let _ = self.events.set_read_timeout(Some(time));
        let _ = self.events.recv(&mut [0; 4]);
    }

    /// Shuts down.
    ///
    /// # Errors
    ///
    /// That of making a file.
    pub fn shut_down(&self) -> io::Result<()> {
        fs::write(
            self.machine
                .join(format!("domain-{}/shutdown", self.number)),
            b"",
        )?;
        self.changed();
        Ok(())
    }

    /// Is destroyed.
    ///
    /// # Errors
    ///
    /// That of removing its files.
    pub fn destroy(self) -> io::Result<()> {
        fs::remove_dir_all(self.machine.join(format!("domain-{}", self.number)))?;
        self.changed();
        Ok(())
    }

    fn changed(&self) {
        let _ = self
            .events
            .send_to(&CHANGED.to_le_bytes(), self.machine.join("events"));
    }
}
