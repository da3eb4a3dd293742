//! What a guest finds when it starts: registers, `start_info`, memory, version and features.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod checks;

use guest_runtime::guest;
use guest_runtime::xen_abi::start_info::StartInfo;

guest!(main);

fn main(info: &'static StartInfo) {
    checks::run(info, None);
}
