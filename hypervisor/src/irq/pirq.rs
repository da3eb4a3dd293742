//! PIRQs: interrupts as the domain that owns the devices numbers them (public/physdev.h).

use platform_devices::msi::{MSIX_ENTRY_BYTES, MsiCapability, MsixCapability};
use platform_devices::pci::{self, ConfigSpace, PciAddress};
use platform_devices::redirection::Trigger;
use xen_abi::errno::Errno;

use super::table::{MESSAGE_PIRQS, MsixTable, Owner, Pirq, Source, TABLE, Table};
use super::{PCI_CONFIG, device_memory, message_to_home};
use crate::domain::Domain;
use addr::Maddr;

/// Number of PIRQs of a domain. Only the one that owns the devices has any.
pub fn count(domain: &Domain) -> u32 {
    if domain.is_hardware() {
        TABLE.lock().pirqs.len() as u32
    } else {
        0
    }
}

impl Table {
    fn mapped(&mut self, number: u32) -> Result<&mut Pirq, Errno> {
        self.pirqs
            .get_mut(number as usize)
            .filter(|pirq| !matches!(pirq.source, Source::Unmapped | Source::Kept))
            .ok_or(Errno::EINVAL)
    }

    fn is_free(&self, number: u32) -> bool {
        matches!(
            self.pirqs.get(number as usize),
            Some(Pirq {
                source: Source::Unmapped | Source::Kept,
                ..
            })
        )
    }

    /// `count` free numbers in a row for messages.
    fn find_free(&self, count: u32) -> Option<u32> {
        let first = self.lines.len() as u32;
        let last = first + MESSAGE_PIRQS as u32 - count;
        (first..=last).find(|&start| {
            (start..start + count).all(|number| {
                matches!(
                    self.pirqs.get(number as usize),
                    Some(Pirq {
                        source: Source::Unmapped,
                        ..
                    })
                )
            })
        })
    }

    /// The number that the caller asked for, if it is free, or free ones in a row.
    fn choose(&self, wanted: i32, count: u32) -> Result<u32, Errno> {
        match u32::try_from(wanted) {
            Ok(wanted) => {
                let end = wanted.checked_add(count).ok_or(Errno::EINVAL)?;
                if end as usize > self.pirqs.len() {
                    return Err(Errno::EINVAL);
                }
                if (wanted..end).all(|number| self.is_free(number)) {
                    Ok(wanted)
                } else {
                    Err(Errno::EEXIST)
                }
            }
            Err(_) => self.find_free(count).ok_or(Errno::ENOSPC),
        }
    }

    fn set(&mut self, number: u32, source: Source, vector: u8) {
        if let Some(pirq) = self.pirqs.get_mut(number as usize) {
            *pirq = Pirq {
                source,
                vector,
                bound: false,
                shareable: false,
                waits_for_end: false,
                count: 0,
            };
        }
    }

    /// Index of the mapping of a function's MSI-X table, made if it is not there or the table was moved.
    fn map_msix(&mut self, at: PciAddress, maddr: u64, entries: u16) -> Result<usize, Errno> {
        let found = self.msix_tables.iter().position(|table| table.at == at);
        if let Some(index) = found
            && self
                .msix_tables
                .get(index)
                .is_some_and(|table| table.maddr == maddr)
        {
            return Ok(index);
        }
        let offset = maddr % addr::PAGE_SIZE;
        let bytes = offset + u64::from(entries) * MSIX_ENTRY_BYTES as u64;
        let registers = device_memory(Maddr::new(maddr - offset), bytes).ok_or(Errno::ENOMEM)?;
        let table = MsixTable {
            at,
            maddr,
            registers,
            offset: offset as usize,
        };
        if let Some(index) = found
            && let Some(old) = self.msix_tables.get_mut(index)
        {
            *old = table;
            return Ok(index);
        }
        self.msix_tables.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.msix_tables.push(table);
        Ok(self.msix_tables.len() - 1)
    }
}

/// Maps a line. `wanted` is the PIRQ to use, or negative for any; returns it.
///
/// # Errors
/// `EINVAL` for a line or PIRQ that is out of range; `EEXIST` for a PIRQ in use; `ENOSPC` if there is none left.
pub fn map_line(index: i32, wanted: i32) -> Result<u32, Errno> {
    let mut table = TABLE.lock();
    let index = u32::try_from(index).map_err(|_| Errno::EINVAL)?;
    let number = table.line_of(index);
    if !table.has_line(number) {
        return Err(Errno::EINVAL);
    }
    // A line has one PIRQ; to map it again as the same one is no error.
    let mapped = table
        .pirqs
        .iter()
        .position(|pirq| matches!(pirq.source, Source::Line(line) if line == number));
    if let Some(pirq) = mapped {
        return if wanted < 0 || wanted as usize == pirq {
            Ok(pirq as u32)
        } else {
            Err(Errno::EEXIST)
        };
    }
    let pirq = if wanted < 0 && table.is_free(index) {
        index
    } else {
        table.choose(wanted, 1)?
    };
    let line = *table.lines.get(number as usize).ok_or(Errno::EINVAL)?;
    if line.vector != 0 {
        // The console's: it can be named, and binding it will say that it is busy.
        table.set(pirq, Source::Line(number), 0);
        return Ok(pirq);
    }
    let vector = table
        .allocate_vectors(1, |_| Owner::Pirq(pirq))
        .ok_or(Errno::ENOSPC)?;
    if let Some(line) = table.lines.get_mut(number as usize) {
        line.vector = vector;
    }
    table.set(pirq, Source::Line(number), vector);
    table.program_line(number, true)?;
    Ok(pirq)
}

/// Maps `count` messages of a function's MSI capability to PIRQs in a row, and programs the function; its driver
/// turns the capability on. Returns the first PIRQ.
///
/// # Errors
/// `ENODEV` if the function does not have the capability; `EINVAL` for more messages than it can send; as
/// [`map_line`].
pub fn map_msi(at: PciAddress, count: u32, wanted: i32) -> Result<u32, Errno> {
    let mut table = TABLE.lock();
    let capability = MsiCapability::find(&mut *PCI_CONFIG.lock(), at).ok_or(Errno::ENODEV)?;
    if !(1..=32).contains(&count) {
        return Err(Errno::EDOM);
    }
    let block = count.next_power_of_two();
    if block > capability.messages() {
        return Err(Errno::EINVAL);
    }
    let in_use = table
        .pirqs
        .iter()
        .any(|pirq| matches!(pirq.source, Source::Message { at: other, .. } if other == at));
    if in_use {
        return Err(Errno::EEXIST);
    }
    let first = table.choose(wanted, count)?;
    let vector = table
        .allocate_vectors(block as usize, |offset| {
            if (offset as u32) < count {
                Owner::Pirq(first + offset as u32)
            } else {
                Owner::Nobody
            }
        })
        .ok_or(Errno::ENOSPC)?;
    let programmed = message_to_home(vector).is_some_and(|message| {
        let mut config = PCI_CONFIG.lock();
        for index in 0..count {
            capability.set_masked(&mut *config, index, true);
        }
        capability.program(&mut *config, message, block)
    });
    if !programmed {
        for offset in 0..count {
            table.free_vector(vector + offset as u8);
        }
        return Err(Errno::EINVAL);
    }
    for index in 0..count {
        let source = Source::Message {
            capability,
            at,
            index,
            count: block,
        };
        table.set(first + index, source, vector + index as u8);
    }
    Ok(first)
}

/// Maps an entry of a function's MSI-X table, and programs it, masked. Returns the PIRQ.
///
/// # Errors
/// `ENODEV` if the function does not have the capability; `EINVAL` for an entry that is not there; `ENXIO` if
/// the table cannot be reached; `EEXIST` if the entry is mapped; as [`map_line`].
pub fn map_msix(at: PciAddress, entry: i32, wanted: i32) -> Result<u32, Errno> {
    let mut table = TABLE.lock();
    let (capability, maddr) = {
        let mut config = PCI_CONFIG.lock();
        let capability = MsixCapability::find(&mut *config, at).ok_or(Errno::ENODEV)?;
        if config.read16(at, pci::COMMAND) & pci::COMMAND_MEMORY == 0 {
            return Err(Errno::ENXIO);
        }
        let maddr = capability.table_maddr(&mut *config).ok_or(Errno::ENXIO)?;
        (capability, maddr)
    };
    let entry = u16::try_from(entry)
        .ok()
        .filter(|&entry| entry < capability.entries())
        .ok_or(Errno::EINVAL)?;
    let in_use = table.pirqs.iter().any(|pirq| {
        matches!(pirq.source, Source::Entry { at: other, entry: number, .. } if other == at && number == entry)
    });
    if in_use {
        return Err(Errno::EEXIST);
    }
    let index = table.map_msix(at, maddr, capability.entries())?;
    let number = table.choose(wanted, 1)?;
    let vector = table
        .allocate_vectors(1, |_| Owner::Pirq(number))
        .ok_or(Errno::ENOSPC)?;
    let source = Source::Entry {
        at,
        table: index,
        entry,
    };
    table.set(number, source, vector);
    let pirq = *table.mapped(number)?;
    if let Err(error) = table.program_source(&pirq) {
        table.free_vector(vector);
        table.set(number, Source::Unmapped, 0);
        return Err(error);
    }
    Ok(number)
}

/// Takes a PIRQ's mapping back. An event channel that is bound to it gets no more events.
///
/// # Errors
/// `EINVAL` if it is not mapped.
pub fn unmap(number: i32) -> Result<(), Errno> {
    let mut table = TABLE.lock();
    let number = u32::try_from(number).map_err(|_| Errno::EINVAL)?;
    let pirq = *table.mapped(number)?;
    table.set_source_masked(pirq.source, true);
    if let Source::Line(line) = pirq.source
        && pirq.vector != 0
        && let Some(line) = table.lines.get_mut(line as usize)
    {
        line.vector = 0;
    }
    if pirq.vector != 0 {
        table.free_vector(pirq.vector);
    }
    table.set(number, Source::Unmapped, 0);
    Ok(())
}

/// A free PIRQ, kept for the mapping that follows.
///
/// # Errors
/// `ENOSPC` if there is none.
pub fn keep_free() -> Result<u32, Errno> {
    let mut table = TABLE.lock();
    let number = table.find_free(1).ok_or(Errno::ENOSPC)?;
    table.set(number, Source::Kept, 0);
    Ok(number)
}

/// An event channel of `domain` wants the PIRQ from now on. Called under the lock of its event channels.
///
/// # Errors
/// `EINVAL` if it is not mapped; `EBUSY` if it is bound, or the console's.
pub fn bind(domain: &Domain, number: u32, shareable: bool) -> Result<(), Errno> {
    if !domain.is_hardware() {
        return Err(Errno::EINVAL);
    }
    let mut table = TABLE.lock();
    let pirq = table.mapped(number)?;
    if pirq.bound || pirq.vector == 0 {
        return Err(Errno::EBUSY);
    }
    pirq.bound = true;
    pirq.shareable = shareable;
    pirq.waits_for_end = false;
    let source = pirq.source;
    if let Source::Line(line) = source {
        table.program_line(line, false)?;
    } else {
        table.set_source_masked(source, false);
    }
    Ok(())
}

/// The event channel of the PIRQ was closed.
pub fn unbind(domain: &Domain, number: u32) {
    if !domain.is_hardware() {
        return;
    }
    let mut table = TABLE.lock();
    if let Ok(pirq) = table.mapped(number) {
        pirq.bound = false;
        pirq.waits_for_end = false;
        let source = pirq.source;
        table.set_source_masked(source, true);
    }
}

/// The domain has dealt with a level interrupt: its line is let through again.
///
/// # Errors
/// `EINVAL` for a PIRQ that is out of range.
pub fn end(domain: &Domain, number: u32) -> Result<(), Errno> {
    if !domain.is_hardware() {
        return Err(Errno::EINVAL);
    }
    let mut table = TABLE.lock();
    let pirq = table.pirqs.get_mut(number as usize).ok_or(Errno::EINVAL)?;
    if core::mem::take(&mut pirq.waits_for_end) && pirq.bound {
        let source = pirq.source;
        table.set_source_masked(source, false);
    }
    Ok(())
}

/// Whether the domain has to end the PIRQ's interrupts, and whether it is shared with other domains.
///
/// # Errors
/// `EINVAL` for a PIRQ that is out of range.
pub fn status(domain: &Domain, number: u32) -> Result<(bool, bool), Errno> {
    if !domain.is_hardware() {
        return Err(Errno::EINVAL);
    }
    let table = TABLE.lock();
    let pirq = table.pirqs.get(number as usize).ok_or(Errno::EINVAL)?;
    let level = match pirq.source {
        Source::Line(line) => table
            .lines
            .get(line as usize)
            .is_some_and(|line| line.trigger == Trigger::Level),
        _ => false,
    };
    Ok((level, false))
}

/// Writes a function's messages to it again, after a reset that domain 0 did.
///
/// # Errors
/// `ENODEV` if the function does not have the capability any more.
pub fn restore(at: PciAddress) -> Result<(), Errno> {
    let mut table = TABLE.lock();
    for number in 0..table.pirqs.len() {
        let Some(&pirq) = table.pirqs.get(number) else {
            break;
        };
        let is_of_function = match pirq.source {
            Source::Message { at: other, .. } | Source::Entry { at: other, .. } => other == at,
            _ => false,
        };
        if is_of_function {
            table.program_source(&pirq)?;
        }
    }
    Ok(())
}

/// Whether a function answers in configuration space.
pub fn function_exists(at: PciAddress) -> bool {
    PCI_CONFIG.lock().read32(at, pci::VENDOR) as u16 != 0xffff
}
