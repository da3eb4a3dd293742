//! Multiboot 1: the information structure (`qemu -kernel`, GRUB's `multiboot`).
//!
//! Source: The Multiboot Specification version 0.6.96, §3.3 (Boot information format).

use crate::bytes::{array, u8_at, u32_at, u64_at};
use crate::info::BootInfoError;
use crate::{BootInfo, Framebuffer, PhysicalMemory, RegionKind, Video};
use addr::Maddr;

/// What the boot loader leaves in EAX.
pub const LOADER_MAGIC: u32 = 0x2bad_b002;

const HAS_MEMORY_SIZES: u32 = 1 << 0;
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MEMORY_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;
const HAS_FRAMEBUFFER: u32 = 1 << 12;

/// Bytes of the structure up to and with the frame buffer's fields.
const INFO_BYTES: usize = 116;
/// Bytes of the structure that each boot loader gives.
const INFO_BYTES_MIN: usize = 88;
/// Longest string that is read.
const STRING_MAX: u64 = 8192;
/// Bytes of a module's entry.
const MODULE_BYTES: usize = 16;

/// Parses the information structure at `at`, the address in EBX.
pub fn parse(memory: &impl PhysicalMemory, at: Maddr) -> Result<BootInfo, BootInfoError> {
    let unreadable = BootInfoError::Unreadable {
        what: "the information structure",
        at,
    };
    let bytes = memory
        .read(at, INFO_BYTES)
        .or_else(|| memory.read(at, INFO_BYTES_MIN))
        .ok_or(unreadable)?;
    let field = |offset| u32_at(bytes, offset).ok_or(unreadable);
    let flags = field(0)?;
    let has = |flag| flags & flag != 0;
    let mut info = BootInfo::empty();

    if has(HAS_LOADER_NAME) {
        string(memory, field(64)?, "the loader's name", |text| {
            info.set_loader_name(text)
        })?;
    }
    if has(HAS_COMMAND_LINE) {
        string(memory, field(16)?, "the command line", |text| {
            info.set_command_line(text)
        })?;
    }
    if has(HAS_MODULES) {
        modules(memory, field(20)?, field(24)?, &mut info)?;
    }
    if has(HAS_MEMORY_MAP) {
        memory_map(memory, field(44)?, field(48)?, &mut info)?;
    } else if has(HAS_MEMORY_SIZES) {
        // KiB from 0 and from 1 MiB.
        let (low, high) = (u64::from(field(4)?) << 10, u64::from(field(8)?) << 10);
        let entries = [(0, low, RegionKind::RAM), (1 << 20, high, RegionKind::RAM)];
        info.memory_map = crate::MemoryMap::from_entries(entries.into_iter())?;
    } else {
        return Err(BootInfoError::NoMemoryMap);
    }
    if has(HAS_FRAMEBUFFER) {
        info.video = bytes.get(88..).and_then(video);
    }
    Ok(info)
}

/// The frame buffer's fields, which both protocols lay out alike up to the colours.
pub(crate) fn video(fields: &[u8]) -> Option<Video> {
    let address = Maddr::new(u64_at(fields, 0)?);
    let (pitch, width) = (u32_at(fields, 8)?, u32_at(fields, 12)?);
    let (height, bits_per_pixel) = (u32_at(fields, 16)?, u8_at(fields, 20)?);
    match u8_at(fields, 21)? {
        1 => {
            let [rp, rs, gp, gs, bp, bs] = array(fields, 22)?;
            let colours = [(rp, rs), (gp, gs), (bp, bs)];
            Some(Video::Pixels(Framebuffer {
                address,
                pitch,
                width,
                height,
                bits_per_pixel,
                colours,
            }))
        }
        2 => Some(Video::Text {
            address,
            columns: width,
            rows: height,
        }),
        // Indexed colours: of no use without the palette, which cannot be passed on.
        _ => None,
    }
}

fn modules(
    memory: &impl PhysicalMemory,
    count: u32,
    at: u32,
    info: &mut BootInfo,
) -> Result<(), BootInfoError> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > crate::MAX_MODULES {
        return Err(BootInfoError::TooManyModules { count });
    }
    let at = Maddr::new(u64::from(at));
    let unreadable = BootInfoError::Unreadable {
        what: "the module list",
        at,
    };
    let bytes = memory.read(at, count * MODULE_BYTES).ok_or(unreadable)?;
    for entry in bytes.chunks_exact(MODULE_BYTES) {
        let field = |offset| u32_at(entry, offset).ok_or(unreadable);
        let (start, end, text) = (field(0)?, field(4)?, field(8)?);
        let mut add = |text: &[u8]| info.add_module(start.into(), end.into(), text);
        if text == 0 {
            add(&[])?;
        } else {
            string(memory, text, "a module's command line", add)?;
        }
    }
    Ok(())
}

fn memory_map(
    memory: &impl PhysicalMemory,
    len: u32,
    at: u32,
    info: &mut BootInfo,
) -> Result<(), BootInfoError> {
    let what = "the memory map";
    let at = Maddr::new(u64::from(at));
    let bytes = usize::try_from(len)
        .ok()
        .and_then(|len| memory.read(at, len))
        .ok_or(BootInfoError::Unreadable { what, at })?;
    let mut rest = bytes;
    while !rest.is_empty() {
        // An entry's size does not count the size field itself.
        let size = u32_at(rest, 0).ok_or(BootInfoError::BadSize {
            what,
            size: len.into(),
        })?;
        let bad = BootInfoError::BadSize {
            what: "a memory map entry",
            size: size.into(),
        };
        if size < 20 {
            return Err(bad);
        }
        let end = usize::try_from(size)
            .ok()
            .and_then(|size| size.checked_add(4))
            .ok_or(bad)?;
        let entry = rest.get(..end).ok_or(bad)?;
        let start = u64_at(entry, 4).ok_or(bad)?;
        let len = u64_at(entry, 12).ok_or(bad)?;
        let kind = RegionKind(u32_at(entry, 20).ok_or(bad)?);
        info.memory_map.insert(crate::Region {
            start: Maddr::new(start),
            end: Maddr::new(start.saturating_add(len)),
            kind,
        })?;
        rest = rest.get(end..).unwrap_or(&[]);
    }
    if info.memory_map.regions().is_empty() {
        return Err(BootInfoError::NoMemoryMap);
    }
    Ok(())
}

/// Finds the NUL-terminated string at `at` and hands it on.
fn string<R>(
    memory: &impl PhysicalMemory,
    at: u32,
    what: &'static str,
    take: impl FnOnce(&[u8]) -> Result<R, BootInfoError>,
) -> Result<R, BootInfoError> {
    let at = Maddr::new(u64::from(at));
    let unreadable = BootInfoError::Unreadable { what, at };
    for len in 0..STRING_MAX {
        let last = at
            .checked_add(len)
            .and_then(|last| memory.read(last, 1))
            .ok_or(unreadable)?;
        if last == [0] {
            return take(memory.read(at, len as usize).ok_or(unreadable)?);
        }
    }
    Err(BootInfoError::TextTooLong)
}
