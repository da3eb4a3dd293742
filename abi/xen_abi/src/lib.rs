//! xen_abi.
#![no_std]
