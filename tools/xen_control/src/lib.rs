//! What domain 0 may do to other domains and to the machine, as typed calls: `domctl`, `sysctl`, `memory_op`,
//! `mmuext_op`, event channels and grants, in the interface versions of Xen 4.17 (domctl 0x15, sysctl 0x15).
//!
//! A call that fails says which operation on which domain it was, and what the number that came back means:
//! [`ControlError`]. No state is kept here but the open devices.
//!
//! Source: the public headers, by way of `xen_abi`.
#![forbid(unsafe_code)]

mod call;
mod domain;
mod error;
mod guest_memory;
mod info;
mod machine;
mod pool;
mod scheduler;
mod vcpu;

pub use call::Control;
pub use domain::NewDomain;
pub use error::ControlError;
pub use guest_memory::{Extents, GrantedFrame};
pub use info::{DomainInfo, ShutdownReason};
pub use machine::{CpuTopology, Machine, NodeMemory, VersionInfo};
pub use pool::CpuPool;
pub use scheduler::{Credit2, Scheduler};
pub use vcpu::{Affinity, VcpuInfo};

pub use xen_abi::{DomId, Errno, EvtchnPort};
