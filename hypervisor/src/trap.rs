//! Exceptions in a guest: fixed up here, or passed to the guest's own handler.

use ::hypercall::CrashReason;
use x86_defs::control::Cr0;
use x86_defs::exception::{Exception, SelectorErrorCode};
use x86_defs::paging::PageFaultCode;
use xen_abi::trap::TrapInfo;

use crate::bounce::{self, Callback, Extra};
use crate::context::Context;
use crate::history::Happening;
use crate::{emulate, mm};

/// `TrapInfo::flags`: events are masked when the handler is entered.
const TRAP_MASKS_EVENTS: u8 = 1 << 2;
/// `TrapInfo::flags`: least privileged ring that may raise the trap by an instruction.
const TRAP_DPL: u8 = 3;

/// First and last address (exclusive) of the hypervisor's part of every address space.
const HYPERVISOR_START: u64 = 0xffff_8000_0000_0000;
const HYPERVISOR_END: u64 = 0xffff_8800_0000_0000;

const PRESENT: u32 = PageFaultCode::PROTECTION.bits();
const WRITE: u32 = PageFaultCode::WRITE.bits();
const USER: u32 = PageFaultCode::USER.bits();
const RESERVED: u32 = PageFaultCode::RESERVED_BIT.bits();

/// Handles exception `number` that the guest raised.
///
/// # Errors
/// The domain cannot go on.
#[inline(never)]
pub fn exception(
    context: &mut Context<'_>,
    number: u8,
    error_code: u32,
) -> Result<(), CrashReason> {
    match Exception(number) {
        Exception::PAGE_FAULT => return page_fault(context, error_code),
        Exception::GENERAL_PROTECTION => {
            note(context, number, error_code, 0);
            if let Some(vector) = SelectorErrorCode(error_code).software_interrupt() {
                return software_interrupt(context, vector, error_code);
            }
            if error_code == 0 && emulate::privileged_instruction(context)? {
                return Ok(());
            }
        }
        Exception::INVALID_OPCODE => {
            if emulate::forced_emulation(context)? {
                return Ok(());
            }
            note(context, number, error_code, 0);
        }
        Exception::DEVICE_NOT_AVAILABLE => {
            // The flag is the guest's own: its handler finds it clear, as after CLTS by the hypervisor.
            platform_cpu::control::set_task_switched(false);
            if context.state.cr0 & Cr0::TS.bits() == 0 {
                return Ok(());
            }
            context.state.cr0 &= !Cr0::TS.bits();
        }
        Exception::DEBUG => {
            let status = platform_cpu::debug_registers::read_dr6();
            platform_cpu::debug_registers::write_dr6(0);
            if let Some(dr6) = context.state.debug_registers.get_mut(6) {
                *dr6 = status;
            }
        }
        _ => note(context, number, error_code, 0),
    }
    inject(context, number, error_code)
}

fn note(context: &mut Context<'_>, number: u8, error_code: u32, address: u64) {
    let rip = context.regs.rip;
    context
        .state
        .history
        .note(Happening::Trap(number, error_code, address), rip);
}

/// A page fault: descriptor tables and page tables are the hypervisor's business, the rest is the guest's.
fn page_fault(context: &mut Context<'_>, error_code: u32) -> Result<(), CrashReason> {
    let address = platform_cpu::read_fault_address().raw();
    note(context, Exception::PAGE_FAULT.0, error_code, address);
    if (HYPERVISOR_START..HYPERVISOR_END).contains(&address) {
        // The CPU reads descriptors with its own privilege; a guest that reaches for the address itself would
        // fault again for ever.
        if error_code & (PRESENT | USER) == 0
            && mm::descriptor_table_fault(context, address, error_code)?
        {
            return Ok(());
        }
    } else if context.state.in_kernel
        && error_code & (PRESENT | WRITE | RESERVED) == PRESENT | WRITE
        && mm::emulate_table_write(context, address)
    {
        return Ok(());
    }
    inject_page_fault(context, address, error_code)
}

/// Passes a page fault at `address` to the guest.
///
/// # Errors
/// The domain cannot go on.
pub fn inject_page_fault(
    context: &mut Context<'_>,
    address: u64,
    error_code: u32,
) -> Result<(), CrashReason> {
    context.vcpu.info().set_fault_address(address);
    // All of the guest runs in ring 3: whether its kernel or a program faulted is for the guest to see.
    let mut code = error_code & !USER;
    if !context.state.in_kernel {
        code |= USER;
    }
    inject(context, Exception::PAGE_FAULT.0, code)
}

/// The handler that an entry of the trap table names.
pub fn handler(trap: &TrapInfo) -> Callback {
    Callback {
        address: trap.address,
        masks_events: trap.flags & TRAP_MASKS_EVENTS != 0,
    }
}

/// Passes exception `number` to the guest's handler.
///
/// # Errors
/// No handler is registered, or its frame cannot be written: the domain cannot go on.
pub fn inject(context: &mut Context<'_>, number: u8, error_code: u32) -> Result<(), CrashReason> {
    let Some(trap) = context.state.traps.get(usize::from(number)) else {
        return Err(CrashReason::NoTrapHandler(number));
    };
    if trap.address == 0 {
        return Err(CrashReason::NoTrapHandler(number));
    }
    let handler = handler(trap);
    let extra = if Exception(number).has_error_code() {
        Extra::ErrorCode(error_code)
    } else {
        Extra::None
    };
    bounce::bounce(context, handler, extra)
}

/// `int n` in the guest: the real gates are closed to ring 3, so it arrives as a protection fault that names
/// the vector.
#[cold]
fn software_interrupt(
    context: &mut Context<'_>,
    number: u8,
    error_code: u32,
) -> Result<(), CrashReason> {
    let Some(trap) = context.state.traps.get(usize::from(number)) else {
        return inject(context, Exception::GENERAL_PROTECTION.0, error_code);
    };
    // The guest's kernel is ring 1 or below to the gate's privilege, its programs are ring 3.
    let ring = if context.state.in_kernel { 1 } else { 3 };
    if trap.address == 0 || trap.flags & TRAP_DPL < ring {
        return inject(context, Exception::GENERAL_PROTECTION.0, error_code);
    }
    let handler = handler(trap);
    /// Length of `int imm8`.
    const INT_LENGTH: u64 = 2;
    context.regs.rip = context.regs.rip.wrapping_add(INT_LENGTH);
    bounce::bounce(context, handler, Extra::None)
}

/// The guest's return frame could not be loaded: it raised that exception itself, at the place that the frame names.
///
/// # Errors
/// No handler is registered: the domain cannot go on.
#[cold]
pub fn return_fault(context: &mut Context<'_>, number: u8, code: u32) -> Result<(), CrashReason> {
    if Exception(number) == Exception::PAGE_FAULT {
        // A selector's page of the LDT.
        return page_fault(context, code);
    }
    note(context, number, code, 0);
    inject(context, number, code)
}

/// Data segments could not be loaded when the vCPU was: its failsafe callback is told, with the selectors.
///
/// # Errors
/// No such callback is registered: the domain cannot go on.
#[cold]
pub fn bad_segments(context: &mut Context<'_>) -> Result<(), CrashReason> {
    note(context, Exception::GENERAL_PROTECTION.0, 0, 0);
    let failsafe = context.state.callbacks.failsafe;
    if failsafe.address == 0 {
        return Err(CrashReason::NoFailsafeCallback);
    }
    let segments = platform_cpu::segments::Segments::save();
    bounce::bounce(
        context,
        failsafe,
        Extra::Selectors([segments.ds, segments.es, segments.fs, segments.gs]),
    )
}

/// Ways for a program to call its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemCall {
    /// `syscall` in 64-bit code.
    Long,
    /// `syscall` in 32-bit code.
    Compat,
    /// `sysenter`.
    Sysenter,
}

/// A program calls its kernel.
///
/// # Errors
/// The domain cannot go on.
#[inline]
pub fn system_call(context: &mut Context<'_>, kind: SystemCall) -> Result<(), CrashReason> {
    let callbacks = &context.state.callbacks;
    let callback = match kind {
        SystemCall::Long => callbacks.syscall,
        SystemCall::Compat => callbacks.syscall32,
        SystemCall::Sysenter => callbacks.sysenter,
    };
    if callback.address == 0 {
        /// Length of both instructions.
        const LENGTH: u64 = 2;
        if kind == SystemCall::Sysenter {
            return inject(context, Exception::GENERAL_PROTECTION.0, 0);
        }
        context.regs.rip = context.regs.rip.wrapping_sub(LENGTH);
        return inject(context, Exception::INVALID_OPCODE.0, 0);
    }
    bounce::bounce(context, callback, Extra::None)
}
