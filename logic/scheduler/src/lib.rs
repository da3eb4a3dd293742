//! scheduler.
#![no_std]
