//! What crossing between vCPUs costs, in ticks of the time-stamp counter; for `cargo xtask bench processors`, on a
//! machine where a tick is an instruction.
//!
//! As domain 0: flushes of translations on all vCPUs, with one more of them at work each time; with `operations=1` calls of
//! all kinds that one domain can make alone. As another domain, with
//! `peer=N`: events to that domain and back, where each side waits for the other; `leads=1` for the side that measures.
//! Each figure is the least of a few batches.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod events;
mod flushes;
mod grants;
mod operations;

use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::{guest, option, println, shared, traps};

guest!(main);

/// Batches of a measurement, and how often each does what is measured.
const BATCHES: u64 = 5;
const TIMES: u64 = 400;

/// Ticks that one of `TIMES` takes.
fn ticks(mut what: impl FnMut()) -> u64 {
    (0..BATCHES)
        .map(|_| {
            let start = shared::tsc();
            for _ in 0..TIMES {
                what();
            }
            (shared::tsc() - start) / TIMES
        })
        .min()
        .unwrap_or(0)
}

fn figure(name: &str, ticks: u64) {
    println!("FIGURE {name} {ticks}");
}

fn main(info: &'static StartInfo) {
    shared::map(info);
    traps::init();
    shared::set_upcall_mask(true);
    match option(info, "peer=") {
        Some(peer) if option(info, "leads=").is_some() => events::lead(peer as u16),
        Some(peer) => events::follow(peer as u16),
        None if option(info, "operations=").is_some() => operations::measure(),
        None => flushes::measure(),
    }
}
