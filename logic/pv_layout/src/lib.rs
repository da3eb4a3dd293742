//! Where a 64-bit paravirtual guest's kernel, tables and `start_info` go: pure computation.
//!
//! [`Layout::compute`] places everything; [`Layout::entries`] lists each page-table entry of the initial
//! address space; [`StartInfoContent`] makes the page that tells the guest. Who builds the guest (the
//! hypervisor for domain 0, a program for others) allocates the frames, copies, and applies the entries.
//!
//! In order of addresses from the kernel's base, pseudo-physical frame 0 being there:
//! kernel, initrd, p2m, `start_info`, for other domains than 0 the xenstore and console pages,
//! page tables (L4 first), boot stack, free pages up to the end. The end is aligned to 4 MiB and
//! leaves 512 KiB free at least. If the kernel can do without them in this map, the frames of initrd and p2m
//! come after all these, and the p2m has an address of its own.
//!
//! Source: `public/xen.h`, "Start-of-day memory layout".

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod layout;
mod start_info;
mod tables;

pub use layout::{Initrd, KernelPlace, Layout, LayoutError, P2m, Request, Role};
pub use start_info::{CommandLineTooLong, DomainPages, StartInfoContent};
pub use tables::TableEntry;
