//! Linux's bzImage: where the compressed kernel is in it.
//!
//! Source: Linux's Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".

use crate::ImageError;
use crate::bytes::{array, range, u16_at, u32_at};

/// Offset of the number of real-mode sectors.
const SETUP_SECTORS: usize = 0x1f1;
/// Offset of the letters "HdrS".
const MAGIC: usize = 0x202;
/// Offset of the boot protocol's version.
const VERSION: usize = 0x206;
/// Offset of the payload's offset, in protected-mode code (2.08).
const PAYLOAD_OFFSET: usize = 0x248;
/// Offset of the payload's length (2.08).
const PAYLOAD_LENGTH: usize = 0x24c;

/// The payload of a bzImage; `None` if `file` is not one.
pub(crate) fn payload(file: &[u8]) -> Option<Result<&[u8], ImageError>> {
    if array(file, MAGIC)? != *b"HdrS" || u16_at(file, 0x1fe)? != 0xaa55 {
        return None;
    }
    let version = u16_at(file, VERSION)?;
    if version < 0x208 {
        return Some(Err(ImageError::OldBootProtocol { version }));
    }
    // For compatibility 0 means 4; the boot sector comes on top.
    let sectors = match file.get(SETUP_SECTORS)? {
        0 => 4,
        &sectors => u64::from(sectors),
    };
    let start = (sectors + 1) * 512 + u64::from(u32_at(file, PAYLOAD_OFFSET)?);
    let len = u64::from(u32_at(file, PAYLOAD_LENGTH)?);
    let outside = ImageError::PayloadOutside {
        end: start + len,
        size: file.len() as u64,
    };
    Some(range(file, start, len).ok_or(outside))
}
