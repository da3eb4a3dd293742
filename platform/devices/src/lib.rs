//! devices.
#![no_std]
