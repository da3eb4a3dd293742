//! ACPI's static tables: found, checked by length and checksum, decoded.
//!
//! Only what a hypervisor itself needs; AML and all else is domain 0's affair. Source: ACPI 6.5 §5.2.

mod fadt;
mod madt;
mod tables;

pub use fadt::{Fadt, GenericAddress, RegisterSpace, Sleep};
pub use madt::{Madt, MadtEntry, Polarity, Trigger};
pub use tables::{Hpet, Mcfg, McfgSegment, Slit, Srat, SratEntry};

use crate::PhysicalMemory;
use crate::bytes::{array, u8_at, u16_at, u32_at, u64_at};
use addr::Maddr;
use arrayvec::ArrayVec;
use core::fmt;

/// How many tables are accepted.
pub const MAX_TABLES: usize = 128;
/// Bytes of the header that each table starts with.
pub const HEADER_BYTES: usize = 36;
/// The largest table that is believed: DSDTs reach some 100 KiB.
const TABLE_MAX: usize = 16 << 20;

/// A table's four letters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 4]);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A table that cannot be used: which, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcpiError {
    /// The table's letters ("RSDP" for the root pointer).
    pub table: Signature,
    /// What is wrong.
    pub problem: AcpiProblem,
}

/// What is wrong with a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcpiProblem {
    /// There is none.
    Missing,
    /// It lies where no readable memory is.
    Unreadable(Maddr),
    /// Its length cannot be right.
    BadLength(u64),
    /// Its bytes do not add up to 0.
    BadChecksum,
    /// Other letters are at the address than the directory says.
    BadSignature(Signature),
    /// An entry at this offset has an impossible length.
    BadEntry(usize),
    /// A field with a value that cannot be used.
    BadField {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// More than [`MAX_TABLES`].
    TooMany,
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ACPI table {}: ", self.table)?;
        match self.problem {
            AcpiProblem::Missing => f.write_str("not found"),
            AcpiProblem::Unreadable(at) => write!(f, "address {at:#x} is not in readable memory"),
            AcpiProblem::BadLength(length) => write!(f, "impossible length {length}"),
            AcpiProblem::BadChecksum => f.write_str("wrong checksum"),
            AcpiProblem::BadSignature(found) => write!(f, "\"{found}\" is at its address"),
            AcpiProblem::BadEntry(offset) => {
                write!(
                    f,
                    "the entry at offset {offset:#x} has an impossible length"
                )
            }
            AcpiProblem::BadField { field, value } => write!(f, "{field} is {value:#x}"),
            AcpiProblem::TooMany => write!(f, "lists more than {MAX_TABLES} tables"),
        }
    }
}

fn error<T>(table: &[u8; 4], problem: AcpiProblem) -> Result<T, AcpiError> {
    Err(AcpiError {
        table: Signature(*table),
        problem,
    })
}

fn sums_to_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)) == 0
}

/// The root pointer's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rsdp {
    /// Where it was found; `None` if the boot loader passed a copy.
    pub at: Option<Maddr>,
    /// The directory with 32-bit addresses.
    pub rsdt: Maddr,
    /// The directory with 64-bit addresses, if there is one.
    pub xsdt: Option<Maddr>,
}

impl Rsdp {
    /// Bytes of the first version.
    const V1_BYTES: usize = 20;
    /// Bytes of the second version.
    const V2_BYTES: usize = 36;

    /// Decodes and checks a root pointer; `None` if `bytes` do not start with one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let v1 = bytes.get(..Self::V1_BYTES)?;
        if !v1.starts_with(b"RSD PTR ") || !sums_to_zero(v1) {
            return None;
        }
        let rsdt = Maddr::new(u32_at(v1, 16)?.into());
        let mut xsdt = None;
        if u8_at(v1, 15)? >= 2 {
            let length = usize::try_from(u32_at(bytes, 20)?).ok()?;
            let v2 = bytes
                .get(..length)
                .filter(|v2| v2.len() >= Self::V2_BYTES)?;
            if !sums_to_zero(v2) {
                return None;
            }
            xsdt = u64_at(v2, 24).filter(|&at| at != 0).map(Maddr::new);
        }
        Some(Self {
            at: None,
            rsdt,
            xsdt,
        })
    }

    /// Searches where BIOS firmware puts it: the first KiB of the extended BIOS data area, then
    /// 0xe0000–0xfffff, at each 16 bytes (§5.2.5.1).
    pub fn search(memory: &impl PhysicalMemory) -> Option<Self> {
        let ebda = memory
            .read(Maddr::new(0x40e), 2)
            .and_then(|bytes| u16_at(bytes, 0))
            .map(|segment| u64::from(segment) << 4)
            .filter(|at| (0x400..0xa_0000).contains(at))
            .map(|at| at..at + 1024);
        let areas = [ebda, Some(0xe_0000..0x10_0000)];
        areas
            .into_iter()
            .flatten()
            .flat_map(|area| area.step_by(16))
            .find_map(|at| {
                let at = Maddr::new(at);
                if memory.read(at, 8)? != b"RSD PTR " {
                    return None;
                }
                let bytes = memory
                    .read(at, Self::V2_BYTES)
                    .or_else(|| memory.read(at, Self::V1_BYTES))?;
                Some(Self {
                    at: Some(at),
                    ..Self::parse(bytes)?
                })
            })
    }
}

/// A table in memory, checked by length and checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableAt {
    /// Its letters.
    pub signature: Signature,
    /// Its first byte.
    pub at: Maddr,
    /// Its length in bytes.
    pub len: usize,
}

/// The list of tables.
pub struct Tables<'m, M> {
    memory: &'m M,
    list: ArrayVec<TableAt, MAX_TABLES>,
    bad: ArrayVec<AcpiError, 8>,
}

impl<'m, M: PhysicalMemory> Tables<'m, M> {
    /// Reads the directory that `rsdp` points to. Tables in it that are malformed are left out;
    /// [`Self::problems`] has them.
    pub fn load(memory: &'m M, rsdp: &Rsdp) -> Result<Self, AcpiError> {
        // The directory with wide addresses is preferred, unless it is broken and the other one is not.
        let wide = rsdp
            .xsdt
            .map(|at| (check_table(memory, at, Some(*b"XSDT")), 8));
        let narrow = || (check_table(memory, rsdp.rsdt, Some(*b"RSDT")), 4);
        let (directory, step) = match wide {
            Some((Ok(directory), step)) => (directory, step),
            Some((Err(error), _)) => match narrow() {
                (Ok(directory), step) => (directory, step),
                (Err(_), _) => return Err(error),
            },
            None => {
                let (directory, step) = narrow();
                (directory?, step)
            }
        };
        let mut tables = Self {
            memory,
            list: ArrayVec::new(),
            bad: ArrayVec::new(),
        };
        let bytes = tables.bytes(&directory)?.get(HEADER_BYTES..).unwrap_or(&[]);
        for entry in bytes.chunks_exact(step) {
            let at = u64_at(entry, 0)
                .or_else(|| u32_at(entry, 0).map(u64::from))
                .unwrap_or(0);
            if at == 0 {
                continue;
            }
            match check_table(memory, Maddr::new(at), None) {
                Ok(table) => {
                    if tables.list.try_push(table).is_err() {
                        return Err(AcpiError {
                            table: directory.signature,
                            problem: AcpiProblem::TooMany,
                        });
                    }
                }
                // The first few are enough to tell.
                Err(error) => drop(tables.bad.try_push(error)),
            }
        }
        Ok(tables)
    }

    /// All good tables of the directory, in its order.
    pub fn list(&self) -> &[TableAt] {
        &self.list
    }

    /// The first malformed tables of the directory, for the log.
    pub fn problems(&self) -> &[AcpiError] {
        &self.bad
    }

    fn bytes(&self, table: &TableAt) -> Result<&'m [u8], AcpiError> {
        self.memory.read(table.at, table.len).ok_or(AcpiError {
            table: table.signature,
            problem: AcpiProblem::Unreadable(table.at),
        })
    }

    /// The bytes of the first table with `signature`, header included; an error if it is malformed or missing.
    pub fn find(&self, signature: &[u8; 4]) -> Result<&'m [u8], AcpiError> {
        let signature = Signature(*signature);
        if let Some(table) = self.list.iter().find(|table| table.signature == signature) {
            return self.bytes(table);
        }
        let missing = AcpiError {
            table: signature,
            problem: AcpiProblem::Missing,
        };
        Err(self
            .bad
            .iter()
            .find(|bad| bad.table == signature)
            .copied()
            .unwrap_or(missing))
    }

    /// As [`Self::find`], with `None` for a table that is not there.
    pub fn find_optional(&self, signature: &[u8; 4]) -> Result<Option<&'m [u8]>, AcpiError> {
        match self.find(signature) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(AcpiError {
                problem: AcpiProblem::Missing,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The interrupt controllers and CPUs.
    pub fn madt(&self) -> Result<Madt<'m>, AcpiError> {
        Madt::parse(self.find(b"APIC")?)
    }

    /// Fixed hardware: PM timer, power-management blocks, reset.
    pub fn fadt(&self) -> Result<Fadt, AcpiError> {
        Fadt::parse(self.find(b"FACP")?)
    }

    /// The HPET, if there is one.
    pub fn hpet(&self) -> Result<Option<Hpet>, AcpiError> {
        self.find_optional(b"HPET")?.map(Hpet::parse).transpose()
    }

    /// PCI configuration space in memory, if there is any.
    pub fn mcfg(&self) -> Result<Option<Mcfg<'m>>, AcpiError> {
        self.find_optional(b"MCFG")?.map(Mcfg::parse).transpose()
    }

    /// Which CPUs and memory are near each other, if told.
    pub fn srat(&self) -> Result<Option<Srat<'m>>, AcpiError> {
        self.find_optional(b"SRAT")?.map(Srat::parse).transpose()
    }

    /// Distances between nodes, if told.
    pub fn slit(&self) -> Result<Option<Slit<'m>>, AcpiError> {
        self.find_optional(b"SLIT")?.map(Slit::parse).transpose()
    }
}

/// Checks the table at `at`; `expected` are the letters it has to have, if known.
fn check_table(
    memory: &impl PhysicalMemory,
    at: Maddr,
    expected: Option<[u8; 4]>,
) -> Result<TableAt, AcpiError> {
    let unknown = expected.unwrap_or(*b"????");
    let Some(header) = memory.read(at, HEADER_BYTES) else {
        return error(&unknown, AcpiProblem::Unreadable(at));
    };
    let letters = array(header, 0).unwrap_or(unknown);
    if let Some(expected) = expected
        && expected != letters
    {
        return error(&expected, AcpiProblem::BadSignature(Signature(letters)));
    }
    let length = u32_at(header, 4).unwrap_or(0);
    let len = usize::try_from(length).unwrap_or(usize::MAX);
    if !(HEADER_BYTES..=TABLE_MAX).contains(&len) {
        return error(&letters, AcpiProblem::BadLength(length.into()));
    }
    let Some(bytes) = memory.read(at, len) else {
        return error(&letters, AcpiProblem::Unreadable(at));
    };
    // The FACS, which has no checksum, is not in the directory.
    if !sums_to_zero(bytes) {
        return error(&letters, AcpiProblem::BadChecksum);
    }
    Ok(TableAt {
        signature: Signature(letters),
        at,
        len,
    })
}

/// Splits a table's tail into entries that start with a type and a length byte (MADT, SRAT).
fn entries(table: &[u8], first: usize) -> impl Iterator<Item = Result<(u8, &[u8]), AcpiProblem>> {
    let mut offset = first;
    core::iter::from_fn(move || {
        let rest = table.get(offset..).filter(|rest| !rest.is_empty())?;
        let entry = u8_at(rest, 1)
            .map(usize::from)
            .filter(|&len| len >= 2)
            .and_then(|len| rest.get(..len));
        match entry {
            Some(entry) => {
                offset += entry.len();
                Some(Ok((rest.first().copied().unwrap_or(0), entry)))
            }
            None => {
                let problem = AcpiProblem::BadEntry(offset);
                offset = table.len();
                Some(Err(problem))
            }
        }
    })
}
