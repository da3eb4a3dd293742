//! Round robin on one CPU, with wake-ups that do not wait for a whole round.
//!
//! Every unit has a slice. It is spent by running and renewed only when it is used up, which sends the unit to
//! the tail of `waiting`. A unit that wakes with some slice left goes to `woken`, which is served before
//! `waiting`, and preempts the running unit once that has run for the rate limit; the preempted unit keeps
//! its place, at the head of `waiting`, and its slice.
//!
//! That is fair however a unit sleeps and wakes: out of turn it can spend what is left of its slice, then it
//! has to queue behind everybody. So while a unit is runnable, each other one runs for at most one slice
//! before the first has used up its own. Without the preemption, a vCPU that spins until another vCPU
//! of its domain has taken an interrupt would spin for a slice each time.
//!
//! Invariants: a unit is in exactly one of `woken`, `waiting`, `current`, or asleep; every unit that is not
//! running has some slice left; both queues have room for every unit, so that only `insert` allocates.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::OutOfMemory;

/// Names a unit of scheduling: one vCPU. Stale once the unit is removed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UnitId {
    slot: u32,
    generation: u32,
}

/// What a CPU should do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Pick {
    /// The unit to run; `None` to idle.
    pub unit: Option<UnitId>,
    /// When to pick again at the latest, in absolute nanoseconds; `None` if nothing but a wake-up changes the answer.
    pub until: Option<u64>,
}

/// A scheduling policy over units named by `T`. All times are absolute nanoseconds that never go backwards;
/// a time before the last one counts as the last one.
pub trait Policy<T> {
    /// Adds a unit, asleep.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed then. No other operation allocates.
    fn insert(&mut self, payload: T) -> Result<UnitId, OutOfMemory>;

    /// Forgets a unit in any state, and returns its payload; `None` if `unit` is stale. If it was running, the
    /// CPU has to pick again.
    fn remove(&mut self, unit: UnitId, now: u64) -> Option<T>;

    /// Makes a sleeping unit runnable. Returns whether the CPU has to pick again; `false` if it was awake.
    #[must_use]
    fn wake(&mut self, unit: UnitId, now: u64) -> bool;

    /// Makes a unit not runnable. If it was running, the CPU has to pick again.
    fn sleep(&mut self, unit: UnitId, now: u64);

    /// Lets the other runnable units go first, once. The CPU has to pick again.
    fn yield_now(&mut self, unit: UnitId, now: u64);

    /// Decides what runs from `now` on.
    fn pick(&mut self, now: u64) -> Pick;

    /// Payload of a unit; `None` if it is stale.
    fn get(&self, unit: UnitId) -> Option<&T>;

    /// The unit that runs, as of the last pick.
    fn running(&self) -> Option<UnitId>;

    /// Nanoseconds for which the unit has run until `now`.
    fn run_time(&self, unit: UnitId, now: u64) -> u64;
}

/// Default slice: 30 ms.
pub(crate) const DEFAULT_SLICE: u64 = 30_000_000;
/// Default time that a unit runs for before a wake-up may preempt it: 200 µs.
pub(crate) const DEFAULT_RATE_LIMIT: u64 = 200_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Asleep,
    /// In `woken` or `waiting`.
    Queued,
    Running,
}

struct Unit<T> {
    /// `None` in a free slot.
    payload: Option<T>,
    generation: u32,
    state: State,
    /// Nanoseconds left of the slice.
    slice_left: u64,
    /// The slice is new and its turn has not come: the unit may only wait for it, at the tail of `waiting`,
    /// also if it sleeps and wakes meanwhile.
    to_tail: bool,
    run_time: u64,
}

/// The policy of one CPU. See the module's page.
pub struct RoundRobin<T> {
    units: Vec<Unit<T>>,
    free: Vec<u32>,
    woken: VecDeque<u32>,
    waiting: VecDeque<u32>,
    current: Option<u32>,
    /// When `current` was switched to.
    since: u64,
    /// Up to when `current` has been charged; also the latest time seen.
    charged: u64,
    slice: u64,
    rate_limit: u64,
}

impl<T> Default for RoundRobin<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> RoundRobin<T> {
    /// Makes a policy without units, with the default times.
    pub const fn new() -> Self {
        Self::with_times(DEFAULT_SLICE, DEFAULT_RATE_LIMIT)
    }

    /// Makes a policy without units. A slice of 0 counts as 1 ns.
    pub const fn with_times(slice: u64, rate_limit: u64) -> Self {
        Self {
            units: Vec::new(),
            free: Vec::new(),
            woken: VecDeque::new(),
            waiting: VecDeque::new(),
            current: None,
            since: 0,
            charged: 0,
            slice: if slice == 0 { 1 } else { slice },
            rate_limit,
        }
    }

    /// Units that are ready and not running, in the order in which they would run: for a person's eyes.
    pub fn queued(&self) -> impl Iterator<Item = &T> {
        self.woken
            .iter()
            .chain(&self.waiting)
            .filter_map(|slot| self.units.get(*slot as usize)?.payload.as_ref())
    }

    fn unit(&self, id: UnitId) -> Option<&Unit<T>> {
        self.units
            .get(id.slot as usize)
            .filter(|unit| unit.generation == id.generation && unit.payload.is_some())
    }

    fn unit_mut(&mut self, id: UnitId) -> Option<&mut Unit<T>> {
        self.units
            .get_mut(id.slot as usize)
            .filter(|unit| unit.generation == id.generation && unit.payload.is_some())
    }

    /// Charges the running unit up to `now`, and renews its slice if that is used up.
    fn charge(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.charged);
        self.charged = self.charged.max(now);
        let slice = self.slice;
        let Some(unit) = self
            .current
            .and_then(|slot| self.units.get_mut(slot as usize))
        else {
            return;
        };
        unit.run_time = unit.run_time.saturating_add(elapsed);
        unit.slice_left = unit.slice_left.saturating_sub(elapsed);
        if unit.slice_left == 0 {
            unit.slice_left = slice;
            unit.to_tail = true;
        }
    }

    /// Takes a unit out of the queue or off the CPU that it is in.
    fn detach(&mut self, slot: u32, state: State) {
        match state {
            State::Asleep => {}
            State::Running => self.current = None,
            State::Queued => {
                self.woken.retain(|queued| *queued != slot);
                self.waiting.retain(|queued| *queued != slot);
            }
        }
    }

    /// Puts the running unit back into a queue.
    fn requeue_current(&mut self) {
        let Some(slot) = self.current.take() else {
            return;
        };
        let Some(unit) = self.units.get_mut(slot as usize) else {
            return;
        };
        unit.state = State::Queued;
        if unit.to_tail {
            self.waiting.push_back(slot);
        } else {
            self.waiting.push_front(slot);
        }
    }

    /// Whether the running unit has to make room for another at the latest time seen.
    fn is_preempted(&self, to_tail: bool) -> bool {
        if !self.woken.is_empty() && self.charged - self.since >= self.rate_limit {
            return true;
        }
        to_tail && !(self.waiting.is_empty() && self.woken.is_empty())
    }
}

impl<T> Policy<T> for RoundRobin<T> {
    fn insert(&mut self, payload: T) -> Result<UnitId, OutOfMemory> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                // Room in all four now: nothing else allocates.
                self.units.try_reserve(1).map_err(|_| OutOfMemory)?;
                let room = self.units.len() + 1;
                let missing = |have: usize| room.saturating_sub(have);
                let need = missing(self.free.len());
                self.free.try_reserve(need).map_err(|_| OutOfMemory)?;
                for queue in [&mut self.woken, &mut self.waiting] {
                    let need = missing(queue.len());
                    queue.try_reserve(need).map_err(|_| OutOfMemory)?;
                }
                let slot = u32::try_from(self.units.len()).map_err(|_| OutOfMemory)?;
                self.units.push(Unit {
                    payload: None,
                    generation: 0,
                    state: State::Asleep,
                    slice_left: 0,
                    to_tail: false,
                    run_time: 0,
                });
                slot
            }
        };
        let slice = self.slice;
        let unit = self.units.get_mut(slot as usize).ok_or(OutOfMemory)?;
        *unit = Unit {
            payload: Some(payload),
            generation: unit.generation,
            state: State::Asleep,
            slice_left: slice,
            // A new unit has not been charged for anything yet: it queues behind the others.
            to_tail: true,
            run_time: 0,
        };
        let generation = unit.generation;
        Ok(UnitId { slot, generation })
    }

    fn remove(&mut self, id: UnitId, now: u64) -> Option<T> {
        self.sleep(id, now);
        let unit = self.unit_mut(id)?;
        unit.generation = unit.generation.wrapping_add(1);
        let payload = unit.payload.take();
        self.free.push(id.slot);
        payload
    }

    fn wake(&mut self, id: UnitId, now: u64) -> bool {
        self.charge(now);
        let Some(unit) = self.unit_mut(id) else {
            return false;
        };
        if unit.state != State::Asleep {
            return false;
        }
        unit.state = State::Queued;
        if unit.to_tail {
            self.waiting.push_back(id.slot);
        } else {
            self.woken.push_back(id.slot);
        }
        true
    }

    fn sleep(&mut self, id: UnitId, now: u64) {
        self.charge(now);
        let Some(unit) = self.unit_mut(id) else {
            return;
        };
        let state = core::mem::replace(&mut unit.state, State::Asleep);
        self.detach(id.slot, state);
    }

    fn yield_now(&mut self, id: UnitId, now: u64) {
        self.charge(now);
        let slice = self.slice;
        let Some(unit) = self.unit_mut(id) else {
            return;
        };
        match unit.state {
            State::Asleep => {}
            State::Running => {
                unit.slice_left = slice;
                unit.to_tail = true;
            }
            State::Queued => {
                self.detach(id.slot, State::Queued);
                self.waiting.push_back(id.slot);
            }
        }
    }

    fn pick(&mut self, now: u64) -> Pick {
        self.charge(now);
        let now = self.charged;
        if let Some(unit) = self.current.and_then(|slot| self.units.get(slot as usize))
            && self.is_preempted(unit.to_tail)
        {
            self.requeue_current();
        }
        if self.current.is_none() {
            let next = self.woken.pop_front().or_else(|| self.waiting.pop_front());
            if let Some(unit) = next.and_then(|slot| self.units.get_mut(slot as usize)) {
                unit.state = State::Running;
                self.current = next;
                self.since = now;
            }
        }
        let Some(slot) = self.current else {
            return Pick {
                unit: None,
                until: None,
            };
        };
        let Some(unit) = self.units.get_mut(slot as usize) else {
            return Pick {
                unit: None,
                until: None,
            };
        };
        // A renewed slice starts here, whether the unit was switched to or had nobody to make room for.
        unit.to_tail = false;
        let generation = unit.generation;
        let slice_end = now.saturating_add(unit.slice_left);
        let until = if !self.woken.is_empty() {
            // Never in the past: past the rate limit, `current` would have been preempted above.
            Some(
                slice_end
                    .min(self.since.saturating_add(self.rate_limit))
                    .max(now),
            )
        } else if !self.waiting.is_empty() {
            Some(slice_end)
        } else {
            None
        };
        Pick {
            unit: Some(UnitId { slot, generation }),
            until,
        }
    }

    fn get(&self, id: UnitId) -> Option<&T> {
        self.unit(id)?.payload.as_ref()
    }

    fn running(&self) -> Option<UnitId> {
        let slot = self.current?;
        let generation = self.units.get(slot as usize)?.generation;
        Some(UnitId { slot, generation })
    }

    fn run_time(&self, id: UnitId, now: u64) -> u64 {
        let Some(unit) = self.unit(id) else {
            return 0;
        };
        let uncharged = if self.current == Some(id.slot) {
            now.saturating_sub(self.charged)
        } else {
            0
        };
        unit.run_time.saturating_add(uncharged)
    }
}

#[cfg(test)]
mod tests;
