//! Carrying out a write to a page table.

use crate::alu::{self, Computed, DF, RF, ZF};
use crate::operand::{Gpr, MemoryOperand, Register, Segment, Source, Width};
use crate::table_write::{Alu, TableWrite, WriteKind};

/// The guest's registers.
pub trait Registers {
    /// A general-purpose register.
    fn gpr(&self, gpr: Gpr) -> u64;
    /// Sets a general-purpose register.
    fn set_gpr(&mut self, gpr: Gpr, value: u64);
    /// The instruction pointer.
    fn rip(&self) -> u64;
    /// Sets the instruction pointer.
    fn set_rip(&mut self, value: u64);
    /// The flags.
    fn rflags(&self) -> u64;
    /// Sets the flags. Only arithmetic flags change, and RF is cleared.
    fn set_rflags(&mut self, value: u64);
    /// The base of fs or gs; the others are not asked for.
    fn segment_base(&self, segment: Segment) -> u64;
}

/// The guest's memory.
pub trait Memory {
    /// Why memory cannot be accessed; handed through to the caller.
    type Fault;
    /// Reads from anywhere the guest can read.
    ///
    /// # Errors
    /// The address cannot be read.
    fn read(&mut self, address: u64, width: Width) -> Result<u64, Self::Fault>;
    /// Writes to a page table.
    ///
    /// # Errors
    /// The address is not in the table that is written, or the entry is refused.
    fn write(&mut self, address: u64, width: Width, value: u64) -> Result<(), Self::Fault>;
    /// Writes to a page table if it still holds `expected`; false if it does not.
    ///
    /// # Errors
    /// As of [`write`](Self::write).
    fn compare_exchange(
        &mut self,
        address: u64,
        width: Width,
        expected: u64,
        new: u64,
    ) -> Result<bool, Self::Fault>;
}

/// How far an instruction got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is done; rip is behind it.
    Finished,
    /// One round of a repeated instruction is done; rip is still at it.
    Repeat,
    /// Someone else changed the entry meanwhile. Nothing happened; the guest has to execute it again.
    Raced,
}

/// Carries out `write`: one round, where it repeats.
///
/// # Errors
/// The memory's; no register has changed then.
pub fn execute<R: Registers, M: Memory>(
    write: &TableWrite,
    registers: &mut R,
    memory: &mut M,
) -> Result<Progress, M::Fault> {
    let next_rip = registers.rip().wrapping_add(u64::from(write.length));
    let address = write.destination.linear(next_rip, registers);
    let width = write.width;

    let progress = match write.kind {
        WriteKind::Store(source) => {
            memory.write(address, width, source.read(width, registers))?;
            Progress::Finished
        }
        WriteKind::Exchange(register) => {
            let new = register.read(width, registers);
            let old = memory.read(address, width)?;
            if memory.compare_exchange(address, width, old, new)? {
                register.write(width, old, registers);
                Progress::Finished
            } else {
                Progress::Raced
            }
        }
        WriteKind::ExchangeAdd(register) => {
            let addend = register.read(width, registers);
            let old = memory.read(address, width)?;
            let sum = alu::binary(Alu::Add, old, addend, width, registers.rflags());
            let progress = replace(address, width, old, sum, registers, memory)?;
            if progress == Progress::Finished {
                register.write(width, old, registers);
            }
            progress
        }
        WriteKind::Alu(alu, source) => {
            let right = source.read(width, registers);
            let old = memory.read(address, width)?;
            let result = alu::binary(alu, old, right, width, registers.rflags());
            replace(address, width, old, result, registers, memory)?
        }
        WriteKind::Unary(unary) => {
            let old = memory.read(address, width)?;
            let result = alu::unary(unary, old, width, registers.rflags());
            replace(address, width, old, result, registers, memory)?
        }
        WriteKind::Bit(bit, source) => {
            let (address, number) = locate_bit(write, next_rip, source, registers);
            let old = memory.read(address, width)?;
            let result = alu::bit(bit, old, number, registers.rflags());
            replace(address, width, old, result, registers, memory)?
        }
        WriteKind::CompareExchange(register) => {
            compare_exchange(register, address, width, registers, memory)?
        }
        WriteKind::CompareExchangePair => compare_exchange_pair(address, registers, memory)?,
        WriteKind::StoreString { repeat } => {
            if repeat && string_count(write, registers) == 0 {
                Progress::Finished
            } else {
                let value = Register::low(Gpr::RAX).read(width, registers);
                memory.write(address, width, value)?;
                advance_string(write, repeat, &[Gpr::RDI], registers)
            }
        }
        WriteKind::MoveString { repeat, segment } => {
            if repeat && string_count(write, registers) == 0 {
                Progress::Finished
            } else {
                let source = MemoryOperand {
                    segment,
                    base: Some(Gpr::RSI),
                    ..write.destination
                };
                let value = memory.read(source.linear(next_rip, registers), width)?;
                memory.write(address, width, value)?;
                advance_string(write, repeat, &[Gpr::RDI, Gpr::RSI], registers)
            }
        }
    };
    if progress == Progress::Finished {
        registers.set_rip(next_rip);
        registers.set_rflags(registers.rflags() & !RF);
    }
    Ok(progress)
}

/// Writes a computed value if the old one is still there, and its flags with it.
fn replace<R: Registers, M: Memory>(
    address: u64,
    width: Width,
    old: u64,
    new: Computed,
    registers: &mut R,
    memory: &mut M,
) -> Result<Progress, M::Fault> {
    if !memory.compare_exchange(address, width, old, new.value)? {
        return Ok(Progress::Raced);
    }
    registers.set_rflags(new.flags);
    Ok(Progress::Finished)
}

/// The operand that holds the bit, and the bit's number in it. A register's bit number is signed and
/// reaches beyond the operand that the address names, in steps of its size.
fn locate_bit<R: Registers>(
    write: &TableWrite,
    next_rip: u64,
    source: Source,
    registers: &R,
) -> (u64, u32) {
    let width = write.width;
    let number = source.read(width, registers);
    let within = (number & u64::from(width.bits() - 1)) as u32;
    let mut destination = write.destination;
    if matches!(source, Source::Register(_)) {
        let unused = 64 - width.bits();
        let number = ((number << unused) as i64) >> unused;
        let operands = number >> width.bits().trailing_zeros();
        destination.displacement = destination
            .displacement
            .wrapping_add((operands as u64).wrapping_mul(width.bytes()));
    }
    (destination.linear(next_rip, registers), within)
}

fn compare_exchange<R: Registers, M: Memory>(
    register: Register,
    address: u64,
    width: Width,
    registers: &mut R,
    memory: &mut M,
) -> Result<Progress, M::Fault> {
    let accumulator = Register::low(Gpr::RAX);
    let expected = accumulator.read(width, registers);
    let old = memory.read(address, width)?;
    let flags = alu::binary(Alu::Sub, expected, old, width, registers.rflags()).flags;
    if old == expected {
        let new = register.read(width, registers);
        if !memory.compare_exchange(address, width, old, new)? {
            return Ok(Progress::Raced);
        }
    } else {
        accumulator.write(width, old, registers);
    }
    registers.set_rflags(flags);
    Ok(Progress::Finished)
}

fn compare_exchange_pair<R: Registers, M: Memory>(
    address: u64,
    registers: &mut R,
    memory: &mut M,
) -> Result<Progress, M::Fault> {
    let low = |gpr| registers.gpr(gpr) & Width::Double.mask();
    let expected = (low(Gpr::RDX) << 32) | low(Gpr::RAX);
    let new = (low(Gpr::RCX) << 32) | low(Gpr::RBX);
    let old = memory.read(address, Width::Quad)?;
    let flags = registers.rflags();
    if old == expected {
        if !memory.compare_exchange(address, Width::Quad, old, new)? {
            return Ok(Progress::Raced);
        }
        registers.set_rflags(flags | ZF);
    } else {
        registers.set_gpr(Gpr::RAX, old & Width::Double.mask());
        registers.set_gpr(Gpr::RDX, old >> 32);
        registers.set_rflags(flags & !ZF);
    }
    Ok(Progress::Finished)
}

/// The size of addresses, and with it of the counter.
fn string_width(write: &TableWrite) -> Width {
    if write.destination.narrow {
        Width::Double
    } else {
        Width::Quad
    }
}

fn string_count<R: Registers>(write: &TableWrite, registers: &R) -> u64 {
    Register::low(Gpr::RCX).read(string_width(write), registers)
}

/// Moves the pointers on and counts down.
fn advance_string<R: Registers>(
    write: &TableWrite,
    repeat: bool,
    pointers: &[Gpr],
    registers: &mut R,
) -> Progress {
    let width = string_width(write);
    let step = if registers.rflags() & DF == 0 {
        write.width.bytes()
    } else {
        write.width.bytes().wrapping_neg()
    };
    for pointer in pointers {
        let pointer = Register::low(*pointer);
        let moved = pointer.read(width, registers).wrapping_add(step);
        pointer.write(width, moved, registers);
    }
    if !repeat {
        return Progress::Finished;
    }
    let left = string_count(write, registers).wrapping_sub(1) & width.mask();
    Register::low(Gpr::RCX).write(width, left, registers);
    if left == 0 {
        Progress::Finished
    } else {
        Progress::Repeat
    }
}

#[cfg(test)]
mod tests;
