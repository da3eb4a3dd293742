//! grants.
#![no_std]
