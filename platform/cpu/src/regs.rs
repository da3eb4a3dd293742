//! Registers as the entry code saves them, and why a guest stopped.

/// A guest's registers, in the order of `struct cpu_user_regs` (public/arch-x86/xen-x86_64.h), which is also
/// the order in which the entry code pushes them.
#[doc(alias = "cpu_user_regs")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the registers'")]
pub struct GuestRegs {
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
    /// Error code of the last exit, if its vector has one.
    pub error_code: u32,
    /// How the guest stopped last ([`vector`]). [`vector::SYSCALL`] lets the return use `sysret`.
    pub entry_vector: u32,
    pub rip: u64,
    pub cs: u16,
    pub _pad0: u16,
    pub saved_upcall_mask: u8,
    pub _pad1: [u8; 3],
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u16,
    pub _pad2: [u16; 3],
    /// Where the registers that the CPU pushes end. This and the following selectors are for the ABI
    /// only: the segment registers themselves always hold the guest's values.
    pub es: u16,
    pub _pad3: [u16; 3],
    pub ds: u16,
    pub _pad4: [u16; 3],
    pub fs: u16,
    pub _pad5: [u16; 3],
    pub gs: u16,
    pub _pad6: [u16; 3],
}

const _: () = assert!(size_of::<GuestRegs>() == 200);

/// Values of [`GuestRegs::entry_vector`] above those of the interrupt descriptor table.
pub mod vector {
    /// `syscall` from 64-bit code.
    pub const SYSCALL: u32 = 0x100;
    /// `syscall` from compatibility mode.
    pub const SYSCALL32: u32 = 0x101;
    /// `sysenter`.
    pub const SYSENTER: u32 = 0x102;
    /// Added to the vector of a fault of the return to the guest.
    pub const RETURN_FAULT: u32 = 0x200;
}

/// Why a guest stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// `syscall` from 64-bit code: a hypercall of its kernel, or a system call of its program.
    Syscall,
    /// `syscall` from compatibility mode.
    Syscall32,
    /// `sysenter`: `rip` and `rsp` are 0, the CPU does not save them.
    Sysenter,
    /// An exception. `int n` with a closed gate is #GP with bit 1 of the error code set.
    Exception {
        /// 0–31, but for NMI and #MC.
        vector: u8,
        /// 0 if the vector has none.
        error_code: u32,
    },
    /// An interrupt.
    Interrupt {
        /// 32–255.
        vector: u8,
    },
    /// A non-maskable interrupt came while the guest ran. It is the hypervisor's, not the guest's.
    Nmi,
    /// A machine check came while the guest ran.
    MachineCheck,
    /// The guest did not start: its code or stack selector, `rip` or flags cannot be returned to.
    ReturnFault {
        /// #GP, #NP, #SS or, if a descriptor's page was not present, #PF.
        vector: u8,
        /// The fault's error code.
        error_code: u32,
    },
}

impl Exit {
    /// Decodes what the entry code returns: the error code, and the entry vector in the upper half.
    #[inline]
    pub(crate) fn decode(raw: u64) -> Self {
        let error_code = raw as u32;
        let vector = (raw >> 32) as u32;
        if vector == vector::SYSCALL {
            return Self::Syscall;
        }
        match vector {
            32..=255 => Self::Interrupt {
                vector: vector as u8,
            },
            2 => Self::Nmi,
            18 => Self::MachineCheck,
            0..=31 => Self::Exception {
                vector: vector as u8,
                error_code,
            },
            vector::SYSCALL32 => Self::Syscall32,
            vector::SYSENTER => Self::Sysenter,
            _ => Self::ReturnFault {
                vector: vector as u8,
                error_code,
            },
        }
    }
}

/// Registers of the hypervisor where an exception, NMI or machine check hit it. Also those of a guest, if
/// the stack of a double fault or machine check was entered from one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the registers'")]
pub struct HostFrame {
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
    pub error_code: u32,
    pub vector: u32,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = assert!(size_of::<HostFrame>() == core::mem::offset_of!(GuestRegs, es));

impl HostFrame {
    /// Whether ring 3 was interrupted.
    pub fn from_guest(&self) -> bool {
        self.cs & 3 == 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_decode() {
        let raw = |vector: u32, error: u32| u64::from(vector) << 32 | u64::from(error);
        assert_eq!(Exit::decode(raw(vector::SYSCALL, 0)), Exit::Syscall);
        assert_eq!(
            Exit::decode(raw(14, 7)),
            Exit::Exception {
                vector: 14,
                error_code: 7
            }
        );
        assert_eq!(Exit::decode(raw(255, 0)), Exit::Interrupt { vector: 255 });
        assert_eq!(Exit::decode(raw(2, 0)), Exit::Nmi);
        assert_eq!(
            Exit::decode(raw(vector::RETURN_FAULT | 13, 0xe008)),
            Exit::ReturnFault {
                vector: 13,
                error_code: 0xe008
            }
        );
    }
}
