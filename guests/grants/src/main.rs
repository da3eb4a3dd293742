//! Grant tables, of this domain to itself: versions and what a change of them keeps, the frames of status words, entries of
//! version 2, and what is refused with which answer.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod entries;
mod table;
mod versions;

use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::{guest, shared, traps};

guest!(main);

fn main(info: &'static StartInfo) {
    shared::map(info);
    traps::init();
    versions::check_all();
    entries::check_all();
}
