//! kernel_image.
#![no_std]
