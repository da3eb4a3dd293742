//! Processor features, and which of them a paravirtual guest may see.
//!
//! Word and bit of each feature and its class are those of `public/arch-x86/cpufeatureset.h`: `visible` are
//! the features that the header marks for all kinds of guests. The rest needs ring 0, or state that the
//! hypervisor does not switch.

/// A feature: its word in a [`Featureset`] and its bit there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    word: usize,
    bit: u32,
}

/// Number of words in a featureset.
pub const WORDS: usize = 19;

/// Places of the words in CPUID leaves, and of two in an MSR.
#[allow(missing_docs)]
pub mod word {
    pub const LEAF_1_EDX: usize = 0;
    pub const LEAF_1_ECX: usize = 1;
    pub const LEAF_80000001_EDX: usize = 2;
    pub const LEAF_80000001_ECX: usize = 3;
    pub const LEAF_D_1_EAX: usize = 4;
    pub const LEAF_7_0_EBX: usize = 5;
    pub const LEAF_7_0_ECX: usize = 6;
    pub const LEAF_80000007_EDX: usize = 7;
    pub const LEAF_80000008_EBX: usize = 8;
    pub const LEAF_7_0_EDX: usize = 9;
    pub const LEAF_7_1_EAX: usize = 10;
    pub const LEAF_80000021_EAX: usize = 11;
    pub const LEAF_7_1_EBX: usize = 12;
    pub const LEAF_7_2_EDX: usize = 13;
    pub const LEAF_7_1_ECX: usize = 14;
    pub const LEAF_7_1_EDX: usize = 15;
    pub const ARCH_CAPABILITIES_LOW: usize = 16;
    pub const ARCH_CAPABILITIES_HIGH: usize = 17;
    pub const LEAF_80000021_ECX: usize = 18;
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Featureset(pub [u32; WORDS]);

impl Featureset {
    /// No feature.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// Whether it has the feature.
    pub const fn has(&self, feature: Feature) -> bool {
        self.0[feature.word] & (1 << feature.bit) != 0
    }

    /// Adds a feature.
    pub const fn set(&mut self, feature: Feature) {
        self.0[feature.word] |= 1 << feature.bit;
    }

    /// Takes a feature away.
    pub const fn clear(&mut self, feature: Feature) {
        self.0[feature.word] &= !(1 << feature.bit);
    }

    /// What both have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(core::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    /// Takes away every feature that cannot be used without one that is missing.
    pub fn drop_dependents(&mut self) {
        // In an order that needs one pass: what depends on a dependent comes later.
        for (needed, dependents) in DEPENDENTS {
            if !self.has(*needed) {
                for dependent in *dependents {
                    self.clear(*dependent);
                }
            }
        }
    }
}

impl Feature {
    const fn new(word: usize, bit: u32) -> Self {
        assert!(word < WORDS && bit < 32);
        Self { word, bit }
    }
}

/// Features that a paravirtual guest sees if the host has them.
pub const PV_VISIBLE: Featureset = pv_visible();

macro_rules! features {
    ($($name:ident = $word:literal, $bit:literal, $class:ident;)*) => {
        $(
            #[allow(missing_docs)]
            pub const $name: Feature = Feature::new($word, $bit);
        )*

        const fn pv_visible() -> Featureset {
            let mut set = Featureset::EMPTY;
            $(features!(@$class set, $name);)*
            set
        }

        /// Every feature with its name.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, Feature)] = &[$((stringify!($name), $name),)*];
    };
    (@visible $set:ident, $name:ident) => { $set.set($name) };
    (@hidden $set:ident, $name:ident) => { let _ = $name; };
}

features! {
    FPU = 0, 0, visible;
    VME = 0, 1, hidden;
    DE = 0, 2, visible;
    PSE = 0, 3, hidden;
    TSC = 0, 4, visible;
    MSR = 0, 5, visible;
    PAE = 0, 6, visible;
    MCE = 0, 7, visible;
    CX8 = 0, 8, visible;
    APIC = 0, 9, visible;
    SEP = 0, 11, visible;
    MTRR = 0, 12, hidden;
    PGE = 0, 13, hidden;
    MCA = 0, 14, visible;
    CMOV = 0, 15, visible;
    PAT = 0, 16, visible;
    PSE36 = 0, 17, hidden;
    CLFLUSH = 0, 19, visible;
    DS = 0, 21, hidden;
    ACPI = 0, 22, visible;
    MMX = 0, 23, visible;
    FXSR = 0, 24, visible;
    SSE = 0, 25, visible;
    SSE2 = 0, 26, visible;
    SS = 0, 27, visible;
    HTT = 0, 28, visible;
    TM1 = 0, 29, hidden;
    PBE = 0, 31, hidden;
    SSE3 = 1, 0, visible;
    PCLMULQDQ = 1, 1, visible;
    DTES64 = 1, 2, hidden;
    MONITOR = 1, 3, hidden;
    DSCPL = 1, 4, hidden;
    VMX = 1, 5, hidden;
    SMX = 1, 6, hidden;
    EIST = 1, 7, hidden;
    TM2 = 1, 8, hidden;
    SSSE3 = 1, 9, visible;
    FMA = 1, 12, visible;
    CX16 = 1, 13, visible;
    XTPR = 1, 14, hidden;
    PDCM = 1, 15, hidden;
    PCID = 1, 17, hidden;
    DCA = 1, 18, hidden;
    SSE4_1 = 1, 19, visible;
    SSE4_2 = 1, 20, visible;
    X2APIC = 1, 21, hidden;
    MOVBE = 1, 22, visible;
    POPCNT = 1, 23, visible;
    TSC_DEADLINE = 1, 24, hidden;
    AESNI = 1, 25, visible;
    XSAVE = 1, 26, visible;
    OSXSAVE = 1, 27, hidden;
    AVX = 1, 28, visible;
    F16C = 1, 29, visible;
    RDRAND = 1, 30, visible;
    HYPERVISOR = 1, 31, visible;
    SYSCALL = 2, 11, visible;
    NX = 2, 20, visible;
    MMXEXT = 2, 22, visible;
    FFXSR = 2, 25, visible;
    PAGE1GB = 2, 26, hidden;
    RDTSCP = 2, 27, visible;
    LM = 2, 29, visible;
    AMD_3DNOWEXT = 2, 30, visible;
    AMD_3DNOW = 2, 31, visible;
    LAHF_LM = 3, 0, visible;
    CMP_LEGACY = 3, 1, visible;
    SVM = 3, 2, hidden;
    EXTAPIC = 3, 3, hidden;
    CR8_LEGACY = 3, 4, hidden;
    ABM = 3, 5, visible;
    SSE4A = 3, 6, visible;
    MISALIGNSSE = 3, 7, visible;
    AMD_3DNOWPREFETCH = 3, 8, visible;
    OSVW = 3, 9, hidden;
    IBS = 3, 10, hidden;
    XOP = 3, 11, visible;
    SKINIT = 3, 12, hidden;
    WDT = 3, 13, hidden;
    LWP = 3, 15, hidden;
    FMA4 = 3, 16, visible;
    NODEID_MSR = 3, 19, hidden;
    TBM = 3, 21, visible;
    TOPOEXT = 3, 22, hidden;
    DBEXT = 3, 26, visible;
    MONITORX = 3, 29, hidden;
    XSAVEOPT = 4, 0, visible;
    XSAVEC = 4, 1, visible;
    XGETBV1 = 4, 2, visible;
    XSAVES = 4, 3, hidden;
    FSGSBASE = 5, 0, visible;
    TSC_ADJUST = 5, 1, hidden;
    SGX = 5, 2, hidden;
    BMI1 = 5, 3, visible;
    HLE = 5, 4, hidden;
    AVX2 = 5, 5, visible;
    FDP_EXCP_ONLY = 5, 6, hidden;
    SMEP = 5, 7, hidden;
    BMI2 = 5, 8, visible;
    ERMS = 5, 9, visible;
    INVPCID = 5, 10, hidden;
    RTM = 5, 11, visible;
    PQM = 5, 12, hidden;
    NO_FPU_SEL = 5, 13, hidden;
    MPX = 5, 14, hidden;
    PQE = 5, 15, hidden;
    AVX512F = 5, 16, visible;
    AVX512DQ = 5, 17, visible;
    RDSEED = 5, 18, visible;
    ADX = 5, 19, visible;
    SMAP = 5, 20, hidden;
    AVX512_IFMA = 5, 21, visible;
    CLFLUSHOPT = 5, 23, visible;
    CLWB = 5, 24, visible;
    PROC_TRACE = 5, 25, hidden;
    AVX512PF = 5, 26, visible;
    AVX512ER = 5, 27, visible;
    AVX512CD = 5, 28, visible;
    SHA = 5, 29, visible;
    AVX512BW = 5, 30, visible;
    AVX512VL = 5, 31, visible;
    PREFETCHWT1 = 6, 0, visible;
    AVX512_VBMI = 6, 1, visible;
    UMIP = 6, 2, hidden;
    PKU = 6, 3, hidden;
    OSPKE = 6, 4, hidden;
    AVX512_VBMI2 = 6, 6, visible;
    CET_SS = 6, 7, hidden;
    GFNI = 6, 8, visible;
    VAES = 6, 9, visible;
    VPCLMULQDQ = 6, 10, visible;
    AVX512_VNNI = 6, 11, visible;
    AVX512_BITALG = 6, 12, visible;
    AVX512_VPOPCNTDQ = 6, 14, visible;
    RDPID = 6, 22, visible;
    CLDEMOTE = 6, 25, visible;
    MOVDIRI = 6, 27, hidden;
    MOVDIR64B = 6, 28, hidden;
    ENQCMD = 6, 29, hidden;
    HW_PSTATE = 7, 7, hidden;
    ITSC = 7, 8, hidden;
    CPB = 7, 9, hidden;
    EFRO = 7, 10, hidden;
    CLZERO = 8, 0, visible;
    RSTR_FP_ERR_PTRS = 8, 2, visible;
    WBNOINVD = 8, 9, hidden;
    IBPB = 8, 12, visible;
    IBRS = 8, 14, hidden;
    AMD_STIBP = 8, 15, hidden;
    IBRS_ALWAYS = 8, 16, hidden;
    STIBP_ALWAYS = 8, 17, hidden;
    IBRS_FAST = 8, 18, hidden;
    IBRS_SAME_MODE = 8, 19, hidden;
    NO_LMSL = 8, 20, hidden;
    AMD_PPIN = 8, 23, hidden;
    AMD_SSBD = 8, 24, hidden;
    VIRT_SSBD = 8, 25, hidden;
    SSB_NO = 8, 26, visible;
    PSFD = 8, 28, hidden;
    BTC_NO = 8, 29, visible;
    IBPB_RET = 8, 30, visible;
    AVX512_4VNNIW = 9, 2, visible;
    AVX512_4FMAPS = 9, 3, visible;
    FSRM = 9, 4, visible;
    AVX512_VP2INTERSECT = 9, 8, hidden;
    SRBDS_CTRL = 9, 9, hidden;
    MD_CLEAR = 9, 10, visible;
    RTM_ALWAYS_ABORT = 9, 11, hidden;
    TSX_FORCE_ABORT = 9, 13, hidden;
    SERIALIZE = 9, 14, visible;
    HYBRID = 9, 15, hidden;
    TSXLDTRK = 9, 16, hidden;
    CET_IBT = 9, 20, hidden;
    AVX512_FP16 = 9, 23, hidden;
    IBRSB = 9, 26, visible;
    STIBP = 9, 27, visible;
    L1D_FLUSH = 9, 28, hidden;
    ARCH_CAPS = 9, 29, visible;
    CORE_CAPS = 9, 30, hidden;
    SSBD = 9, 31, visible;
    AVX_VNNI = 10, 4, visible;
    AVX512_BF16 = 10, 5, visible;
    FZRM = 10, 10, visible;
    FSRS = 10, 11, visible;
    FSRCS = 10, 12, visible;
    LFENCE_DISPATCH = 11, 2, visible;
    VERW_CLEAR = 11, 5, visible;
    NSCB = 11, 6, visible;
    AUTO_IBRS = 11, 8, hidden;
    SBPB = 11, 27, visible;
    IBPB_BRTYPE = 11, 28, visible;
    SRSO_NO = 11, 29, visible;
    SRSO_US_NO = 11, 30, visible;
    SRSO_MSR_FIX = 11, 31, hidden;
    INTEL_PPIN = 12, 0, hidden;
    INTEL_PSFD = 13, 0, visible;
    IPRED_CTRL = 13, 1, hidden;
    RRSBA_CTRL = 13, 2, hidden;
    BHI_CTRL = 13, 4, hidden;
    MCDT_NO = 13, 5, visible;
    CET_SSS = 15, 18, hidden;
    RDCL_NO = 16, 0, visible;
    EIBRS = 16, 1, visible;
    RSBA = 16, 2, hidden;
    SKIP_L1DFL = 16, 3, hidden;
    INTEL_SSB_NO = 16, 4, visible;
    MDS_NO = 16, 5, visible;
    IF_PSCHANGE_MC_NO = 16, 6, visible;
    TSX_CTRL = 16, 7, hidden;
    TAA_NO = 16, 8, visible;
    MCU_CTRL = 16, 9, hidden;
    MISC_PKG_CTRL = 16, 10, hidden;
    ENERGY_FILTERING = 16, 11, hidden;
    DOITM = 16, 12, hidden;
    SBDR_SSDP_NO = 16, 13, visible;
    FBSDP_NO = 16, 14, visible;
    PSDP_NO = 16, 15, visible;
    FB_CLEAR = 16, 17, visible;
    FB_CLEAR_CTRL = 16, 18, hidden;
    RRSBA = 16, 19, hidden;
    BHI_NO = 16, 20, visible;
    XAPIC_STATUS = 16, 21, hidden;
    OVRCLK_STATUS = 16, 23, hidden;
    PBRSB_NO = 16, 24, visible;
    GDS_CTRL = 16, 25, hidden;
    GDS_NO = 16, 26, visible;
    RFDS_NO = 16, 27, visible;
    RFDS_CLEAR = 16, 28, visible;
    ITS_NO = 17, 30, visible;
    TSA_SQ_NO = 18, 1, visible;
    TSA_L1_NO = 18, 2, visible;
}

/// Features, each with those that cannot be used without it.
const DEPENDENTS: &[(Feature, &[Feature])] = &[
    (
        XSAVE,
        &[XSAVEOPT, XSAVEC, XGETBV1, XSAVES, AVX, MPX, PKU, LWP],
    ),
    (
        AVX,
        &[FMA, F16C, AVX2, XOP, FMA4, VAES, VPCLMULQDQ, AVX_VNNI],
    ),
    (AVX2, &[AVX512F]),
    (
        AVX512F,
        &[
            AVX512DQ,
            AVX512_IFMA,
            AVX512PF,
            AVX512ER,
            AVX512CD,
            AVX512BW,
            AVX512VL,
            AVX512_VBMI,
            AVX512_VBMI2,
            AVX512_VNNI,
            AVX512_BITALG,
            AVX512_VPOPCNTDQ,
            AVX512_4VNNIW,
            AVX512_4FMAPS,
            AVX512_VP2INTERSECT,
            AVX512_BF16,
            AVX512_FP16,
        ],
    ),
    (
        IBRSB,
        &[STIBP, SSBD, INTEL_PSFD, IPRED_CTRL, RRSBA_CTRL, BHI_CTRL],
    ),
];
