//! Control of domains, `__HYPERVISOR_domctl`, as interface version 0x15 (Xen 4.17) has it.
//!
//! Source: `public/domctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

pub mod debug;
pub mod device;
pub mod domain;
pub mod memory;
pub mod vcpu;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::DomId;
use crate::domctl::debug::{
    DebugOp, GdbsxDomstatus, GdbsxMemio, GdbsxPauseVcpu, MonitorOp, VmEventOp, VmtraceOp,
};
use crate::domctl::device::{
    AssignDevice, BindPtIrq, GetDeviceGroup, IomemPermission, IoportMapping, IoportPermission,
    IrqPermission,
};
use crate::domctl::domain::{
    AddressSize, CreateDomain, GetDomainInfo, HypercallInit, MaxMem, MaxVcpus, NodeAffinity,
    PsrAlloc, PsrCmtOp, SchedulerOp, SendTrigger, SetDebugging, SetDomainHandle, SetTarget,
    SetTimeOffset, SetVirqHandler, Subscribe, TscInfo, Vnuma, VuartOp,
};
use crate::domctl::memory::{
    AuditP2m, CacheFlush, GetPageFrameInfo3, MemSharingOp, MemoryMapping, PagingMempool,
    SetAccessRequired, SetBrokenPageP2m, ShadowOp,
};
use crate::domctl::vcpu::{
    CpuPolicy, ExtVcpuContext, GetVcpuInfo, HvmContext, HvmContextPartial, VcpuAffinity,
    VcpuContext, VcpuExtState, VcpuMsrs,
};

crate::macros::constants! { u32;
    INTERFACE_VERSION = 0x15, "XEN_DOMCTL_INTERFACE_VERSION";
    CDF_HVM = 1 << 0, "XEN_DOMCTL_CDF_hvm";
    CDF_HAP = 1 << 1, "XEN_DOMCTL_CDF_hap";
    CDF_S3_INTEGRITY = 1 << 2, "XEN_DOMCTL_CDF_s3_integrity";
    CDF_OOS_OFF = 1 << 3, "XEN_DOMCTL_CDF_oos_off";
    CDF_XS_DOMAIN = 1 << 4, "XEN_DOMCTL_CDF_xs_domain";
    CDF_IOMMU = 1 << 5, "XEN_DOMCTL_CDF_iommu";
    CDF_NESTED_VIRT = 1 << 6, "XEN_DOMCTL_CDF_nested_virt";
    CDF_VPMU = 1 << 7, "XEN_DOMCTL_CDF_vpmu";
    CDF_MAX = 128, "XEN_DOMCTL_CDF_MAX";
    IOMMU_NO_SHAREPT = 1 << 0, "XEN_DOMCTL_IOMMU_no_sharept";
    IOMMU_MAX = 1, "XEN_DOMCTL_IOMMU_MAX";
    GRANT_VERSION_MASK = 0xf, "XEN_DOMCTL_GRANT_version_mask";
    XEN_DOMINF_DYING = 1 << 0, "XEN_DOMINF_dying";
    XEN_DOMINF_HVM_GUEST = 1 << 1, "XEN_DOMINF_hvm_guest";
    XEN_DOMINF_SHUTDOWN = 1 << 2, "XEN_DOMINF_shutdown";
    XEN_DOMINF_PAUSED = 1 << 3, "XEN_DOMINF_paused";
    XEN_DOMINF_BLOCKED = 1 << 4, "XEN_DOMINF_blocked";
    XEN_DOMINF_RUNNING = 1 << 5, "XEN_DOMINF_running";
    XEN_DOMINF_DEBUGGED = 1 << 6, "XEN_DOMINF_debugged";
    XEN_DOMINF_XS_DOMAIN = 1 << 7, "XEN_DOMINF_xs_domain";
    XEN_DOMINF_HAP = 1 << 8, "XEN_DOMINF_hap";
    XEN_DOMINF_SHUTDOWNMASK = 255, "XEN_DOMINF_shutdownmask";
    XEN_DOMINF_SHUTDOWNSHIFT = 16, "XEN_DOMINF_shutdownshift";
    XEN_INVALID_MAX_VCPU_ID = 0xffffffff;
    PFINFO_LTAB_SHIFT = 28, "XEN_DOMCTL_PFINFO_LTAB_SHIFT";
    PFINFO_NOTAB = 0x0, "XEN_DOMCTL_PFINFO_NOTAB";
    PFINFO_L1TAB = 1 << 28, "XEN_DOMCTL_PFINFO_L1TAB";
    PFINFO_L2TAB = 1 << 29, "XEN_DOMCTL_PFINFO_L2TAB";
    PFINFO_L3TAB = 0x30000000, "XEN_DOMCTL_PFINFO_L3TAB";
    PFINFO_L4TAB = 1 << 30, "XEN_DOMCTL_PFINFO_L4TAB";
    PFINFO_LTABTYPE_MASK = 0x70000000, "XEN_DOMCTL_PFINFO_LTABTYPE_MASK";
    PFINFO_LPINTAB = 1 << 31, "XEN_DOMCTL_PFINFO_LPINTAB";
    PFINFO_XTAB = 0xf0000000, "XEN_DOMCTL_PFINFO_XTAB";
    PFINFO_XALLOC = 0xe0000000, "XEN_DOMCTL_PFINFO_XALLOC";
    PFINFO_BROKEN = 0xd0000000, "XEN_DOMCTL_PFINFO_BROKEN";
    PFINFO_LTAB_MASK = 0xf0000000, "XEN_DOMCTL_PFINFO_LTAB_MASK";
    SHADOW_OP_OFF = 0, "XEN_DOMCTL_SHADOW_OP_OFF";
    SHADOW_OP_ENABLE = 32, "XEN_DOMCTL_SHADOW_OP_ENABLE";
    SHADOW_OP_CLEAN = 11, "XEN_DOMCTL_SHADOW_OP_CLEAN";
    SHADOW_OP_PEEK = 12, "XEN_DOMCTL_SHADOW_OP_PEEK";
    SHADOW_OP_GET_ALLOCATION = 30, "XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION";
    SHADOW_OP_SET_ALLOCATION = 31, "XEN_DOMCTL_SHADOW_OP_SET_ALLOCATION";
    SHADOW_OP_ENABLE_TEST = 1, "XEN_DOMCTL_SHADOW_OP_ENABLE_TEST";
    SHADOW_OP_ENABLE_LOGDIRTY = 2, "XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY";
    SHADOW_ENABLE_REFCOUNT = 1 << 1, "XEN_DOMCTL_SHADOW_ENABLE_REFCOUNT";
    SHADOW_ENABLE_LOG_DIRTY = 1 << 2, "XEN_DOMCTL_SHADOW_ENABLE_LOG_DIRTY";
    SHADOW_ENABLE_TRANSLATE = 1 << 3, "XEN_DOMCTL_SHADOW_ENABLE_TRANSLATE";
    SHADOW_ENABLE_EXTERNAL = 1 << 4, "XEN_DOMCTL_SHADOW_ENABLE_EXTERNAL";
    SHADOW_LOGDIRTY_FINAL = 1 << 0, "XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL";
    XEN_VCPUAFFINITY_HARD = 1 << 0;
    XEN_VCPUAFFINITY_SOFT = 1 << 1;
    XEN_VCPUAFFINITY_FORCE = 1 << 2;
    XEN_SCHEDULER_CREDIT = 5;
    XEN_SCHEDULER_CREDIT2 = 6;
    XEN_SCHEDULER_ARINC653 = 7;
    XEN_SCHEDULER_RTDS = 8;
    XEN_SCHEDULER_NULL = 9;
    SCHEDRT_EXTRA = 1 << 0, "XEN_DOMCTL_SCHEDRT_extra";
    SCHEDOP_PUTINFO = 0, "XEN_DOMCTL_SCHEDOP_putinfo";
    SCHEDOP_GETINFO = 1, "XEN_DOMCTL_SCHEDOP_getinfo";
    SCHEDOP_PUTVCPUINFO = 2, "XEN_DOMCTL_SCHEDOP_putvcpuinfo";
    SCHEDOP_GETVCPUINFO = 3, "XEN_DOMCTL_SCHEDOP_getvcpuinfo";
    SENDTRIGGER_NMI = 0, "XEN_DOMCTL_SENDTRIGGER_NMI";
    SENDTRIGGER_RESET = 1, "XEN_DOMCTL_SENDTRIGGER_RESET";
    SENDTRIGGER_INIT = 2, "XEN_DOMCTL_SENDTRIGGER_INIT";
    SENDTRIGGER_POWER = 3, "XEN_DOMCTL_SENDTRIGGER_POWER";
    SENDTRIGGER_SLEEP = 4, "XEN_DOMCTL_SENDTRIGGER_SLEEP";
    DEV_PCI = 0, "XEN_DOMCTL_DEV_PCI";
    DEV_DT = 1, "XEN_DOMCTL_DEV_DT";
    DEV_RDM_RELAXED = 1, "XEN_DOMCTL_DEV_RDM_RELAXED";
    VMSI_X86_DEST_ID_MASK = 0xff, "XEN_DOMCTL_VMSI_X86_DEST_ID_MASK";
    VMSI_X86_RH_MASK = 0x100, "XEN_DOMCTL_VMSI_X86_RH_MASK";
    VMSI_X86_DM_MASK = 0x200, "XEN_DOMCTL_VMSI_X86_DM_MASK";
    VMSI_X86_DELIV_MASK = 0x7000, "XEN_DOMCTL_VMSI_X86_DELIV_MASK";
    VMSI_X86_TRIG_MASK = 0x8000, "XEN_DOMCTL_VMSI_X86_TRIG_MASK";
    VMSI_X86_UNMASKED = 0x10000, "XEN_DOMCTL_VMSI_X86_UNMASKED";
    DPCI_ADD_MAPPING = 1;
    DPCI_REMOVE_MAPPING = 0;
    MEM_CACHEATTR_UC = 0, "XEN_DOMCTL_MEM_CACHEATTR_UC";
    MEM_CACHEATTR_WC = 1, "XEN_DOMCTL_MEM_CACHEATTR_WC";
    MEM_CACHEATTR_WT = 4, "XEN_DOMCTL_MEM_CACHEATTR_WT";
    MEM_CACHEATTR_WP = 5, "XEN_DOMCTL_MEM_CACHEATTR_WP";
    MEM_CACHEATTR_WB = 6, "XEN_DOMCTL_MEM_CACHEATTR_WB";
    MEM_CACHEATTR_UCM = 7, "XEN_DOMCTL_MEM_CACHEATTR_UCM";
    DELETE_MEM_CACHEATTR = 0xffffffff, "XEN_DOMCTL_DELETE_MEM_CACHEATTR";
    XEN_CPUID_INPUT_UNUSED = 0xffffffff;
    DEBUG_OP_SINGLE_STEP_OFF = 0, "XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_OFF";
    DEBUG_OP_SINGLE_STEP_ON = 1, "XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_ON";
    XEN_VM_EVENT_ENABLE = 0;
    XEN_VM_EVENT_DISABLE = 1;
    XEN_VM_EVENT_RESUME = 2;
    XEN_VM_EVENT_GET_VERSION = 3;
    VM_EVENT_OP_PAGING = 1, "XEN_DOMCTL_VM_EVENT_OP_PAGING";
    VM_EVENT_OP_MONITOR = 2, "XEN_DOMCTL_VM_EVENT_OP_MONITOR";
    VM_EVENT_OP_SHARING = 3, "XEN_DOMCTL_VM_EVENT_OP_SHARING";
    MEM_SHARING_CONTROL = 0, "XEN_DOMCTL_MEM_SHARING_CONTROL";
    PSR_CMT_OP_DETACH = 0, "XEN_DOMCTL_PSR_CMT_OP_DETACH";
    PSR_CMT_OP_ATTACH = 1, "XEN_DOMCTL_PSR_CMT_OP_ATTACH";
    PSR_CMT_OP_QUERY_RMID = 2, "XEN_DOMCTL_PSR_CMT_OP_QUERY_RMID";
    MONITOR_OP_ENABLE = 0, "XEN_DOMCTL_MONITOR_OP_ENABLE";
    MONITOR_OP_DISABLE = 1, "XEN_DOMCTL_MONITOR_OP_DISABLE";
    MONITOR_OP_GET_CAPABILITIES = 2, "XEN_DOMCTL_MONITOR_OP_GET_CAPABILITIES";
    MONITOR_OP_EMULATE_EACH_REP = 3, "XEN_DOMCTL_MONITOR_OP_EMULATE_EACH_REP";
    MONITOR_OP_CONTROL_REGISTERS = 4, "XEN_DOMCTL_MONITOR_OP_CONTROL_REGISTERS";
    MONITOR_EVENT_WRITE_CTRLREG = 0, "XEN_DOMCTL_MONITOR_EVENT_WRITE_CTRLREG";
    MONITOR_EVENT_MOV_TO_MSR = 1, "XEN_DOMCTL_MONITOR_EVENT_MOV_TO_MSR";
    MONITOR_EVENT_SINGLESTEP = 2, "XEN_DOMCTL_MONITOR_EVENT_SINGLESTEP";
    MONITOR_EVENT_SOFTWARE_BREAKPOINT = 3, "XEN_DOMCTL_MONITOR_EVENT_SOFTWARE_BREAKPOINT";
    MONITOR_EVENT_GUEST_REQUEST = 4, "XEN_DOMCTL_MONITOR_EVENT_GUEST_REQUEST";
    MONITOR_EVENT_DEBUG_EXCEPTION = 5, "XEN_DOMCTL_MONITOR_EVENT_DEBUG_EXCEPTION";
    MONITOR_EVENT_CPUID = 6, "XEN_DOMCTL_MONITOR_EVENT_CPUID";
    MONITOR_EVENT_PRIVILEGED_CALL = 7, "XEN_DOMCTL_MONITOR_EVENT_PRIVILEGED_CALL";
    MONITOR_EVENT_INTERRUPT = 8, "XEN_DOMCTL_MONITOR_EVENT_INTERRUPT";
    MONITOR_EVENT_DESC_ACCESS = 9, "XEN_DOMCTL_MONITOR_EVENT_DESC_ACCESS";
    MONITOR_EVENT_EMUL_UNIMPLEMENTED = 10, "XEN_DOMCTL_MONITOR_EVENT_EMUL_UNIMPLEMENTED";
    MONITOR_EVENT_INGUEST_PAGEFAULT = 11, "XEN_DOMCTL_MONITOR_EVENT_INGUEST_PAGEFAULT";
    MONITOR_EVENT_VMEXIT = 12, "XEN_DOMCTL_MONITOR_EVENT_VMEXIT";
    PSR_SET_L3_CBM = 0, "XEN_DOMCTL_PSR_SET_L3_CBM";
    PSR_GET_L3_CBM = 1, "XEN_DOMCTL_PSR_GET_L3_CBM";
    PSR_SET_L3_CODE = 2, "XEN_DOMCTL_PSR_SET_L3_CODE";
    PSR_SET_L3_DATA = 3, "XEN_DOMCTL_PSR_SET_L3_DATA";
    PSR_GET_L3_CODE = 4, "XEN_DOMCTL_PSR_GET_L3_CODE";
    PSR_GET_L3_DATA = 5, "XEN_DOMCTL_PSR_GET_L3_DATA";
    PSR_SET_L2_CBM = 6, "XEN_DOMCTL_PSR_SET_L2_CBM";
    PSR_GET_L2_CBM = 7, "XEN_DOMCTL_PSR_GET_L2_CBM";
    PSR_SET_MBA_THRTL = 8, "XEN_DOMCTL_PSR_SET_MBA_THRTL";
    PSR_GET_MBA_THRTL = 9, "XEN_DOMCTL_PSR_GET_MBA_THRTL";
    VUART_OP_INIT = 0, "XEN_DOMCTL_VUART_OP_INIT";
    VUART_TYPE_VPL011 = 0, "XEN_DOMCTL_VUART_TYPE_VPL011";
    VMTRACE_ENABLE = 1, "XEN_DOMCTL_vmtrace_enable";
    VMTRACE_DISABLE = 2, "XEN_DOMCTL_vmtrace_disable";
    VMTRACE_RESET_AND_ENABLE = 3, "XEN_DOMCTL_vmtrace_reset_and_enable";
    VMTRACE_OUTPUT_POSITION = 4, "XEN_DOMCTL_vmtrace_output_position";
    VMTRACE_GET_OPTION = 5, "XEN_DOMCTL_vmtrace_get_option";
    VMTRACE_SET_OPTION = 6, "XEN_DOMCTL_vmtrace_set_option";
    CREATEDOMAIN = 1, "XEN_DOMCTL_createdomain";
    DESTROYDOMAIN = 2, "XEN_DOMCTL_destroydomain";
    PAUSEDOMAIN = 3, "XEN_DOMCTL_pausedomain";
    UNPAUSEDOMAIN = 4, "XEN_DOMCTL_unpausedomain";
    GETDOMAININFO = 5, "XEN_DOMCTL_getdomaininfo";
    SETVCPUAFFINITY = 9, "XEN_DOMCTL_setvcpuaffinity";
    SHADOW_OP = 10, "XEN_DOMCTL_shadow_op";
    MAX_MEM = 11, "XEN_DOMCTL_max_mem";
    SETVCPUCONTEXT = 12, "XEN_DOMCTL_setvcpucontext";
    GETVCPUCONTEXT = 13, "XEN_DOMCTL_getvcpucontext";
    GETVCPUINFO = 14, "XEN_DOMCTL_getvcpuinfo";
    MAX_VCPUS = 15, "XEN_DOMCTL_max_vcpus";
    SCHEDULER_OP = 16, "XEN_DOMCTL_scheduler_op";
    SETDOMAINHANDLE = 17, "XEN_DOMCTL_setdomainhandle";
    SETDEBUGGING = 18, "XEN_DOMCTL_setdebugging";
    IRQ_PERMISSION = 19, "XEN_DOMCTL_irq_permission";
    IOMEM_PERMISSION = 20, "XEN_DOMCTL_iomem_permission";
    IOPORT_PERMISSION = 21, "XEN_DOMCTL_ioport_permission";
    HYPERCALL_INIT = 22, "XEN_DOMCTL_hypercall_init";
    SETTIMEOFFSET = 24, "XEN_DOMCTL_settimeoffset";
    GETVCPUAFFINITY = 25, "XEN_DOMCTL_getvcpuaffinity";
    REAL_MODE_AREA = 26, "XEN_DOMCTL_real_mode_area";
    RESUMEDOMAIN = 27, "XEN_DOMCTL_resumedomain";
    SENDTRIGGER = 28, "XEN_DOMCTL_sendtrigger";
    SUBSCRIBE = 29, "XEN_DOMCTL_subscribe";
    GETHVMCONTEXT = 33, "XEN_DOMCTL_gethvmcontext";
    SETHVMCONTEXT = 34, "XEN_DOMCTL_sethvmcontext";
    SET_ADDRESS_SIZE = 35, "XEN_DOMCTL_set_address_size";
    GET_ADDRESS_SIZE = 36, "XEN_DOMCTL_get_address_size";
    ASSIGN_DEVICE = 37, "XEN_DOMCTL_assign_device";
    BIND_PT_IRQ = 38, "XEN_DOMCTL_bind_pt_irq";
    MEMORY_MAPPING = 39, "XEN_DOMCTL_memory_mapping";
    IOPORT_MAPPING = 40, "XEN_DOMCTL_ioport_mapping";
    SET_EXT_VCPUCONTEXT = 42, "XEN_DOMCTL_set_ext_vcpucontext";
    GET_EXT_VCPUCONTEXT = 43, "XEN_DOMCTL_get_ext_vcpucontext";
    SET_OPT_FEATURE = 44, "XEN_DOMCTL_set_opt_feature";
    TEST_ASSIGN_DEVICE = 45, "XEN_DOMCTL_test_assign_device";
    SET_TARGET = 46, "XEN_DOMCTL_set_target";
    DEASSIGN_DEVICE = 47, "XEN_DOMCTL_deassign_device";
    UNBIND_PT_IRQ = 48, "XEN_DOMCTL_unbind_pt_irq";
    GET_DEVICE_GROUP = 50, "XEN_DOMCTL_get_device_group";
    DEBUG_OP = 54, "XEN_DOMCTL_debug_op";
    GETHVMCONTEXT_PARTIAL = 55, "XEN_DOMCTL_gethvmcontext_partial";
    VM_EVENT_OP = 56, "XEN_DOMCTL_vm_event_op";
    MEM_SHARING_OP = 57, "XEN_DOMCTL_mem_sharing_op";
    GETTSCINFO = 59, "XEN_DOMCTL_gettscinfo";
    SETTSCINFO = 60, "XEN_DOMCTL_settscinfo";
    GETPAGEFRAMEINFO3 = 61, "XEN_DOMCTL_getpageframeinfo3";
    SETVCPUEXTSTATE = 62, "XEN_DOMCTL_setvcpuextstate";
    GETVCPUEXTSTATE = 63, "XEN_DOMCTL_getvcpuextstate";
    SET_ACCESS_REQUIRED = 64, "XEN_DOMCTL_set_access_required";
    AUDIT_P2M = 65, "XEN_DOMCTL_audit_p2m";
    SET_VIRQ_HANDLER = 66, "XEN_DOMCTL_set_virq_handler";
    SET_BROKEN_PAGE_P2M = 67, "XEN_DOMCTL_set_broken_page_p2m";
    SETNODEAFFINITY = 68, "XEN_DOMCTL_setnodeaffinity";
    GETNODEAFFINITY = 69, "XEN_DOMCTL_getnodeaffinity";
    CACHEFLUSH = 71, "XEN_DOMCTL_cacheflush";
    GET_VCPU_MSRS = 72, "XEN_DOMCTL_get_vcpu_msrs";
    SET_VCPU_MSRS = 73, "XEN_DOMCTL_set_vcpu_msrs";
    SETVNUMAINFO = 74, "XEN_DOMCTL_setvnumainfo";
    PSR_CMT_OP = 75, "XEN_DOMCTL_psr_cmt_op";
    MONITOR_OP = 77, "XEN_DOMCTL_monitor_op";
    PSR_ALLOC = 78, "XEN_DOMCTL_psr_alloc";
    SOFT_RESET = 79, "XEN_DOMCTL_soft_reset";
    VUART_OP = 81, "XEN_DOMCTL_vuart_op";
    GET_CPU_POLICY = 82, "XEN_DOMCTL_get_cpu_policy";
    SET_CPU_POLICY = 83, "XEN_DOMCTL_set_cpu_policy";
    VMTRACE_OP = 84, "XEN_DOMCTL_vmtrace_op";
    GET_PAGING_MEMPOOL_SIZE = 85, "XEN_DOMCTL_get_paging_mempool_size";
    SET_PAGING_MEMPOOL_SIZE = 86, "XEN_DOMCTL_set_paging_mempool_size";
    GDBSX_GUESTMEMIO = 1000, "XEN_DOMCTL_gdbsx_guestmemio";
    GDBSX_PAUSEVCPU = 1001, "XEN_DOMCTL_gdbsx_pausevcpu";
    GDBSX_UNPAUSEVCPU = 1002, "XEN_DOMCTL_gdbsx_unpausevcpu";
    GDBSX_DOMSTATUS = 1003, "XEN_DOMCTL_gdbsx_domstatus";
    PT_IRQ_TYPE_PCI = 0;
    PT_IRQ_TYPE_ISA = 1;
    PT_IRQ_TYPE_MSI = 2;
    PT_IRQ_TYPE_MSI_TRANSLATE = 3;
    PT_IRQ_TYPE_SPI = 4;
}

/// The argument of `__HYPERVISOR_domctl`.
#[doc(alias = "xen_domctl")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Domctl {
    pub cmd: u32,
    pub interface_version: u32,
    pub domain: DomId,
    pub _pad: [u16; 3],
    pub u: DomctlUnion,
}

crate::macros::union! {
    /// The union `xen_domctl.u`.
    DomctlUnion: [u64; 16], "xen_domctl.u" {
        createdomain: CreateDomain,
        getdomaininfo: GetDomainInfo,
        getpageframeinfo3: GetPageFrameInfo3,
        nodeaffinity: NodeAffinity,
        vcpuaffinity: VcpuAffinity,
        shadow_op: ShadowOp,
        max_mem: MaxMem,
        vcpucontext: VcpuContext,
        getvcpuinfo: GetVcpuInfo,
        max_vcpus: MaxVcpus,
        scheduler_op: SchedulerOp,
        setdomainhandle: SetDomainHandle,
        setdebugging: SetDebugging,
        irq_permission: IrqPermission,
        iomem_permission: IomemPermission,
        ioport_permission: IoportPermission,
        hypercall_init: HypercallInit,
        settimeoffset: SetTimeOffset,
        tsc_info: TscInfo,
        hvmcontext: HvmContext,
        hvmcontext_partial: HvmContextPartial,
        address_size: AddressSize,
        sendtrigger: SendTrigger,
        get_device_group: GetDeviceGroup,
        assign_device: AssignDevice,
        bind_pt_irq: BindPtIrq,
        memory_mapping: MemoryMapping,
        ioport_mapping: IoportMapping,
        ext_vcpucontext: ExtVcpuContext,
        set_target: SetTarget,
        subscribe: Subscribe,
        debug_op: DebugOp,
        vm_event_op: VmEventOp,
        mem_sharing_op: MemSharingOp,
        cpu_policy: CpuPolicy,
        vcpuextstate: VcpuExtState,
        vcpu_msrs: VcpuMsrs,
        access_required: SetAccessRequired,
        audit_p2m: AuditP2m,
        set_virq_handler: SetVirqHandler,
        gdbsx_guest_memio: GdbsxMemio,
        set_broken_page_p2m: SetBrokenPageP2m,
        cacheflush: CacheFlush,
        gdbsx_pauseunp_vcpu: GdbsxPauseVcpu,
        gdbsx_domstatus: GdbsxDomstatus,
        vnuma: Vnuma,
        psr_cmt_op: PsrCmtOp,
        monitor_op: MonitorOp,
        psr_alloc: PsrAlloc,
        vuart_op: VuartOp,
        vmtrace_op: VmtraceOp,
        paging_mempool: PagingMempool,
    }
}
