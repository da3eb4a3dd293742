//! Instructions of a paravirtual guest that the hypervisor carries out in its place.
//!
//! A guest's kernel runs in ring 3. Two kinds of its instructions fault there and are emulated:
//!
//! * privileged ones ([`decode_privileged`]): port I/O, control and debug registers, MSRs, `cli`, `cpuid`…;
//! * writes to its own page tables, which are mapped read-only ([`decode_write`], [`execute`]).
//!
//! The hypervisor fetches up to 15 bytes at the guest's instruction pointer, once, and works on that
//! copy. Decoding is total: any bytes give an answer, and what is not known is refused, so that the
//! guest gets the fault that it caused.
//!
//! Source: SDM 2A §2 (format), 2A–2D (instructions), appendix A (opcode maps).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod alu;
mod execute;
mod fetch;
mod operand;
mod privileged;
mod table_write;

pub use execute::{Memory, Progress, Registers, execute};
pub use operand::{Gpr, MemoryOperand, Register, Segment, Source, Width};
pub use privileged::{
    FORCED_EMULATION_PREFIX, Port, Privileged, PrivilegedOp, decode_privileged, forced_emulation,
};
pub use table_write::{Alu, Bit, TableWrite, Unary, WriteKind, decode_write};

/// The longest instruction there is, in bytes.
pub const MAX_LENGTH: usize = 15;

/// How the guest's code segment makes the processor read instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A 64-bit code segment.
    Long,
    /// A 32-bit code segment (a 32-bit program of a 64-bit guest).
    Compatibility,
}

/// Why bytes are not taken for an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end before the instruction does: the rest could not be fetched.
    Truncated,
    /// It would be longer than 15 bytes.
    TooLong,
    /// It is no instruction, or none that is emulated.
    NotEmulated,
}
