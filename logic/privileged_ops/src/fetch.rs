//! Prefixes, opcode, ModRM, SIB, displacements and immediates.

use crate::operand::{Gpr, MemoryOperand, Register, Segment, Width};
use crate::{DecodeError, MAX_LENGTH, Mode};

/// A reader of an instruction's bytes.
struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> Result<u8, DecodeError> {
        if self.position >= MAX_LENGTH {
            return Err(DecodeError::TooLong);
        }
        let byte = self
            .bytes
            .get(self.position)
            .ok_or(DecodeError::Truncated)?;
        self.position += 1;
        Ok(*byte)
    }

    /// A little-endian number of `count` (at most 8) bytes.
    fn number(&mut self, count: u32) -> Result<u64, DecodeError> {
        let mut value = 0;
        for index in 0..count {
            value |= u64::from(self.next()?) << (8 * index);
        }
        Ok(value)
    }
}

/// An opcode: its map and its byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// The one-byte map.
    One(u8),
    /// The map behind 0x0f.
    Two(u8),
}

/// The operand that ModRM's mod and rm fields name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RmOperand {
    /// A register.
    Register,
    /// Memory.
    Memory(MemoryOperand),
}

/// ModRM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModRm {
    /// The byte itself.
    pub(crate) byte: u8,
    /// The reg field, REX.R included.
    pub(crate) reg: u8,
    /// The reg field alone, where it is an opcode's extension.
    pub(crate) extension: u8,
    /// The other operand.
    pub(crate) rm: RmOperand,
}

/// An instruction up to its opcode, and a reader of the rest.
pub(crate) struct Instruction<'a> {
    cursor: Cursor<'a>,
    mode: Mode,
    rex: Option<u8>,
    segment: Option<Segment>,
    pub(crate) operand_size_prefix: bool,
    address_size_prefix: bool,
    pub(crate) lock: bool,
    /// The last of 0xf2 and 0xf3.
    pub(crate) repeat: Option<u8>,
    pub(crate) opcode: Opcode,
}

impl<'a> Instruction<'a> {
    pub(crate) fn parse(bytes: &'a [u8], mode: Mode) -> Result<Self, DecodeError> {
        let mut this = Self {
            cursor: Cursor { bytes, position: 0 },
            mode,
            rex: None,
            segment: None,
            operand_size_prefix: false,
            address_size_prefix: false,
            lock: false,
            repeat: None,
            opcode: Opcode::One(0),
        };
        loop {
            let byte = this.cursor.next()?;
            if mode == Mode::Long && byte & 0xf0 == 0x40 {
                this.rex = Some(byte);
                continue;
            }
            match byte {
                0x26 => this.override_segment(Segment::Es),
                0x2e => this.override_segment(Segment::Cs),
                0x36 => this.override_segment(Segment::Ss),
                0x3e => this.override_segment(Segment::Ds),
                0x64 => this.override_segment(Segment::Fs),
                0x65 => this.override_segment(Segment::Gs),
                0x66 => this.operand_size_prefix = true,
                0x67 => this.address_size_prefix = true,
                0xf0 => this.lock = true,
                0xf2 | 0xf3 => this.repeat = Some(byte),
                0x0f => {
                    this.opcode = Opcode::Two(this.cursor.next()?);
                    return Ok(this);
                }
                _ => {
                    this.opcode = Opcode::One(byte);
                    return Ok(this);
                }
            }
            // A REX prefix counts only right before the opcode.
            this.rex = None;
        }
    }

    /// In long mode the overrides of the segments without a base do nothing, not even undo one of fs
    /// or gs before them.
    fn override_segment(&mut self, segment: Segment) {
        if self.mode == Mode::Compatibility || matches!(segment, Segment::Fs | Segment::Gs) {
            self.segment = Some(segment);
        }
    }

    pub(crate) fn rex_w(&self) -> bool {
        self.rex.is_some_and(|rex| rex & 8 != 0)
    }

    /// The size of non-byte operands.
    pub(crate) fn width(&self) -> Width {
        if self.rex_w() {
            Width::Quad
        } else if self.operand_size_prefix {
            Width::Word
        } else {
            Width::Double
        }
    }

    /// The size of operands where an opcode's low bit chooses between bytes and [`width`](Self::width).
    pub(crate) fn width_by(&self, low_bit: u8) -> Width {
        if low_bit & 1 == 0 {
            Width::Byte
        } else {
            self.width()
        }
    }

    /// Whether addresses are cut to 32 bits; to 16 bits is refused.
    pub(crate) fn narrow_addresses(&self) -> Result<bool, DecodeError> {
        match (self.mode, self.address_size_prefix) {
            (Mode::Long, narrow) => Ok(narrow),
            (Mode::Compatibility, false) => Ok(true),
            (Mode::Compatibility, true) => Err(DecodeError::NotEmulated),
        }
    }

    /// The segment of data whose default is ds.
    pub(crate) fn data_segment(&self) -> Segment {
        self.segment.unwrap_or(Segment::Ds)
    }

    /// Reads the ModRM byte alone; for opcodes that read its mod field as 3.
    pub(crate) fn mod_rm_registers(&mut self) -> Result<(u8, u8), DecodeError> {
        let byte = self.cursor.next()?;
        Ok((self.reg(byte), (byte & 7) | self.rex_bit(0)))
    }

    fn reg(&self, byte: u8) -> u8 {
        ((byte >> 3) & 7) | self.rex_bit(2)
    }

    /// 8 when the bit of the REX prefix is set.
    fn rex_bit(&self, bit: u8) -> u8 {
        self.rex.map_or(0, |rex| ((rex >> bit) & 1) << 3)
    }

    /// Reads ModRM with SIB and displacement.
    pub(crate) fn mod_rm(&mut self) -> Result<ModRm, DecodeError> {
        let byte = self.cursor.next()?;
        let (mode, low) = (byte >> 6, byte & 7);
        let rm = if mode == 3 {
            RmOperand::Register
        } else {
            RmOperand::Memory(self.memory_operand(mode, low)?)
        };
        Ok(ModRm {
            byte,
            reg: self.reg(byte),
            extension: (byte >> 3) & 7,
            rm,
        })
    }

    fn memory_operand(&mut self, mode: u8, low: u8) -> Result<MemoryOperand, DecodeError> {
        let narrow = self.narrow_addresses()?;
        let (mut base, mut index) = (None, None);
        let mut rip_relative = false;
        let mut displacement_bytes = match mode {
            1 => 1,
            2 => 4,
            _ => 0,
        };
        if low == 4 {
            let sib = self.cursor.next()?;
            let index_number = ((sib >> 3) & 7) | self.rex_bit(1);
            if index_number != 4 {
                index = Some((Gpr::new(index_number), sib >> 6));
            }
            if sib & 7 == 5 && mode == 0 {
                displacement_bytes = 4;
            } else {
                base = Some(Gpr::new((sib & 7) | self.rex_bit(0)));
            }
        } else if low == 5 && mode == 0 {
            displacement_bytes = 4;
            rip_relative = self.mode == Mode::Long;
        } else {
            base = Some(Gpr::new(low | self.rex_bit(0)));
        }
        let displacement = match displacement_bytes {
            1 => self.signed(Width::Byte)?,
            4 => self.signed(Width::Double)?,
            _ => 0,
        };
        let default_segment = match base {
            Some(base) if base == Gpr::RSP || base == Gpr::RBP => Segment::Ss,
            _ => Segment::Ds,
        };
        Ok(MemoryOperand {
            segment: self.segment.unwrap_or(default_segment),
            base,
            index,
            displacement,
            rip_relative,
            narrow,
        })
    }

    /// Reads a number of this width and extends its sign.
    fn signed(&mut self, width: Width) -> Result<u64, DecodeError> {
        Ok(match width {
            Width::Byte => self.cursor.number(1)? as i8 as u64,
            Width::Word => self.cursor.number(2)? as i16 as u64,
            Width::Double => self.cursor.number(4)? as i32 as u64,
            Width::Quad => self.cursor.number(8)?,
        })
    }

    /// Reads an immediate of an operand's width: four bytes, sign-extended, where that is eight.
    pub(crate) fn immediate(&mut self, width: Width) -> Result<u64, DecodeError> {
        self.signed(width.min(Width::Double))
    }

    /// Reads an immediate of one byte, sign-extended.
    pub(crate) fn immediate_byte(&mut self) -> Result<u64, DecodeError> {
        self.signed(Width::Byte)
    }

    /// Reads the address of a `moffs` operand.
    pub(crate) fn absolute(&mut self) -> Result<MemoryOperand, DecodeError> {
        let narrow = self.narrow_addresses()?;
        let displacement = self.cursor.number(if narrow { 4 } else { 8 })?;
        Ok(MemoryOperand {
            segment: self.data_segment(),
            base: None,
            index: None,
            displacement,
            rip_relative: false,
            narrow,
        })
    }

    /// The register operand with this number: of byte registers without REX, 4–7 are ah, ch, dh, bh.
    pub(crate) fn register(&self, number: u8, width: Width) -> Register {
        if width == Width::Byte && self.rex.is_none() && number & 12 == 4 {
            Register {
                gpr: Gpr::new(number & 3),
                high_byte: true,
            }
        } else {
            Register::low(Gpr::new(number))
        }
    }

    /// The number of bytes read so far: the instruction's length once all of it is.
    pub(crate) fn length(&self) -> u8 {
        // At most MAX_LENGTH.
        self.cursor.position as u8
    }
}
