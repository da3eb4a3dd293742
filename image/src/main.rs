//! The binary: wiring only.

#![no_std]
#![no_main]
// UNSAFETY: one exported symbol, by which the boot code finds the main function.
#![allow(unsafe_code)]

use boot_info::BootInfo;

// SAFETY: the name is declared by `platform_boot` with this type, and by no one else.
#[unsafe(no_mangle)]
fn image_main(info: &'static BootInfo) -> ! {
    hypervisor::start(info)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    platform_cpu::hooks::panic(info);
    platform_boot::stop(format_args!("{info}"))
}
