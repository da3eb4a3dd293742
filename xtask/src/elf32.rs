//! The ELF32 container: multiboot loaders (QEMU's `-kernel`) take no 64-bit ELF. The image's load segments
//! are taken over as they are, at their physical addresses; the entry is its physical address.
//!
//! Source: the ELF specification; multiboot's wants its header within the first 8 KiB, multiboot2 within 32.

use anyhow::{Context, Result, bail, ensure};
use object::elf::{EM_386, EM_X86_64, ET_EXEC, FileHeader64, PT_LOAD};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader, ProgramHeader};

const HEADER_SIZE: usize = 52;
const PROGRAM_HEADER_SIZE: usize = 32;
/// QEMU and GRUB read whole files: no page alignment is needed, but multiboot2 wants 8 bytes.
const ALIGNMENT: usize = 64;

/// A part of the image in memory.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) physical: u32,
    pub(crate) memory_size: u32,
    pub(crate) flags: u32,
    pub(crate) content: Vec<u8>,
}

/// An image as multiboot loaders see it.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// Physical.
    pub(crate) entry: u32,
    /// By address.
    pub(crate) segments: Vec<Segment>,
}

impl Container {
    /// Takes the load segments of a linked ELF64 image.
    pub(crate) fn from_elf64(elf: &[u8]) -> Result<Container> {
        let header = FileHeader64::<LittleEndian>::parse(elf)?;
        ensure!(
            header.e_machine(LittleEndian) == EM_X86_64,
            "not an x86-64 image"
        );
        let entry = header.e_entry(LittleEndian);
        let mut physical_entry = None;
        let mut segments = Vec::new();
        for program in header.program_headers(LittleEndian, elf)? {
            let size = program.p_memsz(LittleEndian);
            if program.p_type(LittleEndian) != PT_LOAD || size == 0 {
                continue;
            }
            let (virtual_start, physical) =
                (program.p_vaddr(LittleEndian), program.p_paddr(LittleEndian));
            for start in [virtual_start, physical] {
                if (start..start + size).contains(&entry) {
                    physical_entry = Some(entry - start + physical);
                }
            }
            segments.push(Segment {
                physical: u32::try_from(physical).with_context(|| {
                    format!("a segment's physical address {physical:#x} is above 4 GiB")
                })?,
                memory_size: u32::try_from(size)?,
                flags: program.p_flags(LittleEndian).0,
                content: program
                    .data(LittleEndian, elf)
                    .map_err(|()| anyhow::anyhow!("a segment lies outside of the file"))?
                    .to_vec(),
            });
        }
        let Some(physical_entry) = physical_entry else {
            bail!("the entry {entry:#x} lies in no segment");
        };
        segments.sort_by_key(|segment| segment.physical);
        Ok(Container {
            entry: u32::try_from(physical_entry)?,
            segments,
        })
    }

    /// The first address after the image.
    pub(crate) fn end(&self) -> u32 {
        self.segments
            .iter()
            .map(|segment| segment.physical + segment.memory_size)
            .max()
            .unwrap_or(0)
    }

    /// The file.
    pub(crate) fn write(&self) -> Result<Vec<u8>> {
        let mut out = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let short = |out: &mut Vec<u8>, value: u16| out.extend_from_slice(&value.to_le_bytes());
        let long = |out: &mut Vec<u8>, value: u32| out.extend_from_slice(&value.to_le_bytes());
        short(&mut out, ET_EXEC.0);
        short(&mut out, EM_386.0);
        long(&mut out, 1);
        long(&mut out, self.entry);
        long(&mut out, HEADER_SIZE as u32);
        long(&mut out, 0);
        long(&mut out, 0);
        for value in [
            HEADER_SIZE,
            PROGRAM_HEADER_SIZE,
            self.segments.len(),
            40,
            0,
            0,
        ] {
            short(&mut out, u16::try_from(value)?);
        }
        let headers = HEADER_SIZE + self.segments.len() * PROGRAM_HEADER_SIZE;
        let mut offset = headers.next_multiple_of(ALIGNMENT);
        let mut offsets = Vec::new();
        for segment in &self.segments {
            offsets.push(offset);
            long(&mut out, PT_LOAD.0);
            long(&mut out, u32::try_from(offset)?);
            // Virtual as physical: nothing runs at these addresses but the 32-bit entry code.
            long(&mut out, segment.physical);
            long(&mut out, segment.physical);
            long(&mut out, u32::try_from(segment.content.len())?);
            long(&mut out, segment.memory_size);
            long(&mut out, segment.flags);
            long(&mut out, ALIGNMENT as u32);
            offset = (offset + segment.content.len()).next_multiple_of(ALIGNMENT);
        }
        for (offset, segment) in offsets.iter().zip(&self.segments) {
            out.resize(*offset, 0);
            out.extend_from_slice(&segment.content);
        }
        Ok(out)
    }
}
