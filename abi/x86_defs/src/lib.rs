//! x86_defs.
#![no_std]
