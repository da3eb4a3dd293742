//! [`KernelImage`]: from a boot module to the kernel's ELF file.

use crate::bytes::array;
use crate::{Compression, ImageError, PackedProblem, bzimage, decompress};

/// The largest unpacked kernel that is believed.
pub const MAX_UNPACKED: u64 = 1 << 30;

/// A boot module that holds a kernel.
#[derive(Clone, Copy, Debug)]
pub struct KernelImage<'a> {
    compression: Compression,
    payload: &'a [u8],
    unpacked_size: usize,
}

impl<'a> KernelImage<'a> {
    /// Finds out what a module is.
    pub fn open(module: &'a [u8]) -> Result<Self, ImageError> {
        let (payload, is_bzimage) = match bzimage::payload(module) {
            Some(payload) => (payload?, true),
            None => (module, false),
        };
        let Some(compression) = Compression::detect(payload) else {
            return Err(if is_bzimage {
                ImageError::UnknownCompression {
                    magic: array(payload, 0).unwrap_or([0; 4]),
                }
            } else {
                ImageError::NotAKernel
            });
        };
        let fail = |problem| ImageError::Packed {
            compression,
            problem,
        };
        let size = if is_bzimage && compression != Compression::None {
            // Linux's build puts the size behind the data (gzip does so itself).
            let size = payload.last_chunk().ok_or(fail(PackedProblem::Truncated))?;
            u64::from(u32::from_le_bytes(*size))
        } else {
            decompress::unpacked_size(compression, payload).map_err(fail)?
        };
        let unpacked_size = usize::try_from(size)
            .ok()
            .filter(|_| (1..=MAX_UNPACKED).contains(&size))
            .ok_or(fail(PackedProblem::TooLarge { size }))?;
        Ok(Self {
            compression,
            payload,
            unpacked_size,
        })
    }

    /// How the kernel is packed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The kernel's ELF file, if it is not packed: no need to copy it.
    pub fn unpacked(&self) -> Option<&'a [u8]> {
        (self.compression == Compression::None).then_some(self.payload)
    }

    /// Size of the kernel's ELF file in bytes.
    pub fn unpacked_size(&self) -> usize {
        self.unpacked_size
    }

    /// Unpacks the kernel's ELF file into `output`, which has [`Self::unpacked_size`] bytes (or more: the rest
    /// is not touched).
    pub fn unpack(&self, output: &mut [u8]) -> Result<(), ImageError> {
        let compression = self.compression;
        let expected = self.unpacked_size;
        let fail = |problem| ImageError::Packed {
            compression,
            problem,
        };
        let output = output
            .get_mut(..expected)
            .ok_or(fail(PackedProblem::TooLong))?;
        let unpacked = decompress::unpack(compression, self.payload, output).map_err(fail)?;
        if unpacked != expected {
            let (unpacked, expected) = (unpacked as u64, expected as u64);
            return Err(fail(PackedProblem::TooShort { unpacked, expected }));
        }
        Ok(())
    }
}
