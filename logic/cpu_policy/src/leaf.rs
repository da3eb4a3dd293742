//! What CPUID answers.

/// The four registers of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Leaf {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

impl Leaf {
    /// All zero: what an absent leaf answers.
    pub const EMPTY: Self = Self {
        eax: 0,
        ebx: 0,
        ecx: 0,
        edx: 0,
    };

    /// An answer.
    pub const fn new(eax: u32, ebx: u32, ecx: u32, edx: u32) -> Self {
        Self { eax, ebx, ecx, edx }
    }
}

/// The host's processor.
pub trait CpuidSource {
    /// Executes CPUID.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf;
}

impl<F: Fn(u32, u32) -> Leaf> CpuidSource for F {
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        self(leaf, subleaf)
    }
}

/// Who made the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// GenuineIntel.
    Intel,
    /// AuthenticAMD.
    Amd,
    /// HygonGenuine: a relative of AMD's.
    Hygon,
    /// Someone else.
    Other,
}

impl Vendor {
    /// The vendor that leaf 0 names.
    pub const fn from_leaf(leaf: Leaf) -> Self {
        match (leaf.ebx, leaf.edx, leaf.ecx) {
            (0x756e_6547, 0x4965_6e69, 0x6c65_746e) => Self::Intel,
            (0x6874_7541, 0x6974_6e65, 0x444d_4163) => Self::Amd,
            (0x6f67_7948, 0x6e65_476e, 0x656e_6975) => Self::Hygon,
            _ => Self::Other,
        }
    }

    /// Whether AMD's manuals describe it.
    pub const fn is_amd_like(self) -> bool {
        matches!(self, Self::Amd | Self::Hygon)
    }
}
