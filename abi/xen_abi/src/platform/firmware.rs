//! Firmware: EFI calls, and what a BIOS told the hypervisor.
//!
//! Source: `public/platform.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;

/// EFI's time.
#[doc(alias = "xenpf_efi_time")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiTime {
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub min: u8,
    pub sec: u8,
    pub _hole0: [u8; 1],
    pub ns: u32,
    pub tz: i16,
    pub daylight: u8,
    pub _hole1: [u8; 1],
}

/// EFI's GUID.
#[doc(alias = "xenpf_efi_guid")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiGuid {
    pub data1: u32,
    pub data2: u16,
    pub data3: u16,
    pub data4: [u8; 8],
}

/// Argument of `XENPF_efi_runtime_call`.
#[doc(alias = "xenpf_efi_runtime_call")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiRuntimeCall {
    pub function: u32,
    pub misc: u32,
    pub status: u64,
    pub u: EfiRuntimeCallUnion,
}

crate::macros::union! {
    /// The union `xenpf_efi_runtime_call.u`.
    EfiRuntimeCallUnion: [u64; 5], "xenpf_efi_runtime_call.u" {
        get_time: EfiRuntimeCallGetTime,
        set_time: EfiTime,
        get_wakeup_time: EfiTime,
        set_wakeup_time: EfiTime,
        get_variable: EfiRuntimeCallGetVariable,
        set_variable: EfiRuntimeCallSetVariable,
        get_next_variable_name: EfiRuntimeCallGetNextVariableName,
        query_variable_info: EfiRuntimeCallQueryVariableInfo,
        query_capsule_capabilities: EfiRuntimeCallQueryCapsuleCapabilities,
        update_capsule: EfiRuntimeCallUpdateCapsule,
    }
}

/// The member `xenpf_efi_runtime_call.u.get_time`.
#[doc(alias = "xenpf_efi_runtime_call.u.get_time")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiRuntimeCallGetTime {
    pub time: EfiTime,
    pub resolution: u32,
    pub accuracy: u32,
}

/// The member `xenpf_efi_runtime_call.u.get_variable`.
#[doc(alias = "xenpf_efi_runtime_call.u.get_variable")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiRuntimeCallGetVariable {
    pub name: GuestHandle<()>,
    pub size: u64,
    pub data: GuestHandle<()>,
    pub vendor_guid: EfiGuid,
}

/// The member `xenpf_efi_runtime_call.u.set_variable`.
#[doc(alias = "xenpf_efi_runtime_call.u.set_variable")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiRuntimeCallSetVariable {
    pub name: GuestHandle<()>,
    pub size: u64,
    pub data: GuestHandle<()>,
    pub vendor_guid: EfiGuid,
}

/// The member `xenpf_efi_runtime_call.u.get_next_variable_name`.
#[doc(alias = "xenpf_efi_runtime_call.u.get_next_variable_name")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiRuntimeCallGetNextVariableName {
    pub size: u64,
    pub name: GuestHandle<()>,
    pub vendor_guid: EfiGuid,
}

/// The member `xenpf_efi_runtime_call.u.query_variable_info`.
#[doc(alias = "xenpf_efi_runtime_call.u.query_variable_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiRuntimeCallQueryVariableInfo {
    pub attr: u32,
    pub _hole0: [u8; 4],
    pub max_store_size: u64,
    pub remain_store_size: u64,
    pub max_size: u64,
}

/// The member `xenpf_efi_runtime_call.u.query_capsule_capabilities`.
#[doc(alias = "xenpf_efi_runtime_call.u.query_capsule_capabilities")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiRuntimeCallQueryCapsuleCapabilities {
    pub capsule_header_array: GuestHandle<()>,
    pub capsule_count: u64,
    pub max_capsule_size: u64,
    pub reset_type: u32,
    pub _hole0: [u8; 4],
}

/// The member `xenpf_efi_runtime_call.u.update_capsule`.
#[doc(alias = "xenpf_efi_runtime_call.u.update_capsule")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiRuntimeCallUpdateCapsule {
    pub capsule_header_array: GuestHandle<()>,
    pub capsule_count: u64,
    pub sg_list: u64,
}

crate::macros::union! {
    /// The union `xenpf_efi_info`.
    EfiInfo: [u64; 4], "union xenpf_efi_info" {
        version: u32,
        cfg: EfiInfoCfg,
        vendor: EfiInfoVendor,
        mem: EfiInfoMem,
        pci_rom: EfiInfoPciRom,
        apple_properties: EfiInfoAppleProperties,
    }
}

/// The member `xenpf_efi_info.cfg`.
#[doc(alias = "xenpf_efi_info.cfg")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiInfoCfg {
    pub addr: u64,
    pub nent: u32,
    pub _hole0: [u8; 4],
}

/// The member `xenpf_efi_info.vendor`.
#[doc(alias = "xenpf_efi_info.vendor")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiInfoVendor {
    pub revision: u32,
    pub bufsz: u32,
    pub name: GuestHandle<()>,
}

/// The member `xenpf_efi_info.mem`.
#[doc(alias = "xenpf_efi_info.mem")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiInfoMem {
    pub addr: u64,
    pub size: u64,
    pub attr: u64,
    #[doc(alias = "type")]
    pub kind: u32,
    pub _hole0: [u8; 4],
}

/// The member `xenpf_efi_info.pci_rom`.
#[doc(alias = "xenpf_efi_info.pci_rom")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiInfoPciRom {
    pub segment: u16,
    pub bus: u8,
    pub devfn: u8,
    pub vendor: u16,
    pub devid: u16,
    pub address: u64,
    pub size: u64,
}

/// The member `xenpf_efi_info.apple_properties`.
#[doc(alias = "xenpf_efi_info.apple_properties")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EfiInfoAppleProperties {
    pub address: u64,
    pub size: u64,
}

/// Argument of `XENPF_firmware_info`.
#[doc(alias = "xenpf_firmware_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FirmwareInfo {
    #[doc(alias = "type")]
    pub kind: u32,
    pub index: u32,
    pub u: FirmwareInfoUnion,
}

crate::macros::union! {
    /// The union `xenpf_firmware_info.u`.
    FirmwareInfoUnion: [u64; 4], "xenpf_firmware_info.u" {
        disk_info: FirmwareInfoDiskInfo,
        disk_mbr_signature: FirmwareInfoDiskMbrSignature,
        vbeddc_info: FirmwareInfoVbeddcInfo,
        efi_info: EfiInfo,
        kbd_shift_flags: u8,
    }
}

/// The member `xenpf_firmware_info.u.disk_info`.
#[doc(alias = "xenpf_firmware_info.u.disk_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FirmwareInfoDiskInfo {
    pub device: u8,
    pub version: u8,
    pub interface_support: u16,
    pub legacy_max_cylinder: u16,
    pub legacy_max_head: u8,
    pub legacy_sectors_per_track: u8,
    pub edd_params: GuestHandle<()>,
}

/// The member `xenpf_firmware_info.u.disk_mbr_signature`.
#[doc(alias = "xenpf_firmware_info.u.disk_mbr_signature")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FirmwareInfoDiskMbrSignature {
    pub device: u8,
    pub _hole0: [u8; 3],
    pub mbr_signature: u32,
}

/// The member `xenpf_firmware_info.u.vbeddc_info`.
#[doc(alias = "xenpf_firmware_info.u.vbeddc_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FirmwareInfoVbeddcInfo {
    pub capabilities: u8,
    pub edid_transfer_time: u8,
    pub _hole0: [u8; 6],
    pub edid: GuestHandle<u8>,
}
