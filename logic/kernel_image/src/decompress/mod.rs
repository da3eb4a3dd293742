//! The compressions that Linux's build knows, each unpacked straight into the caller's memory.
//!
//! | format | decoder | memory beside the output |
//! |---|---|---|
//! | gzip | `miniz_oxide` | 11 KiB on the heap |
//! | bzip2 | `bzip2` | 3.6 MiB on the heap at level 9 |
//! | lzma, xz | `lzma` | 32 KiB on the heap (more for unusual `lc`, `lp`) |
//! | lzo | `lzo` | none |
//! | lz4 | `lz4_flex` | none |
//! | zstd | `zstd` | 0.3 MiB on the heap |

mod bzip2;
mod checksum;
mod gzip;
mod history;
mod lz4;
mod lzma;
mod lzo;
mod x86_filter;
mod xz;
mod zstd;

use crate::{Elf, PackedProblem};
use core::fmt;

/// How data is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Compression {
    None,
    Gzip,
    Bzip2,
    Lzma,
    Xz,
    Lzo,
    Lz4,
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl Compression {
    /// By the first bytes; `None` if they mean nothing.
    pub fn detect(data: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], Compression); 7] = [
            (&[0x1f, 0x8b], Compression::Gzip),
            (b"BZh", Compression::Bzip2),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"\x89LZO\0\r\n\x1a\n", Compression::Lzo),
            (&[0x02, 0x21, 0x4c, 0x18], Compression::Lz4),
            (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
            // No magic: properties as always written, and a dictionary below 16 MiB or of whole 64 KiB.
            (&[0x5d, 0x00, 0x00], Compression::Lzma),
        ];
        if Elf::is_elf(data) {
            return Some(Self::None);
        }
        MAGICS
            .iter()
            .find(|(magic, _)| data.starts_with(magic))
            .map(|&(_, compression)| compression)
    }
}

/// The unpacked size as the format itself tells it, where it does.
pub(crate) fn unpacked_size(compression: Compression, data: &[u8]) -> Result<u64, PackedProblem> {
    match compression {
        Compression::None => Ok(data.len() as u64),
        Compression::Gzip => gzip::unpacked_size(data),
        Compression::Lzma => lzma::unpacked_size(data),
        Compression::Xz => xz::unpacked_size(data),
        Compression::Zstd => zstd::unpacked_size(data),
        Compression::Lzo => lzo::unpacked_size(data),
        Compression::Bzip2 | Compression::Lz4 => Err(PackedProblem::UnknownSize),
    }
}

/// Unpacks `data` into `output`, and returns how many bytes that were. Bytes after the data's end are ignored.
pub(crate) fn unpack(
    compression: Compression,
    data: &[u8],
    output: &mut [u8],
) -> Result<usize, PackedProblem> {
    match compression {
        Compression::None => {
            output
                .get_mut(..data.len())
                .ok_or(PackedProblem::TooLong)?
                .copy_from_slice(data);
            Ok(data.len())
        }
        Compression::Gzip => gzip::unpack(data, output),
        Compression::Lzma => lzma::unpack(data, output),
        Compression::Xz => xz::unpack(data, output),
        Compression::Zstd => zstd::unpack(data, output),
        Compression::Bzip2 => bzip2::unpack(data, output),
        Compression::Lzo => lzo::unpack(data, output),
        Compression::Lz4 => lz4::unpack(data, output),
    }
}
