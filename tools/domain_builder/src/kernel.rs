//! [`Kernel`]: what of a kernel file goes into a guest, and where.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernel_image::{KernelImage, PvKernel};
use pv_layout::KernelPlace;

use crate::cache::Cache;
use crate::error::BuildError;

/// A part of memory's content.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A file's.
    File(Arc<File>),
}

/// A part of a kernel that goes to memory: the content first, zeros behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadPart {
    /// Its address.
    pub address: u64,
    /// Its bytes in memory.
    pub memory_size: u64,
    /// Where it begins in the kernel's content.
    pub offset: u64,
    /// Its bytes in the content.
    pub length: u64,
}

/// A kernel, ready to be loaded.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What it wants of its place.
    pub place: KernelPlace,
    /// Whether its notes say that it knows PAE.
    pub has_pae_note: bool,
    /// Its parts.
    pub parts: Vec<LoadPart>,
    /// Where they are.
    pub content: Content,
}

/// A packed kernel that was taken apart: the parts' contents, one after the other.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) kernel: Kernel,
    pub(crate) bytes: Vec<u8>,
}

impl Kernel {
    /// Reads a kernel file, or what the cache knows of it. If it has to be unpacked, which takes long, `unpacking` is
    /// told how many bytes that makes.
    ///
    /// # Errors
    ///
    /// [`BuildError::File`], [`BuildError::Kernel`]. A cache that cannot be used is no error.
    pub fn load(
        path: &Path,
        cache: &Cache,
        unpacking: impl FnOnce(usize),
    ) -> Result<Self, BuildError> {
        let file_error = |error| BuildError::File {
            what: "kernel",
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(file_error)?;
        let identity = cache.identity(&file);
        if let Some(known) = identity.as_ref().and_then(|identity| cache.find(identity)) {
            return Ok(known);
        }
        let bytes = fs::read(path).map_err(file_error)?;
        let kernel_error = |error| BuildError::Kernel {
            path: path.to_owned(),
            error,
        };
        let image = KernelImage::open(&bytes).map_err(kernel_error)?;
        if let Some(unpacked) = image.unpacked() {
            let kernel = PvKernel::parse(unpacked).map_err(kernel_error)?;
            // No reason to keep what the file is already.
            return Ok(take_apart(&kernel).kernel_with_bytes());
        }
        if let Some(known) = identity
            .as_ref()
            .and_then(|identity| cache.find_content(identity, &bytes))
        {
            return Ok(known);
        }
        unpacking(image.unpacked_size());
        let mut elf = Vec::new();
        elf.try_reserve_exact(image.unpacked_size()).map_err(|_| {
            file_error(std::io::Error::new(
                std::io::ErrorKind::OutOfMemory,
                format!("unpacked it has {} bytes", image.unpacked_size()),
            ))
        })?;
        elf.resize(image.unpacked_size(), 0);
        image.unpack(&mut elf).map_err(kernel_error)?;
        let kernel = PvKernel::parse(&elf).map_err(kernel_error)?;
        let unpacked = take_apart(&kernel);
        drop(kernel);
        drop(elf);
        if let Some(identity) = identity
            && let Some(kept) = cache.keep(&identity, &bytes, &unpacked)
        {
            return Ok(kept);
        }
        Ok(unpacked.kernel_with_bytes())
    }
}

impl Unpacked {
    fn kernel_with_bytes(self) -> Kernel {
        Kernel {
            content: Content::Bytes(self.bytes.into()),
            ..self.kernel
        }
    }
}

/// Copies out what is loaded.
fn take_apart(kernel: &PvKernel<'_>) -> Unpacked {
    let mut bytes = Vec::new();
    let mut parts = Vec::new();
    for segment in kernel.segments() {
        parts.push(LoadPart {
            address: segment.address.raw(),
            memory_size: segment.memory_size,
            offset: bytes.len() as u64,
            length: segment.bytes.len() as u64,
        });
        bytes.extend_from_slice(segment.bytes);
    }
    let pae = kernel.pae_mode;
    Unpacked {
        kernel: Kernel {
            place: kernel.into(),
            has_pae_note: pae == b"yes" || pae.windows(7).any(|word| word == b"bimodal"),
            parts,
            content: Content::Bytes(Arc::new([])),
        },
        bytes,
    }
}

/// A file whose content goes to memory, such as an initrd.
pub(crate) fn open(what: &'static str, path: &Path) -> Result<(Arc<File>, u64), BuildError> {
    let error = |error| BuildError::File {
        what,
        path: PathBuf::from(path),
        error,
    };
    let file = File::open(path).map_err(error)?;
    let metadata = file.metadata().map_err(error)?;
    if !metadata.is_file() {
        return Err(error(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "it is not a regular file",
        )));
    }
    Ok((Arc::new(file), metadata.len()))
}
