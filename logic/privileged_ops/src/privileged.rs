//! The privileged instructions.

use crate::fetch::{Instruction, Opcode, RmOperand};
use crate::operand::{Gpr, Segment, Width};
use crate::{DecodeError, Mode};

/// Where an I/O instruction's port number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// In the instruction.
    Immediate(u8),
    /// In dx.
    Dx,
}

/// An instruction that faults in ring 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivilegedOp {
    /// `in al/ax/eax, port`.
    In {
        /// The port.
        port: Port,
        /// The size: at most 32 bits.
        width: Width,
    },
    /// `out port, al/ax/eax`.
    Out {
        /// The port.
        port: Port,
        /// The size: at most 32 bits.
        width: Width,
    },
    /// `ins`: from port dx to es:rdi.
    Ins {
        /// The size: at most 32 bits.
        width: Width,
        /// As often as rcx says.
        repeat: bool,
        /// rdi and rcx are cut to 32 bits.
        narrow: bool,
    },
    /// `outs`: from segment:rsi to port dx.
    Outs {
        /// The size: at most 32 bits.
        width: Width,
        /// As often as rcx says.
        repeat: bool,
        /// rsi and rcx are cut to 32 bits.
        narrow: bool,
        /// The source's segment.
        segment: Segment,
    },
    /// Disables interrupts.
    Cli,
    /// Enables interrupts.
    Sti,
    /// Waits for an interrupt.
    Hlt,
    /// Clears CR0.TS.
    Clts,
    /// Forgets the caches.
    Invd,
    /// Writes the caches back.
    Wbinvd,
    /// Reads a control register.
    ReadControl {
        /// 0, 2, 3, 4 or 8.
        control: u8,
        /// Where to.
        gpr: Gpr,
    },
    /// Writes a control register.
    WriteControl {
        /// 0, 2, 3, 4 or 8.
        control: u8,
        /// Where from.
        gpr: Gpr,
    },
    /// Reads a debug register.
    ReadDebug {
        /// 0–7.
        debug: u8,
        /// Where to.
        gpr: Gpr,
    },
    /// Writes a debug register.
    WriteDebug {
        /// 0–7.
        debug: u8,
        /// Where from.
        gpr: Gpr,
    },
    /// Reads the MSR ecx into edx:eax.
    Rdmsr,
    /// Writes edx:eax to the MSR ecx.
    Wrmsr,
    /// Reads the time-stamp counter.
    Rdtsc,
    /// Reads the time-stamp counter, and TSC_AUX into ecx.
    Rdtscp,
    /// Reads performance counter ecx.
    Rdpmc,
    /// Identifies the processor.
    Cpuid,
    /// Writes edx:eax to the extended control register ecx.
    Xsetbv,
}

/// A decoded privileged instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privileged {
    /// What it does.
    pub op: PrivilegedOp,
    /// Its length in bytes.
    pub length: u8,
}

/// What a guest puts before an instruction that does not fault by itself: `ud2`, then "xen".
pub const FORCED_EMULATION_PREFIX: [u8; 5] = [0x0f, 0x0b, b'x', b'e', b'n'];

/// The bytes behind the forced-emulation prefix, if they begin with it. Only `cpuid` may follow.
pub fn forced_emulation(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(&FORCED_EMULATION_PREFIX)
}

/// Decodes the privileged instruction at the start of `bytes`.
///
/// # Errors
/// Anything that is not a privileged instruction of [`PrivilegedOp`], whole and in at most 15 bytes.
pub fn decode_privileged(bytes: &[u8], mode: Mode) -> Result<Privileged, DecodeError> {
    let mut instruction = Instruction::parse(bytes, mode)?;
    if instruction.lock {
        return Err(DecodeError::NotEmulated);
    }
    let op = match instruction.opcode {
        Opcode::One(opcode) => one_byte(&mut instruction, opcode)?,
        Opcode::Two(opcode) => two_byte(&mut instruction, opcode)?,
    };
    Ok(Privileged {
        op,
        length: instruction.length(),
    })
}

fn one_byte(instruction: &mut Instruction<'_>, opcode: u8) -> Result<PrivilegedOp, DecodeError> {
    // Ports are 32 bits wide at most: REX.W has no effect on them.
    let width = instruction.width_by(opcode).min(Width::Double);
    Ok(match opcode {
        0x6c | 0x6d => PrivilegedOp::Ins {
            width,
            repeat: instruction.repeat.is_some(),
            narrow: instruction.narrow_addresses()?,
        },
        0x6e | 0x6f => PrivilegedOp::Outs {
            width,
            repeat: instruction.repeat.is_some(),
            narrow: instruction.narrow_addresses()?,
            segment: instruction.data_segment(),
        },
        0xe4 | 0xe5 => PrivilegedOp::In {
            port: Port::Immediate(instruction.immediate_byte()? as u8),
            width,
        },
        0xe6 | 0xe7 => PrivilegedOp::Out {
            port: Port::Immediate(instruction.immediate_byte()? as u8),
            width,
        },
        0xec | 0xed => PrivilegedOp::In {
            port: Port::Dx,
            width,
        },
        0xee | 0xef => PrivilegedOp::Out {
            port: Port::Dx,
            width,
        },
        0xf4 => PrivilegedOp::Hlt,
        0xfa => PrivilegedOp::Cli,
        0xfb => PrivilegedOp::Sti,
        _ => return Err(DecodeError::NotEmulated),
    })
}

fn two_byte(instruction: &mut Instruction<'_>, opcode: u8) -> Result<PrivilegedOp, DecodeError> {
    Ok(match opcode {
        0x01 => group_7(instruction)?,
        0x06 => PrivilegedOp::Clts,
        0x08 => PrivilegedOp::Invd,
        0x09 => PrivilegedOp::Wbinvd,
        0x20..=0x23 => register_move(instruction, opcode)?,
        0x30 => PrivilegedOp::Wrmsr,
        0x31 => PrivilegedOp::Rdtsc,
        0x32 => PrivilegedOp::Rdmsr,
        0x33 => PrivilegedOp::Rdpmc,
        0xa2 => PrivilegedOp::Cpuid,
        _ => return Err(DecodeError::NotEmulated),
    })
}

/// 0x0f 0x01: of it only `xsetbv` and `rdtscp`. The table registers, `lmsw`, `invlpg` and `swapgs` are
/// the hypervisor's, and a guest has hypercalls for what it may do with them.
fn group_7(instruction: &mut Instruction<'_>) -> Result<PrivilegedOp, DecodeError> {
    let prefixed = instruction.operand_size_prefix || instruction.repeat.is_some();
    let mod_rm = instruction.mod_rm()?;
    match (mod_rm.byte, mod_rm.rm) {
        (0xd1, RmOperand::Register) if !prefixed => Ok(PrivilegedOp::Xsetbv),
        (0xf9, RmOperand::Register) if !prefixed => Ok(PrivilegedOp::Rdtscp),
        _ => Err(DecodeError::NotEmulated),
    }
}

fn register_move(
    instruction: &mut Instruction<'_>,
    opcode: u8,
) -> Result<PrivilegedOp, DecodeError> {
    let (register, gpr) = instruction.mod_rm_registers()?;
    let gpr = Gpr::new(gpr);
    let exists = if opcode & 1 == 0 {
        matches!(register, 0 | 2 | 3 | 4 | 8)
    } else {
        register < 8
    };
    if !exists {
        return Err(DecodeError::NotEmulated);
    }
    Ok(match opcode {
        0x20 => PrivilegedOp::ReadControl {
            control: register,
            gpr,
        },
        0x21 => PrivilegedOp::ReadDebug {
            debug: register,
            gpr,
        },
        0x22 => PrivilegedOp::WriteControl {
            control: register,
            gpr,
        },
        _ => PrivilegedOp::WriteDebug {
            debug: register,
            gpr,
        },
    })
}
