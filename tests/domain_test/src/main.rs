//! Runs in domain 0: makes domains without xenstore or daemons, and checks that they leave nothing behind.
//!
//! `domain-test run GUEST [MIB]` runs a test guest as a domain of its own, prints its console, and fails unless it
//! powers itself off. `domain-test crash GUEST FIRST LAST` runs it with `crash=N` for each number, and fails unless the
//! hypervisor ends it each time. `domain-test cycles COUNT GUEST [MIB]` makes and destroys domains, some before they are complete,
//! some while they run, some with a page still mapped, and compares the machine's memory before and after.

#![forbid(unsafe_code)]

mod machine;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use domain_builder::cache::Cache;
use domain_builder::{BuildPlan, Built, Kernel, Ports};
use machine::Leftovers;
use xen_abi::sched::{SHUTDOWN_CRASH, SHUTDOWN_POWEROFF};
use xen_control::{Control, DomId, NewDomain};
use xen_sys::SharedPages;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Offsets in `struct xencons_interface`.
const OUT: usize = 1024;
const OUT_BYTES: usize = 2048;
const OUT_CONS: usize = 3080;
const OUT_PROD: usize = 3084;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["run", guest, rest @ ..] => memory(rest, 16).and_then(|mib| run(guest, mib)),
        ["crash", guest, first, last] => first
            .parse()
            .and_then(|first| Ok((first, last.parse()?)))
            .map_err(Into::into)
            .and_then(|(first, last)| crash(guest, first, last)),
        ["cycles", count, guest, rest @ ..] => count
            .parse()
            .map_err(Into::into)
            .and_then(|count| cycles(count, guest, memory(rest, 4)?)),
        _ => Err("usage: domain-test run GUEST [MIB] | crash GUEST FIRST LAST | cycles COUNT GUEST [MIB]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("domain-test: {error}");
            ExitCode::FAILURE
        }
    }
}

fn memory(words: &[&str], default: u64) -> Outcome<u64> {
    Ok(words
        .first()
        .map_or(Ok(default), |word| word.parse::<u64>())?)
}

/// A domain without memory.
fn begin(control: &Control, mib: u64) -> Outcome<DomId> {
    let domain = control.create_domain(&NewDomain {
        handle: *b"domain-test     ",
        max_vcpus: 1,
        max_port: 1023,
        max_grant_frames: 4,
        max_maptrack_frames: 4,
        max_grant_version: 1,
        cpu_pool: 0,
        msr_relaxed: false,
    })?;
    control.set_max_vcpus(domain, 1)?;
    control.set_max_memory(domain, mib * 1024)?;
    Ok(domain)
}

/// Gives it its memory and first context.
fn fill(control: &Control, domain: DomId, plan: &BuildPlan) -> Outcome<Built> {
    let ports = Ports {
        store: control.allocate_port(domain, 0)?,
        console: control.allocate_port(domain, 0)?,
    };
    Ok(plan.apply(control, domain, ports)?)
}

fn plan(guest: &str, arguments: &str, mib: u64) -> Outcome<BuildPlan> {
    let kernel = Kernel::load(Path::new(guest), &Cache::none(), |_| ())?;
    Ok(BuildPlan::new(kernel, None, arguments, mib * 256)?)
}

/// Takes what the guest has written to its console.
fn drain(page: &SharedPages) -> String {
    let (mut read, written) = (page.load_u32(OUT_CONS), page.load_u32(OUT_PROD));
    let mut bytes = Vec::new();
    // A guest that lies about its indices gets no more than one ring read.
    while read != written && bytes.len() < OUT_BYTES {
        bytes.push(page.load_u8(OUT + read as usize % OUT_BYTES));
        read = read.wrapping_add(1);
    }
    page.store_u32(OUT_CONS, read);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn run(guest: &str, mib: u64) -> Outcome {
    match run_to_end(guest, "", mib)?.0 {
        SHUTDOWN_POWEROFF => Ok(()),
        code => Err(format!("the guest ended with reason {code}").into()),
    }
}

/// Runs a guest that is to be ended by the hypervisor, in each of its ways.
fn crash(guest: &str, first: u32, last: u32) -> Outcome {
    for way in first..=last {
        let (code, console) = run_to_end(guest, &format!("crash={way}"), 16)?;
        // A guest that reports a failure ends by the same code.
        if code != SHUTDOWN_CRASH || console.contains("GUEST") {
            return Err(format!("way {way} ended with reason {code}").into());
        }
    }
    Ok(())
}

/// Runs a guest to its end: the reason, and what it wrote to its console.
fn run_to_end(guest: &str, arguments: &str, mib: u64) -> Outcome<(u32, String)> {
    const LIMIT: Duration = Duration::from_secs(300);
    let control = Control::open()?;
    let before = Leftovers::of(&control)?;
    let plan = plan(guest, arguments, mib)?;
    let domain = begin(&control, mib)?;
    let built = fill(&control, domain, &plan)?;
    let console = control.map_frames(domain, &[built.console])?;
    let started = Instant::now();
    control.unpause(domain)?;
    let mut written = String::new();
    let mut show = || {
        let text = drain(&console);
        print!("{text}");
        written.push_str(&text);
    };
    let end = loop {
        show();
        let info = control.domain_info(domain)?.ok_or("the domain is gone")?;
        if let Some(reason) = info.shutdown {
            break Ok(reason);
        }
        if started.elapsed() > LIMIT {
            break Err("the guest does not come to an end");
        }
        sleep(Duration::from_millis(20));
    };
    show();
    drop(console);
    control.destroy(domain)?;
    before.compare(&control)?;
    Ok((end?.code(), written))
}

/// Makes and destroys one domain. How far it comes depends on `number`: a part of them is killed on the way.
fn cycle(control: &Control, plan: &BuildPlan, mib: u64, number: u32) -> Outcome {
    let domain = begin(control, mib)?;
    let pages = mib * 256;
    match number % 10 {
        // Killed with a claim that nothing came of.
        3 => control.claim(domain, pages)?,
        // Killed in the middle of building: with memory and ports, and nothing in them.
        6 => {
            let first: Vec<u64> = (0..pages / 2).collect();
            let extents = xen_control::Extents {
                first: &first,
                order: 0,
            };
            control.populate(domain, extents, |_, _| {})?;
            control.allocate_port(domain, 0)?;
        }
        // Killed while it runs, with its console mapped here: the page outlives it.
        9 => {
            let built = fill(control, domain, plan)?;
            let console = control.map_frames(domain, &[built.console])?;
            control.unpause(domain)?;
            sleep(Duration::from_millis(u64::from(number / 10 % 7)));
            control.destroy(domain)?;
            let info = control
                .domain_info(domain)?
                .ok_or("a domain is gone though a page of it is mapped")?;
            if !info.is_dying || info.pages != 1 {
                return Err(format!("a dead domain has {} pages, not 1", info.pages).into());
            }
            drop(console);
            return gone(control, domain);
        }
        // Complete, and sometimes running.
        other => {
            fill(control, domain, plan)?;
            if other % 2 == 0 {
                control.unpause(domain)?;
            }
        }
    }
    control.destroy(domain)?;
    gone(control, domain)
}

/// Checks that nothing is left of a domain.
fn gone(control: &Control, domain: DomId) -> Outcome {
    match control.domain_info(domain)? {
        None => Ok(()),
        Some(info) => Err(format!("d{domain} is still there: {info:?}").into()),
    }
}

fn cycles(count: u32, guest: &str, mib: u64) -> Outcome {
    let control = Control::open()?;
    let plan = plan(guest, "", mib)?;
    // The first ones make lists and pools grow to their size.
    for number in 0..10 {
        cycle(&control, &plan, mib, number)?;
    }
    let before = Leftovers::of(&control)?;
    let started = Instant::now();
    for number in 0..count {
        cycle(&control, &plan, mib, number).map_err(|error| format!("cycle {number}: {error}"))?;
    }
    let each = started.elapsed() / count.max(1);
    before.compare(&control)?;
    println!(
        "{count} domains of {mib} MiB made and destroyed, {} us each",
        each.as_micros()
    );
    println!("{before}");
    Ok(())
}
