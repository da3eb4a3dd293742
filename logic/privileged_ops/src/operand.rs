//! Registers, widths and addresses of operands.

use crate::Registers;

/// The size of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Double,
    /// 64 bits.
    Quad,
}

impl Width {
    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Double => 4,
            Self::Quad => 8,
        }
    }

    /// The size in bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Byte => 8,
            Self::Word => 16,
            Self::Double => 32,
            Self::Quad => 64,
        }
    }

    /// All bits of an operand of this size.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The top bit of an operand of this size.
    pub const fn sign_bit(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// `old` with its low part of this size replaced, as a write to a register does: 32 bits clear
    /// the upper half, narrower ones leave the rest.
    pub const fn merge_register(self, old: u64, value: u64) -> u64 {
        match self {
            Self::Byte | Self::Word => (old & !self.mask()) | (value & self.mask()),
            Self::Double | Self::Quad => value & self.mask(),
        }
    }
}

/// A general-purpose register, by its number in instructions (0 rax, 1 rcx, 2 rdx, 3 rbx, 4 rsp, 5 rbp,
/// 6 rsi, 7 rdi, 8–15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpr(u8);

impl Gpr {
    /// The accumulator.
    pub const RAX: Self = Self(0);
    /// The counter.
    pub const RCX: Self = Self(1);
    /// The port register, and the upper half of pairs.
    pub const RDX: Self = Self(2);
    /// The base register.
    pub const RBX: Self = Self(3);
    /// The stack pointer.
    pub const RSP: Self = Self(4);
    /// The frame pointer.
    pub const RBP: Self = Self(5);
    /// The source of string instructions.
    pub const RSI: Self = Self(6);
    /// The destination of string instructions.
    pub const RDI: Self = Self(7);

    /// The register with this number; the number's low four bits count.
    pub const fn new(number: u8) -> Self {
        Self(number & 15)
    }

    /// The number, below 16.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A register operand: the low part of a register, or one of ah, ch, dh, bh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// The register.
    pub gpr: Gpr,
    /// Bits 8–15 of it, with an operand of one byte.
    pub high_byte: bool,
}

impl Register {
    /// The low part of `gpr`.
    pub const fn low(gpr: Gpr) -> Self {
        Self {
            gpr,
            high_byte: false,
        }
    }

    /// The operand's value.
    pub fn read(self, width: Width, registers: &impl Registers) -> u64 {
        let value = registers.gpr(self.gpr);
        let value = if self.high_byte { value >> 8 } else { value };
        value & width.mask()
    }

    /// Sets the operand.
    pub fn write(self, width: Width, value: u64, registers: &mut impl Registers) {
        let old = registers.gpr(self.gpr);
        let new = if self.high_byte {
            (old & !0xff00) | ((value & 0xff) << 8)
        } else {
            width.merge_register(old, value)
        };
        registers.set_gpr(self.gpr, new);
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A register.
    Register(Register),
    /// The instruction, sign-extended to 64 bits.
    Immediate(u64),
}

impl Source {
    /// The value, cut to the operand's width.
    pub fn read(self, width: Width, registers: &impl Registers) -> u64 {
        match self {
            Self::Register(register) => register.read(width, registers),
            Self::Immediate(value) => value & width.mask(),
        }
    }
}

/// A segment register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// The extra segment: destination of string instructions.
    Es,
    /// The code segment.
    Cs,
    /// The stack segment.
    Ss,
    /// The data segment.
    Ds,
    /// A data segment with a base in long mode too.
    Fs,
    /// A data segment with a base in long mode too.
    Gs,
}

/// The address of a memory operand, as the instruction gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOperand {
    /// The segment.
    pub segment: Segment,
    /// The base register.
    pub base: Option<Gpr>,
    /// The index register, and the power of two that it is multiplied with.
    pub index: Option<(Gpr, u8)>,
    /// The displacement, sign-extended.
    pub displacement: u64,
    /// The displacement counts from the end of the instruction.
    pub rip_relative: bool,
    /// Addresses are cut to 32 bits (prefix 0x67).
    pub narrow: bool,
}

impl MemoryOperand {
    /// The address within the segment; `next_rip` is that of the following instruction.
    pub fn offset(&self, next_rip: u64, registers: &impl Registers) -> u64 {
        let mut address = self.displacement;
        if self.rip_relative {
            address = address.wrapping_add(next_rip);
        }
        if let Some(base) = self.base {
            address = address.wrapping_add(registers.gpr(base));
        }
        if let Some((index, scale)) = self.index {
            address = address.wrapping_add(registers.gpr(index) << (scale & 3));
        }
        if self.narrow {
            address & 0xffff_ffff
        } else {
            address
        }
    }

    /// The linear address, in long mode: only fs and gs have a base there.
    pub fn linear(&self, next_rip: u64, registers: &impl Registers) -> u64 {
        let offset = self.offset(next_rip, registers);
        match self.segment {
            Segment::Fs | Segment::Gs => offset.wrapping_add(registers.segment_base(self.segment)),
            _ => offset,
        }
    }
}
