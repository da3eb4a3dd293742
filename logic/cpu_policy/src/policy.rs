//! CPUID leaves of the host and of guests.

use crate::features::{self, Featureset, PV_VISIBLE, word};
use crate::leaf::{CpuidSource, Leaf, Vendor};

/// Basic leaves that guests can have: up to 0xd.
pub(crate) const BASIC: usize = 0xe;
/// Subleaves of leaf 4.
pub(crate) const CACHE: usize = 6;
/// Subleaves of leaf 7.
pub(crate) const FEATURE: usize = 3;
/// Subleaves of leaf 0xb.
pub(crate) const TOPOLOGY: usize = 2;
/// Subleaves of leaf 0xd: one for each bit of XCR0.
pub(crate) const XSTATE: usize = 63;
/// Extended leaves: up to 0x80000021.
pub(crate) const EXTENDED: usize = 0x22;

/// CR4.OSXSAVE.
const CR4_OSXSAVE: u64 = 1 << 18;
/// CR4.PKE.
const CR4_PKE: u64 = 1 << 22;
/// XCR0: x87 and SSE, which every area has room for.
const XCR0_FP_SSE: u64 = 3;
/// The size of an area with x87 and SSE state and the header.
const XSAVE_MINIMUM: u32 = 576;
/// The features that AMD processors repeat in leaf 0x80000001.
pub(crate) const COMMON_EXTENDED: u32 = 0x0183_f3ff;

/// What the hypervisor does for guests with features of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Support {
    /// The bits of XCR0 whose state it switches; zero if it does not switch by XSAVE.
    pub xcr0: u64,
    /// It lets guests write segment bases by instructions.
    pub fsgsbase: bool,
    /// The guest stays on this host, so that it may rely on the rate of its time-stamp counter.
    pub invariant_tsc: bool,
    /// The host's `ARCH_CAPABILITIES` MSR, or zero.
    pub arch_capabilities: u64,
}

/// The state of a vCPU that CPUID reflects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Its number.
    pub vcpu_id: u32,
    /// CR4, as the guest set it.
    pub cr4: u64,
    /// XCR0, as the guest set it.
    pub xcr0: u64,
    /// The guest's kernel asks.
    pub kernel: bool,
    /// It asks by the forced-emulation prefix.
    pub forced: bool,
    /// The domain owns the machine's devices.
    pub hardware: bool,
}

/// CPUID leaves, of the host or of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuidPolicy {
    /// Who made the processor.
    pub vendor: Vendor,
    /// What the host has, in a guest's policy too.
    host: Featureset,
    /// `ARCH_CAPABILITIES`.
    pub(crate) arch_capabilities: u64,
    pub(crate) basic: [Leaf; BASIC],
    pub(crate) cache: [Leaf; CACHE],
    pub(crate) feature: [Leaf; FEATURE],
    pub(crate) topology: [Leaf; TOPOLOGY],
    pub(crate) xstate: [Leaf; XSTATE],
    pub(crate) extended: [Leaf; EXTENDED],
}

/// Empties the leaves of an array from `first` to `last`.
fn empty(leaves: &mut [Leaf], first: usize, last: usize) {
    for leaf in leaves.iter_mut().take(last + 1).skip(first) {
        *leaf = Leaf::EMPTY;
    }
}

impl CpuidPolicy {
    /// Reads the host's leaves.
    pub fn host(source: &impl CpuidSource) -> Self {
        let maximum = source.cpuid(0, 0);
        let maximum_extended = match source.cpuid(0x8000_0000, 0).eax {
            leaf if leaf >> 16 == 0x8000 => leaf & 0xffff,
            _ => 0,
        };
        let read = |leaf: u32, subleaf: u32| {
            if leaf <= maximum.eax {
                source.cpuid(leaf, subleaf)
            } else {
                Leaf::EMPTY
            }
        };
        let feature_0 = read(7, 0);
        let mut this = Self {
            vendor: Vendor::from_leaf(maximum),
            host: Featureset::EMPTY,
            arch_capabilities: 0,
            basic: core::array::from_fn(|leaf| read(leaf as u32, 0)),
            cache: core::array::from_fn(|subleaf| read(4, subleaf as u32)),
            feature: core::array::from_fn(|subleaf| {
                if subleaf as u32 <= feature_0.eax {
                    read(7, subleaf as u32)
                } else {
                    Leaf::EMPTY
                }
            }),
            topology: core::array::from_fn(|subleaf| read(0xb, subleaf as u32)),
            xstate: core::array::from_fn(|subleaf| read(0xd, subleaf as u32)),
            extended: core::array::from_fn(|leaf| {
                if leaf as u32 <= maximum_extended {
                    source.cpuid(0x8000_0000 + leaf as u32, 0)
                } else {
                    Leaf::EMPTY
                }
            }),
        };
        this.clamp_counts();
        this.host = this.features();
        this
    }

    /// Limits the numbers of leaves to what the arrays hold.
    fn clamp_counts(&mut self) {
        self.basic[0].eax = self.basic[0].eax.min(BASIC as u32 - 1);
        self.feature[0].eax = self.feature[0].eax.min(FEATURE as u32 - 1);
        let extended = (self.extended[0].eax & 0xffff).min(EXTENDED as u32 - 1);
        self.extended[0].eax = 0x8000_0000 | extended;
    }

    /// The features that the leaves name.
    pub fn features(&self) -> Featureset {
        let mut words = [0; features::WORDS];
        words[word::LEAF_1_EDX] = self.basic[1].edx;
        words[word::LEAF_1_ECX] = self.basic[1].ecx;
        words[word::LEAF_80000001_EDX] = self.extended[1].edx & !COMMON_EXTENDED;
        words[word::LEAF_80000001_ECX] = self.extended[1].ecx;
        words[word::LEAF_D_1_EAX] = self.xstate[1].eax;
        words[word::LEAF_7_0_EBX] = self.feature[0].ebx;
        words[word::LEAF_7_0_ECX] = self.feature[0].ecx;
        words[word::LEAF_7_0_EDX] = self.feature[0].edx;
        words[word::LEAF_7_1_EAX] = self.feature[1].eax;
        words[word::LEAF_7_1_EBX] = self.feature[1].ebx;
        words[word::LEAF_7_1_ECX] = self.feature[1].ecx;
        words[word::LEAF_7_1_EDX] = self.feature[1].edx;
        words[word::LEAF_7_2_EDX] = self.feature[2].edx;
        words[word::LEAF_80000007_EDX] = self.extended[7].edx;
        words[word::LEAF_80000008_EBX] = self.extended[8].ebx;
        words[word::LEAF_80000021_EAX] = self.extended[0x21].eax;
        words[word::LEAF_80000021_ECX] = self.extended[0x21].ecx;
        words[word::ARCH_CAPABILITIES_LOW] = self.arch_capabilities as u32;
        words[word::ARCH_CAPABILITIES_HIGH] = (self.arch_capabilities >> 32) as u32;
        Featureset(words)
    }

    pub(crate) fn set_features(&mut self, features: &Featureset) {
        let words = features.0;
        self.basic[1].edx = words[word::LEAF_1_EDX];
        self.basic[1].ecx = words[word::LEAF_1_ECX];
        self.extended[1].edx = words[word::LEAF_80000001_EDX];
        self.extended[1].ecx = words[word::LEAF_80000001_ECX];
        self.xstate[1].eax = words[word::LEAF_D_1_EAX];
        self.feature[0].ebx = words[word::LEAF_7_0_EBX];
        self.feature[0].ecx = words[word::LEAF_7_0_ECX];
        self.feature[0].edx = words[word::LEAF_7_0_EDX];
        self.feature[1].eax = words[word::LEAF_7_1_EAX];
        self.feature[1].ebx = words[word::LEAF_7_1_EBX];
        self.feature[1].ecx = words[word::LEAF_7_1_ECX];
        self.feature[1].edx = words[word::LEAF_7_1_EDX];
        self.feature[2] = Leaf::new(0, 0, 0, words[word::LEAF_7_2_EDX]);
        self.extended[7].edx = words[word::LEAF_80000007_EDX];
        self.extended[8].ebx = words[word::LEAF_80000008_EBX];
        self.extended[0x21] = Leaf {
            eax: words[word::LEAF_80000021_EAX],
            ecx: words[word::LEAF_80000021_ECX],
            ..Leaf::EMPTY
        };
        self.arch_capabilities = u64::from(words[word::ARCH_CAPABILITIES_LOW])
            | (u64::from(words[word::ARCH_CAPABILITIES_HIGH]) << 32);
    }

    /// The features of the host that this policy was made from.
    pub fn host_features(&self) -> &Featureset {
        &self.host
    }

    /// `ARCH_CAPABILITIES` of this policy; zero where the guest has no such MSR.
    pub fn arch_capabilities(&self) -> u64 {
        self.arch_capabilities
    }

    /// The family, extended part included.
    pub fn family(&self) -> u32 {
        let eax = self.basic[1].eax;
        match (eax >> 8) & 0xf {
            0xf => 0xf + ((eax >> 20) & 0xff),
            family => family,
        }
    }

    /// Makes the leaves of a paravirtual guest from those of the host (`self`).
    #[must_use]
    pub fn pv(&self, support: &Support) -> Self {
        let mut policy = self.clone();
        policy.arch_capabilities = support.arch_capabilities;
        let mut set = policy.features().intersection(&PV_VISIBLE);

        set.set(features::HYPERVISOR);
        if support.xcr0 & XCR0_FP_SSE != XCR0_FP_SSE {
            set.clear(features::XSAVE);
        }
        if support.xcr0 & (1 << 2) == 0 {
            set.clear(features::AVX);
        }
        if support.xcr0 & (7 << 5) != 7 << 5 {
            set.clear(features::AVX512F);
        }
        if !support.fsgsbase {
            set.clear(features::FSGSBASE);
        }
        if support.invariant_tsc && self.host.has(features::ITSC) {
            set.set(features::ITSC);
        }
        // In long mode AMD's processors do not know the instruction.
        if self.vendor.is_amd_like() {
            set.clear(features::SEP);
        }
        // COMPAT: SPEC_CTRL is not switched between guests. Where the host has barriers, a guest has
        // the one that needs no state, by AMD's bit.
        if set.has(features::IBRSB) {
            set.set(features::IBPB);
        }
        set.clear(features::IBRSB);
        if support.arch_capabilities == 0 {
            set.clear(features::ARCH_CAPS);
        }
        if !set.has(features::ARCH_CAPS) {
            set.0[word::ARCH_CAPABILITIES_LOW] = 0;
            set.0[word::ARCH_CAPABILITIES_HIGH] = 0;
        }
        set.drop_dependents();
        // How the host saves x87 state is not for choice.
        for fixed in [features::FDP_EXCP_ONLY, features::NO_FPU_SEL] {
            if self.host.has(fixed) {
                set.set(fixed);
            }
        }

        policy.set_features(&set);
        policy.hide_leaves(&set);
        policy.derive_xstate(&set, support.xcr0);
        policy
    }

    /// Empties what guests do not see, and the reserved parts of the rest.
    fn hide_leaves(&mut self, features: &Featureset) {
        let amd_like = self.vendor.is_amd_like();
        // The processor's type, and the APIC's number, which depends on who asks.
        self.basic[1].eax &= 0x0fff_0fff;
        self.basic[1].ebx &= 0x00ff_ffff;
        // Number of processors is not a guest's business, but it needs the size of a cache line. The
        // rest: serial number, MONITOR, thermal and power, DCA, performance counters, reserved.
        for leaf in [3, 5, 6, 8, 9, 0xa, 0xc] {
            self.basic[leaf] = Leaf::EMPTY;
        }
        self.topology = [Leaf::EMPTY; TOPOLOGY];
        if amd_like {
            self.basic[2] = Leaf::EMPTY;
            self.cache = [Leaf::EMPTY; CACHE];
        } else {
            // One query gives everything.
            self.basic[2].eax = (self.basic[2].eax & !0xff) | 1;
        }
        self.sanitise_caches();

        let highest = if amd_like { EXTENDED as u32 - 1 } else { 8 };
        let extended = (self.extended[0].eax & 0xffff).min(highest);
        self.extended[0].eax = 0x8000_0000 | extended;
        empty(&mut self.extended, extended as usize + 1, EXTENDED - 1);

        self.extended[7] = Leaf::new(0, 0, 0, self.extended[7].edx);
        // Paravirtual guests have four levels of page tables: 48 bits of linear addresses.
        self.extended[8].eax = (self.extended[8].eax & 0xff) | (48 << 8);
        self.extended[8].edx = 0;
        if amd_like {
            self.extended[0].ebx = self.basic[0].ebx;
            self.extended[0].ecx = self.basic[0].ecx;
            self.extended[0].edx = self.basic[0].edx;
            self.extended[1].eax = self.basic[1].eax;
            self.extended[1].ebx &= 0xff00_ffff;
            self.extended[1].edx |= self.basic[1].edx & COMMON_EXTENDED;
            self.extended[8].ecx &= 0x0003_f0ff;
            empty(&mut self.extended, 9, 0x18);
            // IBS, LWP, cache topology that names hosts' processors, encryption.
            empty(&mut self.extended, 0x1b, 0x20);
        } else {
            self.extended[0].ebx = 0;
            self.extended[0].ecx = 0;
            self.extended[0].edx = 0;
            self.extended[1].eax = 0;
            self.extended[1].ebx = 0;
            self.extended[5] = Leaf::EMPTY;
            self.extended[6] = Leaf::new(0, 0, self.extended[6].ecx, 0);
            self.extended[8].ecx = 0;
        }
        if !features.has(features::PAGE1GB) {
            self.extended[0x19] = Leaf::EMPTY;
        }
    }

    /// Clears the reserved bits of valid caches, and everything from the first that is not.
    pub(crate) fn sanitise_caches(&mut self) {
        let mut valid = true;
        for leaf in &mut self.cache {
            valid &= matches!(leaf.eax & 0x1f, 1..=3);
            if valid {
                // As on Xen, how many share it stays as the host has it.
                leaf.eax &= 0xffff_c3ff;
                leaf.edx &= 7;
            } else {
                *leaf = Leaf::EMPTY;
            }
        }
    }

    /// Makes leaf 0xd from the features.
    pub(crate) fn derive_xstate(&mut self, features: &Featureset, supported: u64) {
        let host = self.xstate;
        let instructions = self.xstate[1].eax;
        self.xstate = [Leaf::EMPTY; XSTATE];
        if !features.has(features::XSAVE) {
            return;
        }
        let mut states = XCR0_FP_SSE;
        if features.has(features::AVX) {
            states |= 1 << 2;
        }
        if features.has(features::AVX512F) {
            states |= 7 << 5;
        }
        states &= supported;
        for (number, leaf) in host.iter().enumerate().skip(2) {
            if states & (1 << number) != 0 {
                // Flags: the state is XCR0's, not XSS's; alignment is the host's.
                self.xstate[number] = Leaf::new(leaf.eax, leaf.ebx, leaf.ecx & 2, 0);
            }
        }
        self.xstate[0] = Leaf::new(
            states as u32,
            0,
            self.xsave_size(states),
            (states >> 32) as u32,
        );
        self.xstate[1].eax = instructions;
    }

    /// The size of an XSAVE area in standard format with these states.
    fn xsave_size(&self, states: u64) -> u32 {
        let ends = self.xstate.iter().enumerate().skip(2);
        ends.filter(|(number, _)| states & (1 << number) != 0)
            .map(|(_, leaf)| leaf.eax.saturating_add(leaf.ebx))
            .fold(XSAVE_MINIMUM, u32::max)
    }

    /// The bits that a guest may set in XCR0.
    pub fn xcr0_mask(&self) -> u64 {
        u64::from(self.xstate[0].eax) | (u64::from(self.xstate[0].edx) << 32)
    }

    /// Whether `value` may be written to XCR0: known states only, x87 always, AVX with SSE, AVX-512's
    /// parts together and with AVX (SDM 1 §13.3).
    pub fn xcr0_is_valid(&self, value: u64) -> bool {
        let avx_512 = value & (7 << 5);
        value & !self.xcr0_mask() == 0
            && value & 1 != 0
            && (value & (1 << 2) == 0 || value & (1 << 1) != 0)
            && (avx_512 == 0 || (avx_512 == 7 << 5 && value & (1 << 2) != 0))
    }

    /// A guest's answer for a leaf that is not the hypervisor's. Absent leaves are all zero.
    pub fn cpuid(&self, leaf: u32, subleaf: u32, view: &View) -> Leaf {
        let index = subleaf as usize;
        let mut answer = match leaf {
            _ if leaf < 0x8000_0000 && leaf > self.basic[0].eax => None,
            4 => self.cache.get(index).copied(),
            7 if subleaf > self.feature[0].eax => None,
            7 => self.feature.get(index).copied(),
            0xb => self.topology.get(index).copied(),
            0xd => self.xstate.get(index).copied(),
            _ if leaf < 0x8000_0000 => self.basic.get(leaf as usize).copied(),
            _ if leaf > self.extended[0].eax => None,
            _ => self.extended.get((leaf - 0x8000_0000) as usize).copied(),
        }
        .unwrap_or(Leaf::EMPTY);

        match (leaf, subleaf) {
            (1, _) => self.adjust_leaf_1(&mut answer, view),
            (7, 0) if view.cr4 & CR4_PKE != 0 => answer.ecx |= 1 << 4,
            (0xb, _) if self.features().has(features::X2APIC) && index < TOPOLOGY => {
                answer.ecx = (answer.ecx & !0xff) | (subleaf & 0xff);
                answer.edx = view.vcpu_id.wrapping_mul(2);
            }
            (0xd, 0) if answer.ecx != 0 => answer.ebx = self.xsave_size(view.xcr0),
            (0x8000_0001, _) if self.vendor.is_amd_like() && self.leaks_mtrr(view) => {
                answer.edx |= 1 << 12;
            }
            _ => {}
        }
        answer
    }

    fn adjust_leaf_1(&self, answer: &mut Leaf, view: &View) {
        // A guest's kernel that asks by the prefix sees the hypervisor's own CR4.OSXSAVE: kernels of
        // many years take that for the permission to use XSAVE, before they set their CR4.
        let visible = view.cr4 & CR4_OSXSAVE != 0 || (view.forced && view.kernel);
        if visible && self.xstate[0].eax != 0 {
            answer.ecx |= 1 << 27;
        }
        if view.hardware && view.kernel {
            // Domain 0's kernel uploads frequency tables only if it sees SpeedStep.
            if self.host.has(features::EIST) {
                answer.ecx |= 1 << 7;
            }
            if self.leaks_mtrr(view) {
                answer.edx |= 1 << 12;
            }
        }
    }

    /// Domain 0's kernel takes MTRRs for a sign of the memory-type calls.
    fn leaks_mtrr(&self, view: &View) -> bool {
        view.hardware && view.kernel && self.host.has(features::MTRR)
    }
}

#[cfg(test)]
pub(crate) mod tests;
