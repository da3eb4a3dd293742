//! Processes that pass a byte to each other: through pipes, through sockets, and around a ring.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use fork::Fork;
use rustix::process::{Pid, Signal, kill_process};

use crate::timing::{Timing, now};

/// A process of ours that is killed when it is no longer needed.
struct Partner(Child);

impl Partner {
    fn start(words: &[&str], input: Stdio, output: Stdio) -> io::Result<Partner> {
        let child = Command::new("/proc/self/exe")
            .arg("--part")
            .args(words)
            .stdin(input)
            .stdout(output)
            .spawn()?;
        Ok(Partner(child))
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Times a byte that goes there and back.
fn round_trip(
    timing: &Timing,
    name: &str,
    there: &mut impl Write,
    back: &mut impl Read,
) -> io::Result<()> {
    let mut byte = [0];
    timing.operation(name, (1_000, 1), || {
        there.write_all(&[7])?;
        back.read_exact(&mut byte)?;
        if byte == [7] {
            Ok(())
        } else {
            Err(io::Error::other("something else came back"))
        }
    })?;
    Ok(())
}

/// A byte through a pipe to another process, and back through a second one.
pub(crate) fn pipe(timing: &Timing) -> io::Result<()> {
    let (input, mut there) = io::pipe()?;
    let (mut back, output) = io::pipe()?;
    let _partner = Partner::start(&["echo"], input.into(), output.into())?;
    round_trip(timing, "pipe", &mut there, &mut back)
}

/// The same through a pair of Unix sockets.
pub(crate) fn unix(timing: &Timing) -> io::Result<()> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let output: OwnedFd = theirs.try_clone()?.into();
    let input: OwnedFd = theirs.into();
    let _partner = Partner::start(&["echo"], input.into(), output.into())?;
    let mut back = ours.try_clone()?;
    round_trip(timing, "unix", &mut ours, &mut back)
}

/// The same through TCP over the loopback device; and blocks of 64 KiB one way.
pub(crate) fn tcp(timing: &Timing) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let partner = Partner::start(&["echo-tcp", &address], Stdio::null(), Stdio::inherit())?;
    let (mut ours, _) = listener.accept()?;
    ours.set_nodelay(true)?;
    let mut back = ours.try_clone()?;
    round_trip(timing, "tcp", &mut ours, &mut back)?;
    drop(partner);
    // Whoever reads is this process: what was sent and not read does not count.
    let sender = TcpStream::connect(&address)?;
    let (mut receiver, _) = listener.accept()?;
    let _partner = match fork::fork()? {
        Fork::Child => {
            let mut sender = sender;
            let block = vec![7; BLOCK];
            while sender.write_all(&block).is_ok() {}
            std::process::exit(0);
        }
        Fork::Parent(child) => Forked(child),
    };
    let mut block = vec![0; BLOCK];
    timing.operation("tcp_stream_64k", (100, 1), || {
        receiver.read_exact(&mut block)
    })?;
    Ok(())
}

const BLOCK: usize = 64 << 10;

/// Another process: gives back every byte that comes.
pub(crate) fn echo() -> io::Result<()> {
    give_back(&mut io::stdin(), &mut io::stdout())
}

/// Another process: the same with a connection to an address.
pub(crate) fn echo_tcp(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut output = stream.try_clone()?;
    give_back(&mut stream, &mut output)
}

fn give_back(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut byte = [0];
    while input.read_exact(&mut byte).is_ok() {
        output.write_all(&byte)?;
        output.flush()?;
    }
    Ok(())
}

/// A forked process, killed and waited for on drop.
struct Forked(i32);

impl Drop for Forked {
    fn drop(&mut self) {
        if let Some(process) = Pid::from_raw(self.0) {
            let _ = kill_process(process, Signal::KILL);
        }
        let _ = fork::waitpid(self.0);
    }
}

/// What one process of a ring has: sums up its own memory each time that the byte comes by.
fn pass_on(work: &[u8], from: &mut io::PipeReader, to: &mut io::PipeWriter) -> io::Result<()> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    black_box(sum(work));
    to.write_all(&byte)
}

fn sum(work: &[u8]) -> u64 {
    work.chunks_exact(8)
        .filter_map(|word| word.try_into().ok().map(u64::from_le_bytes))
        .fold(0, |sum, word| sum.wrapping_add(black_box(word)))
}

/// Context switches in a ring of 2 and 16 processes, each using 0 and 64 KiB of its own memory in between; without what the pipes and
/// that use cost within a single process.
pub(crate) fn switches(timing: &Timing) -> io::Result<()> {
    let passes = 2_000 / timing.divisor;
    for (processes, size) in [(2, 0), (2, BLOCK), (16, 0), (16, BLOCK)] {
        let alone = timing.median(|| ring_of_one(size, passes))?;
        let name = format!("switch_{processes}_{}k", size >> 10);
        timing.batches(&name, || Ok(ring(processes, size, passes)? - alone))?;
    }
    Ok(())
}

/// Nanoseconds of a pass through one pipe in one process.
fn ring_of_one(size: usize, passes: u64) -> io::Result<f64> {
    let work = vec![1; size];
    let (mut from, mut to) = io::pipe()?;
    to.write_all(&[7])?;
    pass_on(&work, &mut from, &mut to)?;
    let start = now();
    for _ in 0..passes {
        pass_on(&work, &mut from, &mut to)?;
    }
    Ok((now() - start) as f64 / passes as f64)
}

/// Nanoseconds of a pass from one process to the next.
fn ring(processes: usize, size: usize, passes: u64) -> io::Result<f64> {
    let rounds = passes / processes as u64;
    let mut first_out = None;
    let mut children = Vec::new();
    let (mut input, first_writer) = io::pipe()?;
    let mut pending = Some(first_writer);
    // Each process reads what the one before writes; this one is the last and closes the ring.
    for _ in 1..processes {
        let (next_input, output) = io::pipe()?;
        match fork::fork()? {
            Fork::Child => {
                let mut output = output;
                let work = vec![1; size];
                while pass_on(&work, &mut input, &mut output).is_ok() {}
                std::process::exit(0);
            }
            Fork::Parent(child) => children.push(Forked(child)),
        }
        if first_out.is_none() {
            first_out = pending.take();
        }
        input = next_input;
    }
    let mut out = first_out.ok_or_else(|| io::Error::other("a ring has two processes or more"))?;
    let work = vec![1; size];
    out.write_all(&[7])?;
    pass_on(&work, &mut input, &mut out)?;
    let start = now();
    for _ in 0..rounds {
        pass_on(&work, &mut input, &mut out)?;
    }
    Ok((now() - start) as f64 / (rounds * processes as u64) as f64)
}
