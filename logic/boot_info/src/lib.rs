//! What the boot loader and the firmware tell: parsed, checked and typed.
//!
//! - [`multiboot1`], [`multiboot2`]: the boot loader's information → [`BootInfo`].
//! - [`MemoryMap`]: the firmware's memory map (E820), sorted and without overlaps.
//! - [`acpi`]: the static ACPI tables that a hypervisor needs; AML is domain 0's affair.
//! - [`Config`]: the hypervisor's command line.
//!
//! Everything works on a [`PhysicalMemory`] reader, does not allocate, and treats each byte as possibly wrong:
//! a malformed table is a typed error whose text names the table and the problem.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod acpi;
mod bytes;
pub mod config;
mod info;
mod memory_map;
pub mod multiboot1;
pub mod multiboot2;

use addr::Maddr;

pub use config::{Config, ConfigProblem};
pub use info::{BootInfo, BootInfoError, Framebuffer, MAX_MODULES, Module, Video};
pub use memory_map::{MAX_REGIONS, MemoryMap, MemoryMapFull, Region, RegionKind};

/// Access to the machine's memory while the hypervisor boots, before any guest exists.
pub trait PhysicalMemory {
    /// The `len` bytes at `at`; `None` if they are not all readable.
    fn read(&self, at: Maddr, len: usize) -> Option<&[u8]>;
}
