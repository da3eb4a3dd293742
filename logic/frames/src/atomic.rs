//! The atomics that the book-keeping is made of. The test of interleavings (`tests/interleavings.rs`) builds the same
//! sources with loom's instead, which have no constant constructors.

pub(crate) use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// A function that is constant with these atomics.
macro_rules! const_fn {
    ($(#[$attribute:meta])* pub const fn $($function:tt)*) => {
        $(#[$attribute])*
        pub const fn $($function)*
    };
}

pub(crate) use const_fn;
