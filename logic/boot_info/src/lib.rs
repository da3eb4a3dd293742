//! boot_info.
#![no_std]
