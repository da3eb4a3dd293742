//! Kernel images: what a boot module holds, unpacked and understood as a paravirtual guest.
//!
//! The steps, each with its own errors:
//! 1. [`KernelImage::open`]: bzImage or bare file, and by which of Linux's seven compressions it is packed.
//! 2. [`KernelImage::unpack`] into memory of [`KernelImage::unpacked_size`] bytes. The output is the
//!    dictionary of every decoder, so no window is allocated beside it.
//! 3. [`Elf::parse`]: a 64-bit ELF file, its segments checked against the file and each other.
//! 4. [`PvKernel::from_elf`]: Xen's ELF notes, and from them where the kernel's segments go.
//!
//! Every byte may be wrong: nothing here panics, and no loop is longer than the input or the output.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod bytes;
mod bzimage;
mod decompress;
mod elf;
mod error;
mod image;
mod notes;
mod pv_kernel;

pub use decompress::Compression;
pub use elf::{Elf, MAX_SEGMENTS, Segment};
pub use error::{ElfProblem, ImageError, PackedProblem, PvProblem};
pub use image::{KernelImage, MAX_UNPACKED};
pub use notes::{Note, NoteValue};
pub use pv_kernel::{Features, LoadSegment, PvKernel};
