//! System calls, signals, and processes that come and go.

use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fork::Fork;
use rustix::process::{Signal, getpid, getppid, kill_process};

use crate::timing::Timing;

/// A system call that does next to nothing.
pub(crate) fn null(timing: &Timing) -> io::Result<()> {
    timing.operation("null", (20_000, 1), || {
        std::hint::black_box(getppid());
        Ok(())
    })?;
    Ok(())
}

/// A signal to oneself, caught by a handler.
pub(crate) fn signal(timing: &Timing) -> io::Result<()> {
    let caught = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, caught.clone())?;
    timing.operation("signal", (2_000, 1), || {
        kill_process(getpid(), Signal::USR1)?;
        if caught.swap(false, Ordering::Relaxed) {
            Ok(())
        } else {
            Err(io::Error::other("the signal did not come"))
        }
    })?;
    Ok(())
}

/// A process is made, ends, and is waited for; also one with memory in use, which has page tables to be copied.
pub(crate) fn fork(timing: &Timing) -> io::Result<()> {
    let mut fork = || match fork::fork()? {
        Fork::Child => std::process::exit(0),
        Fork::Parent(child) => fork::waitpid(child).map(drop),
    };
    timing.operation("fork", (100, 1), &mut fork)?;
    let mut memory = memmap2::MmapMut::map_anon(8 << 20)?;
    memory.fill(1);
    timing.operation("fork_8m", (25, 1), &mut fork)?;
    Ok(())
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.stdin(Stdio::null()).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{command:?}: {status}")))
    }
}

/// A process that runs another program, `/bin/true`.
pub(crate) fn exec(timing: &Timing) -> io::Result<()> {
    timing.operation("exec", (50, 1), || run(&mut Command::new("/bin/true")))?;
    Ok(())
}

/// A shell that runs a program.
pub(crate) fn shell(timing: &Timing) -> io::Result<()> {
    timing.operation("shell", (25, 1), || {
        run(Command::new("/bin/sh").args(["-c", "/bin/true; :"]))
    })?;
    Ok(())
}
