//! pv_layout.
#![no_std]
