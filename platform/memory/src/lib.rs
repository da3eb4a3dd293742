//! Memory: the hypervisor's address space, its heap, and the ways to memory that is not its own.
//!
//! The address space is described in ARCHITECTURE.md: slots 256–271 of every L4 are the hypervisor's and hold
//! the same entries everywhere, but for slot 260, which is the domain's. Their L3 tables never change place, so
//! that an entry copied into a guest's L4 stays right.
//!
//! Sources: SDM 3A §4 (paging), §11.12 (PAT); public/arch-x86/xen-x86_64.h (the hypervisor's range).

#![no_std]
// UNSAFETY: this crate is the part of the unsafe ring that writes page tables and reaches all of memory;
// README.md states its contract.
#![allow(unsafe_code)]
// On the host only the pure parts are built to be tested, and much is without use.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod blocks;
mod direct_map;
mod free_ranges;
mod heap;
mod init;
mod layout;
pub mod m2p;
mod per_domain;
mod roots;
mod table_page;
mod tables;
mod vmap;

pub use blocks::{block_frame, map_block};
pub use direct_map::{DirectMap, FirmwareMemory, Mapped, map};
pub use heap::{HeapUse, PageSource, heap_use, set_page_source, try_arc, try_box};
pub use init::{BootModule, InitError, MemoryInit, init};
pub use layout::{DIRECT_MAP, HYPERVISOR_SLOTS, M2P, PER_DOMAIN};
pub use per_domain::{GDT_PAGES, LDT_PAGES, PerDomainArea, use_own_descriptors};
pub use roots::{
    arm_crossings, hypervisor_entry, idle_root, load_guest_root, load_idle_root,
    set_crossing_process, set_m2p_visible,
};
pub use vmap::{Cache, Mmio, vmap};
