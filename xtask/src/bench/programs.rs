//! `cargo xtask bench programs`: what operations of domain 0's kernel cost its programs, on the bare machine, on Debian's
//! Xen and on Xenolith, with the same kernel and the same programs (`bench/src`).
//!
//! In instructions with QEMU's icount; with `--wall` in nanoseconds, from runs of all that take turns.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::budgets;
use super::report::{Row, Table};
use super::{CPU, Measured};
use crate::dom0;
use crate::image;
use crate::test::dom0_options;
use crate::workspace::{self, RunDirectory};

/// The options of `cargo xtask bench programs`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Measurements (fault, fork…) or single figures (fault_cow, fork_8m…) [default: all]
    only: Vec<String>,
    /// Debian's kernel
    #[arg(long, default_value = "6.1")]
    kernel: String,
    /// Only these: none, debian-xen, xenolith, or an image
    #[arg(long)]
    hypervisor: Vec<String>,
    /// Nanoseconds of the machine's clock instead of instructions: medians of runs that take turns
    #[arg(long)]
    wall: bool,
    /// With --wall: runs of each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Smaller batches
    #[arg(skip)]
    is_short: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            only: Vec::new(),
            kernel: "6.1".to_owned(),
            hypervisor: Vec::new(),
            wall: false,
            runs: 5,
            is_short: false,
        }
    }
}

impl Options {
    /// With the clock on the wall.
    pub(crate) fn wall_time() -> Options {
        Options {
            wall: true,
            ..Options::default()
        }
    }
}

pub(super) const CANDIDATES: [&str; 3] = ["none", "debian-xen", "xenolith"];

/// (figure, what it is)
const FIGURES: &[(&str, &str)] = &[
    ("null", "null system call"),
    ("signal", "signal to oneself, caught"),
    ("fault_anonymous", "page fault: anonymous, 4 KiB"),
    ("fault_any_size", "  huge pages allowed, for each 4 KiB"),
    ("fault_file", "  file, 16 at once, for each 4 KiB"),
    ("fault_cow", "  copy on write"),
    ("mprotect", "mprotect of a page"),
    ("mmap", "mmap + populate 64 KiB + munmap"),
    ("fork", "fork + exit + wait"),
    ("fork_8m", "  with 8 MiB in use"),
    ("exec", "spawn /bin/true + wait"),
    ("shell", "sh -c /bin/true"),
    ("switch_2_0k", "context switch: 2 processes"),
    ("switch_2_64k", "  each with 64 KiB in use"),
    ("switch_16_0k", "  16 processes"),
    ("switch_16_64k", "  each with 64 KiB in use"),
    ("pipe", "pipe round trip, two processes"),
    ("unix", "Unix socket round trip"),
    ("tcp", "TCP loopback round trip"),
    ("tcp_stream_64k", "TCP loopback, 64 KiB"),
    ("file_create", "file made and removed"),
    ("arithmetic", "arithmetic, a step"),
    ("bandwidth_read", "memory read, 1 KiB"),
    ("bandwidth_write", "memory written, 1 KiB"),
    ("bandwidth_copy", "memory copied, 1 KiB"),
];

/// Figures in the order in which they came.
pub(crate) type Figures = Vec<(String, f64)>;

/// Measures.
pub(crate) fn run(options: &Options) -> Result<Measured> {
    let candidates: Vec<&str> = if options.hypervisor.is_empty() {
        CANDIDATES.to_vec()
    } else {
        options.hypervisor.iter().map(String::as_str).collect()
    };
    let runs = if options.wall { options.runs } else { 1 };
    let mut samples: Vec<Vec<Figures>> = vec![Vec::new(); candidates.len()];
    for number in 1..=runs {
        for (candidate, samples) in candidates.iter().zip(&mut samples) {
            eprintln!("{candidate}, run {number} of {runs}…");
            let batches = if options.wall { 3 } else { 5 };
            let figures = measure(options, candidate, batches, "")
                .with_context(|| (*candidate).to_owned())?;
            samples.push(figures);
        }
    }
    let budgets = budgets::read()?;
    let mut rows = Vec::new();
    for &(name, about) in FIGURES {
        let of = |run: &Figures| run.iter().find(|(figure, _)| figure == name).map(|f| f.1);
        let series: Vec<Vec<f64>> = samples
            .iter()
            .map(|runs| runs.iter().filter_map(of).collect())
            .collect();
        if series.iter().all(Vec::is_empty) {
            continue;
        }
        let goal = budgets
            .iter()
            .find(|budget| budget.figure == name && !options.wall)
            .and_then(|budget| budget.goal);
        rows.push(Row {
            name: name.to_owned(),
            about: about.to_owned(),
            values: paired(&series),
            goal,
        });
    }
    let table = Table {
        name: if options.wall {
            "programs-wall"
        } else {
            "programs"
        }
        .to_owned(),
        title: format!(
            "Programs in domain 0, Linux {}, {CPU}, 1 CPU{}",
            options.kernel,
            if options.wall {
                format!(": medians of {runs} runs in turn, of an emulated CPU")
            } else {
                String::new()
            }
        ),
        unit: if options.wall {
            "nanoseconds"
        } else {
            "instructions"
        }
        .to_owned(),
        columns: candidates.iter().map(|name| title(name)).collect(),
        rows,
    };
    Ok((vec![table], 0))
}

pub(super) fn title(candidate: &str) -> String {
    match candidate {
        "none" => "bare machine".to_owned(),
        "debian-xen" => "Debian's Xen".to_owned(),
        "xenolith" => "Xenolith".to_owned(),
        path => path.rsplit('/').next().unwrap_or(path).to_owned(),
    }
}

/// The first column's median, and for each other that times the median of its ratios to the first's run beside it: what
/// slows a pair of runs down does not count.
pub(super) fn paired(series: &[Vec<f64>]) -> Vec<Option<f64>> {
    let Some((first, others)) = series.split_first() else {
        return Vec::new();
    };
    let base = median(first.clone());
    let mut values = vec![base];
    for other in others {
        let ratios = first.iter().zip(other).map(|(first, other)| other / first);
        let value = match (base, median(ratios.collect())) {
            (Some(base), Some(ratio)) if ratio.is_finite() => Some(base * ratio),
            _ => median(other.clone()),
        };
        values.push(value);
    }
    values
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// What one machine's programs say.
fn measure(
    options: &Options,
    candidate: &str,
    batches: u32,
    qemu_arguments: &str,
) -> Result<Figures> {
    let directory = RunDirectory::new()?;
    let program = image::build_benches()?
        .into_iter()
        .find(|program| program.ends_with("bench"))
        .context("there is no program bench")?;
    let script = workspace::root().join("bench/programs.sh");
    let mut words: Vec<String> = format!(
        "--cpu {CPU} --net none --memory 1024 --dom0-memory 768 --kernel {} --timeout 3600 \
         --kernel-args",
        options.kernel
    )
    .split_whitespace()
    .map(str::to_owned)
    .collect();
    let only = options.only.join(",");
    words.push(format!(
        "harness.nomodules norandmaps BATCHES={batches} SHORT={} MEASUREMENTS={only}",
        if options.is_short { "--short" } else { "" }
    ));
    if !options.wall {
        words.push("--icount".to_owned());
    }
    if candidate != "xenolith" {
        words.extend(["--hypervisor".to_owned(), candidate.to_owned()]);
    }
    words.extend(["--qemu-args".to_owned(), qemu_arguments.to_owned()]);
    words.extend(["--file".to_owned(), format!("{}:/bench", program.display())]);
    words.extend(["--script".to_owned(), script.display().to_string()]);
    let outcome = dom0::run_script(&dom0_options(&words)?, &directory, false)?;
    let text = String::from_utf8_lossy(&outcome.script_output);
    let status = dom0::exit_status(&outcome);
    if status != 0 {
        bail!("status {status}\n{text}\n{}", outcome.console_tail(30));
    }
    let figures = figures(&text)?;
    ensure!(!figures.is_empty(), "no figures:\n{text}");
    Ok(figures)
}

/// Reads lines `FIGURE name number`.
fn figures(text: &str) -> Result<Figures> {
    text.lines()
        .filter_map(|line| line.strip_prefix("FIGURE "))
        .map(|line| {
            let (name, number) = line
                .trim()
                .split_once(' ')
                .context("a figure has a number")?;
            let value = number
                .parse()
                .with_context(|| format!("{name}: {number}"))?;
            Ok((name.to_owned(), value))
        })
        .collect()
}

/// A measurement on Xenolith, with more arguments of QEMU's.
pub(crate) fn with(
    measurement: &str,
    batches: u32,
    kernel: &str,
    qemu_arguments: &str,
) -> Result<Figures> {
    let options = Options {
        only: vec![measurement.to_owned()],
        kernel: kernel.to_owned(),
        ..Options::default()
    };
    measure(&options, "xenolith", batches, qemu_arguments)
}

/// A short run on Xenolith.
pub(crate) fn quick() -> Result<Figures> {
    let options = Options {
        is_short: true,
        ..Options::default()
    };
    measure(&options, "xenolith", 5, "")
}

/// The figures of a run.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FIGURES.iter().map(|&(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::{figures, paired};

    #[test]
    fn reads_figures() {
        let read = figures("noise\nFIGURE a 1.5\nFIGURE b 2\n").unwrap();
        assert_eq!(read, [("a".to_owned(), 1.5), ("b".to_owned(), 2.0)]);
        assert!(figures("FIGURE a x\n").is_err());
    }

    #[test]
    fn runs_are_paired() {
        // The third pair of runs was slowed down.
        let series = [vec![10.0, 10.0, 30.0], vec![20.0, 21.0, 60.0]];
        assert_eq!(paired(&series), [Some(10.0), Some(20.0)]);
        assert_eq!(paired(&[vec![], vec![5.0]]), [None, Some(5.0)]);
    }
}
