//! The processor that a paravirtual guest sees: its CPUID leaves and its MSRs.
//!
//! [`CpuidPolicy`] holds leaves, of the host or of a guest; [`CpuidPolicy::pv`] makes the second from the
//! first by the feature classes of the public header ([`features`]), and [`CpuidPolicy::cpuid`] answers a
//! guest's instruction. [`XenLeaves`] are the leaves in which a guest finds the hypervisor. [`msr`] says
//! for every MSR what a guest's access does.
//!
//! Sources: SDM 2A `CPUID`, 4 (MSRs); AMD64 APM 3 appendix E; `public/arch-x86/cpuid.h` and
//! `cpufeatureset.h`; what guests of Xen 4.17 see.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod features;
mod leaf;
pub mod msr;
mod policy;
mod serialise;
mod xen_leaves;

pub use features::Featureset;
pub use leaf::{CpuidSource, Leaf, Vendor};
pub use policy::{CpuidPolicy, Support, View};
pub use serialise::{MAX_LEAVES, MAX_MSRS, NO_SUBLEAF, OutOfRange};
pub use xen_leaves::{TscInfo, XenLeaves};
