//! `xenconsoled`: serves the consoles of all domains. Options as in Xen's.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use rustix::fs::FlockOperation;
use rustix::process::{Resource, Rlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use xen_control::Control;
use xenconsoled::RUN_DIRECTORY;
use xenconsoled::daemon::{Daemon, Options, Signals};
use xenconsoled::rotation::Rotation;
use xenconsoled::store::{self, Channels, Waker};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    None,
    Guest,
    Hv,
    All,
}

impl Which {
    fn guests(self) -> bool {
        matches!(self, Which::Guest | Which::All)
    }

    fn hypervisor(self) -> bool {
        matches!(self, Which::Hv | Which::All)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Overflow {
    Discard,
    Keep,
}

/// Serves the consoles of all domains: a pty each, logs, viewers.
#[derive(Debug, Parser)]
#[command(name = "xenconsoled", version, disable_version_flag = true)]
struct Arguments {
    /// Stay in the foreground
    #[arg(short, long)]
    interactive: bool,
    /// What is logged
    #[arg(long, value_enum, default_value_t = Which::None)]
    log: Which,
    /// Where logs go
    #[arg(long, value_name = "DIR", default_value = "/var/log/xen/console")]
    log_dir: PathBuf,
    /// Which logs have times (in UTC) before their lines
    #[arg(short, long, value_enum, default_value_t = Which::None)]
    timestamp: Which,
    /// What becomes of output that nobody has read when the backlog is full: the guest's oldest is discarded, or the
    /// guest waits
    #[arg(short, long, value_enum, default_value_t = Overflow::Discard)]
    overflow_data: Overflow,
    /// Accepted for the sake of Xen's: escape sequences never reach logs
    #[arg(long)]
    replace_escape: bool,
    /// A log that would get larger is rotated; 0 for never
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    log_size: u64,
    /// How many rotated logs are kept
    #[arg(long, value_name = "N", default_value_t = 4)]
    log_keep: u32,
    /// Bytes a second that a console may print for long; 0 for no limit
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20)]
    rate: u64,
    /// Write the process's number there
    #[arg(long, value_name = "FILE", default_value = "/run/xen/xenconsoled.pid")]
    pid_file: PathBuf,
    /// Where sockets and backlogs are
    #[arg(long, value_name = "DIR", default_value = RUN_DIRECTORY)]
    run_dir: PathBuf,
    /// Say more
    #[arg(short, long)]
    verbose: bool,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: (),
    /// We are the one in the background
    #[arg(long, hide = true)]
    background: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if arguments.interactive || arguments.background {
        serve(&arguments)
    } else {
        detach(&arguments)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xenconsoled: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts another of us in the background, and waits until it serves.
fn detach(arguments: &Arguments) -> Result<()> {
    make_directory(&arguments.log_dir)?;
    let log = arguments.log_dir.join("xenconsoled.log");
    let errors = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| log.display().to_string())?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--background")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .current_dir("/")
        .spawn()?;
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said)?;
    }
    if said != "ready\n" {
        bail!(
            "it did not start ({}): see {}",
            child.wait()?,
            log.display()
        );
    }
    Ok(())
}

fn serve(arguments: &Arguments) -> Result<()> {
    if arguments.background {
        // Fails only for who leads a group already, and is then as good.
        let _ = rustix::process::setsid();
    }
    make_directory(&arguments.run_dir)?;
    make_directory(&arguments.log_dir)?;
    let _lock = lock(&arguments.run_dir)?;
    raise_descriptor_limit();
    let signals = signals()?;

    let (events, from_store) = mpsc::channel();
    let (to_store, requests) = mpsc::channel();
    let (daemon_waker, store_waker) = (Waker::new()?, Waker::new()?);
    let options = Options {
        log_guests: arguments.log.guests(),
        log_hypervisor: arguments.log.hypervisor(),
        log_directory: arguments.log_dir.clone(),
        stamp_guests: arguments.timestamp.guests(),
        stamp_hypervisor: arguments.timestamp.hypervisor(),
        rotation: Rotation {
            limit: arguments.log_size,
            keep: arguments.log_keep,
        },
        rate: arguments.rate,
        keep_overflow: arguments.overflow_data == Overflow::Keep,
        run_directory: arguments.run_dir.clone(),
    };
    let mut daemon = Daemon::new(
        options,
        signals,
        from_store,
        daemon_waker.clone(),
        to_store,
        store_waker.clone(),
    )?;
    store::start(
        Channels {
            events,
            daemon: daemon_waker,
            requests,
            waker: store_waker,
        },
        Control::open()?,
    )?;
    fs::write(&arguments.pid_file, format!("{}\n", std::process::id()))
        .with_context(|| arguments.pid_file.display().to_string())?;
    if arguments.background {
        println!("ready");
        // Whoever started us waits for the end of it.
        let null = OpenOptions::new().write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdout(null)?;
    }
    let result = daemon.run();
    let _ = fs::remove_file(&arguments.pid_file);
    result
}

/// Makes a directory that is root's alone.
fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| path.display().to_string())
}

/// Two daemons would take each other's bytes.
fn lock(directory: &Path) -> Result<File> {
    let path = directory.join("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("{}: another xenconsoled runs", path.display()))?;
    Ok(file)
}

/// A console takes four descriptors.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}

fn signals() -> Result<Signals> {
    let (pipe, far) = UnixStream::pair()?;
    pipe.set_nonblocking(true)?;
    let (reopen, end) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    for (signal, flag) in [(SIGHUP, &reopen), (SIGTERM, &end), (SIGINT, &end)] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
        signal_hook::low_level::pipe::register(signal, far.try_clone()?)?;
    }
    let _ = std::io::stdout().flush();
    Ok(Signals { pipe, reopen, end })
}
