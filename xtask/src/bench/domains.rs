//! `cargo xtask bench domains`: instructions for making, listing and ending domains, with our `xl` on Xenolith and
//! with Debian's on Debian's Xen, side by side.
//!
//! Both run in the same Debian userland on the same machine with QEMU's icount, where a nanosecond of the guest's clock
//! is an instruction. What runs besides the command counts as well: the store's and the console's daemon.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::Measured;
use super::report::{Row, Table};
use crate::command::run_quietly;
use crate::dom0;
use crate::test::dom0_options;
use crate::workspace::{self, RunDirectory};

impl Default for Options {
    fn default() -> Options {
        Options {
            only: None,
            daemons: "ours".to_owned(),
        }
    }
}

/// The options of `cargo xtask bench domains`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only this one: xenolith, debian-xen, or mixed (our xl on Debian's Xen)
    #[arg(long)]
    only: Option<String>,
    /// Whose daemons serve our xl: debian or ours
    #[arg(long, default_value = "ours")]
    daemons: String,
}

/// (name, hypervisor, the command)
const CANDIDATES: &[(&str, Option<&str>, &str)] = &[
    ("debian-xen", Some("debian-xen"), "/usr/sbin/xl"),
    ("mixed", Some("debian-xen"), "/usr/local/bin/xl"),
    ("xenolith", None, "/usr/local/bin/xl"),
];

/// (figure, what it is, the most it may be in millions)
const FIGURES: &[(&str, &str, Option<u64>)] = &[
    ("list_1", "list, one domain", None),
    (
        "create_16_first",
        "create -p of 16 MiB, the first",
        Some(12),
    ),
    ("create_16_second", "  the second", Some(12)),
    ("create_16_tenth", "  the tenth", Some(12)),
    ("destroy_16", "destroy of it", Some(6)),
    (
        "create_debian_first",
        "create -p of Debian, 128 MiB, the first",
        Some(4180),
    ),
    (
        "create_debian_second",
        "  its kernel was seen before",
        Some(150),
    ),
    ("destroy_debian", "destroy of it", None),
];

/// Runs the bench.
pub(crate) fn run(options: &Options) -> Result<Measured> {
    let mut results = Vec::new();
    for &(name, hypervisor, command) in CANDIDATES {
        if options.only.as_deref().is_none_or(|only| only == name) {
            eprintln!("{name}…");
            let figures = measure(options, hypervisor, command).with_context(|| name.to_owned())?;
            results.push((name, figures));
        }
    }
    let rows = FIGURES
        .iter()
        .map(|&(figure, about, most)| Row {
            name: figure.to_owned(),
            about: about.to_owned(),
            values: results
                .iter()
                .map(|(_, figures)| figures.get(figure).map(|count| *count as f64 / 1e6))
                .collect(),
            goal: most.map(|most| most as f64),
        })
        .filter(|row| row.values.iter().any(Option::is_some))
        .collect();
    let table = Table {
        name: "domains".to_owned(),
        title: "Making, listing and ending domains".to_owned(),
        unit: "millions of instructions".to_owned(),
        columns: results.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows,
    };
    Ok((vec![table], 0))
}

fn measure(
    options: &Options,
    hypervisor: Option<&str>,
    command: &str,
) -> Result<HashMap<String, u64>> {
    let directory = RunDirectory::new()?;
    let timer = directory.join("operation_timer");
    run_quietly(
        Command::new("cc")
            .args(["-O2", "-static", "-o"])
            .arg(&timer)
            .arg(workspace::root().join("bench/operation_timer.c")),
    )?;
    let settings = directory.join("bench-settings");
    fs::write(&settings, format!("XL={command}\n"))?;
    let daemons = if command.starts_with("/usr/local") {
        options.daemons.as_str()
    } else {
        "debian"
    };
    let mut words: Vec<String> = [
        "--rootfs",
        "debian",
        "--guest",
        "--icount",
        "--cpu",
        "EPYC,-svm,-monitor",
        "--memory",
        "3072",
        "--dom0-memory",
        "1024",
        "--timeout",
        "3600",
        "--daemons",
        daemons,
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    if let Some(hypervisor) = hypervisor {
        words.extend(["--hypervisor".to_owned(), hypervisor.to_owned()]);
    }
    for (source, target) in [
        (timer.display().to_string(), "/root/operation_timer"),
        (settings.display().to_string(), "/root/bench-settings"),
    ] {
        words.extend(["--file".to_owned(), format!("{source}:{target}")]);
    }
    let script = workspace::root().join("bench/domains.sh");
    words.extend(["--script".to_owned(), script.display().to_string()]);
    let outcome = dom0::run_script(&dom0_options(&words)?, &directory, false)?;
    let text = String::from_utf8_lossy(&outcome.script_output);
    if dom0::exit_status(&outcome) != 0 {
        bail!("{text}\n{}", outcome.console_tail(30));
    }
    let mut figures = HashMap::new();
    for line in text.lines() {
        let mut parts = line.strip_prefix("FIGURE ").unwrap_or_default().split(' ');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(count), Some("0")) => {
                figures.insert(name.to_owned(), count.parse()?);
            }
            _ => eprintln!("  {line}"),
        }
    }
    Ok(figures)
}
