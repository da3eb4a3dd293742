//! 64-bit ELF files, as far as a loader needs them.
//!
//! An [`Elf`] is checked: all its loadable segments are inside the file, none passes the end of the address
//! space, none is larger in the file than in memory, and no two overlap in physical addresses.
//!
//! Source: System V ABI, chapters 4 and 5 (edition 4.1), and its AMD64 supplement.

use crate::ElfProblem;
use crate::bytes::{array, range, u16_at, u32_at, u64_at};
use arrayvec::ArrayVec;

/// How many loadable segments are accepted.
pub const MAX_SEGMENTS: usize = 32;

const HEADER_BYTES: u64 = 64;
const PROGRAM_HEADER_BYTES: u16 = 56;
const SECTION_HEADER_BYTES: u16 = 64;
const MACHINE_X86_64: u16 = 62;
const EXECUTABLE: u16 = 2;
const SHARED: u16 = 3;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const SHT_NOTE: u32 = 7;
const SHT_NOBITS: u32 = 8;

/// A part of the file that goes to memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// Physical address (for a paravirtual kernel, a pseudo-physical one with an offset).
    pub paddr: u64,
    /// Virtual address.
    pub vaddr: u64,
    /// The content.
    pub bytes: &'a [u8],
    /// Bytes in memory; those after the content are 0.
    pub memory_size: u64,
}

/// A checked ELF file.
#[derive(Clone, Debug)]
pub struct Elf<'a> {
    file: &'a [u8],
    entry: u64,
    segments: ArrayVec<Segment<'a>, MAX_SEGMENTS>,
    program_headers: Table<'a>,
    /// Without any if the section headers are outside the file: nothing but symbols needs them.
    section_headers: Table<'a>,
    section_names: u16,
}

/// Entries of one size.
#[derive(Clone, Copy, Debug)]
struct Table<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl<'a> Table<'a> {
    const EMPTY: Self = Self {
        bytes: &[],
        step: 1,
    };

    fn entries(self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.chunks_exact(self.step)
    }
}

impl<'a> Elf<'a> {
    /// Whether `file` starts as an ELF file.
    pub fn is_elf(file: &[u8]) -> bool {
        file.starts_with(b"\x7fELF")
    }

    /// Reads and checks the headers.
    pub fn parse(file: &'a [u8]) -> Result<Self, ElfProblem> {
        if !Self::is_elf(file) {
            return Err(ElfProblem::NotElf);
        }
        let size = file.len() as u64;
        let outside = |what, end| ElfProblem::Outside { what, end, size };
        let short = outside("the file header", HEADER_BYTES);
        let [class, order, version] = array(file, 4).ok_or(short)?;
        if class == 1 {
            return Err(ElfProblem::Is32Bit);
        }
        if (class, order, version) != (2, 1, 1) {
            return Err(ElfProblem::BadIdentification);
        }
        let header = range(file, 0, HEADER_BYTES).ok_or(short)?;
        let half = |offset| u16_at(header, offset).ok_or(short);
        let wide = |offset| u64_at(header, offset).ok_or(short);
        let (kind, machine) = (half(16)?, half(18)?);
        if machine != MACHINE_X86_64 {
            return Err(ElfProblem::WrongMachine { machine });
        }
        // A position-independent one counts as shared.
        if kind != EXECUTABLE && kind != SHARED {
            return Err(ElfProblem::NotExecutable { kind });
        }
        let table = |what, offset: u64, step: u16, count: u16, min: u16| {
            if count == 0 {
                return Ok(Table::EMPTY);
            }
            let len = u64::from(step) * u64::from(count);
            let outside = outside(what, offset.saturating_add(len));
            let bytes = range(file, offset, len).ok_or(outside)?;
            if step < min {
                return Err(outside);
            }
            Ok(Table {
                bytes,
                step: step.into(),
            })
        };
        let program_headers = table(
            "program headers",
            wide(32)?,
            half(54)?,
            half(56)?,
            PROGRAM_HEADER_BYTES,
        )?;
        let section_headers = table(
            "section headers",
            wide(40)?,
            half(58)?,
            half(60)?,
            SECTION_HEADER_BYTES,
        )
        .unwrap_or(Table::EMPTY);
        let mut elf = Self {
            file,
            entry: wide(24)?,
            segments: ArrayVec::new(),
            program_headers,
            section_headers,
            section_names: half(62)?,
        };
        elf.load_segments()?;
        Ok(elf)
    }

    fn load_segments(&mut self) -> Result<(), ElfProblem> {
        for (index, header) in self.program_headers.entries().enumerate() {
            let bad = ElfProblem::BadSegment { index };
            if u32_at(header, 0) != Some(PT_LOAD) {
                continue;
            }
            let field = |offset| u64_at(header, offset).ok_or(bad);
            let (offset, vaddr, paddr) = (field(8)?, field(16)?, field(24)?);
            let (file_size, memory_size) = (field(32)?, field(40)?);
            if memory_size == 0 {
                continue;
            }
            let fits = |address: u64| address.checked_add(memory_size).is_some();
            if file_size > memory_size || !fits(vaddr) || !fits(paddr) {
                return Err(bad);
            }
            let end = offset.saturating_add(file_size);
            let size = self.file.len() as u64;
            let outside = ElfProblem::Outside {
                what: "segments",
                end,
                size,
            };
            let bytes = range(self.file, offset, file_size).ok_or(outside)?;
            let new = Segment {
                paddr,
                vaddr,
                bytes,
                memory_size,
            };
            for old in &self.segments {
                if new.paddr < old.paddr + old.memory_size
                    && old.paddr < new.paddr + new.memory_size
                {
                    return Err(ElfProblem::Overlap {
                        address: new.paddr.max(old.paddr),
                    });
                }
            }
            self.segments
                .try_push(new)
                .map_err(|_| ElfProblem::TooManySegments)?;
        }
        if self.segments.is_empty() {
            Err(ElfProblem::NoSegments)
        } else {
            Ok(())
        }
    }

    /// The entry of the file's header.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// What to load.
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// First physical address, and the one past the last.
    pub fn physical_range(&self) -> (u64, u64) {
        let start = self.segments.iter().map(|segment| segment.paddr).min();
        // Cannot overflow: checked by `parse`.
        let end = self
            .segments
            .iter()
            .map(|segment| segment.paddr + segment.memory_size)
            .max();
        (start.unwrap_or(0), end.unwrap_or(0))
    }

    /// Contents of all note segments, then of all note sections. (A linker script may give only one of both.)
    pub(crate) fn note_areas(&self) -> impl Iterator<Item = &'a [u8]> {
        let file = self.file;
        let segments = self.program_headers.entries().filter_map(move |header| {
            (u32_at(header, 0)? == PT_NOTE)
                .then(|| range(file, u64_at(header, 8)?, u64_at(header, 32)?))?
        });
        let sections = self.section_headers.entries().filter_map(move |header| {
            (u32_at(header, 4)? == SHT_NOTE)
                .then(|| range(file, u64_at(header, 24)?, u64_at(header, 32)?))?
        });
        segments.chain(sections)
    }

    /// Content of the section `name`.
    pub(crate) fn section(&self, name: &[u8]) -> Option<&'a [u8]> {
        let content = |header: &[u8]| range(self.file, u64_at(header, 24)?, u64_at(header, 32)?);
        let names = content(
            self.section_headers
                .entries()
                .nth(self.section_names.into())?,
        )?;
        self.section_headers.entries().find_map(|header| {
            let at = usize::try_from(u32_at(header, 0)?).ok()?;
            let is_it = crate::bytes::until_nul(names.get(at..)?) == name;
            (is_it && u32_at(header, 4)? != SHT_NOBITS).then(|| content(header))?
        })
    }
}
