//! The small tables: HPET, MCFG (PCI firmware specification 3.3 §4.1.2), SRAT and SLIT (ACPI 6.5 §5.2.16, §5.2.17).

use super::{
    AcpiError, AcpiProblem, GenericAddress, HEADER_BYTES, RegisterSpace, Signature, entries,
};
use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use addr::Maddr;

fn fail(table: &[u8; 4], problem: AcpiProblem) -> AcpiError {
    AcpiError {
        table: Signature(*table),
        problem,
    }
}

fn too_short(signature: &[u8; 4], table: &[u8]) -> AcpiError {
    fail(signature, AcpiProblem::BadLength(table.len() as u64))
}

/// The high-precision event timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hpet {
    /// Its registers.
    pub address: Maddr,
    /// Its number.
    pub number: u8,
    /// Vendor, comparators, width.
    pub block_id: u32,
    /// Fewest ticks that do not lose interrupts in periodic mode.
    pub min_tick: u16,
}

impl Hpet {
    /// Decodes the table.
    pub fn parse(table: &[u8]) -> Result<Self, AcpiError> {
        let short = too_short(b"HPET", table);
        let bad = |field, value| fail(b"HPET", AcpiProblem::BadField { field, value });
        let block_id = u32_at(table, 36).ok_or(short)?;
        let registers = GenericAddress::at(table, 40);
        let number = u8_at(table, 52).ok_or(short)?;
        let min_tick = u16_at(table, 53).ok_or(short)?;
        let registers = registers.ok_or(bad("the address", 0))?;
        if registers.space != RegisterSpace::Memory {
            return Err(bad(
                "the address space",
                u8_at(table, 40).unwrap_or(0).into(),
            ));
        }
        Ok(Self {
            address: Maddr::new(registers.address),
            number,
            block_id,
            min_tick,
        })
    }
}

/// Buses whose configuration space is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct McfgSegment {
    /// Address of bus 0's space, even if bus 0 is not among the buses.
    pub address: Maddr,
    /// PCI segment.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus.
    pub last_bus: u8,
}

/// PCI configuration space in memory.
#[derive(Clone, Copy, Debug)]
pub struct Mcfg<'a> {
    entries: &'a [u8],
}

impl<'a> Mcfg<'a> {
    const ENTRY_BYTES: usize = 16;

    /// Checks the table.
    pub fn parse(table: &'a [u8]) -> Result<Self, AcpiError> {
        let entries = table
            .get(HEADER_BYTES + 8..)
            .ok_or(too_short(b"MCFG", table))?;
        let mcfg = Self { entries };
        match mcfg
            .segments()
            .find(|segment| segment.first_bus > segment.last_bus)
        {
            Some(segment) => Err(fail(
                b"MCFG",
                AcpiProblem::BadField {
                    field: "the last bus",
                    value: segment.last_bus.into(),
                },
            )),
            None => Ok(mcfg),
        }
    }

    /// All ranges of buses.
    pub fn segments(&self) -> impl Iterator<Item = McfgSegment> + use<'a> {
        self.entries
            .chunks_exact(Self::ENTRY_BYTES)
            .filter_map(|entry| {
                Some(McfgSegment {
                    address: Maddr::new(u64_at(entry, 0)?),
                    segment: u16_at(entry, 8)?,
                    first_bus: u8_at(entry, 10)?,
                    last_bus: u8_at(entry, 11)?,
                })
            })
    }
}

/// An affinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SratEntry {
    /// A CPU's node.
    Cpu {
        /// Local APIC or x2APIC ID.
        apic_id: u32,
        /// Proximity domain.
        node: u32,
        /// Whether the entry counts.
        enabled: bool,
    },
    /// A memory range's node.
    Memory {
        /// First byte.
        start: Maddr,
        /// Bytes.
        len: u64,
        /// Proximity domain.
        node: u32,
        /// Whether the entry counts.
        enabled: bool,
        /// Whether memory can be plugged in there.
        hot_pluggable: bool,
    },
    /// Of a type that is of no use here.
    Other(u8),
}

/// Which CPUs and memory are near each other.
#[derive(Clone, Copy, Debug)]
pub struct Srat<'a> {
    table: &'a [u8],
}

impl<'a> Srat<'a> {
    /// Header and 12 reserved bytes.
    const FIRST_ENTRY: usize = HEADER_BYTES + 12;

    /// Checks the table.
    pub fn parse(table: &'a [u8]) -> Result<Self, AcpiError> {
        if table.len() < Self::FIRST_ENTRY {
            return Err(too_short(b"SRAT", table));
        }
        let mut offset = Self::FIRST_ENTRY;
        for entry in entries(table, Self::FIRST_ENTRY) {
            let (kind, bytes) = entry.map_err(|problem| fail(b"SRAT", problem))?;
            if Self::decode(kind, bytes).is_none() {
                return Err(fail(b"SRAT", AcpiProblem::BadEntry(offset)));
            }
            offset += bytes.len();
        }
        Ok(Self { table })
    }

    /// All affinities.
    pub fn entries(&self) -> impl Iterator<Item = SratEntry> + use<'a> {
        entries(self.table, Self::FIRST_ENTRY).filter_map(|entry| {
            entry
                .ok()
                .and_then(|(kind, bytes)| Self::decode(kind, bytes))
        })
    }

    fn decode(kind: u8, entry: &[u8]) -> Option<SratEntry> {
        Some(match kind {
            0 => {
                let [b1, b2, b3] = crate::bytes::array(entry, 9)?;
                let node = u32::from_le_bytes([u8_at(entry, 2)?, b1, b2, b3]);
                let enabled = u32_at(entry, 4)? & 1 != 0;
                SratEntry::Cpu {
                    apic_id: u8_at(entry, 3)?.into(),
                    node,
                    enabled,
                }
            }
            1 => {
                let flags = u32_at(entry, 28)?;
                SratEntry::Memory {
                    start: Maddr::new(u64_at(entry, 8)?),
                    len: u64_at(entry, 16)?,
                    node: u32_at(entry, 2)?,
                    enabled: flags & 1 != 0,
                    hot_pluggable: flags & 2 != 0,
                }
            }
            2 => SratEntry::Cpu {
                apic_id: u32_at(entry, 8)?,
                node: u32_at(entry, 4)?,
                enabled: u32_at(entry, 12)? & 1 != 0,
            },
            other => SratEntry::Other(other),
        })
    }
}

/// Distances between nodes: 10 is near, 255 unreachable.
#[derive(Clone, Copy, Debug)]
pub struct Slit<'a> {
    nodes: usize,
    matrix: &'a [u8],
}

impl<'a> Slit<'a> {
    /// Checks the table.
    pub fn parse(table: &'a [u8]) -> Result<Self, AcpiError> {
        let count = u64_at(table, HEADER_BYTES).ok_or(too_short(b"SLIT", table))?;
        let bad = fail(
            b"SLIT",
            AcpiProblem::BadField {
                field: "the number of nodes",
                value: count,
            },
        );
        let nodes = usize::try_from(count).map_err(|_| bad)?;
        let matrix = nodes
            .checked_mul(nodes)
            .and_then(|bytes| table.get(HEADER_BYTES + 8..)?.get(..bytes))
            .ok_or(bad)?;
        Ok(Self { nodes, matrix })
    }

    /// How many nodes.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Distance from one node to another; `None` if there is no such node.
    pub fn distance(&self, from: usize, to: usize) -> Option<u8> {
        if from >= self.nodes || to >= self.nodes {
            return None;
        }
        self.matrix.get(from * self.nodes + to).copied()
    }
}
