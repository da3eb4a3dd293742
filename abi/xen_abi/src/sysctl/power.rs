//! Performance states, idle states and CPUs taken on and off line.
//!
//! Source: `public/sysctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;

/// A performance state of a CPU and its use.
#[doc(alias = "pm_px_val")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PmPxVal {
    pub freq: u64,
    pub residency: u64,
    pub count: u64,
}

/// The performance states of a CPU.
#[doc(alias = "pm_px_stat")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PmPxStat {
    pub total: u8,
    pub usable: u8,
    pub last: u8,
    pub cur: u8,
    pub _hole0: [u8; 4],
    pub trans_pt: GuestHandle<u64>,
    pub pt: GuestHandle<PmPxVal>,
}

/// The idle states of a CPU.
#[doc(alias = "pm_cx_stat")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PmCxStat {
    pub nr: u32,
    pub last: u32,
    pub idle_time: u64,
    pub triggers: GuestHandle<u64>,
    pub residencies: GuestHandle<u64>,
    pub nr_pc: u32,
    pub nr_cc: u32,
    pub pc: GuestHandle<u64>,
    pub cc: GuestHandle<u64>,
}

/// Argument of `XEN_SYSCTL_get_pmstat`.
#[doc(alias = "xen_sysctl_get_pmstat")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetPmstat {
    #[doc(alias = "type")]
    pub kind: u32,
    pub cpuid: u32,
    pub u: GetPmstatUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_get_pmstat.u`.
    GetPmstatUnion: [u64; 7], "xen_sysctl_get_pmstat.u" {
        getpx: PmPxStat,
        getcx: PmCxStat,
    }
}

/// Argument of `XEN_SYSCTL_cpu_hotplug`.
#[doc(alias = "xen_sysctl_cpu_hotplug")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuHotplug {
    pub cpu: u32,
    pub op: u32,
}

/// Parameters of the frequency governor `userspace`.
#[doc(alias = "xen_userspace")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Userspace {
    pub scaling_setspeed: u32,
}

/// Parameters of the frequency governor `ondemand`.
#[doc(alias = "xen_ondemand")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Ondemand {
    pub sampling_rate_max: u32,
    pub sampling_rate_min: u32,
    pub sampling_rate: u32,
    pub up_threshold: u32,
}

/// How a CPU's frequency is governed.
#[doc(alias = "xen_get_cpufreq_para")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetCpufreqPara {
    pub cpu_num: u32,
    pub freq_num: u32,
    pub gov_num: u32,
    pub _hole0: [u8; 4],
    pub affected_cpus: GuestHandle<u32>,
    pub scaling_available_frequencies: GuestHandle<u32>,
    pub scaling_available_governors: GuestHandle<u8>,
    pub scaling_driver: [u8; 16],
    pub cpuinfo_cur_freq: u32,
    pub cpuinfo_max_freq: u32,
    pub cpuinfo_min_freq: u32,
    pub scaling_cur_freq: u32,
    pub scaling_governor: [u8; 16],
    pub scaling_max_freq: u32,
    pub scaling_min_freq: u32,
    pub u: GetCpufreqParaUnion,
    pub turbo_enabled: i32,
    pub _hole1: [u8; 4],
}

crate::macros::union! {
    /// The union `xen_get_cpufreq_para.u`.
    GetCpufreqParaUnion: [u32; 4], "xen_get_cpufreq_para.u" {
        userspace: Userspace,
        ondemand: Ondemand,
    }
}

/// A governor to use.
#[doc(alias = "xen_set_cpufreq_gov")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetCpufreqGov {
    pub scaling_governor: [u8; 16],
}

/// A governor's parameter to set.
#[doc(alias = "xen_set_cpufreq_para")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetCpufreqPara {
    pub ctrl_type: u32,
    pub ctrl_value: u32,
}

/// Argument of `XEN_SYSCTL_pm_op`.
#[doc(alias = "xen_sysctl_pm_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PmOp {
    pub cmd: u32,
    pub cpuid: u32,
    pub u: PmOpUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_pm_op.u`.
    PmOpUnion: [u64; 15], "xen_sysctl_pm_op.u" {
        get_para: GetCpufreqPara,
        set_gov: SetCpufreqGov,
        set_para: SetCpufreqPara,
        get_avgfreq: u64,
        set_sched_opt_smt: u32,
        get_max_cstate: u32,
        set_max_cstate: u32,
    }
}

/// Argument of `XEN_SYSCTL_page_offline_op`.
#[doc(alias = "xen_sysctl_page_offline_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PageOfflineOp {
    pub cmd: u32,
    pub start: u32,
    pub end: u32,
    pub _hole0: [u8; 4],
    pub status: GuestHandle<u32>,
}
