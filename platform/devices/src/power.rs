//! The ways to stop a machine: ACPI sleep states and reset.

use crate::access::Ports;
use platform_cpu::ports;

const SLEEP_TYPE: u16 = 0x7 << 10;
const SLEEP_ENABLE: u16 = 1 << 13;
/// Wake status: set while the machine wakes (ACPI §4.8.3.1.1).
const WAKE_STATUS: u16 = 1 << 15;

/// The PM1 ports, from the FADT; 0 where there is no second block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SleepPorts {
    /// PM1a control.
    pub pm1a_control: u16,
    /// PM1b control.
    pub pm1b_control: u16,
    /// PM1a event block, whose first word is the status.
    pub pm1a_event: u16,
    /// PM1b event block.
    pub pm1b_event: u16,
}

impl SleepPorts {
    /// Enters a sleep state by writing the two values, which have sleep type and enable bits as domain 0's
    /// ACPI code computed them. Returns if the machine did not go off.
    pub fn enter(&self, pm1a_value: u16, pm1b_value: u16) {
        // Clear the wake status first, or the chipset may wake at once.
        for event in [self.pm1a_event, self.pm1b_event] {
            if event != 0 {
                ports::outw(event, WAKE_STATUS);
            }
        }
        for (port, value) in [
            (self.pm1a_control, pm1a_value),
            (self.pm1b_control, pm1b_value),
        ] {
            if port != 0 {
                // Type first, then type and enable: some chipsets latch the type (ACPI §16.1.5).
                ports::outw(port, value & !SLEEP_ENABLE);
            }
        }
        for (port, value) in [
            (self.pm1a_control, pm1a_value),
            (self.pm1b_control, pm1b_value),
        ] {
            if port != 0 {
                ports::outw(port, value | SLEEP_ENABLE);
            }
        }
    }

    /// Enters the state with given sleep types, as the DSDT's `\_S5` package has them.
    pub fn enter_type(&self, pm1a_type: u8, pm1b_type: u8) {
        let value = |port: u16, sleep_type: u8| {
            let kept = if port != 0 { ports::inw(port) } else { 0 };
            (kept & !(SLEEP_TYPE | SLEEP_ENABLE)) | u16::from(sleep_type & 7) << 10
        };
        self.enter(
            value(self.pm1a_control, pm1a_type),
            value(self.pm1b_control, pm1b_type),
        );
    }
}

/// The FADT's reset register, where it is one that can be written without a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetPort {
    /// I/O port.
    pub port: u16,
    /// Value that resets.
    pub value: u8,
}

/// Resets the machine: the FADT's way, the chipset's, the keyboard controller's. Returns only if none
/// worked; the caller then gives up its interrupt table (`platform_cpu`'s triple fault).
pub fn reset(fadt: Option<ResetPort>, ports: &impl Ports, mut delay_ns: impl FnMut(u64)) {
    if let Some(register) = fadt {
        ports.outb(register.port, register.value);
        delay_ns(10_000_000);
    }
    // Reset control register of PIIX and ICH: hard reset, then the edge that triggers it.
    let control = ports.inb(0xcf9) & !0x06;
    ports.outb(0xcf9, control | 0x02);
    delay_ns(50_000);
    ports.outb(0xcf9, control | 0x06);
    delay_ns(10_000_000);
    for _ in 0..10 {
        for _ in 0..10_000 {
            if ports.inb(0x64) & 0x02 == 0 {
                break;
            }
        }
        ports.outb(0x64, 0xfe);
        delay_ns(10_000_000);
    }
}
