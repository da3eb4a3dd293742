//! The header.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::ImageError;

const MAGIC: u32 = 0x5146_49fb;
/// The extension that names the backing file's format.
const BACKING_FORMAT: u32 = 0xe279_2aca;
const INCOMPATIBLE: [&str; 5] = [
    "dirty",
    "corrupt",
    "external data file",
    "compression type",
    "extended L2 entries",
];
/// Largest L1 table, in bytes, as in QEMU.
const MAX_L1: u64 = 32 << 20;
/// Where version 3 keeps the features that a writer has to know of or to clear.
pub(crate) const AUTOCLEAR_AT: u64 = 88;
/// Where offset and size of the refcount table are.
pub(crate) const REFCOUNT_TABLE_AT: u64 = 48;

/// What the header says, checked.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) cluster_bits: u32,
    /// Of the disk, in bytes.
    pub(crate) size: u64,
    pub(crate) l1_entries: usize,
    pub(crate) l1_at: u64,
    pub(crate) refcount_table_at: u64,
    pub(crate) refcount_table_clusters: u32,
    pub(crate) refcount_order: u32,
    pub(crate) is_dirty: bool,
    pub(crate) has_autoclear: bool,
    /// The backing file's name as it is written there, and its format.
    pub(crate) backing: Option<(PathBuf, String)>,
}

fn bad<T>(text: impl Into<String>) -> Result<T, ImageError> {
    Err(ImageError::Image(text.into()))
}

impl Header {
    pub(crate) fn read(file: &File) -> Result<Self, ImageError> {
        let mut bytes = [0_u8; 104];
        let mut length = 0;
        while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, length as u64)? {
                0 => break,
                count => length += count,
            }
        }
        let u32_at = |at: usize| {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map_or(0, u32::from_be_bytes)
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
        if length < 72 || u32_at(0) != MAGIC {
            return bad("it is not a qcow2 image");
        }
        let version = u32_at(4);
        if version != 2 && version != 3 {
            return bad(format!("it has version {version} of qcow2, not 2 or 3"));
        }
        let cluster_bits = u32_at(20);
        if !(9..=21).contains(&cluster_bits) {
            return bad(format!("clusters of 2^{cluster_bits} bytes"));
        }
        if u32_at(32) != 0 {
            return bad("encrypted images cannot be used");
        }
        let incompatible = if version == 3 { u64_at(72) } else { 0 };
        for bit in 1..64 {
            if incompatible & 1 << bit != 0 {
                let name = INCOMPATIBLE.get(bit).unwrap_or(&"unknown");
                return bad(format!("feature {bit} ({name}) is not there"));
            }
        }
        let size = u64_at(24);
        let l1_entries = u64::from(u32_at(36));
        let per_l2 = 1_u64 << (cluster_bits - 3 + cluster_bits);
        if size > i64::MAX as u64 || l1_entries < size.div_ceil(per_l2) {
            return bad("its first table is too small");
        }
        if l1_entries * 8 > MAX_L1 {
            return bad("its first table is too large");
        }
        let cluster = 1_u64 << cluster_bits;
        let (l1_at, refcount_table_at) = (u64_at(40), u64_at(48));
        if !l1_at.is_multiple_of(cluster) || !refcount_table_at.is_multiple_of(cluster) {
            return bad("its tables are not aligned");
        }
        let refcount_order = if version == 3 { u32_at(96) } else { 4 };
        let mut header = Self {
            version,
            cluster_bits,
            size,
            l1_entries: l1_entries as usize,
            l1_at,
            refcount_table_at,
            refcount_table_clusters: u32_at(56),
            refcount_order,
            is_dirty: incompatible & 1 != 0,
            has_autoclear: version == 3 && u64_at(88) != 0,
            backing: None,
        };
        let (name_at, name_length) = (u64_at(8), u32_at(16));
        if name_at != 0 {
            if name_length > 1023 || name_at > cluster {
                return bad("the name of its backing file is out of bounds");
            }
            let mut name = vec![0; name_length as usize];
            file.read_exact_at(&mut name, name_at)?;
            let name = String::from_utf8(name)
                .map_err(|_| ImageError::Image("the name of its backing file".to_owned()))?;
            let begin = if version == 3 {
                u64::from(u32_at(100))
            } else {
                72
            };
            let Some(format) = backing_format(file, begin, name_at)? else {
                // To guess would let a guest that writes a header into a raw disk read any file.
                return bad(format!(
                    "it does not say which format its backing file has: qemu-img rebase -u -b {name} -F FORMAT"
                ));
            };
            header.backing = Some((PathBuf::from(name), format));
        }
        Ok(header)
    }
}

/// Looks through the extensions between `at` and `end`.
fn backing_format(file: &File, mut at: u64, end: u64) -> Result<Option<String>, ImageError> {
    while at + 8 <= end {
        let mut head = [0_u8; 8];
        file.read_exact_at(&mut head, at)?;
        let [a, b, c, d, length @ ..] = head;
        let kind = u32::from_be_bytes([a, b, c, d]);
        let length = u64::from(u32::from_be_bytes(length));
        if kind == 0 || at + 8 + length > end {
            break;
        }
        if kind == BACKING_FORMAT && length < 64 {
            let mut name = vec![0; length as usize];
            file.read_exact_at(&mut name, at + 8)?;
            return Ok(String::from_utf8(name).ok());
        }
        at += 8 + length.next_multiple_of(8);
    }
    Ok(None)
}
