//! Multiboot 2: the information's tags (GRUB's `multiboot2`).
//!
//! Source: Multiboot2 Specification version 2.0, §3.6 (Boot information format).

use crate::acpi::Rsdp;
use crate::bytes::{u32_at, u64_at, until_nul};
use crate::info::BootInfoError;
use crate::{BootInfo, MemoryMap, PhysicalMemory, Region, RegionKind, multiboot1};
use addr::Maddr;

/// What the boot loader leaves in EAX.
pub const LOADER_MAGIC: u32 = 0x36d7_6289;

const END: u32 = 0;
const COMMAND_LINE: u32 = 1;
const LOADER_NAME: u32 = 2;
const MODULE: u32 = 3;
const MEMORY_SIZES: u32 = 4;
const MEMORY_MAP: u32 = 6;
const FRAMEBUFFER: u32 = 8;
const EFI_SYSTEM_TABLE_64: u32 = 12;
const RSDP_OLD: u32 = 14;
const RSDP_NEW: u32 = 15;

/// Bytes of a tag's type and size.
const TAG_HEADER: usize = 8;
/// The largest information that is believed.
const INFO_MAX: usize = 1 << 20;

/// Parses the information at `at`, the address in EBX.
pub fn parse(memory: &impl PhysicalMemory, at: Maddr) -> Result<BootInfo, BootInfoError> {
    let what = "the information";
    let unreadable = BootInfoError::Unreadable { what, at };
    let total = memory
        .read(at, 8)
        .and_then(|bytes| u32_at(bytes, 0))
        .ok_or(unreadable)?;
    let bad = BootInfoError::BadSize {
        what,
        size: total.into(),
    };
    let total = usize::try_from(total).map_err(|_| bad)?;
    if !(8 + TAG_HEADER..=INFO_MAX).contains(&total) {
        return Err(bad);
    }
    let bytes = memory.read(at, total).ok_or(unreadable)?;

    let mut info = BootInfo::empty();
    let mut sizes = None;
    let mut tags = Tags {
        rest: bytes.get(8..).unwrap_or(&[]),
    };
    while let Some((kind, body)) = tags.next()? {
        let short = |what| BootInfoError::BadSize {
            what,
            size: (TAG_HEADER + body.len()) as u64,
        };
        match kind {
            COMMAND_LINE => info.set_command_line(until_nul(body))?,
            LOADER_NAME => info.set_loader_name(until_nul(body))?,
            MODULE => {
                let short = short("a module's tag");
                let start = u32_at(body, 0).ok_or(short)?;
                let end = u32_at(body, 4).ok_or(short)?;
                info.add_module(
                    start.into(),
                    end.into(),
                    until_nul(body.get(8..).ok_or(short)?),
                )?;
            }
            MEMORY_SIZES => {
                let short = short("the memory sizes' tag");
                let low = u32_at(body, 0).ok_or(short)?;
                let high = u32_at(body, 4).ok_or(short)?;
                sizes = Some((u64::from(low) << 10, u64::from(high) << 10));
            }
            MEMORY_MAP => memory_map(body, &mut info)?,
            FRAMEBUFFER => {
                // One reserved byte more than in multiboot 1 stands before the colours.
                let mut fields = [0; 28];
                for (to, from) in fields
                    .iter_mut()
                    .zip(body.iter().take(22).chain(body.iter().skip(24)))
                {
                    *to = *from;
                }
                info.video = multiboot1::video(&fields);
            }
            EFI_SYSTEM_TABLE_64 => info.efi_system_table = u64_at(body, 0).map(Maddr::new),
            // The newer one wins; a root with a wrong checksum is as none, the firmware's area is searched.
            RSDP_NEW => info.rsdp = Rsdp::parse(body).or(info.rsdp),
            RSDP_OLD => info.rsdp = info.rsdp.or_else(|| Rsdp::parse(body)),
            _ => {}
        }
    }
    if info.memory_map.regions().is_empty() {
        let (low, high) = sizes.ok_or(BootInfoError::NoMemoryMap)?;
        let entries = [(0, low, RegionKind::RAM), (1 << 20, high, RegionKind::RAM)];
        info.memory_map = MemoryMap::from_entries(entries.into_iter())?;
    }
    Ok(info)
}

struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Tags<'a> {
    /// The next tag's type and body; `None` at the end tag.
    fn next(&mut self) -> Result<Option<(u32, &'a [u8])>, BootInfoError> {
        let what = "a tag";
        let missing = BootInfoError::BadSize {
            what,
            size: self.rest.len() as u64,
        };
        let kind = u32_at(self.rest, 0).ok_or(missing)?;
        let size = u32_at(self.rest, 4).ok_or(missing)?;
        if kind == END {
            return Ok(None);
        }
        let bad = BootInfoError::BadSize {
            what,
            size: size.into(),
        };
        let size = usize::try_from(size).map_err(|_| bad)?;
        let body = self.rest.get(TAG_HEADER..size).ok_or(bad)?;
        // Tags are aligned to 8 bytes.
        let next = size.checked_next_multiple_of(8).ok_or(bad)?;
        self.rest = self.rest.get(next..).unwrap_or(&[]);
        Ok(Some((kind, body)))
    }
}

fn memory_map(body: &[u8], info: &mut BootInfo) -> Result<(), BootInfoError> {
    let bad = |size| BootInfoError::BadSize {
        what: "a memory map entry",
        size,
    };
    let size = u32_at(body, 0).ok_or(bad(0))?;
    let bad = bad(size.into());
    let step = usize::try_from(size)
        .ok()
        .filter(|&step| step >= 20)
        .ok_or(bad)?;
    for entry in body.get(8..).ok_or(bad)?.chunks_exact(step) {
        let start = u64_at(entry, 0).ok_or(bad)?;
        let len = u64_at(entry, 8).ok_or(bad)?;
        let kind = RegionKind(u32_at(entry, 16).ok_or(bad)?);
        info.memory_map.insert(Region {
            start: Maddr::new(start),
            end: Maddr::new(start.saturating_add(len)),
            kind,
        })?;
    }
    Ok(())
}
