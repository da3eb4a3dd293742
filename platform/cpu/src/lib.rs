//! The CPU: entry and exit of guests, per-CPU blocks, descriptor tables, faults, locks, control registers.
//!
//! All of the hypervisor's code runs with interrupts disabled, but for [`halt_until_interrupt`] and
//! [`halt_until_urgent_interrupt`]. The per-CPU
//! block is found from the stack pointer ([`layout`]); GS, FS, DS and ES are the guest's at all times.
//!
//! Sources: SDM 2A–2D (instructions), 3A §2 (control registers), §5 (protection), §6 (interrupts and
//! exceptions), §13 (XSAVE); AMD APM 2 §6 (SYSCALL); public/arch-x86/xen-x86_64.h (selectors).

#![no_std]
// UNSAFETY: this crate is the part of the unsafe ring that touches the CPU; README.md states its contract.
#![allow(unsafe_code)]
// On the host only the pure parts are built to be tested, and much is without use.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

extern crate alloc;

pub mod backtrace;
pub mod symbols;

mod regs;
pub use regs::{Exit, GuestRegs, HostFrame, vector};

pub mod layout;

pub mod control;
pub mod crossing;
pub mod debug_registers;
pub mod descriptors;
mod entry;
pub mod guest;
pub mod hooks;
pub mod idle;
pub mod lock;
pub mod msr;
pub mod park;
pub mod percpu;
pub mod ports;
pub mod segments;
pub mod start;
mod traps;
pub mod xsave;

pub use entry::{GuestFrame, Stopped, enter_guest};
pub use idle::{halt_forever, halt_until_interrupt, halt_until_urgent_interrupt, triple_fault};
pub use layout::MAX_CPUS;
pub use percpu::cpu_id;
pub use traps::read_fault_address;

/// Tells the CPU that this is a waiting loop.
#[inline]
pub fn relax() {
    core::hint::spin_loop();
}
