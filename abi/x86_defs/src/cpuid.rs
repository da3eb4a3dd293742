//! CPUID leaves and feature bits (SDM 2A, CPUID; APM 3 appendix E).

/// The four registers of a leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "registers, by their names")]
pub struct Leaf {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

impl Leaf {
    /// All registers zero: what a leaf that does not exist says (AMD; and hypervisors).
    pub const ZERO: Self = Self {
        eax: 0,
        ebx: 0,
        ecx: 0,
        edx: 0,
    };
}

/// Largest basic leaf, vendor.
pub const LEAF_VENDOR: u32 = 0;
/// Version and features.
pub const LEAF_FEATURES: u32 = 1;
/// Cache descriptors, Intel.
pub const LEAF_CACHE_DESCRIPTORS: u32 = 2;
/// Cache parameters, sub-leaves.
pub const LEAF_CACHES: u32 = 4;
/// `monitor` and `mwait`.
pub const LEAF_MWAIT: u32 = 5;
/// Thermal and power.
pub const LEAF_THERMAL: u32 = 6;
/// Structured extended features, sub-leaves.
pub const LEAF_EXTENDED_FEATURES: u32 = 7;
/// Performance monitoring.
pub const LEAF_PERFORMANCE: u32 = 0xa;
/// Topology, sub-leaves.
pub const LEAF_TOPOLOGY: u32 = 0xb;
/// XSAVE state components, sub-leaves.
pub const LEAF_XSAVE: u32 = 0xd;
/// TSC and crystal clock.
pub const LEAF_TSC: u32 = 0x15;
/// Frequencies.
pub const LEAF_FREQUENCY: u32 = 0x16;
/// Topology, second version.
pub const LEAF_TOPOLOGY_V2: u32 = 0x1f;
/// First leaf of hypervisors.
pub const LEAF_HYPERVISOR: u32 = 0x4000_0000;
/// Largest extended leaf.
pub const LEAF_EXTENDED: u32 = 0x8000_0000;
/// Extended version and features.
pub const LEAF_EXTENDED_FEATURES_AMD: u32 = 0x8000_0001;
/// First of the three leaves of the brand string.
pub const LEAF_BRAND: u32 = 0x8000_0002;
/// First level caches, AMD.
pub const LEAF_CACHES_L1_AMD: u32 = 0x8000_0005;
/// Further caches.
pub const LEAF_CACHES_L2_AMD: u32 = 0x8000_0006;
/// Advanced power management: invariant TSC.
pub const LEAF_POWER: u32 = 0x8000_0007;
/// Address widths and more features.
pub const LEAF_ADDRESS_WIDTHS: u32 = 0x8000_0008;
/// SVM.
pub const LEAF_SVM: u32 = 0x8000_000a;
/// Cache parameters, AMD, sub-leaves.
pub const LEAF_CACHES_AMD: u32 = 0x8000_001d;
/// Topology, AMD.
pub const LEAF_TOPOLOGY_AMD: u32 = 0x8000_001e;
/// More features, AMD.
pub const LEAF_EXTENDED_FEATURES_2_AMD: u32 = 0x8000_0021;

/// A register of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "registers, by their names")]
pub enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// Where a feature's bit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Feature {
    /// The leaf.
    pub leaf: u32,
    /// The sub-leaf.
    pub subleaf: u32,
    /// The register.
    pub register: Register,
    /// The bit's number.
    pub bit: u8,
}

impl Feature {
    /// The bit, as a mask of its register.
    pub const fn mask(self) -> u32 {
        1 << (self.bit & 31)
    }

    /// Whether the bit is set in the leaf that it belongs to.
    pub const fn is_set_in(self, leaf: Leaf) -> bool {
        let register = match self.register {
            Register::Eax => leaf.eax,
            Register::Ebx => leaf.ebx,
            Register::Ecx => leaf.ecx,
            Register::Edx => leaf.edx,
        };
        register & self.mask() != 0
    }
}

macro_rules! features {
    ($leaf:expr, $subleaf:expr, $register:ident; $($name:ident = $bit:literal,)*) => {
        impl Feature {
            $(
                #[doc = concat!("Bit ", $bit, " of ", stringify!($register), ", leaf ", stringify!($leaf), ".")]
                pub const $name: Self = Self {
                    leaf: $leaf,
                    subleaf: $subleaf,
                    register: Register::$register,
                    bit: $bit,
                };
            )*
        }
    };
}

features! { 0x1, 0, Edx;
    FPU = 0, VME = 1, DE = 2, PSE = 3, TSC = 4, MSR = 5, PAE = 6, MCE = 7, CX8 = 8, APIC = 9, SEP = 11,
    MTRR = 12, PGE = 13, MCA = 14, CMOV = 15, PAT = 16, PSE36 = 17, PSN = 18, CLFLUSH = 19, DS = 21,
    ACPI = 22, MMX = 23, FXSR = 24, SSE = 25, SSE2 = 26, SS = 27, HTT = 28, TM1 = 29, PBE = 31,
}
features! { 0x1, 0, Ecx;
    SSE3 = 0, PCLMULQDQ = 1, DTES64 = 2, MONITOR = 3, DSCPL = 4, VMX = 5, SMX = 6, EIST = 7, TM2 = 8,
    SSSE3 = 9, CNXT_ID = 10, SDBG = 11, FMA = 12, CX16 = 13, XTPR = 14, PDCM = 15, PCID = 17, DCA = 18,
    SSE4_1 = 19, SSE4_2 = 20, X2APIC = 21, MOVBE = 22, POPCNT = 23, TSC_DEADLINE = 24, AESNI = 25,
    XSAVE = 26, OSXSAVE = 27, AVX = 28, F16C = 29, RDRAND = 30, HYPERVISOR = 31,
}
features! { 0x6, 0, Eax;
    TURBO = 1, ARAT = 2,
}
features! { 0x7, 0, Ebx;
    FSGSBASE = 0, TSC_ADJUST = 1, SGX = 2, BMI1 = 3, HLE = 4, AVX2 = 5, FDP_EXCEPTION_ONLY = 6, SMEP = 7,
    BMI2 = 8, ERMS = 9, INVPCID = 10, RTM = 11, PQM = 12, NO_FPU_SELECTORS = 13, MPX = 14, PQE = 15,
    AVX512F = 16, AVX512DQ = 17, RDSEED = 18, ADX = 19, SMAP = 20, AVX512_IFMA = 21, CLFLUSHOPT = 23,
    CLWB = 24, PROC_TRACE = 25, AVX512PF = 26, AVX512ER = 27, AVX512CD = 28, SHA = 29, AVX512BW = 30,
    AVX512VL = 31,
}
features! { 0x7, 0, Ecx;
    PREFETCHWT1 = 0, AVX512_VBMI = 1, UMIP = 2, PKU = 3, OSPKE = 4, WAITPKG = 5, AVX512_VBMI2 = 6,
    CET_SS = 7, GFNI = 8, VAES = 9, VPCLMULQDQ = 10, AVX512_VNNI = 11, AVX512_BITALG = 12, TME = 13,
    AVX512_VPOPCNTDQ = 14, LA57 = 16, RDPID = 22, BUS_LOCK_DETECT = 24, CLDEMOTE = 25, MOVDIRI = 27,
    MOVDIR64B = 28, ENQCMD = 29, PKS = 31,
}
features! { 0x7, 0, Edx;
    AVX512_4VNNIW = 2, AVX512_4FMAPS = 3, FSRM = 4, UINTR = 5, AVX512_VP2INTERSECT = 8, SRBDS_CTRL = 9,
    MD_CLEAR = 10, RTM_ALWAYS_ABORT = 11, TSX_FORCE_ABORT = 13, SERIALIZE = 14, HYBRID = 15,
    TSXLDTRK = 16, PCONFIG = 18, ARCH_LBR = 19, CET_IBT = 20, AMX_BF16 = 22, AVX512_FP16 = 23,
    AMX_TILE = 24, AMX_INT8 = 25, IBRSB = 26, STIBP = 27, L1D_FLUSH = 28, ARCH_CAPS = 29, CORE_CAPS = 30,
    SSBD = 31,
}
features! { 0x7, 1, Eax;
    AVX_VNNI = 4, AVX512_BF16 = 5, FZRM = 10, FSRS = 11, FSRCS = 12, WRMSRNS = 19,
}
features! { 0xd, 1, Eax;
    XSAVEOPT = 0, XSAVEC = 1, XGETBV1 = 2, XSAVES = 3,
}
features! { 0x8000_0001, 0, Edx;
    SYSCALL = 11, NX = 20, MMXEXT = 22, FFXSR = 25, PAGE1GB = 26, RDTSCP = 27, LM = 29, AMD_3DNOWEXT = 30,
    AMD_3DNOW = 31,
}
features! { 0x8000_0001, 0, Ecx;
    LAHF_LM = 0, CMP_LEGACY = 1, SVM = 2, EXTAPIC = 3, CR8_LEGACY = 4, ABM = 5, SSE4A = 6, MISALIGNSSE = 7,
    PREFETCHW = 8, OSVW = 9, IBS = 10, XOP = 11, SKINIT = 12, WDT = 13, LWP = 15, FMA4 = 16,
    NODEID_MSR = 19, TBM = 21, TOPOEXT = 22, PERFCTR_CORE = 23, PERFCTR_NB = 24, DBEXT = 26, PERFTSC = 27,
    PERFCTR_L3 = 28, MONITORX = 29,
}
features! { 0x8000_0007, 0, Edx;
    HARDWARE_PSTATE = 7, INVARIANT_TSC = 8, EFRO = 10,
}
features! { 0x8000_0008, 0, Ebx;
    CLZERO = 0, RSTR_FP_ERR_PTRS = 2, WBNOINVD = 9, IBPB = 12, IBRS = 14, AMD_STIBP = 15,
    IBRS_ALWAYS = 16, STIBP_ALWAYS = 17, IBRS_FAST = 18, IBRS_SAME_MODE = 19, NO_LMSL = 20, PPIN = 23,
    AMD_SSBD = 24, VIRT_SSBD = 25, SSB_NO = 26, PSFD = 28, BTC_NO = 29, IBPB_RET = 30,
}
features! { 0x8000_0021, 0, Eax;
    NO_NESTED_DATA_BREAKPOINTS = 0, LFENCE_DISPATCH_SERIALIZING = 2, NULL_SELECTOR_CLEARS_BASE = 6,
    AUTOMATIC_IBRS = 8, CPUID_USER_DISABLE = 17,
}

/// The vendor string of leaf 0, in the order ebx, edx, ecx.
pub const fn vendor(leaf: Leaf) -> [u8; 12] {
    let [a, b, c, d] = leaf.ebx.to_le_bytes();
    let [e, f, g, h] = leaf.edx.to_le_bytes();
    let [i, j, k, l] = leaf.ecx.to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// Intel's vendor string.
pub const VENDOR_INTEL: [u8; 12] = *b"GenuineIntel";
/// AMD's vendor string.
pub const VENDOR_AMD: [u8; 12] = *b"AuthenticAMD";
/// Hygon's vendor string.
pub const VENDOR_HYGON: [u8; 12] = *b"HygonGenuine";

/// Family, model and stepping of leaf 1's eax, extensions applied.
pub const fn version(eax: u32) -> (u32, u32, u32) {
    let stepping = eax & 0xf;
    let mut model = (eax >> 4) & 0xf;
    let mut family = (eax >> 8) & 0xf;
    if family == 0xf {
        family += (eax >> 20) & 0xff;
    }
    if family == 6 || family >= 0xf {
        model |= ((eax >> 16) & 0xf) << 4;
    }
    (family, model, stepping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        // A Zen 2 server and a Skylake.
        assert_eq!(version(0x0083_0f10), (0x17, 0x31, 0));
        assert_eq!(version(0x0005_0654), (6, 0x55, 4));
    }

    #[test]
    fn vendors() {
        let leaf = Leaf {
            eax: 0xd,
            ebx: 0x756e_6547,
            ecx: 0x6c65_746e,
            edx: 0x4965_6e69,
        };
        assert_eq!(vendor(leaf), VENDOR_INTEL);
    }

    #[test]
    fn feature_bits() {
        let leaf = Leaf {
            edx: 1 << 20,
            ..Leaf::ZERO
        };
        assert!(Feature::NX.is_set_in(leaf));
        assert!(!Feature::SYSCALL.is_set_in(leaf));
        assert_eq!(Feature::NX.leaf, LEAF_EXTENDED_FEATURES_AMD);
    }
}
