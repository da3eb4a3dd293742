//! The state in which an HVM vCPU starts.
//!
//! Source: `public/hvm/hvm_vcpu.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u32;
    MODE_32B = 0, "VCPU_HVM_MODE_32B";
    MODE_64B = 1, "VCPU_HVM_MODE_64B";
}

/// Registers of a vCPU that starts in 32-bit mode.
#[doc(alias = "vcpu_hvm_x86_32")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VcpuHvmX86_32 {
    pub eax: u32,
    pub ecx: u32,
    pub edx: u32,
    pub ebx: u32,
    pub esp: u32,
    pub ebp: u32,
    pub esi: u32,
    pub edi: u32,
    pub eip: u32,
    pub eflags: u32,
    pub cr0: u32,
    pub cr3: u32,
    pub cr4: u32,
    pub pad1: u32,
    pub efer: u64,
    pub cs_base: u32,
    pub ds_base: u32,
    pub ss_base: u32,
    pub es_base: u32,
    pub tr_base: u32,
    pub cs_limit: u32,
    pub ds_limit: u32,
    pub ss_limit: u32,
    pub es_limit: u32,
    pub tr_limit: u32,
    pub cs_ar: u16,
    pub ds_ar: u16,
    pub ss_ar: u16,
    pub es_ar: u16,
    pub tr_ar: u16,
    pub pad2: [u16; 3],
}

/// Registers of a vCPU that starts in 64-bit mode.
#[doc(alias = "vcpu_hvm_x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VcpuHvmX86_64 {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rbx: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rip: u64,
    pub rflags: u64,
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
}

/// The argument of `VCPUOP_initialise` for HVM vCPUs.
#[doc(alias = "vcpu_hvm_context")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VcpuHvmContext {
    pub mode: u32,
    pub pad: u32,
    pub cpu_regs: VcpuHvmContextCpuRegs,
}

crate::macros::union! {
    /// The union `vcpu_hvm_context.cpu_regs`.
    VcpuHvmContextCpuRegs: [u64; 15], "vcpu_hvm_context.cpu_regs" {
        x86_32: VcpuHvmX86_32,
        x86_64: VcpuHvmX86_64,
    }
}
