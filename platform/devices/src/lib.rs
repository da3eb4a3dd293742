//! Devices that the hypervisor itself drives: serial ports and VGA text, local and IO-APICs, timers and
//! clocks, PCI configuration space and message-signalled interrupts, and the ways to stop a machine.
//!
//! Everything here is a driver without policy: state lives in values that the hypervisor keeps in its
//! locks. Registers are reached through [`Registers`] (device memory) and [`Ports`], so the drivers run in
//! `cargo test` against models of the devices. Waits for hardware are bounded.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod access;
pub mod clock;
pub mod ioapic;
pub mod lapic;
pub mod msi;
pub mod pci;
pub mod pic;
pub mod power;
pub mod redirection;
pub mod rtc;
pub mod scale;
pub mod startup;
pub mod uart;
pub mod vga;

pub use access::{CpuPorts, Ports, Registers};
