//! What a paravirtual guest sees of made-up processors.

use super::{CpuidPolicy, Support, View};
use crate::features::{self, Feature, Featureset, PV_VISIBLE, word};
use crate::leaf::{Leaf, Vendor};

pub(crate) const INTEL: Leaf = Leaf::new(0x16, 0x756e_6547, 0x6c65_746e, 0x4965_6e69);
pub(crate) const AMD: Leaf = Leaf::new(0x10, 0x6874_7541, 0x444d_4163, 0x6974_6e65);

/// A processor that has every feature there is, with numbers in all other leaves.
pub(crate) fn everything(vendor: Leaf) -> CpuidPolicy {
    CpuidPolicy::host(&move |leaf, subleaf| match (leaf, subleaf) {
        (0, _) => vendor,
        (1, _) => Leaf::new(0x000_306a9, 0x0710_0800, u32::MAX, u32::MAX),
        (4, 0) => Leaf::new(0x1c00_7d21, 0x01c0_003f, 0x3f, 0xffff_ffff),
        (4, 1) => Leaf::new(0x1c00_4122, 0x01c0_003f, 0x3f, 0),
        (4, _) => Leaf::new(0, 7, 7, 7),
        (7, 0) => Leaf::new(2, u32::MAX, u32::MAX, u32::MAX),
        (7, _) => Leaf::new(u32::MAX, u32::MAX, u32::MAX, u32::MAX),
        (0xb, _) => Leaf::new(1, 2, 3, 4),
        // x87, SSE, AVX, MPX, AVX-512, PKRU
        (0xd, 0) => Leaf::new(0x2ff, 0xa88, 0xa88, 0),
        (0xd, 1) => Leaf::new(0xf, 0x340, 0, 0),
        (0xd, 2) => Leaf::new(0x100, 0x240, 0, 0),
        (0xd, 5) => Leaf::new(0x40, 0x440, 0, 0),
        (0xd, 6) => Leaf::new(0x200, 0x480, 0, 0),
        (0xd, 7) => Leaf::new(0x400, 0x680, 0, 0),
        (0xd, 9) => Leaf::new(8, 0xa80, 0, 0),
        (0xd, _) => Leaf::EMPTY,
        (0x8000_0000, _) => Leaf::new(0x8000_0023, vendor.ebx, vendor.ecx, vendor.edx),
        (0x8000_0001, _) => Leaf::new(0x306a9, 0x1234_5678, u32::MAX, u32::MAX),
        (0x8000_0008, _) => Leaf::new(0x0024_3930, u32::MAX, 0xffff_ffff, 9),
        (0x8000_0021, _) => Leaf::new(u32::MAX, 0, u32::MAX, 0),
        _ => Leaf::new(leaf, u32::MAX, 0xcccc_cccc, 0xdddd_dddd),
    })
}

pub(crate) const SUPPORT: Support = Support {
    xcr0: 0xe7,
    fsgsbase: true,
    invariant_tsc: true,
    arch_capabilities: u64::MAX,
};

const KERNEL: View = View {
    vcpu_id: 3,
    cr4: 0,
    xcr0: 3,
    kernel: true,
    forced: true,
    hardware: false,
};

fn in_leaf_80000021(feature: Feature) -> bool {
    let mut set = Featureset::EMPTY;
    set.set(feature);
    set.0[word::LEAF_80000021_EAX] != 0 || set.0[word::LEAF_80000021_ECX] != 0
}

#[test]
fn features_are_visible_by_class() {
    for vendor in [INTEL, AMD] {
        let host = everything(vendor);
        let guest = host.pv(&SUPPORT).features();
        for (name, feature) in features::ALL {
            let expected = match *name {
                "HYPERVISOR" | "ITSC" | "FDP_EXCP_ONLY" | "NO_FPU_SEL" => true,
                // AMD's processors have none in long mode.
                "SEP" => vendor == INTEL,
                // SPEC_CTRL is not for guests, nor what needs it.
                "IBRSB" | "STIBP" | "SSBD" | "INTEL_PSFD" | "IPRED_CTRL" | "RRSBA_CTRL"
                | "BHI_CTRL" => false,
                // Intel's processors have no leaf 0x80000021.
                _ if vendor == INTEL && in_leaf_80000021(*feature) => false,
                _ => PV_VISIBLE.has(*feature),
            };
            assert_eq!(guest.has(*feature), expected, "{name} on {:?}", host.vendor);
        }
    }
}

#[test]
fn what_needs_ring_0_is_hidden() {
    let guest = everything(INTEL).pv(&SUPPORT).features();
    for feature in [
        features::VME,
        features::PSE,
        features::PGE,
        features::PSE36,
        features::MTRR,
        features::VMX,
        features::SVM,
        features::MONITOR,
        features::PCID,
        features::INVPCID,
        features::SMEP,
        features::SMAP,
        features::UMIP,
        features::TSC_DEADLINE,
        features::PAGE1GB,
        features::X2APIC,
        features::XSAVES,
        features::PKU,
        features::TSC_ADJUST,
        features::MPX,
        features::DS,
        features::IBRS,
        features::OSXSAVE,
        features::OSPKE,
    ] {
        assert!(!guest.has(feature), "{feature:?}");
    }
}

#[test]
fn what_the_hypervisor_does_not_switch_is_hidden() {
    let host = everything(INTEL);
    let none = host.pv(&Support { xcr0: 0, ..SUPPORT });
    for feature in [
        features::XSAVE,
        features::AVX,
        features::AVX512F,
        features::FMA,
        features::AVX2,
        features::VAES,
        features::XSAVEOPT,
        features::AVX512VL,
    ] {
        assert!(!none.features().has(feature), "{feature:?}");
    }
    for subleaf in 0..63 {
        assert_eq!(none.cpuid(0xd, subleaf, &KERNEL), Leaf::EMPTY, "{subleaf}");
    }
    assert_eq!(none.cpuid(1, 0, &KERNEL).ecx & (1 << 27), 0);
    let sse = host.pv(&Support { xcr0: 3, ..SUPPORT });
    assert!(sse.features().has(features::XSAVE) && !sse.features().has(features::AVX));
    let avx = host.pv(&Support { xcr0: 7, ..SUPPORT });
    assert!(avx.features().has(features::AVX2) && !avx.features().has(features::AVX512F));
    let no_base = host.pv(&Support {
        fsgsbase: false,
        ..SUPPORT
    });
    assert!(!no_base.features().has(features::FSGSBASE));
    let moves = host.pv(&Support {
        invariant_tsc: false,
        ..SUPPORT
    });
    assert!(!moves.features().has(features::ITSC));
}

#[test]
fn a_guest_cannot_have_more_than_the_host() {
    let host = CpuidPolicy::host(&|leaf: u32, _: u32| match leaf {
        0 => Leaf::new(1, AMD.ebx, AMD.ecx, AMD.edx),
        1 => Leaf::new(0x663, 0, 0, 0x1783_fbff),
        0x8000_0000 => Leaf::new(0x8000_0001, 0, 0, 0),
        _ => Leaf::EMPTY,
    });
    let guest = host.pv(&SUPPORT).features();
    let mut allowed = *host.host_features();
    allowed.set(features::HYPERVISOR);
    assert_eq!(guest.intersection(&allowed), guest);
    assert_eq!(host.cpuid(7, 0, &KERNEL), Leaf::EMPTY);
    assert_eq!(host.cpuid(0x8000_0002, 0, &KERNEL), Leaf::EMPTY);
}

#[test]
fn leaf_1() {
    let guest = everything(INTEL).pv(&SUPPORT);
    let leaf = guest.cpuid(1, 0, &KERNEL);
    assert_eq!(leaf.eax, 0x306a9);
    assert_eq!(
        leaf.ebx, 0x0010_0800,
        "cache line and count, no APIC number"
    );
    assert_ne!(leaf.ecx & (1 << 31), 0, "hypervisor");
    // OSXSAVE: its own, or for a kernel that asks by the prefix.
    let osxsave = |view: &View| guest.cpuid(1, 0, view).ecx & (1 << 27) != 0;
    assert!(osxsave(&KERNEL));
    assert!(!osxsave(&View {
        forced: false,
        ..KERNEL
    }));
    assert!(!osxsave(&View {
        kernel: false,
        ..KERNEL
    }));
    assert!(osxsave(&View {
        cr4: 1 << 18,
        forced: false,
        ..KERNEL
    }));
    // What domain 0's kernel alone sees: EIST, MTRR.
    let domain_0 = View {
        hardware: true,
        ..KERNEL
    };
    assert_eq!(leaf.ecx & (1 << 7), 0);
    assert_ne!(guest.cpuid(1, 0, &domain_0).ecx & (1 << 7), 0);
    assert_eq!(leaf.edx & (1 << 12), 0);
    assert_ne!(guest.cpuid(1, 0, &domain_0).edx & (1 << 12), 0);
    let program = View {
        kernel: false,
        ..domain_0
    };
    assert_eq!(guest.cpuid(1, 0, &program).edx & (1 << 12), 0);
}

#[test]
fn leaves_that_are_hidden() {
    let (intel, amd) = (everything(INTEL).pv(&SUPPORT), everything(AMD).pv(&SUPPORT));
    for guest in [&intel, &amd] {
        for leaf in [
            3,
            5,
            6,
            8,
            9,
            0xa,
            0xb,
            0xc,
            0xe,
            0x16,
            0x4000_0100,
            u32::MAX,
        ] {
            for subleaf in [0, 1] {
                let answer = guest.cpuid(leaf, subleaf, &KERNEL);
                assert_eq!(answer, Leaf::EMPTY, "{leaf:#x}.{subleaf}");
            }
        }
        assert_eq!(guest.cpuid(0, 0, &KERNEL).eax, 0xd);
        assert_eq!(guest.cpuid(7, 3, &KERNEL), Leaf::EMPTY);
        assert_eq!(guest.cpuid(4, 9, &KERNEL), Leaf::EMPTY);
        assert_eq!(guest.cpuid(0xd, 63, &KERNEL), Leaf::EMPTY);
        assert_eq!(guest.cpuid(0x8000_0022, 0, &KERNEL), Leaf::EMPTY);
        assert_eq!(
            guest.cpuid(0x8000_0007, 0, &KERNEL),
            Leaf::new(0, 0, 0, 1 << 8)
        );
        assert_eq!(guest.cpuid(0x8000_0008, 0, &KERNEL).eax, 0x3030);
    }
    assert_eq!(
        intel.cpuid(0x8000_0000, 0, &KERNEL),
        Leaf::new(0x8000_0008, 0, 0, 0)
    );
    assert_eq!(intel.cpuid(0x8000_0021, 0, &KERNEL), Leaf::EMPTY);
    assert_eq!(amd.cpuid(0x8000_0000, 0, &KERNEL).eax, 0x8000_0021);
    for leaf in [
        2,
        4,
        0x8000_0009,
        0x8000_000a,
        0x8000_0019,
        0x8000_001b,
        0x8000_001e,
    ] {
        assert_eq!(amd.cpuid(leaf, 0, &KERNEL), Leaf::EMPTY, "{leaf:#x}");
    }
    // AMD repeats leaf 1's features; Intel does not.
    assert_eq!(intel.cpuid(0x8000_0001, 0, &KERNEL).edx, 0xea50_0800);
    let amd_edx = amd.cpuid(0x8000_0001, 0, &KERNEL).edx;
    assert_eq!(
        amd_edx & 0x0183_f3ff,
        amd.cpuid(1, 0, &KERNEL).edx & 0x0183_f3ff
    );
}

#[test]
fn caches_have_no_reserved_bits() {
    let guest = everything(INTEL).pv(&SUPPORT);
    assert_eq!(
        guest.cpuid(4, 0, &KERNEL),
        Leaf::new(0x1c00_4121, 0x01c0_003f, 0x3f, 7)
    );
    assert_eq!(guest.cpuid(4, 1, &KERNEL).eax, 0x1c00_4122);
    assert_eq!(guest.cpuid(4, 2, &KERNEL), Leaf::EMPTY);
}

#[test]
fn extended_state() {
    let guest = everything(INTEL).pv(&SUPPORT);
    let leaf = |subleaf, xcr0| guest.cpuid(0xd, subleaf, &View { xcr0, ..KERNEL });
    assert_eq!(leaf(0, 3), Leaf::new(0xe7, 0x240, 0xa80, 0));
    assert_eq!(leaf(0, 7).ebx, 0x340);
    assert_eq!(leaf(0, 0xe7).ebx, 0xa80);
    assert_eq!(leaf(1, 3), Leaf::new(7, 0, 0, 0), "no XSAVES");
    assert_eq!(leaf(2, 3), Leaf::new(0x100, 0x240, 0, 0));
    assert_eq!(leaf(9, 3), Leaf::EMPTY, "no protection keys");
    assert_eq!(guest.xcr0_mask(), 0xe7);
}

#[test]
fn xcr0_values() {
    let guest = everything(INTEL).pv(&SUPPORT);
    for valid in [1, 3, 7, 0xe7] {
        assert!(guest.xcr0_is_valid(valid), "{valid:#x}");
    }
    // No x87; AVX without SSE; parts of AVX-512; AVX-512 without AVX; MPX, PKRU; nonsense.
    for invalid in [
        0,
        2,
        6,
        5,
        0x27,
        0xe3,
        0xe5,
        0x1f,
        0x207,
        1 << 63 | 7,
        u64::MAX,
    ] {
        assert!(!guest.xcr0_is_valid(invalid), "{invalid:#x}");
    }
    let without = everything(INTEL).pv(&Support { xcr0: 0, ..SUPPORT });
    assert!(!without.xcr0_is_valid(1) && !without.xcr0_is_valid(3));
}

#[test]
fn dependents_go_with_what_they_need() {
    let mut set = Featureset::EMPTY;
    set.set(features::AVX512F);
    set.set(features::AVX512BW);
    set.set(features::SSSE3);
    set.drop_dependents();
    let mut expected = Featureset::EMPTY;
    expected.set(features::SSSE3);
    assert_eq!(set, expected);
}

#[test]
fn the_family_with_its_extension() {
    assert_eq!(everything(INTEL).family(), 6);
    let zen = CpuidPolicy::host(&|leaf: u32, _: u32| match leaf {
        0 => AMD,
        1 => Leaf::new(0x0080_0f12, 0, 0, 0),
        _ => Leaf::EMPTY,
    });
    assert_eq!((zen.family(), zen.vendor), (0x17, Vendor::Amd));
}
