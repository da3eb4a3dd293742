//! The store's daemon: moves bytes between clients and `xenstore_core`, and keeps what it has committed.
//!
//! - [`ring`]: the rings that a domain shares; indices checked, publication apart from copying.
//! - [`machine`]: Xen's devices, or a directory that stands for them.
//! - [`state`]: snapshot and journal.
//! - [`Daemon`]: the loop.
#![forbid(unsafe_code)]

mod daemon;
pub mod log;
pub mod machine;
pub mod options;
pub mod ring;
pub mod state;

pub use daemon::Daemon;
