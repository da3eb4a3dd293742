//! Registers as the interface shows them (`public/arch-x86/xen-x86_64.h`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A vCPU's general registers. The C fields are unions of a register's names of all widths; here each has its
/// 64-bit name.
#[doc(alias = "cpu_user_regs")]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
#[expect(missing_docs, reason = "registers, by their names")]
pub struct CpuUserRegs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// Of the last trap. The hypervisor's own; guests see zero.
    pub error_code: u32,
    /// Of the last trap. The hypervisor's own; guests see zero.
    pub entry_vector: u32,
    pub rip: u64,
    pub cs: u16,
    pub _pad0: [u16; 1],
    /// The event channel mask of the vCPU when the frame was made; in the guest's frame, the byte behind `cs`.
    pub saved_upcall_mask: u8,
    pub _pad1: [u8; 3],
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u16,
    pub _pad2: [u16; 3],
    pub es: u16,
    pub _pad3: [u16; 3],
    pub ds: u16,
    pub _pad4: [u16; 3],
    pub fs: u16,
    pub _pad5: [u16; 3],
    pub gs: u16,
    pub _pad6: [u16; 3],
}

/// What is on the guest kernel's stack when it calls `__HYPERVISOR_iret`. `rax` was pushed last.
#[doc(alias = "iret_context")]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
#[expect(missing_docs, reason = "registers, by their names")]
pub struct IretContext {
    pub rax: u64,
    pub r11: u64,
    pub rcx: u64,
    /// `VGCF_IN_SYSCALL`: return by `sysret`, which does not restore rcx and r11.
    pub flags: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}
