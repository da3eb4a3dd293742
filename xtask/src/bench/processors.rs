//! `cargo xtask bench processors`: instructions for a switch between two domains' vCPUs, and for flushing translations on
//! several CPUs, on Debian's Xen and on Xenolith, side by side; `guests/costs` measures.
//!
//! With QEMU's icount all emulated CPUs take turns on one host thread, and a tick of the time-stamp counter is an
//! instruction of any of them; a CPU that pauses hands its turn on. So a flush's figure is what all CPUs execute for it
//! together: who asks, who is interrupted, and a few instructions of each that only looks on.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::report::{Row, Table};
use super::{CPU, Measured};
use crate::dom0;
use crate::image;
use crate::machine::{self, MachineOptions};
use crate::session::{self, Plan};
use crate::test::{boot_guest, dom0_options, small_machine};
use crate::workspace::{self, RunDirectory};

/// The options of `cargo xtask bench processors`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// CPUs on which translations are flushed
    #[arg(long, default_value_t = 4)]
    cpus: u32,
    /// Only this one: debian-xen or xenolith
    #[arg(long)]
    only: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cpus: 4,
            only: None,
        }
    }
}

/// (name, hypervisor, the command that makes domains)
const CANDIDATES: &[(&str, Option<&str>, &str)] = &[
    ("debian-xen", Some("debian-xen"), "/usr/sbin/xl"),
    ("xenolith", None, "/usr/local/bin/xl"),
];

type Figures = HashMap<String, u64>;

/// Runs the bench.
pub(crate) fn run(options: &Options) -> Result<Measured> {
    let mut results = Vec::new();
    for &(name, hypervisor, command) in CANDIDATES {
        if options.only.as_deref().is_none_or(|only| only == name) {
            eprintln!("{name}…");
            let mut figures = operations(hypervisor).with_context(|| name.to_owned())?;
            figures.extend(flushes(options, hypervisor).with_context(|| name.to_owned())?);
            figures.extend(switches(hypervisor, command).with_context(|| name.to_owned())?);
            results.push((name, figures));
        }
    }
    let rows = rows(options.cpus)
        .into_iter()
        .map(|(figure, about)| Row {
            values: results
                .iter()
                .map(|(_, figures)| figures.get(&figure).map(|count| *count as f64))
                .collect(),
            name: figure,
            about,
            goal: None,
        })
        .collect();
    let table = Table {
        name: "processors".to_owned(),
        title: format!("Switches between domains, and flushes, {CPU}"),
        unit: "instructions, of all CPUs together".to_owned(),
        columns: results.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows,
    };
    Ok((vec![table], 0))
}

/// (figure, what it is)
fn rows(cpus: u32) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = [
        ("hypercall", "null hypercall"),
        ("multicall_16", "multicall of 16 of them"),
        ("set_timer", "timer set"),
        ("event_send", "event to oneself: send"),
        ("event_own", "  send, poll"),
        ("update_va_mapping", "update_va_mapping, this CPU flushed"),
        ("mmu_update", "mmu_update of an entry in use"),
        ("mmu_update_16", "  of 16 entries"),
        ("grant_map_unmap", "grant of a page: map, unmap"),
        ("grant_copy", "  copy of 4 KiB"),
        ("peer_map_unmap", "  of another domain's: map, unmap"),
        ("peer_copy", "  of another domain's: copy of 4 KiB"),
        (
            "pin_unpin",
            "page tables pinned and unpinned: 8, 320 entries",
        ),
        ("event", "event to oneself between domains' events"),
        ("exchange", "event to another domain and back, on one CPU"),
        ("switch", "  of that, each of the two switches of domains"),
    ]
    .map(|(name, about)| (name.to_owned(), about.to_owned()))
    .to_vec();
    for (name, about) in [
        ("local", "INVLPG_LOCAL: this CPU alone"),
        ("one", "INVLPG_ALL: a page on all CPUs"),
        ("all", "TLB_FLUSH_ALL: everything on all CPUs"),
        (
            "mapping",
            "update_va_mapping, flushed everywhere, page used",
        ),
    ] {
        for running in 1..=cpus {
            rows.push((format!("{name}_{running}"), format!("{about}, {running}")));
        }
    }
    rows
}

/// Calls by a guest alone.
fn operations(hypervisor: Option<&str>) -> Result<Figures> {
    alone(1, "operations=1", hypervisor)
}

/// Flushes by a guest with a vCPU on each CPU.
fn flushes(options: &Options, hypervisor: Option<&str>) -> Result<Figures> {
    alone(options.cpus, "", hypervisor)
}

/// What the guest measures as domain 0.
fn alone(cpus: u32, arguments: &str, hypervisor: Option<&str>) -> Result<Figures> {
    let directory = RunDirectory::new()?;
    let guest = image::build_guests()?
        .into_iter()
        .find(|guest| guest.ends_with("guest_costs"))
        .context("there is no test guest guest_costs")?;
    let vcpus = format!("dom0_max_vcpus={cpus}");
    let boot = boot_guest(hypervisor, &guest, arguments, &vcpus, &directory)?;
    let machine = MachineOptions {
        smp: cpus,
        icount: true,
        ..small_machine(CPU)
    };
    let plan = Plan {
        timeout: Some(Duration::from_secs(900)),
        until: Some("GUEST ".to_owned()),
        linger: Duration::from_millis(200),
        ..Plan::default()
    };
    let qemu = machine::qemu(&machine, &boot, &directory)?;
    let outcome = session::unattended(qemu, &directory, &plan)?;
    if !outcome.console.contains("GUEST PASS") {
        bail!("{}", outcome.console_tail(30));
    }
    Ok(figures(&outcome.console))
}

/// Events between two domains that share a CPU.
fn switches(hypervisor: Option<&str>, command: &str) -> Result<Figures> {
    let directory = RunDirectory::new()?;
    let settings = directory.join("bench-settings");
    fs::write(&settings, format!("XL={command}\n"))?;
    let script = workspace::root().join("bench/switch.sh");
    let mut words: Vec<String> = format!(
        "--rootfs debian --guests --icount --cpu {CPU} --memory 1024 --dom0-memory 640 --timeout 1800 --net none \
         --daemons debian --kernel-args CONSOLE_ARGUMENTS=--log=guest"
    )
    .split_whitespace()
    .map(str::to_owned)
    .collect();
    if let Some(hypervisor) = hypervisor {
        words.extend(["--hypervisor".to_owned(), hypervisor.to_owned()]);
    }
    let file = format!("{}:/root/bench-settings", settings.display());
    words.extend(["--file".to_owned(), file]);
    words.extend(["--script".to_owned(), script.display().to_string()]);
    let outcome = dom0::run_script(&dom0_options(&words)?, &directory, false)?;
    let text = String::from_utf8_lossy(&outcome.script_output);
    let figures = figures(&text);
    if dom0::exit_status(&outcome) != 0 || figures.is_empty() {
        bail!("{text}\n{}", outcome.console_tail(30));
    }
    Ok(figures)
}

/// Reads lines that contain `FIGURE name number`.
fn figures(text: &str) -> Figures {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_once("FIGURE ")?.1.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::figures;

    #[test]
    fn figures_are_found_behind_a_prefix() {
        let read = figures("(XEN) d0v0: FIGURE one_2 345\nFIGURE two 6\nFIGURE three\nnoise\n");
        assert_eq!(read.len(), 2);
        assert_eq!((read["one_2"], read["two"]), (345, 6));
    }
}
