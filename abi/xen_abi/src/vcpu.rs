//! vCPUs, their run states and timers, `__HYPERVISOR_vcpu_op`.
//!
//! Source: `public/vcpu.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;
use crate::shared_info::VcpuTimeInfo;

crate::macros::constants! { u32;
    INITIALISE = 0, "VCPUOP_initialise";
    UP = 1, "VCPUOP_up";
    DOWN = 2, "VCPUOP_down";
    IS_UP = 3, "VCPUOP_is_up";
    GET_RUNSTATE_INFO = 4, "VCPUOP_get_runstate_info";
    REGISTER_RUNSTATE_MEMORY_AREA = 5, "VCPUOP_register_runstate_memory_area";
    SET_PERIODIC_TIMER = 6, "VCPUOP_set_periodic_timer";
    STOP_PERIODIC_TIMER = 7, "VCPUOP_stop_periodic_timer";
    SET_SINGLESHOT_TIMER = 8, "VCPUOP_set_singleshot_timer";
    STOP_SINGLESHOT_TIMER = 9, "VCPUOP_stop_singleshot_timer";
    SSHOTTMR_FUTURE = 1 << 0, "VCPU_SSHOTTMR_future";
    REGISTER_VCPU_INFO = 10, "VCPUOP_register_vcpu_info";
    SEND_NMI = 11, "VCPUOP_send_nmi";
    GET_PHYSID = 12, "VCPUOP_get_physid";
    REGISTER_VCPU_TIME_MEMORY_AREA = 13, "VCPUOP_register_vcpu_time_memory_area";
}

crate::macros::constants! { u64;
    XEN_RUNSTATE_UPDATE = 1 << 63;
}

crate::macros::constants! { i32;
    RUNSTATE_RUNNING = 0, "RUNSTATE_running";
    RUNSTATE_RUNNABLE = 1, "RUNSTATE_runnable";
    RUNSTATE_BLOCKED = 2, "RUNSTATE_blocked";
    RUNSTATE_OFFLINE = 3, "RUNSTATE_offline";
}

/// How long the vCPU was in each of the states `RUNSTATE_*`.
#[doc(alias = "vcpu_runstate_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RunstateInfo {
    pub state: i32,
    pub _hole0: [u8; 4],
    pub state_entry_time: u64,
    pub time: [u64; 4],
}

/// Argument of `VCPUOP_register_runstate_memory_area`.
#[doc(alias = "vcpu_register_runstate_memory_area")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterRunstateMemoryArea {
    pub addr: RegisterRunstateMemoryAreaAddr,
}

crate::macros::union! {
    /// The union `vcpu_register_runstate_memory_area.addr`.
    RegisterRunstateMemoryAreaAddr: [u64; 1], "vcpu_register_runstate_memory_area.addr" {
        h: GuestHandle<RunstateInfo>,
        v: u64,
        p: u64,
    }
}

/// Argument of `VCPUOP_set_periodic_timer`.
#[doc(alias = "vcpu_set_periodic_timer")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetPeriodicTimer {
    pub period_ns: u64,
}

/// Argument of `VCPUOP_set_singleshot_timer`.
#[doc(alias = "vcpu_set_singleshot_timer")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetSingleshotTimer {
    pub timeout_abs_ns: u64,
    pub flags: u32,
    pub _hole0: [u8; 4],
}

/// Argument of `VCPUOP_register_vcpu_info`.
#[doc(alias = "vcpu_register_vcpu_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterVcpuInfo {
    pub mfn: u64,
    pub offset: u32,
    pub rsvd: u32,
}

/// Argument of `VCPUOP_get_physid`.
#[doc(alias = "vcpu_get_physid")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetPhysid {
    pub phys_id: u64,
}

/// Where the vCPU's time goes: `VCPUOP_register_vcpu_time_memory_area`.
#[doc(alias = "vcpu_register_time_memory_area")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterTimeMemoryArea {
    pub addr: RegisterTimeMemoryAreaAddr,
}

crate::macros::union! {
    /// The union `vcpu_register_time_memory_area.addr`.
    RegisterTimeMemoryAreaAddr: [u64; 1], "vcpu_register_time_memory_area.addr" {
        h: GuestHandle<VcpuTimeInfo>,
        v: u64,
        p: u64,
    }
}
