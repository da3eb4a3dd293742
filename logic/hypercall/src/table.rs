//! The table: every operation of the interface and who may make it.
//!
//! A row is `sub-op header_name => TokenType: Class;`. The row `_` of a call with sub-operations stands
//! for the call as a whole: for a handler that serves all of them alike, or a batch of them.

use crate::authorize::{Operation, Who};

/// Where a call carries its sub-operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubOpPlace {
    /// It has none.
    None,
    /// The first argument.
    Argument,
    /// The low six bits of the first argument; above is the progress of a preempted call.
    ArgumentLow6,
    /// A structure in the guest's memory.
    InMemory,
}

/// A hypercall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number (`__HYPERVISOR_*`).
    pub nr: u32,
    /// Its name in the public headers.
    pub name: &'static str,
    /// Where it carries its sub-operation.
    pub sub_op_place: SubOpPlace,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The call's number.
    pub call: u32,
    /// The sub-operation's number; `None` for the call as a whole.
    pub sub_op: Option<u32>,
    /// The operation's name in the public headers, without the family's prefix.
    pub name: &'static str,
    /// The name of its token type in [`op`].
    pub op: &'static str,
    /// Who may make it.
    pub who: Who,
}

macro_rules! sub_op {
    (_) => {
        None
    };
    ($number:literal) => {
        Some($number)
    };
}

macro_rules! table {
    ($($nr:literal $call:ident $place:ident {
        $($sub:tt $name:ident => $op:ident: $who:ident;)*
    })*) => {
        /// Every call of the interface, in the order of their numbers.
        pub const CALLS: &[Call] = &[
            $(Call { nr: $nr, name: stringify!($call), sub_op_place: SubOpPlace::$place },)*
        ];

        /// Every operation of the interface, by call and sub-operation.
        pub const ROWS: &[Row] = &[
            $($(Row {
                call: $nr,
                sub_op: sub_op!($sub),
                name: stringify!($name),
                op: stringify!($op),
                who: Who::$who,
            },)*)*
        ];

        /// A type for each operation: what an [`Authorized`](crate::Authorized) is a token of.
        pub mod op {
            use super::{Operation, Who};

            $($(
                #[doc = concat!("`", stringify!($call), "`: `", stringify!($name), "` (", stringify!($who), ").")]
                #[derive(Clone, Copy, Debug)]
                pub enum $op {}

                impl Operation for $op {
                    const CALL: u32 = $nr;
                    const SUB_OP: Option<u32> = sub_op!($sub);
                    const WHO: Who = Who::$who;
                }
            )*)*
        }

        /// For each row, whether `caller` gets its token for `target`; in the order of [`ROWS`].
        #[cfg(test)]
        fn granted(caller: &crate::Caller, target: u16) -> std::vec::Vec<bool> {
            std::vec![$($(crate::authorize::<op::$op>(caller, target).is_ok(),)*)*]
        }
    };
}

table! {
    0 set_trap_table None {
        _ set_trap_table => SetTrapTable: Any;
    }
    1 mmu_update InMemory {
        _ mmu_update => MmuUpdate: SelfOrController;
        0 NORMAL_PT_UPDATE => MmuNormalPtUpdate: SelfOrController;
        1 MACHPHYS_UPDATE => MmuMachphysUpdate: SelfOrController;
        2 PT_UPDATE_PRESERVE_AD => MmuPtUpdatePreserveAd: SelfOrController;
        3 PT_UPDATE_NO_TRANSLATE => MmuPtUpdateNoTranslate: SelfOrController;
    }
    2 set_gdt None {
        _ set_gdt => SetGdt: Any;
    }
    3 stack_switch None {
        _ stack_switch => StackSwitch: Any;
    }
    4 set_callbacks None {
        _ set_callbacks => SetCallbacks: Any;
    }
    5 fpu_taskswitch None {
        _ fpu_taskswitch => FpuTaskswitch: Any;
    }
    6 sched_op_compat None {
        _ sched_op_compat => SchedOpCompat: Any;
    }
    7 platform_op InMemory {
        _ platform_op => PlatformOp: Hardware;
        17 settime32 => PlatformSettime32: Hardware;
        31 add_memtype => PlatformAddMemtype: Hardware;
        32 del_memtype => PlatformDelMemtype: Hardware;
        33 read_memtype => PlatformReadMemtype: Hardware;
        35 microcode_update => PlatformMicrocodeUpdate: Hardware;
        39 platform_quirk => PlatformPlatformQuirk: Hardware;
        48 get_cpu_version => PlatformGetCpuVersion: Hardware;
        49 efi_runtime_call => PlatformEfiRuntimeCall: Hardware;
        50 firmware_info => PlatformFirmwareInfo: Hardware;
        51 enter_acpi_sleep => PlatformEnterAcpiSleep: Hardware;
        52 change_freq => PlatformChangeFreq: Hardware;
        53 getidletime => PlatformGetidletime: Hardware;
        54 set_processor_pminfo => PlatformSetProcessorPminfo: Hardware;
        55 get_cpuinfo => PlatformGetCpuinfo: Hardware;
        56 cpu_online => PlatformCpuOnline: Hardware;
        57 cpu_offline => PlatformCpuOffline: Hardware;
        58 cpu_hotadd => PlatformCpuHotadd: Hardware;
        59 mem_hotadd => PlatformMemHotadd: Hardware;
        60 core_parking => PlatformCoreParking: Hardware;
        61 resource_op => PlatformResourceOp: Hardware;
        62 settime64 => PlatformSettime64: Hardware;
        63 get_symbol => PlatformGetSymbol: Hardware;
    }
    8 set_debugreg None {
        _ set_debugreg => SetDebugreg: Any;
    }
    9 get_debugreg None {
        _ get_debugreg => GetDebugreg: Any;
    }
    10 update_descriptor None {
        _ update_descriptor => UpdateDescriptor: Any;
    }
    12 memory_op ArgumentLow6 {
        0 increase_reservation => MemoryIncreaseReservation: SelfOrController;
        1 decrease_reservation => MemoryDecreaseReservation: SelfOrController;
        2 maximum_ram_page => MemoryMaximumRamPage: Any;
        3 current_reservation => MemoryCurrentReservation: SelfOrController;
        4 maximum_reservation => MemoryMaximumReservation: SelfOrController;
        5 machphys_mfn_list => MemoryMachphysMfnList: Any;
        6 populate_physmap => MemoryPopulatePhysmap: SelfOrController;
        7 add_to_physmap => MemoryAddToPhysmap: SelfOrController;
        9 memory_map => MemoryMemoryMap: Any;
        10 machine_memory_map => MemoryMachineMemoryMap: Control;
        11 exchange => MemoryExchange: SelfOrController;
        12 machphys_mapping => MemoryMachphysMapping: Any;
        13 set_memory_map => MemorySetMemoryMap: SelfOrController;
        14 maximum_gpfn => MemoryMaximumGpfn: SelfOrController;
        15 remove_from_physmap => MemoryRemoveFromPhysmap: SelfOrController;
        16 set_pod_target => MemorySetPodTarget: Control;
        17 get_pod_target => MemoryGetPodTarget: Control;
        18 get_sharing_freed_pages => MemoryGetSharingFreedPages: Any;
        19 get_sharing_shared_pages => MemoryGetSharingSharedPages: Any;
        20 paging_op => MemoryPagingOp: DeviceModel;
        21 access_op => MemoryAccessOp: DeviceModel;
        22 sharing_op => MemorySharingOp: DeviceModel;
        23 add_to_physmap_batch => MemoryAddToPhysmapBatch: SelfOrController;
        24 claim_pages => MemoryClaimPages: Control;
        25 machphys_compat_mfn_list => MemoryMachphysCompatMfnList: Any;
        26 get_vnumainfo => MemoryGetVnumainfo: SelfOrController;
        27 reserved_device_memory_map => MemoryReservedDeviceMemoryMap: Any;
        28 acquire_resource => MemoryAcquireResource: DeviceModel;
    }
    13 multicall None {
        _ multicall => Multicall: Any;
    }
    14 update_va_mapping None {
        _ update_va_mapping => UpdateVaMapping: Any;
    }
    15 set_timer_op None {
        _ set_timer_op => SetTimerOp: Any;
    }
    16 event_channel_op_compat None {
        _ event_channel_op_compat => EventChannelOpCompat: Any;
    }
    17 xen_version Argument {
        0 version => VersionNumber: Any;
        1 extraversion => VersionExtra: Any;
        2 compile_info => VersionCompileInfo: Any;
        3 capabilities => VersionCapabilities: Any;
        4 changeset => VersionChangeset: Any;
        5 platform_parameters => VersionPlatformParameters: Any;
        6 get_features => VersionGetFeatures: Any;
        7 pagesize => VersionPagesize: Any;
        8 guest_handle => VersionGuestHandle: Any;
        9 commandline => VersionCommandline: Control;
        10 build_id => VersionBuildId: Control;
    }
    18 console_io Argument {
        0 write => ConsoleWrite: Control;
        1 read => ConsoleRead: Control;
    }
    19 physdev_op_compat None {
        _ physdev_op_compat => PhysdevOpCompat: Any;
    }
    20 grant_table_op Argument {
        0 map_grant_ref => GrantMap: Any;
        1 unmap_grant_ref => GrantUnmap: Any;
        2 setup_table => GrantSetupTable: SelfOrController;
        3 dump_table => GrantDumpTable: SelfOrController;
        4 transfer => GrantTransfer: Any;
        5 copy => GrantCopy: Any;
        6 query_size => GrantQuerySize: SelfOrController;
        7 unmap_and_replace => GrantUnmapAndReplace: Any;
        8 set_version => GrantSetVersion: Any;
        9 get_status_frames => GrantGetStatusFrames: SelfOrController;
        10 get_version => GrantGetVersion: SelfOrController;
        11 swap_grant_ref => GrantSwapGrantRef: Any;
        12 cache_flush => GrantCacheFlush: Any;
    }
    21 vm_assist Argument {
        _ vm_assist => VmAssist: Any;
        0 enable => VmAssistEnable: Any;
        1 disable => VmAssistDisable: Any;
    }
    22 update_va_mapping_otherdomain None {
        _ update_va_mapping_otherdomain => UpdateVaMappingOtherdomain: SelfOrController;
    }
    23 iret None {
        _ iret => Iret: Any;
    }
    24 vcpu_op Argument {
        _ vcpu_op => VcpuOp: Any;
        0 initialise => VcpuInitialise: Any;
        1 up => VcpuUp: Any;
        2 down => VcpuDown: Any;
        3 is_up => VcpuIsUp: Any;
        4 get_runstate_info => VcpuGetRunstateInfo: Any;
        5 register_runstate_memory_area => VcpuRegisterRunstateMemoryArea: Any;
        6 set_periodic_timer => VcpuSetPeriodicTimer: Any;
        7 stop_periodic_timer => VcpuStopPeriodicTimer: Any;
        8 set_singleshot_timer => VcpuSetSingleshotTimer: Any;
        9 stop_singleshot_timer => VcpuStopSingleshotTimer: Any;
        10 register_vcpu_info => VcpuRegisterInfo: Any;
        11 send_nmi => VcpuSendNmi: Any;
        12 get_physid => VcpuGetPhysid: Any;
        13 register_vcpu_time_memory_area => VcpuRegisterTimeMemoryArea: Any;
    }
    25 set_segment_base Argument {
        _ set_segment_base => SetSegmentBase: Any;
        0 FS => SegmentBaseFs: Any;
        1 GS_USER => SegmentBaseGsUser: Any;
        2 GS_KERNEL => SegmentBaseGsKernel: Any;
        3 GS_USER_SEL => SegmentBaseGsUserSel: Any;
    }
    26 mmuext_op InMemory {
        _ mmuext_op => MmuextOp: SelfOrController;
        0 PIN_L1_TABLE => MmuextPinL1Table: SelfOrController;
        1 PIN_L2_TABLE => MmuextPinL2Table: SelfOrController;
        2 PIN_L3_TABLE => MmuextPinL3Table: SelfOrController;
        3 PIN_L4_TABLE => MmuextPinL4Table: SelfOrController;
        4 UNPIN_TABLE => MmuextUnpinTable: SelfOrController;
        5 NEW_BASEPTR => MmuextNewBaseptr: SelfOrController;
        6 TLB_FLUSH_LOCAL => MmuextTlbFlushLocal: SelfOrController;
        7 INVLPG_LOCAL => MmuextInvlpgLocal: SelfOrController;
        8 TLB_FLUSH_MULTI => MmuextTlbFlushMulti: SelfOrController;
        9 INVLPG_MULTI => MmuextInvlpgMulti: SelfOrController;
        10 TLB_FLUSH_ALL => MmuextTlbFlushAll: SelfOrController;
        11 INVLPG_ALL => MmuextInvlpgAll: SelfOrController;
        12 FLUSH_CACHE => MmuextFlushCache: SelfOrController;
        13 SET_LDT => MmuextSetLdt: SelfOrController;
        15 NEW_USER_BASEPTR => MmuextNewUserBaseptr: SelfOrController;
        16 CLEAR_PAGE => MmuextClearPage: SelfOrController;
        17 COPY_PAGE => MmuextCopyPage: SelfOrController;
        18 FLUSH_CACHE_GLOBAL => MmuextFlushCacheGlobal: SelfOrController;
        19 MARK_SUPER => MmuextMarkSuper: SelfOrController;
        20 UNMARK_SUPER => MmuextUnmarkSuper: SelfOrController;
    }
    27 xsm_op None {
        _ xsm_op => XsmOp: Any;
    }
    28 nmi_op Argument {
        0 register_callback => NmiRegisterCallback: Any;
        1 unregister_callback => NmiUnregisterCallback: Any;
    }
    29 sched_op Argument {
        0 yield => SchedYield: Any;
        1 block => SchedBlock: Any;
        2 shutdown => SchedShutdown: Any;
        3 poll => SchedPoll: Any;
        4 remote_shutdown => SchedRemoteShutdown: DeviceModel;
        5 shutdown_code => SchedShutdownCode: Any;
        6 watchdog => SchedWatchdog: Any;
        7 pin_override => SchedPinOverride: Hardware;
    }
    30 callback_op Argument {
        0 register => CallbackRegister: Any;
        1 unregister => CallbackUnregister: Any;
    }
    31 xenoprof_op None {
        _ xenoprof_op => XenoprofOp: Control;
    }
    32 event_channel_op Argument {
        0 bind_interdomain => EventBindInterdomain: Any;
        1 bind_virq => EventBindVirq: Any;
        2 bind_pirq => EventBindPirq: Any;
        3 close => EventClose: Any;
        4 send => EventSend: Any;
        5 status => EventStatus: SelfOrController;
        6 alloc_unbound => EventAllocUnbound: SelfOrController;
        7 bind_ipi => EventBindIpi: Any;
        8 bind_vcpu => EventBindVcpu: Any;
        9 unmask => EventUnmask: Any;
        10 reset => EventReset: SelfOrController;
        11 init_control => EventInitControl: Any;
        12 expand_array => EventExpandArray: Any;
        13 set_priority => EventSetPriority: Any;
        14 reset_cont => EventResetCont: SelfOrController;
    }
    33 physdev_op Argument {
        5 irq_status_query => PhysdevIrqStatusQuery: Any;
        6 set_iopl => PhysdevSetIopl: Any;
        7 set_iobitmap => PhysdevSetIobitmap: Any;
        8 apic_read => PhysdevApicRead: Hardware;
        9 apic_write => PhysdevApicWrite: Hardware;
        10 alloc_irq_vector => PhysdevAllocIrqVector: Hardware;
        11 free_irq_vector => PhysdevFreeIrqVector: Hardware;
        12 eoi => PhysdevEoi: Any;
        13 map_pirq => PhysdevMapPirq: DeviceModel;
        14 unmap_pirq => PhysdevUnmapPirq: DeviceModel;
        15 manage_pci_add => PhysdevManagePciAdd: Hardware;
        16 manage_pci_remove => PhysdevManagePciRemove: Hardware;
        17 pirq_eoi_gmfn_v1 => PhysdevPirqEoiGmfnV1: Any;
        19 restore_msi => PhysdevRestoreMsi: Hardware;
        20 manage_pci_add_ext => PhysdevManagePciAddExt: Hardware;
        21 setup_gsi => PhysdevSetupGsi: Hardware;
        23 get_free_pirq => PhysdevGetFreePirq: Any;
        24 pci_mmcfg_reserved => PhysdevPciMmcfgReserved: Hardware;
        25 pci_device_add => PhysdevPciDeviceAdd: Hardware;
        26 pci_device_remove => PhysdevPciDeviceRemove: Hardware;
        27 restore_msi_ext => PhysdevRestoreMsiExt: Hardware;
        28 pirq_eoi_gmfn_v2 => PhysdevPirqEoiGmfnV2: Any;
        29 dbgp_op => PhysdevDbgpOp: Hardware;
        30 prepare_msix => PhysdevPrepareMsix: Hardware;
        31 release_msix => PhysdevReleaseMsix: Hardware;
    }
    34 hvm_op Argument {
        0 set_param => HvmSetParam: SelfOrController;
        1 get_param => HvmGetParam: SelfOrController;
        2 set_pci_intx_level => HvmSetPciIntxLevel: DeviceModel;
        3 set_isa_irq_level => HvmSetIsaIrqLevel: DeviceModel;
        4 set_pci_link_route => HvmSetPciLinkRoute: DeviceModel;
        5 flush_tlbs => HvmFlushTlbs: Any;
        9 pagetable_dying => HvmPagetableDying: SelfOrController;
        10 get_time => HvmGetTime: Any;
        11 xentrace => HvmXentrace: Any;
        12 set_mem_access => HvmSetMemAccess: DeviceModel;
        13 get_mem_access => HvmGetMemAccess: DeviceModel;
        15 get_mem_type => HvmGetMemType: SelfOrController;
        23 set_evtchn_upcall_vector => HvmSetEvtchnUpcallVector: Any;
        24 guest_request_vm_event => HvmGuestRequestVmEvent: Any;
        25 altp2m => HvmAltp2m: SelfOrController;
    }
    35 sysctl InMemory {
        1 readconsole => SysctlReadconsole: Control;
        2 tbuf_op => SysctlTbufOp: Control;
        3 physinfo => SysctlPhysinfo: Control;
        4 sched_id => SysctlSchedId: Control;
        5 perfc_op => SysctlPerfcOp: Control;
        6 getdomaininfolist => SysctlGetdomaininfolist: Control;
        7 debug_keys => SysctlDebugKeys: Control;
        8 getcpuinfo => SysctlGetcpuinfo: Control;
        9 availheap => SysctlAvailheap: Control;
        10 get_pmstat => SysctlGetPmstat: Control;
        11 cpu_hotplug => SysctlCpuHotplug: Control;
        12 pm_op => SysctlPmOp: Control;
        14 page_offline_op => SysctlPageOfflineOp: Control;
        15 lockprof_op => SysctlLockprofOp: Control;
        16 cputopoinfo => SysctlCputopoinfo: Control;
        17 numainfo => SysctlNumainfo: Control;
        18 cpupool_op => SysctlCpupoolOp: Control;
        19 scheduler_op => SysctlSchedulerOp: Control;
        20 coverage_op => SysctlCoverageOp: Control;
        21 psr_cmt_op => SysctlPsrCmtOp: Control;
        22 pcitopoinfo => SysctlPcitopoinfo: Control;
        23 psr_alloc => SysctlPsrAlloc: Control;
        25 get_cpu_levelling_caps => SysctlGetCpuLevellingCaps: Control;
        26 get_cpu_featureset => SysctlGetCpuFeatureset: Control;
        27 livepatch_op => SysctlLivepatchOp: Control;
        29 get_cpu_policy => SysctlGetCpuPolicy: Control;
    }
    36 domctl InMemory {
        1 createdomain => DomctlCreatedomain: Control;
        2 destroydomain => DomctlDestroydomain: Control;
        3 pausedomain => DomctlPausedomain: Control;
        4 unpausedomain => DomctlUnpausedomain: Control;
        5 getdomaininfo => DomctlGetdomaininfo: XenstoreOrControl;
        9 setvcpuaffinity => DomctlSetvcpuaffinity: Control;
        10 shadow_op => DomctlShadowOp: Control;
        11 max_mem => DomctlMaxMem: Control;
        12 setvcpucontext => DomctlSetvcpucontext: Control;
        13 getvcpucontext => DomctlGetvcpucontext: Control;
        14 getvcpuinfo => DomctlGetvcpuinfo: Control;
        15 max_vcpus => DomctlMaxVcpus: Control;
        16 scheduler_op => DomctlSchedulerOp: Control;
        17 setdomainhandle => DomctlSetdomainhandle: Control;
        18 setdebugging => DomctlSetdebugging: Control;
        19 irq_permission => DomctlIrqPermission: Control;
        20 iomem_permission => DomctlIomemPermission: Control;
        21 ioport_permission => DomctlIoportPermission: Control;
        22 hypercall_init => DomctlHypercallInit: Control;
        23 soft_reset_cont => DomctlSoftResetCont: Control;
        24 settimeoffset => DomctlSettimeoffset: Control;
        25 getvcpuaffinity => DomctlGetvcpuaffinity: Control;
        27 resumedomain => DomctlResumedomain: Control;
        28 sendtrigger => DomctlSendtrigger: Control;
        29 subscribe => DomctlSubscribe: Control;
        33 gethvmcontext => DomctlGethvmcontext: Control;
        34 sethvmcontext => DomctlSethvmcontext: Control;
        35 set_address_size => DomctlSetAddressSize: Control;
        36 get_address_size => DomctlGetAddressSize: Control;
        37 assign_device => DomctlAssignDevice: Control;
        38 bind_pt_irq => DomctlBindPtIrq: DeviceModel;
        39 memory_mapping => DomctlMemoryMapping: DeviceModel;
        40 ioport_mapping => DomctlIoportMapping: DeviceModel;
        42 set_ext_vcpucontext => DomctlSetExtVcpucontext: Control;
        43 get_ext_vcpucontext => DomctlGetExtVcpucontext: Control;
        45 test_assign_device => DomctlTestAssignDevice: Control;
        46 set_target => DomctlSetTarget: Control;
        47 deassign_device => DomctlDeassignDevice: Control;
        48 unbind_pt_irq => DomctlUnbindPtIrq: DeviceModel;
        50 get_device_group => DomctlGetDeviceGroup: Control;
        54 debug_op => DomctlDebugOp: Control;
        55 gethvmcontext_partial => DomctlGethvmcontextPartial: Control;
        56 vm_event_op => DomctlVmEventOp: Control;
        57 mem_sharing_op => DomctlMemSharingOp: Control;
        59 gettscinfo => DomctlGettscinfo: Control;
        60 settscinfo => DomctlSettscinfo: Control;
        61 getpageframeinfo3 => DomctlGetpageframeinfo3: Control;
        62 setvcpuextstate => DomctlSetvcpuextstate: Control;
        63 getvcpuextstate => DomctlGetvcpuextstate: Control;
        64 set_access_required => DomctlSetAccessRequired: Control;
        65 audit_p2m => DomctlAuditP2m: Control;
        66 set_virq_handler => DomctlSetVirqHandler: Control;
        67 set_broken_page_p2m => DomctlSetBrokenPageP2m: Control;
        68 setnodeaffinity => DomctlSetnodeaffinity: Control;
        69 getnodeaffinity => DomctlGetnodeaffinity: Control;
        71 cacheflush => DomctlCacheflush: Control;
        72 get_vcpu_msrs => DomctlGetVcpuMsrs: Control;
        73 set_vcpu_msrs => DomctlSetVcpuMsrs: Control;
        74 setvnumainfo => DomctlSetvnumainfo: Control;
        75 psr_cmt_op => DomctlPsrCmtOp: Control;
        77 monitor_op => DomctlMonitorOp: Control;
        78 psr_alloc => DomctlPsrAlloc: Control;
        79 soft_reset => DomctlSoftReset: Control;
        81 vuart_op => DomctlVuartOp: Control;
        82 get_cpu_policy => DomctlGetCpuPolicy: Control;
        83 set_cpu_policy => DomctlSetCpuPolicy: Control;
        84 vmtrace_op => DomctlVmtraceOp: Control;
        85 get_paging_mempool_size => DomctlGetPagingMempoolSize: Control;
        86 set_paging_mempool_size => DomctlSetPagingMempoolSize: Control;
        1000 gdbsx_guestmemio => DomctlGdbsxGuestmemio: Control;
        1001 gdbsx_pausevcpu => DomctlGdbsxPausevcpu: Control;
        1002 gdbsx_unpausevcpu => DomctlGdbsxUnpausevcpu: Control;
        1003 gdbsx_domstatus => DomctlGdbsxDomstatus: Control;
    }
    37 kexec_op Argument {
        0 kexec => KexecExecute: Control;
        1 kexec_load_v1 => KexecLoadV1: Control;
        2 kexec_unload_v1 => KexecUnloadV1: Control;
        3 kexec_get_range => KexecGetRange: Control;
        4 kexec_load => KexecLoad: Control;
        5 kexec_unload => KexecUnload: Control;
        6 kexec_status => KexecStatus: Control;
    }
    38 tmem_op None {
        _ tmem_op => TmemOp: Any;
    }
    39 argo_op Argument {
        1 register_ring => ArgoRegisterRing: Any;
        2 unregister_ring => ArgoUnregisterRing: Any;
        3 sendv => ArgoSendv: Any;
        4 notify => ArgoNotify: Any;
    }
    40 xenpmu_op Argument {
        0 mode_get => PmuModeGet: Control;
        1 mode_set => PmuModeSet: Control;
        2 feature_get => PmuFeatureGet: Control;
        3 feature_set => PmuFeatureSet: Control;
        4 init => PmuInit: Any;
        5 finish => PmuFinish: Any;
        6 lvtpc_set => PmuLvtpcSet: Any;
        7 flush => PmuFlush: Any;
    }
    41 dm_op InMemory {
        _ dm_op => DmOp: DeviceModel;
        1 create_ioreq_server => DeviceModelCreateIoreqServer: DeviceModel;
        2 get_ioreq_server_info => DeviceModelGetIoreqServerInfo: DeviceModel;
        3 map_io_range_to_ioreq_server => DeviceModelMapIoRangeToIoreqServer: DeviceModel;
        4 unmap_io_range_from_ioreq_server => DeviceModelUnmapIoRangeFromIoreqServer: DeviceModel;
        5 set_ioreq_server_state => DeviceModelSetIoreqServerState: DeviceModel;
        6 destroy_ioreq_server => DeviceModelDestroyIoreqServer: DeviceModel;
        7 track_dirty_vram => DeviceModelTrackDirtyVram: DeviceModel;
        8 set_pci_intx_level => DeviceModelSetPciIntxLevel: DeviceModel;
        9 set_isa_irq_level => DeviceModelSetIsaIrqLevel: DeviceModel;
        10 set_pci_link_route => DeviceModelSetPciLinkRoute: DeviceModel;
        11 modified_memory => DeviceModelModifiedMemory: DeviceModel;
        12 set_mem_type => DeviceModelSetMemType: DeviceModel;
        13 inject_event => DeviceModelInjectEvent: DeviceModel;
        14 inject_msi => DeviceModelInjectMsi: DeviceModel;
        15 map_mem_type_to_ioreq_server => DeviceModelMapMemTypeToIoreqServer: DeviceModel;
        16 remote_shutdown => DeviceModelRemoteShutdown: DeviceModel;
        17 relocate_memory => DeviceModelRelocateMemory: DeviceModel;
        18 pin_memory_cacheattr => DeviceModelPinMemoryCacheattr: DeviceModel;
        19 set_irq_level => DeviceModelSetIrqLevel: DeviceModel;
        20 nr_vcpus => DeviceModelNrVcpus: DeviceModel;
    }
    42 hypfs_op Argument {
        0 get_version => HypfsGetVersion: Control;
        1 read => HypfsRead: Control;
        2 write_contents => HypfsWriteContents: Control;
    }
    48 mca InMemory {
        1 fetch => MachineCheckFetch: Control;
        2 notifydomain => MachineCheckNotifydomain: Control;
        3 physcpuinfo => MachineCheckPhyscpuinfo: Control;
        4 msrinject => MachineCheckMsrinject: Control;
        5 mceinject => MachineCheckMceinject: Control;
        6 inject_v2 => MachineCheckInjectV2: Control;
    }
    49 paging_domctl_cont None {
        _ paging_domctl_cont => PagingDomctlCont: Control;
    }
}

/// The call with this number.
pub fn call(nr: u64) -> Option<&'static Call> {
    CALLS.iter().find(|call| u64::from(call.nr) == nr)
}

/// The name of the call with this number, for logs.
pub fn call_name(nr: u64) -> &'static str {
    call(nr).map_or("unknown", |call| call.name)
}

/// The row of a sub-operation; failing that, of the call as a whole.
pub fn find(nr: u64, sub_op: Option<u64>) -> Option<&'static Row> {
    let mut rows = ROWS.iter().filter(|row| u64::from(row.call) == nr);
    let exact = rows
        .clone()
        .find(|row| sub_op.is_some() && row.sub_op.map(u64::from) == sub_op);
    exact.or_else(|| rows.find(|row| row.sub_op.is_none()))
}

/// The sub-operation that a call's first argument names, where it is there.
pub fn sub_op(nr: u64, first_argument: u64) -> Option<u64> {
    match call(nr)?.sub_op_place {
        SubOpPlace::Argument => Some(first_argument),
        SubOpPlace::ArgumentLow6 => Some(first_argument & 0x3f),
        SubOpPlace::None | SubOpPlace::InMemory => None,
    }
}

/// The name of the operation that a call's registers ask for, as far as they tell; for logs.
pub fn operation_name(nr: u64, first_argument: u64) -> &'static str {
    find(nr, sub_op(nr, first_argument)).map_or_else(|| call_name(nr), |row| row.name)
}

#[cfg(test)]
mod tests;
