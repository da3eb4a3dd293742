//! timers.
#![no_std]
