//! `cargo xtask bench many`: what making, listing and ending a domain, an idle domain, and its memory cost the more domains
//! there are, with each hypervisor's own `xl` and daemons: `bench/many.sh`.

use anyhow::{Context, Result};
use clap::Args;

use super::marks::{self, Clock, Figures};
use super::programs::title;
use super::report::{Row, Table};
use super::{CPU_WITH_GUESTS, Measured};
use crate::workspace;

/// The options of `cargo xtask bench many`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Numbers of domains, each more than the one before
    #[arg(long, value_delimiter = ',', default_values_t = COUNTS)]
    counts: Vec<u32>,
    /// The largest of them for Debian's xl, which keeps a process for each domain
    #[arg(long, default_value_t = DEBIAN_MOST)]
    debian_most: u32,
    /// Only this one: debian-xen or xenolith
    #[arg(long)]
    hypervisor: Option<String>,
}

const COUNTS: [u32; 4] = [1, 10, 100, 400];
/// 400 of them would take hours: each takes longer by what the ones before cost it.
const DEBIAN_MOST: u32 = 100;

/// An idle domain's memory in MiB.
const SIZE: f64 = 4.0;
const DOM0_MEMORY: f64 = 1024.0;

impl Default for Options {
    fn default() -> Options {
        Options {
            counts: COUNTS.to_vec(),
            debian_most: DEBIAN_MOST,
            hypervisor: None,
        }
    }
}

const CANDIDATES: &[&str] = &["debian-xen", "xenolith"];

/// Measures.
pub(crate) fn run(options: &Options) -> Result<Measured> {
    let mut results = Vec::new();
    for candidate in CANDIDATES {
        if options
            .hypervisor
            .as_deref()
            .is_none_or(|only| only == *candidate)
        {
            eprintln!("{candidate}…");
            let figures = measure(options, candidate).with_context(|| (*candidate).to_owned())?;
            results.push((*candidate, figures));
        }
    }
    let row = |name: String, about: String, of: &dyn Fn(&Figures) -> Option<f64>| Row {
        name,
        about,
        values: results.iter().map(|(_, figures)| of(figures)).collect(),
        goal: None,
    };
    let mut costs = Vec::new();
    for (figure, about) in [
        ("create", "create -p of 16 MiB"),
        ("list", "list"),
        ("destroy", "destroy of 16 MiB"),
    ] {
        for count in &options.counts {
            let name = format!("{figure}_{count}");
            let of = |figures: &Figures| Some(figures.of(&name)? / 1e6);
            costs.push(row(name.clone(), format!("{about}, beside {count}"), &of));
        }
    }
    let mut idle = Vec::new();
    for (name, about) in [
        ("idle_0".to_owned(), "domain 0 alone".to_owned()),
        (
            "idle_linux".to_owned(),
            "with a domain of Debian's kernel".to_owned(),
        ),
    ]
    .into_iter()
    .chain(options.counts.iter().map(|count| {
        (
            format!("idle_{count}"),
            format!("with {count} that wait for ever"),
        )
    })) {
        let of = |figures: &Figures| figures.of(&name);
        idle.push(row(name.clone(), about, &of));
    }
    let mut memory = vec![row(
        "hypervisor".to_owned(),
        "the hypervisor's own, domain 0's tables in it".to_owned(),
        &|figures| {
            Some((figures.value("total")? - figures.value("free_0")? - DOM0_MEMORY) * 1024.0)
        },
    )];
    for count in &options.counts {
        let of = |figures: &Figures| {
            let taken = figures.value("free_0")? - figures.value(&format!("free_{count}"))?;
            Some((taken / f64::from(*count) - SIZE) * 1024.0)
        };
        memory.push(row(
            format!("domain_{count}"),
            format!("a domain of {count}, besides its own {SIZE:.0} MiB"),
            &of,
        ));
    }
    let table = |name: &str, text: &str, unit: &str, rows| Table {
        name: name.to_owned(),
        title: format!("{text}, {CPU_WITH_GUESTS}, 1 CPU"),
        unit: unit.to_owned(),
        columns: results.iter().map(|(name, _)| title(name)).collect(),
        rows,
    };
    let tables = vec![
        table(
            "many",
            "Many domains: making, listing, ending one",
            "millions of instructions",
            costs,
        ),
        table(
            "many-idle",
            "Many domains: a second in which all wait",
            "instructions",
            idle,
        ),
        table("many-memory", "Many domains: memory", "KiB", memory),
    ];
    Ok((tables, 0))
}

fn measure(options: &Options, candidate: &str) -> Result<Figures> {
    let is_debian = candidate == "debian-xen";
    let mut words: Vec<String> = format!(
        "--cpu {CPU_WITH_GUESTS} --net none --rootfs debian --memory 3072 --dom0-memory {DOM0_MEMORY} --timeout 14400 \
         --guest --kernel-args CONSOLE_ARGUMENTS=--log=guest --daemons {}",
        if is_debian { "debian" } else { "ours" }
    )
    .split_whitespace()
    .map(str::to_owned)
    .collect();
    if is_debian {
        words.extend(["--hypervisor".to_owned(), candidate.to_owned()]);
    }
    let script = workspace::root().join("bench/many.sh");
    words.extend(["--script".to_owned(), script.display().to_string()]);
    let most = if is_debian {
        options.debian_most
    } else {
        u32::MAX
    };
    let counts: Vec<String> = options
        .counts
        .iter()
        .filter(|count| **count <= most)
        .map(u32::to_string)
        .collect();
    let xl = if is_debian {
        "/usr/sbin/xl"
    } else {
        "/usr/local/bin/xl"
    };
    let settings = format!("XL={xl}\nCOUNTS='{}'\n", counts.join(" "));
    let clock = Clock::Executed {
        icount: "shift=0,sleep=off",
    };
    marks::run(words, &settings, clock)
}
