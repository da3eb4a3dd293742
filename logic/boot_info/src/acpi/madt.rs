//! MADT: the local APICs (so, the CPUs), I/O APICs and how legacy interrupts reach them (ACPI 6.5 §5.2.12).

use super::{AcpiError, AcpiProblem, Signature, entries};
use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use addr::Maddr;

const TABLE: Signature = Signature(*b"APIC");
/// Header, local APIC address, flags.
const FIRST_ENTRY: usize = 44;

/// Level at which an interrupt line is active.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polarity {
    /// As the bus specifies: for ISA, high.
    BusDefault,
    /// Active high.
    High,
    /// Active low.
    Low,
}

/// What on the line makes an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// As the bus specifies: for ISA, edge.
    BusDefault,
    /// Edge.
    Edge,
    /// Level.
    Level,
}

/// Decodes the MPS INTI flags.
fn line(flags: u16) -> (Polarity, Trigger) {
    let polarity = match flags & 3 {
        1 => Polarity::High,
        3 => Polarity::Low,
        _ => Polarity::BusDefault,
    };
    let trigger = match (flags >> 2) & 3 {
        1 => Trigger::Edge,
        3 => Trigger::Level,
        _ => Trigger::BusDefault,
    };
    (polarity, trigger)
}

/// One entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MadtEntry {
    /// A CPU, by its local APIC or x2APIC.
    Cpu {
        /// The ACPI processor's UID.
        acpi_id: u32,
        /// The APIC's ID.
        apic_id: u32,
        /// Whether it can be used now.
        enabled: bool,
        /// Whether it can be plugged in later.
        online_capable: bool,
        /// Whether the entry is an x2APIC's.
        x2apic: bool,
    },
    /// An I/O APIC.
    IoApic {
        /// Its ID.
        id: u8,
        /// Its registers.
        address: Maddr,
        /// The global interrupt of its first pin.
        gsi_base: u32,
    },
    /// An ISA interrupt that is not connected to the pin of its own number.
    InterruptOverride {
        /// ISA interrupt.
        irq: u8,
        /// Global interrupt.
        gsi: u32,
        /// Active level.
        polarity: Polarity,
        /// Trigger.
        trigger: Trigger,
    },
    /// A global interrupt that is an NMI.
    NmiSource {
        /// Global interrupt.
        gsi: u32,
        /// Active level.
        polarity: Polarity,
        /// Trigger.
        trigger: Trigger,
    },
    /// A local APIC pin that is an NMI.
    LocalNmi {
        /// The ACPI processor's UID; `None` for all.
        acpi_id: Option<u32>,
        /// 0 or 1.
        lint: u8,
        /// Active level.
        polarity: Polarity,
        /// Trigger.
        trigger: Trigger,
    },
    /// The local APICs are at another address than the table's head says.
    LocalApicAddress(Maddr),
    /// Of a type that is of no use here.
    Other(u8),
}

/// The table, checked as far as its entries' lengths.
#[derive(Clone, Copy, Debug)]
pub struct Madt<'a> {
    table: &'a [u8],
    /// Whether there are also two 8259s, to be masked.
    pub has_8259: bool,
    local_apic: Maddr,
}

impl<'a> Madt<'a> {
    /// Checks the table.
    pub fn parse(table: &'a [u8]) -> Result<Self, AcpiError> {
        let fail = |problem| AcpiError {
            table: TABLE,
            problem,
        };
        let short = fail(AcpiProblem::BadLength(table.len() as u64));
        let mut local_apic = Maddr::new(u32_at(table, 36).ok_or(short)?.into());
        let flags = u32_at(table, 40).ok_or(short)?;
        let mut offset = FIRST_ENTRY;
        for entry in entries(table, FIRST_ENTRY) {
            let (kind, bytes) = entry.map_err(fail)?;
            match decode(kind, bytes) {
                Some(MadtEntry::LocalApicAddress(at)) => local_apic = at,
                Some(_) => {}
                None => return Err(fail(AcpiProblem::BadEntry(offset))),
            }
            offset += bytes.len();
        }
        Ok(Self {
            table,
            has_8259: flags & 1 != 0,
            local_apic,
        })
    }

    /// Where the local APICs' registers are.
    pub fn local_apic(&self) -> Maddr {
        self.local_apic
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = MadtEntry> + use<'a> {
        entries(self.table, FIRST_ENTRY)
            .filter_map(|entry| entry.ok().and_then(|(kind, bytes)| decode(kind, bytes)))
    }
}

/// `None` if the entry is shorter than its type's fields.
fn decode(kind: u8, entry: &[u8]) -> Option<MadtEntry> {
    let cpu = |acpi_id, apic_id, flags: u32, x2apic| MadtEntry::Cpu {
        acpi_id,
        apic_id,
        enabled: flags & 1 != 0,
        online_capable: flags & 2 != 0,
        x2apic,
    };
    let local_nmi = |acpi_id, flags, lint| {
        let (polarity, trigger) = line(flags);
        MadtEntry::LocalNmi {
            acpi_id,
            lint,
            polarity,
            trigger,
        }
    };
    Some(match kind {
        0 => cpu(
            u8_at(entry, 2)?.into(),
            u8_at(entry, 3)?.into(),
            u32_at(entry, 4)?,
            false,
        ),
        1 => MadtEntry::IoApic {
            id: u8_at(entry, 2)?,
            address: Maddr::new(u32_at(entry, 4)?.into()),
            gsi_base: u32_at(entry, 8)?,
        },
        2 => {
            let (polarity, trigger) = line(u16_at(entry, 8)?);
            let (irq, gsi) = (u8_at(entry, 3)?, u32_at(entry, 4)?);
            MadtEntry::InterruptOverride {
                irq,
                gsi,
                polarity,
                trigger,
            }
        }
        3 => {
            let (polarity, trigger) = line(u16_at(entry, 2)?);
            MadtEntry::NmiSource {
                gsi: u32_at(entry, 4)?,
                polarity,
                trigger,
            }
        }
        4 => {
            let acpi_id = Some(u8_at(entry, 2)?)
                .filter(|&id| id != 0xff)
                .map(u32::from);
            local_nmi(acpi_id, u16_at(entry, 3)?, u8_at(entry, 5)?)
        }
        5 => MadtEntry::LocalApicAddress(Maddr::new(u64_at(entry, 4)?)),
        9 => cpu(
            u32_at(entry, 12)?,
            u32_at(entry, 4)?,
            u32_at(entry, 8)?,
            true,
        ),
        10 => {
            let acpi_id = Some(u32_at(entry, 4)?).filter(|&id| id != u32::MAX);
            local_nmi(acpi_id, u16_at(entry, 2)?, u8_at(entry, 8)?)
        }
        other => MadtEntry::Other(other),
    })
}
