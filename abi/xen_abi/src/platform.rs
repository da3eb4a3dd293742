//! Firmware, power and the machine's clock, `__HYPERVISOR_platform_op`: domain 0 only.
//!
//! Source: `public/platform.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

pub mod firmware;
pub mod processor;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::platform::firmware::{EfiRuntimeCall, FirmwareInfo};
use crate::platform::processor::{
    ChangeFreq, CoreParking, CpuHotadd, CpuOnline, GetIdleTime, MicrocodeUpdate, ResourceOp,
    SetProcessorPminfo,
};
use crate::{GuestHandle, XenPfn};

crate::macros::constants! { u32;
    INTERFACE_VERSION = 0x3000001, "XENPF_INTERFACE_VERSION";
    SETTIME32 = 17, "XENPF_settime32";
    SETTIME64 = 62, "XENPF_settime64";
    SETTIME = 62, "XENPF_settime";
    ADD_MEMTYPE = 31, "XENPF_add_memtype";
    DEL_MEMTYPE = 32, "XENPF_del_memtype";
    READ_MEMTYPE = 33, "XENPF_read_memtype";
    MICROCODE_UPDATE = 35, "XENPF_microcode_update";
    PLATFORM_QUIRK = 39, "XENPF_platform_quirk";
    QUIRK_NOIRQBALANCING = 1;
    QUIRK_IOAPIC_BAD_REGSEL = 2;
    QUIRK_IOAPIC_GOOD_REGSEL = 3;
    EFI_RUNTIME_CALL = 49, "XENPF_efi_runtime_call";
    XEN_EFI_GET_TIME = 1, "XEN_EFI_get_time";
    XEN_EFI_SET_TIME = 2, "XEN_EFI_set_time";
    XEN_EFI_GET_WAKEUP_TIME = 3, "XEN_EFI_get_wakeup_time";
    XEN_EFI_SET_WAKEUP_TIME = 4, "XEN_EFI_set_wakeup_time";
    XEN_EFI_GET_NEXT_HIGH_MONOTONIC_COUNT = 5, "XEN_EFI_get_next_high_monotonic_count";
    XEN_EFI_GET_VARIABLE = 6, "XEN_EFI_get_variable";
    XEN_EFI_SET_VARIABLE = 7, "XEN_EFI_set_variable";
    XEN_EFI_GET_NEXT_VARIABLE_NAME = 8, "XEN_EFI_get_next_variable_name";
    XEN_EFI_QUERY_VARIABLE_INFO = 9, "XEN_EFI_query_variable_info";
    XEN_EFI_QUERY_CAPSULE_CAPABILITIES = 10, "XEN_EFI_query_capsule_capabilities";
    XEN_EFI_UPDATE_CAPSULE = 11, "XEN_EFI_update_capsule";
    XEN_EFI_GET_TIME_SET_CLEARS_NS = 0x1;
    XEN_EFI_GET_WAKEUP_TIME_ENABLED = 0x1;
    XEN_EFI_GET_WAKEUP_TIME_PENDING = 0x2;
    XEN_EFI_SET_WAKEUP_TIME_ENABLE = 0x1;
    XEN_EFI_SET_WAKEUP_TIME_ENABLE_ONLY = 0x2;
    XEN_EFI_VARIABLE_NON_VOLATILE = 0x1;
    XEN_EFI_VARIABLE_BOOTSERVICE_ACCESS = 0x2;
    XEN_EFI_VARIABLE_RUNTIME_ACCESS = 0x4;
    XEN_EFI_VARINFO_BOOT_SNAPSHOT = 0x1;
    FIRMWARE_INFO = 50, "XENPF_firmware_info";
    XEN_FW_DISK_INFO = 1;
    XEN_FW_DISK_MBR_SIGNATURE = 2;
    XEN_FW_VBEDDC_INFO = 3;
    XEN_FW_EFI_INFO = 4;
    XEN_FW_EFI_VERSION = 0;
    XEN_FW_EFI_CONFIG_TABLE = 1;
    XEN_FW_EFI_VENDOR = 2;
    XEN_FW_EFI_MEM_INFO = 3;
    XEN_FW_EFI_RT_VERSION = 4;
    XEN_FW_EFI_PCI_ROM = 5;
    XEN_FW_EFI_APPLE_PROPERTIES = 6;
    XEN_FW_KBD_SHIFT_FLAGS = 5;
    ENTER_ACPI_SLEEP = 51, "XENPF_enter_acpi_sleep";
    ACPI_SLEEP_EXTENDED = 0x1, "XENPF_ACPI_SLEEP_EXTENDED";
    CHANGE_FREQ = 52, "XENPF_change_freq";
    GETIDLETIME = 53, "XENPF_getidletime";
    SET_PROCESSOR_PMINFO = 54, "XENPF_set_processor_pminfo";
    XEN_PROCESSOR_PM_CX = 1;
    XEN_PROCESSOR_PM_PX = 2;
    XEN_PROCESSOR_PM_TX = 4;
    XEN_PM_CX = 0;
    XEN_PM_PX = 1;
    XEN_PM_TX = 2;
    XEN_PM_PDC = 3;
    XEN_PX_PCT = 1;
    XEN_PX_PSS = 2;
    XEN_PX_PPC = 4;
    XEN_PX_PSD = 8;
    XEN_CPUPERF_SHARED_TYPE_HW = 1;
    XEN_CPUPERF_SHARED_TYPE_ALL = 2;
    XEN_CPUPERF_SHARED_TYPE_ANY = 3;
    GET_CPUINFO = 55, "XENPF_get_cpuinfo";
    XEN_PCPU_FLAGS_ONLINE = 1;
    XEN_PCPU_FLAGS_INVALID = 2;
    GET_CPU_VERSION = 48, "XENPF_get_cpu_version";
    CPU_ONLINE = 56, "XENPF_cpu_online";
    CPU_OFFLINE = 57, "XENPF_cpu_offline";
    CPU_HOTADD = 58, "XENPF_cpu_hotadd";
    MEM_HOTADD = 59, "XENPF_mem_hotadd";
    CORE_PARKING = 60, "XENPF_core_parking";
    XEN_CORE_PARKING_SET = 1;
    XEN_CORE_PARKING_GET = 2;
    RESOURCE_OP = 61, "XENPF_resource_op";
    XEN_RESOURCE_OP_MSR_READ = 0;
    XEN_RESOURCE_OP_MSR_WRITE = 1;
    GET_SYMBOL = 63, "XENPF_get_symbol";
}

/// Argument of `XENPF_settime32`.
#[doc(alias = "xenpf_settime32")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Settime32 {
    pub secs: u32,
    pub nsecs: u32,
    pub system_time: u64,
}

/// Argument of `XENPF_settime64`.
#[doc(alias = "xenpf_settime64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Settime64 {
    pub secs: u64,
    pub nsecs: u32,
    pub mbz: u32,
    pub system_time: u64,
}

/// Argument of `XENPF_add_memtype`.
#[doc(alias = "xenpf_add_memtype")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AddMemtype {
    pub mfn: XenPfn,
    pub nr_mfns: u64,
    #[doc(alias = "type")]
    pub kind: u32,
    pub handle: u32,
    pub reg: u32,
    pub _hole0: [u8; 4],
}

/// Argument of `XENPF_del_memtype`.
#[doc(alias = "xenpf_del_memtype")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DelMemtype {
    pub handle: u32,
    pub reg: u32,
}

/// Argument of `XENPF_read_memtype`.
#[doc(alias = "xenpf_read_memtype")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ReadMemtype {
    pub reg: u32,
    pub _hole0: [u8; 4],
    pub mfn: XenPfn,
    pub nr_mfns: u64,
    #[doc(alias = "type")]
    pub kind: u32,
    pub _hole1: [u8; 4],
}

/// Argument of `XENPF_platform_quirk`.
#[doc(alias = "xenpf_platform_quirk")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PlatformQuirk {
    pub quirk_id: u32,
}

/// Argument of `XENPF_enter_acpi_sleep`.
#[doc(alias = "xenpf_enter_acpi_sleep")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EnterAcpiSleep {
    pub val_a: u16,
    pub val_b: u16,
    pub sleep_state: u32,
    pub flags: u32,
}

/// A CPU of the machine: `XENPF_get_cpuinfo`.
#[doc(alias = "xenpf_pcpuinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Pcpuinfo {
    pub xen_cpuid: u32,
    pub max_present: u32,
    pub flags: u32,
    pub apic_id: u32,
    pub acpi_id: u32,
}

/// Vendor and version of a CPU: `XENPF_get_cpu_version`.
#[doc(alias = "xenpf_pcpu_version")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PcpuVersion {
    pub xen_cpuid: u32,
    pub max_present: u32,
    pub vendor_id: [u8; 12],
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
}

/// Argument of `XENPF_mem_hotadd`.
#[doc(alias = "xenpf_mem_hotadd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemHotadd {
    pub spfn: u64,
    pub epfn: u64,
    pub pxm: u32,
    pub flags: u32,
}

/// A symbol of the hypervisor: `XENPF_get_symbol`.
#[doc(alias = "xenpf_symdata")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Symdata {
    pub namelen: u32,
    pub symnum: u32,
    pub name: GuestHandle<u8>,
    pub address: u64,
    #[doc(alias = "type")]
    pub kind: u8,
    pub _hole0: [u8; 7],
}

/// The argument of `__HYPERVISOR_platform_op`.
#[doc(alias = "xen_platform_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PlatformOp {
    pub cmd: u32,
    pub interface_version: u32,
    pub u: PlatformOpUnion,
}

crate::macros::union! {
    /// The union `xen_platform_op.u`.
    PlatformOpUnion: [u64; 16], "xen_platform_op.u" {
        settime: Settime64,
        settime32: Settime32,
        settime64: Settime64,
        add_memtype: AddMemtype,
        del_memtype: DelMemtype,
        read_memtype: ReadMemtype,
        microcode: MicrocodeUpdate,
        platform_quirk: PlatformQuirk,
        efi_runtime_call: EfiRuntimeCall,
        firmware_info: FirmwareInfo,
        enter_acpi_sleep: EnterAcpiSleep,
        change_freq: ChangeFreq,
        getidletime: GetIdleTime,
        set_pminfo: SetProcessorPminfo,
        pcpu_info: Pcpuinfo,
        pcpu_version: PcpuVersion,
        cpu_ol: CpuOnline,
        cpu_add: CpuHotadd,
        mem_add: MemHotadd,
        core_parking: CoreParking,
        resource_op: ResourceOp,
        symdata: Symdata,
    }
}
