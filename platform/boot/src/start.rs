//! The first Rust code: CPU 0 set up, the CPU checked, the boot loader's information parsed.

use addr::Maddr;
use boot_info::{BootInfo, PhysicalMemory, multiboot1, multiboot2};
use platform_cpu::lock::Once;
use platform_cpu::{HostFrame, backtrace, control, ports, symbols};

use crate::early_print::{self, stop};

/// Start of the direct map, and how much of it the first page tables map.
const DIRECT: u64 = 0xffff_8300_0000_0000;
const MAPPED: u64 = 4 << 30;

/// The machine's memory below 4 GiB, through the first page tables.
pub struct BootMemory(());

impl PhysicalMemory for BootMemory {
    fn read(&self, at: Maddr, len: usize) -> Option<&[u8]> {
        let end = at.raw().checked_add(len as u64)?;
        if end > MAPPED {
            return None;
        }
        // SAFETY: mapped, and nothing writes to the boot loader's structures while they are parsed. Where
        // there is no memory, reads give any value.
        Some(unsafe { core::slice::from_raw_parts((DIRECT + at.raw()) as *const u8, len) })
    }
}

unsafe extern "Rust" {
    /// The image's main function.
    safe fn image_main(info: &'static BootInfo) -> !;
}

static BOOT_INFO: Once<BootInfo> = Once::new();

/// What the boot loader told.
pub(crate) fn boot_info() -> Option<&'static BootInfo> {
    BOOT_INFO.get()
}

/// Entered by the assembler code, on CPU 0's main stack.
#[unsafe(no_mangle)]
extern "sysv64" fn boot_main(magic: u32, info: u32) -> ! {
    early_print::init();
    // The firmware's interrupt controllers send vectors that are exceptions': silence until there are drivers.
    ports::outb(0x21, 0xff);
    ports::outb(0xa1, 0xff);
    // SAFETY: this is the boot CPU's first code, on its block's stack; the first page tables map the image
    // writable.
    unsafe { platform_cpu::start::init_boot_cpu() };
    platform_cpu::hooks::set_fatal(fatal);
    check_cpu();
    parse(magic, info);
    match BOOT_INFO.get() {
        Some(info) => image_main(info),
        None => stop(format_args!("no boot information")),
    }
}

/// What becomes of an exception until the hypervisor has its own way to crash.
fn fatal(frame: &HostFrame) -> ! {
    early_print::crash_line(format_args!(
        "Xenolith: exception {} (error {:#x}) at {:#x}, address {:#x}, stack {:#x}",
        frame.vector,
        frame.error_code,
        frame.rip,
        platform_cpu::read_fault_address(),
        frame.rsp,
    ));
    backtrace::walk(
        frame.rbp,
        backtrace::read_stack,
        |address| match symbols::lookup(address) {
            Some((name, offset)) => {
                early_print::crash_line(format_args!("  [{address:#x}] {name}+{offset:#x}"));
            }
            None => early_print::crash_line(format_args!("  [{address:#x}]")),
        },
    );
    stop(format_args!("crashed while starting"))
}

/// Parses what the boot loader left. Not in line: the information is large, and its copies should be off the stack
/// when the hypervisor starts.
#[inline(never)]
fn parse(magic: u32, info: u32) {
    let at = Maddr::new(u64::from(info));
    let memory = BootMemory(());
    let parsed = match magic {
        multiboot2::LOADER_MAGIC => multiboot2::parse(&memory, at),
        _ => multiboot1::parse(&memory, at),
    };
    match parsed {
        Ok(info) => {
            let _ = BOOT_INFO.set(info);
        }
        Err(error) => stop(format_args!("{error}")),
    }
}

/// Stops if the CPU lacks what every guest relies on. (Long mode was checked before, and SYSCALL can be only
/// now: Intel's CPUs show it in long mode only.)
fn check_cpu() {
    let features = control::cpuid(0x8000_0001, 0).edx;
    if features & (1 << 20) == 0 {
        stop(format_args!(
            "this CPU has no no-execute protection (NX), or the firmware has it turned off"
        ));
    }
    if features & (1 << 11) == 0 {
        stop(format_args!("this CPU has no SYSCALL instruction"));
    }
    early_print::line(format_args!("Xenolith {}", env!("CARGO_PKG_VERSION")));
}
