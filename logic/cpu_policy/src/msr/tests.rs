//! MSRs of guests on machines of both vendors.

use super::{Access, Read, SegmentBase, VcpuMsrs, Write, is_canonical, number, read, write};
use crate::leaf::Leaf;
use crate::policy::{CpuidPolicy, Support};

/// A processor of a vendor, with the features that MSRs depend on.
fn policy(intel: bool) -> CpuidPolicy {
    let host = CpuidPolicy::host(&move |leaf, subleaf| match (leaf, subleaf) {
        (0, _) if intel => Leaf::new(0xd, 0x756e_6547, 0x6c65_746e, 0x4965_6e69),
        (0, _) => Leaf::new(0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65),
        // Family 6 of Intel's, family 0x17 of AMD's.
        (1, _) => Leaf::new(if intel { 0x306a9 } else { 0x0080_0f12 }, 0, 0, 0),
        // IBRSB, ARCH_CAPS
        (7, 0) if intel => Leaf::new(0, 0, 0, (1 << 26) | (1 << 29)),
        (0x8000_0000, _) => Leaf::new(0x8000_0008, 0, 0, 0),
        // RDTSCP, LM; DBEXT
        (0x8000_0001, _) => Leaf::new(0, 0, u32::from(!intel) << 26, (1 << 27) | (1 << 29)),
        // IBPB
        (0x8000_0008, _) if !intel => Leaf::new(0, 1 << 12, 0, 0),
        _ => Leaf::EMPTY,
    });
    host.pv(&Support {
        arch_capabilities: if intel { 0x43f } else { 0 },
        ..Support::default()
    })
}

fn access(policy: &CpuidPolicy) -> Access<'_> {
    Access {
        policy,
        hardware: true,
        vcpu_id: 0,
        efer: 0x1d01,
        can_fault_cpuid: false,
    }
}

#[test]
fn segment_bases_are_canonical() {
    let policy = policy(true);
    let access = access(&policy);
    let mut msrs = VcpuMsrs::default();
    assert_eq!(
        read(&access, &msrs, number::GS_BASE),
        Read::Base(SegmentBase::Gs)
    );
    let kernel = 0xffff_ffff_8300_0000;
    assert_eq!(
        write(&access, &mut msrs, number::GS_BASE, kernel),
        Write::Base(SegmentBase::Gs, kernel)
    );
    for bad in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
        assert!(!is_canonical(bad));
        for msr in [number::FS_BASE, number::GS_BASE, number::KERNEL_GS_BASE] {
            assert_eq!(
                write(&access, &mut msrs, msr, bad),
                Write::Fault,
                "{msr:#x}"
            );
        }
    }
    assert!(is_canonical(0x7fff_ffff_ffff) && is_canonical(0xffff_8000_0000_0000));
}

#[test]
fn fixed_values() {
    let policy = policy(true);
    let mut second = access(&policy);
    let msrs = VcpuMsrs::default();
    assert_eq!(read(&second, &msrs, 0x277), Read::Value(0x0501_0007_0406));
    assert_eq!(read(&second, &msrs, 0x1b), Read::Value(0xfee0_0900));
    second.vcpu_id = 1;
    assert_eq!(read(&second, &msrs, 0x1b), Read::Value(0xfee0_0800));
    // SCE, LME, LMA, NX are seen; SVME (bit 12) is not.
    assert_eq!(read(&second, &msrs, number::EFER), Read::Value(0xd01));
    assert_eq!(read(&second, &msrs, number::TSC), Read::Tsc);
}

#[test]
fn fixed_values_can_be_written_back_only() {
    let policy = policy(true);
    let access = access(&policy);
    let mut msrs = VcpuMsrs::default();
    for (msr, value) in [(0x277, 0x0501_0007_0406), (number::EFER, 0xd01)] {
        assert_eq!(
            write(&access, &mut msrs, msr, value),
            Write::Done,
            "{msr:#x}"
        );
        assert_eq!(
            write(&access, &mut msrs, msr, value ^ 1),
            Write::Fault,
            "{msr:#x}"
        );
    }
    assert_eq!(
        write(&access, &mut msrs, number::APIC_BASE, 0),
        Write::Refused
    );
    assert_eq!(msrs, VcpuMsrs::default());
}

#[test]
fn speculation_control() {
    let (intel, amd) = (policy(true), policy(false));
    let mut msrs = VcpuMsrs::default();
    for policy in [&intel, &amd] {
        let access = access(policy);
        assert_eq!(read(&access, &msrs, number::SPEC_CTRL), Read::Fault);
        assert_eq!(
            write(&access, &mut msrs, number::SPEC_CTRL, 1),
            Write::Fault
        );
        // The barrier needs no state: guests have it wherever the host does.
        assert_eq!(read(&access, &msrs, number::PRED_CMD), Read::Fault);
        assert_eq!(
            write(&access, &mut msrs, number::PRED_CMD, 1),
            Write::Host(1)
        );
        assert_eq!(write(&access, &mut msrs, number::PRED_CMD, 2), Write::Fault);
        assert_eq!(
            write(&access, &mut msrs, number::FLUSH_CMD, 1),
            Write::Fault
        );
    }
    // Of the capabilities, those that say what guests need not mind: not SKIP_L1DFL, not MISC_PKG_CTRL.
    assert_eq!(
        read(&access(&intel), &msrs, number::ARCH_CAPABILITIES),
        Read::Value(0b11_0011)
    );
    assert_eq!(
        read(&access(&amd), &msrs, number::ARCH_CAPABILITIES),
        Read::Fault
    );
}

#[test]
fn the_vcpu_s_own() {
    let (intel, amd) = (policy(true), policy(false));
    let mut msrs = VcpuMsrs::default();
    let access_amd = access(&amd);
    assert_eq!(
        write(&access_amd, &mut msrs, number::TSC_AUX, 7),
        Write::Loaded(7)
    );
    assert_eq!(read(&access_amd, &msrs, number::TSC_AUX), Read::Value(7));
    assert_eq!(
        write(&access_amd, &mut msrs, number::TSC_AUX, 1 << 32),
        Write::Fault
    );
    assert_eq!(msrs.tsc_aux, 7);
    assert_eq!(
        write(&access_amd, &mut msrs, 0xc001_1027, 0xfff),
        Write::Loaded(0xfff)
    );
    assert_eq!(
        write(&access_amd, &mut msrs, 0xc001_101b, 0xff),
        Write::Loaded(0xff)
    );
    assert_eq!(msrs.breakpoint_masks, [0xfff, 0, 0, 0xff]);
    assert_eq!(read(&access_amd, &msrs, 0xc001_101b), Read::Value(0xff));
    assert_eq!(
        write(&access_amd, &mut msrs, 0xc001_1019, 1 << 32),
        Write::Fault
    );
    // Intel's processors have no such registers.
    assert_eq!(read(&access(&intel), &msrs, 0xc001_101b), Read::Fault);
    assert_eq!(
        write(&access(&intel), &mut msrs, 0xc001_1027, 1),
        Write::Fault
    );
}

#[test]
fn machine_checks_never_happen() {
    let policy = policy(true);
    let access = access(&policy);
    let mut msrs = VcpuMsrs::default();
    assert_eq!(
        read(&access, &msrs, 0x179),
        Read::Value((1 << 24) | (1 << 11) | 2)
    );
    assert_eq!(read(&access, &msrs, 0x400), Read::Value(u64::MAX));
    assert_eq!(read(&access, &msrs, 0x401), Read::Value(0));
    assert_eq!(read(&access, &msrs, 0x47f), Read::Value(0));
    assert_eq!(read(&access, &msrs, 0x480), Read::Unknown);
    assert_eq!(write(&access, &mut msrs, 0x400, 5), Write::Done);
    assert_eq!(write(&access, &mut msrs, 0x401, 0), Write::Done);
    assert_eq!(write(&access, &mut msrs, 0x401, 5), Write::Fault);
    assert_eq!(write(&access, &mut msrs, 0x17a, 4), Write::Done);
    assert_eq!(read(&access, &msrs, 0x17a), Read::Value(4));
    assert_eq!(write(&access, &mut msrs, 0x179, 2), Write::Fault);
}

#[test]
fn vendors_differ() {
    let (intel, amd) = (policy(true), policy(false));
    let mut msrs = VcpuMsrs::default();
    let (intel, amd) = (access(&intel), access(&amd));
    assert_eq!(
        read(&intel, &msrs, number::MISC_ENABLE),
        Read::Host {
            clear: (1 << 7) | (1 << 18),
            set: (1 << 11) | (1 << 12) | (1 << 23)
        }
    );
    assert_eq!(read(&amd, &msrs, number::MISC_ENABLE), Read::Unknown);
    assert_eq!(read(&amd, &msrs, number::HWCR), Read::Value(1 << 24));
    assert_eq!(read(&intel, &msrs, number::HWCR), Read::Unknown);
    assert_eq!(read(&amd, &msrs, number::PSTATE_DEF0), Read::Value(0));
    assert_eq!(write(&amd, &mut msrs, number::PSTATE_DEF0, 5), Write::Done);
    assert_eq!(read(&amd, &msrs, number::DE_CFG), Read::Value(2));
    assert_eq!(write(&amd, &mut msrs, number::DE_CFG, 2), Write::Done);
    assert_eq!(write(&amd, &mut msrs, number::DE_CFG, 0), Write::Fault);
    assert_eq!(read(&intel, &msrs, number::PLATFORM_INFO), Read::Value(0));
    assert_eq!(read(&amd, &msrs, number::PLATFORM_INFO), Read::Fault);
}

#[test]
fn the_machine_s_own_are_for_its_owner() {
    let policy = policy(false);
    let mut owner = access(&policy);
    let mut msrs = VcpuMsrs::default();
    assert_eq!(
        read(&owner, &msrs, number::TOP_MEM),
        Read::Host { clear: 0, set: 0 }
    );
    assert_eq!(
        write(&owner, &mut msrs, number::MMIO_CONF_BASE, 5),
        Write::MustEqualHost { clear: 0, set: 0 }
    );
    owner.hardware = false;
    assert_eq!(read(&owner, &msrs, number::TOP_MEM), Read::Unknown);
    assert_eq!(read(&owner, &msrs, number::SYSCFG), Read::Unknown);
    assert_eq!(
        write(&owner, &mut msrs, number::MMIO_CONF_BASE, 5),
        Write::Done
    );
}

#[test]
fn hypervisor_entry_points_are_out_of_reach() {
    let (intel, amd) = (policy(true), policy(false));
    let mut msrs = VcpuMsrs::default();
    // SYSENTER, STAR, LSTAR, CSTAR, SFMASK, microcode, SVM, MTRRs, x2APIC, XSS.
    let numbers = [
        0x174,
        0x175,
        0x176,
        0xc000_0081,
        0xc000_0082,
        0xc000_0083,
        0xc000_0084,
        0x79,
        0xc001_0020,
        0xc001_0114,
        0xc001_0117,
        0x200,
        0x2ff,
        0x800,
        0x80b,
        0x830,
        0x8ff,
        0xda0,
        0x6e0,
    ];
    for policy in [&intel, &amd] {
        let access = access(policy);
        for number in numbers {
            let outcome = write(&access, &mut msrs, number, 0x1000);
            assert!(
                matches!(outcome, Write::Fault | Write::Unknown),
                "{number:#x}: {outcome:?}"
            );
        }
    }
    assert_eq!(msrs, VcpuMsrs::default());
}

#[test]
fn hypercall_page() {
    let policy = policy(true);
    let access = access(&policy);
    let mut msrs = VcpuMsrs::default();
    assert_eq!(
        write(&access, &mut msrs, 0x4000_0000, 0x1234_5000),
        Write::HypercallPage { frame: 0x12345 }
    );
    assert_eq!(
        write(&access, &mut msrs, 0x4000_0000, 0x1234_5001),
        Write::Fault
    );
    assert_eq!(read(&access, &msrs, 0x4000_0000), Read::Value(0));
}

#[test]
fn every_register_has_an_answer() {
    let (intel, amd) = (policy(true), policy(false));
    let ranges = [
        0..=0x2000_u32,
        0x4000_0000..=0x4000_00ff,
        0xc000_0000..=0xc001_2000,
    ];
    for policy in [&intel, &amd] {
        for number in ranges.clone().into_iter().flatten() {
            let mut msrs = VcpuMsrs::default();
            let _ = read(&access(policy), &msrs, number);
            for value in [0, 1, u64::MAX, 1 << 63] {
                let _ = write(&access(policy), &mut msrs, number, value);
            }
        }
    }
}
