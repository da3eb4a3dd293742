//! `multicall`: several calls for one entry into the hypervisor (public/xen.h `struct multicall_entry`).
//!
//! Calls are made in the list's order, but for one case: a page table is pinned after the `update_va_mapping`s that
//! follow it. A kernel pins a new process's tables one by one, and makes each read-only just before. Each pin would
//! make all CPUs flush what they know of a page that was writable a moment ago; together, they need one flush.

use ::hypercall::{CallFrame, Outcome};
use addr::Vaddr;
use arrayvec::ArrayVec;
use platform_cpu::guest;
use xen_abi::domid::DOMID_SELF;
use xen_abi::errno::Errno;
use xen_abi::hypercall as number;
use xen_abi::mmu::{MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L4_TABLE};

use crate::context::Context;
use crate::hypercall::{call, errno, ok};
use crate::time;

/// `struct multicall_entry`: op, result, six arguments.
const ENTRY_WORDS: usize = 8;
const ENTRY_BYTES: u64 = ENTRY_WORDS as u64 * 8;
/// Entries served before the guest may be interrupted.
const BATCH: u64 = 64;
/// Pins made together: Linux's lists have 32 entries, half of them pins.
const PINS: usize = 16;
/// Nanoseconds after which the guest may be interrupted: each entry has a budget of its own.
const PATIENCE: u64 = 500_000;
/// Entries between two looks at the clock.
const CLOCK_STEP: u64 = 4;

/// Makes each call of a list.
#[inline(never)]
pub fn multicall(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let [at, count, ..] = frame.args;
    let mut list = List {
        at,
        count: u64::from(count as u32),
        pins: ArrayVec::new(),
        blocks: false,
    };
    if !guest::is_guest_range(Vaddr::new(at), list.count * ENTRY_BYTES) {
        return errno(Errno::EFAULT);
    }
    match list.run(context) {
        Ok(()) if list.blocks => Outcome::Block,
        Ok(()) => ok(),
        Err(outcome) => outcome,
    }
}

/// A list, and what was left for later in it.
struct List {
    at: u64,
    count: u64,
    /// Entries that pin a table, passed and not made yet.
    pins: ArrayVec<u64, PINS>,
    /// An entry blocks the vCPU: that ends its turn after the list, not within it.
    blocks: bool,
}

impl List {
    /// # Errors
    /// What the list ends with before its end.
    fn run(&mut self, context: &mut Context<'_>) -> Result<(), Outcome> {
        let start = time::now();
        let mut call = CallFrame::default();
        for index in 0..self.count {
            if index != 0
                && index % CLOCK_STEP == 0
                && (index == BATCH || time::now().saturating_sub(start) > PATIENCE)
            {
                self.make_pins(context)?;
                return Err(self.rest(index));
            }
            if self.read(index, &mut call).is_err() {
                self.make_pins(context)?;
                return Err(errno(Errno::EFAULT));
            }
            if !self.pins.is_full() && index + 1 < self.count && is_pin(&call) {
                self.pins.push(index);
                continue;
            }
            if call.nr != u64::from(number::UPDATE_VA_MAPPING) {
                self.make_pins(context)?;
            }
            self.make(context, index, &call)?;
        }
        self.make_pins(context)
    }

    /// Makes the calls that were left for later: as a rule none.
    #[inline]
    fn make_pins(&mut self, context: &mut Context<'_>) -> Result<(), Outcome> {
        if self.pins.is_empty() {
            return Ok(());
        }
        self.make_pins_left(context)
    }

    #[inline(never)]
    fn make_pins_left(&mut self, context: &mut Context<'_>) -> Result<(), Outcome> {
        let mut call = CallFrame::default();
        for index in core::mem::take(&mut self.pins) {
            self.read(index, &mut call)
                .map_err(|_| errno(Errno::EFAULT))?;
            self.make(context, index, &call)?;
        }
        Ok(())
    }

    /// Makes a call and writes its result.
    #[inline]
    fn make(
        &mut self,
        context: &mut Context<'_>,
        index: u64,
        frame: &CallFrame,
    ) -> Result<(), Outcome> {
        let op = frame.nr;
        let outcome = if op == u64::from(number::MULTICALL) || op == u64::from(number::IRET) {
            // A list within a list could go on for ever; a return to a program would let the rest of the
            // list be made by the program (XSA-213).
            errno(Errno::EINVAL)
        } else {
            call(context, frame)
        };
        let result = match outcome {
            Outcome::Done(value) => value,
            Outcome::Preempt(again) => return Err(self.preempt(index, &again)),
            Outcome::Block => {
                self.blocks = true;
                0
            }
            Outcome::Crash(reason) => return Err(Outcome::Crash(reason)),
        };
        guest::write_u64(self.address(index, 1), result as u64).map_err(|_| errno(Errno::EFAULT))
    }

    /// The list starts again with an entry whose call is not finished, or with the first pin that was left for later.
    /// The `update_va_mapping`s after it are made once more, which changes nothing.
    #[cold]
    fn preempt(&self, index: u64, again: &CallFrame) -> Outcome {
        if let Some(&pin) = self.pins.first() {
            return self.rest(pin);
        }
        // The entry takes the call's progress.
        let [a0, a1, a2, a3, a4, a5] = again.args;
        let words = [again.nr, 0, a0, a1, a2, a3, a4, a5];
        match guest::write_words(self.address(index, 0), &words) {
            Ok(()) => self.rest(index),
            Err(_) => errno(Errno::EFAULT),
        }
    }

    /// The call that makes the list from an entry on.
    fn rest(&self, index: u64) -> Outcome {
        let at = self.address(index, 0).raw();
        let args = [at, self.count - index, 0, 0, 0, 0];
        Outcome::Preempt(CallFrame::new(u64::from(number::MULTICALL), args))
    }

    /// Reads the call of an entry.
    #[inline]
    fn read(&self, index: u64, call: &mut CallFrame) -> Result<(), guest::Fault> {
        call.nr = guest::read_u64(self.address(index, 0))?;
        guest::read_words_to(&mut call.args, self.address(index, 2))
    }

    /// Where a word of an entry is: the list was checked to be the guest's, so it has an end.
    fn address(&self, index: u64, word: u64) -> Vaddr {
        Vaddr::new(self.at + index * ENTRY_BYTES + word * 8)
    }
}

/// Whether a call does nothing but to pin one table of the caller.
#[inline]
fn is_pin(call: &CallFrame) -> bool {
    let [item, count, _, domid, ..] = call.args;
    call.nr == u64::from(number::MMUEXT_OP)
        && count == 1
        && domid == u64::from(DOMID_SELF)
        && guest::read_words(Vaddr::new(item)).is_ok_and(|[command]| {
            (MMUEXT_PIN_L1_TABLE..=MMUEXT_PIN_L4_TABLE).contains(&(command as u32))
        })
}
