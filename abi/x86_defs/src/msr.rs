//! Model-specific registers (SDM 4; APM 2 appendix A). Names are the manuals'.

macro_rules! registers {
    ($($(#[$meta:meta])* $name:ident = $number:literal;)*) => {
        $($(#[$meta])* pub const $name: u32 = $number;)*
    };
}

registers! {
    /// Time-stamp counter.
    TSC = 0x10;
    /// Platform, Intel.
    PLATFORM_ID = 0x17;
    /// Physical address of the local APIC, with [`APIC_BASE_ENABLE`] and the like.
    APIC_BASE = 0x1b;
    /// What the firmware locked: VMX, SGX.
    FEATURE_CONTROL = 0x3a;
    /// Difference that software added to the TSC.
    TSC_ADJUST = 0x3b;
    /// Speculation control.
    SPEC_CTRL = 0x48;
    /// Speculation commands.
    PRED_CMD = 0x49;
    /// Protected processor inventory number, control.
    PPIN_CTL = 0x4e;
    /// Protected processor inventory number.
    PPIN = 0x4f;
    /// Writing loads microcode, Intel.
    UCODE_WRITE = 0x79;
    /// Microcode revision, Intel (upper half).
    UCODE_REV = 0x8b;
    /// First performance counter.
    PMC0 = 0xc1;
    /// Core capabilities: split-lock detection.
    CORE_CAPABILITIES = 0xcf;
    /// Base frequency, CPUID faulting.
    PLATFORM_INFO = 0xce;
    /// Maximum frequency clock count.
    MPERF = 0xe7;
    /// Actual frequency clock count.
    APERF = 0xe8;
    /// MTRR capabilities.
    MTRR_CAP = 0xfe;
    /// Which speculation flaws the CPU does not have.
    ARCH_CAPABILITIES = 0x10a;
    /// Cache flush commands.
    FLUSH_CMD = 0x10b;
    /// TSX control.
    TSX_CTRL = 0x122;
    /// Microcode optimisation control.
    MCU_OPT_CTRL = 0x123;
    /// Selector for `sysenter`.
    SYSENTER_CS = 0x174;
    /// Stack pointer for `sysenter`.
    SYSENTER_ESP = 0x175;
    /// Entry point for `sysenter`.
    SYSENTER_EIP = 0x176;
    /// Machine-check capabilities.
    MCG_CAP = 0x179;
    /// Machine-check status.
    MCG_STATUS = 0x17a;
    /// Machine-check control.
    MCG_CTL = 0x17b;
    /// First event selection.
    PERFEVTSEL0 = 0x186;
    /// Status of the performance states.
    PERF_STATUS = 0x198;
    /// Control of the performance states.
    PERF_CTL = 0x199;
    /// Clock modulation.
    THERM_CONTROL = 0x19a;
    /// Thermal interrupts.
    THERM_INTERRUPT = 0x19b;
    /// Thermal status.
    THERM_STATUS = 0x19c;
    /// Miscellaneous enables, Intel.
    MISC_ENABLE = 0x1a0;
    /// Energy and performance bias.
    ENERGY_PERF_BIAS = 0x1b0;
    /// Branch tracing and single-step on branches.
    DEBUGCTL = 0x1d9;
    /// First variable MTRR, base; the mask is the next number.
    MTRR_PHYSBASE0 = 0x200;
    /// Fixed MTRR of the first 512 KiB.
    MTRR_FIX64K_00000 = 0x250;
    /// Fixed MTRR.
    MTRR_FIX16K_80000 = 0x258;
    /// Fixed MTRR.
    MTRR_FIX16K_A0000 = 0x259;
    /// First of 8 fixed MTRRs of 32 KiB each.
    MTRR_FIX4K_C0000 = 0x268;
    /// Page attribute table.
    PAT = 0x277;
    /// Control of machine-check bank 0's corrected errors.
    MC0_CTL2 = 0x280;
    /// Default memory type.
    MTRR_DEF_TYPE = 0x2ff;
    /// Fixed counters' control.
    FIXED_CTR_CTRL = 0x38d;
    /// Global counter status.
    PERF_GLOBAL_STATUS = 0x38e;
    /// Global counter control.
    PERF_GLOBAL_CTRL = 0x38f;
    /// Machine-check bank 0, control; status, address and misc follow; 4 registers a bank.
    MC0_CTL = 0x400;
    /// Machine-check bank 0, status.
    MC0_STATUS = 0x401;
    /// First VMX capability.
    VMX_BASIC = 0x480;
    /// Control of local machine checks.
    MCG_EXT_CTL = 0x4d0;
    /// Debug store area.
    DS_AREA = 0x600;
    /// The TSC value at which the local APIC's timer fires.
    TSC_DEADLINE = 0x6e0;
    /// First register of the local APIC in x2APIC mode: number = 0x800 + offset / 16.
    X2APIC_BASE = 0x800;
    /// Last register number of the x2APIC's range.
    X2APIC_LAST = 0x8ff;
    /// Supervisor state components of `xsaves`.
    XSS = 0xda0;
    /// CET of ring 3.
    U_CET = 0x6a0;
    /// CET of ring 0.
    S_CET = 0x6a2;
    /// First shadow stack pointer, of ring 0.
    PL0_SSP = 0x6a4;
    /// Shadow stacks by number.
    INTERRUPT_SSP_TABLE = 0x6a8;
    /// CPUID faulting, Intel.
    MISC_FEATURES_ENABLES = 0x140;

    /// Extended features: long mode, `syscall`, NX.
    EFER = 0xc000_0080;
    /// Selectors for `syscall` and `sysret`.
    STAR = 0xc000_0081;
    /// Entry point for `syscall` from 64-bit code.
    LSTAR = 0xc000_0082;
    /// Entry point for `syscall` from 32-bit code.
    CSTAR = 0xc000_0083;
    /// Flags that `syscall` clears.
    SYSCALL_MASK = 0xc000_0084;
    /// Base of FS.
    FS_BASE = 0xc000_0100;
    /// Base of GS.
    GS_BASE = 0xc000_0101;
    /// What `swapgs` swaps with the base of GS.
    KERNEL_GS_BASE = 0xc000_0102;
    /// What `rdtscp` and `rdpid` read.
    TSC_AUX = 0xc000_0103;
    /// TSC ratio, AMD.
    TSC_RATIO = 0xc000_0104;

    /// System configuration, AMD.
    SYSCFG = 0xc001_0010;
    /// Hardware configuration, AMD.
    HWCR = 0xc001_0015;
    /// First I/O range register, AMD.
    IORR_BASE0 = 0xc001_0016;
    /// End of memory below 4 GiB, AMD.
    TOP_MEM = 0xc001_001a;
    /// End of memory above 4 GiB, AMD.
    TOP_MEM2 = 0xc001_001d;
    /// Northbridge configuration, AMD.
    NB_CFG = 0xc001_001f;
    /// Writing loads microcode, AMD.
    PATCH_LOADER = 0xc001_0020;
    /// Interrupt pending messages, AMD.
    INT_PENDING = 0xc001_0055;
    /// Where PCI configuration space is, AMD family 10h.
    MMIO_CONF_BASE = 0xc001_0058;
    /// Performance state limit, AMD.
    PSTATE_LIMIT = 0xc001_0061;
    /// Performance state control, AMD.
    PSTATE_CTL = 0xc001_0062;
    /// Performance state status, AMD.
    PSTATE_STATUS = 0xc001_0063;
    /// First performance state, AMD.
    PSTATE_DEF0 = 0xc001_0064;
    /// SVM control, AMD.
    VM_CR = 0xc001_0114;
    /// Host state area, AMD.
    VM_HSAVE_PA = 0xc001_0117;
    /// Speculation control of a guest, AMD.
    VIRT_SPEC_CTRL = 0xc001_011f;
    /// Protected processor inventory number control, AMD.
    AMD_PPIN_CTL = 0xc001_02f0;
    /// Protected processor inventory number, AMD.
    AMD_PPIN = 0xc001_02f1;
    /// What CPUID leaf 7 reports, AMD.
    CPUID_7_FEATURES = 0xc001_1002;
    /// What CPUID leaf 0x80000001 reports, AMD.
    CPUID_EXT_FEATURES = 0xc001_1005;
    /// What CPUID leaf 1 reports, AMD.
    CPUID_FEATURES = 0xc001_1004;
    /// Address mask of breakpoint 1, AMD; 2 and 3 follow.
    DR1_ADDRESS_MASK = 0xc001_1019;
    /// Load-store configuration, AMD.
    LS_CFG = 0xc001_1020;
    /// Instruction cache configuration, AMD.
    IC_CFG = 0xc001_1021;
    /// Address mask of breakpoint 0, AMD.
    DR0_ADDRESS_MASK = 0xc001_1027;
    /// Decoder configuration, AMD: `lfence` serialises.
    DE_CFG = 0xc001_1029;
    /// Instruction-based sampling, fetch control, AMD.
    IBS_FETCH_CTL = 0xc001_1030;
}

/// [`APIC_BASE`]: this is the boot processor.
pub const APIC_BASE_BSP: u64 = 1 << 8;
/// [`APIC_BASE`]: x2APIC mode.
pub const APIC_BASE_X2APIC: u64 = 1 << 10;
/// [`APIC_BASE`]: enabled.
pub const APIC_BASE_ENABLE: u64 = 1 << 11;
/// [`APIC_BASE`]: the address.
pub const APIC_BASE_ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;
/// [`PLATFORM_INFO`]: CPUID faulting exists.
pub const PLATFORM_INFO_CPUID_FAULTING: u64 = 1 << 31;
/// [`MISC_FEATURES_ENABLES`]: `cpuid` in ring 3 gives #GP.
pub const MISC_FEATURES_CPUID_FAULTING: u64 = 1 << 0;
/// [`HWCR`]: `cpuid` in ring 3 gives #GP (AMD with `CpuidUserDis`).
pub const HWCR_CPUID_USER_DISABLE: u64 = 1 << 35;
/// [`HWCR`]: the TSC runs at the same rate in all performance states.
pub const HWCR_TSC_FREQ_SEL: u64 = 1 << 24;
/// [`MISC_ENABLE`]: fast strings.
pub const MISC_ENABLE_FAST_STRING: u64 = 1 << 0;
/// [`MISC_ENABLE`]: performance counters exist.
pub const MISC_ENABLE_PERF_AVAILABLE: u64 = 1 << 7;
/// [`MISC_ENABLE`]: no branch trace storage.
pub const MISC_ENABLE_BTS_UNAVAILABLE: u64 = 1 << 11;
/// [`MISC_ENABLE`]: no processor event based sampling.
pub const MISC_ENABLE_PEBS_UNAVAILABLE: u64 = 1 << 12;
/// [`MISC_ENABLE`]: CPUID leaves above 2 are hidden.
pub const MISC_ENABLE_LIMIT_CPUID: u64 = 1 << 22;
/// [`MISC_ENABLE`]: no NX.
pub const MISC_ENABLE_XD_DISABLE: u64 = 1 << 34;
/// [`DEBUGCTL`]: last branch records.
pub const DEBUGCTL_LBR: u64 = 1 << 0;
/// [`DEBUGCTL`]: single step stops at branches.
pub const DEBUGCTL_BTF: u64 = 1 << 1;
/// [`PAT`] after reset: WB, WT, UC-, UC, twice.
pub const PAT_RESET: u64 = 0x0007_0406_0007_0406;
/// [`PAT`] of the Xen ABI: WB, WT, UC-, UC, WC, WP, UC, UC. A PV guest sees it and cannot change it.
pub const PAT_XEN: u64 = 0x0000_0501_0007_0406;
