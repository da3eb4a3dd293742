//! Records of a saved HVM domain.
//!
//! Source: `public/hvm/save.h` and `public/arch-x86/hvm/save.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u32;
    FILE_MAGIC = 0x54381286, "HVM_FILE_MAGIC";
    FILE_VERSION = 0x1, "HVM_FILE_VERSION";
    XEN_X86_FPU_INITIALISED = 1 << 0;
    VIOAPIC_NUM_PINS = 48;
    RTC_CMOS_SIZE = 14;
    HPET_TIMER_NUM = 3;
    MTRR_VCNT = 8;
    NUM_FIXED_MSR = 11;
}

crate::macros::constants! { u16;
    CODE_END = 0, "HVM_SAVE_CODE(END)";
    CODE_HEADER = 1, "HVM_SAVE_CODE(HEADER)";
    CODE_CPU = 2, "HVM_SAVE_CODE(CPU)";
    CODE_PIC = 3, "HVM_SAVE_CODE(PIC)";
    CODE_IOAPIC = 4, "HVM_SAVE_CODE(IOAPIC)";
    CODE_LAPIC = 5, "HVM_SAVE_CODE(LAPIC)";
    CODE_LAPIC_REGS = 6, "HVM_SAVE_CODE(LAPIC_REGS)";
    CODE_PCI_IRQ = 7, "HVM_SAVE_CODE(PCI_IRQ)";
    CODE_ISA_IRQ = 8, "HVM_SAVE_CODE(ISA_IRQ)";
    CODE_PCI_LINK = 9, "HVM_SAVE_CODE(PCI_LINK)";
    CODE_PIT = 10, "HVM_SAVE_CODE(PIT)";
    CODE_RTC = 11, "HVM_SAVE_CODE(RTC)";
    CODE_HPET = 12, "HVM_SAVE_CODE(HPET)";
    CODE_PMTIMER = 13, "HVM_SAVE_CODE(PMTIMER)";
    CODE_MTRR = 14, "HVM_SAVE_CODE(MTRR)";
    CODE_VIRIDIAN_DOMAIN = 15, "HVM_SAVE_CODE(VIRIDIAN_DOMAIN)";
    CODE_VIRIDIAN_VCPU = 17, "HVM_SAVE_CODE(VIRIDIAN_VCPU)";
    CODE_VMCE_VCPU = 18, "HVM_SAVE_CODE(VMCE_VCPU)";
    CODE_TSC_ADJUST = 19, "HVM_SAVE_CODE(TSC_ADJUST)";
    CODE_CPU_XSAVE = 16, "CPU_XSAVE_CODE";
    CODE_CPU_MSR = 20, "CPU_MSR_CODE";
    CODE_MAX = 20, "HVM_SAVE_CODE_MAX";
}

/// In front of each record.
#[doc(alias = "hvm_save_descriptor")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SaveDescriptor {
    pub typecode: u16,
    pub instance: u16,
    pub length: u32,
}

/// The first record.
#[doc(alias = "hvm_save_header")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SaveHeader {
    pub magic: u32,
    pub version: u32,
    pub changeset: u64,
    pub cpuid: u32,
    pub gtsc_khz: u32,
}

/// A vCPU's registers.
#[doc(alias = "hvm_hw_cpu")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Cpu {
    pub fpu_regs: [u8; 512],
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rbp: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub dr0: u64,
    pub dr1: u64,
    pub dr2: u64,
    pub dr3: u64,
    pub dr6: u64,
    pub dr7: u64,
    pub cs_sel: u32,
    pub ds_sel: u32,
    pub es_sel: u32,
    pub fs_sel: u32,
    pub gs_sel: u32,
    pub ss_sel: u32,
    pub tr_sel: u32,
    pub ldtr_sel: u32,
    pub cs_limit: u32,
    pub ds_limit: u32,
    pub es_limit: u32,
    pub fs_limit: u32,
    pub gs_limit: u32,
    pub ss_limit: u32,
    pub tr_limit: u32,
    pub ldtr_limit: u32,
    pub idtr_limit: u32,
    pub gdtr_limit: u32,
    pub cs_base: u64,
    pub ds_base: u64,
    pub es_base: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ss_base: u64,
    pub tr_base: u64,
    pub ldtr_base: u64,
    pub idtr_base: u64,
    pub gdtr_base: u64,
    pub cs_arbytes: u32,
    pub ds_arbytes: u32,
    pub es_arbytes: u32,
    pub fs_arbytes: u32,
    pub gs_arbytes: u32,
    pub ss_arbytes: u32,
    pub tr_arbytes: u32,
    pub ldtr_arbytes: u32,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub shadow_gs: u64,
    pub msr_flags: u64,
    pub msr_lstar: u64,
    pub msr_star: u64,
    pub msr_cstar: u64,
    pub msr_syscall_mask: u64,
    pub msr_efer: u64,
    pub msr_tsc_aux: u64,
    pub tsc: u64,
    pub pending_event: u32,
    pub error_code: u32,
    pub flags: u32,
    pub pad0: u32,
}

/// A local APIC's state that is not in its registers.
#[doc(alias = "hvm_hw_lapic")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Lapic {
    pub apic_base_msr: u64,
    pub disabled: u32,
    pub timer_divisor: u32,
    pub tdt_msr: u64,
}

/// A local APIC's registers.
#[doc(alias = "hvm_hw_lapic_regs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct LapicRegs {
    pub data: [u8; 1024],
}

/// PCI interrupt lines, a bit each.
#[doc(alias = "hvm_hw_pci_irqs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PciIrqs {
    pub i: [u64; 2],
}

/// ISA interrupt lines, a bit each.
#[doc(alias = "hvm_hw_isa_irqs")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IsaIrqs {
    pub i: [u64; 1],
}

/// Where the PCI links are routed to.
#[doc(alias = "hvm_hw_pci_link")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PciLink {
    pub route: [u8; 4],
    pub pad0: [u8; 4],
}

/// A channel of the interval timer.
#[doc(alias = "hvm_hw_pit_channel")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PitChannel {
    pub count: u32,
    pub latched_count: u16,
    pub count_latched: u8,
    pub status_latched: u8,
    pub status: u8,
    pub read_state: u8,
    pub write_state: u8,
    pub write_latch: u8,
    pub rw_mode: u8,
    pub mode: u8,
    pub bcd: u8,
    pub gate: u8,
}

/// The interval timer.
#[doc(alias = "hvm_hw_pit")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Pit {
    pub channels: [PitChannel; 3],
    pub speaker_data_on: u32,
    pub pad0: u32,
}

/// The real-time clock.
#[doc(alias = "hvm_hw_rtc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Rtc {
    pub cmos_data: [u8; 14],
    pub cmos_index: u8,
    pub pad0: u8,
    pub rtc_offset: i64,
}

/// The HPET's registers.
#[doc(alias = "hvm_hw_hpet")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Hpet {
    pub capability: u64,
    pub res0: u64,
    pub config: u64,
    pub res1: u64,
    pub isr: u64,
    pub res2: [u64; 25],
    pub mc64: u64,
    pub res3: u64,
    pub timers: [HpetTimers; 3],
    pub res5: [u64; 84],
    pub period: [u64; 3],
}

/// The member `hvm_hw_hpet.timers[0]`.
#[doc(alias = "hvm_hw_hpet.timers[0]")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct HpetTimers {
    pub config: u64,
    pub cmp: u64,
    pub fsb: u64,
    pub res4: u64,
}

/// The PM timer.
#[doc(alias = "hvm_hw_pmtimer")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Pmtimer {
    pub tmr_val: u32,
    pub pm1a_sts: u16,
    pub pm1a_en: u16,
}

/// Memory types.
#[doc(alias = "hvm_hw_mtrr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Mtrr {
    pub msr_pat_cr: u64,
    pub msr_mtrr_var: [u64; 16],
    pub msr_mtrr_fixed: [u64; 11],
    pub msr_mtrr_cap: u64,
    pub msr_mtrr_def_type: u64,
}

/// The header of an XSAVE area.
#[doc(alias = "hvm_hw_cpu_xsave_hdr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuXsaveHdr {
    pub xstate_bv: u64,
    pub xcomp_bv: u64,
    pub reserved: [u64; 6],
}

/// A vCPU's XSAVE area; its extended part follows.
#[doc(alias = "hvm_hw_cpu_xsave")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuXsave {
    pub xfeature_mask: u64,
    pub xcr0: u64,
    pub xcr0_accum: u64,
    pub save_area: CpuXsaveSaveArea,
}

/// The member `hvm_hw_cpu_xsave.save_area`.
#[doc(alias = "hvm_hw_cpu_xsave.save_area")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuXsaveSaveArea {
    pub fpu_sse: CpuXsaveSaveAreaFpuSse,
    pub xsave_hdr: CpuXsaveHdr,
}

/// The member `hvm_hw_cpu_xsave.save_area.fpu_sse`.
#[doc(alias = "hvm_hw_cpu_xsave.save_area.fpu_sse")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuXsaveSaveAreaFpuSse {
    pub x: [u8; 512],
}

/// The Viridian state of a domain.
#[doc(alias = "hvm_viridian_domain_context")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ViridianDomainContext {
    pub hypercall_gpa: u64,
    pub guest_os_id: u64,
    pub time_ref_count: u64,
    pub reference_tsc: u64,
}

/// The Viridian state of a vCPU.
#[doc(alias = "hvm_viridian_vcpu_context")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ViridianVcpuContext {
    pub vp_assist_msr: u64,
    pub apic_assist_pending: u8,
    pub _pad: [u8; 7],
    pub simp_msr: u64,
    pub sint_msr: [u64; 16],
    pub stimer_config_msr: [u64; 4],
    pub stimer_count_msr: [u64; 4],
}

/// The machine-check state of a vCPU.
#[doc(alias = "hvm_vmce_vcpu")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VmceVcpu {
    pub caps: u64,
    pub mci_ctl2_bank0: u64,
    pub mci_ctl2_bank1: u64,
    pub mcg_ext_ctl: u64,
}

/// The MSR `TSC_ADJUST` of a vCPU.
#[doc(alias = "hvm_tsc_adjust")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TscAdjust {
    pub tsc_adjust: u64,
}

/// An MSR's number and value.
#[doc(alias = "hvm_one_msr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct OneMsr {
    pub index: u32,
    pub _rsvd: u32,
    pub val: u64,
}

/// MSRs of a vCPU: `count` entries (`struct hvm_one_msr`) follow.
#[doc(alias = "hvm_msr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Msr {
    pub count: u32,
    pub _hole0: [u8; 4],
    pub _hole1: [u64; 0],
}

/// One of the two legacy interrupt controllers.
#[doc(alias = "hvm_hw_vpic")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Vpic {
    pub irr: u8,
    pub imr: u8,
    pub isr: u8,
    pub irq_base: u8,
    /// `init_state` in bits 0 to 3, `priority_add` in bits 4 to 7.
    pub init_bits: u8,
    /// `readsel_isr` bit 0, `poll` bit 1, `auto_eoi` bit 2, `rotate_on_auto_eoi` bit 3,
    /// `special_fully_nested_mode` bit 4, `special_mask_mode` bit 5, `is_master` bit 6.
    pub mode_bits: u8,
    pub elcr: u8,
    pub int_output: u8,
}

/// The IO-APIC.
#[doc(alias = "hvm_hw_vioapic")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Vioapic {
    pub base_address: u64,
    pub ioregsel: u32,
    pub id: u32,
    /// Redirection entries as the IO-APIC's registers have them.
    pub redirtbl: [u64; 48],
}
