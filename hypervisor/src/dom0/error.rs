//! Why domain 0 cannot be built: each in one line, for the person at the console.

use addr::PAGE_SIZE;
use boot_info::config::Dom0MemoryError;
use kernel_image::ImageError;
use pv_layout::{CommandLineTooLong, LayoutError};

/// Why domain 0 cannot be built.
#[derive(Debug)]
pub enum Dom0Error {
    /// The boot loader gave no module.
    NoKernel,
    /// The first module is no kernel that can be domain 0.
    Kernel(ImageError),
    /// `dom0_mem=` and the machine do not agree.
    Memory(Dom0MemoryError),
    /// Kernel, initrd and tables have no room.
    Layout(LayoutError),
    /// The kernel's command line does not fit.
    CommandLine(CommandLineTooLong),
    /// Memory ran out for this.
    NoMemory(&'static str),
    /// Pages that domain 0 should have, and how many there were.
    Pages {
        /// Pages wanted.
        wanted: u64,
        /// Pages that could be had.
        got: u64,
    },
    /// The kernel names an address outside of its own image.
    Address {
        /// What is there.
        what: &'static str,
        /// The address.
        address: u64,
    },
    /// The page tables that were built do not pass the checks: a bug of the hypervisor's.
    PageTables,
}

impl From<ImageError> for Dom0Error {
    fn from(error: ImageError) -> Self {
        Self::Kernel(error)
    }
}

impl From<LayoutError> for Dom0Error {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

impl core::fmt::Display for Dom0Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoKernel => write!(
                f,
                "no boot module: the boot loader has to pass domain 0's kernel as the first module"
            ),
            Self::Kernel(error) => write!(f, "domain 0's kernel: {error}"),
            Self::Memory(error) => write!(f, "{error}"),
            Self::Layout(error) => write!(f, "domain 0: {error}"),
            Self::CommandLine(error) => write!(f, "domain 0: {error}"),
            Self::NoMemory(what) => write!(f, "domain 0: not enough memory for {what}"),
            Self::Pages { wanted, got } => write!(
                f,
                "domain 0: {} KiB of memory wanted, {} KiB could be had",
                wanted * (PAGE_SIZE / 1024),
                got * (PAGE_SIZE / 1024)
            ),
            Self::Address { what, address } => {
                write!(
                    f,
                    "domain 0's kernel: {what} at {address:#x} is outside of its image"
                )
            }
            Self::PageTables => write!(f, "domain 0: its page tables do not pass the checks"),
        }
    }
}
