//! The kernel's Xen devices, for domain 0's programs: hypercalls, foreign pages, grants, event channels, and
//! memory that is shared with other domains or processes.
//!
//! The only crate under `tools/` with unsafe code; its README states the contract. Memory that somebody else may
//! change is never a Rust reference: see [`SharedPages`].
//!
//! Source: `xen/sys/{privcmd,evtchn,gntdev,gntalloc}.h` of `libxen-dev`, Linux's `drivers/xen`.
#![allow(
    unsafe_code,
    reason = "the unsafe ring of domain 0's programs; see README.md"
)]

mod buffer;
mod error;
mod event_channel;
mod grant;
mod inherit;
mod ioctl;
mod loop_device;
mod privcmd;
mod shared;
mod xenstore_page;

pub use buffer::HypercallBuffer;
pub use error::DeviceError;
pub use event_channel::EventChannelDevice;
pub use grant::{GrantAllocator, GrantDevice, GrantedPages};
pub use inherit::adopt_descriptor;
pub use loop_device::LoopDevice;
pub use privcmd::{ForeignMapping, Privcmd};
pub use shared::SharedPages;
pub use xenstore_page::{is_control_domain, xenstored_page, xenstored_port};

/// The size of a page, of which all mappings consist.
pub const PAGE_SIZE: usize = 4096;
