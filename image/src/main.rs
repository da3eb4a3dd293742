//! The binary: wiring only.

#![no_std]
#![no_main]
// UNSAFETY: one exported symbol, by which the boot code finds the main function.
#![allow(unsafe_code)]

use boot_info::BootInfo;

/// Called by the boot code, once.
#[unsafe(no_mangle)]
fn image_main(info: &'static BootInfo) -> ! {
    hypervisor::start(info)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    platform_cpu::hooks::panic(info);
    platform_boot::stop(format_args!("{info}"))
}
