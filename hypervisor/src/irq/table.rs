//! The table of physical interrupts: lines, messages, vectors, and the domain's numbers for them (PIRQs).
//!
//! Domain 0's PIRQ numbers of lines are the lines' own numbers (GSIs); those of messages follow above. A PIRQ is
//! mapped (it has a source and a vector), and then bound (an event channel wants it). Invariants: a vector
//! belongs to at most one PIRQ or to the console; a line is let through only while it is bound and not
//! held back for its end.

use alloc::vec::Vec;

use arrayvec::ArrayVec;
use platform_cpu::lock::SpinLock;
use platform_devices::ioapic::IoApic;
use platform_devices::msi::{MsiCapability, MsixCapability, MsixEntry};
use platform_devices::pci::PciAddress;
use platform_devices::redirection::{Delivery, Polarity, RedirectionEntry, Trigger};
use platform_memory::Mmio;
use xen_abi::errno::Errno;

use super::vector::{FIRST_DEVICE, LAST_DEVICE};
use super::{PCI_CONFIG, apic_id, message_to_home};
use crate::ranks;

/// Most IO-APICs.
pub(super) const MAX_IOAPICS: usize = 16;
/// PIRQs for messages, beside those of lines.
pub(super) const MESSAGE_PIRQS: usize = 512;
/// Number of the interrupts that ISA has.
pub(super) const ISA_IRQS: usize = 16;
/// Vectors for devices.
const VECTORS: usize = (LAST_DEVICE - FIRST_DEVICE) as usize + 1;

/// Whose a vector is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Owner {
    #[default]
    Nobody,
    Console,
    Pirq(u32),
}

/// What came of an interrupt.
#[derive(Debug)]
pub(super) enum Arrival {
    /// It is an event of the domain that owns the devices.
    Domain {
        /// Its number for it.
        pirq: u32,
    },
    /// A serial port of the console wants service.
    Console,
    /// Nobody listens, and it will not come again.
    HeldBack,
    /// The vector is not in use.
    Nobody,
}

/// An interrupt line of the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) polarity: Polarity,
    pub(super) trigger: Trigger,
    /// Vector that the line's entry has; 0 for none.
    pub(super) vector: u8,
}

/// Where a PIRQ comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// Nowhere: the number is free.
    Unmapped,
    /// Kept for a mapping that is about to come (`PHYSDEVOP_get_free_pirq`).
    Kept,
    /// A line.
    Line(u32),
    /// Message `index` of `count` of a function's MSI capability.
    Message {
        capability: MsiCapability,
        at: PciAddress,
        index: u32,
        count: u32,
    },
    /// An entry of a function's MSI-X table.
    Entry {
        at: PciAddress,
        /// Index into the mapped tables.
        table: usize,
        entry: u16,
    },
}

/// A domain's number for an interrupt, and its state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pirq {
    pub(super) source: Source,
    pub(super) vector: u8,
    pub(super) bound: bool,
    pub(super) shareable: bool,
    /// A level interrupt came, and the domain has not ended it.
    pub(super) waits_for_end: bool,
    /// How often it came.
    pub(super) count: u64,
}

impl Pirq {
    const FREE: Self = Self {
        source: Source::Unmapped,
        vector: 0,
        bound: false,
        shareable: false,
        waits_for_end: false,
        count: 0,
    };
}

/// A mapped MSI-X table.
pub(super) struct MsixTable {
    pub(super) at: PciAddress,
    pub(super) maddr: u64,
    pub(super) registers: Mmio,
    /// Offset of entry 0 in the mapping.
    pub(super) offset: usize,
}

/// All of it.
pub(super) struct Table {
    pub(super) ioapics: ArrayVec<IoApic<Mmio>, MAX_IOAPICS>,
    /// Machine addresses of the IO-APICs, for domain 0's reads.
    pub(super) ioapic_maddrs: ArrayVec<u64, MAX_IOAPICS>,
    pub(super) lines: Vec<Line>,
    /// Line that each ISA interrupt is connected to.
    pub(super) isa: [u32; ISA_IRQS],
    pub(super) pirqs: Vec<Pirq>,
    pub(super) msix_tables: Vec<MsixTable>,
    owners: [Owner; VECTORS],
    /// Where the search for a free vector starts.
    next: usize,
}

pub(super) static TABLE: SpinLock<Table> = SpinLock::new(ranks::INTERRUPTS, Table::new());

impl Table {
    const fn new() -> Self {
        Self {
            ioapics: ArrayVec::new_const(),
            ioapic_maddrs: ArrayVec::new_const(),
            lines: Vec::new(),
            isa: [0; ISA_IRQS],
            pirqs: Vec::new(),
            msix_tables: Vec::new(),
            owners: [Owner::Nobody; VECTORS],
            next: 0,
        }
    }

    /// Makes room for `lines` lines and the PIRQs.
    pub(super) fn reserve(&mut self, lines: usize) -> Result<(), Errno> {
        let level = Line {
            polarity: Polarity::Low,
            trigger: Trigger::Level,
            vector: 0,
        };
        let pirqs = lines.checked_add(MESSAGE_PIRQS).ok_or(Errno::ENOMEM)?;
        self.lines
            .try_reserve_exact(lines)
            .map_err(|_| Errno::ENOMEM)?;
        self.lines.resize(lines, level);
        self.pirqs
            .try_reserve_exact(pirqs)
            .map_err(|_| Errno::ENOMEM)?;
        self.pirqs.resize(pirqs, Pirq::FREE);
        Ok(())
    }

    /// The line behind a number that a domain or the console gave: ISA interrupts go where the MADT says.
    pub(super) fn line_of(&self, irq: u32) -> u32 {
        self.isa.get(irq as usize).copied().unwrap_or(irq)
    }

    /// What arrived at `vector`. A level line is held back when this returns.
    #[inline]
    pub(super) fn arrived(&mut self, vector: u8) -> Arrival {
        let owner = usize::from(vector)
            .checked_sub(usize::from(FIRST_DEVICE))
            .and_then(|index| self.owners.get(index))
            .copied()
            .unwrap_or_default();
        let number = match owner {
            Owner::Nobody => return Arrival::Nobody,
            Owner::Console => return Arrival::Console,
            Owner::Pirq(number) => number,
        };
        let Some(pirq) = self.pirqs.get_mut(number as usize) else {
            return Arrival::Nobody;
        };
        pirq.count = pirq.count.wrapping_add(1);
        let bound = pirq.bound;
        if let Source::Line(line) = pirq.source
            && let Some(Line {
                trigger: Trigger::Level,
                ..
            }) = self.lines.get(line as usize)
        {
            pirq.waits_for_end = bound;
            self.set_line_masked(line, true);
        }
        if bound {
            Arrival::Domain { pirq: number }
        } else {
            Arrival::HeldBack
        }
    }

    /// Gives `count` vectors in a row to `owner`, aligned to `count`, a power of two; returns the first.
    pub(super) fn allocate_vectors(
        &mut self,
        count: usize,
        owner: impl Fn(usize) -> Owner,
    ) -> Option<u8> {
        let places = VECTORS / count;
        // FIRST_DEVICE is a multiple of 16: larger blocks are aligned by their absolute number.
        let align = |index: usize| (usize::from(FIRST_DEVICE) + index).is_multiple_of(count);
        let start = self.next;
        let first = (0..VECTORS)
            .map(|step| (start + step) % VECTORS)
            .find(|&index| {
                align(index)
                    && places != 0
                    && self
                        .owners
                        .get(index..index + count)
                        .is_some_and(|block| block.iter().all(|owner| *owner == Owner::Nobody))
            })?;
        for (place, offset) in self.owners.iter_mut().skip(first).take(count).zip(0..) {
            *place = owner(offset);
        }
        self.next = (first + count) % VECTORS;
        Some(FIRST_DEVICE + first as u8)
    }

    /// Takes a vector back.
    pub(super) fn free_vector(&mut self, vector: u8) {
        let index = usize::from(vector).checked_sub(usize::from(FIRST_DEVICE));
        if let Some(owner) = index.and_then(|index| self.owners.get_mut(index)) {
            *owner = Owner::Nobody;
        }
    }

    /// Whose a vector is, for the debug key.
    pub(super) fn owner(&self, vector: u8) -> Owner {
        usize::from(vector)
            .checked_sub(usize::from(FIRST_DEVICE))
            .and_then(|index| self.owners.get(index))
            .copied()
            .unwrap_or_default()
    }

    fn ioapic_of(&mut self, line: u32) -> Option<(&mut IoApic<Mmio>, u8)> {
        self.ioapics
            .iter_mut()
            .find_map(|ioapic| ioapic.pin_of(line).map(|pin| (ioapic, pin)))
    }

    /// Whether an IO-APIC has the line.
    pub(super) fn has_line(&mut self, line: u32) -> bool {
        self.ioapic_of(line).is_some()
    }

    /// Holds a line back, or lets it through.
    pub(super) fn set_line_masked(&mut self, line: u32, masked: bool) {
        if let Some((ioapic, pin)) = self.ioapic_of(line) {
            if masked {
                ioapic.mask(pin);
            } else {
                ioapic.unmask(pin);
            }
        }
    }

    /// Programs a line's entry from what is known of it, masked or not.
    pub(super) fn program_line(&mut self, number: u32, masked: bool) -> Result<(), Errno> {
        let line = *self.lines.get(number as usize).ok_or(Errno::EINVAL)?;
        let destination = apic_id(0)
            .and_then(|id| u8::try_from(id).ok())
            .ok_or(Errno::ENODEV)?;
        let (ioapic, pin) = self.ioapic_of(number).ok_or(Errno::EINVAL)?;
        ioapic.set(
            pin,
            RedirectionEntry {
                vector: line.vector,
                delivery: Delivery::Fixed,
                logical: false,
                polarity: line.polarity,
                trigger: line.trigger,
                masked: masked || line.vector == 0,
                destination,
            },
        );
        Ok(())
    }

    /// Lets a PIRQ's source through, or holds it back, where it can be.
    pub(super) fn set_source_masked(&mut self, source: Source, masked: bool) {
        match source {
            Source::Unmapped | Source::Kept => {}
            Source::Line(line) => self.set_line_masked(line, masked),
            Source::Message {
                capability, index, ..
            } => capability.set_masked(&mut *PCI_CONFIG.lock(), index, masked),
            Source::Entry { table, entry, .. } => {
                if let Some(entry) = self.msix_entry(table, entry) {
                    entry.set_masked(masked);
                }
            }
        }
    }

    pub(super) fn msix_entry(&self, table: usize, entry: u16) -> Option<MsixEntry<&Mmio>> {
        let table = self.msix_tables.get(table)?;
        let offset = table.offset + usize::from(entry) * platform_devices::msi::MSIX_ENTRY_BYTES;
        Some(MsixEntry::new(&table.registers, offset))
    }

    /// Writes the message of a message PIRQ to its device again: it lost it in a reset.
    pub(super) fn program_source(&mut self, pirq: &Pirq) -> Result<(), Errno> {
        let message = message_to_home(pirq.vector).ok_or(Errno::ENODEV)?;
        match pirq.source {
            Source::Message {
                capability,
                index: 0,
                count,
                ..
            } => {
                let mut config = PCI_CONFIG.lock();
                if !capability.program(&mut *config, message, count) {
                    return Err(Errno::EINVAL);
                }
            }
            Source::Entry { at, table, entry } => {
                let mut config = PCI_CONFIG.lock();
                let capability = MsixCapability::find(&mut *config, at).ok_or(Errno::ENODEV)?;
                let entry = self.msix_entry(table, entry).ok_or(Errno::ENODEV)?;
                // The table can be written only while the capability is on; nothing is to come meanwhile.
                let (enabled, masked) = capability.set_control(&mut *config, true, true);
                entry.program(message);
                capability.set_control(&mut *config, enabled, masked);
            }
            _ => return Ok(()),
        }
        self.set_source_masked(pirq.source, !pirq.bound);
        Ok(())
    }
}
