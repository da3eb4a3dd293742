//! What a device model asks of the hypervisor, `__HYPERVISOR_dm_op`.
//!
//! Source: `public/hvm/dm_op.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{EvtchnPort, GuestHandle, IoServerId};

crate::macros::constants! { u32;
    CREATE_IOREQ_SERVER = 1, "XEN_DMOP_create_ioreq_server";
    GET_IOREQ_SERVER_INFO = 2, "XEN_DMOP_get_ioreq_server_info";
    NO_GFNS = 1 << 0, "XEN_DMOP_no_gfns";
    MAP_IO_RANGE_TO_IOREQ_SERVER = 3, "XEN_DMOP_map_io_range_to_ioreq_server";
    UNMAP_IO_RANGE_FROM_IOREQ_SERVER = 4, "XEN_DMOP_unmap_io_range_from_ioreq_server";
    IO_RANGE_PORT = 0, "XEN_DMOP_IO_RANGE_PORT";
    IO_RANGE_MEMORY = 1, "XEN_DMOP_IO_RANGE_MEMORY";
    IO_RANGE_PCI = 2, "XEN_DMOP_IO_RANGE_PCI";
    SET_IOREQ_SERVER_STATE = 5, "XEN_DMOP_set_ioreq_server_state";
    DESTROY_IOREQ_SERVER = 6, "XEN_DMOP_destroy_ioreq_server";
    TRACK_DIRTY_VRAM = 7, "XEN_DMOP_track_dirty_vram";
    SET_PCI_INTX_LEVEL = 8, "XEN_DMOP_set_pci_intx_level";
    SET_ISA_IRQ_LEVEL = 9, "XEN_DMOP_set_isa_irq_level";
    SET_PCI_LINK_ROUTE = 10, "XEN_DMOP_set_pci_link_route";
    MODIFIED_MEMORY = 11, "XEN_DMOP_modified_memory";
    SET_MEM_TYPE = 12, "XEN_DMOP_set_mem_type";
    INJECT_EVENT = 13, "XEN_DMOP_inject_event";
    EVENT_EXT_INT = 0, "XEN_DMOP_EVENT_ext_int";
    EVENT_NMI = 2, "XEN_DMOP_EVENT_nmi";
    EVENT_HW_EXC = 3, "XEN_DMOP_EVENT_hw_exc";
    EVENT_SW_INT = 4, "XEN_DMOP_EVENT_sw_int";
    EVENT_PRI_SW_EXC = 5, "XEN_DMOP_EVENT_pri_sw_exc";
    EVENT_SW_EXC = 6, "XEN_DMOP_EVENT_sw_exc";
    INJECT_MSI = 14, "XEN_DMOP_inject_msi";
    MAP_MEM_TYPE_TO_IOREQ_SERVER = 15, "XEN_DMOP_map_mem_type_to_ioreq_server";
    IOREQ_MEM_ACCESS_READ = 1 << 0, "XEN_DMOP_IOREQ_MEM_ACCESS_READ";
    IOREQ_MEM_ACCESS_WRITE = 1 << 1, "XEN_DMOP_IOREQ_MEM_ACCESS_WRITE";
    REMOTE_SHUTDOWN = 16, "XEN_DMOP_remote_shutdown";
    RELOCATE_MEMORY = 17, "XEN_DMOP_relocate_memory";
    PIN_MEMORY_CACHEATTR = 18, "XEN_DMOP_pin_memory_cacheattr";
    MEM_CACHEATTR_UC = 0, "XEN_DMOP_MEM_CACHEATTR_UC";
    MEM_CACHEATTR_WC = 1, "XEN_DMOP_MEM_CACHEATTR_WC";
    MEM_CACHEATTR_WT = 4, "XEN_DMOP_MEM_CACHEATTR_WT";
    MEM_CACHEATTR_WP = 5, "XEN_DMOP_MEM_CACHEATTR_WP";
    MEM_CACHEATTR_WB = 6, "XEN_DMOP_MEM_CACHEATTR_WB";
    MEM_CACHEATTR_UCM = 7, "XEN_DMOP_MEM_CACHEATTR_UCM";
    DELETE_MEM_CACHEATTR = 0xffffffff, "XEN_DMOP_DELETE_MEM_CACHEATTR";
    SET_IRQ_LEVEL = 19, "XEN_DMOP_set_irq_level";
    NR_VCPUS = 20, "XEN_DMOP_nr_vcpus";
}

/// Argument of `XEN_DMOP_create_ioreq_server`.
#[doc(alias = "xen_dm_op_create_ioreq_server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CreateIoreqServer {
    pub handle_bufioreq: u8,
    pub pad: [u8; 3],
    pub id: IoServerId,
}

/// Argument of `XEN_DMOP_get_ioreq_server_info`.
#[doc(alias = "xen_dm_op_get_ioreq_server_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetIoreqServerInfo {
    pub id: IoServerId,
    pub flags: u16,
    pub bufioreq_port: EvtchnPort,
    pub ioreq_gfn: u64,
    pub bufioreq_gfn: u64,
}

/// A range of ports, memory or PCI devices: `XEN_DMOP_map_io_range_to_ioreq_server`, `XEN_DMOP_unmap_io_range_from_ioreq_server`.
#[doc(alias = "xen_dm_op_ioreq_server_range")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IoreqServerRange {
    pub id: IoServerId,
    pub pad: u16,
    #[doc(alias = "type")]
    pub kind: u32,
    pub start: u64,
    pub end: u64,
}

/// Argument of `XEN_DMOP_set_ioreq_server_state`.
#[doc(alias = "xen_dm_op_set_ioreq_server_state")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetIoreqServerState {
    pub id: IoServerId,
    pub enabled: u8,
    pub pad: u8,
}

/// Argument of `XEN_DMOP_destroy_ioreq_server`.
#[doc(alias = "xen_dm_op_destroy_ioreq_server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DestroyIoreqServer {
    pub id: IoServerId,
    pub pad: u16,
}

/// Argument of `XEN_DMOP_track_dirty_vram`.
#[doc(alias = "xen_dm_op_track_dirty_vram")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TrackDirtyVram {
    pub nr: u32,
    pub pad: u32,
    pub first_pfn: u64,
}

/// Argument of `XEN_DMOP_set_pci_intx_level`.
#[doc(alias = "xen_dm_op_set_pci_intx_level")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetPciIntxLevel {
    pub domain: u16,
    pub bus: u8,
    pub device: u8,
    pub intx: u8,
    pub level: u8,
}

/// Argument of `XEN_DMOP_set_isa_irq_level`.
#[doc(alias = "xen_dm_op_set_isa_irq_level")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetIsaIrqLevel {
    pub isa_irq: u8,
    pub level: u8,
}

/// Argument of `XEN_DMOP_set_pci_link_route`.
#[doc(alias = "xen_dm_op_set_pci_link_route")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetPciLinkRoute {
    pub link: u8,
    pub isa_irq: u8,
}

/// Argument of `XEN_DMOP_modified_memory`.
#[doc(alias = "xen_dm_op_modified_memory")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ModifiedMemory {
    pub nr_extents: u32,
    pub opaque: u32,
}

/// A range of frames that the device model wrote.
#[doc(alias = "xen_dm_op_modified_memory_extent")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ModifiedMemoryExtent {
    pub nr: u32,
    pub pad: u32,
    pub first_pfn: u64,
}

/// Argument of `XEN_DMOP_set_mem_type`.
#[doc(alias = "xen_dm_op_set_mem_type")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetMemType {
    pub nr: u32,
    pub mem_type: u16,
    pub pad: u16,
    pub first_pfn: u64,
}

/// Argument of `XEN_DMOP_inject_event`.
#[doc(alias = "xen_dm_op_inject_event")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InjectEvent {
    pub vcpuid: u32,
    pub vector: u8,
    #[doc(alias = "type")]
    pub kind: u8,
    pub insn_len: u8,
    pub pad0: u8,
    pub error_code: u32,
    pub pad1: u32,
    pub cr2: u64,
}

/// Argument of `XEN_DMOP_inject_msi`.
#[doc(alias = "xen_dm_op_inject_msi")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InjectMsi {
    pub data: u32,
    pub pad: u32,
    pub addr: u64,
}

/// Argument of `XEN_DMOP_map_mem_type_to_ioreq_server`.
#[doc(alias = "xen_dm_op_map_mem_type_to_ioreq_server")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapMemTypeToIoreqServer {
    pub id: IoServerId,
    #[doc(alias = "type")]
    pub kind: u16,
    pub flags: u32,
    pub opaque: u64,
}

/// Argument of `XEN_DMOP_remote_shutdown`.
#[doc(alias = "xen_dm_op_remote_shutdown")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RemoteShutdown {
    pub reason: u32,
}

/// Argument of `XEN_DMOP_relocate_memory`.
#[doc(alias = "xen_dm_op_relocate_memory")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RelocateMemory {
    pub size: u32,
    pub pad: u32,
    pub src_gfn: u64,
    pub dst_gfn: u64,
}

/// Argument of `XEN_DMOP_pin_memory_cacheattr`.
#[doc(alias = "xen_dm_op_pin_memory_cacheattr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PinMemoryCacheattr {
    pub start: u64,
    pub end: u64,
    #[doc(alias = "type")]
    pub kind: u32,
    pub pad: u32,
}

/// Argument of `XEN_DMOP_set_irq_level`.
#[doc(alias = "xen_dm_op_set_irq_level")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetIrqLevel {
    pub irq: u32,
    pub level: u8,
    pub pad: [u8; 3],
}

/// Argument of `XEN_DMOP_nr_vcpus`.
#[doc(alias = "xen_dm_op_nr_vcpus")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NrVcpus {
    pub vcpus: u32,
}

/// What the first buffer of a call holds.
#[doc(alias = "xen_dm_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DmOp {
    pub op: u32,
    pub pad: u32,
    pub u: DmOpUnion,
}

crate::macros::union! {
    /// The union `xen_dm_op.u`.
    DmOpUnion: [u64; 3], "xen_dm_op.u" {
        create_ioreq_server: CreateIoreqServer,
        get_ioreq_server_info: GetIoreqServerInfo,
        map_io_range_to_ioreq_server: IoreqServerRange,
        unmap_io_range_from_ioreq_server: IoreqServerRange,
        set_ioreq_server_state: SetIoreqServerState,
        destroy_ioreq_server: DestroyIoreqServer,
        track_dirty_vram: TrackDirtyVram,
        set_pci_intx_level: SetPciIntxLevel,
        set_isa_irq_level: SetIsaIrqLevel,
        set_irq_level: SetIrqLevel,
        set_pci_link_route: SetPciLinkRoute,
        modified_memory: ModifiedMemory,
        set_mem_type: SetMemType,
        inject_event: InjectEvent,
        inject_msi: InjectMsi,
        map_mem_type_to_ioreq_server: MapMemTypeToIoreqServer,
        remote_shutdown: RemoteShutdown,
        relocate_memory: RelocateMemory,
        pin_memory_cacheattr: PinMemoryCacheattr,
        nr_vcpus: NrVcpus,
    }
}

/// A buffer of a call.
#[doc(alias = "xen_dm_op_buf")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DmOpBuffer {
    pub h: GuestHandle<()>,
    pub size: u64,
}
