//! Results and flags of arithmetic.

use crate::operand::Width;
use crate::table_write::{Alu, Bit, Unary};

/// The carry flag.
pub(crate) const CF: u64 = 1 << 0;
/// The parity flag: the low byte has an even number of ones.
pub(crate) const PF: u64 = 1 << 2;
/// The carry out of bit 3.
pub(crate) const AF: u64 = 1 << 4;
/// The zero flag.
pub(crate) const ZF: u64 = 1 << 6;
/// The sign flag.
pub(crate) const SF: u64 = 1 << 7;
/// The direction flag.
pub(crate) const DF: u64 = 1 << 10;
/// The overflow flag.
pub(crate) const OF: u64 = 1 << 11;
/// The resume flag, which every completed instruction clears.
pub(crate) const RF: u64 = 1 << 16;

const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;

/// A result and the flags with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Computed {
    pub(crate) value: u64,
    pub(crate) flags: u64,
}

fn when(condition: bool, flag: u64) -> u64 {
    if condition { flag } else { 0 }
}

/// ZF, SF and PF of a result that is cut to `width`.
fn of_result(value: u64, width: Width) -> u64 {
    when(value == 0, ZF)
        | when(value & width.sign_bit() != 0, SF)
        | when((value as u8).count_ones() & 1 == 0, PF)
}

fn add(left: u64, right: u64, carry: u64, width: Width) -> (u64, u64) {
    let wide = u128::from(left) + u128::from(right) + u128::from(carry);
    let value = wide as u64 & width.mask();
    let overflow = (left ^ value) & (right ^ value) & width.sign_bit() != 0;
    let flags = of_result(value, width)
        | when(wide > u128::from(width.mask()), CF)
        | when((left ^ right ^ value) & 0x10 != 0, AF)
        | when(overflow, OF);
    (value, flags)
}

fn subtract(left: u64, right: u64, borrow: u64, width: Width) -> (u64, u64) {
    let value = left.wrapping_sub(right).wrapping_sub(borrow) & width.mask();
    let overflow = (left ^ right) & (left ^ value) & width.sign_bit() != 0;
    let flags = of_result(value, width)
        | when(
            u128::from(left) < u128::from(right) + u128::from(borrow),
            CF,
        )
        | when((left ^ right ^ value) & 0x10 != 0, AF)
        | when(overflow, OF);
    (value, flags)
}

/// The two operands are cut to `width`; `flags` are those before.
pub(crate) fn binary(alu: Alu, left: u64, right: u64, width: Width, flags: u64) -> Computed {
    let carry = flags & CF;
    let (value, new) = match alu {
        Alu::Add => add(left, right, 0, width),
        Alu::Adc => add(left, right, carry, width),
        Alu::Sub => subtract(left, right, 0, width),
        Alu::Sbb => subtract(left, right, carry, width),
        Alu::And => (left & right, of_result(left & right, width)),
        Alu::Or => (left | right, of_result(left | right, width)),
        Alu::Xor => (left ^ right, of_result(left ^ right, width)),
    };
    Computed {
        value,
        flags: (flags & !ARITHMETIC) | new,
    }
}

pub(crate) fn unary(unary: Unary, value: u64, width: Width, flags: u64) -> Computed {
    let (value, new, changed) = match unary {
        Unary::Inc => {
            let (value, new) = add(value, 1, 0, width);
            (value, new, ARITHMETIC & !CF)
        }
        Unary::Dec => {
            let (value, new) = subtract(value, 1, 0, width);
            (value, new, ARITHMETIC & !CF)
        }
        Unary::Neg => {
            let (value, new) = subtract(0, value, 0, width);
            (value, new, ARITHMETIC)
        }
        Unary::Not => (!value & width.mask(), 0, 0),
    };
    Computed {
        value,
        flags: (flags & !changed) | (new & changed),
    }
}

/// Changes the bit with this number (below the width), whose old value becomes the carry flag.
pub(crate) fn bit(bit: Bit, value: u64, number: u32, flags: u64) -> Computed {
    let mask = 1_u64.checked_shl(number).unwrap_or(0);
    let new = match bit {
        Bit::Set => value | mask,
        Bit::Reset => value & !mask,
        Bit::Complement => value ^ mask,
    };
    Computed {
        value: new,
        flags: (flags & !CF) | when(value & mask != 0, CF),
    }
}
