//! Control of the machine, `__HYPERVISOR_sysctl`.
//!
//! Source: `public/sysctl.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::arch_x86::CpuidLeaf;
use crate::arch_x86::MsrEntry;
use crate::control::Bitmap;
use crate::domctl::GetDomainInfo;
use crate::physdev::PciDevice;
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

/// Argument of `XEN_SYSCTL_tbuf_op`.
#[doc(alias = "xen_sysctl_tbuf_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TbufOp {
    pub cmd: u32,
    pub _hole0: [u8; 4],
    pub cpu_mask: Bitmap,
    pub evt_mask: u32,
    pub _hole1: [u8; 4],
    pub buffer_mfn: u64,
    pub size: u32,
    pub _hole2: [u8; 4],
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

/// Argument of `XEN_SYSCTL_sched_id`.
#[doc(alias = "xen_sysctl_sched_id")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedId {
    pub sched_id: u32,
}

/// The name of a performance counter.
#[doc(alias = "xen_sysctl_perfc_desc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PerfcDesc {
    pub name: [u8; 80],
    pub nr_vals: u32,
}

/// Argument of `XEN_SYSCTL_perfc_op`.
#[doc(alias = "xen_sysctl_perfc_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PerfcOp {
    pub cmd: u32,
    pub nr_counters: u32,
    pub nr_vals: u32,
    pub _hole0: [u8; 4],
    pub desc: GuestHandle<PerfcDesc>,
    pub val: GuestHandle<u32>,
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

/// How long a CPU was idle, in ns.
#[doc(alias = "xen_sysctl_cpuinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Cpuinfo {
    pub idletime: u64,
}

/// Argument of `XEN_SYSCTL_getcpuinfo`.
#[doc(alias = "xen_sysctl_getcpuinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Getcpuinfo {
    pub max_cpus: u32,
    pub _hole0: [u8; 4],
    pub info: GuestHandle<Cpuinfo>,
    pub nr_cpus: u32,
    pub _hole1: [u8; 4],
}

/// Argument of `XEN_SYSCTL_availheap`.
#[doc(alias = "xen_sysctl_availheap")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Availheap {
    pub min_bitwidth: u32,
    pub max_bitwidth: u32,
    pub node: i32,
    pub _hole0: [u8; 4],
    pub avail_bytes: u64,
}

/// A performance state of a CPU and its use.
#[doc(alias = "pm_px_val")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PmPxVal {
    pub freq: u64,
    pub residency: u64,
    pub count: u64,
}

/// The performance states of a CPU.
#[doc(alias = "pm_px_stat")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PmPxStat {
    pub total: u8,
    pub usable: u8,
    pub last: u8,
    pub cur: u8,
    pub _hole0: [u8; 4],
    pub trans_pt: GuestHandle<u64>,
    pub pt: GuestHandle<PmPxVal>,
}

/// The idle states of a CPU.
#[doc(alias = "pm_cx_stat")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PmCxStat {
    pub nr: u32,
    pub last: u32,
    pub idle_time: u64,
    pub triggers: GuestHandle<u64>,
    pub residencies: GuestHandle<u64>,
    pub nr_pc: u32,
    pub nr_cc: u32,
    pub pc: GuestHandle<u64>,
    pub cc: GuestHandle<u64>,
}

/// Argument of `XEN_SYSCTL_get_pmstat`.
#[doc(alias = "xen_sysctl_get_pmstat")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetPmstat {
    #[doc(alias = "type")]
    pub kind: u32,
    pub cpuid: u32,
    pub u: GetPmstatUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_get_pmstat.u`.
    GetPmstatUnion: [u64; 7], "xen_sysctl_get_pmstat.u" {
        getpx: PmPxStat,
        getcx: PmCxStat,
    }
}

/// Argument of `XEN_SYSCTL_cpu_hotplug`.
#[doc(alias = "xen_sysctl_cpu_hotplug")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuHotplug {
    pub cpu: u32,
    pub op: u32,
}

/// Parameters of the frequency governor `userspace`.
#[doc(alias = "xen_userspace")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Userspace {
    pub scaling_setspeed: u32,
}

/// Parameters of the frequency governor `ondemand`.
#[doc(alias = "xen_ondemand")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Ondemand {
    pub sampling_rate_max: u32,
    pub sampling_rate_min: u32,
    pub sampling_rate: u32,
    pub up_threshold: u32,
}

/// How a CPU's frequency is governed.
#[doc(alias = "xen_get_cpufreq_para")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct GetCpufreqPara {
    pub cpu_num: u32,
    pub freq_num: u32,
    pub gov_num: u32,
    pub _hole0: [u8; 4],
    pub affected_cpus: GuestHandle<u32>,
    pub scaling_available_frequencies: GuestHandle<u32>,
    pub scaling_available_governors: GuestHandle<u8>,
    pub scaling_driver: [u8; 16],
    pub cpuinfo_cur_freq: u32,
    pub cpuinfo_max_freq: u32,
    pub cpuinfo_min_freq: u32,
    pub scaling_cur_freq: u32,
    pub scaling_governor: [u8; 16],
    pub scaling_max_freq: u32,
    pub scaling_min_freq: u32,
    pub u: GetCpufreqParaUnion,
    pub turbo_enabled: i32,
    pub _hole1: [u8; 4],
}

crate::macros::union! {
    /// The union `xen_get_cpufreq_para.u`.
    GetCpufreqParaUnion: [u32; 4], "xen_get_cpufreq_para.u" {
        userspace: Userspace,
        ondemand: Ondemand,
    }
}

/// A governor to use.
#[doc(alias = "xen_set_cpufreq_gov")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetCpufreqGov {
    pub scaling_governor: [u8; 16],
}

/// A governor's parameter to set.
#[doc(alias = "xen_set_cpufreq_para")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetCpufreqPara {
    pub ctrl_type: u32,
    pub ctrl_value: u32,
}

/// Argument of `XEN_SYSCTL_pm_op`.
#[doc(alias = "xen_sysctl_pm_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PmOp {
    pub cmd: u32,
    pub cpuid: u32,
    pub u: PmOpUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_pm_op.u`.
    PmOpUnion: [u64; 15], "xen_sysctl_pm_op.u" {
        get_para: GetCpufreqPara,
        set_gov: SetCpufreqGov,
        set_para: SetCpufreqPara,
        get_avgfreq: u64,
        set_sched_opt_smt: u32,
        get_max_cstate: u32,
        set_max_cstate: u32,
    }
}

/// Argument of `XEN_SYSCTL_page_offline_op`.
#[doc(alias = "xen_sysctl_page_offline_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PageOfflineOp {
    pub cmd: u32,
    pub start: u32,
    pub end: u32,
    pub _hole0: [u8; 4],
    pub status: GuestHandle<u32>,
}

/// How a lock was used.
#[doc(alias = "xen_sysctl_lockprof_data")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LockprofData {
    pub name: [u8; 40],
    #[doc(alias = "type")]
    pub kind: i32,
    pub idx: i32,
    pub lock_cnt: u64,
    pub block_cnt: u64,
    pub lock_time: u64,
    pub block_time: u64,
}

/// Argument of `XEN_SYSCTL_lockprof_op`.
#[doc(alias = "xen_sysctl_lockprof_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LockprofOp {
    pub cmd: u32,
    pub max_elem: u32,
    pub nr_elem: u32,
    pub _hole0: [u8; 4],
    pub time: u64,
    pub data: GuestHandle<LockprofData>,
}

/// Where a CPU is.
#[doc(alias = "xen_sysctl_cputopo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Cputopo {
    pub core: u32,
    pub socket: u32,
    pub node: u32,
}

/// Argument of `XEN_SYSCTL_cputopoinfo`.
#[doc(alias = "xen_sysctl_cputopoinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Cputopoinfo {
    pub num_cpus: u32,
    pub _hole0: [u8; 4],
    pub cputopo: GuestHandle<Cputopo>,
}

/// The memory of a node.
#[doc(alias = "xen_sysctl_meminfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Meminfo {
    pub memsize: u64,
    pub memfree: u64,
}

/// Argument of `XEN_SYSCTL_numainfo`.
#[doc(alias = "xen_sysctl_numainfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Numainfo {
    pub num_nodes: u32,
    pub _hole0: [u8; 4],
    pub meminfo: GuestHandle<Meminfo>,
    pub distance: GuestHandle<u32>,
}

/// Argument of `XEN_SYSCTL_cpupool_op`.
#[doc(alias = "xen_sysctl_cpupool_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpupoolOp {
    pub op: u32,
    pub cpupool_id: u32,
    pub sched_id: u32,
    pub domid: u32,
    pub cpu: u32,
    pub n_dom: u32,
    pub cpumap: Bitmap,
}

/// The schedule of an ARINC 653 pool.
#[doc(alias = "xen_sysctl_arinc653_schedule")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Arinc653Schedule {
    pub major_frame: u64,
    pub num_sched_entries: u8,
    pub _hole0: [u8; 7],
    pub sched_entries: [Arinc653ScheduleSchedEntries; 64],
}

/// The member `xen_sysctl_arinc653_schedule.sched_entries[0]`.
#[doc(alias = "xen_sysctl_arinc653_schedule.sched_entries[0]")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Arinc653ScheduleSchedEntries {
    pub dom_handle: [u8; 16],
    pub vcpu_id: u32,
    pub _hole0: [u8; 4],
    pub runtime: u64,
}

/// Parameters of the credit scheduler.
#[doc(alias = "xen_sysctl_credit_schedule")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CreditSchedule {
    pub tslice_ms: u32,
    pub ratelimit_us: u32,
    pub vcpu_migr_delay_us: u32,
}

/// Parameters of the credit2 scheduler.
#[doc(alias = "xen_sysctl_credit2_schedule")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Credit2Schedule {
    pub ratelimit_us: u32,
}

/// A pointer to a schedule.
#[doc(alias = "xen_sysctl_sched_arinc653")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedArinc653 {
    pub schedule: GuestHandle<Arinc653Schedule>,
}

/// Argument of `XEN_SYSCTL_scheduler_op`.
#[doc(alias = "xen_sysctl_scheduler_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedulerOp {
    pub cpupool_id: u32,
    pub sched_id: u32,
    pub cmd: u32,
    pub _hole0: [u8; 4],
    pub u: SchedulerOpUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_scheduler_op.u`.
    SchedulerOpUnion: [u64; 2], "xen_sysctl_scheduler_op.u" {
        sched_arinc653: SchedArinc653,
        sched_credit: CreditSchedule,
        sched_credit2: Credit2Schedule,
    }
}

/// Argument of `XEN_SYSCTL_coverage_op`.
#[doc(alias = "xen_sysctl_coverage_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CoverageOp {
    pub cmd: u32,
    pub size: u32,
    pub buffer: GuestHandle<u8>,
}

/// Argument of `XEN_SYSCTL_psr_cmt_op`.
#[doc(alias = "xen_sysctl_psr_cmt_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrCmtOp {
    pub cmd: u32,
    pub flags: u32,
    pub u: PsrCmtOpUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_psr_cmt_op.u`.
    PsrCmtOpUnion: [u64; 1], "xen_sysctl_psr_cmt_op.u" {
        data: u64,
        l3_cache: PsrCmtOpL3Cache,
    }
}

/// The member `xen_sysctl_psr_cmt_op.u.l3_cache`.
#[doc(alias = "xen_sysctl_psr_cmt_op.u.l3_cache")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrCmtOpL3Cache {
    pub cpu: u32,
    pub rsvd: u32,
}

/// Argument of `XEN_SYSCTL_pcitopoinfo`.
#[doc(alias = "xen_sysctl_pcitopoinfo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Pcitopoinfo {
    pub num_devs: u32,
    pub _hole0: [u8; 4],
    pub devs: GuestHandle<PciDevice>,
    pub nodes: GuestHandle<u32>,
}

/// Argument of `XEN_SYSCTL_psr_alloc`.
#[doc(alias = "xen_sysctl_psr_alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrAlloc {
    pub cmd: u32,
    pub target: u32,
    pub u: PsrAllocUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_psr_alloc.u`.
    PsrAllocUnion: [u32; 3], "xen_sysctl_psr_alloc.u" {
        cat_info: PsrAllocCatInfo,
        mba_info: PsrAllocMbaInfo,
    }
}

/// The member `xen_sysctl_psr_alloc.u.cat_info`.
#[doc(alias = "xen_sysctl_psr_alloc.u.cat_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrAllocCatInfo {
    pub cbm_len: u32,
    pub cos_max: u32,
    pub flags: u32,
}

/// The member `xen_sysctl_psr_alloc.u.mba_info`.
#[doc(alias = "xen_sysctl_psr_alloc.u.mba_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PsrAllocMbaInfo {
    pub thrtl_max: u32,
    pub cos_max: u32,
    pub flags: u32,
}

/// Which CPUID leaves can be masked: `XEN_SYSCTL_get_cpu_levelling_caps`.
#[doc(alias = "xen_sysctl_cpu_levelling_caps")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuLevellingCaps {
    pub caps: u32,
}

/// A set of CPU features: `XEN_SYSCTL_get_cpu_featureset`.
#[doc(alias = "xen_sysctl_cpu_featureset")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuFeatureset {
    pub index: u32,
    pub nr_features: u32,
    pub features: GuestHandle<u32>,
}

/// The name of a live patch.
#[doc(alias = "xen_livepatch_name")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchName {
    pub name: GuestHandle<u8>,
    pub size: u16,
    pub pad: [u16; 3],
}

/// Argument of `XEN_SYSCTL_LIVEPATCH_UPLOAD`.
#[doc(alias = "xen_sysctl_livepatch_upload")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchUpload {
    pub name: LivepatchName,
    pub size: u64,
    pub payload: GuestHandle<u8>,
}

/// What became of a live patch.
#[doc(alias = "xen_livepatch_status")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchStatus {
    pub state: u32,
    pub rc: i32,
}

/// Argument of `XEN_SYSCTL_LIVEPATCH_GET`.
#[doc(alias = "xen_sysctl_livepatch_get")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchGet {
    pub name: LivepatchName,
    pub status: LivepatchStatus,
}

/// Argument of `XEN_SYSCTL_LIVEPATCH_LIST`.
#[doc(alias = "xen_sysctl_livepatch_list")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchList {
    pub version: u32,
    pub idx: u32,
    pub nr: u32,
    pub pad: u32,
    pub name_total_size: u32,
    pub metadata_total_size: u32,
    pub status: GuestHandle<LivepatchStatus>,
    pub name: GuestHandle<u8>,
    pub len: GuestHandle<u32>,
    pub metadata: GuestHandle<u8>,
    pub metadata_len: GuestHandle<u32>,
}

/// Argument of `XEN_SYSCTL_LIVEPATCH_ACTION`.
#[doc(alias = "xen_sysctl_livepatch_action")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchAction {
    pub name: LivepatchName,
    pub cmd: u32,
    pub timeout: u32,
    pub flags: u32,
    pub pad: u32,
}

/// Argument of `XEN_SYSCTL_livepatch_op`.
#[doc(alias = "xen_sysctl_livepatch_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LivepatchOp {
    pub cmd: u32,
    pub pad: u32,
    pub u: LivepatchOpUnion,
}

crate::macros::union! {
    /// The union `xen_sysctl_livepatch_op.u`.
    LivepatchOpUnion: [u64; 8], "xen_sysctl_livepatch_op.u" {
        upload: LivepatchUpload,
        list: LivepatchList,
        get: LivepatchGet,
        action: LivepatchAction,
    }
}

/// A CPU policy of the machine: `XEN_SYSCTL_get_cpu_policy`.
#[doc(alias = "xen_sysctl_cpu_policy")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuPolicy {
    pub index: u32,
    pub nr_leaves: u32,
    pub nr_msrs: u32,
    pub _rsvd: u32,
    pub leaves: GuestHandle<CpuidLeaf>,
    pub msrs: GuestHandle<MsrEntry>,
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
        cputopoinfo: Cputopoinfo,
        pcitopoinfo: Pcitopoinfo,
        numainfo: Numainfo,
        sched_id: SchedId,
        perfc_op: PerfcOp,
        getdomaininfolist: GetDomainInfoList,
        debug_keys: DebugKeys,
        getcpuinfo: Getcpuinfo,
        availheap: Availheap,
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
