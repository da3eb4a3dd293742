//! Instructions that write to memory, as far as kernels use them on page tables.

use crate::fetch::{Instruction, Opcode, RmOperand};
use crate::operand::{Gpr, MemoryOperand, Register, Segment, Source, Width};
use crate::{DecodeError, Mode};

/// An arithmetic or logical operation of two operands, by its number in opcodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alu {
    /// Addition.
    Add,
    /// Or.
    Or,
    /// Addition with carry.
    Adc,
    /// Subtraction with borrow.
    Sbb,
    /// And.
    And,
    /// Subtraction.
    Sub,
    /// Exclusive or.
    Xor,
}

impl Alu {
    /// The operation of an opcode's bits 3–5 or a ModRM extension; `cmp` (7) does not write.
    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Add,
            1 => Self::Or,
            2 => Self::Adc,
            3 => Self::Sbb,
            4 => Self::And,
            5 => Self::Sub,
            6 => Self::Xor,
            _ => return None,
        })
    }
}

/// An operation of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// Plus one.
    Inc,
    /// Minus one.
    Dec,
    /// All bits inverted.
    Not,
    /// Zero minus it.
    Neg,
}

/// What is done to a bit, once it is in the carry flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bit {
    /// It is set (`bts`).
    Set,
    /// It is cleared (`btr`).
    Reset,
    /// It is inverted (`btc`).
    Complement,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// A value (`mov`, `movnti`).
    Store(Source),
    /// A register, which gets the old value (`xchg`).
    Exchange(Register),
    /// A register, if the old value is the accumulator's (`cmpxchg`).
    CompareExchange(Register),
    /// ecx:ebx, if the old value is edx:eax (`cmpxchg8b`).
    CompareExchangePair,
    /// The sum with a register, which gets the old value (`xadd`).
    ExchangeAdd(Register),
    /// The result of an operation with another value.
    Alu(Alu, Source),
    /// The result of an operation without another value.
    Unary(Unary),
    /// The old value with one bit changed. A register counts bits from the operand's address on, up
    /// and down; an immediate within the operand.
    Bit(Bit, Source),
    /// The accumulator, to es:rdi (`stos`).
    StoreString {
        /// As often as rcx says.
        repeat: bool,
    },
    /// What is at this segment's rsi, to es:rdi (`movs`).
    MoveString {
        /// As often as rcx says.
        repeat: bool,
        /// The source's segment.
        segment: Segment,
    },
}

/// A decoded instruction that writes to memory, in long mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableWrite {
    /// What is written.
    pub kind: WriteKind,
    /// Where to.
    pub destination: MemoryOperand,
    /// How much.
    pub width: Width,
    /// The instruction's length in bytes.
    pub length: u8,
}

/// Decodes the memory-writing instruction at the start of `bytes`, read in long mode.
///
/// # Errors
/// Anything else. Writes of more than eight bytes (`cmpxchg16b`, vector stores) are refused: two table
/// entries cannot be validated and changed at once.
pub fn decode_write(bytes: &[u8]) -> Result<TableWrite, DecodeError> {
    let mut instruction = Instruction::parse(bytes, Mode::Long)?;
    let (kind, destination, width) = match instruction.opcode {
        Opcode::One(opcode) => one_byte(&mut instruction, opcode)?,
        Opcode::Two(opcode) => two_byte(&mut instruction, opcode)?,
    };
    if instruction.lock && !may_lock(&kind) {
        return Err(DecodeError::NotEmulated);
    }
    Ok(TableWrite {
        kind,
        destination,
        width,
        length: instruction.length(),
    })
}

/// Whether the processor takes a lock prefix on it.
fn may_lock(kind: &WriteKind) -> bool {
    !matches!(
        kind,
        WriteKind::Store(_) | WriteKind::StoreString { .. } | WriteKind::MoveString { .. }
    )
}

type Decoded = (WriteKind, MemoryOperand, Width);

fn one_byte(instruction: &mut Instruction<'_>, opcode: u8) -> Result<Decoded, DecodeError> {
    let width = instruction.width_by(opcode);
    Ok(match opcode {
        // Arithmetic with a register as the source: 0x00, 0x01, 0x08, 0x09 … 0x31.
        0x00..=0x31 if opcode & 6 == 0 => {
            let alu = Alu::from_number(opcode >> 3).ok_or(DecodeError::NotEmulated)?;
            let (register, memory) = register_and_memory(instruction, width)?;
            (
                WriteKind::Alu(alu, Source::Register(register)),
                memory,
                width,
            )
        }
        0x80 | 0x81 | 0x83 => {
            let (extension, memory) = extension_and_memory(instruction)?;
            let alu = Alu::from_number(extension).ok_or(DecodeError::NotEmulated)?;
            let value = if opcode == 0x81 {
                instruction.immediate(width)?
            } else {
                instruction.immediate_byte()?
            };
            (WriteKind::Alu(alu, Source::Immediate(value)), memory, width)
        }
        0x86 | 0x87 => {
            let (register, memory) = register_and_memory(instruction, width)?;
            (WriteKind::Exchange(register), memory, width)
        }
        0x88 | 0x89 => {
            let (register, memory) = register_and_memory(instruction, width)?;
            (WriteKind::Store(Source::Register(register)), memory, width)
        }
        0xa2 | 0xa3 => {
            let accumulator = Source::Register(Register::low(Gpr::RAX));
            (
                WriteKind::Store(accumulator),
                instruction.absolute()?,
                width,
            )
        }
        0xa4 | 0xa5 => {
            let kind = WriteKind::MoveString {
                repeat: instruction.repeat.is_some(),
                segment: instruction.data_segment(),
            };
            (kind, string_destination(instruction)?, width)
        }
        0xaa | 0xab => {
            let kind = WriteKind::StoreString {
                repeat: instruction.repeat.is_some(),
            };
            (kind, string_destination(instruction)?, width)
        }
        0xc6 | 0xc7 => {
            let (extension, memory) = extension_and_memory(instruction)?;
            if extension != 0 {
                return Err(DecodeError::NotEmulated);
            }
            let value = Source::Immediate(instruction.immediate(width)?);
            (WriteKind::Store(value), memory, width)
        }
        0xf6 | 0xf7 | 0xfe | 0xff => {
            let (extension, memory) = extension_and_memory(instruction)?;
            let unary = match (opcode & 0x08 != 0, extension) {
                (false, 2) => Unary::Not,
                (false, 3) => Unary::Neg,
                (true, 0) => Unary::Inc,
                (true, 1) => Unary::Dec,
                _ => return Err(DecodeError::NotEmulated),
            };
            (WriteKind::Unary(unary), memory, width)
        }
        _ => return Err(DecodeError::NotEmulated),
    })
}

fn two_byte(instruction: &mut Instruction<'_>, opcode: u8) -> Result<Decoded, DecodeError> {
    let width = instruction.width_by(opcode);
    Ok(match opcode {
        0xab | 0xb3 | 0xbb => {
            let bit = match opcode {
                0xab => Bit::Set,
                0xb3 => Bit::Reset,
                _ => Bit::Complement,
            };
            let (register, memory) = register_and_memory(instruction, width)?;
            (
                WriteKind::Bit(bit, Source::Register(register)),
                memory,
                width,
            )
        }
        0xb0 | 0xb1 => {
            let (register, memory) = register_and_memory(instruction, width)?;
            (WriteKind::CompareExchange(register), memory, width)
        }
        0xba => {
            let width = instruction.width();
            let (extension, memory) = extension_and_memory(instruction)?;
            let bit = match extension {
                5 => Bit::Set,
                6 => Bit::Reset,
                7 => Bit::Complement,
                _ => return Err(DecodeError::NotEmulated),
            };
            let number = Source::Immediate(instruction.immediate_byte()?);
            (WriteKind::Bit(bit, number), memory, width)
        }
        0xc0 | 0xc1 => {
            let (register, memory) = register_and_memory(instruction, width)?;
            (WriteKind::ExchangeAdd(register), memory, width)
        }
        // movnti knows no prefix that changes its size but REX.W.
        0xc3 if !instruction.operand_size_prefix && instruction.repeat.is_none() => {
            let (register, memory) = register_and_memory(instruction, width)?;
            (WriteKind::Store(Source::Register(register)), memory, width)
        }
        0xc7 => {
            let (extension, memory) = extension_and_memory(instruction)?;
            if extension != 1 || instruction.rex_w() {
                return Err(DecodeError::NotEmulated);
            }
            (WriteKind::CompareExchangePair, memory, Width::Quad)
        }
        _ => return Err(DecodeError::NotEmulated),
    })
}

fn register_and_memory(
    instruction: &mut Instruction<'_>,
    width: Width,
) -> Result<(Register, MemoryOperand), DecodeError> {
    let mod_rm = instruction.mod_rm()?;
    match mod_rm.rm {
        RmOperand::Memory(memory) => Ok((instruction.register(mod_rm.reg, width), memory)),
        RmOperand::Register => Err(DecodeError::NotEmulated),
    }
}

fn extension_and_memory(
    instruction: &mut Instruction<'_>,
) -> Result<(u8, MemoryOperand), DecodeError> {
    let mod_rm = instruction.mod_rm()?;
    match mod_rm.rm {
        RmOperand::Memory(memory) => Ok((mod_rm.extension, memory)),
        RmOperand::Register => Err(DecodeError::NotEmulated),
    }
}

/// es:rdi, which no prefix overrides.
fn string_destination(instruction: &Instruction<'_>) -> Result<MemoryOperand, DecodeError> {
    Ok(MemoryOperand {
        segment: Segment::Es,
        base: Some(Gpr::RDI),
        index: None,
        displacement: 0,
        rip_relative: false,
        narrow: instruction.narrow_addresses()?,
    })
}
