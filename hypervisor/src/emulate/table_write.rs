//! Writes to page tables that a guest maps read-only ("writable page tables").

use privileged_ops::{Memory, Mode, Progress, decode_write, execute};

use super::code::code_segment;
use super::registers::Registers;
use crate::context::Context;

/// Carries out the guest's instruction, one that writes to memory, against `memory`, which knows the one table
/// that may be written and validates what goes there. `None` if it cannot be done; nothing has changed then.
pub fn write_table<M: Memory>(context: &mut Context<'_>, memory: &mut M) -> Option<Progress> {
    let code = code_segment(context)?;
    if code.mode != Mode::Long {
        return None;
    }
    let bytes = code.fetch(context.regs.rip).ok()?;
    let write = decode_write(&bytes).ok()?;
    execute(&write, &mut Registers(context.regs), memory).ok()
}
