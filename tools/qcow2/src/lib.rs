//! Disk images in QEMU's format qcow2, versions 2 and 3: read and written as disks.
//!
//! Backing files (raw and qcow2), internal snapshots (which stay as they are), zero clusters and clusters compressed
//! by deflate. Not there: encryption, external data files, extended L2 entries, zstd; of these an image is refused by name.
//!
//! Invariants:
//! - What is in the image is believed by nobody: every offset is checked before it is used, and nothing overflows.
//! - **Order.** A cluster is counted (refcount) before anything points to it, and counted down after nothing does. Pointers
//!   stay in memory until [`Image::flush`], which brings data and counts to the disk first, then the L2 tables, then the L1
//!   table. A crash leaves clusters that nobody uses, never one that is used twice.
//! - An image whose counts are marked as out of date (`dirty`) is read, not written.
//!
//! Source: QEMU's `docs/interop/qcow2.txt`.

#![forbid(unsafe_code)]

mod clusters;
mod header;
mod image;
mod refcounts;

pub use image::Image;

use std::fmt;
use std::io;

/// Why an image cannot be used.
#[derive(Debug)]
pub enum ImageError {
    /// A file cannot be read or written.
    Io(io::Error),
    /// It is not what it should be, or not of a kind that there is here.
    Image(String),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Image(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ImageError {}

impl From<io::Error> for ImageError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What an image says that makes no sense.
fn damaged(what: impl fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the image is damaged: {what}"),
    )
}
