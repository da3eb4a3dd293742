//! The whole state of a paravirtual vCPU: `VCPUOP_initialise`, `XEN_DOMCTL_setvcpucontext`.
//!
//! Source: `public/arch-x86/xen.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cpu_user_regs::CpuUserRegs;
use crate::trap::TrapInfo;

crate::macros::constants! { u64;
    VGCF_IN_SYSCALL = 256;
    VGCF_I387_VALID = 1 << 0;
    VGCF_IN_KERNEL = 1 << 2;
    VGCF_FAILSAFE_DISABLES_EVENTS = 1 << 3, "VGCF_failsafe_disables_events";
    VGCF_SYSCALL_DISABLES_EVENTS = 1 << 4, "VGCF_syscall_disables_events";
    VGCF_ONLINE = 1 << 5, "VGCF_online";
}

/// The state of a paravirtual vCPU.
#[doc(alias = "vcpu_guest_context")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VcpuGuestContext {
    pub fpu_ctxt: VcpuGuestContextFpuCtxt,
    pub flags: u64,
    pub user_regs: CpuUserRegs,
    pub trap_ctxt: [TrapInfo; 256],
    pub ldt_base: u64,
    pub ldt_ents: u64,
    pub gdt_frames: [u64; 16],
    pub gdt_ents: u64,
    pub kernel_ss: u64,
    pub kernel_sp: u64,
    pub ctrlreg: [u64; 8],
    pub debugreg: [u64; 8],
    pub event_callback_eip: u64,
    pub failsafe_callback_eip: u64,
    pub syscall_callback_eip: u64,
    pub vm_assist: u64,
    pub fs_base: u64,
    pub gs_base_kernel: u64,
    pub gs_base_user: u64,
}

/// The member `vcpu_guest_context.fpu_ctxt`.
#[doc(alias = "vcpu_guest_context.fpu_ctxt")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VcpuGuestContextFpuCtxt {
    pub x: [u8; 512],
}
