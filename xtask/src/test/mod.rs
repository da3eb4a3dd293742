//! `cargo xtask test`: all tests, cheap ones first.

mod bad_input;
mod broken_boot;
mod covering;
mod guests;
mod harness;
mod host;
mod iso;
mod system;

pub(crate) use guests::{boot_with as boot_guest, machine as small_machine};
pub(crate) use system::dom0_options;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::session::{self, Outcome};
use crate::setup::{Need, setup};

/// The options of `cargo xtask test`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only tests with one of these in `group/name`; groups: host, harness, guests, bad-input, bench, iso, system
    filter: Vec<String>,
    /// Every combination of kernel, machine, CPU model and memory, not only each pair of them; the long version of tests that have one
    #[arg(long)]
    full: bool,
    /// Print the tests and run none
    #[arg(long)]
    list: bool,
    /// The hypervisor of the groups guests and system, as for `dom0`
    #[arg(long)]
    hypervisor: Option<String>,
    /// Print the console of passed tests too
    #[arg(long, short)]
    verbose: bool,
    /// How many machines to run at once [default: one a core]
    #[arg(long)]
    jobs: Option<usize>,
}

/// A test that boots a machine.
pub(crate) struct Case {
    group: &'static str,
    name: String,
    /// What runs it alone.
    command: String,
    run: Box<dyn Fn() -> Result<Verdict> + Send + Sync>,
}

/// How a case went.
pub(crate) enum Verdict {
    /// With what is worth a word, and what it saw.
    Passed(String, String),
    /// With what it saw.
    Failed(String),
}

impl Verdict {
    /// A success.
    pub(crate) fn passed(outcome: &Outcome) -> Verdict {
        let output = String::from_utf8_lossy(&outcome.script_output);
        Verdict::Passed(String::new(), format!("{}{output}", outcome.console))
    }

    /// A failure with the reason first, then the script's output and the end of the console.
    pub(crate) fn failed(reason: &str, outcome: &Outcome) -> Verdict {
        let mut seen = format!(
            "{reason}\n(machine's end: {:?}, after {} s)\n",
            outcome.end,
            outcome.elapsed.as_secs()
        );
        if !outcome.script_output.is_empty() {
            seen += "---- the script's output\n";
            seen += &String::from_utf8_lossy(&outcome.script_output);
        }
        seen += "---- the end of the console\n";
        seen += &outcome.console_tail(50);
        Verdict::Failed(seen)
    }
}

/// As shells say it of SIGINT.
const STATUS_INTERRUPTED: i32 = 130;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    passed: usize,
    failed: usize,
}

/// Runs the tests; gives the exit status.
pub(crate) fn command(options: &Options) -> Result<i32> {
    let selected = |name: &str| {
        options.filter.is_empty()
            || options
                .filter
                .iter()
                .any(|filter| name.contains(filter.as_str()))
    };
    let mut cases = Vec::new();
    cases.extend(bad_input::cases());
    cases.extend(guests::cases(options.full, options.hypervisor.as_deref())?);
    cases.extend(harness::cases());
    cases.extend(iso::cases());
    cases.extend(budgets());
    cases.extend(system::cases(options.full, options.hypervisor.as_deref())?);
    cases.retain(|case| selected(&format!("{}/{}", case.group, case.name)));
    if options.list {
        println!("host");
        for case in &cases {
            println!("{}/{}", case.group, case.name);
        }
        return Ok(0);
    }
    setup(Need::Test)?;
    let start = Instant::now();
    let mut count = Count::default();
    if selected("host/") {
        count = host::run()?;
    }
    let machines = run_all(cases, options);
    count.passed += machines.passed;
    count.failed += machines.failed;
    if session::is_interrupted() {
        println!("interrupted");
        return Ok(STATUS_INTERRUPTED);
    }
    if count.passed + count.failed == 0 {
        println!("no test is called so: cargo xtask test --list");
    }
    println!("in {} s", start.elapsed().as_secs());
    println!("{} passed, {} failed", count.passed, count.failed);
    Ok(i32::from(count.failed > 0 || count.passed == 0))
}

/// What programs cost is within bench/budgets.toml.
fn budgets() -> impl Iterator<Item = Case> {
    crate::bench::QUICK.iter().map(|part| Case {
        group: "bench",
        name: part.0.to_owned(),
        command: "cargo xtask bench --quick".to_owned(),
        run: Box::new(|| {
            let (report, status) = crate::bench::quick(part)?;
            Ok(if status == 0 {
                Verdict::Passed(String::new(), report)
            } else {
                Verdict::Failed(report)
            })
        }),
    })
}

fn run_all(cases: Vec<Case>, options: &Options) -> Count {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let queue = Mutex::new(VecDeque::from(cases));
    let count = Mutex::new(Count::default());
    thread::scope(|scope| {
        for _ in 0..options.jobs.unwrap_or(cores).max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue
                        .lock()
                        .expect("no holder of the lock panics")
                        .pop_front();
                    let Some(case) = next else { return };
                    let passed = run_case(&case, options.verbose);
                    if session::is_interrupted() {
                        return;
                    }
                    let mut count = count.lock().expect("no holder of the lock panics");
                    if passed {
                        count.passed += 1;
                    } else {
                        count.failed += 1;
                    }
                }
            });
        }
    });
    *count.lock().expect("no holder of the lock panics")
}

fn run_case(case: &Case, verbose: bool) -> bool {
    let start = Instant::now();
    let verdict = (case.run)().unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
    let seconds = start.elapsed().as_secs();
    let name = format!("{}/{}", case.group, case.name);
    match verdict {
        Verdict::Passed(remark, seen) => {
            let seen = if verbose {
                indent(&seen)
            } else {
                String::new()
            };
            println!(
                "{}",
                format!("ok    {name} ({seconds} s) {remark}\n{seen}").trim_end()
            );
            true
        }
        Verdict::Failed(seen) => {
            println!(
                "FAIL  {name} ({seconds} s)\n{}      run it alone: {}",
                indent(&seen),
                case.command
            );
            false
        }
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("      {line}\n")).collect()
}
