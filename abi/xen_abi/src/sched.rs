//! What a vCPU asks of the scheduler, `__HYPERVISOR_sched_op`.
//!
//! Source: `public/sched.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DomId, EvtchnPort, GuestHandle};

crate::macros::constants! { u32;
    YIELD = 0, "SCHEDOP_yield";
    BLOCK = 1, "SCHEDOP_block";
    SHUTDOWN = 2, "SCHEDOP_shutdown";
    POLL = 3, "SCHEDOP_poll";
    REMOTE_SHUTDOWN = 4, "SCHEDOP_remote_shutdown";
    SHUTDOWN_CODE = 5, "SCHEDOP_shutdown_code";
    WATCHDOG = 6, "SCHEDOP_watchdog";
    PIN_OVERRIDE = 7, "SCHEDOP_pin_override";
    SHUTDOWN_POWEROFF = 0, "SHUTDOWN_poweroff";
    SHUTDOWN_REBOOT = 1, "SHUTDOWN_reboot";
    SHUTDOWN_SUSPEND = 2, "SHUTDOWN_suspend";
    SHUTDOWN_CRASH = 3, "SHUTDOWN_crash";
    SHUTDOWN_WATCHDOG = 4, "SHUTDOWN_watchdog";
    SHUTDOWN_SOFT_RESET = 5, "SHUTDOWN_soft_reset";
    SHUTDOWN_MAX = 5;
}

/// Why the domain stops (`SHUTDOWN_*`): `SCHEDOP_shutdown`, `SCHEDOP_shutdown_code`.
#[doc(alias = "sched_shutdown")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Shutdown {
    pub reason: u32,
}

/// Argument of `SCHEDOP_poll`.
#[doc(alias = "sched_poll")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Poll {
    pub ports: GuestHandle<EvtchnPort>,
    pub nr_ports: u32,
    pub _hole0: [u8; 4],
    pub timeout: u64,
}

/// Argument of `SCHEDOP_remote_shutdown`.
#[doc(alias = "sched_remote_shutdown")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RemoteShutdown {
    pub domain_id: DomId,
    pub _hole0: [u8; 2],
    pub reason: u32,
}

/// Argument of `SCHEDOP_watchdog`.
#[doc(alias = "sched_watchdog")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Watchdog {
    pub id: u32,
    pub timeout: u32,
}

/// Argument of `SCHEDOP_pin_override`.
#[doc(alias = "sched_pin_override")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PinOverride {
    pub pcpu: i32,
}
