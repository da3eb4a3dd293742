//! credit2: proportional shares by weight, with caps, for any number of vCPUs on any number of CPUs.
//!
//! What users of Xen know is here: weights (1–65535, 256 by default), caps in percent of a CPU, a rate limit,
//! a run queue for each core. Inside, it is start-time fair queueing: each unit has a virtual time, its `tag`,
//! that advances while it runs, by 256/weight nanoseconds a nanosecond. The unit with the lowest tag has had least
//! for its weight and is next. In Xen's words, a unit's credit is how far its tag is behind.
//!
//! **One time line for all queues.** Tags of different queues compare, so fairness does not end at a queue:
//! a CPU that is to choose looks at the most deserving waiting unit of each other queue, and takes that one instead of
//! its own choice when it is owed more than [`MIGRATE_RESIST`] (any, if it has none of its own). This is all of load
//! balancing: three equal vCPUs on two CPUs get two thirds of a CPU each, and no CPU idles while something waits.
//! No queue's CPU is ever waited for: what cannot be locked at once is taken next time.
//!
//! **Bounds.** A tag must not be a record of all times. A unit that wakes has at most [`WAKE_BONUS`] of credit over
//! what its queue runs now, and at most [`MAX_LEAD`] of debt. One that comes from another queue has at most
//! [`MAX_LAG`]. A weight may be more than a whole CPU: such a unit runs all the time, and its tag falls behind for ever;
//! when somebody else's unit competes for its CPU it is moved up to within [`MAX_LAG`] (`forgive`). All bounds are
//! real time of the unit concerned, so that they mean the same for every weight.
//!
//! **Times.** A unit runs for a slice, [`TARGET_LATENCY`] divided by the number that wait, plus the time for which it
//! stays the most deserving. A unit that wakes and was more deserving than the running one when that began preempts it,
//! but not before the rate limit. A CPU that runs the only unit of its queue looks around every [`BALANCE_PERIOD`], sooner if
//! that unit is a light one.
//!
//! Tags wrap around; differences count, and stay far below half the range.

use crate::policy::{Arrival, Choice, Policy};
use crate::queue::{Runner, Units};
use crate::share::DEFAULT_WEIGHT;
use crate::unit::{Entry, Payload};

/// Default time in nanoseconds for which a unit runs before a wake-up may preempt it: 1 ms, as Xen's.
pub const DEFAULT_RATE_LIMIT: u64 = 1_000_000;
/// Time in which everything that waits in a queue should have had its turn.
const TARGET_LATENCY: u64 = 8_000_000;
const MIN_SLICE: u64 = 1_000_000;
const MAX_SLICE: u64 = 4_000_000;
/// Longest that a CPU runs any unit without looking at other queues.
pub(crate) const BALANCE_PERIOD: u64 = 20_000_000;
/// What a unit must be owed to be worth taking from another queue, when the own one has something to run.
pub(crate) const MIGRATE_RESIST: u64 = 2_000_000;
/// Credit that a unit can save up by sleeping.
const WAKE_BONUS: u64 = 4_000_000;
/// Credit that a unit can bring from another queue.
pub(crate) const MAX_LAG: u64 = 50_000_000;
/// Debt that a unit can bring.
pub(crate) const MAX_LEAD: u64 = 50_000_000;

/// How far `a` is ahead of `b`, in virtual nanoseconds.
pub(crate) fn lead(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b) as i64
}

/// Virtual time that `real` nanoseconds are for a unit of this weight.
pub(crate) fn virtual_time(real: u64, weight: u32) -> i64 {
    (real * u64::from(DEFAULT_WEIGHT) / u64::from(weight.max(1))) as i64
}

/// Nanoseconds in which a unit of this weight advances by `virtual_time`.
pub(crate) fn real_time(virtual_time: i64, weight: u32) -> i64 {
    virtual_time.saturating_mul(i64::from(weight)) / i64::from(DEFAULT_WEIGHT)
}

/// Longest that a CPU runs a unit of this weight without looking at other queues: a light one soon gets far ahead of what
/// waits there.
fn balance_period(weight: u32) -> u64 {
    let period = BALANCE_PERIOD * u64::from(weight) / u64::from(DEFAULT_WEIGHT);
    period.clamp(BALANCE_PERIOD / 2, BALANCE_PERIOD)
}

/// The policy of a queue.
pub(crate) struct Credit2 {
    /// Tag of what was chosen last: where units that wake come in.
    time: u64,
    /// Nanoseconds.
    pub(crate) rate_limit: u64,
}

impl Credit2 {
    pub(crate) fn new() -> Self {
        Self {
            time: 0,
            rate_limit: DEFAULT_RATE_LIMIT,
        }
    }

    /// Limits a unit's credit to `credit` nanoseconds, and its debt to [`MAX_LEAD`].
    pub(crate) fn bound<T: Payload>(&self, entry: &mut Entry<T>, credit: u64) {
        let weight = entry.weight();
        let ahead = lead(entry.tag, self.time).clamp(
            -virtual_time(credit, weight),
            virtual_time(MAX_LEAD, weight),
        );
        entry.tag = self.time.wrapping_add(ahead as u64);
    }

    /// Moves `slot` up to `bound` behind `tag`, and with it everything that lags further behind than that, by as much
    /// but not beyond. So those that compete with `slot` keep their distance, and who is owed less than `bound` keeps it.
    pub(crate) fn forgive<T: Payload>(units: &mut Units<T>, slot: u32, tag: u64, bound: i64) {
        let Some(entry) = units.get(slot) else {
            return;
        };
        let by = lead(tag, entry.tag) - bound;
        if by <= 0 {
            return;
        }
        let mut slots = core::mem::take(&mut units.ready);
        for other in slots.iter().chain(Some(&slot)) {
            if let Some(entry) = units.get_mut(*other) {
                let room = (lead(tag, entry.tag) - bound).clamp(0, by);
                entry.tag = entry.tag.wrapping_add(room as u64);
            }
        }
        slots.sort_unstable_by(|a, b| units.compare_tags(*a, *b));
        units.ready = slots;
    }

    /// Ends the turn of `entry`, which `runner` runs, so that `other` has its own. Returns when to choose again: then, or as
    /// soon as the other may preempt it.
    fn make_room<T: Payload>(
        &self,
        units: &Units<T>,
        runner: &mut Runner,
        entry: &Entry<T>,
        other: &Entry<T>,
        now: u64,
    ) -> u64 {
        let waiting = units.ready.len() as u64 / units.cpu_count.max(1) as u64;
        let slice = (TARGET_LATENCY / (waiting + 1))
            .clamp(MIN_SLICE, MAX_SLICE)
            .max(self.rate_limit);
        // Its tag is as old as its last charge.
        let ahead = real_time(lead(other.tag, entry.tag).max(0), entry.weight()) as u64;
        let level = runner.charged.saturating_add(ahead).max(now);
        runner.slice_end = runner.slice_end.min(level.saturating_add(slice));
        if lead(other.tag, runner.start_tag) < 0 {
            let limit = runner.since.saturating_add(self.rate_limit);
            return runner.slice_end.min(limit);
        }
        runner.slice_end
    }
}

impl Policy for Credit2 {
    fn enqueue<T: Payload>(&mut self, units: &mut Units<T>, slot: u32, arrival: Arrival) {
        let is_empty = units.ready.is_empty() && units.running == 0;
        let time = self.time;
        let Some(entry) = units.get_mut(slot) else {
            return;
        };
        if !entry.placed {
            // A little before those that run, which may all be level.
            entry.placed = true;
            let credit = virtual_time(WAKE_BONUS / 4, entry.weight());
            entry.tag = time.wrapping_sub(credit as u64);
        }
        if is_empty {
            // Nothing here to compare with.
            self.time = entry.tag;
        } else {
            match arrival {
                Arrival::Woken => self.bound(entry, WAKE_BONUS),
                Arrival::Moved => self.bound(entry, MAX_LAG),
                Arrival::Preempted => {}
            }
        }
        units.insert_by_tag(slot);
    }

    fn charge<T: Payload>(&mut self, entry: &mut Entry<T>, elapsed: u64) {
        let weight = u64::from(entry.weight().max(1));
        let elapsed = elapsed.min(1 << 48) * u64::from(DEFAULT_WEIGHT) + entry.remainder;
        entry.tag = entry.tag.wrapping_add(elapsed / weight);
        entry.remainder = elapsed % weight;
    }

    fn choose<T: Payload>(&mut self, units: &Units<T>, runner: &Runner, now: u64) -> Choice {
        let first = units.first_for(runner.cpu);
        let current = runner
            .current
            .filter(|slot| units.may_run_on(*slot, runner.cpu));
        let (Some(current), Some(entry)) = (current, current.and_then(|slot| units.get(slot)))
        else {
            return Choice {
                slot: first,
                open: true,
            };
        };
        let stay = |open| Choice {
            slot: Some(current),
            open,
        };
        // Its part of the domain's budget is used up: the next part is for another vCPU, if one waits.
        let spent = entry.grant.is_some_and(|grant| grant.left <= 0);
        let over = spent || now >= runner.slice_end;
        let Some((slot, other)) = first.and_then(|slot| Some((slot, units.get(slot)?))) else {
            return stay(over || entry.yielded);
        };
        let switch = Choice {
            slot: Some(slot),
            open: true,
        };
        if entry.yielded {
            return switch;
        }
        if !spent && now < runner.since.saturating_add(self.rate_limit) {
            return stay(false);
        }
        if over {
            return if lead(other.tag, entry.tag) < 0 {
                switch
            } else {
                stay(true)
            };
        }
        if lead(other.tag, runner.start_tag) < 0 {
            return switch;
        }
        stay(false)
    }

    fn start<T: Payload>(
        &mut self,
        units: &Units<T>,
        runner: &mut Runner,
        slot: u32,
        open: bool,
        now: u64,
    ) -> Option<u64> {
        let entry = units.get(slot)?;
        if open {
            runner.start_tag = entry.tag;
            runner.slice_end = now.saturating_add(balance_period(entry.weight()));
            if lead(entry.tag, self.time) > 0 {
                self.time = entry.tag;
            }
        }
        let first = units.first_for(runner.cpu).and_then(|slot| units.get(slot));
        let until = match first {
            Some(first) => self
                .make_room(units, runner, entry, first, now)
                .max(now + 1),
            None => runner.slice_end,
        };
        Some(until)
    }

    fn is_vacant(&self) -> bool {
        true
    }

    fn may_leave(&self, _slot: u32) -> bool {
        true
    }

    fn forget(&mut self, _slot: u32) {}

    /// While it is parked its tag is relative to the queue's time, which goes on: it is not owed what its cap keeps from
    /// it, and vCPUs of one domain keep their order.
    fn note_parked<T: Payload>(&self, entry: &mut Entry<T>, is_parked: bool) {
        entry.tag = if is_parked {
            entry.tag.wrapping_sub(self.time)
        } else {
            entry.tag.wrapping_add(self.time)
        };
    }

    fn disturbs<T: Payload>(
        &self,
        units: &Units<T>,
        runners: &mut [Runner],
        slot: u32,
        now: u64,
    ) -> Option<(usize, u64)> {
        let woken = units.get(slot)?;
        // Who runs the least deserving.
        let (runner, lead) = runners
            .iter_mut()
            .filter(|runner| woken.may_run_on(runner.cpu, &units.pool))
            .map(|runner| {
                let lead = match runner.current {
                    Some(_) => lead(runner.start_tag, woken.tag),
                    None => i64::MAX,
                };
                (runner, lead)
            })
            .max_by_key(|(_, lead)| *lead)?;
        // It has to make room, or was given its time when nothing waited.
        if lead <= 0 && runner.slice_end <= now.saturating_add(MAX_SLICE) {
            return None;
        }
        let current = runner.current.and_then(|slot| units.get(slot));
        let until = match current {
            Some(entry) if !entry.yielded && now < runner.slice_end => {
                self.make_room(units, runner, entry, woken, now)
            }
            _ => now,
        };
        Some((runner.cpu, until))
    }
}
