//! privileged_ops.
#![no_std]
