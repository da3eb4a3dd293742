//! hypercall.
#![no_std]
