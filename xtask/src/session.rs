//! A running machine: its console, its script channel, QEMU's monitor, and how it ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::RunDirectory;

/// What stands on a console when there is nothing more to expect.
const FATAL: &[&str] = &[
    "Panic on CPU",
    "Kernel panic - not syncing",
    "Hardware Dom0 crashed",
    "Hardware Dom0 halted",
    "Xenolith: stopped",
    "Manual reset required",
];

/// How long a machine may go on after its script ended, or after a fatal message.
const GRACE: Duration = Duration::from_secs(60);
const GRACE_AFTER_FATAL: Duration = Duration::from_secs(3);

/// How a run is to go.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Where a copy of the console goes.
    pub(crate) log: Option<PathBuf>,
    pub(crate) timeout: Option<Duration>,
    /// Whether what the script writes is passed on to our output at once.
    pub(crate) echo_script: bool,
    /// Stop as soon as this stands on the console (for images that cannot power off).
    pub(crate) until: Option<String>,
    /// How long to look on after that, for what may still go wrong.
    pub(crate) linger: Duration,
}

/// How the machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    PowerOff,
    Reset,
    /// A fatal message on the console: its line.
    Fatal(String),
    /// QEMU stopped the machine, or ended by itself.
    Qemu(String),
    Timeout,
    /// The awaited text came.
    Reached,
    /// The script ended, and the machine did not within a minute.
    NoPowerOff,
    Interrupted,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The script's exit status, if it ended.
    pub(crate) status: Option<i32>,
    pub(crate) end: End,
    pub(crate) console: String,
    pub(crate) script_output: Vec<u8>,
    pub(crate) elapsed: Duration,
}

impl Outcome {
    /// The last lines of the console.
    pub(crate) fn console_tail(&self, lines: usize) -> String {
        let all: Vec<&str> = self.console.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

enum Event {
    Console(Vec<u8>),
    Script(Vec<u8>),
    Monitor(String),
}

/// Boots QEMU on the terminal: the first serial port and the monitor share it.
pub(crate) fn interactive(mut qemu: Command, log: Option<&Path>) -> Result<()> {
    let log = log.map_or(String::new(), |log| format!(",logfile={}", escape(log)));
    qemu.args([
        "-chardev",
        &format!("stdio,id=console,mux=on,signal=off{log}"),
    ]);
    // Ctrl-] is QEMU's escape: Ctrl-a is the hypervisor's.
    qemu.args([
        "-echr",
        "0x1d",
        "-serial",
        "chardev:console",
        "-mon",
        "chardev=console",
    ]);
    let status = qemu.status().context("cannot start QEMU")?;
    if !status.success() {
        bail!("QEMU failed ({status})");
    }
    Ok(())
}

/// Boots QEMU with nobody at its console and waits for its end.
pub(crate) fn unattended(
    mut qemu: Command,
    directory: &RunDirectory,
    plan: &Plan,
) -> Result<Outcome> {
    let interrupted = interrupt_flag()?;
    let start = Instant::now();
    let (sender, events) = mpsc::channel();
    let mut listeners = Vec::new();
    for name in ["console", "script", "monitor"] {
        let path = directory.join(&format!("{name}.socket"));
        listeners.push(
            UnixListener::bind(&path)
                .with_context(|| format!("cannot listen at {}", path.display()))?,
        );
        qemu.args([
            "-chardev",
            &format!("socket,id={name},path={}", escape(&path)),
        ]);
    }
    qemu.args(["-serial", "chardev:console", "-serial", "chardev:script"]);
    qemu.args(["-mon", "chardev=monitor,mode=control"]);
    let errors = directory.join("errors");
    qemu.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&errors)?);
    let mut child = Running(qemu.spawn().context("cannot start QEMU")?);

    let mut streams = Vec::new();
    for listener in &listeners {
        match accept(listener, &mut child.0)? {
            Some(stream) => streams.push(stream),
            None => {
                let said = std::fs::read_to_string(&errors).unwrap_or_default();
                bail!("QEMU did not start:\n{}", said.trim_end());
            }
        }
    }
    let [console_stream, script_stream, mut monitor_stream] =
        <[UnixStream; 3]>::try_from(streams).map_err(|_| anyhow::anyhow!("three channels"))?;
    monitor_stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
    read_in_background(console_stream.try_clone()?, sender.clone(), Event::Console);
    read_in_background(script_stream, sender.clone(), Event::Script);
    read_in_background(monitor_stream, sender, |bytes| {
        Event::Monitor(String::from_utf8_lossy(&bytes).into_owned())
    });

    let log = match &plan.log {
        Some(path) => {
            Some(File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => None,
    };
    let mut watch = Watch {
        plan,
        console_stream,
        log,
        console: Vec::new(),
        scanned: 0,
        script_output: Vec::new(),
        directive: None,
        monitor: String::new(),
        status: None,
        fatal: None,
        deadline: plan.timeout.map(|timeout| start + timeout),
        grace_end: None,
        reached: None,
    };
    let end = watch.until_end(&events, &mut child.0, &interrupted)?;
    drop(child);
    let end = match end {
        End::Qemu(what) => {
            let said = std::fs::read_to_string(&errors).unwrap_or_default();
            End::Qemu(format!("{what}\n{said}").trim_end().to_owned())
        }
        other => other,
    };
    Ok(Outcome {
        status: watch.status,
        end,
        console: String::from_utf8_lossy(&watch.console).replace('\r', ""),
        script_output: watch.script_output,
        elapsed: start.elapsed(),
    })
}

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Set when a person or a job's runner wants us to end: machines are then stopped and their files removed.
fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    if let Some(flag) = INTERRUPTED.get() {
        return Ok(flag.clone());
    }
    let flag = INTERRUPTED.get_or_init(Arc::default).clone();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}

/// Whether we were told to end.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// QEMU, killed when we stop watching it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Waits for QEMU to connect; `None` if it ends instead.
fn accept(listener: &UnixListener, child: &mut Child) -> Result<Option<UnixStream>> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(Some(stream));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if child.try_wait()?.is_some() {
                    return Ok(None);
                }
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error).context("waiting for QEMU"),
        }
    }
}

fn read_in_background(mut stream: UnixStream, sender: Sender<Event>, event: fn(Vec<u8>) -> Event) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let Some(bytes) = buffer.get(..count) else {
                return;
            };
            if sender.send(event(bytes.to_vec())).is_err() {
                return;
            }
        }
    });
}

struct Watch<'a> {
    plan: &'a Plan,
    console_stream: UnixStream,
    log: Option<File>,
    console: Vec<u8>,
    /// How much of the console has been looked through, in whole lines.
    scanned: usize,
    script_output: Vec<u8>,
    /// A line to us that has begun.
    directive: Option<Vec<u8>>,
    monitor: String,
    status: Option<i32>,
    fatal: Option<String>,
    deadline: Option<Instant>,
    grace_end: Option<Instant>,
    /// When looking on ends, once the awaited text came.
    reached: Option<Instant>,
}

impl Watch<'_> {
    fn until_end(
        &mut self,
        events: &Receiver<Event>,
        child: &mut Child,
        interrupted: &AtomicBool,
    ) -> Result<End> {
        let mut reason = None;
        loop {
            match events.recv_timeout(Duration::from_millis(50)) {
                Ok(Event::Console(bytes)) => {
                    if self.on_console(&bytes)? {
                        self.reached
                            .get_or_insert(Instant::now() + self.plan.linger);
                    }
                }
                Ok(Event::Script(bytes)) => self.on_script(&bytes)?,
                Ok(Event::Monitor(text)) => {
                    self.monitor.push_str(&text);
                    reason = reason.or_else(|| shutdown_reason(&self.monitor));
                }
                Err(RecvTimeoutError::Timeout) => {}
                // All channels are closed, and all that came through them has been read.
                Err(RecvTimeoutError::Disconnected) => {
                    let status = child.wait()?;
                    return Ok(match (self.fatal.take(), reason) {
                        (Some(line), _) => End::Fatal(line),
                        (None, Some(end)) => end,
                        (None, None) => End::Qemu(format!("QEMU ended ({status})")),
                    });
                }
            }
            let now = Instant::now();
            if interrupted.load(Ordering::Relaxed) {
                return Ok(End::Interrupted);
            }
            if self.reached.is_some_and(|end| now >= end) {
                return Ok(End::Reached);
            }
            if self.reached.is_none() && self.grace_end.is_some_and(|end| now > end) {
                return Ok(match self.fatal.take() {
                    Some(line) => End::Fatal(line),
                    None => End::NoPowerOff,
                });
            }
            if self.deadline.is_some_and(|end| now > end) {
                return Ok(End::Timeout);
            }
        }
    }

    /// Takes in console output; true if the awaited text is there.
    fn on_console(&mut self, bytes: &[u8]) -> Result<bool> {
        if let Some(log) = &mut self.log {
            log.write_all(bytes)?;
        }
        self.console.extend_from_slice(bytes);
        while let Some(length) = self
            .console
            .get(self.scanned..)
            .and_then(|rest| rest.iter().position(|&byte| byte == b'\n'))
        {
            let line = self
                .console
                .get(self.scanned..self.scanned + length)
                .unwrap_or_default();
            let line = String::from_utf8_lossy(line).trim().to_owned();
            self.scanned += length + 1;
            if self.fatal.is_none() && FATAL.iter().any(|text| line.contains(text)) {
                self.fatal = Some(line.clone());
                self.grace_end = Some(Instant::now() + GRACE_AFTER_FATAL);
            }
            if self
                .plan
                .until
                .as_ref()
                .is_some_and(|text| line.contains(text))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn on_script(&mut self, bytes: &[u8]) -> Result<()> {
        let mut out = Vec::new();
        for &byte in bytes {
            match (&mut self.directive, byte) {
                (None, 0x1e) => self.directive = Some(Vec::new()),
                (None, _) => out.push(byte),
                (Some(line), b'\n') => {
                    let line = String::from_utf8_lossy(line).into_owned();
                    self.directive = None;
                    self.obey(&line)?;
                }
                (Some(line), _) => line.push(byte),
            }
        }
        if self.plan.echo_script {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&out)?;
            stdout.flush()?;
        }
        self.script_output.extend_from_slice(&out);
        Ok(())
    }

    fn obey(&mut self, line: &str) -> Result<()> {
        if let Some(status) = line.strip_prefix("exit ") {
            self.status = status.trim().parse().ok();
            self.grace_end.get_or_insert(Instant::now() + GRACE);
        } else if let Some(keys) = line.strip_prefix("keys ") {
            self.console_stream.write_all(keys.as_bytes())?;
        }
        Ok(())
    }
}

/// What QEMU's monitor says of the machine's end.
fn shutdown_reason(monitor: &str) -> Option<End> {
    let event = monitor.lines().find(|line| line.contains("\"SHUTDOWN\""))?;
    Some(if event.contains("\"guest-shutdown\"") {
        End::PowerOff
    } else if event.contains("\"guest-reset\"") {
        End::Reset
    } else {
        End::Qemu(event.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::{End, shutdown_reason};

    #[test]
    fn tells_power_off_from_reset() {
        let event = |reason: &str| {
            format!(
                "{{\"QMP\": {{}}}}\n{{\"event\": \"SHUTDOWN\", \"data\": {{\"guest\": true, \"reason\": \"{reason}\"}}}}\n"
            )
        };
        assert_eq!(
            shutdown_reason(&event("guest-shutdown")),
            Some(End::PowerOff)
        );
        assert_eq!(shutdown_reason(&event("guest-reset")), Some(End::Reset));
        assert!(matches!(
            shutdown_reason(&event("host-error")),
            Some(End::Qemu(_))
        ));
        assert_eq!(shutdown_reason("{\"event\": \"RTC_CHANGE\"}\n"), None);
    }
}
