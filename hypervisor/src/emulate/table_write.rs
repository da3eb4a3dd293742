//! Writes to page tables that a guest maps read-only ("writable page tables").

use addr::{PAGE_SIZE, Vaddr};
use platform_cpu::guest;
use privileged_ops::{MAX_LENGTH, Memory, Mode, Progress, TableWrite, decode_write, execute};

use super::code::code_segment;
use super::registers::Registers;
use crate::context::Context;

/// Bytes that an instruction is looked up by: as many as one can have, in two words.
type Key = [u64; 2];

/// The last instruction that was decoded: a kernel has a handful of places that write to its tables, and goes
/// through each of them many times in a row.
#[derive(Default)]
pub struct LastWrite {
    key: Key,
    write: Option<TableWrite>,
}

/// The bytes at `rip`, if they are all on one page and can be read.
#[inline]
fn key_at(rip: u64) -> Option<Key> {
    const WORDS: u64 = 16;
    /// The sixteenth byte is no part of the instruction.
    const LAST: u64 = u64::MAX >> (8 * (WORDS - MAX_LENGTH as u64));
    let at = Vaddr::new(rip);
    if at.page_offset() > PAGE_SIZE - WORDS {
        return None;
    }
    let low = guest::read_u64(at).ok()?;
    let high = guest::read_u64(Vaddr::new(rip.wrapping_add(8))).ok()?;
    Some([low, high & LAST])
}

/// Carries out the guest's instruction, one that writes to memory, against `memory`, which knows the one table
/// that may be written and validates what goes there. `None` if it cannot be done; nothing has changed then.
pub fn write_table<M: Memory>(context: &mut Context<'_>, memory: &mut M) -> Option<Progress> {
    let code = code_segment(context)?;
    if code.mode != Mode::Long {
        return None;
    }
    let key = key_at(context.regs.rip);
    let last = &mut context.cpu.last_write;
    let write = match (key, last.write) {
        (Some(key), Some(write)) if key == last.key => write,
        (Some(key), _) => {
            let mut bytes = [0; 16];
            for (to, word) in bytes.chunks_exact_mut(8).zip(key) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            let write = decode_write(bytes.get(..MAX_LENGTH)?).ok()?;
            *last = LastWrite {
                key,
                write: Some(write),
            };
            write
        }
        (None, _) => decode_write(&code.fetch(context.regs.rip).ok()?).ok()?,
    };
    execute(&write, &mut Registers(context.regs), memory).ok()
}
