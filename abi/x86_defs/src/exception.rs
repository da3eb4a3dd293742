//! Exception vectors and error codes (SDM 3A §6.3, §6.13).

use core::fmt;

/// A vector of an exception, 0 to 31.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Exception(pub u8);

macro_rules! exceptions {
    ($($(#[$meta:meta])* $name:ident = $vector:literal, $mnemonic:literal;)*) => {
        impl Exception {
            $($(#[$meta])* pub const $name: Self = Self($vector);)*

            /// As manuals write it, `#PF`.
            pub const fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($vector => Some($mnemonic),)*
                    _ => None,
                }
            }
        }
    };
}

exceptions! {
    /// Divide error.
    DIVIDE_ERROR = 0, "#DE";
    /// Debug: breakpoint registers, single step.
    DEBUG = 1, "#DB";
    /// Non-maskable interrupt.
    NMI = 2, "NMI";
    /// `int3`.
    BREAKPOINT = 3, "#BP";
    /// `into`.
    OVERFLOW = 4, "#OF";
    /// `bound`.
    BOUND_RANGE = 5, "#BR";
    /// Invalid opcode.
    INVALID_OPCODE = 6, "#UD";
    /// FPU not available: CR0.TS or CR0.EM.
    DEVICE_NOT_AVAILABLE = 7, "#NM";
    /// An exception in the delivery of an exception.
    DOUBLE_FAULT = 8, "#DF";
    /// Of the 80387.
    COPROCESSOR_SEGMENT = 9, "#MP";
    /// Invalid TSS.
    INVALID_TSS = 10, "#TS";
    /// Segment not present.
    SEGMENT_NOT_PRESENT = 11, "#NP";
    /// Stack segment fault.
    STACK_SEGMENT = 12, "#SS";
    /// General protection fault.
    GENERAL_PROTECTION = 13, "#GP";
    /// Page fault.
    PAGE_FAULT = 14, "#PF";
    /// The legacy interrupt controller's spurious interrupt, as set up by old firmware.
    SPURIOUS = 15, "#SPV";
    /// x87 error.
    X87 = 16, "#MF";
    /// Alignment check.
    ALIGNMENT_CHECK = 17, "#AC";
    /// Machine check.
    MACHINE_CHECK = 18, "#MC";
    /// SIMD error.
    SIMD = 19, "#XM";
    /// Virtualisation exception.
    VIRTUALIZATION = 20, "#VE";
    /// Control protection.
    CONTROL_PROTECTION = 21, "#CP";
    /// AMD: hypervisor injection.
    HYPERVISOR_INJECTION = 28, "#HV";
    /// AMD: VMM communication.
    VMM_COMMUNICATION = 29, "#VC";
    /// AMD: security.
    SECURITY = 30, "#SX";
}

impl Exception {
    /// How many vectors are the CPU's.
    pub const COUNT: u8 = 32;

    /// Whether the CPU pushes an error code.
    pub const fn has_error_code(self) -> bool {
        matches!(self.0, 8 | 10..=14 | 17 | 21 | 29 | 30)
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.write_str(mnemonic),
            None => write!(f, "vector {}", self.0),
        }
    }
}

impl fmt::Debug for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error code of #TS, #NP, #SS and #GP: the selector in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct SelectorErrorCode(pub u32);

impl SelectorErrorCode {
    /// Outside of the program: in the delivery of an interrupt or an earlier exception.
    pub const EXTERNAL: u32 = 1 << 0;
    /// The index is one of the IDT.
    pub const IDT: u32 = 1 << 1;
    /// The index is one of the LDT; valid if `IDT` is clear.
    pub const LDT: u32 = 1 << 2;

    /// The index of the descriptor or gate.
    pub const fn index(self) -> u16 {
        (self.0 >> 3) as u16 & 0x1fff
    }

    /// The vector of the software interrupt (`int n`) that a gate refused, if that is what the code says.
    pub const fn software_interrupt(self) -> Option<u8> {
        if self.0 & Self::IDT != 0 && self.0 & Self::EXTERNAL == 0 && self.index() < 256 {
            Some(self.index() as u8)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_interrupt() {
        assert_eq!(
            SelectorErrorCode(0x80 << 3 | 2).software_interrupt(),
            Some(0x80)
        );
        assert_eq!(SelectorErrorCode(0x80 << 3 | 3).software_interrupt(), None);
        assert_eq!(SelectorErrorCode(0).software_interrupt(), None);
        assert_eq!(SelectorErrorCode(0xe02b).software_interrupt(), None);
    }
}
