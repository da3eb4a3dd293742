//! cpu.
#![no_std]
