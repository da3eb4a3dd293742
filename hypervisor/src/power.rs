//! Stopping the machine: power off, reset, sleep states.
//!
//! Domain 0 interprets the firmware's ACPI code and hands over the values to write. For a machine that is to
//! go off without it, the values of `\_S5` are found in the DSDT once at boot.

use addr::Maddr;
use boot_info::PhysicalMemory;
use boot_info::acpi::{Fadt, GenericAddress, HEADER_BYTES, RegisterSpace};
use platform_cpu::lock::Once;
use platform_devices::CpuPorts;
use platform_devices::power::{self, ResetPort, SleepPorts};
use platform_memory::FirmwareMemory;

use crate::console::{self, ALWAYS};
use crate::{config, irq, time};

/// What the FADT and the DSDT say.
#[derive(Clone, Copy, Debug, Default)]
struct Ways {
    sleep: SleepPorts,
    reset: Option<ResetPort>,
    /// Sleep types of the state "soft off".
    off: Option<(u8, u8)>,
}

static WAYS: Once<Ways> = Once::new();

fn port_of(address: Option<GenericAddress>) -> u16 {
    address
        .filter(|address| address.space == RegisterSpace::Port)
        .and_then(|address| u16::try_from(address.address).ok())
        .unwrap_or(0)
}

/// Sleep types of soft off, from the DSDT at `at`.
fn soft_off(at: Maddr) -> Option<(u8, u8)> {
    /// More bytes than any firmware has: a larger size is a broken table.
    const MAX_BYTES: usize = 1 << 20;
    let header = FirmwareMemory.read(at, HEADER_BYTES)?;
    let size = header.get(4..8)?.try_into().map(u32::from_le_bytes).ok()?;
    let size = usize::try_from(size).ok()?.min(MAX_BYTES);
    power::find_soft_off(FirmwareMemory.read(at, size)?)
}

/// Remembers how this machine stops.
pub fn init(fadt: Option<&Fadt>) {
    let ways = fadt.map_or_else(Ways::default, |fadt| Ways {
        sleep: SleepPorts {
            pm1a_control: port_of(fadt.sleep.pm1a_control),
            pm1b_control: port_of(fadt.sleep.pm1b_control),
            pm1a_event: port_of(fadt.sleep.pm1a_event),
            pm1b_event: port_of(fadt.sleep.pm1b_event),
        },
        reset: fadt.reset.and_then(|(address, value)| {
            let port = port_of(Some(address));
            (port != 0).then_some(ResetPort { port, value })
        }),
        off: fadt.dsdt.and_then(soft_off),
    });
    let _ = WAYS.set(ways);
}

/// Whether a sleep state can be entered at all.
pub fn can_sleep() -> bool {
    WAYS.get().is_some_and(|ways| ways.sleep.pm1a_control != 0)
}

/// Enters soft off with the values that domain 0 computed. Returns if the machine stays on.
pub fn off(pm1a_value: u16, pm1b_value: u16) {
    console::flush();
    irq::stop_other_cpus();
    if let Some(ways) = WAYS.get() {
        ways.sleep.enter(pm1a_value, pm1b_value);
        // It takes a moment.
        time::delay_ns(1_000_000_000);
    }
}

/// Stops the machine for good: off if the firmware says how, else halted.
pub fn halt() -> ! {
    console::flush();
    irq::stop_other_cpus();
    if let Some(ways) = WAYS.get()
        && let Some((pm1a_type, pm1b_type)) = ways.off
        && ways.sleep.pm1a_control != 0
    {
        ways.sleep.enter_type(pm1a_type, pm1b_type);
        time::delay_ns(1_000_000_000);
    }
    platform_cpu::halt_forever()
}

/// Resets the machine.
pub fn reboot() -> ! {
    log::info!(target: ALWAYS, "Resetting the machine.");
    console::flush();
    irq::stop_other_cpus();
    let reset = WAYS.get().and_then(|ways| ways.reset);
    power::reset(reset, &CpuPorts, time::delay_ns);
    platform_cpu::triple_fault()
}

/// After a crash: resets the machine, or with `noreboot` stops with everything on the screen.
pub fn reboot_unless_told_not_to() -> ! {
    if config::get().noreboot {
        log::info!(target: ALWAYS, "Reboot disabled by 'noreboot': the machine is stopped.");
        console::flush();
        irq::stop_other_cpus();
        platform_cpu::halt_forever()
    }
    log::info!(target: ALWAYS, "Reboot in five seconds...");
    console::flush();
    time::delay_ns(5_000_000_000);
    reboot()
}
