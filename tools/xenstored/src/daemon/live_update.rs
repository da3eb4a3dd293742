//! Continuing as another program, with all clients.
//!
//! The state goes by the state's directory (or, without one, by memory), the clients' streams by their descriptors, which a
//! note in memory lists. Nothing is half done between two rounds: what clients sent is in the core's queues, what they
//! have not taken too. The new program is first asked whether it can read the state; until `exec` succeeds, this one
//! goes on as if nothing had happened.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::io::FdFlags;
use xen_sys::adopt_descriptor;
use xenstore_core::{ConnectionId, Error, Level};

use super::Daemon;
use crate::state;

/// How long the new program may take to verify the state.
const VERIFY: Duration = Duration::from_secs(10);

/// What was asked for so far.
#[derive(Debug, Default)]
pub(super) struct Plan {
    file: Option<PathBuf>,
    arguments: Option<Vec<String>>,
}

/// What a predecessor left.
#[derive(Debug, Default)]
pub(super) struct Handover {
    pub(super) sockets: HashMap<u64, OwnedFd>,
    pub(super) clients: Option<OwnedFd>,
    pub(super) metrics: Option<OwnedFd>,
    pub(super) next_socket: u64,
    /// Who asked for the update, and waits for its answer.
    pub(super) asker: Option<ConnectionId>,
    /// The state, if it is in no directory.
    pub(super) snapshot: Vec<u8>,
}

fn memory_file(name: &str, content: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// Whether a descriptor survives `exec`.
pub(super) fn set_inheritable(descriptor: impl AsFd, inheritable: bool) {
    let flags = if inheritable {
        FdFlags::empty()
    } else {
        FdFlags::CLOEXEC
    };
    // Fails for a descriptor that is not open only.
    let _ = rustix::io::fcntl_setfd(descriptor, flags);
}

impl Handover {
    /// Reads the note.
    pub(super) fn read(note: i32) -> io::Result<Self> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut text = String::new();
        File::from(adopt_descriptor(note)?).read_to_string(&mut text)?;
        let mut handover = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |index: usize| -> io::Result<u64> {
                words
                    .get(index)
                    .and_then(|word| word.parse().ok())
                    .ok_or_else(|| bad(line))
            };
            let descriptor = |index: usize| -> io::Result<OwnedFd> {
                let number = i32::try_from(number(index)?).map_err(|_| bad(line))?;
                adopt_descriptor(number)
            };
            match words.first() {
                Some(&"socket") => {
                    handover.sockets.insert(number(1)?, descriptor(2)?);
                }
                Some(&"clients") => handover.clients = Some(descriptor(1)?),
                Some(&"metrics") => handover.metrics = Some(descriptor(1)?),
                Some(&"next") => handover.next_socket = number(1)?,
                Some(&"asked-by-socket") => handover.asker = Some(ConnectionId::Socket(number(1)?)),
                Some(&"asked-by-domain") => {
                    let domain = u16::try_from(number(1)?).map_err(|_| bad(line))?;
                    handover.asker = Some(ConnectionId::Domain(domain));
                }
                Some(&"snapshot") => {
                    File::from(descriptor(1)?).read_to_end(&mut handover.snapshot)?;
                }
                _ => return Err(bad(line)),
            }
        }
        Ok(handover)
    }
}

impl Daemon {
    /// A step of a live update; `None` if the successor will answer.
    pub(super) fn live_update(
        &mut self,
        connection: ConnectionId,
        words: &[String],
    ) -> Option<Result<String, Error>> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ok = || Some(Ok("OK".to_owned()));
        match words.as_slice() {
            ["-f", file] => {
                if !Path::new(file).is_file() {
                    return Some(Ok(format!("{file}: there is no such file")));
                }
                self.update.file = Some(file.into());
                ok()
            }
            ["-c", arguments] => {
                let words = arguments.split_whitespace().map(str::to_owned);
                self.update.arguments = Some(words.collect());
                ok()
            }
            ["-a"] => {
                self.update = Plan::default();
                ok()
            }
            // Open transactions go along: there is nothing to wait for, or to force.
            ["-s", ..] => {
                let Some(file) = self.update.file.clone() else {
                    return Some(Ok("no file was given: live-update -f FILE".to_owned()));
                };
                let error = self.exec(connection, &file);
                self.log
                    .write(Level::Error, &format!("live update: {error}"));
                Some(Ok(format!(
                    "live update failed, and nothing has changed: {error}"
                )))
            }
            _ => Some(Err(Error::Einval)),
        }
    }

    /// Becomes the other program. Returns only if it cannot.
    fn exec(&mut self, connection: ConnectionId, file: &Path) -> io::Error {
        match self.try_exec(connection, file) {
            Ok(error) | Err(error) => error,
        }
    }

    fn try_exec(&mut self, connection: ConnectionId, file: &Path) -> io::Result<io::Error> {
        // What was handed over is known to the core, and everything else waits in the kernel.
        self.commit();
        let snapshot = self.store.snapshot();
        verify(file, &snapshot)?;
        let mut note = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(note, "next {}", self.sockets.next);
        let _ = match connection {
            ConnectionId::Socket(number) => writeln!(note, "asked-by-socket {number}"),
            ConnectionId::Domain(domain) => writeln!(note, "asked-by-domain {domain}"),
        };
        for (number, descriptor) in self.sockets.descriptors() {
            let _ = writeln!(note, "socket {number} {descriptor}");
        }
        for (name, descriptor) in ["clients", "metrics"]
            .iter()
            .zip(self.listeners.descriptors())
        {
            if let Some(descriptor) = descriptor {
                let _ = writeln!(note, "{name} {descriptor}");
            }
        }
        let memory = match &mut self.state {
            Some(state) => {
                state.begin(&snapshot)?;
                None
            }
            None => Some(memory_file("xenstored-state", &snapshot)?),
        };
        if let Some(memory) = &memory {
            let _ = writeln!(note, "snapshot {}", memory.as_raw_fd());
        }
        let note = memory_file("xenstored-note", note.as_bytes())?;
        self.inherit(true);
        for file in memory.iter().chain([&note]) {
            set_inheritable(file, true);
        }
        let words = match &self.update.arguments {
            Some(words) => words.clone(),
            None => without_resume(&self.options.words),
        };
        self.log
            .write(Level::Info, &format!("continuing as {}", file.display()));
        let error = Command::new(file)
            .args(words)
            .arg(format!("--resume={}", note.as_raw_fd()))
            .exec();
        self.inherit(false);
        Ok(error)
    }

    fn inherit(&self, inheritable: bool) {
        for stream in self.sockets.streams() {
            set_inheritable(stream, inheritable);
        }
        self.listeners.set_inheritable(inheritable);
    }
}

/// The arguments without those of an earlier live update.
fn without_resume(words: &[String]) -> Vec<String> {
    words
        .iter()
        .filter(|word| !word.starts_with("--resume="))
        .cloned()
        .collect()
}

/// Has the program verify the state, which it will have to continue with.
fn verify(file: &Path, snapshot: &[u8]) -> io::Result<()> {
    let framed = memory_file("xenstored-check", &state::framed(snapshot))?;
    set_inheritable(&framed, true);
    let result = run_check(file, framed.as_raw_fd());
    set_inheritable(&framed, false);
    result
}

fn run_check(file: &Path, descriptor: i32) -> io::Result<()> {
    let mut child = Command::new(file)
        .arg(format!("--check=/proc/self/fd/{descriptor}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + VERIFY;
    loop {
        if let Some(status) = child.try_wait()? {
            if status.success() {
                return Ok(());
            }
            return Err(io::Error::other(format!(
                "{} does not understand the state: {status}",
                file.display()
            )));
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other(format!(
                "{} does not answer",
                file.display()
            )));
        }
        thread::sleep(Duration::from_millis(1));
    }
}
