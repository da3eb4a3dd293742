//! The machine's CPUs: states, hot-plug, microcode.
//!
//! Source: `public/platform.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;

/// Argument of `XENPF_microcode_update`.
#[doc(alias = "xenpf_microcode_update")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MicrocodeUpdate {
    pub data: GuestHandle<()>,
    pub length: u32,
    pub _hole0: [u8; 4],
}

/// Argument of `XENPF_change_freq`.
#[doc(alias = "xenpf_change_freq")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ChangeFreq {
    pub flags: u32,
    pub cpu: u32,
    pub freq: u64,
}

/// Argument of `XENPF_getidletime`.
#[doc(alias = "xenpf_getidletime")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetIdleTime {
    pub cpumap_bitmap: GuestHandle<u8>,
    pub cpumap_nr_cpus: u32,
    pub _hole0: [u8; 4],
    pub idletime: GuestHandle<u64>,
    pub now: u64,
}

/// A register, as ACPI describes it.
#[doc(alias = "xen_power_register")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PowerRegister {
    pub space_id: u32,
    pub bit_width: u32,
    pub bit_offset: u32,
    pub access_size: u32,
    pub address: u64,
}

/// Which CPUs share an idle state.
#[doc(alias = "xen_processor_csd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ProcessorCsd {
    pub domain: u32,
    pub coord_type: u32,
    pub num: u32,
}

/// An idle state.
#[doc(alias = "xen_processor_cx")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ProcessorCx {
    pub reg: PowerRegister,
    #[doc(alias = "type")]
    pub kind: u8,
    pub _hole0: [u8; 3],
    pub latency: u32,
    pub power: u32,
    pub dpcnt: u32,
    pub dp: GuestHandle<ProcessorCsd>,
}

/// The idle states of a CPU.
#[doc(alias = "xen_processor_power")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ProcessorPower {
    pub count: u32,
    pub flags: ProcessorFlags,
    pub states: GuestHandle<ProcessorCx>,
}

/// A register that controls performance states.
#[doc(alias = "xen_pct_register")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PctRegister {
    pub descriptor: u8,
    pub _hole0: [u8; 1],
    pub length: u16,
    pub space_id: u8,
    pub bit_width: u8,
    pub bit_offset: u8,
    pub reserved: u8,
    pub address: u64,
}

/// A performance state.
#[doc(alias = "xen_processor_px")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ProcessorPx {
    pub core_frequency: u64,
    pub power: u64,
    pub transition_latency: u64,
    pub bus_master_latency: u64,
    pub control: u64,
    pub status: u64,
}

/// Which CPUs share performance states.
#[doc(alias = "xen_psd_package")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsdPackage {
    pub num_entries: u64,
    pub revision: u64,
    pub domain: u64,
    pub coord_type: u64,
    pub num_processors: u64,
}

/// The performance states of a CPU.
#[doc(alias = "xen_processor_performance")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ProcessorPerformance {
    pub flags: u32,
    pub platform_limit: u32,
    pub control_register: PctRegister,
    pub status_register: PctRegister,
    pub state_count: u32,
    pub _hole0: [u8; 4],
    pub states: GuestHandle<ProcessorPx>,
    pub domain_info: PsdPackage,
    pub shared_type: u32,
    pub _hole1: [u8; 4],
}

/// Argument of `XENPF_set_processor_pminfo`.
#[doc(alias = "xenpf_set_processor_pminfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetProcessorPminfo {
    pub id: u32,
    #[doc(alias = "type")]
    pub kind: u32,
    pub u: SetProcessorPminfoUnion,
}

crate::macros::union! {
    /// The union `xenpf_set_processor_pminfo.u`.
    SetProcessorPminfoUnion: [u64; 13], "xenpf_set_processor_pminfo.u" {
        power: ProcessorPower,
        perf: ProcessorPerformance,
        pdc: GuestHandle<u32>,
    }
}

/// A CPU: `XENPF_cpu_online`, `XENPF_cpu_offline`.
#[doc(alias = "xenpf_cpu_ol")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuOnline {
    pub cpuid: u32,
}

/// Argument of `XENPF_cpu_hotadd`.
#[doc(alias = "xenpf_cpu_hotadd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuHotadd {
    pub apic_id: u32,
    pub acpi_id: u32,
    pub pxm: u32,
}

/// Argument of `XENPF_core_parking`.
#[doc(alias = "xenpf_core_parking")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CoreParking {
    #[doc(alias = "type")]
    pub kind: u32,
    pub idle_nums: u32,
}

/// An access to an MSR.
#[doc(alias = "xenpf_resource_entry")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ResourceEntry {
    pub u: ResourceEntryUnion,
    pub rsvd: u32,
    pub idx: u64,
    pub val: u64,
}

crate::macros::union! {
    /// The union `xenpf_resource_entry.u`.
    ResourceEntryUnion: [u32; 1], "xenpf_resource_entry.u" {
        cmd: u32,
        ret: i32,
    }
}

/// Argument of `XENPF_resource_op`.
#[doc(alias = "xenpf_resource_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ResourceOp {
    pub nr_entries: u32,
    pub cpu: u32,
    pub entries: GuestHandle<ResourceEntry>,
}

/// Flags of a CPU's idle states: 5 bits, `PROCESSOR_FLAG_*`.
#[doc(alias = "xen_processor_flags")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ProcessorFlags {
    /// `bm_control` bit 0, `bm_check` bit 1, `has_cst` bit 2, `power_setup_done` bit 3, `bm_rld_set` bit 4.
    pub bits: u32,
}
