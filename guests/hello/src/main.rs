//! Says hello: start info, version, hypercalls by `syscall` and through the hypercall page. With `crash=1` on its command
//! line it crashes instead: there are no handlers for traps. With `wait=1` it stays there and does nothing.

#![no_std]
#![no_main]
// UNSAFETY: a guest makes hypercalls.
#![allow(unsafe_code)]

use guest_runtime::xen_abi::{hypercall as number, start_info::StartInfo, version};
use guest_runtime::{check, check_eq, event_channels, guest, hypercalls, println};

guest!(main);

fn main(info: &'static StartInfo) {
    println!(
        "hello from a paravirtual guest with {} pages",
        info.nr_pages
    );
    check_eq!(&info.magic[..10], b"xen-3.0-x8");
    if guest_runtime::option(info, "crash=") == Some(1) {
        // SAFETY: nothing of this program is to go on.
        unsafe { core::arch::asm!("ud2", options(noreturn)) }
    }
    // SAFETY: XENVER_version takes no pointer.
    let inline = unsafe {
        hypercalls::hypercall(
            number::XEN_VERSION,
            [u64::from(version::VERSION), 0, 0, 0, 0],
        )
    };
    // SAFETY: as above.
    let by_page = unsafe {
        hypercalls::hypercall_by_page(
            number::XEN_VERSION,
            [u64::from(version::VERSION), 0, 0, 0, 0],
        )
    };
    println!("version {}.{}", inline >> 16, inline & 0xffff);
    check_eq!(inline, by_page);
    check!(inline >= (4 << 16 | 17));
    while guest_runtime::option(info, "wait=") == Some(1) {
        check_eq!(event_channels::poll(&mut [], 0), 0);
    }
}
