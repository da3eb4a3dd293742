//! Boot: from the boot loader's information to domain 0 running.

use addr::Maddr;
use boot_info::acpi::{Rsdp, Tables};
use boot_info::{BootInfo, Video};
use platform_cpu::GuestFrame;
use platform_memory::FirmwareMemory;

use crate::cpu::Cpu;
use crate::hypercall::version::{EXTRA_VERSION, VERSION};
use crate::{
    audit, config, console, dom0, dump, hypercall, irq, keys, mm, nmi, power, run, smp, time,
    watchdog,
};

/// Address of the VGA adapter's text where the boot loader does not name one.
const VGA_TEXT: Maddr = Maddr::new(0xb_8000);

/// Boots the machine. Called once, on the boot CPU, by the image.
pub fn start(boot: &'static BootInfo) -> ! {
    let mut problems = alloc_free::Problems::new();
    let config = config::init(boot.command_line(), |problem| problems.note(problem));
    console::init(config);
    dump::install();
    banner(boot);
    problems.report();

    let memory = platform_memory::init(boot).unwrap_or_else(|error| stop(format_args!("{error}")));
    mm::init(&memory, &boot.memory_map);
    hypercall::memory::set_machine_map(&boot.memory_map);
    match boot.video {
        Some(Video::Text { address, .. }) => console::init_screen(config, address),
        Some(Video::Pixels(_)) => {}
        None => console::init_screen(config, VGA_TEXT),
    }
    memory_map(boot);
    keys::init();
    audit::init();
    nmi::init();

    let rsdp = boot.rsdp.or_else(|| Rsdp::search(&FirmwareMemory));
    let Some(rsdp) = rsdp else {
        stop(format_args!(
            "ACPI: there is no RSDP: this machine has no ACPI tables"
        ))
    };
    let tables =
        Tables::load(&FirmwareMemory, &rsdp).unwrap_or_else(|error| stop(format_args!("{error}")));
    for table in tables.list() {
        log::info!("ACPI: {} at {:#x}", table.signature, table.at.raw());
    }
    for problem in tables.problems() {
        log::warn!("{problem}");
    }
    let madt = tables
        .madt()
        .unwrap_or_else(|error| stop(format_args!("{error}")));
    let fadt = match tables.fadt() {
        Ok(fadt) => Some(fadt),
        Err(error) => {
            log::warn!("{error}: the machine cannot be powered off");
            None
        }
    };
    let hpet = tables.hpet().unwrap_or_else(|error| {
        log::warn!("{error}");
        None
    });
    power::init(fadt.as_ref());
    irq::init(&madt).unwrap_or_else(|error| stop(format_args!("interrupts: {error}")));
    time::init(config.clock_source, hpet.as_ref(), fadt.as_ref())
        .unwrap_or_else(|error| stop(format_args!("time: {error}")));
    time::init_wall_clock(fadt.as_ref().and_then(|fadt| fadt.century));
    time::init_cpu_timer();
    console::enable_interrupts(config);
    smp::start_others(&madt).unwrap_or_else(|error| stop(format_args!("{error}")));

    if let Err(error) = dom0::construct(boot, memory.modules) {
        stop(format_args!("{error}"));
    }
    time::refine();
    // Not before: unpacking a kernel may take longer than the watchdog waits.
    watchdog::init();
    let (Some(frame), Some(cpu)) = (GuestFrame::take(), Cpu::new(0)) else {
        stop(format_args!("the boot CPU's guest frame is taken"))
    };
    log::info!("*** Serial input to DOM0 (type 'CTRL-a' three times to switch input)");
    run::run(cpu, frame)
}

/// Says who is there.
fn banner(boot: &BootInfo) {
    log::info!(
        "Xenolith {} (Xen interface {}.{}{EXTRA_VERSION})",
        env!("CARGO_PKG_VERSION"),
        VERSION.0,
        VERSION.1
    );
    log::info!(
        "Bootloader: {}",
        core::str::from_utf8(boot.loader_name()).unwrap_or("unknown")
    );
    log::info!("Command line: {}", config::command_line());
}

/// Says where memory is.
fn memory_map(boot: &BootInfo) {
    log::info!("Xen-e820 RAM map:");
    for region in boot.memory_map.regions() {
        log::info!(
            " [{:016x}, {:016x}] {}",
            region.start.raw(),
            region.end.raw().saturating_sub(1),
            region.kind
        );
    }
    let kib = boot.memory_map.total_ram_frames() * (addr::PAGE_SIZE / 1024);
    log::info!("System RAM: {}MB ({kib}kB)", kib / 1024);
}

/// Stops the machine with one line that says why: boot cannot go on.
fn stop(why: core::fmt::Arguments<'_>) -> ! {
    log::error!("Panic on CPU 0: {why}");
    power::reboot_unless_told_not_to()
}

/// Problems with the command line, kept until they can be printed: at first there is neither console nor heap.
mod alloc_free {
    use arrayvec::ArrayString;
    use boot_info::config::ConfigProblem;
    use core::fmt::Write;

    /// Bytes of all problems' lines.
    const ROOM: usize = 1024;

    pub(super) struct Problems(ArrayString<ROOM>);

    impl Problems {
        pub(super) fn new() -> Self {
            Self(ArrayString::new())
        }

        pub(super) fn note(&mut self, problem: ConfigProblem<'_>) {
            // A line without room is left out: there are plenty before it.
            let _ = writeln!(self.0, "{problem}");
        }

        pub(super) fn report(&self) {
            for line in self.0.lines() {
                log::warn!("Command line: {line}");
            }
        }
    }
}
