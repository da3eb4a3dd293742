//! Lines: which IO-APIC pin each is, and how it is to be programmed.

use addr::Maddr;
use boot_info::acpi::{self, Madt, MadtEntry};
use platform_devices::ioapic::{self, IoApic};
use platform_devices::redirection::{Polarity, Trigger};
use xen_abi::errno::Errno;

use super::device_memory;
use super::table::{ISA_IRQS, Line, Owner, TABLE, Table};
use crate::io_access;

/// Takes over the IO-APICs and reads from the MADT how ISA interrupts reach them.
pub(super) fn init(madt: &Madt<'_>) -> Result<(), &'static str> {
    let mut table = TABLE.lock();
    let mut lines = 0u32;
    for entry in madt.entries() {
        let MadtEntry::IoApic {
            id,
            address,
            gsi_base,
        } = entry
        else {
            continue;
        };
        let Some(registers) = device_memory(address, ioapic::WINDOW_BYTES as u64) else {
            return Err("an IO-APIC cannot be mapped");
        };
        let Some(ioapic) = IoApic::new(registers, gsi_base) else {
            log::warn!("IO-APIC {id} at {address:#x} does not answer");
            continue;
        };
        log::info!(
            "IO-APIC {id} version {:#x} at {address:#x}, GSI {gsi_base}-{}",
            ioapic.version(),
            gsi_base + u32::from(ioapic.pins()) - 1,
        );
        lines = lines.max(gsi_base.saturating_add(ioapic.pins().into()));
        let room = table.ioapics.try_push(ioapic).is_ok()
            && table.ioapic_maddrs.try_push(address.raw()).is_ok();
        if !room {
            return Err("there are more IO-APICs than can be driven");
        }
    }
    if lines == 0 {
        return Err("the MADT names no IO-APIC that answers");
    }
    /// More lines than any chipset has: a larger number is a broken table.
    const MAX_LINES: u32 = 4096;
    if lines > MAX_LINES {
        return Err("the MADT names an IO-APIC with impossible interrupt numbers");
    }
    table
        .reserve((lines as usize).max(ISA_IRQS))
        .map_err(|_| "no memory for the interrupt table")?;
    set_isa_lines(&mut table, madt);
    let addresses = table.ioapic_maddrs.clone();
    drop(table);
    for address in addresses {
        // Domain 0 may look, as on Xen.
        io_access::protect_frames(Maddr::new(address).mfn(), 1);
    }
    Ok(())
}

/// ISA interrupts are edges, active high, on the pin of their number, but for what the MADT overrides.
fn set_isa_lines(table: &mut Table, madt: &Madt<'_>) {
    for (irq, line) in table.isa.iter_mut().enumerate() {
        *line = irq as u32;
    }
    for line in table.lines.iter_mut().take(ISA_IRQS) {
        (line.polarity, line.trigger) = (Polarity::High, Trigger::Edge);
    }
    for entry in madt.entries() {
        let MadtEntry::InterruptOverride {
            irq,
            gsi,
            polarity,
            trigger,
        } = entry
        else {
            continue;
        };
        if let Some(place) = table.isa.get_mut(usize::from(irq)) {
            *place = gsi;
        }
        if let Some(line) = table.lines.get_mut(gsi as usize) {
            line.polarity = match polarity {
                acpi::Polarity::Low => Polarity::Low,
                acpi::Polarity::High | acpi::Polarity::BusDefault => Polarity::High,
            };
            line.trigger = match trigger {
                acpi::Trigger::Level => Trigger::Level,
                acpi::Trigger::Edge | acpi::Trigger::BusDefault => Trigger::Edge,
            };
        }
    }
}

/// Routes an ISA interrupt to the console; false if it cannot be had.
pub fn claim_for_console(irq: u32) -> bool {
    let mut table = TABLE.lock();
    let number = table.line_of(irq);
    let Some(Line { vector: 0, .. }) = table.lines.get(number as usize) else {
        return false;
    };
    if !table.has_line(number) {
        return false;
    }
    let Some(vector) = table.allocate_vectors(1, |_| Owner::Console) else {
        return false;
    };
    if let Some(line) = table.lines.get_mut(number as usize) {
        line.vector = vector;
    }
    table.program_line(number, false).is_ok()
}

/// `PHYSDEVOP_setup_gsi`: domain 0's ACPI code has found out how a line is to be programmed.
///
/// # Errors
/// `EINVAL` if there is no such line; `EEXIST` if it is in use already.
pub fn setup_gsi(gsi: i32, level: bool, low: bool) -> Result<(), Errno> {
    let mut table = TABLE.lock();
    let gsi = u32::try_from(gsi).map_err(|_| Errno::EINVAL)?;
    if !table.has_line(gsi) {
        return Err(Errno::EINVAL);
    }
    let in_use = table.owner_is_active(gsi);
    let line = table.lines.get_mut(gsi as usize).ok_or(Errno::EINVAL)?;
    if in_use {
        return Err(Errno::EEXIST);
    }
    line.trigger = if level { Trigger::Level } else { Trigger::Edge };
    line.polarity = if low { Polarity::Low } else { Polarity::High };
    table.program_line(gsi, true)
}

impl Table {
    /// Whether the line delivers to somebody now.
    fn owner_is_active(&self, number: u32) -> bool {
        let Some(line) = self.lines.get(number as usize) else {
            return false;
        };
        match self.owner(line.vector) {
            Owner::Nobody => false,
            Owner::Console => true,
            Owner::Pirq(pirq) => self.pirqs.get(pirq as usize).is_some_and(|pirq| pirq.bound),
        }
    }
}

/// Reads a register of the IO-APIC at a machine address (`PHYSDEVOP_apic_read`).
///
/// # Errors
/// `EINVAL` if there is none.
pub fn read_ioapic(maddr: u64, register: u32) -> Result<u32, Errno> {
    let table = TABLE.lock();
    let at = table
        .ioapic_maddrs
        .iter()
        .position(|&other| other == maddr)
        .ok_or(Errno::EINVAL)?;
    let register = u8::try_from(register).map_err(|_| Errno::EINVAL)?;
    Ok(table.ioapics.get(at).ok_or(Errno::EINVAL)?.read(register))
}
