//! memory.
#![no_std]
