//! Hardware interrupts and PCI devices, `__HYPERVISOR_physdev_op`.
//!
//! Source: `public/physdev.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DomId, GuestHandle, XenPfn};

crate::macros::constants! { u32;
    EOI = 12, "PHYSDEVOP_eoi";
    PIRQ_EOI_GMFN_V1 = 17, "PHYSDEVOP_pirq_eoi_gmfn_v1";
    PIRQ_EOI_GMFN_V2 = 28, "PHYSDEVOP_pirq_eoi_gmfn_v2";
    IRQ_STATUS_QUERY = 5, "PHYSDEVOP_irq_status_query";
    XENIRQSTAT_NEEDS_EOI = 1 << 0, "XENIRQSTAT_needs_eoi";
    XENIRQSTAT_SHARED = 1 << 1, "XENIRQSTAT_shared";
    SET_IOPL = 6, "PHYSDEVOP_set_iopl";
    SET_IOBITMAP = 7, "PHYSDEVOP_set_iobitmap";
    APIC_READ = 8, "PHYSDEVOP_apic_read";
    APIC_WRITE = 9, "PHYSDEVOP_apic_write";
    ALLOC_IRQ_VECTOR = 10, "PHYSDEVOP_alloc_irq_vector";
    FREE_IRQ_VECTOR = 11, "PHYSDEVOP_free_irq_vector";
    MAP_PIRQ_TYPE_MSI = 0x0;
    MAP_PIRQ_TYPE_GSI = 0x1;
    MAP_PIRQ_TYPE_UNKNOWN = 0x2;
    MAP_PIRQ_TYPE_MSI_SEG = 0x3;
    MAP_PIRQ_TYPE_MULTI_MSI = 0x4;
    MAP_PIRQ = 13, "PHYSDEVOP_map_pirq";
    UNMAP_PIRQ = 14, "PHYSDEVOP_unmap_pirq";
    MANAGE_PCI_ADD = 15, "PHYSDEVOP_manage_pci_add";
    MANAGE_PCI_REMOVE = 16, "PHYSDEVOP_manage_pci_remove";
    RESTORE_MSI = 19, "PHYSDEVOP_restore_msi";
    MANAGE_PCI_ADD_EXT = 20, "PHYSDEVOP_manage_pci_add_ext";
    SETUP_GSI = 21, "PHYSDEVOP_setup_gsi";
    GET_FREE_PIRQ = 23, "PHYSDEVOP_get_free_pirq";
    XEN_PCI_MMCFG_RESERVED = 0x1;
    PCI_MMCFG_RESERVED = 24, "PHYSDEVOP_pci_mmcfg_reserved";
    XEN_PCI_DEV_EXTFN = 0x1;
    XEN_PCI_DEV_VIRTFN = 0x2;
    XEN_PCI_DEV_PXM = 0x4;
    PCI_DEVICE_ADD = 25, "PHYSDEVOP_pci_device_add";
    PCI_DEVICE_REMOVE = 26, "PHYSDEVOP_pci_device_remove";
    RESTORE_MSI_EXT = 27, "PHYSDEVOP_restore_msi_ext";
    PREPARE_MSIX = 30, "PHYSDEVOP_prepare_msix";
    RELEASE_MSIX = 31, "PHYSDEVOP_release_msix";
    DBGP_RESET_PREPARE = 1, "PHYSDEVOP_DBGP_RESET_PREPARE";
    DBGP_RESET_DONE = 2, "PHYSDEVOP_DBGP_RESET_DONE";
    DBGP_BUS_UNKNOWN = 0, "PHYSDEVOP_DBGP_BUS_UNKNOWN";
    DBGP_BUS_PCI = 1, "PHYSDEVOP_DBGP_BUS_PCI";
    DBGP_OP = 29, "PHYSDEVOP_dbgp_op";
    IRQ_UNMASK_NOTIFY = 4, "PHYSDEVOP_IRQ_UNMASK_NOTIFY";
    PIRQ_EOI_GMFN = 28, "PHYSDEVOP_pirq_eoi_gmfn";
}

/// Argument of `PHYSDEVOP_eoi`.
#[doc(alias = "physdev_eoi")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Eoi {
    pub irq: u32,
}

/// The frame of the bitmap of interrupts that need an EOI: `PHYSDEVOP_pirq_eoi_gmfn_v1` and `_v2`.
#[doc(alias = "physdev_pirq_eoi_gmfn")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PirqEoiGmfn {
    pub gmfn: XenPfn,
}

/// Argument of `PHYSDEVOP_irq_status_query`.
#[doc(alias = "physdev_irq_status_query")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IrqStatusQuery {
    pub irq: u32,
    pub flags: u32,
}

/// Argument of `PHYSDEVOP_set_iopl`.
#[doc(alias = "physdev_set_iopl")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetIopl {
    pub iopl: u32,
}

/// Argument of `PHYSDEVOP_set_iobitmap`.
#[doc(alias = "physdev_set_iobitmap")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetIobitmap {
    pub bitmap: GuestHandle<u8>,
    pub nr_ports: u32,
    pub _hole0: [u8; 4],
}

/// A register of an IO-APIC: `PHYSDEVOP_apic_read`, `PHYSDEVOP_apic_write`.
#[doc(alias = "physdev_apic")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Apic {
    pub apic_physbase: u64,
    pub reg: u32,
    pub value: u32,
}

/// An interrupt and its vector: `PHYSDEVOP_alloc_irq_vector`.
#[doc(alias = "physdev_irq")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Irq {
    pub irq: u32,
    pub vector: u32,
}

/// Argument of `PHYSDEVOP_map_pirq`.
#[doc(alias = "physdev_map_pirq")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapPirq {
    pub domid: DomId,
    pub _hole0: [u8; 2],
    #[doc(alias = "type")]
    pub kind: i32,
    pub index: i32,
    pub pirq: i32,
    pub bus: i32,
    pub devfn: i32,
    pub entry_nr: i32,
    pub _hole1: [u8; 4],
    pub table_base: u64,
}

/// Argument of `PHYSDEVOP_unmap_pirq`.
#[doc(alias = "physdev_unmap_pirq")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnmapPirq {
    pub domid: DomId,
    pub _hole0: [u8; 2],
    pub pirq: i32,
}

/// A PCI device: `PHYSDEVOP_manage_pci_add`, `PHYSDEVOP_manage_pci_remove`.
#[doc(alias = "physdev_manage_pci")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ManagePci {
    pub bus: u8,
    pub devfn: u8,
}

/// Argument of `PHYSDEVOP_restore_msi`.
#[doc(alias = "physdev_restore_msi")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RestoreMsi {
    pub bus: u8,
    pub devfn: u8,
}

/// A PCI device and what it is part of: `PHYSDEVOP_manage_pci_add_ext`.
#[doc(alias = "physdev_manage_pci_ext")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ManagePciExt {
    pub bus: u8,
    pub devfn: u8,
    pub _hole0: [u8; 2],
    pub is_extfn: u32,
    pub is_virtfn: u32,
    pub physfn: ManagePciExtPhysfn,
    pub _hole1: [u8; 2],
}

/// The member `physdev_manage_pci_ext.physfn`.
#[doc(alias = "physdev_manage_pci_ext.physfn")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ManagePciExtPhysfn {
    pub bus: u8,
    pub devfn: u8,
}

/// The argument of `__HYPERVISOR_physdev_op_compat`.
#[doc(alias = "physdev_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PhysdevOp {
    pub cmd: u32,
    pub _hole0: [u8; 4],
    pub u: PhysdevOpUnion,
}

crate::macros::union! {
    /// The union `physdev_op.u`.
    PhysdevOpUnion: [u64; 2], "physdev_op.u" {
        irq_status_query: IrqStatusQuery,
        set_iopl: SetIopl,
        set_iobitmap: SetIobitmap,
        apic_op: Apic,
        irq_op: Irq,
    }
}

/// Argument of `PHYSDEVOP_setup_gsi`.
#[doc(alias = "physdev_setup_gsi")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetupGsi {
    pub gsi: i32,
    pub triggering: u8,
    pub polarity: u8,
    pub _hole0: [u8; 2],
}

/// Argument of `PHYSDEVOP_get_free_pirq`.
#[doc(alias = "physdev_get_free_pirq")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetFreePirq {
    #[doc(alias = "type")]
    pub kind: i32,
    pub pirq: u32,
}

/// Argument of `PHYSDEVOP_pci_mmcfg_reserved`.
#[doc(alias = "physdev_pci_mmcfg_reserved")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PciMmcfgReserved {
    pub address: u64,
    pub segment: u16,
    pub start_bus: u8,
    pub end_bus: u8,
    pub flags: u32,
}

/// Argument of `PHYSDEVOP_pci_device_add`.
#[doc(alias = "physdev_pci_device_add")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PciDeviceAdd {
    pub seg: u16,
    pub bus: u8,
    pub devfn: u8,
    pub flags: u32,
    pub physfn: PciDeviceAddPhysfn,
    pub _hole0: [u8; 2],
}

/// The member `physdev_pci_device_add.physfn`.
#[doc(alias = "physdev_pci_device_add.physfn")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PciDeviceAddPhysfn {
    pub bus: u8,
    pub devfn: u8,
}

/// A PCI device: `PHYSDEVOP_pci_device_remove`, `PHYSDEVOP_restore_msi_ext`, `PHYSDEVOP_prepare_msix`, `PHYSDEVOP_release_msix`.
#[doc(alias = "physdev_pci_device")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PciDevice {
    pub seg: u16,
    pub bus: u8,
    pub devfn: u8,
}

/// Argument of `PHYSDEVOP_dbgp_op`.
#[doc(alias = "physdev_dbgp_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DbgpOp {
    pub op: u8,
    pub bus: u8,
    pub u: DbgpOpUnion,
}

crate::macros::union! {
    /// The union `physdev_dbgp_op.u`.
    DbgpOpUnion: [u16; 2], "physdev_dbgp_op.u" {
        pci: PciDevice,
    }
}
