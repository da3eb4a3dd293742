//! `xenconsole`: attaches to a domain's console.
//!
//! Our daemon has a socket for each console, at which any number may look. Where there is none, the pty is opened whose path
//! is in the store, as Xen's `xenconsole` does: Xen's own daemon serves that, for one at a time.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use xen_abi::DomId;
use xenconsoled::{RUN_DIRECTORY, daemon};
use xenstore::Client;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Pv,
    Serial,
}

/// Attaches to the console of a domain; the escape character detaches.
#[derive(Debug, Parser)]
#[command(name = "xenconsole", version)]
struct Arguments {
    /// The domain's number
    domid: DomId,
    /// Which of its consoles
    #[arg(short, long, default_value_t = 0)]
    num: u32,
    /// Which kind of console
    #[arg(short, long, value_enum, default_value_t = Kind::Pv)]
    r#type: Kind,
    /// Wait for the console to come (again), even if standard input and output are no terminal
    #[arg(short, long)]
    interactive: bool,
    /// What detaches: a character after ^
    #[arg(short, long, default_value = "^]", value_parser = control_character)]
    escape: u8,
    /// Where the daemon's sockets are
    #[arg(long, value_name = "DIR", default_value = RUN_DIRECTORY)]
    run_dir: PathBuf,
    /// Write a byte of 0 to this descriptor once the console is there
    #[arg(long, value_name = "FD")]
    start_notify_fd: Option<u32>,
}

/// `^]` is 0x1d.
fn control_character(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [b'^', character @ (b'@'..=b'_' | b'a'..=b'z')] => {
            Ok(character.to_ascii_uppercase() ^ 0x40)
        }
        _ => Err("expected ^ and a character, such as ^]".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match attach(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xenconsole: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A console to read and write.
enum Line {
    Socket(UnixStream),
    Tty(File),
}

impl AsFd for Line {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Line::Socket(stream) => stream.as_fd(),
            Line::Tty(file) => file.as_fd(),
        }
    }
}

fn attach(arguments: &Arguments) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    // Ended by a signal, the terminal is put right all the same.
    for signal in [SIGHUP, SIGINT, SIGTERM, SIGPIPE] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let line = open(arguments, &stop)?;
    if let Some(descriptor) = arguments.start_notify_fd {
        let path = format!("/proc/self/fd/{descriptor}");
        let told = File::options()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(&[0]));
        told.with_context(|| format!("--start-notify-fd {descriptor}"))?;
    }
    let stdin = io::stdin();
    let _raw = Raw::set(&stdin)?;
    talk(&line, arguments.escape, &stop)
}

/// Opens the console; waits for one that is about to come.
fn open(arguments: &Arguments, stop: &AtomicBool) -> Result<Line> {
    let domain = arguments.domid;
    let mut client = Client::connect().context("cannot reach the store")?;
    if !client.is_introduced(domain)? {
        bail!("there is no domain {domain}");
    }
    let path = match (arguments.r#type, arguments.num) {
        (Kind::Pv, 0) => format!("/local/domain/{domain}/console/tty"),
        (Kind::Pv, number) => format!("/local/domain/{domain}/device/console/{number}/tty"),
        (Kind::Serial, number) => format!("/local/domain/{domain}/serial/{number}/tty"),
    };
    let waits = arguments.interactive || io::stdin().is_terminal() && io::stdout().is_terminal();
    let patience = Instant::now() + Duration::from_secs(5);
    client.watch(&path, "tty")?;
    loop {
        if arguments.r#type == Kind::Pv && arguments.num == 0 {
            let socket = daemon::socket(&arguments.run_dir, domain);
            if let Ok(stream) = UnixStream::connect(socket) {
                return Ok(Line::Socket(stream));
            }
        }
        let tty = client.read_string(&path).unwrap_or_default();
        if !tty.is_empty() && Path::new(&tty).exists() {
            return open_tty(&tty).map(Line::Tty);
        }
        if stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if !client.is_introduced(domain)? {
            bail!("domain {domain} is gone");
        }
        if !waits && Instant::now() > patience {
            bail!("domain {domain} has no such console ({path} is not there)");
        }
        client.next_event(Some(Duration::from_millis(500)))?;
    }
}

fn open_tty(path: &str) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let tty: OwnedFd =
        rustix::fs::open(path, flags, Mode::empty()).with_context(|| path.to_owned())?;
    let mut settings = rustix::termios::tcgetattr(&tty)?;
    settings.make_raw();
    rustix::termios::tcsetattr(&tty, OptionalActions::Now, &settings)?;
    Ok(File::from(tty))
}

/// The terminal, raw until dropped.
struct Raw<'a> {
    terminal: &'a io::Stdin,
    before: Option<Termios>,
}

impl<'a> Raw<'a> {
    fn set(terminal: &'a io::Stdin) -> Result<Raw<'a>> {
        let before = match terminal.is_terminal() {
            true => Some(rustix::termios::tcgetattr(terminal)?),
            false => None,
        };
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            rustix::termios::tcsetattr(terminal, OptionalActions::Now, &raw)?;
        }
        Ok(Raw { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(self.terminal, OptionalActions::Drain, before);
        }
    }
}

/// Passes bytes to and fro until the escape character, a signal, or the console's end.
fn talk(line: &Line, escape: u8, stop: &AtomicBool) -> Result<()> {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let mut buffer = [0; 4096];
    let mut typing = true;
    while !stop.load(Ordering::Relaxed) {
        let mut descriptors = vec![PollFd::new(line, PollFlags::IN)];
        if typing {
            descriptors.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match rustix::event::poll(&mut descriptors, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        let ready: Vec<bool> = descriptors
            .iter()
            .map(|descriptor| !descriptor.revents().is_empty())
            .collect();
        if ready.first() == Some(&true) {
            match read(line, &mut buffer) {
                // The console is gone.
                Ok(0) => return Ok(()),
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) =>
                {
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
                Ok(count) => {
                    let mut stdout = stdout.lock();
                    stdout.write_all(buffer.get(..count).unwrap_or_default())?;
                    stdout.flush()?;
                }
            }
        }
        if ready.get(1) == Some(&true) {
            let count = match rustix::io::read(&stdin, &mut buffer) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            let typed = buffer.get(..count).unwrap_or_default();
            // Without a keyboard we go on looking.
            typing = count > 0;
            let end = typed.iter().position(|&byte| byte == escape);
            write_all(line, typed.get(..end.unwrap_or(count)).unwrap_or_default())?;
            if end.is_some() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn read(line: &Line, buffer: &mut [u8]) -> io::Result<usize> {
    match line {
        Line::Socket(stream) => (&*stream).read(buffer),
        Line::Tty(file) => (&*file).read(buffer),
    }
}

fn write_all(line: &Line, bytes: &[u8]) -> io::Result<()> {
    match line {
        Line::Socket(stream) => (&*stream).write_all(bytes),
        Line::Tty(file) => (&*file).write_all(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_control_characters() {
        assert_eq!(control_character("^]"), Ok(0x1d));
        assert_eq!(control_character("^a"), Ok(1));
        assert!(control_character("x").is_err());
    }
}
