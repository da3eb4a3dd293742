//! `cargo xtask bench loads`: a compiler, archives, a data base, disks and networks, in domain 0 and in a domain that the
//! hypervisor's own `xl` made, on the bare machine, on Debian's Xen and on Xenolith: `bench/load.sh`.
//!
//! Disks are of QEMU, which needs time to answer; the clock then goes on as that of the wall does (`sleep=on`), so that no
//! timers that a real machine would not see either are executed meanwhile.

use anyhow::{Context, Result};
use clap::Args;

use super::marks::{self, Clock, Figures};
use super::programs::{CANDIDATES, paired, title};
use super::report::{Row, Table};
use super::{CPU_WITH_GUESTS, Measured};
use crate::workspace;

/// The options of `cargo xtask bench loads`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only these: none, debian-xen, xenolith
    #[arg(long)]
    hypervisor: Vec<String>,
    /// Nanoseconds of the machine's clock instead of instructions
    #[arg(long)]
    wall: bool,
    /// Runs of each, which take turns; what is shown are medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Less of everything, for a look
    #[arg(long)]
    short: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            hypervisor: Vec::new(),
            wall: false,
            runs: 3,
            short: false,
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

/// (figure, what it is, the bare machine's figure to compare with): programs.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("dom0.compile", "tcc: a file compiled", "dom0.compile"),
    ("domain.compile", "  in a domain", "dom0.compile"),
    (
        "dom0.archive",
        "tar, xz: 1 KiB packed, checked",
        "dom0.archive",
    ),
    ("domain.archive", "  in a domain", "dom0.archive"),
    (
        "dom0.insert_row",
        "SQLite: a row of many in a transaction",
        "dom0.insert_row",
    ),
    ("domain.insert_row", "  in a domain", "dom0.insert_row"),
    (
        "dom0.insert_transaction",
        "SQLite: a row in its own transaction",
        "dom0.insert_transaction",
    ),
    (
        "domain.insert_transaction",
        "  in a domain",
        "dom0.insert_transaction",
    ),
];

/// The same of disks and networks.
const DEVICES: &[(&str, &str, &str)] = &[
    (
        "dom0.disk_read",
        "disk read, 128 KiB at once",
        "dom0.disk_read",
    ),
    ("domain.disk_read", "  in a domain", "dom0.disk_read"),
    (
        "dom0.disk_write",
        "disk written, 128 KiB at once",
        "dom0.disk_write",
    ),
    ("domain.disk_write", "  in a domain", "dom0.disk_write"),
    (
        "dom0.disk_random_read",
        "disk read, 4 KiB here and there",
        "dom0.disk_random_read",
    ),
    (
        "domain.disk_random_read",
        "  in a domain",
        "dom0.disk_random_read",
    ),
    (
        "dom0.disk_random_write",
        "disk written, 4 KiB here and there",
        "dom0.disk_random_write",
    ),
    (
        "domain.disk_random_write",
        "  in a domain",
        "dom0.disk_random_write",
    ),
    (
        "dom0.loopback",
        "TCP in domain 0, to itself",
        "dom0.loopback",
    ),
    (
        "domain.to_dom0",
        "  from a domain to domain 0",
        "dom0.loopback",
    ),
    (
        "domain.from_dom0",
        "  from domain 0 to a domain",
        "dom0.loopback",
    ),
    (
        "domain.to_domain",
        "  from a domain to another",
        "dom0.loopback",
    ),
];

/// How much of each, and in KiB with what two amounts.
const LONG: [&str; 6] = [
    "FILES=32",
    "ROWS=5000",
    "TRANSACTIONS=100",
    "SEQUENTIAL='8192 73728'",
    "RANDOM_ACCESS='512 4608'",
    "STREAM='4096 69632'",
];
const SHORT: [&str; 6] = [
    "FILES=4",
    "ROWS=1000",
    "TRANSACTIONS=20",
    "SEQUENTIAL='1024 9216'",
    "RANDOM_ACCESS='64 576'",
    "STREAM='2048 10240'",
];

/// Measures.
pub(crate) fn run(options: &Options) -> Result<Measured> {
    let candidates: Vec<&str> = if options.hypervisor.is_empty() {
        CANDIDATES.to_vec()
    } else {
        options.hypervisor.iter().map(String::as_str).collect()
    };
    let runs = options.runs;
    let mut samples: Vec<Vec<Figures>> = vec![Vec::new(); candidates.len()];
    for number in 1..=runs {
        for (candidate, samples) in candidates.iter().zip(&mut samples) {
            eprintln!("{candidate}, run {number} of {runs}…");
            let figures = measure(options, candidate).with_context(|| (*candidate).to_owned())?;
            samples.push(figures);
        }
    }
    let rows = |figures: &[(&str, &str, &str)], of: &dyn Fn(&Figures, &str) -> Option<f64>| {
        let row = |&(name, about, bare): &(&str, &str, &str)| {
            let series: Vec<Vec<f64>> = candidates
                .iter()
                .zip(&samples)
                .map(|(candidate, runs)| {
                    let name = if *candidate == "none" { bare } else { name };
                    runs.iter().filter_map(|run| of(run, name)).collect()
                })
                .collect();
            Row {
                name: name.to_owned(),
                about: about.to_owned(),
                values: paired(&series),
                goal: None,
            }
        };
        figures.iter().map(row).collect::<Vec<Row>>()
    };
    let suffix = if options.wall { "-wall" } else { "" };
    let of_what = if options.wall {
        ", of an emulated CPU"
    } else {
        ""
    };
    let note = format!(": medians of {runs} runs in turn{of_what}");
    let unit = if options.wall {
        "nanoseconds"
    } else {
        "instructions"
    };
    let table = |name: &str, title_text: &str, unit: &str, rows| Table {
        name: format!("{name}{suffix}"),
        title: format!("{title_text}, {CPU_WITH_GUESTS}, 1 CPU{note}"),
        unit: unit.to_owned(),
        columns: candidates.iter().map(|name| title(name)).collect(),
        rows,
    };
    let all = |figures: &Figures, name: &str| figures.of(name);
    let of_hypervisor = |figures: &Figures, name: &str| figures.hypervisors(name);
    let devices_unit = format!("{unit} for 1 KiB");
    let mut tables = vec![
        table(
            "loads",
            "Programs in domain 0 and in a domain",
            unit,
            rows(PROGRAMS, &all),
        ),
        table(
            "devices",
            "Disks and networks",
            &devices_unit,
            rows(DEVICES, &all),
        ),
    ];
    if !options.wall {
        for (name, about, unit, figures) in [
            (
                "loads-part",
                "Of programs, the hypervisor's part",
                unit,
                PROGRAMS,
            ),
            (
                "devices-part",
                "Of disks and networks, the hypervisor's part",
                &devices_unit,
                DEVICES,
            ),
        ] {
            let mut part = table(name, about, unit, rows(figures, &of_hypervisor));
            for row in &mut part.rows {
                row.values.retain({
                    let mut columns = candidates.iter();
                    move |_| columns.next() != Some(&"none")
                });
            }
            part.columns.retain(|column| *column != title("none"));
            if !part.columns.is_empty() {
                tables.push(part);
            }
        }
    }
    Ok((tables, 0))
}

/// What one machine's loads say.
fn measure(options: &Options, candidate: &str) -> Result<Figures> {
    let mut words: Vec<String> = format!(
        "--cpu {CPU_WITH_GUESTS} --net none --rootfs debian --memory 1280 --dom0-memory 640 --timeout 7200 \
         --disk @256M:virtio"
    )
    .split_whitespace()
    .map(str::to_owned)
    .collect();
    words.extend([
        "--kernel-args".to_owned(),
        "norandmaps CONSOLE_ARGUMENTS=--log=guest".to_owned(),
    ]);
    let xl = match candidate {
        "none" => "",
        "debian-xen" => "/usr/sbin/xl",
        _ => "/usr/local/bin/xl",
    };
    if candidate != "xenolith" {
        words.extend(["--hypervisor".to_owned(), candidate.to_owned()]);
    }
    if !xl.is_empty() {
        let daemons = if candidate == "debian-xen" {
            "debian"
        } else {
            "ours"
        };
        words.extend(["--guest", "--guest-disks", "--daemons", daemons].map(str::to_owned));
    }
    let script = workspace::root().join("bench/loads.sh");
    words.extend(["--script".to_owned(), script.display().to_string()]);
    let disk = if xl.is_empty() {
        "/dev/vdb"
    } else {
        "/dev/vdd"
    };
    let sizes = if options.short { SHORT } else { LONG };
    let settings = format!("XL={xl}\nDISK={disk}\n{}\n", sizes.join("\n"));
    let clock = if options.wall {
        Clock::Wall
    } else {
        Clock::Executed {
            icount: "shift=0,sleep=on",
        }
    };
    marks::run(words, &settings, clock)
}

/// A short run on Xenolith.
pub(crate) fn quick() -> Result<Vec<(String, f64)>> {
    let options = Options {
        short: true,
        ..Options::default()
    };
    Ok(measure(&options, "xenolith")?.list())
}

/// The figures of a short run.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().chain(DEVICES).map(|&(name, ..)| name)
}
