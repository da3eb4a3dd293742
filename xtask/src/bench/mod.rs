//! `cargo xtask bench`: measures, side by side with the bare machine and with Debian's Xen. Without a part's name all parts,
//! and a page of them in `target/bench`.

mod boot;
mod budgets;
mod domains;
mod picture;
mod processors;
mod programs;
mod report;
mod scheduler;
mod store;

use std::fs;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::setup::{Need, setup};
use crate::workspace;

pub(crate) use programs::{quick, with as programs_with};
use report::Table;
pub(crate) use report::escape;

/// `max` stops Debian's Xen under icount ("Bad icount read"); with `monitor` an idle domain 0 stops it.
pub(crate) const CPU: &str = "EPYC,-svm,-monitor";

/// The options of `cargo xtask bench`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// Only what programs make Xenolith execute, compared with bench/budgets.toml: two minutes
    #[arg(long)]
    quick: bool,
}

#[derive(Subcommand, Clone, Debug)]
enum Part {
    /// Instructions from the loader to domain 0's /init
    Boot(boot::Options),
    /// System calls, page faults, processes, pipes…: instructions for each, or wall time
    Programs(programs::Options),
    /// Instructions for a switch between domains, and for flushing translations on several CPUs
    Processors(processors::Options),
    /// Shares over time on a simulated machine, as a table and as pictures in target/bench
    Sched,
    /// Instructions for making, listing and ending domains
    Domains(domains::Options),
    /// Instructions for operations of the store, with our daemon and with Debian's two
    Store,
}

/// Tables of figures, and the exit status: not 0 where a figure is worse than it may be.
type Measured = (Vec<Table>, i32);

/// Runs the command; gives the exit status.
pub(crate) fn command(options: &Options) -> Result<i32> {
    if options.quick {
        if options.part.is_some() {
            bail!("--quick is a part of its own");
        }
        setup(Need::Run)?;
        let (report, status) = quick()?;
        print!("{report}");
        return Ok(status);
    }
    match &options.part {
        Some(Part::Sched) => scheduler::run_all(),
        Some(part) => {
            let (tables, status) = measure(part)?;
            for table in &tables {
                print!("{}", table.text());
                table.save()?;
            }
            report::page()?;
            Ok(status)
        }
        None => all(),
    }
}

fn measure(part: &Part) -> Result<Measured> {
    setup(Need::Test)?;
    match part {
        Part::Boot(options) => boot::run(options),
        Part::Programs(options) => programs::run(options),
        Part::Processors(options) => processors::run(options),
        Part::Domains(options) => domains::run(options),
        Part::Store => store::run(),
        Part::Sched => Ok((Vec::new(), scheduler::run_all()?)),
    }
}

/// All parts, one after the other; one that fails does not keep the others from being measured.
fn all() -> Result<i32> {
    let parts = [
        Part::Boot(boot::Options::default()),
        Part::Programs(programs::Options::default()),
        Part::Programs(programs::Options::wall_time()),
        Part::Processors(processors::Options::default()),
        Part::Domains(domains::Options::default()),
        Part::Store,
        Part::Sched,
    ];
    fs::create_dir_all(workspace::root().join("target/bench"))?;
    let mut worst = 0;
    for part in parts {
        match measure(&part) {
            Ok((tables, status)) => {
                for table in &tables {
                    print!("{}", table.text());
                    table.save()?;
                }
                worst = worst.max(status);
            }
            Err(error) => {
                eprintln!("error: {part:?}: {error:#}");
                worst = 1;
            }
        }
        if crate::session::is_interrupted() {
            bail!("interrupted");
        }
    }
    println!("{}", report::page()?.display());
    Ok(worst)
}
