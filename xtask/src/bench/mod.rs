//! `cargo xtask bench`: measures, side by side with the bare machine and with Debian's Xen. Without a part's name all parts,
//! and a page of them in `target/bench`.

mod boot;
mod budgets;
mod domains;
mod loads;
mod many;
mod marks;
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

pub(crate) use programs::with as programs_with;
use report::Table;
pub(crate) use report::escape;

/// `max` stops Debian's Xen under icount ("Bad icount read"); with `monitor` an idle domain 0 stops it.
pub(crate) const CPU: &str = "EPYC,-svm,-monitor";

/// With `xsave` Debian's Xen's domains crash now and then.
const CPU_WITH_GUESTS: &str = "EPYC,-svm,-monitor,-xsave";

/// The options of `cargo xtask bench`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// Only what programs, disks and networks make Xenolith execute, compared with bench/budgets.toml: some minutes
    #[arg(long)]
    quick: bool,
}

#[derive(Subcommand, Clone, Debug)]
enum Part {
    /// Instructions from the loader to domain 0's /init
    Boot(boot::Options),
    /// System calls, page faults, processes, pipes…: instructions for each, or wall time
    Programs(programs::Options),
    /// A compiler, archives, a data base, disks and networks, in domain 0 and in a domain
    Loads(loads::Options),
    /// Instructions for a switch between domains, and for flushing translations on several CPUs
    Processors(processors::Options),
    /// Shares over time on a simulated machine, as a table and as pictures in target/bench
    Sched,
    /// Instructions for making, listing and ending domains
    Domains(domains::Options),
    /// What a domain more costs, the more there are
    Many(many::Options),
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
        let mut worst = 0;
        for part in QUICK {
            let (report, status) = quick(part)?;
            println!("{report}");
            worst = worst.max(status);
        }
        return Ok(worst);
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

/// What is compared with budgets: `(name, how it is measured, whether a figure is of it)`.
type Quick = (
    &'static str,
    fn() -> Result<programs::Figures>,
    fn(&str) -> bool,
);

/// The parts of `--quick`, each a machine of its own.
pub(crate) const QUICK: &[Quick] = &[
    ("programs", programs::quick, |figure| !figure.contains('.')),
    ("loads", loads::quick, |figure| figure.contains('.')),
];

/// What a part makes Xenolith execute, compared with its budgets: a table, and the exit status.
pub(crate) fn quick(&(_, measure, is_of_it): &Quick) -> Result<(String, i32)> {
    let budgets: Vec<_> = budgets::read()?
        .into_iter()
        .filter(|budget| is_of_it(&budget.figure))
        .collect();
    let (text, kept) = budgets::compare(&budgets, &measure()?)?;
    Ok((text, i32::from(!kept)))
}

fn measure(part: &Part) -> Result<Measured> {
    setup(Need::Test)?;
    match part {
        Part::Boot(options) => boot::run(options),
        Part::Programs(options) => programs::run(options),
        Part::Loads(options) => loads::run(options),
        Part::Processors(options) => processors::run(options),
        Part::Domains(options) => domains::run(options),
        Part::Many(options) => many::run(options),
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
        Part::Loads(loads::Options::default()),
        Part::Loads(loads::Options::wall_time()),
        Part::Processors(processors::Options::default()),
        Part::Domains(domains::Options::default()),
        Part::Many(many::Options::default()),
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

#[cfg(test)]
mod tests {
    use super::{budgets, loads, programs};

    #[test]
    fn each_figure_has_a_budget() {
        let budgets = budgets::read().unwrap();
        let names: Vec<&str> = programs::names().chain(loads::names()).collect();
        for name in &names {
            assert!(
                budgets.iter().any(|budget| budget.figure == *name),
                "{name}"
            );
        }
        assert_eq!(budgets.len(), names.len());
    }
}
