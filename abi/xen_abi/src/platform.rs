//! Firmware, power and the machine's clock, `__HYPERVISOR_platform_op`: domain 0 only.
//!
//! Source: `public/platform.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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

/// Argument of `XENPF_microcode_update`.
#[doc(alias = "xenpf_microcode_update")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MicrocodeUpdate {
    pub data: GuestHandle<()>,
    pub length: u32,
    pub _hole0: [u8; 4],
}

/// Argument of `XENPF_platform_quirk`.
#[doc(alias = "xenpf_platform_quirk")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PlatformQuirk {
    pub quirk_id: u32,
}

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
pub struct Getidletime {
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

/// A CPU: `XENPF_cpu_online`, `XENPF_cpu_offline`.
#[doc(alias = "xenpf_cpu_ol")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuOl {
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
        getidletime: Getidletime,
        set_pminfo: SetProcessorPminfo,
        pcpu_info: Pcpuinfo,
        pcpu_version: PcpuVersion,
        cpu_ol: CpuOl,
        cpu_add: CpuHotadd,
        mem_add: MemHotadd,
        core_parking: CoreParking,
        resource_op: ResourceOp,
        symdata: Symdata,
    }
}

/// Flags of a CPU's idle states: 5 bits, `PROCESSOR_FLAG_*`.
#[doc(alias = "xen_processor_flags")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ProcessorFlags {
    /// `bm_control` bit 0, `bm_check` bit 1, `has_cst` bit 2, `power_setup_done` bit 3, `bm_rld_set` bit 4.
    pub bits: u32,
}
