//! Instructions that a guest may not execute itself, and that are carried out in its place: privileged ones,
//! `cpuid` behind the forced-emulation prefix, writes to page tables.
//!
//! The instruction's bytes are fetched once and decoded from that copy (`privileged_ops`). A handler says with a
//! [`Carried`] what came of it; rip and flags change in one place. What is refused is left to the guest's own
//! fault handler.

mod code;
mod control;
mod identify;
mod model_specific;
mod ports;
mod registers;
mod table_write;

pub use code::code_segment;
pub use identify::{DomainState, host, paravirtual};
pub use model_specific::load_registers;
pub use table_write::{LastWrite, write_table};

use ::hypercall::CrashReason;
use addr::Vaddr;
use privileged_ops::{PrivilegedOp, decode_privileged, forced_emulation as strip_prefix};
use x86_defs::control::RFlags;
use x86_defs::exception::Exception;

use crate::context::Context;
use crate::trap;

/// DR6: a single step ended.
const DR6_SINGLE_STEP: u64 = 1 << 14;

/// What came of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    /// It is done; the guest goes on behind it.
    Done,
    /// A part of it is done, and its registers say so; the guest executes it again.
    Again,
    /// The guest may not do that: it gets the fault that it caused.
    Refused,
    /// It raises another exception, without an error code.
    Exception(Exception),
    /// Memory that it needs cannot be accessed.
    PageFault {
        /// Where.
        address: u64,
        /// How, as the processor says it.
        error_code: u32,
    },
}

/// Carries out the instruction on which the guest took #GP. False if that is the guest's own business.
///
/// # Errors
/// The domain cannot go on.
#[inline(never)]
pub fn privileged_instruction(context: &mut Context<'_>) -> Result<bool, CrashReason> {
    let Some(code) = code_segment(context) else {
        return Ok(false);
    };
    if context.state.in_kernel && code.is_at_rdmsr(context.regs.rip) {
        let carried = model_specific::read(context);
        return finish(context, &code, carried, code::RDMSR_LENGTH);
    }
    let bytes = match code.fetch(context.regs.rip) {
        Ok(bytes) => bytes,
        // That it is not canonical is the fault, not what is there.
        Err(_) if !Vaddr::new(context.regs.rip).is_canonical() => return Ok(false),
        Err(fault) => {
            trap::inject_page_fault(context, fault.address.raw(), fault.error_code)?;
            return Ok(true);
        }
    };
    let Ok(instruction) = decode_privileged(&bytes, code.mode) else {
        return Ok(false);
    };
    let carried = carry_out(context, &code, instruction.op)?;
    finish(context, &code, carried, instruction.length)
}

/// Carries out `cpuid` behind the prefix that guests write before it, at #UD. False if the instruction is not that.
///
/// # Errors
/// The domain cannot go on.
#[cold]
pub fn forced_emulation(context: &mut Context<'_>) -> Result<bool, CrashReason> {
    let Some(code) = code_segment(context) else {
        return Ok(false);
    };
    let Ok(bytes) = code.fetch(context.regs.rip) else {
        return Ok(false);
    };
    let Some(rest) = strip_prefix(&bytes) else {
        return Ok(false);
    };
    let prefix = (bytes.len() - rest.len()) as u8;
    match decode_privileged(rest, code.mode) {
        Ok(instruction) if instruction.op == PrivilegedOp::Cpuid => {
            identify::cpuid(context, true);
            finish(context, &code, Carried::Done, prefix + instruction.length)
        }
        _ => Ok(false),
    }
}

/// Applies what came of an instruction of this length.
fn finish(
    context: &mut Context<'_>,
    code: &code::Code,
    carried: Carried,
    length: u8,
) -> Result<bool, CrashReason> {
    match carried {
        Carried::Done => {
            let regs = &mut *context.regs;
            regs.rip = code.advance(regs.rip, length);
            regs.rflags &= !RFlags::RF.bits();
            if regs.rflags & RFlags::TF.bits() != 0 {
                // The step that the processor would have reported had it executed the instruction.
                if let Some(dr6) = context.state.debug_registers.get_mut(6) {
                    *dr6 |= DR6_SINGLE_STEP;
                }
                trap::inject(context, Exception::DEBUG.0, 0)?;
            }
        }
        Carried::Again => {}
        Carried::Refused => return Ok(false),
        Carried::Exception(exception) => trap::inject(context, exception.0, 0)?,
        Carried::PageFault {
            address,
            error_code,
        } => trap::inject_page_fault(context, address, error_code)?,
    }
    Ok(true)
}

fn carry_out(
    context: &mut Context<'_>,
    code: &code::Code,
    op: PrivilegedOp,
) -> Result<Carried, CrashReason> {
    // What programs may do too.
    match op {
        PrivilegedOp::In { port, width } => return Ok(ports::input(context, port, width)),
        PrivilegedOp::Out { port, width } => return Ok(ports::output(context, port, width)),
        PrivilegedOp::Ins {
            width,
            repeat,
            narrow,
        } => return Ok(ports::input_string(context, code, width, repeat, narrow)),
        PrivilegedOp::Outs {
            width,
            repeat,
            narrow,
            segment,
        } => {
            return Ok(ports::output_string(
                context, code, width, repeat, narrow, segment,
            ));
        }
        PrivilegedOp::Cli | PrivilegedOp::Sti => {
            // Events are masked in memory. An `sti` that did so could not be told from one that `popf`
            // undoes, which does not fault: both do nothing, as on Xen.
            return Ok(if ports::has_io_privilege(context) {
                Carried::Done
            } else {
                Carried::Refused
            });
        }
        PrivilegedOp::Cpuid => {
            // The guest's kernel may want its programs' to fault.
            if !context.state.in_kernel && context.state.msrs.cpuid_faulting {
                return Ok(Carried::Refused);
            }
            identify::cpuid(context, false);
            return Ok(Carried::Done);
        }
        _ => {}
    }
    if !context.state.in_kernel {
        return Ok(Carried::Refused);
    }
    Ok(match op {
        PrivilegedOp::Clts => control::clear_task_switched(context),
        PrivilegedOp::Wbinvd => {
            // Others' `wbinvd` would stall the machine; without devices of their own they need none.
            if context.domain.is_hardware() {
                platform_cpu::control::wbinvd();
            }
            Carried::Done
        }
        PrivilegedOp::ReadControl { control, gpr } => control::read(context, control, gpr),
        PrivilegedOp::WriteControl { control, gpr } => control::write(context, control, gpr)?,
        PrivilegedOp::ReadDebug { debug, gpr } => control::read_debug(context, debug, gpr),
        PrivilegedOp::WriteDebug { debug, gpr } => control::write_debug(context, debug, gpr),
        PrivilegedOp::Rdmsr => model_specific::read(context),
        PrivilegedOp::Wrmsr => model_specific::write(context),
        PrivilegedOp::Rdtsc => {
            model_specific::read_time(context.regs);
            Carried::Done
        }
        PrivilegedOp::Rdtscp => {
            model_specific::read_time(context.regs);
            context.regs.rcx = u64::from(context.state.msrs.tsc_aux);
            Carried::Done
        }
        PrivilegedOp::Xsetbv => control::write_extended(context),
        // Guests wait by a call; nobody forgets the machine's caches; counters are not virtualised.
        _ => Carried::Refused,
    })
}
