//! The binary: wiring only.

#![no_std]
#![no_main]
// UNSAFETY: one exported symbol, by which the boot code finds the main function.
#![allow(unsafe_code)]

use boot_info::BootInfo;

#[unsafe(no_mangle)]
fn image_main(info: &'static BootInfo) -> ! {
    let memory = match platform_memory::init(info) {
        Ok(memory) => memory,
        Err(error) => platform_boot::stop(format_args!("{error}")),
    };
    use core::fmt::Write;
    let mut out = platform_boot::EarlyPrint;
    let _ = writeln!(out, "{:?}", info.memory_map);
    let _ = writeln!(out, "free {} end {:?} modules {}", memory.free.count(), memory.end, memory.modules.len());
    platform_boot::stop(format_args!("smoke"));
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    platform_cpu::hooks::panic(info);
    platform_boot::stop(format_args!("{info}"))
}
