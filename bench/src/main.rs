//! `bench`: times operations of the kernel that it runs on, and prints `FIGURE NAME NANOSECONDS` for each.
//!
//! Under QEMU's icount with `shift=0` a nanosecond is an instruction. Each figure is the median of a few batches, each
//! of them long enough for the clock and for the timer's ticks to spread over it.
//!
//! ```text
//! bench [--batches N] [--short] [NAME…]   all measurements, or those (or single figures) named; each a third as often with --short
//! bench --list                            their names
//! bench --part PART ARGUMENT…             what a measurement runs as another process
//! ```

#![forbid(unsafe_code)]

mod channels;
mod files;
mod memory;
mod processes;
mod processor;
mod timing;

use std::io;
use std::process::ExitCode;

use crate::timing::{Timing, measurement_of};

/// A measurement, which prints one figure or some.
type Measurement = fn(&Timing) -> io::Result<()>;

/// (name, measurement); a figure's name begins with its measurement's.
const MEASUREMENTS: &[(&str, Measurement)] = &[
    ("null", processes::null),
    ("signal", processes::signal),
    ("fault", memory::faults),
    ("mprotect", memory::mprotect),
    ("mmap", memory::mmap),
    ("fork", processes::fork),
    ("exec", processes::exec),
    ("shell", processes::shell),
    ("switch", channels::switches),
    ("pipe", channels::pipe),
    ("unix", channels::unix),
    ("tcp", channels::tcp),
    ("file", files::create),
    ("arithmetic", processor::arithmetic),
    ("bandwidth", processor::bandwidth),
];

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> io::Result<()> {
    let mut arguments = arguments.into_iter();
    let mut timing = Timing {
        batches: 5,
        divisor: 1,
        wanted: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => {
                for (name, _) in MEASUREMENTS {
                    println!("{name}");
                }
                return Ok(());
            }
            "--short" => timing.divisor = 3,
            "--part" => return part(&arguments.collect::<Vec<_>>()),
            "--batches" => {
                timing.batches = arguments
                    .next()
                    .and_then(|word| word.parse().ok())
                    .filter(|count| *count > 0)
                    .ok_or_else(|| io::Error::other("--batches takes a number from 1"))?;
            }
            _ => timing.wanted.push(argument),
        }
    }
    for name in &timing.wanted {
        if !MEASUREMENTS
            .iter()
            .any(|(known, _)| *known == measurement_of(name))
        {
            return Err(io::Error::other(format!(
                "there is no measurement “{name}”: bench --list"
            )));
        }
    }
    for (name, measurement) in MEASUREMENTS {
        if timing.wants_some_of(name) {
            measurement(&timing).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        }
    }
    Ok(())
}

/// What other processes of a measurement do.
fn part(words: &[String]) -> io::Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["echo"] => channels::echo(),
        ["echo-tcp", address] => channels::echo_tcp(address),
        ["fault-file"] => {
            println!("{}", memory::fault_file());
            Ok(())
        }
        _ => Err(io::Error::other("no such part")),
    }
}
