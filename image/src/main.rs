//! The binary: wiring only.
#![no_std]
#![no_main]
