//! Builds paravirtual domains.
//!
//! 1. [`Kernel::load`] reads a kernel file. One that is packed is unpacked once and kept, by content ([`cache`]).
//! 2. [`BuildPlan::new`] decides where everything goes: pure computation, which fails before anything is made.
//! 3. [`BuildPlan::apply`] fills a domain's memory and sets its first vCPU, through a [`Target`]. What a failed
//!    application leaves behind goes with the domain: whoever made it destroys it.
//!
//! Few calls and large ones: memory comes in extents of 2 MiB, all pages that are written are mapped at once, and
//! files go into them without a copy on the way.
#![forbid(unsafe_code)]

pub mod cache;
mod error;
mod hypervisor;
mod kernel;
mod pages;
mod plan;
mod target;

pub use error::BuildError;
pub use kernel::{Content, Kernel, LoadPart};
pub use plan::{BuildPlan, Built, Ports};
pub use target::{GuestPages, Target};
