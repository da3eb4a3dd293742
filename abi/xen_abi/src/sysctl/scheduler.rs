//! CPU pools and schedulers.
//!
//! Source: `public/sysctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;
use crate::control::Bitmap;

/// Argument of `XEN_SYSCTL_sched_id`.
#[doc(alias = "xen_sysctl_sched_id")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedId {
    pub sched_id: u32,
}

/// Argument of `XEN_SYSCTL_cpupool_op`.
#[doc(alias = "xen_sysctl_cpupool_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpupoolOp {
    pub op: u32,
    pub cpupool_id: u32,
    pub sched_id: u32,
    pub domid: u32,
    pub cpu: u32,
    pub n_dom: u32,
    pub cpumap: Bitmap,
}

/// The schedule of an ARINC 653 pool.
#[doc(alias = "xen_sysctl_arinc653_schedule")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Arinc653Schedule {
    pub major_frame: u64,
    pub num_sched_entries: u8,
    pub _hole0: [u8; 7],
    pub sched_entries: [Arinc653ScheduleSchedEntries; 64],
}

/// The member `xen_sysctl_arinc653_schedule.sched_entries[0]`.
#[doc(alias = "xen_sysctl_arinc653_schedule.sched_entries[0]")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Arinc653ScheduleSchedEntries {
    pub dom_handle: [u8; 16],
    pub vcpu_id: u32,
    pub _hole0: [u8; 4],
    pub runtime: u64,
}

/// Parameters of the credit scheduler.
#[doc(alias = "xen_sysctl_credit_schedule")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CreditSchedule {
    pub tslice_ms: u32,
    pub ratelimit_us: u32,
    pub vcpu_migr_delay_us: u32,
}

/// Parameters of the credit2 scheduler.
#[doc(alias = "xen_sysctl_credit2_schedule")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Credit2Schedule {
    pub ratelimit_us: u32,
}

/// A pointer to a schedule.
#[doc(alias = "xen_sysctl_sched_arinc653")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedArinc653 {
    pub schedule: GuestHandle<Arinc653Schedule>,
}

/// Argument of `XEN_SYSCTL_scheduler_op`.
#[doc(alias = "xen_sysctl_scheduler_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedulerOp {
    pub cpupool_id: u32,
    pub sched_id: u32,
    pub cmd: u32,
    pub _hole0: [u8; 4],
    pub u: SchedulerOpUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_scheduler_op.u`.
    SchedulerOpUnion: [u64; 2], "xen_sysctl_scheduler_op.u" {
        sched_arinc653: SchedArinc653,
        sched_credit: CreditSchedule,
        sched_credit2: Credit2Schedule,
    }
}
