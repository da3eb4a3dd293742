//! The interface of a scheduling policy, and the choice of one.

use crate::arinc653::Arinc653;
use crate::credit2::Credit2;
use crate::null::Null;
use crate::queue::{Runner, Units};
use crate::unit::{Entry, Payload};

/// A scheduler by its number in the ABI (`XEN_SCHEDULER_*`, public/domctl.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Kind {
    /// Weights, caps, load balancing; the default.
    Credit2 = 6,
    /// A fixed, repeating schedule.
    Arinc653 = 7,
    /// A CPU for each vCPU.
    Null = 9,
}

impl Kind {
    /// The scheduler with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Credit2, Self::Arinc653, Self::Null]
            .into_iter()
            .find(|kind| kind.number() == number)
    }

    /// Its number in the ABI.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Its name, as `sched=` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credit2 => "credit2",
            Self::Arinc653 => "arinc653",
            Self::Null => "null",
        }
    }
}

/// How a unit comes to be ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// It slept, or was parked.
    Woken,
    /// It comes from another queue.
    Moved,
    /// Another took its CPU.
    Preempted,
}

/// What a policy chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Choice {
    /// The unit to run, if any.
    pub(crate) slot: Option<u32>,
    /// The choice is made anew, so a unit of another queue may be a better one; else the running unit goes on
    /// with what it was given.
    pub(crate) open: bool,
}

/// A scheduling policy of one queue: it orders what is ready, and chooses.
///
/// It sees the queue's units and keeps only what is its own. The queue does the rest: states, times, caps.
pub(crate) trait Policy {
    /// Puts a unit into `units.ready`, where it belongs.
    fn enqueue<T: Payload>(&mut self, units: &mut Units<T>, slot: u32, arrival: Arrival);

    /// Notes that a unit ran for `elapsed` nanoseconds.
    fn charge<T: Payload>(&mut self, entry: &mut Entry<T>, elapsed: u64);

    /// Chooses among the ready units and the one that runs on the CPU.
    fn choose<T: Payload>(&mut self, units: &Units<T>, runner: &Runner, now: u64) -> Choice;

    /// Notes that `slot` runs (or goes on) on a CPU from `now` on; it is not in `units.ready` any more. Sets
    /// `runner.slice_end`, and returns when to choose again.
    fn start<T: Payload>(
        &mut self,
        units: &Units<T>,
        runner: &mut Runner,
        slot: u32,
        open: bool,
        now: u64,
    ) -> Option<u64>;

    /// When a CPU that has nothing to run should choose again, if nothing happens before.
    fn idle_until(&self, _now: u64) -> Option<u64> {
        None
    }

    /// Whether a CPU without a choice may run a unit of another queue.
    fn is_vacant(&self) -> bool;

    /// Whether a ready unit may be taken to another queue.
    fn may_leave(&self, slot: u32) -> bool;

    /// The unit is in this queue no more.
    fn forget(&mut self, slot: u32);

    /// A unit is kept from running by its cap from now on, or not any more.
    fn note_parked<T: Payload>(&self, _entry: &mut Entry<T>, _is_parked: bool) {}

    /// Of the queue's CPUs, the one that should choose again because `slot` became ready, when none is idle; and when it
    /// should.
    fn disturbs<T: Payload>(
        &self,
        units: &Units<T>,
        runners: &mut [Runner],
        slot: u32,
        now: u64,
    ) -> Option<(usize, u64)>;
}

/// The policies that there are.
pub(crate) enum Policies {
    Credit2(Credit2),
    Null(Null),
    Arinc653(Arinc653),
}

impl Policies {
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Credit2 => Self::Credit2(Credit2::new()),
            Kind::Null => Self::Null(Null::default()),
            Kind::Arinc653 => Self::Arinc653(Arinc653::default()),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Credit2(_) => Kind::Credit2,
            Self::Null(_) => Kind::Null,
            Self::Arinc653(_) => Kind::Arinc653,
        }
    }
}

macro_rules! each {
    ($self:ident, $policy:ident => $call:expr) => {
        match $self {
            Policies::Credit2($policy) => $call,
            Policies::Null($policy) => $call,
            Policies::Arinc653($policy) => $call,
        }
    };
}

impl Policy for Policies {
    fn enqueue<T: Payload>(&mut self, units: &mut Units<T>, slot: u32, arrival: Arrival) {
        each!(self, policy => policy.enqueue(units, slot, arrival));
    }

    fn charge<T: Payload>(&mut self, entry: &mut Entry<T>, elapsed: u64) {
        each!(self, policy => policy.charge(entry, elapsed));
    }

    fn choose<T: Payload>(&mut self, units: &Units<T>, runner: &Runner, now: u64) -> Choice {
        each!(self, policy => policy.choose(units, runner, now))
    }

    fn start<T: Payload>(
        &mut self,
        units: &Units<T>,
        runner: &mut Runner,
        slot: u32,
        open: bool,
        now: u64,
    ) -> Option<u64> {
        each!(self, policy => policy.start(units, runner, slot, open, now))
    }

    fn idle_until(&self, now: u64) -> Option<u64> {
        each!(self, policy => policy.idle_until(now))
    }

    fn is_vacant(&self) -> bool {
        each!(self, policy => policy.is_vacant())
    }

    fn may_leave(&self, slot: u32) -> bool {
        each!(self, policy => policy.may_leave(slot))
    }

    fn forget(&mut self, slot: u32) {
        each!(self, policy => policy.forget(slot));
    }

    fn note_parked<T: Payload>(&self, entry: &mut Entry<T>, is_parked: bool) {
        each!(self, policy => policy.note_parked(entry, is_parked));
    }

    fn disturbs<T: Payload>(
        &self,
        units: &Units<T>,
        runners: &mut [Runner],
        slot: u32,
        now: u64,
    ) -> Option<(usize, u64)> {
        each!(self, policy => policy.disturbs(units, runners, slot, now))
    }
}
