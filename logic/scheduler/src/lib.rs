//! Which vCPU runs next on a CPU, and for how long.
//!
//! A policy is a pure state machine: it is told what vCPUs do and what time it is, and answers what to run.
//! It holds no vCPU, only a payload `T` by which the hypervisor knows one. An instance serves the CPUs that
//! share one run queue (one CPU, for [`RoundRobin`]) and lives in one lock; a simulated clock drives it in tests.
//!
//! The protocol of a CPU: after [`Policy::wake`] says so, after the running unit sleeps or yields, or when the
//! time of the last [`Pick`] is up, call [`Policy::pick`] and run what it names until the time that it names.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod round_robin;

pub use round_robin::{DEFAULT_RATE_LIMIT, DEFAULT_SLICE, RoundRobin};

/// Memory for another unit could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

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
