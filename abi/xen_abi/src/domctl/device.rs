//! Devices of the machine that a domain may use.
//!
//! Source: `public/domctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;

/// Argument of `XEN_DOMCTL_irq_permission`.
#[doc(alias = "xen_domctl_irq_permission")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IrqPermission {
    pub pirq: u32,
    pub allow_access: u8,
    pub pad: [u8; 3],
}

/// Argument of `XEN_DOMCTL_iomem_permission`.
#[doc(alias = "xen_domctl_iomem_permission")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IomemPermission {
    pub first_mfn: u64,
    pub nr_mfns: u64,
    pub allow_access: u8,
    pub _hole0: [u8; 7],
}

/// Argument of `XEN_DOMCTL_ioport_permission`.
#[doc(alias = "xen_domctl_ioport_permission")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IoportPermission {
    pub first_port: u32,
    pub nr_ports: u32,
    pub allow_access: u8,
    pub _hole0: [u8; 3],
}

/// Argument of `XEN_DOMCTL_assign_device`.
#[doc(alias = "xen_domctl_assign_device")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AssignDevice {
    pub dev: u32,
    pub flags: u32,
    pub u: AssignDeviceUnion,
}

crate::macros::union! {
    /// The union `xen_domctl_assign_device.u`.
    AssignDeviceUnion: [u64; 2], "xen_domctl_assign_device.u" {
        pci: AssignDevicePci,
        dt: AssignDeviceDt,
    }
}

/// The member `xen_domctl_assign_device.u.pci`.
#[doc(alias = "xen_domctl_assign_device.u.pci")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AssignDevicePci {
    pub machine_sbdf: u32,
}

/// The member `xen_domctl_assign_device.u.dt`.
#[doc(alias = "xen_domctl_assign_device.u.dt")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AssignDeviceDt {
    pub size: u32,
    pub _hole0: [u8; 4],
    pub path: GuestHandle<u8>,
}

/// Argument of `XEN_DOMCTL_get_device_group`.
#[doc(alias = "xen_domctl_get_device_group")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetDeviceGroup {
    pub machine_sbdf: u32,
    pub max_sdevs: u32,
    pub num_sdevs: u32,
    pub _hole0: [u8; 4],
    pub sdev_array: GuestHandle<u32>,
}

/// Argument of `XEN_DOMCTL_bind_pt_irq`.
#[doc(alias = "xen_domctl_bind_pt_irq")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BindPtIrq {
    pub machine_irq: u32,
    pub irq_type: u32,
    pub u: BindPtIrqUnion,
}

crate::macros::union! {
    /// The union `xen_domctl_bind_pt_irq.u`.
    BindPtIrqUnion: [u64; 2], "xen_domctl_bind_pt_irq.u" {
        isa: BindPtIrqIsa,
        pci: BindPtIrqPci,
        msi: BindPtIrqMsi,
        spi: BindPtIrqSpi,
    }
}

/// The member `xen_domctl_bind_pt_irq.u.isa`.
#[doc(alias = "xen_domctl_bind_pt_irq.u.isa")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BindPtIrqIsa {
    pub isa_irq: u8,
}

/// The member `xen_domctl_bind_pt_irq.u.pci`.
#[doc(alias = "xen_domctl_bind_pt_irq.u.pci")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BindPtIrqPci {
    pub bus: u8,
    pub device: u8,
    pub intx: u8,
}

/// The member `xen_domctl_bind_pt_irq.u.msi`.
#[doc(alias = "xen_domctl_bind_pt_irq.u.msi")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BindPtIrqMsi {
    pub gvec: u8,
    pub _hole0: [u8; 3],
    pub gflags: u32,
    pub gtable: u64,
}

/// The member `xen_domctl_bind_pt_irq.u.spi`.
#[doc(alias = "xen_domctl_bind_pt_irq.u.spi")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BindPtIrqSpi {
    pub spi: u16,
}

/// Argument of `XEN_DOMCTL_ioport_mapping`.
#[doc(alias = "xen_domctl_ioport_mapping")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IoportMapping {
    pub first_gport: u32,
    pub first_mport: u32,
    pub nr_ports: u32,
    pub add_mapping: u32,
}
