//! boot.
#![no_std]
