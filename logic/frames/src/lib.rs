//! frames.
#![no_std]
