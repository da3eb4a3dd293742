//! Lines for people: on the standard error output, at a bounded rate; and the trace of operations, in a file, when wanted.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use xenstore::wire::{Decoder, Header, Operation};
use xenstore_core::{ConnectionId, Level};

/// Lines that may be written at once; so many come back each second. What a client does cannot fill a disk.
const BURST: u32 = 200;
const PER_SECOND: u32 = 20;
/// How much of a payload a trace has.
const SHOWN: usize = 256;

/// Where lines go.
#[derive(Debug)]
pub struct Log {
    file: Option<File>,
    verbose: bool,
    allowed: u32,
    since: Instant,
    suppressed: u64,
}

impl Log {
    /// To a file; without one, to the standard error output. `verbose`: also what is only good to know in details.
    ///
    /// # Errors
    ///
    /// That the file cannot be opened.
    pub fn new(file: Option<&Path>, verbose: bool) -> io::Result<Self> {
        let file = file.map(open).transpose()?;
        Ok(Self {
            file,
            verbose,
            allowed: BURST,
            since: Instant::now(),
            suppressed: 0,
        })
    }

    /// Writes a line. A full disk or a reader that has gone is nothing to stop for.
    pub fn write(&mut self, level: Level, line: &str) {
        if level == Level::Trace && !self.verbose {
            return;
        }
        let seconds = self.since.elapsed().as_secs();
        if seconds > 0 {
            self.since = Instant::now();
            let regained = PER_SECOND.saturating_mul(u32::try_from(seconds).unwrap_or(u32::MAX));
            self.allowed = self.allowed.saturating_add(regained).min(BURST);
        }
        if self.allowed == 0 {
            self.suppressed += 1;
            return;
        }
        self.allowed -= 1;
        if self.suppressed > 0 {
            let suppressed = std::mem::take(&mut self.suppressed);
            self.line(&format!("xenstored: {suppressed} lines were left out"));
        }
        let level = match level {
            Level::Trace | Level::Info => "",
            Level::Warning => "warning: ",
            Level::Error => "error: ",
        };
        self.line(&format!("xenstored: {level}{}", printable(line.as_bytes())));
    }

    fn line(&mut self, text: &str) {
        let line = format!("{text}\n");
        let _ = match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// What a client sent, without anything that a terminal would act upon.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            0 => text.push(' '),
            b' '..=b'~' => text.push(char::from(*byte)),
            // Writing to a String does not fail.
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

/// The trace of operations: each message, in and out.
#[derive(Debug, Default)]
pub struct Trace {
    path: Option<PathBuf>,
    file: Option<File>,
    /// What arrived of messages that are not complete, by connection: in, out.
    partial: HashMap<ConnectionId, [Decoder; 2]>,
}

impl Trace {
    /// The file to write to when switched on.
    pub fn set_path(&mut self, path: &Path) {
        self.path = Some(path.to_owned());
        if self.is_on() {
            // Stays off if it cannot be opened; whoever asked looks into the file.
            self.file = open(path).ok();
        }
    }

    /// Switches it on or off.
    ///
    /// # Errors
    ///
    /// That no file was given, or it cannot be opened.
    pub fn switch(&mut self, on: bool) -> io::Result<()> {
        self.partial.clear();
        self.file = None;
        if on {
            let path = self.path.as_ref().ok_or(io::ErrorKind::NotFound)?;
            self.file = Some(open(path)?);
        }
        Ok(())
    }

    /// Whether messages are to be passed.
    pub fn is_on(&self) -> bool {
        self.file.is_some()
    }

    /// What a connection brought in.
    pub fn received(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.pass(connection, 0, bytes);
    }

    /// What went out to it.
    pub fn sent(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.pass(connection, 1, bytes);
    }

    /// A connection ended.
    pub fn closed(&mut self, connection: ConnectionId) {
        if self.is_on() {
            self.partial.remove(&connection);
            self.line(connection, "END", "", 0, b"");
        }
    }

    fn pass(&mut self, connection: ConnectionId, direction: usize, bytes: &[u8]) {
        let decoders = self.partial.entry(connection).or_default();
        let Some(decoder) = decoders.get_mut(direction) else {
            return;
        };
        decoder.push(bytes);
        let mut messages = Vec::new();
        loop {
            match decoder.take() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => {
                    // Begun within a message, or a client that will be disconnected.
                    *decoder = Decoder::default();
                    break;
                }
            }
        }
        let word = if direction == 0 { "IN" } else { "OUT" };
        for (header, payload) in messages {
            let name = name(&header);
            self.line(connection, word, &name, header.transaction, &payload);
        }
    }

    fn line(
        &mut self,
        connection: ConnectionId,
        word: &str,
        operation: &str,
        transaction: u32,
        payload: &[u8],
    ) {
        let Some(file) = &mut self.file else {
            return;
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let who = match connection {
            ConnectionId::Domain(domain) => format!("D{domain}"),
            ConnectionId::Socket(number) => format!("A{number}"),
        };
        let shown = payload.get(..SHOWN).unwrap_or(payload);
        let more = if shown.len() < payload.len() {
            "..."
        } else {
            ""
        };
        let line = format!(
            "{}.{:06} {word} {who} tx={transaction} {operation} ({}){more}\n",
            now.as_secs(),
            now.subsec_micros(),
            printable(shown).trim_end()
        );
        if file.write_all(line.as_bytes()).is_err() {
            // A full disk ends the trace, and nothing else.
            self.file = None;
        }
    }
}

fn name(header: &Header) -> String {
    match Operation::from_number(header.operation) {
        Some(operation) => operation.name().to_owned(),
        None => format!("#{}", header.operation),
    }
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn nothing_harmful_reaches_a_terminal() {
        assert_eq!(printable(b"/a\0b\x1b[2J\xff"), "/a b\\x1b[2J\\xff");
    }
}
