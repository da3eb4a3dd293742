//! As `guest_start_info`, with notes that ask for the p2m at an address of its own, and for the initrd's frame instead
//! of its address.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod checks;

use core::arch::global_asm;

use guest_runtime::guest;
use guest_runtime::xen_abi::start_info::StartInfo;

/// Where the p2m is to be: in another L4 slot than all else.
const P2M: u64 = 0x80_0000_0000;

global_asm!(
    ".pushsection .note.Xen, \"a\", @note",
    ".balign 4",
    ".long 4, 8, 15",
    ".asciz \"Xen\"",
    ".quad {p2m}",
    ".long 4, 4, 16",
    ".asciz \"Xen\"",
    ".long 1",
    ".popsection",
    p2m = const P2M,
);

guest!(main);

fn main(info: &'static StartInfo) {
    checks::run(info, Some(P2M));
}
