//! A policy as tools read and write it: a list of leaves and a list of MSRs (`XEN_SYSCTL_get_cpu_policy`,
//! `XEN_DOMCTL_get_cpu_policy`, `XEN_DOMCTL_set_cpu_policy`).
//!
//! Source: `public/arch-x86/xen.h` (`xen_cpuid_leaf_t`, `xen_msr_entry_t`).

use x86_defs::msr::ARCH_CAPABILITIES;

use crate::Leaf;
use crate::features::{self, word};
use crate::policy::{
    BASIC, CACHE, COMMON_EXTENDED, CpuidPolicy, EXTENDED, FEATURE, TOPOLOGY, XSTATE,
};

/// The subleaf of a leaf that has none (`XEN_CPUID_NO_SUBLEAF`).
pub const NO_SUBLEAF: u32 = u32::MAX;
/// Most leaves that a policy has: those of the arrays, without the four that stand for an array, and two of the
/// hypervisor's.
pub const MAX_LEAVES: u32 = (BASIC - 4 + CACHE + FEATURE + TOPOLOGY + XSTATE + EXTENDED + 2) as u32;
/// MSRs that a policy has.
pub const MAX_MSRS: u32 = 2;
/// The limits of the hypervisor's own leaves.
const HYPERVISOR_LEAVES: [u32; 2] = [0x4000_0000, 0x4000_0100];
/// `MSR_INTEL_PLATFORM_INFO`, of which a policy says whether `cpuid` can be made to fault.
const PLATFORM_INFO: u32 = 0xce;
const CPUID_FAULTING: u64 = 1 << 31;

/// A leaf or MSR that no policy has, or that must have another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

impl CpuidPolicy {
    /// Calls `f` with each leaf: number, subleaf, content. Stops at the first error.
    ///
    /// # Errors
    /// What `f` says.
    pub fn each_leaf<E>(
        &self,
        mut f: impl FnMut(u32, u32, Leaf) -> Result<(), E>,
    ) -> Result<(), E> {
        for (leaf, content) in (0..).zip(self.basic) {
            if leaf > self.basic[0].eax {
                break;
            }
            let subleaves: &[Leaf] = match leaf {
                4 => &self.cache,
                7 => self
                    .feature
                    .get(..=self.feature[0].eax as usize)
                    .unwrap_or(&self.feature),
                0xb => &self.topology,
                0xd => &self.xstate,
                _ => {
                    f(leaf, NO_SUBLEAF, content)?;
                    continue;
                }
            };
            for (subleaf, content) in (0..).zip(subleaves) {
                if leaf != 0xd || subleaf < 2 || self.xcr0_mask() >> subleaf & 1 != 0 {
                    f(leaf, subleaf, *content)?;
                }
            }
        }
        for leaf in HYPERVISOR_LEAVES {
            f(leaf, NO_SUBLEAF, Leaf::EMPTY)?;
        }
        let highest = self.extended[0].eax & 0xffff;
        for (leaf, content) in (0..=highest).zip(self.extended) {
            f(0x8000_0000 + leaf, NO_SUBLEAF, content)?;
        }
        Ok(())
    }

    /// Sets a leaf.
    ///
    /// # Errors
    /// There is no such leaf.
    pub fn set_leaf(&mut self, leaf: u32, subleaf: u32, content: Leaf) -> Result<(), OutOfRange> {
        let whole = subleaf == NO_SUBLEAF;
        let place = match leaf {
            4 => self.cache.get_mut(subleaf as usize),
            7 => self.feature.get_mut(subleaf as usize),
            0xb => self.topology.get_mut(subleaf as usize),
            0xd => self.xstate.get_mut(subleaf as usize),
            0..0x4000_0000 if whole => self.basic.get_mut(leaf as usize),
            // How many leaves the hypervisor has is its own business.
            _ if whole && HYPERVISOR_LEAVES.contains(&leaf) => return Ok(()),
            0x8000_0000.. if whole => self.extended.get_mut((leaf - 0x8000_0000) as usize),
            _ => None,
        };
        *place.ok_or(OutOfRange)? = content;
        Ok(())
    }

    /// The policy's MSRs: number and value.
    pub fn msrs(&self) -> [(u32, u64); MAX_MSRS as usize] {
        [
            (PLATFORM_INFO, 0),
            (ARCH_CAPABILITIES, self.arch_capabilities()),
        ]
    }

    /// Sets an MSR.
    ///
    /// # Errors
    /// There is no such MSR, or it cannot have this value.
    pub fn set_msr(&mut self, number: u32, value: u64) -> Result<(), OutOfRange> {
        match number {
            // Whether `cpuid` can be made to fault is the machine's to say, and not for choice.
            PLATFORM_INFO if value & !CPUID_FAULTING == 0 => {}
            ARCH_CAPABILITIES => self.arch_capabilities = value,
            _ => return Err(OutOfRange),
        }
        Ok(())
    }

    /// The policy that comes of `wanted` where this is the most that a guest can have.
    ///
    /// # Errors
    /// `wanted` has more leaves than there can be: the number of the leaf, and the subleaf, that says so.
    pub fn restricted_to(&self, wanted: &Self) -> Result<Self, (u32, u32)> {
        if wanted.basic[0].eax > self.basic[0].eax {
            return Err((0, NO_SUBLEAF));
        }
        if wanted.feature[0].eax > self.feature[0].eax {
            return Err((7, 0));
        }
        if wanted.extended[0].eax > self.extended[0].eax {
            return Err((0x8000_0000, NO_SUBLEAF));
        }
        let mut set = wanted.features().intersection(&self.features());
        set.set(features::HYPERVISOR);
        set.drop_dependents();
        for fixed in [features::FDP_EXCP_ONLY, features::NO_FPU_SEL] {
            if self.host_features().has(fixed) {
                set.set(fixed);
            }
        }
        if !set.has(features::ARCH_CAPS) {
            set.0[word::ARCH_CAPABILITIES_LOW] = 0;
            set.0[word::ARCH_CAPABILITIES_HIGH] = 0;
        }
        let mut policy = self.clone();
        policy.basic[0].eax = wanted.basic[0].eax;
        policy.feature[0].eax = wanted.feature[0].eax;
        policy.extended[0].eax = wanted.extended[0].eax | 0x8000_0000;
        // Which model it is, its number of processors, and its caches.
        policy.basic[1].eax = wanted.basic[1].eax & 0x0fff_0fff;
        policy.basic[1].ebx = wanted.basic[1].ebx & 0x00ff_ffff;
        policy.cache = wanted.cache;
        policy.sanitise_caches();
        for name in 2..=4 {
            policy.extended[name] = wanted.extended[name];
        }
        policy.set_features(&set);
        if policy.vendor.is_amd_like() {
            policy.extended[1].edx |= policy.basic[1].edx & COMMON_EXTENDED;
        }
        policy.derive_xstate(&set, self.xcr0_mask());
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::policy::tests::{AMD, INTEL, SUPPORT, everything};

    fn rebuilt(policy: &CpuidPolicy, onto: &CpuidPolicy) -> CpuidPolicy {
        let mut copy = onto.clone();
        policy
            .each_leaf(|leaf, subleaf, content| copy.set_leaf(leaf, subleaf, content))
            .unwrap();
        for (number, value) in policy.msrs() {
            copy.set_msr(number, value).unwrap();
        }
        copy
    }

    fn pv() -> CpuidPolicy {
        everything(INTEL).pv(&SUPPORT)
    }

    #[test]
    fn what_is_written_out_reads_back_as_the_same() {
        for vendor in [INTEL, AMD] {
            let host = everything(vendor);
            let policy = host.pv(&SUPPORT);
            let copy = rebuilt(&policy, &host);
            assert_eq!(policy.restricted_to(&copy).unwrap(), policy);
        }
        let policy = pv();
        let mut count = 0;
        let mut seen = Vec::new();
        policy
            .each_leaf(|leaf, subleaf, _| {
                count += 1;
                assert!(
                    !seen.contains(&(leaf, subleaf)),
                    "{leaf:#x} {subleaf:#x} twice"
                );
                seen.push((leaf, subleaf));
                Ok::<(), ()>(())
            })
            .unwrap();
        assert!(count <= MAX_LEAVES);
    }

    #[test]
    fn a_policy_restricted_to_itself_is_itself() {
        let policy = pv();
        assert_eq!(policy.restricted_to(&policy).unwrap(), policy);
    }

    #[test]
    fn features_can_be_taken_and_not_given() {
        let most = pv();
        let mut wanted = most.clone();
        let mut set = most.features();
        set.clear(features::AVX);
        set.set(features::VMX);
        wanted.set_features(&set);
        let policy = most.restricted_to(&wanted).unwrap();
        assert!(!policy.features().has(features::AVX));
        assert!(!policy.features().has(features::FMA), "needs AVX");
        assert!(!policy.features().has(features::VMX));
        assert_eq!(policy.xcr0_mask() & (1 << 2), 0);
        assert!(policy.features().has(features::SSE2) == most.features().has(features::SSE2));
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        let most = pv();
        let mut wanted = most.clone();
        assert_eq!(
            wanted.set_leaf(0x20, NO_SUBLEAF, Leaf::EMPTY),
            Err(OutOfRange)
        );
        assert_eq!(wanted.set_leaf(1, 0, Leaf::EMPTY), Err(OutOfRange));
        assert_eq!(wanted.set_leaf(7, 99, Leaf::EMPTY), Err(OutOfRange));
        assert_eq!(
            wanted.set_leaf(u32::MAX, NO_SUBLEAF, Leaf::EMPTY),
            Err(OutOfRange)
        );
        assert_eq!(wanted.set_msr(0x10, 0), Err(OutOfRange));
        assert_eq!(wanted.set_msr(0xce, 1), Err(OutOfRange));
        wanted.basic[0].eax = u32::MAX;
        assert_eq!(most.restricted_to(&wanted).err(), Some((0, NO_SUBLEAF)));
    }
}
