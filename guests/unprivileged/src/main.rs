//! What a domain without privileges must not be able to do: every operation of the table of permissions that is not its
//! own, on domain 0, on itself and on nobody; and all the ways to name another domain's frames, grants and ports.
//!
//! It needs a domain 0 above it, which starts it with `domain-test run`. As domain 0 itself it has nothing to show.

#![no_std]
#![no_main]
// UNSAFETY: a guest makes hypercalls.
#![allow(unsafe_code)]

mod frames;
mod peers;
mod rights;

use guest_runtime::xen_abi::start_info::{SIF_INITDOMAIN, StartInfo};
use guest_runtime::{guest, println};

guest!(main);

fn main(info: &'static StartInfo) {
    if info.flags & SIF_INITDOMAIN != 0 {
        println!("this guest is domain 0: there is nobody above it");
        return;
    }
    println!("an unprivileged guest with {} pages", info.nr_pages);
    rights::check_all();
    frames::check_all(info);
    peers::check_all();
    println!("done");
}
