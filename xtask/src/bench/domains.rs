//! `cargo xtask bench domains`: instructions for making, listing and ending domains, with our `xl` on Xenolith and
//! with Debian's on Debian's Xen, side by side.
//!
//! Both run in the same Debian userland on the same machine with QEMU's icount. What runs besides the command counts as well: the
//! store's and the console's daemon. What all wait for does not.

use anyhow::{Context, Result};
use clap::Args;

use super::marks::{self, Clock, Figures};
use super::report::{Row, Table};
use super::{CPU, Measured};
use crate::workspace;

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
                .map(|(_, figures)| figures.of(figure).map(|count| count / 1e6))
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

fn measure(options: &Options, hypervisor: Option<&str>, command: &str) -> Result<Figures> {
    let daemons = if command.starts_with("/usr/local") {
        options.daemons.as_str()
    } else {
        "debian"
    };
    let mut words: Vec<String> = format!(
        "--rootfs debian --guest --cpu {CPU} --memory 3072 --dom0-memory 1024 --timeout 3600 --daemons {daemons}"
    )
    .split_whitespace()
    .map(str::to_owned)
    .collect();
    if let Some(hypervisor) = hypervisor {
        words.extend(["--hypervisor".to_owned(), hypervisor.to_owned()]);
    }
    let script = workspace::root().join("bench/domains.sh");
    words.extend(["--script".to_owned(), script.display().to_string()]);
    let clock = Clock::Executed {
        icount: "shift=0,sleep=off",
    };
    marks::run(words, &format!("XL={command}\n"), clock)
}
