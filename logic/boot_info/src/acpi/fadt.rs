//! FADT: the fixed hardware (ACPI 6.5 §5.2.9, §4.8.3).
//!
//! For S5 domain 0's kernel hands over the values to write (`enter_acpi_sleep`): they come from AML.

use super::{AcpiError, AcpiProblem, Signature};
use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use addr::Maddr;

const TABLE: Signature = Signature(*b"FACP");

/// What kind of address it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegisterSpace {
    /// Memory.
    Memory,
    /// I/O ports.
    Port,
    /// PCI configuration space of bus 0: device, function and offset are in the address.
    PciConfig,
    /// Another number.
    Other(u8),
}

/// An address of a register, with its space and width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GenericAddress {
    /// Memory, port …
    pub space: RegisterSpace,
    /// Width in bits.
    pub bits: u8,
    /// Access size: 1 byte, 2 word, 3 dword, 4 qword; 0 not told.
    pub access: u8,
    /// Address in the space.
    pub address: u64,
}

impl GenericAddress {
    /// Bytes in a table.
    pub(super) const BYTES: usize = 12;

    /// Decodes the 12 bytes at `offset`; `None` if they are outside the table or the address is 0.
    pub(super) fn at(table: &[u8], offset: usize) -> Option<Self> {
        let bytes = table.get(offset..)?.get(..Self::BYTES)?;
        let address = u64_at(bytes, 4).filter(|&address| address != 0)?;
        let space = match u8_at(bytes, 0)? {
            0 => RegisterSpace::Memory,
            1 => RegisterSpace::Port,
            2 => RegisterSpace::PciConfig,
            other => RegisterSpace::Other(other),
        };
        Some(Self {
            space,
            bits: u8_at(bytes, 1)?,
            access: u8_at(bytes, 3)?,
            address,
        })
    }

    fn port(port: u32, bytes: u8) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|&port| port != 0)?;
        let bits = bytes.saturating_mul(8);
        Some(Self {
            space: RegisterSpace::Port,
            bits,
            access: 0,
            address: port.into(),
        })
    }
}

/// Registers through which the machine sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sleep {
    /// PM1a event block: status, then enable.
    pub pm1a_event: Option<GenericAddress>,
    /// PM1b event block.
    pub pm1b_event: Option<GenericAddress>,
    /// Bytes of an event block.
    pub pm1_event_len: u8,
    /// PM1a control register.
    pub pm1a_control: Option<GenericAddress>,
    /// PM1b control register.
    pub pm1b_control: Option<GenericAddress>,
    /// Sleep control register of hardware-reduced machines.
    pub sleep_control: Option<GenericAddress>,
    /// Sleep status register of hardware-reduced machines.
    pub sleep_status: Option<GenericAddress>,
}

/// The table's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fadt {
    /// Revision of the table.
    pub revision: u8,
    /// Firmware's control structure (FACS), with the waking vector.
    pub facs: Option<Maddr>,
    /// The AML table.
    pub dsdt: Option<Maddr>,
    /// Interrupt of the firmware's events (SCI).
    pub sci_interrupt: u16,
    /// Port that switches to ACPI mode, and the value that does; `None`: always in ACPI mode.
    pub smi_command: Option<(u16, u8)>,
    /// The 3.579545 MHz timer.
    pub pm_timer: Option<GenericAddress>,
    /// Whether it counts 32 bits (24 otherwise).
    pub pm_timer_is_32_bit: bool,
    /// Registers to sleep.
    pub sleep: Sleep,
    /// The register that resets the machine, and the value to write.
    pub reset: Option<(GenericAddress, u8)>,
    /// CMOS offset of the century, if there is one.
    pub century: Option<u8>,
    /// There are ISA devices with fixed addresses.
    pub has_legacy_devices: bool,
    /// There is a keyboard controller.
    pub has_8042: bool,
    /// There is no VGA to be probed.
    pub no_vga: bool,
    /// MSI must not be used.
    pub no_msi: bool,
    /// There is no CMOS clock.
    pub no_cmos_rtc: bool,
    /// There is no fixed hardware (PM1 blocks and such).
    pub hardware_reduced: bool,
    /// More than 8 CPUs need logical destination in clusters.
    pub force_apic_cluster: bool,
    /// Interrupt destinations must be physical.
    pub force_apic_physical: bool,
}

impl Fadt {
    /// Bytes of revision 1, the shortest there is.
    const V1_BYTES: usize = 116;

    /// Decodes the table.
    pub fn parse(table: &[u8]) -> Result<Self, AcpiError> {
        Self::decode(table)
            .filter(|_| table.len() >= Self::V1_BYTES)
            .ok_or(AcpiError {
                table: TABLE,
                problem: AcpiProblem::BadLength(table.len() as u64),
            })
    }

    /// `None` if the table is too short. Fields that newer revisions added are as 0 where they are missing.
    fn decode(table: &[u8]) -> Option<Self> {
        let address = |wide: usize, narrow: usize| {
            u64_at(table, wide)
                .filter(|&at| at != 0)
                .or_else(|| u32_at(table, narrow).filter(|&at| at != 0).map(u64::from))
                .map(Maddr::new)
        };
        // The extended address is preferred to the port, as the specification demands.
        let register = |extended: usize, port: usize, len: u8| {
            GenericAddress::at(table, extended)
                .or_else(|| GenericAddress::port(u32_at(table, port)?, len))
        };
        let flags = u32_at(table, 112)?;
        let revision = u8_at(table, 8)?;
        let boot_flags = if revision >= 2 {
            u16_at(table, 109).unwrap_or(0)
        } else {
            0b11
        };
        let pm1_event_len = u8_at(table, 88)?;
        let pm1_control_len = u8_at(table, 89)?;
        let pm_timer_len = u8_at(table, 91)?;
        let smi_port = u32_at(table, 48).and_then(|port| u16::try_from(port).ok());
        let reset = GenericAddress::at(table, 116)
            .filter(|_| flags & (1 << 10) != 0)
            .zip(u8_at(table, 128));
        Some(Self {
            revision,
            facs: address(132, 36),
            dsdt: address(140, 40),
            sci_interrupt: u16_at(table, 46)?,
            smi_command: smi_port.filter(|&port| port != 0).zip(u8_at(table, 52)),
            pm_timer: register(208, 76, pm_timer_len)
                .filter(|_| pm_timer_len == 4 || GenericAddress::at(table, 208).is_some()),
            pm_timer_is_32_bit: flags & (1 << 8) != 0,
            sleep: Sleep {
                pm1a_event: register(148, 56, pm1_event_len),
                pm1b_event: register(160, 60, pm1_event_len),
                pm1_event_len,
                pm1a_control: register(172, 64, pm1_control_len),
                pm1b_control: register(184, 68, pm1_control_len),
                sleep_control: GenericAddress::at(table, 244),
                sleep_status: GenericAddress::at(table, 256),
            },
            reset,
            century: u8_at(table, 108).filter(|&offset| offset != 0),
            has_legacy_devices: boot_flags & (1 << 0) != 0,
            has_8042: boot_flags & (1 << 1) != 0,
            no_vga: boot_flags & (1 << 2) != 0,
            no_msi: boot_flags & (1 << 3) != 0,
            no_cmos_rtc: boot_flags & (1 << 5) != 0,
            hardware_reduced: flags & (1 << 20) != 0,
            force_apic_cluster: flags & (1 << 18) != 0,
            force_apic_physical: flags & (1 << 19) != 0,
        })
    }
}
