//! hypervisor.
#![no_std]
