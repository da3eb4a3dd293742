//! From the boot loader to Rust: multiboot headers, the way into long mode, first output, other CPUs.
//!
//! Sources: Multiboot Specification 0.6.96 and 2.0; SDM 3A §9.8.5 (entering long mode), §8.4 (starting
//! application processors).

#![no_std]
// UNSAFETY: this crate is the part of the unsafe ring that runs first; README.md states its contract.
#![allow(unsafe_code)]

mod early_print;
mod entry;
mod start;
mod trampoline;

pub use early_print::{EarlyPrint, stop, take_over};
pub use start::BootMemory;
pub use trampoline::{StartError, start_cpu};
