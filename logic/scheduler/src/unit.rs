//! A unit of scheduling, one vCPU: what the hypervisor embeds in it, and what a queue keeps of it.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::mask::{CpuMask, MAX_CPUS};
use crate::share::{Grant, Share, Taken};

/// By what the hypervisor knows a vCPU: cheap to clone, and keeps it alive.
pub trait Payload: Clone {
    /// The scheduler's part of the vCPU; always the same one.
    fn unit(&self) -> &Unit;
    /// The scheduler's part of its domain.
    fn share(&self) -> &Share;
    /// UUID of its domain and its number there, by which an ARINC 653 schedule names it.
    fn name(&self) -> ([u8; 16], u32);

    /// Its number in its domain.
    fn number(&self) -> u32 {
        self.name().1
    }
}

/// The scheduler's part of a vCPU, which the hypervisor embeds in it.
///
/// It says in which queue the vCPU is, so that an operation on a vCPU takes that queue's lock and no other, and on
/// which CPU its registers are, so that none runs it before another has saved it.
#[derive(Debug)]
pub struct Unit {
    /// Queue and slot; see [`Place`]. Changed only with the locks of the queues that it leaves and enters.
    place: AtomicU64,
    /// The CPU that has its state loaded, or [`NO_CPU`].
    loaded_on: AtomicU32,
    /// Some CPU passed it by because it was loaded elsewhere.
    passed_by: AtomicBool,
}

const NO_CPU: u32 = u32::MAX;

/// Where a unit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) queue: usize,
    pub(crate) slot: u32,
}

impl Default for Unit {
    fn default() -> Self {
        Self::new()
    }
}

impl Unit {
    /// In no queue, loaded nowhere.
    pub const fn new() -> Self {
        Self {
            place: AtomicU64::new(0),
            loaded_on: AtomicU32::new(NO_CPU),
            passed_by: AtomicBool::new(false),
        }
    }

    /// The CPU that has the unit's state loaded: the last one that was told to run it, until it calls
    /// [`crate::Scheduler::release`].
    pub fn loaded_on(&self) -> Option<usize> {
        let cpu = self.loaded_on.load(Ordering::SeqCst);
        (cpu != NO_CPU).then_some(cpu as usize)
    }

    /// Asks the CPU that has the unit's state to save it as soon as it does not run the unit any more; an idle CPU would
    /// keep it. Returns that CPU, which should pick.
    #[must_use]
    pub fn ask_for(&self) -> Option<usize> {
        if self.may_run_on(MAX_CPUS) {
            None
        } else {
            self.loaded_on()
        }
    }

    pub(crate) fn place(&self) -> Option<Place> {
        let word = self.place.load(Ordering::Acquire);
        let queue = (word >> 32).checked_sub(1)?;
        Some(Place {
            queue: queue as usize,
            slot: word as u32,
        })
    }

    pub(crate) fn set_place(&self, place: Option<Place>) {
        let word = place.map_or(0, |place| {
            (place.queue as u64 + 1) << 32 | u64::from(place.slot)
        });
        self.place.store(word, Ordering::Release);
    }

    /// A CPU takes it; under its queue's lock, and only if [`Unit::may_run_on`] said so.
    pub(crate) fn load_on(&self, cpu: usize) {
        self.loaded_on
            .store(u32::try_from(cpu).unwrap_or(NO_CPU), Ordering::SeqCst);
    }

    /// Whether no other CPU than `cpu` has its state. If one has, it will be told to offer the unit.
    pub(crate) fn may_run_on(&self, cpu: usize) -> bool {
        let free = || self.loaded_on().is_none_or(|on| on == cpu);
        if free() {
            return true;
        }
        // Pairs with `unload`: it clears the CPU and then looks here, this sets and then looks at the CPU again.
        self.passed_by.store(true, Ordering::SeqCst);
        free()
    }

    /// Whether another CPU wanted to run it while it was loaded where it is.
    pub(crate) fn is_wanted(&self) -> bool {
        self.passed_by.load(Ordering::SeqCst)
    }

    /// The CPU has saved its state. Returns whether another CPU wanted to run it meanwhile.
    pub(crate) fn unload(&self) -> bool {
        self.loaded_on.store(NO_CPU, Ordering::SeqCst);
        self.passed_by.load(Ordering::SeqCst) && self.passed_by.swap(false, Ordering::SeqCst)
    }
}

/// Where a vCPU may run, and where it likes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Affinity {
    /// It runs on these only. If none of them is in its pool, on all of the pool.
    pub hard: CpuMask,
    /// It runs on these rather than on others, as far as that leaves no CPU idle.
    pub soft: CpuMask,
}

impl Affinity {
    /// Anywhere.
    pub const ANY: Self = Self {
        hard: CpuMask::ALL,
        soft: CpuMask::ALL,
    };
}

/// What a unit is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Not runnable.
    Asleep,
    /// Waits for a CPU.
    Ready,
    /// Its domain has used up its cap; waits until this time.
    Parked(u64),
    /// Runs on this CPU, as of that CPU's last pick.
    Running(usize),
}

/// What a queue keeps of a unit.
pub(crate) struct Entry<T> {
    pub(crate) payload: T,
    pub(crate) state: State,
    pub(crate) affinity: Affinity,
    /// Temporary pin, stronger than the affinity.
    pub(crate) pin: Option<usize>,
    /// Nanoseconds that it ran.
    pub(crate) run_time: u64,
    /// Virtual time: see `credit2`. The order of arrival for `null`.
    pub(crate) tag: u64,
    /// Rest of the division by the weight.
    pub(crate) remainder: u64,
    /// `tag` means something.
    pub(crate) placed: bool,
    /// Let the others go first at the next pick.
    pub(crate) yielded: bool,
    /// Part of the domain's budget that it runs on.
    pub(crate) grant: Option<Grant>,
    /// Of this period's budget.
    pub(crate) taken: Taken,
}

impl<T: Payload> Entry<T> {
    pub(crate) fn new(payload: T, affinity: Affinity) -> Self {
        Self {
            payload,
            state: State::Asleep,
            affinity,
            pin: None,
            run_time: 0,
            tag: 0,
            remainder: 0,
            placed: false,
            yielded: false,
            grant: None,
            taken: Taken::default(),
        }
    }

    /// Where it may run, of a pool's CPUs.
    pub(crate) fn allowed(&self, pool: &CpuMask) -> CpuMask {
        if let Some(cpu) = self.pin
            && pool.contains(cpu)
        {
            return CpuMask::only(cpu);
        }
        let allowed = self.affinity.hard.and(*pool);
        if allowed.is_empty() { *pool } else { allowed }
    }

    /// Whether it may run on `cpu`, of a pool's CPUs: as [`Self::allowed`] says, which is dearer.
    #[inline]
    pub(crate) fn may_run_on(&self, cpu: usize, pool: &CpuMask) -> bool {
        if self.pin.is_none() && pool.contains(cpu) && self.affinity.hard.contains(cpu) {
            return true;
        }
        self.is_allowed_by_rules(&CpuMask::only(cpu), pool)
    }

    /// Whether it may run on one of `some` of a pool's CPUs.
    #[inline]
    pub(crate) fn may_run_in(&self, some: &CpuMask, pool: &CpuMask) -> bool {
        if self.pin.is_none() && self.affinity.hard.intersects(some) {
            return true;
        }
        self.is_allowed_by_rules(some, pool)
    }

    /// [`Self::may_run_in`] where that is not plain to see.
    #[cold]
    #[inline(never)]
    fn is_allowed_by_rules(&self, some: &CpuMask, pool: &CpuMask) -> bool {
        self.allowed(pool).intersects(some)
    }

    /// Where it likes to run, of those where it may; never empty unless `allowed` is.
    pub(crate) fn preferred(&self, allowed: CpuMask) -> CpuMask {
        let preferred = self.affinity.soft.and(allowed);
        if preferred.is_empty() {
            allowed
        } else {
            preferred
        }
    }

    pub(crate) fn weight(&self) -> u32 {
        self.payload.share().weight()
    }

    /// Ends the use of the domain's budget.
    pub(crate) fn return_grant(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.payload.share().give_back(grant, &mut self.taken);
        }
    }
}

const _: () = assert!(MAX_CPUS < NO_CPU as usize);
