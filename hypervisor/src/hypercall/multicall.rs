//! `multicall`: several calls for one entry into the hypervisor (public/xen.h `struct multicall_entry`).

use ::hypercall::{CallFrame, Outcome};
use addr::Vaddr;
use platform_cpu::guest;
use xen_abi::errno::Errno;
use xen_abi::hypercall as number;

use crate::context::Context;
use crate::hypercall::{call, errno, ok};
use crate::time;

/// `struct multicall_entry`: op, result, six arguments.
const ENTRY_WORDS: usize = 8;
const ENTRY_BYTES: u64 = ENTRY_WORDS as u64 * 8;
/// Entries served before the guest may be interrupted.
const BATCH: u64 = 64;
/// Nanoseconds after which the guest may be interrupted: each entry has a budget of its own.
const PATIENCE: u64 = 500_000;

/// Makes each call of a list in turn.
pub fn multicall(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let [list, count, ..] = frame.args;
    let count = u64::from(count as u32);
    let mut at = Vaddr::new(list);
    let rest = |done: u64, at: Vaddr| {
        Outcome::Preempt(CallFrame::new(
            frame.nr,
            [at.raw(), count - done, 0, 0, 0, 0],
        ))
    };
    let start = time::now();
    let mut blocks = false;
    for done in 0..count {
        if done == BATCH || (done != 0 && time::now().saturating_sub(start) > PATIENCE) {
            return rest(done, at);
        }
        let Ok(words) = guest::read_words::<ENTRY_WORDS>(at) else {
            return errno(Errno::EFAULT);
        };
        let [op, _, args @ ..] = words;
        let outcome = if op == u64::from(number::MULTICALL) || op == u64::from(number::IRET) {
            // A list within a list could go on for ever; a return to a program would let the rest of the
            // list be made by the program (XSA-213).
            errno(Errno::EINVAL)
        } else {
            call(context, &CallFrame::new(op, args))
        };
        let result = match outcome {
            Outcome::Done(value) => value,
            Outcome::Preempt(again) => {
                // The entry takes the call's progress, and the list starts again with it.
                let [a0, a1, a2, a3, a4, a5] = again.args;
                let words = [again.nr, 0, a0, a1, a2, a3, a4, a5];
                return match guest::write_words(at, &words) {
                    Ok(()) => rest(done, at),
                    Err(_) => errno(Errno::EFAULT),
                };
            }
            // Blocking ends the vCPU's turn after the list, not within it.
            Outcome::Block => {
                blocks = true;
                0
            }
            Outcome::Crash(reason) => return Outcome::Crash(reason),
        };
        let Some(result_at) = at.checked_add(8) else {
            return errno(Errno::EFAULT);
        };
        if guest::write_u64(result_at, result as u64).is_err() {
            return errno(Errno::EFAULT);
        }
        match at.checked_add(ENTRY_BYTES) {
            Some(next) => at = next,
            None => return errno(Errno::EFAULT),
        }
    }
    if blocks { Outcome::Block } else { ok() }
}
