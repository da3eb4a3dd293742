//! Control of the machine, `__HYPERVISOR_sysctl`.
//!
//! Source: `public/sysctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

pub mod cpu;
pub mod diagnostics;
pub mod livepatch;
pub mod power;
pub mod scheduler;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::domctl::domain::GetDomainInfo;
use crate::sysctl::cpu::{
    CpuFeatureset, CpuLevellingCaps, CpuPolicy, CpuTopologyInfo, GetCpuInfo, NumaInfo,
    PciTopologyInfo,
};
use crate::sysctl::diagnostics::{CoverageOp, LockprofOp, PerfcOp, PsrAlloc, PsrCmtOp, TbufOp};
use crate::sysctl::livepatch::LivepatchOp;
use crate::sysctl::power::{CpuHotplug, GetPmstat, PageOfflineOp, PmOp};
use crate::sysctl::scheduler::{CpupoolOp, SchedId, SchedulerOp};
use crate::{DomId, GuestHandle};

crate::macros::constants! { u32;
    INTERFACE_VERSION = 0x15, "XEN_SYSCTL_INTERFACE_VERSION";
    TBUFOP_GET_INFO = 0, "XEN_SYSCTL_TBUFOP_get_info";
    TBUFOP_SET_CPU_MASK = 1, "XEN_SYSCTL_TBUFOP_set_cpu_mask";
    TBUFOP_SET_EVT_MASK = 2, "XEN_SYSCTL_TBUFOP_set_evt_mask";
    TBUFOP_SET_SIZE = 3, "XEN_SYSCTL_TBUFOP_set_size";
    TBUFOP_ENABLE = 4, "XEN_SYSCTL_TBUFOP_enable";
    TBUFOP_DISABLE = 5, "XEN_SYSCTL_TBUFOP_disable";
    PHYSCAP_HVM = 1 << 0, "XEN_SYSCTL_PHYSCAP_hvm";
    PHYSCAP_PV = 1 << 1, "XEN_SYSCTL_PHYSCAP_pv";
    PHYSCAP_DIRECTIO = 1 << 2, "XEN_SYSCTL_PHYSCAP_directio";
    PHYSCAP_HAP = 1 << 3, "XEN_SYSCTL_PHYSCAP_hap";
    PHYSCAP_SHADOW = 1 << 4, "XEN_SYSCTL_PHYSCAP_shadow";
    PHYSCAP_IOMMU_HAP_PT_SHARE = 1 << 5, "XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share";
    PHYSCAP_VMTRACE = 1 << 6, "XEN_SYSCTL_PHYSCAP_vmtrace";
    PHYSCAP_VPMU = 1 << 7, "XEN_SYSCTL_PHYSCAP_vpmu";
    PHYSCAP_GNTTAB_V1 = 1 << 8, "XEN_SYSCTL_PHYSCAP_gnttab_v1";
    PHYSCAP_GNTTAB_V2 = 1 << 9, "XEN_SYSCTL_PHYSCAP_gnttab_v2";
    PHYSCAP_MAX = 512, "XEN_SYSCTL_PHYSCAP_MAX";
    PERFCOP_RESET = 1, "XEN_SYSCTL_PERFCOP_reset";
    PERFCOP_QUERY = 2, "XEN_SYSCTL_PERFCOP_query";
    PMSTAT_CATEGORY_MASK = 0xf0;
    PMSTAT_PX = 0x10;
    PMSTAT_CX = 0x20;
    PMSTAT_GET_MAX_PX = 0x11, "PMSTAT_get_max_px";
    PMSTAT_GET_PXSTAT = 0x12, "PMSTAT_get_pxstat";
    PMSTAT_RESET_PXSTAT = 0x13, "PMSTAT_reset_pxstat";
    PMSTAT_GET_MAX_CX = 0x21, "PMSTAT_get_max_cx";
    PMSTAT_GET_CXSTAT = 0x22, "PMSTAT_get_cxstat";
    PMSTAT_RESET_CXSTAT = 0x23, "PMSTAT_reset_cxstat";
    CPU_HOTPLUG_ONLINE = 0, "XEN_SYSCTL_CPU_HOTPLUG_ONLINE";
    CPU_HOTPLUG_OFFLINE = 1, "XEN_SYSCTL_CPU_HOTPLUG_OFFLINE";
    CPU_HOTPLUG_SMT_ENABLE = 2, "XEN_SYSCTL_CPU_HOTPLUG_SMT_ENABLE";
    CPU_HOTPLUG_SMT_DISABLE = 3, "XEN_SYSCTL_CPU_HOTPLUG_SMT_DISABLE";
    CPUFREQ_NAME_LEN = 16;
    SAMPLING_RATE = 4;
    UP_THRESHOLD = 5;
    PM_PARA_CATEGORY_MASK = 0xf0;
    CPUFREQ_PARA = 0x10;
    GET_CPUFREQ_PARA = 0x11;
    SET_CPUFREQ_GOV = 0x12;
    SET_CPUFREQ_PARA = 0x13;
    GET_CPUFREQ_AVGFREQ = 0x14;
    PM_OP_SET_SCHED_OPT_SMT = 0x21, "XEN_SYSCTL_pm_op_set_sched_opt_smt";
    PM_OP_GET_MAX_CSTATE = 0x22, "XEN_SYSCTL_pm_op_get_max_cstate";
    PM_OP_SET_MAX_CSTATE = 0x23, "XEN_SYSCTL_pm_op_set_max_cstate";
    PM_OP_SET_VCPU_MIGRATION_DELAY = 0x24, "XEN_SYSCTL_pm_op_set_vcpu_migration_delay";
    PM_OP_GET_VCPU_MIGRATION_DELAY = 0x25, "XEN_SYSCTL_pm_op_get_vcpu_migration_delay";
    PM_OP_ENABLE_TURBO = 0x26, "XEN_SYSCTL_pm_op_enable_turbo";
    PM_OP_DISABLE_TURBO = 0x27, "XEN_SYSCTL_pm_op_disable_turbo";
    CX_UNLIMITED = 0xffffffff, "XEN_SYSCTL_CX_UNLIMITED";
    SYSCTL_PAGE_OFFLINE = 1, "sysctl_page_offline";
    SYSCTL_PAGE_ONLINE = 2, "sysctl_page_online";
    SYSCTL_QUERY_PAGE_OFFLINE = 3, "sysctl_query_page_offline";
    PG_OFFLINE_OWNER_SHIFT = 16;
    LOCKPROF_RESET = 1, "XEN_SYSCTL_LOCKPROF_reset";
    LOCKPROF_QUERY = 2, "XEN_SYSCTL_LOCKPROF_query";
    LOCKPROF_TYPE_GLOBAL = 0;
    LOCKPROF_TYPE_PERDOM = 1;
    LOCKPROF_TYPE_N = 2;
    XEN_INVALID_CORE_ID = 0xffffffff;
    XEN_INVALID_SOCKET_ID = 0xffffffff;
    XEN_INVALID_NODE_ID = 0xffffffff;
    XEN_INVALID_MEM_SZ = 0xffffffff;
    XEN_INVALID_NODE_DIST = 0xffffffff;
    CPUPOOL_OP_CREATE = 1, "XEN_SYSCTL_CPUPOOL_OP_CREATE";
    CPUPOOL_OP_DESTROY = 2, "XEN_SYSCTL_CPUPOOL_OP_DESTROY";
    CPUPOOL_OP_INFO = 3, "XEN_SYSCTL_CPUPOOL_OP_INFO";
    CPUPOOL_OP_ADDCPU = 4, "XEN_SYSCTL_CPUPOOL_OP_ADDCPU";
    CPUPOOL_OP_RMCPU = 5, "XEN_SYSCTL_CPUPOOL_OP_RMCPU";
    CPUPOOL_OP_MOVEDOMAIN = 6, "XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN";
    CPUPOOL_OP_FREEINFO = 7, "XEN_SYSCTL_CPUPOOL_OP_FREEINFO";
    CPUPOOL_PAR_ANY = 0xffffffff, "XEN_SYSCTL_CPUPOOL_PAR_ANY";
    ARINC653_MAX_DOMAINS_PER_SCHEDULE = 64;
    SCHED_RATELIMIT_MAX = 500_000, "XEN_SYSCTL_SCHED_RATELIMIT_MAX";
    SCHED_RATELIMIT_MIN = 100, "XEN_SYSCTL_SCHED_RATELIMIT_MIN";
    CSCHED_TSLICE_MAX = 1000, "XEN_SYSCTL_CSCHED_TSLICE_MAX";
    CSCHED_TSLICE_MIN = 1, "XEN_SYSCTL_CSCHED_TSLICE_MIN";
    CSCHED_MGR_DLY_MAX_US = 100_000, "XEN_SYSCTL_CSCHED_MGR_DLY_MAX_US";
    SCHEDOP_PUTINFO = 0, "XEN_SYSCTL_SCHEDOP_putinfo";
    SCHEDOP_GETINFO = 1, "XEN_SYSCTL_SCHEDOP_getinfo";
    XEN_GCOV_FORMAT_MAGIC = 0x58434f56;
    COVERAGE_GET_SIZE = 0, "XEN_SYSCTL_COVERAGE_get_size";
    COVERAGE_READ = 1, "XEN_SYSCTL_COVERAGE_read";
    COVERAGE_RESET = 2, "XEN_SYSCTL_COVERAGE_reset";
    PSR_CMT_GET_TOTAL_RMID = 0, "XEN_SYSCTL_PSR_CMT_get_total_rmid";
    PSR_CMT_GET_L3_UPSCALING_FACTOR = 1, "XEN_SYSCTL_PSR_CMT_get_l3_upscaling_factor";
    PSR_CMT_GET_L3_CACHE_SIZE = 2, "XEN_SYSCTL_PSR_CMT_get_l3_cache_size";
    PSR_CMT_ENABLED = 3, "XEN_SYSCTL_PSR_CMT_enabled";
    PSR_CMT_GET_L3_EVENT_MASK = 4, "XEN_SYSCTL_PSR_CMT_get_l3_event_mask";
    XEN_INVALID_DEV = 0xfffffffe;
    PSR_GET_L3_INFO = 0, "XEN_SYSCTL_PSR_get_l3_info";
    PSR_GET_L2_INFO = 1, "XEN_SYSCTL_PSR_get_l2_info";
    PSR_GET_MBA_INFO = 2, "XEN_SYSCTL_PSR_get_mba_info";
    PSR_CAT_L3_CDP = 1 << 0, "XEN_SYSCTL_PSR_CAT_L3_CDP";
    PSR_MBA_LINEAR = 1 << 0, "XEN_SYSCTL_PSR_MBA_LINEAR";
    CPU_LEVELCAP_FAULTING = 1 << 0, "XEN_SYSCTL_CPU_LEVELCAP_faulting";
    CPU_LEVELCAP_ECX = 1 << 1, "XEN_SYSCTL_CPU_LEVELCAP_ecx";
    CPU_LEVELCAP_EDX = 1 << 2, "XEN_SYSCTL_CPU_LEVELCAP_edx";
    CPU_LEVELCAP_EXTD_ECX = 1 << 3, "XEN_SYSCTL_CPU_LEVELCAP_extd_ecx";
    CPU_LEVELCAP_EXTD_EDX = 1 << 4, "XEN_SYSCTL_CPU_LEVELCAP_extd_edx";
    CPU_LEVELCAP_XSAVE_EAX = 1 << 5, "XEN_SYSCTL_CPU_LEVELCAP_xsave_eax";
    CPU_LEVELCAP_THERMAL_ECX = 1 << 6, "XEN_SYSCTL_CPU_LEVELCAP_thermal_ecx";
    CPU_LEVELCAP_L7S0_EAX = 1 << 7, "XEN_SYSCTL_CPU_LEVELCAP_l7s0_eax";
    CPU_LEVELCAP_L7S0_EBX = 1 << 8, "XEN_SYSCTL_CPU_LEVELCAP_l7s0_ebx";
    CPU_FEATURESET_RAW = 0, "XEN_SYSCTL_cpu_featureset_raw";
    CPU_FEATURESET_HOST = 1, "XEN_SYSCTL_cpu_featureset_host";
    CPU_FEATURESET_PV = 2, "XEN_SYSCTL_cpu_featureset_pv";
    CPU_FEATURESET_HVM = 3, "XEN_SYSCTL_cpu_featureset_hvm";
    CPU_FEATURESET_PV_MAX = 4, "XEN_SYSCTL_cpu_featureset_pv_max";
    CPU_FEATURESET_HVM_MAX = 5, "XEN_SYSCTL_cpu_featureset_hvm_max";
    LIVEPATCH_PAYLOAD_VERSION = 2;
    XEN_LIVEPATCH_NAME_SIZE = 128;
    LIVEPATCH_UPLOAD = 0, "XEN_SYSCTL_LIVEPATCH_UPLOAD";
    LIVEPATCH_GET = 1, "XEN_SYSCTL_LIVEPATCH_GET";
    LIVEPATCH_STATE_CHECKED = 1;
    LIVEPATCH_STATE_APPLIED = 2;
    LIVEPATCH_LIST = 2, "XEN_SYSCTL_LIVEPATCH_LIST";
    LIVEPATCH_ACTION = 3, "XEN_SYSCTL_LIVEPATCH_ACTION";
    LIVEPATCH_ACTION_UNLOAD = 1;
    LIVEPATCH_ACTION_REVERT = 2;
    LIVEPATCH_ACTION_APPLY = 3;
    LIVEPATCH_ACTION_REPLACE = 4;
    LIVEPATCH_ACTION_APPLY_NODEPS = 1 << 0;
    CPU_POLICY_RAW = 0, "XEN_SYSCTL_cpu_policy_raw";
    CPU_POLICY_HOST = 1, "XEN_SYSCTL_cpu_policy_host";
    CPU_POLICY_PV_MAX = 2, "XEN_SYSCTL_cpu_policy_pv_max";
    CPU_POLICY_HVM_MAX = 3, "XEN_SYSCTL_cpu_policy_hvm_max";
    CPU_POLICY_PV_DEFAULT = 4, "XEN_SYSCTL_cpu_policy_pv_default";
    CPU_POLICY_HVM_DEFAULT = 5, "XEN_SYSCTL_cpu_policy_hvm_default";
    READCONSOLE = 1, "XEN_SYSCTL_readconsole";
    TBUF_OP = 2, "XEN_SYSCTL_tbuf_op";
    PHYSINFO = 3, "XEN_SYSCTL_physinfo";
    SCHED_ID = 4, "XEN_SYSCTL_sched_id";
    PERFC_OP = 5, "XEN_SYSCTL_perfc_op";
    GETDOMAININFOLIST = 6, "XEN_SYSCTL_getdomaininfolist";
    DEBUG_KEYS = 7, "XEN_SYSCTL_debug_keys";
    GETCPUINFO = 8, "XEN_SYSCTL_getcpuinfo";
    AVAILHEAP = 9, "XEN_SYSCTL_availheap";
    GET_PMSTAT = 10, "XEN_SYSCTL_get_pmstat";
    CPU_HOTPLUG = 11, "XEN_SYSCTL_cpu_hotplug";
    PM_OP = 12, "XEN_SYSCTL_pm_op";
    PAGE_OFFLINE_OP = 14, "XEN_SYSCTL_page_offline_op";
    LOCKPROF_OP = 15, "XEN_SYSCTL_lockprof_op";
    CPUTOPOINFO = 16, "XEN_SYSCTL_cputopoinfo";
    NUMAINFO = 17, "XEN_SYSCTL_numainfo";
    CPUPOOL_OP = 18, "XEN_SYSCTL_cpupool_op";
    SCHEDULER_OP = 19, "XEN_SYSCTL_scheduler_op";
    COVERAGE_OP = 20, "XEN_SYSCTL_coverage_op";
    PSR_CMT_OP = 21, "XEN_SYSCTL_psr_cmt_op";
    PCITOPOINFO = 22, "XEN_SYSCTL_pcitopoinfo";
    PSR_ALLOC = 23, "XEN_SYSCTL_psr_alloc";
    GET_CPU_LEVELLING_CAPS = 25, "XEN_SYSCTL_get_cpu_levelling_caps";
    GET_CPU_FEATURESET = 26, "XEN_SYSCTL_get_cpu_featureset";
    LIVEPATCH_OP = 27, "XEN_SYSCTL_livepatch_op";
    GET_CPU_POLICY = 29, "XEN_SYSCTL_get_cpu_policy";
}

crate::macros::constants! { u64;
    PG_OFFLINE_STATUS_MASK = 0xff;
    PG_OFFLINE_INVALID = 1 << 0;
    PG_OFFLINE_OFFLINED = 1 << 1;
    PG_OFFLINE_PENDING = 1 << 2;
    PG_OFFLINE_FAILED = 1 << 3;
    PG_OFFLINE_AGAIN = 1 << 4;
    PG_ONLINE_FAILED = 8;
    PG_ONLINE_ONLINED = 2;
    PG_OFFLINE_STATUS_OFFLINED = 1 << 1;
    PG_OFFLINE_STATUS_ONLINE = 1 << 2;
    PG_OFFLINE_STATUS_OFFLINE_PENDING = 1 << 3;
    PG_OFFLINE_STATUS_BROKEN = 1 << 4;
    PG_OFFLINE_MISC_MASK = 0xff0;
    PG_OFFLINE_XENPAGE = 1 << 8;
    PG_OFFLINE_DOM0PAGE = 1 << 9;
    PG_OFFLINE_ANONYMOUS = 1 << 10;
    PG_OFFLINE_NOT_CONV_RAM = 1 << 11;
    PG_OFFLINE_OWNED = 1 << 12;
    PG_OFFLINE_BROKEN = 1 << 13;
    PG_ONLINE_BROKEN = 8192;
}

/// Argument of `XEN_SYSCTL_readconsole`.
#[doc(alias = "xen_sysctl_readconsole")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ReadConsole {
    pub clear: u8,
    pub incremental: u8,
    pub pad0: u8,
    pub pad1: u8,
    pub index: u32,
    pub buffer: GuestHandle<u8>,
    pub count: u32,
    pub _hole0: [u8; 4],
}

/// Argument of `XEN_SYSCTL_physinfo`.
#[doc(alias = "xen_sysctl_physinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Physinfo {
    pub threads_per_core: u32,
    pub cores_per_socket: u32,
    pub nr_cpus: u32,
    pub max_cpu_id: u32,
    pub nr_nodes: u32,
    pub max_node_id: u32,
    pub cpu_khz: u32,
    pub capabilities: u32,
    pub arch_capabilities: u32,
    pub pad: u32,
    pub total_pages: u64,
    pub free_pages: u64,
    pub scrub_pages: u64,
    pub outstanding_pages: u64,
    pub max_mfn: u64,
    pub hw_cap: [u32; 8],
}

/// Argument of `XEN_SYSCTL_getdomaininfolist`.
#[doc(alias = "xen_sysctl_getdomaininfolist")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetDomainInfoList {
    pub first_domain: DomId,
    pub _hole0: [u8; 2],
    pub max_domains: u32,
    pub buffer: GuestHandle<GetDomainInfo>,
    pub num_domains: u32,
    pub _hole1: [u8; 4],
}

/// Argument of `XEN_SYSCTL_debug_keys`.
#[doc(alias = "xen_sysctl_debug_keys")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DebugKeys {
    pub keys: GuestHandle<u8>,
    pub nr_keys: u32,
    pub _hole0: [u8; 4],
}

/// Argument of `XEN_SYSCTL_availheap`.
#[doc(alias = "xen_sysctl_availheap")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AvailHeap {
    pub min_bitwidth: u32,
    pub max_bitwidth: u32,
    pub node: i32,
    pub _hole0: [u8; 4],
    pub avail_bytes: u64,
}

/// The argument of `__HYPERVISOR_sysctl`.
#[doc(alias = "xen_sysctl")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Sysctl {
    pub cmd: u32,
    pub interface_version: u32,
    pub u: SysctlUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl.u`.
    SysctlUnion: [u64; 16], "xen_sysctl.u" {
        readconsole: ReadConsole,
        tbuf_op: TbufOp,
        physinfo: Physinfo,
        cputopoinfo: CpuTopologyInfo,
        pcitopoinfo: PciTopologyInfo,
        numainfo: NumaInfo,
        sched_id: SchedId,
        perfc_op: PerfcOp,
        getdomaininfolist: GetDomainInfoList,
        debug_keys: DebugKeys,
        getcpuinfo: GetCpuInfo,
        availheap: AvailHeap,
        get_pmstat: GetPmstat,
        cpu_hotplug: CpuHotplug,
        pm_op: PmOp,
        page_offline: PageOfflineOp,
        lockprof_op: LockprofOp,
        cpupool_op: CpupoolOp,
        scheduler_op: SchedulerOp,
        coverage_op: CoverageOp,
        psr_cmt_op: PsrCmtOp,
        psr_alloc: PsrAlloc,
        cpu_levelling_caps: CpuLevellingCaps,
        cpu_featureset: CpuFeatureset,
        livepatch: LivepatchOp,
        cpu_policy: CpuPolicy,
    }
}
