//! Grant tables. With `peer=N`, what that domain passes on of this one's grants; with `passes=1` too, this domain is the one that
//! passes on. With `limited=1`, a domain that may have version 1 only. Else as domain 0, to itself: versions and what a change of them keeps, the frames of status words, entries of
//! version 2, pages that change hands, and what is refused with which answer.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod entries;
mod others;
mod passing;
mod table;
mod versions;

use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::{guest, option, shared, traps};

guest!(main);

fn main(info: &'static StartInfo) {
    shared::map(info);
    traps::init();
    match option(info, "peer=") {
        Some(peer) if option(info, "passes=").is_some() => passing::pass_on(peer as u16),
        Some(peer) => passing::lend(peer as u16),
        None if option(info, "limited=").is_some() => versions::check_limited(),
        None => {
            versions::check_all();
            entries::check_all();
            others::check_all();
        }
    }
}
