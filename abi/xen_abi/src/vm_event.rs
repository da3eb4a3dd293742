//! Events of a monitored domain.
//!
//! Source: `public/vm_event.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u32;
    INTERFACE_VERSION = 0x7, "VM_EVENT_INTERFACE_VERSION";
    FLAG_VCPU_PAUSED = 1 << 0, "VM_EVENT_FLAG_VCPU_PAUSED";
    FLAG_FOREIGN = 1 << 1, "VM_EVENT_FLAG_FOREIGN";
    FLAG_EMULATE = 1 << 2, "VM_EVENT_FLAG_EMULATE";
    FLAG_EMULATE_NOWRITE = 1 << 3, "VM_EVENT_FLAG_EMULATE_NOWRITE";
    FLAG_TOGGLE_SINGLESTEP = 1 << 4, "VM_EVENT_FLAG_TOGGLE_SINGLESTEP";
    FLAG_SET_EMUL_READ_DATA = 1 << 5, "VM_EVENT_FLAG_SET_EMUL_READ_DATA";
    FLAG_DENY = 1 << 6, "VM_EVENT_FLAG_DENY";
    FLAG_ALTERNATE_P2M = 1 << 7, "VM_EVENT_FLAG_ALTERNATE_P2M";
    FLAG_SET_REGISTERS = 1 << 8, "VM_EVENT_FLAG_SET_REGISTERS";
    FLAG_SET_EMUL_INSN_DATA = 1 << 9, "VM_EVENT_FLAG_SET_EMUL_INSN_DATA";
    FLAG_GET_NEXT_INTERRUPT = 1 << 10, "VM_EVENT_FLAG_GET_NEXT_INTERRUPT";
    FLAG_FAST_SINGLESTEP = 1 << 11, "VM_EVENT_FLAG_FAST_SINGLESTEP";
    FLAG_NESTED_P2M = 1 << 12, "VM_EVENT_FLAG_NESTED_P2M";
    FLAG_RESET_VMTRACE = 1 << 13, "VM_EVENT_FLAG_RESET_VMTRACE";
    FLAG_RESET_FORK_STATE = 1 << 14, "VM_EVENT_FLAG_RESET_FORK_STATE";
    FLAG_RESET_FORK_MEMORY = 1 << 15, "VM_EVENT_FLAG_RESET_FORK_MEMORY";
    REASON_UNKNOWN = 0, "VM_EVENT_REASON_UNKNOWN";
    REASON_MEM_ACCESS = 1, "VM_EVENT_REASON_MEM_ACCESS";
    REASON_MEM_SHARING = 2, "VM_EVENT_REASON_MEM_SHARING";
    REASON_MEM_PAGING = 3, "VM_EVENT_REASON_MEM_PAGING";
    REASON_WRITE_CTRLREG = 4, "VM_EVENT_REASON_WRITE_CTRLREG";
    REASON_MOV_TO_MSR = 5, "VM_EVENT_REASON_MOV_TO_MSR";
    REASON_SOFTWARE_BREAKPOINT = 6, "VM_EVENT_REASON_SOFTWARE_BREAKPOINT";
    REASON_SINGLESTEP = 7, "VM_EVENT_REASON_SINGLESTEP";
    REASON_GUEST_REQUEST = 8, "VM_EVENT_REASON_GUEST_REQUEST";
    REASON_DEBUG_EXCEPTION = 9, "VM_EVENT_REASON_DEBUG_EXCEPTION";
    REASON_CPUID = 10, "VM_EVENT_REASON_CPUID";
    REASON_PRIVILEGED_CALL = 11, "VM_EVENT_REASON_PRIVILEGED_CALL";
    REASON_INTERRUPT = 12, "VM_EVENT_REASON_INTERRUPT";
    REASON_DESCRIPTOR_ACCESS = 13, "VM_EVENT_REASON_DESCRIPTOR_ACCESS";
    REASON_EMUL_UNIMPLEMENTED = 14, "VM_EVENT_REASON_EMUL_UNIMPLEMENTED";
    REASON_VMEXIT = 15, "VM_EVENT_REASON_VMEXIT";
    X86_CR0 = 0, "VM_EVENT_X86_CR0";
    X86_CR3 = 1, "VM_EVENT_X86_CR3";
    X86_CR4 = 2, "VM_EVENT_X86_CR4";
    X86_XCR0 = 3, "VM_EVENT_X86_XCR0";
    MEM_ACCESS_R = 1 << 0;
    MEM_ACCESS_W = 1 << 1;
    MEM_ACCESS_X = 1 << 2;
    MEM_ACCESS_RWX = 7;
    MEM_ACCESS_RW = 3;
    MEM_ACCESS_RX = 5;
    MEM_ACCESS_WX = 6;
    MEM_ACCESS_GLA_VALID = 1 << 3;
    MEM_ACCESS_FAULT_WITH_GLA = 1 << 4;
    MEM_ACCESS_FAULT_IN_GPT = 1 << 5;
    DESC_IDTR = 1, "VM_EVENT_DESC_IDTR";
    DESC_GDTR = 2, "VM_EVENT_DESC_GDTR";
    DESC_LDTR = 3, "VM_EVENT_DESC_LDTR";
    DESC_TR = 4, "VM_EVENT_DESC_TR";
    MEM_PAGING_DROP_PAGE = 1 << 0;
    MEM_PAGING_EVICT_FAIL = 1 << 1;
}

/// The registers of the vCPU.
#[doc(alias = "vm_event_regs_x86")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegsX86 {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rbx: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rflags: u64,
    pub dr6: u64,
    pub dr7: u64,
    pub rip: u64,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub msr_efer: u64,
    pub msr_star: u64,
    pub msr_lstar: u64,
    pub gdtr_base: u64,
    pub npt_base: u64,
    pub vmtrace_pos: u64,
    pub cs_base: u32,
    pub ss_base: u32,
    pub ds_base: u32,
    pub es_base: u32,
    pub fs_base: u64,
    pub gs_base: u64,
    pub cs: X86SelectorReg,
    pub ss: X86SelectorReg,
    pub ds: X86SelectorReg,
    pub es: X86SelectorReg,
    pub fs: X86SelectorReg,
    pub gs: X86SelectorReg,
    pub shadow_gs: u64,
    pub gdtr_limit: u16,
    pub cs_sel: u16,
    pub ss_sel: u16,
    pub ds_sel: u16,
    pub es_sel: u16,
    pub fs_sel: u16,
    pub gs_sel: u16,
    pub _pad: u16,
}

/// An access that the settings forbid.
#[doc(alias = "vm_event_mem_access")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemAccess {
    pub gfn: u64,
    pub offset: u64,
    pub gla: u64,
    pub flags: u32,
    pub _pad: u32,
}

/// A write to a control register.
#[doc(alias = "vm_event_write_ctrlreg")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct WriteCtrlreg {
    pub index: u32,
    pub _pad: u32,
    pub new_value: u64,
    pub old_value: u64,
}

/// An instruction was stepped.
#[doc(alias = "vm_event_singlestep")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Singlestep {
    pub gfn: u64,
}

/// The view to step in.
#[doc(alias = "vm_event_fast_singlestep")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FastSinglestep {
    pub p2midx: u16,
}

/// A breakpoint or debug exception.
#[doc(alias = "vm_event_debug")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Debug {
    pub gfn: u64,
    pub pending_dbg: u64,
    pub insn_length: u32,
    #[doc(alias = "type")]
    pub kind: u8,
    pub _pad: [u8; 3],
}

/// A write to an MSR.
#[doc(alias = "vm_event_mov_to_msr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MovToMsr {
    pub msr: u64,
    pub new_value: u64,
    pub old_value: u64,
}

/// An access to a descriptor table register.
#[doc(alias = "vm_event_desc_access")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DescAccess {
    pub arch: DescAccessArch,
    pub descriptor: u8,
    pub is_write: u8,
    pub _pad: [u8; 6],
}

crate::macros::union! {
    /// The union `vm_event_desc_access.arch`.
    DescAccessArch: [u64; 2], "vm_event_desc_access.arch" {
        vmx: DescAccessArchVmx,
    }
}

/// The member `vm_event_desc_access.arch.vmx`.
#[doc(alias = "vm_event_desc_access.arch.vmx")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DescAccessArchVmx {
    pub instr_info: u32,
    pub _pad1: u32,
    pub exit_qualification: u64,
}

/// A `cpuid`.
#[doc(alias = "vm_event_cpuid")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Cpuid {
    pub insn_length: u32,
    pub leaf: u32,
    pub subleaf: u32,
    pub _pad: u32,
}

/// An interrupt about to be delivered.
#[doc(alias = "vm_event_interrupt_x86")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InterruptX86 {
    pub vector: u32,
    #[doc(alias = "type")]
    pub kind: u32,
    pub error_code: u32,
    pub _pad: u32,
    pub cr2: u64,
}

/// A frame that is paged out.
#[doc(alias = "vm_event_paging")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Paging {
    pub gfn: u64,
    pub p2mt: u32,
    pub flags: u32,
}

/// A shared frame could not be unshared.
#[doc(alias = "vm_event_sharing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Sharing {
    pub gfn: u64,
    pub p2mt: u32,
    pub _pad: u32,
}

/// What an emulated read gives.
#[doc(alias = "vm_event_emul_read_data")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EmulReadData {
    pub size: u32,
    pub data: [u8; 340],
}

/// The instruction to emulate.
#[doc(alias = "vm_event_emul_insn_data")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EmulInsnData {
    pub data: [u8; 16],
}

/// An exit of the CPU from the guest.
#[doc(alias = "vm_event_vmexit")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Vmexit {
    pub arch: VmexitArch,
}

/// The member `vm_event_vmexit.arch`.
#[doc(alias = "vm_event_vmexit.arch")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VmexitArch {
    pub vmx: VmexitArchVmx,
}

/// The member `vm_event_vmexit.arch.vmx`.
#[doc(alias = "vm_event_vmexit.arch.vmx")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VmexitArchVmx {
    pub reason: u64,
    pub qualification: u64,
}

/// An event, and the answer to it.
#[doc(alias = "vm_event_st")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VmEvent {
    pub version: u32,
    pub flags: u32,
    pub reason: u32,
    pub vcpu_id: u32,
    pub altp2m_idx: u16,
    pub _pad: [u16; 3],
    pub u: VmEventUnion,
    pub data: VmEventData,
}

crate::macros::union! {
    /// The union `vm_event_st.u`.
    VmEventUnion: [u64; 4], "vm_event_st.u" {
        mem_paging: Paging,
        mem_sharing: Sharing,
        mem_access: MemAccess,
        write_ctrlreg: WriteCtrlreg,
        mov_to_msr: MovToMsr,
        desc_access: DescAccess,
        singlestep: Singlestep,
        fast_singlestep: FastSinglestep,
        software_breakpoint: Debug,
        debug_exception: Debug,
        cpuid: Cpuid,
        vmexit: Vmexit,
        interrupt: VmEventInterrupt,
    }
}

crate::macros::union! {
    /// The union `vm_event_st.u.interrupt`.
    VmEventInterrupt: [u64; 3], "vm_event_st.u.interrupt" {
        x86: InterruptX86,
    }
}

crate::macros::union! {
    /// The union `vm_event_st.data`.
    VmEventData: [u64; 43], "vm_event_st.data" {
        regs: VmEventDataRegs,
        emul: VmEventDataEmul,
    }
}

crate::macros::union! {
    /// The union `vm_event_st.data.regs`.
    VmEventDataRegs: [u64; 43], "vm_event_st.data.regs" {
        x86: RegsX86,
        arm: [u64; 5],
    }
}

crate::macros::union! {
    /// The union `vm_event_st.data.emul`.
    VmEventDataEmul: [u32; 86], "vm_event_st.data.emul" {
        read: EmulReadData,
        insn: EmulInsnData,
    }
}

/// The hidden part of a segment register, packed.
#[doc(alias = "vm_event_x86_selector_reg")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct X86SelectorReg {
    /// `limit` in bits 0 to 19, `ar` (access rights) in bits 20 to 31.
    pub bits: u32,
}
