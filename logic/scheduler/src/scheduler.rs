//! All run queues together: what vCPUs and CPUs do all the time. Rarer changes are in `topology`.

use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::DerefMut;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::OutOfMemory;
use crate::balance::Search;
use crate::mask::{AtomicCpuMask, CpuMask, MAX_CPUS};
use crate::policy::Policy;
use crate::queue::{Queue, earlier};
use crate::unit::{Payload, Place, State, Unit};

/// A lock around a `V`, of the hypervisor's kind.
pub trait Lock<V> {
    /// Access to the value for as long as it lives.
    type Guard<'a>: DerefMut<Target = V>
    where
        Self: 'a;

    /// Waits for the lock. The scheduler holds no other one of its own then.
    fn lock(&self) -> Self::Guard<'_>;

    /// Takes the lock if no one has it. Another one of the scheduler's may be held.
    fn try_lock(&self) -> Option<Self::Guard<'_>>;
}

/// What a CPU should do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next<T> {
    /// Run the unit whose registers it has loaded.
    Stay,
    /// Save what is loaded, if anything, and [`Scheduler::release`] it; then load and run this one. It counts as
    /// loaded from now on: should the CPU not run it after all, it releases it.
    Switch(T),
    /// Halt until an interrupt. What is loaded may stay loaded.
    Idle,
    /// Save what is loaded and [`Scheduler::release`] it, for another CPU wants it; then halt until an interrupt.
    Unload,
}

/// Answer to a CPU that asked what to run. It is for as long as its [`TurnEnd`] says.
#[derive(Clone, Debug)]
#[must_use]
pub struct Pick<T> {
    /// What to run.
    pub next: Next<T>,
    /// Other CPUs that should pick now; mostly none.
    pub kick: CpuMask,
}

/// What a CPU is to be told after a unit became ready, or not any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Notice {
    /// The CPU should pick now.
    Pick(usize),
    /// What it runs goes on, but the CPU's [`TurnEnd`] is sooner than it was.
    Sooner(usize),
}

/// What a queue tells those who do not hold its lock.
pub(crate) struct Slot<L> {
    pub(crate) lock: L,
    /// The claim of its most deserving waiting unit, as it was last; of use if the queue is in `waiting`.
    pub(crate) claim_from: AtomicU64,
    pub(crate) claim_weight: AtomicU32,
    units: AtomicUsize,
}

/// When a CPU should pick again at the latest, in absolute nanoseconds. The hypervisor keeps it where the CPU looks before it
/// enters a guest; the scheduler changes it, with the lock of the CPU's queue.
#[derive(Debug)]
pub struct TurnEnd(AtomicU64);

/// A time that does not come.
pub const NEVER: u64 = u64::MAX;

impl TurnEnd {
    /// [`NEVER`].
    pub const fn new() -> Self {
        Self(AtomicU64::new(NEVER))
    }

    /// The time; [`NEVER`] if only others' doing changes what the CPU runs.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, until: Option<u64>) {
        self.0.store(until.unwrap_or(NEVER), Ordering::Relaxed);
    }
}

impl Default for TurnEnd {
    fn default() -> Self {
        Self::new()
    }
}

/// What is known of a CPU without a lock.
struct CpuSlot {
    /// Its queue, or [`NO_QUEUE`].
    queue: AtomicU32,
    turn_end: &'static TurnEnd,
}

/// All run queues of the machine. See the [crate's page](crate) for the protocol.
pub struct Scheduler<T, L> {
    pub(crate) queues: Vec<Slot<L>>,
    cpus: Vec<CpuSlot>,
    /// CPUs that have nothing to run and would take any unit. Who takes a CPU out tells it to pick.
    pub(crate) idle: AtomicCpuMask,
    /// Queues that have a ready unit which may go elsewhere.
    pub(crate) waiting: AtomicCpuMask,
    payload: PhantomData<fn() -> T>,
}

const NO_QUEUE: u32 = u32::MAX;
/// How soon an idle CPU tries again to lock a queue that has work for it.
const RETRY: u64 = 50_000;
/// Most waiting units for which a CPU looks for an idle one, in one pick.
pub(crate) const OFFERS: usize = 4;

impl<T: Payload, L: Lock<Queue<T>>> Scheduler<T, L> {
    /// Queues for CPUs 0 to `cpus` − 1 (at most [`MAX_CPUS`]), none of which is served yet: CPUs join by
    /// [`crate::Pools::add_cpu`]. `make_lock` puts a queue into a lock; `turn_end` is where a CPU looks for the end of its
    /// turn, which no other scheduler changes.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(
        cpus: usize,
        make_lock: impl Fn(Queue<T>) -> L,
        turn_end: impl Fn(usize) -> &'static TurnEnd,
    ) -> Result<Self, OutOfMemory> {
        let count = cpus.min(MAX_CPUS);
        let mut queues = Vec::new();
        let mut cpus = Vec::new();
        queues.try_reserve_exact(count).map_err(|_| OutOfMemory)?;
        cpus.try_reserve_exact(count).map_err(|_| OutOfMemory)?;
        for index in 0..count {
            queues.push(Slot {
                lock: make_lock(Queue::new(index)),
                claim_from: AtomicU64::new(0),
                claim_weight: AtomicU32::new(0),
                units: AtomicUsize::new(0),
            });
            cpus.push(CpuSlot {
                queue: AtomicU32::new(NO_QUEUE),
                turn_end: turn_end(index),
            });
        }
        Ok(Self {
            queues,
            cpus,
            idle: AtomicCpuMask::new(),
            waiting: AtomicCpuMask::new(),
            payload: PhantomData,
        })
    }

    /// Makes a unit runnable or not, as `runs` says, which is asked under the lock of the unit's queue: whoever changes
    /// something that `runs` looks at calls this afterwards, and the last one leaves the unit as it should be.
    pub fn update(&self, unit: &Unit, now: u64, runs: impl FnOnce() -> bool) -> Option<Notice> {
        let (mut queue, slot) = self.lock_unit(unit)?;
        if runs() {
            if !queue.wake(slot) {
                return None;
            }
            if let Some(entry) = queue.units.get(slot) {
                entry.payload.share().note_awake();
            }
            self.publish(&queue);
            if let Some(cpu) = self.idle_cpu_for(&queue, slot) {
                return Some(Notice::Pick(cpu));
            }
            let (cpu, by) = queue.disturbed_by(slot, now)?;
            if by <= now {
                return Some(Notice::Pick(cpu));
            }
            // The rate of switches is limited, so that most wake-ups cost no pick.
            self.shorten_turn(cpu, by).then_some(Notice::Sooner(cpu))
        } else {
            let (was_awake, ran_on) = queue.sleep(slot, now);
            if was_awake {
                if let Some(entry) = queue.units.get(slot) {
                    entry.payload.share().note_asleep();
                }
                self.publish(&queue);
            }
            ran_on.map(Notice::Pick)
        }
    }

    /// Lets the other runnable units go before the running one, once. Its CPU has to pick.
    pub fn yield_now(&self, unit: &Unit) {
        if let Some((mut queue, slot)) = self.lock_unit(unit)
            && let Some(entry) = queue.units.get_mut(slot)
            && matches!(entry.state, State::Running(_))
        {
            entry.yielded = true;
        }
    }

    /// Notes that a CPU has saved the unit's registers and has them no more. Returns another CPU that should pick. `now`
    /// is asked for the time if that matters.
    #[must_use]
    #[inline]
    pub fn release(&self, unit: &Unit, now: impl FnOnce() -> u64) -> Option<usize> {
        if unit.unload() {
            self.offer_again(unit, now())
        } else {
            None
        }
    }

    /// Finds a CPU for a unit that another one passed by while it was loaded.
    #[inline(never)]
    fn offer_again(&self, unit: &Unit, now: u64) -> Option<usize> {
        let (mut queue, slot) = self.lock_unit(unit)?;
        queue
            .units
            .get(slot)
            .filter(|entry| entry.state == State::Ready)?;
        self.cpu_for(&mut queue, slot, now)
    }

    /// Nanoseconds for which the unit has run until `now`.
    pub fn run_time(&self, unit: &Unit, now: u64) -> u64 {
        let Some((mut queue, slot)) = self.lock_unit(unit) else {
            return 0;
        };
        if let Some(State::Running(cpu)) = queue.units.get(slot).map(|entry| entry.state) {
            queue.charge(cpu, now);
        }
        queue.units.get(slot).map_or(0, |entry| entry.run_time)
    }

    /// Ends the turn of `cpu`, whose queue is locked, at `until`, if it would be later. Whether it is sooner now.
    fn shorten_turn(&self, cpu: usize, until: u64) -> bool {
        let Some(slot) = self.cpus.get(cpu) else {
            return false;
        };
        let is_sooner = until < slot.turn_end.get();
        if is_sooner {
            slot.turn_end.set(Some(until));
        }
        is_sooner
    }

    fn set_turn_end(&self, cpu: usize, until: Option<u64>) {
        if let Some(slot) = self.cpus.get(cpu) {
            slot.turn_end.set(until);
        }
    }

    /// Decides what `cpu`, which has `loaded` loaded, runs from `now` on. A CPU that is in no pool idles.
    pub fn pick(&self, cpu: usize, loaded: Option<&Unit>, now: u64) -> Pick<T> {
        let was_idle = self.idle.remove(cpu);
        let Some(mut queue) = self.lock_queue_of(cpu) else {
            self.set_turn_end(cpu, None);
            return Pick {
                next: loaded.map_or(Next::Idle, |_| Next::Unload),
                kick: CpuMask::EMPTY,
            };
        };
        // Another CPU took it out of the idle ones, for a unit that it wants to be run.
        let owes_look = queue
            .runner_mut(cpu)
            .is_some_and(|runner| core::mem::take(&mut runner.owes_look) && !was_idle);
        queue.charge(cpu, now);
        queue.unpark(now);
        let mut retry = None;
        let choice = loop {
            let mut choice = queue.choose(cpu, now);
            if choice.slot.is_some_and(|slot| !queue.has_budget(slot, now)) {
                continue;
            }
            if choice.open && (choice.slot.is_some() || queue.policy.is_vacant()) {
                match self.search(&mut queue, cpu, choice.slot, now) {
                    Search::Taken(slot) => {
                        if !queue.has_budget(slot, now) {
                            continue;
                        }
                        choice.slot = Some(slot);
                    }
                    Search::Nothing { .. } if choice.slot.is_none() => {
                        // Say so, and look again: who brings work from now on sees it, or is seen.
                        self.idle.insert(cpu);
                        match self.search(&mut queue, cpu, None, now) {
                            Search::Taken(slot) => {
                                self.idle.remove(cpu);
                                if !queue.has_budget(slot, now) {
                                    continue;
                                }
                                choice.slot = Some(slot);
                            }
                            Search::Nothing { busy: true } => {
                                retry = Some(now.saturating_add(RETRY));
                            }
                            Search::Nothing { busy: false } => {}
                        }
                    }
                    Search::Nothing { .. } => {}
                }
            }
            break choice;
        };
        let until = queue.start(cpu, choice.slot, choice.open, now);
        let until = earlier(earlier(until, queue.next_unpark()), retry);
        self.set_turn_end(cpu, until);
        self.publish(&queue);
        let next = match (choice.slot.and_then(|slot| queue.units.get(slot)), loaded) {
            (Some(entry), Some(loaded)) if core::ptr::eq(entry.payload.unit(), loaded) => {
                Next::Stay
            }
            (Some(entry), _) => Next::Switch(entry.payload.clone()),
            (None, Some(loaded))
                if loaded.is_wanted()
                    || loaded
                        .place()
                        .is_none_or(|place| place.queue != queue.index) =>
            {
                Next::Unload
            }
            (None, _) => Next::Idle,
        };
        let mut kick = CpuMask::EMPTY;
        if choice.slot.is_none() {
            if let Some(runner) = queue.runner_mut(cpu) {
                runner.owes_look = true;
            }
        } else if owes_look {
            kick = self.look_on(&queue);
        }
        for slot in queue.units.ready.iter().take(OFFERS) {
            if self.idle.is_empty() {
                break;
            }
            if let Some(idle) = self.idle_cpu_for(&queue, *slot) {
                kick.insert(idle);
            }
        }
        Pick { next, kick }
    }

    /// Moves a unit from one locked queue to another. A running one is ready then, and the CPU that ran it has to
    /// pick.
    pub(crate) fn transfer(
        &self,
        from: &mut Queue<T>,
        slot: u32,
        to: &mut Queue<T>,
        now: u64,
    ) -> Result<u32, OutOfMemory> {
        to.reserve()?;
        let (mut entry, _) = from.take(slot, now).ok_or(OutOfMemory)?;
        if from.policy.kind() != to.policy.kind() {
            entry.placed = false;
        }
        let payload = entry.payload.clone();
        let slot = to.insert(entry)?;
        payload.unit().set_place(Some(Place {
            queue: to.index,
            slot,
        }));
        self.note_len(from);
        self.note_len(to);
        Ok(slot)
    }

    /// The CPU that should pick because `slot` is ready: an idle one if any, else one of the queue that it may preempt.
    pub(crate) fn cpu_for(&self, queue: &mut Queue<T>, slot: u32, now: u64) -> Option<usize> {
        let idle = self.idle_cpu_for(queue, slot);
        idle.or_else(|| queue.disturbed_by(slot, now).map(|(cpu, _)| cpu))
    }

    /// Tells the others what is in a queue, after a change and before its lock is given back.
    #[inline]
    pub(crate) fn publish(&self, queue: &Queue<T>) {
        if queue.may_offer() {
            self.publish_offer(queue);
        } else {
            self.waiting.remove(queue.index);
        }
    }

    #[inline(never)]
    fn publish_offer(&self, queue: &Queue<T>) {
        let Some(slot) = self.queues.get(queue.index) else {
            return;
        };
        match queue.offer() {
            Some(claim) => {
                // Hints: who acts on them looks again under the lock.
                slot.claim_from.store(claim.from, Ordering::Relaxed);
                slot.claim_weight.store(claim.weight, Ordering::Relaxed);
                if !self.waiting.contains(queue.index) {
                    self.waiting.insert(queue.index);
                }
            }
            None => {
                self.waiting.remove(queue.index);
            }
        }
    }

    pub(crate) fn note_len(&self, queue: &Queue<T>) {
        if let Some(slot) = self.queues.get(queue.index) {
            slot.units.store(queue.len(), Ordering::Relaxed);
        }
    }

    /// Number of units in queue `index`, as it was last.
    pub(crate) fn len_of(&self, index: usize) -> usize {
        self.queues
            .get(index)
            .map_or(usize::MAX, |slot| slot.units.load(Ordering::Relaxed))
    }

    /// Number of queues.
    pub(crate) fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// Queue `index`, locked.
    pub(crate) fn lock_queue(&self, index: usize) -> Option<L::Guard<'_>> {
        Some(self.queues.get(index)?.lock.lock())
    }

    /// Queue `index`, if nobody has it locked.
    pub(crate) fn try_lock_queue(&self, index: usize) -> Option<L::Guard<'_>> {
        self.queues.get(index)?.lock.try_lock()
    }

    /// The queue that serves `cpu`, as it was last.
    pub(crate) fn queue_index_of(&self, cpu: usize) -> Option<usize> {
        let index = self.cpus.get(cpu)?.queue.load(Ordering::Acquire);
        (index != NO_QUEUE).then_some(index as usize)
    }

    pub(crate) fn set_queue_of(&self, cpu: usize, index: Option<usize>) {
        if let Some(slot) = self.cpus.get(cpu) {
            let index = index.map_or(NO_QUEUE, |index| index as u32);
            slot.queue.store(index, Ordering::Release);
        }
    }

    /// The queue that serves `cpu`, locked.
    fn lock_queue_of(&self, cpu: usize) -> Option<L::Guard<'_>> {
        loop {
            let index = self.queue_index_of(cpu)?;
            let queue = self.lock_queue(index)?;
            if queue.units.cpus.contains(cpu) {
                return Some(queue);
            }
            // It left while this CPU waited for the lock.
            if self.queue_index_of(cpu) == Some(index) {
                return None;
            }
        }
    }

    /// The queue that a unit is in, locked, and its slot there.
    pub(crate) fn lock_unit(&self, unit: &Unit) -> Option<(L::Guard<'_>, u32)> {
        loop {
            let place = unit.place()?;
            let queue = self.lock_queue(place.queue)?;
            // It moves only under this lock.
            if unit.place() == Some(place) {
                return Some((queue, place.slot));
            }
        }
    }
}
