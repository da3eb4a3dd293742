//! Which of the machine's ports, device memory and interrupts a domain may use.
//!
//! Each is a [`RangeSet`] of bounded size: the machine's owner begins with everything and loses what the
//! hypervisor keeps for itself; other domains begin with nothing and are given pieces (`XEN_DOMCTL_*_permission`).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod range_set;

pub use range_set::{Full, RangeSet};

/// Ranges that each of a domain's sets can have.
pub const MAX_RANGES: usize = 64;

/// A domain's permissions.
#[derive(Clone, Debug, Default)]
pub struct Permissions {
    /// I/O ports.
    pub ports: RangeSet<MAX_RANGES>,
    /// Frames of device memory.
    pub frames: RangeSet<MAX_RANGES>,
    /// Interrupts, by the hypervisor's numbers.
    pub interrupts: RangeSet<MAX_RANGES>,
}

impl Permissions {
    /// Nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// All there can be: for the machine's owner, before the hypervisor's own devices are taken out.
    pub fn all() -> Self {
        Self {
            ports: RangeSet::from_range(0, 0xffff),
            frames: RangeSet::from_range(0, u64::MAX >> 12),
            interrupts: RangeSet::from_range(0, u64::from(u32::MAX)),
        }
    }

    /// Whether the domain may use any device at all.
    pub fn has_devices(&self) -> bool {
        !self.ports.is_empty() || !self.frames.is_empty() || !self.interrupts.is_empty()
    }
}
