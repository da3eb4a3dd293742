//! `null`: a CPU for each vCPU, and nothing to decide.
//!
//! A CPU belongs to the first unit that it runs, asleep or not, until that unit is removed or goes elsewhere. Units
//! for which no CPU is left wait, in the order of their arrival, for one to become free; meanwhile they do not run,
//! however idle the CPUs are. That is what the policy is for: nobody ever shares, and no timer is needed.

use crate::policy::{Arrival, Choice, Policy};
use crate::queue::{Runner, Units};
use crate::unit::{Entry, Payload};

/// The policy of a queue with one CPU.
#[derive(Default)]
pub(crate) struct Null {
    /// The unit that the CPU belongs to.
    owner: Option<u32>,
    arrivals: u64,
}

impl Policy for Null {
    fn enqueue<T: Payload>(&mut self, units: &mut Units<T>, slot: u32, _arrival: Arrival) {
        self.arrivals += 1;
        let arrivals = self.arrivals;
        if let Some(entry) = units.get_mut(slot) {
            entry.tag = arrivals;
        }
        units.ready.push(slot);
    }

    fn charge<T: Payload>(&mut self, _entry: &mut Entry<T>, _elapsed: u64) {}

    fn choose<T: Payload>(&mut self, units: &Units<T>, runner: &Runner, _now: u64) -> Choice {
        // Once its owner may not run here any more, the CPU is free for another.
        if self
            .owner
            .is_some_and(|owner| !units.may_run_on(owner, runner.cpu))
        {
            self.owner = None;
        }
        let slot = match self.owner {
            Some(owner) => (runner.current == Some(owner)
                || units.ready.contains(&owner) && units.is_free_for(owner, runner.cpu))
            .then_some(owner),
            None => units.first_for(runner.cpu),
        };
        Choice { slot, open: true }
    }

    fn start<T: Payload>(
        &mut self,
        _units: &Units<T>,
        _runner: &mut Runner,
        slot: u32,
        _open: bool,
        _now: u64,
    ) -> Option<u64> {
        self.owner = Some(slot);
        None
    }

    fn is_vacant(&self) -> bool {
        self.owner.is_none()
    }

    fn may_leave(&self, slot: u32) -> bool {
        self.owner != Some(slot)
    }

    fn forget(&mut self, slot: u32) {
        if self.owner == Some(slot) {
            self.owner = None;
        }
    }

    fn disturbs<T: Payload>(
        &self,
        _units: &Units<T>,
        runners: &mut [Runner],
        slot: u32,
        now: u64,
    ) -> Option<(usize, u64)> {
        runners
            .first()
            .filter(|_| self.owner.is_none_or(|owner| owner == slot))
            .map(|runner| (runner.cpu, now))
    }
}
