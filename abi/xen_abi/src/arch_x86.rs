//! What the x86 interface defines beside its structures of traps, registers and contexts: selectors, addresses, reserved descriptors, CPU policy entries.
//!
//! Source: `public/arch-x86/xen.h` and `public/arch-x86/xen-x86_64.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u16;
    FLAT_RING3_CS32 = 0xe023;
    FLAT_RING3_CS64 = 0xe033;
    FLAT_RING3_DS32 = 0xe02b;
    FLAT_RING3_DS64 = 0x0;
    FLAT_RING3_SS32 = 0xe02b;
    FLAT_RING3_SS64 = 0xe02b;
}

crate::macros::constants! { u64;
    HYPERVISOR_VIRT_START = 0xffff_8000_0000_0000, "__HYPERVISOR_VIRT_START";
    HYPERVISOR_VIRT_END = 0xffff_8800_0000_0000, "__HYPERVISOR_VIRT_END";
    MACH2PHYS_VIRT_START = 0xffff_8000_0000_0000, "__MACH2PHYS_VIRT_START";
    MACH2PHYS_VIRT_END = 0xffff_8040_0000_0000, "__MACH2PHYS_VIRT_END";
}

crate::macros::constants! { u32;
    SEGBASE_FS = 0;
    SEGBASE_GS_USER = 1;
    SEGBASE_GS_KERNEL = 2;
    SEGBASE_GS_USER_SEL = 3;
    XEN_HAVE_PV_GUEST_ENTRY = 1;
    XEN_HAVE_PV_UPCALL_MASK = 1;
    FIRST_RESERVED_GDT_PAGE = 14;
    FIRST_RESERVED_GDT_BYTE = 57_344;
    FIRST_RESERVED_GDT_ENTRY = 7168;
    XEN_X86_EMU_LAPIC = 1 << 0;
    XEN_X86_EMU_HPET = 1 << 1;
    XEN_X86_EMU_PM = 1 << 2;
    XEN_X86_EMU_RTC = 1 << 3;
    XEN_X86_EMU_IOAPIC = 1 << 4;
    XEN_X86_EMU_PIC = 1 << 5;
    XEN_X86_EMU_VGA = 1 << 6;
    XEN_X86_EMU_IOMMU = 1 << 7;
    XEN_X86_EMU_PIT = 1 << 8;
    XEN_X86_EMU_USE_PIRQ = 1 << 9;
    XEN_X86_EMU_VPCI = 1 << 10;
    XEN_X86_EMU_ALL = 0x7ff;
    XEN_X86_MSR_RELAXED = 1 << 0;
    XEN_X86_MISC_FLAGS_MAX = 1;
    XEN_CPUID_NO_SUBLEAF = 0xffffffff;
    XEN_HVM_DEBUGCONS_IOPORT = 0xe9;
}

/// The x86 part of a domain's configuration.
#[doc(alias = "xen_arch_domainconfig")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ArchDomainConfig {
    pub emulation_flags: u32,
    pub misc_flags: u32,
}

/// A leaf of a CPU policy.
#[doc(alias = "xen_cpuid_leaf")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuidLeaf {
    pub leaf: u32,
    pub subleaf: u32,
    pub a: u32,
    pub b: u32,
    pub c: u32,
    pub d: u32,
}

/// An MSR of a CPU policy.
#[doc(alias = "xen_msr_entry")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MsrEntry {
    pub idx: u32,
    pub flags: u32,
    pub val: u64,
}
