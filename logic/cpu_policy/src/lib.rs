//! cpu_policy.
#![no_std]
