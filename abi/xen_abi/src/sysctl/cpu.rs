//! CPUs, their features and places.
//!
//! Source: `public/sysctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;
use crate::arch_x86::{CpuidLeaf, MsrEntry};
use crate::physdev::PciDevice;

/// How long a CPU was idle, in ns.
#[doc(alias = "xen_sysctl_cpuinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuInfo {
    pub idletime: u64,
}

/// Argument of `XEN_SYSCTL_getcpuinfo`.
#[doc(alias = "xen_sysctl_getcpuinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetCpuInfo {
    pub max_cpus: u32,
    pub _hole0: [u8; 4],
    pub info: GuestHandle<CpuInfo>,
    pub nr_cpus: u32,
    pub _hole1: [u8; 4],
}

/// Where a CPU is.
#[doc(alias = "xen_sysctl_cputopo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuTopology {
    pub core: u32,
    pub socket: u32,
    pub node: u32,
}

/// Argument of `XEN_SYSCTL_cputopoinfo`.
#[doc(alias = "xen_sysctl_cputopoinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuTopologyInfo {
    pub num_cpus: u32,
    pub _hole0: [u8; 4],
    pub cputopo: GuestHandle<CpuTopology>,
}

/// The memory of a node.
#[doc(alias = "xen_sysctl_meminfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NodeMemory {
    pub memsize: u64,
    pub memfree: u64,
}

/// Argument of `XEN_SYSCTL_numainfo`.
#[doc(alias = "xen_sysctl_numainfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NumaInfo {
    pub num_nodes: u32,
    pub _hole0: [u8; 4],
    pub meminfo: GuestHandle<NodeMemory>,
    pub distance: GuestHandle<u32>,
}

/// Argument of `XEN_SYSCTL_pcitopoinfo`.
#[doc(alias = "xen_sysctl_pcitopoinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PciTopologyInfo {
    pub num_devs: u32,
    pub _hole0: [u8; 4],
    pub devs: GuestHandle<PciDevice>,
    pub nodes: GuestHandle<u32>,
}

/// Which CPUID leaves can be masked: `XEN_SYSCTL_get_cpu_levelling_caps`.
#[doc(alias = "xen_sysctl_cpu_levelling_caps")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuLevellingCaps {
    pub caps: u32,
}

/// A set of CPU features: `XEN_SYSCTL_get_cpu_featureset`.
#[doc(alias = "xen_sysctl_cpu_featureset")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuFeatureset {
    pub index: u32,
    pub nr_features: u32,
    pub features: GuestHandle<u32>,
}

/// A CPU policy of the machine: `XEN_SYSCTL_get_cpu_policy`.
#[doc(alias = "xen_sysctl_cpu_policy")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuPolicy {
    pub index: u32,
    pub nr_leaves: u32,
    pub nr_msrs: u32,
    pub _rsvd: u32,
    pub leaves: GuestHandle<CpuidLeaf>,
    pub msrs: GuestHandle<MsrEntry>,
}
