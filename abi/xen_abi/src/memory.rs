//! Memory reservations and physical maps, `__HYPERVISOR_memory_op`.
//!
//! Source: `public/memory.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::physdev::PciDevice;
use crate::{DomId, GuestHandle, XenPfn};

crate::macros::constants! { u32;
    INCREASE_RESERVATION = 0, "XENMEM_increase_reservation";
    DECREASE_RESERVATION = 1, "XENMEM_decrease_reservation";
    POPULATE_PHYSMAP = 6, "XENMEM_populate_physmap";
    XENMEMF_POPULATE_ON_DEMAND = 1 << 16, "XENMEMF_populate_on_demand";
    XENMEMF_EXACT_NODE_REQUEST = 1 << 17, "XENMEMF_exact_node_request";
    XENMEMF_VNODE = 1 << 18, "XENMEMF_vnode";
    EXCHANGE = 11, "XENMEM_exchange";
    MAXIMUM_RAM_PAGE = 2, "XENMEM_maximum_ram_page";
    CURRENT_RESERVATION = 3, "XENMEM_current_reservation";
    MAXIMUM_RESERVATION = 4, "XENMEM_maximum_reservation";
    MAXIMUM_GPFN = 14, "XENMEM_maximum_gpfn";
    MACHPHYS_MFN_LIST = 5, "XENMEM_machphys_mfn_list";
    MACHPHYS_COMPAT_MFN_LIST = 25, "XENMEM_machphys_compat_mfn_list";
    MACHPHYS_MAPPING = 12, "XENMEM_machphys_mapping";
    XENMAPSPACE_SHARED_INFO = 0, "XENMAPSPACE_shared_info";
    XENMAPSPACE_GRANT_TABLE = 1, "XENMAPSPACE_grant_table";
    XENMAPSPACE_GMFN = 2, "XENMAPSPACE_gmfn";
    XENMAPSPACE_GMFN_RANGE = 3, "XENMAPSPACE_gmfn_range";
    XENMAPSPACE_GMFN_FOREIGN = 4, "XENMAPSPACE_gmfn_foreign";
    XENMAPSPACE_DEV_MMIO = 5, "XENMAPSPACE_dev_mmio";
    ADD_TO_PHYSMAP = 7, "XENMEM_add_to_physmap";
    XENMAPIDX_GRANT_TABLE_STATUS = 0x80000000, "XENMAPIDX_grant_table_status";
    ADD_TO_PHYSMAP_BATCH = 23, "XENMEM_add_to_physmap_batch";
    REMOVE_FROM_PHYSMAP = 15, "XENMEM_remove_from_physmap";
    MEMORY_MAP = 9, "XENMEM_memory_map";
    MACHINE_MEMORY_MAP = 10, "XENMEM_machine_memory_map";
    SET_MEMORY_MAP = 13, "XENMEM_set_memory_map";
    SET_POD_TARGET = 16, "XENMEM_set_pod_target";
    GET_POD_TARGET = 17, "XENMEM_get_pod_target";
    GET_SHARING_FREED_PAGES = 18, "XENMEM_get_sharing_freed_pages";
    GET_SHARING_SHARED_PAGES = 19, "XENMEM_get_sharing_shared_pages";
    PAGING_OP = 20, "XENMEM_paging_op";
    PAGING_OP_NOMINATE = 0, "XENMEM_paging_op_nominate";
    PAGING_OP_EVICT = 1, "XENMEM_paging_op_evict";
    PAGING_OP_PREP = 2, "XENMEM_paging_op_prep";
    ACCESS_OP = 21, "XENMEM_access_op";
    ACCESS_OP_SET_ACCESS = 0, "XENMEM_access_op_set_access";
    ACCESS_OP_GET_ACCESS = 1, "XENMEM_access_op_get_access";
    ACCESS_OP_SET_ACCESS_MULTI = 4, "XENMEM_access_op_set_access_multi";
    SHARING_OP = 22, "XENMEM_sharing_op";
    SHARING_OP_NOMINATE_GFN = 0, "XENMEM_sharing_op_nominate_gfn";
    SHARING_OP_NOMINATE_GREF = 1, "XENMEM_sharing_op_nominate_gref";
    SHARING_OP_SHARE = 2, "XENMEM_sharing_op_share";
    SHARING_OP_DEBUG_GFN = 3, "XENMEM_sharing_op_debug_gfn";
    SHARING_OP_DEBUG_MFN = 4, "XENMEM_sharing_op_debug_mfn";
    SHARING_OP_DEBUG_GREF = 5, "XENMEM_sharing_op_debug_gref";
    SHARING_OP_ADD_PHYSMAP = 6, "XENMEM_sharing_op_add_physmap";
    SHARING_OP_AUDIT = 7, "XENMEM_sharing_op_audit";
    SHARING_OP_RANGE_SHARE = 8, "XENMEM_sharing_op_range_share";
    SHARING_OP_FORK = 9, "XENMEM_sharing_op_fork";
    SHARING_OP_FORK_RESET = 10, "XENMEM_sharing_op_fork_reset";
    FORK_WITH_IOMMU_ALLOWED = 1 << 0, "XENMEM_FORK_WITH_IOMMU_ALLOWED";
    FORK_BLOCK_INTERRUPTS = 1 << 1, "XENMEM_FORK_BLOCK_INTERRUPTS";
    FORK_RESET_STATE = 1 << 2, "XENMEM_FORK_RESET_STATE";
    FORK_RESET_MEMORY = 1 << 3, "XENMEM_FORK_RESET_MEMORY";
    CLAIM_PAGES = 24, "XENMEM_claim_pages";
    RESERVED_DEVICE_MEMORY_MAP = 27, "XENMEM_reserved_device_memory_map";
    RDM_ALL = 1, "XENMEM_RDM_ALL";
    ACQUIRE_RESOURCE = 28, "XENMEM_acquire_resource";
    RESOURCE_IOREQ_SERVER = 0, "XENMEM_resource_ioreq_server";
    RESOURCE_GRANT_TABLE = 1, "XENMEM_resource_grant_table";
    RESOURCE_VMTRACE_BUF = 2, "XENMEM_resource_vmtrace_buf";
    RESOURCE_GRANT_TABLE_ID_SHARED = 0, "XENMEM_resource_grant_table_id_shared";
    RESOURCE_GRANT_TABLE_ID_STATUS = 1, "XENMEM_resource_grant_table_id_status";
    RESOURCE_IOREQ_SERVER_FRAME_BUFIOREQ = 0, "XENMEM_resource_ioreq_server_frame_bufioreq";
    GET_VNUMAINFO = 26, "XENMEM_get_vnumainfo";
    ACCESS_N = 0, "XENMEM_access_n";
    ACCESS_R = 1, "XENMEM_access_r";
    ACCESS_W = 2, "XENMEM_access_w";
    ACCESS_RW = 3, "XENMEM_access_rw";
    ACCESS_X = 4, "XENMEM_access_x";
    ACCESS_RX = 5, "XENMEM_access_rx";
    ACCESS_WX = 6, "XENMEM_access_wx";
    ACCESS_RWX = 7, "XENMEM_access_rwx";
    ACCESS_RX2RW = 8, "XENMEM_access_rx2rw";
    ACCESS_N2RWX = 9, "XENMEM_access_n2rwx";
    ACCESS_DEFAULT = 10, "XENMEM_access_default";
}

crate::macros::constants! { i32;
    SHARING_OP_S_HANDLE_INVALID = -10, "XENMEM_SHARING_OP_S_HANDLE_INVALID";
    SHARING_OP_C_HANDLE_INVALID = -9, "XENMEM_SHARING_OP_C_HANDLE_INVALID";
}

/// A list of extents to add, remove or fill: `XENMEM_increase_reservation`, `XENMEM_decrease_reservation`, `XENMEM_populate_physmap`.
#[doc(alias = "xen_memory_reservation")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemoryReservation {
    pub extent_start: GuestHandle<XenPfn>,
    pub nr_extents: u64,
    pub extent_order: u32,
    pub mem_flags: u32,
    pub domid: DomId,
    pub _hole0: [u8; 6],
}

/// Extents to give and extents to get for them: `XENMEM_exchange`.
#[doc(alias = "xen_memory_exchange")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemoryExchange {
    #[doc(alias = "in")]
    pub input: MemoryReservation,
    #[doc(alias = "out")]
    pub output: MemoryReservation,
    pub nr_exchanged: u64,
}

/// A domain asked about: `XENMEM_current_reservation`, `XENMEM_maximum_reservation`, `XENMEM_maximum_gpfn`.
#[doc(alias = "xen_memory_domain")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemoryDomain {
    pub domid: DomId,
}

/// The frames of the machine-to-physical table: `XENMEM_machphys_mfn_list`.
#[doc(alias = "xen_machphys_mfn_list")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MachphysMfnList {
    pub max_extents: u32,
    pub _hole0: [u8; 4],
    pub extent_start: GuestHandle<XenPfn>,
    pub nr_extents: u32,
    pub _hole1: [u8; 4],
}

/// Where the machine-to-physical table is: `XENMEM_machphys_mapping`.
#[doc(alias = "xen_machphys_mapping")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MachphysMapping {
    pub v_start: u64,
    pub v_end: u64,
    pub max_mfn: u64,
}

/// Argument of `XENMEM_add_to_physmap`.
#[doc(alias = "xen_add_to_physmap")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AddToPhysmap {
    pub domid: DomId,
    pub size: u16,
    pub space: u32,
    pub idx: u64,
    pub gpfn: XenPfn,
}

crate::macros::union! {
    /// The union `xen_add_to_physmap_batch_extra`.
    AddToPhysmapBatchExtra: [u16; 1], "union xen_add_to_physmap_batch_extra" {
        foreign_domid: DomId,
        res0: u16,
    }
}

/// Argument of `XENMEM_add_to_physmap_batch`.
#[doc(alias = "xen_add_to_physmap_batch")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AddToPhysmapBatch {
    pub domid: DomId,
    pub space: u16,
    pub size: u16,
    pub u: AddToPhysmapBatchExtra,
    pub idxs: GuestHandle<u64>,
    pub gpfns: GuestHandle<XenPfn>,
    pub errs: GuestHandle<i32>,
}

/// Argument of `XENMEM_remove_from_physmap`.
#[doc(alias = "xen_remove_from_physmap")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RemoveFromPhysmap {
    pub domid: DomId,
    pub _hole0: [u8; 6],
    pub gpfn: XenPfn,
}

/// A buffer for an E820 table: `XENMEM_memory_map`, `XENMEM_machine_memory_map`.
#[doc(alias = "xen_memory_map")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemoryMap {
    pub nr_entries: u32,
    pub _hole0: [u8; 4],
    pub buffer: GuestHandle<()>,
}

/// The E820 table of another domain: `XENMEM_set_memory_map`.
#[doc(alias = "xen_foreign_memory_map")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ForeignMemoryMap {
    pub domid: DomId,
    pub _hole0: [u8; 6],
    pub map: MemoryMap,
}

/// Populate-on-demand: `XENMEM_set_pod_target`, `XENMEM_get_pod_target`.
#[doc(alias = "xen_pod_target")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PodTarget {
    pub target_pages: u64,
    pub tot_pages: u64,
    pub pod_cache_pages: u64,
    pub pod_entries: u64,
    pub domid: DomId,
    pub _hole0: [u8; 6],
}

/// Argument of `XENMEM_paging_op`.
#[doc(alias = "xen_mem_paging_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PagingOp {
    pub op: u8,
    pub _hole0: [u8; 1],
    pub domain: DomId,
    pub _hole1: [u8; 4],
    pub buffer: GuestHandle<u8>,
    pub gfn: u64,
}

/// Argument of `XENMEM_access_op`.
#[doc(alias = "xen_mem_access_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AccessOp {
    pub op: u8,
    pub access: u8,
    pub domid: DomId,
    pub nr: u32,
    pub pfn: u64,
    pub pfn_list: GuestHandle<u64>,
    pub access_list: GuestHandle<u8>,
}

/// A frame that may be shared.
#[doc(alias = "mem_sharing_op_nominate")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemSharingOpNominate {
    pub u: MemSharingOpNominateUnion,
    pub handle: u64,
}

crate::macros::union! {
    /// The union `mem_sharing_op_nominate.u`.
    MemSharingOpNominateUnion: [u64; 1], "mem_sharing_op_nominate.u" {
        gfn: u64,
        grant_ref: u32,
    }
}

/// Two frames to become one.
#[doc(alias = "mem_sharing_op_share")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemSharingOpShare {
    pub source_gfn: u64,
    pub source_handle: u64,
    pub client_gfn: u64,
    pub client_handle: u64,
    pub client_domain: DomId,
    pub _hole0: [u8; 6],
}

/// A range of frames to share.
#[doc(alias = "mem_sharing_op_range")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemSharingOpRange {
    pub first_gfn: u64,
    pub last_gfn: u64,
    pub opaque: u64,
    pub client_domain: DomId,
    pub _pad: [u16; 3],
}

/// A frame asked about.
#[doc(alias = "mem_sharing_op_debug")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemSharingOpDebug {
    pub u: MemSharingOpDebugUnion,
}

crate::macros::union! {
    /// The union `mem_sharing_op_debug.u`.
    MemSharingOpDebugUnion: [u64; 1], "mem_sharing_op_debug.u" {
        gfn: u64,
        mfn: u64,
        gref: u32,
    }
}

/// The domain to fork.
#[doc(alias = "mem_sharing_op_fork")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemSharingOpFork {
    pub parent_domain: DomId,
    pub flags: u16,
    pub pad: u32,
}

/// Argument of `XENMEM_sharing_op`.
#[doc(alias = "xen_mem_sharing_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SharingOp {
    pub op: u8,
    pub _hole0: [u8; 1],
    pub domain: DomId,
    pub _hole1: [u8; 4],
    pub u: SharingOpUnion,
}

crate::macros::union! {
    /// The union `xen_mem_sharing_op.u`.
    SharingOpUnion: [u64; 5], "xen_mem_sharing_op.u" {
        nominate: MemSharingOpNominate,
        share: MemSharingOpShare,
        range: MemSharingOpRange,
        debug: MemSharingOpDebug,
        fork: MemSharingOpFork,
    }
}

/// A range that a device needs mapped one to one.
#[doc(alias = "xen_reserved_device_memory")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ReservedDeviceMemory {
    pub start_pfn: XenPfn,
    pub nr_pages: u64,
}

/// Argument of `XENMEM_reserved_device_memory_map`.
#[doc(alias = "xen_reserved_device_memory_map")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ReservedDeviceMemoryMap {
    pub flags: u32,
    pub nr_entries: u32,
    pub buffer: GuestHandle<ReservedDeviceMemory>,
    pub dev: ReservedDeviceMemoryMapDev,
    pub _hole0: [u8; 4],
}

crate::macros::union! {
    /// The union `xen_reserved_device_memory_map.dev`.
    ReservedDeviceMemoryMapDev: [u16; 2], "xen_reserved_device_memory_map.dev" {
        pci: PciDevice,
    }
}

/// Frames of the hypervisor to map: `XENMEM_acquire_resource`.
#[doc(alias = "xen_mem_acquire_resource")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AcquireResource {
    pub domid: DomId,
    #[doc(alias = "type")]
    pub kind: u16,
    pub id: u32,
    pub nr_frames: u32,
    pub pad: u32,
    pub frame: u64,
    pub frame_list: GuestHandle<XenPfn>,
}

/// A range of a virtual node's memory.
#[doc(alias = "xen_vmemrange")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Vmemrange {
    pub start: u64,
    pub end: u64,
    pub flags: u32,
    pub nid: u32,
}

/// The virtual nodes of a domain: `XENMEM_get_vnumainfo`.
#[doc(alias = "xen_vnuma_topology_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VnumaTopologyInfo {
    pub domid: DomId,
    pub pad: u16,
    pub nr_vnodes: u32,
    pub nr_vcpus: u32,
    pub nr_vmemranges: u32,
    pub vdistance: VnumaTopologyInfoVdistance,
    pub vcpu_to_vnode: VnumaTopologyInfoVcpuToVnode,
    pub vmemrange: VnumaTopologyInfoVmemrange,
}

crate::macros::union! {
    /// The union `xen_vnuma_topology_info.vdistance`.
    VnumaTopologyInfoVdistance: [u64; 1], "xen_vnuma_topology_info.vdistance" {
        h: GuestHandle<u32>,
        pad: u64,
    }
}

crate::macros::union! {
    /// The union `xen_vnuma_topology_info.vcpu_to_vnode`.
    VnumaTopologyInfoVcpuToVnode: [u64; 1], "xen_vnuma_topology_info.vcpu_to_vnode" {
        h: GuestHandle<u32>,
        pad: u64,
    }
}

crate::macros::union! {
    /// The union `xen_vnuma_topology_info.vmemrange`.
    VnumaTopologyInfoVmemrange: [u64; 1], "xen_vnuma_topology_info.vmemrange" {
        h: GuestHandle<Vmemrange>,
        pad: u64,
    }
}
