//! Work finds CPUs and CPUs find work, across queues.

use core::sync::atomic::Ordering;

use crate::credit2::{BALANCE_PERIOD, Credit2, MAX_LAG, MAX_LEAD, lead, virtual_time};
use crate::mask::{CpuMask, MAX_CPUS};
use crate::policy::{Kind, Policy};
use crate::queue::{Claim, Queue};
use crate::scheduler::{Lock, OFFERS, Scheduler};
use crate::unit::Payload;

/// Most queues that a CPU tries to take from in one pick, when it has something else to run.
const TRIES: usize = 2;

/// Result of looking for a better unit in other queues.
pub(crate) enum Search {
    /// It is in this CPU's queue now.
    Taken(u32),
    /// There is none, or none that may be had; whether another CPU's lock was in the way.
    Nothing { busy: bool },
}

impl<T: Payload, L: Lock<Queue<T>>> Scheduler<T, L> {
    /// Idle CPUs for what waits in other queues: this one was told to look, and has something else to run now.
    pub(crate) fn look_on(&self, queue: &Queue<T>) -> CpuMask {
        let mut kick = CpuMask::EMPTY;
        let mut waiting = self.waiting.load().and(queue.peers);
        waiting.remove(queue.index);
        let idle = || self.idle.load().and(queue.units.pool);
        for index in waiting.iter().take(OFFERS) {
            if idle().is_empty() {
                break;
            }
            let found = match self.try_lock_queue(index) {
                Some(other) => other
                    .units
                    .ready
                    .iter()
                    .take(OFFERS)
                    .find_map(|slot| self.idle_cpu_for(&other, *slot)),
                // Whoever has the lock knows more; any idle CPU will find out.
                None => idle().iter().find(|cpu| self.idle.remove(*cpu)),
            };
            if let Some(cpu) = found {
                kick.insert(cpu);
            }
        }
        kick
    }

    /// Looks for a unit in other queues that `cpu` should run rather than `candidate` of its own, and takes it.
    #[inline]
    pub(crate) fn search(
        &self,
        queue: &mut Queue<T>,
        cpu: usize,
        candidate: Option<u32>,
        now: u64,
    ) -> Search {
        let mut left = self.waiting.load().and(queue.peers);
        left.remove(queue.index);
        if left.is_empty() {
            return Search::Nothing { busy: false };
        }
        self.search_in(left, queue, cpu, candidate, now)
    }

    /// [`Self::search`] in the queues `left`.
    fn search_in(
        &self,
        mut left: CpuMask,
        queue: &mut Queue<T>,
        cpu: usize,
        candidate: Option<u32>,
        now: u64,
    ) -> Search {
        let mut busy = false;
        let own = candidate.and_then(|slot| queue.units.get(slot));
        let own = own.map(|entry| (entry.tag, entry.weight()));
        if own.is_some() && queue.policy.kind() != Kind::Credit2 {
            return Search::Nothing { busy };
        }
        let mut tries = if own.is_some() { TRIES } else { usize::MAX };
        // The most deserving first.
        while let Some((index, claim)) = self.most_deserving(left) {
            left.remove(index);
            if let (Some((own_tag, own_weight)), Some(slot)) = (own, candidate) {
                let owed = lead(own_tag, claim.from);
                if owed <= 0 {
                    let bound = virtual_time(MAX_LAG, own_weight)
                        .saturating_add(virtual_time(MAX_LEAD, claim.weight));
                    if -owed > bound {
                        self.forgive(queue, cpu, slot, index, bound, now);
                    }
                    break;
                }
            }
            if tries == 0 {
                break;
            }
            tries -= 1;
            match self.steal(queue, cpu, index, own.map(|(tag, _)| tag), now) {
                Some(Search::Taken(slot)) => return Search::Taken(slot),
                Some(Search::Nothing { .. }) => busy = true,
                None => {}
            }
        }
        Search::Nothing { busy }
    }

    /// Of the queues in `among`, the one whose waiting unit has the strongest claim.
    fn most_deserving(&self, among: CpuMask) -> Option<(usize, Claim)> {
        among
            .iter()
            .filter_map(|index| {
                let slot = self.queues.get(index)?;
                let claim = Claim {
                    from: slot.claim_from.load(Ordering::Relaxed),
                    weight: slot.claim_weight.load(Ordering::Relaxed),
                };
                Some((index, claim))
            })
            .reduce(|best, other| {
                if lead(other.1.from, best.1.from) < 0 {
                    other
                } else {
                    best
                }
            })
    }

    /// Takes a unit that `cpu` may run out of queue `index`. `None` if there is none; nothing taken if it is locked.
    fn steal(
        &self,
        queue: &mut Queue<T>,
        cpu: usize,
        index: usize,
        own_tag: Option<u64>,
        now: u64,
    ) -> Option<Search> {
        let locked = Search::Nothing { busy: true };
        let Some(mut victim) = self.queues.get(index)?.lock.try_lock() else {
            return Some(locked);
        };
        let (slot, claim) = victim.first_to_leave(cpu, own_tag.is_some())?;
        // What the hint promised may be gone.
        if own_tag.is_some_and(|own| lead(own, claim.from) <= 0) {
            return None;
        }
        let slot = self.transfer(&mut victim, slot, queue, now).ok()?;
        self.publish(&victim);
        Some(Search::Taken(slot))
    }

    /// `slot` is what `cpu` wants to run, and lags so far behind what waits in queue `index` that it is not
    /// owed all that: its weight is more than a CPU's worth. Moves it up, if the other competes for this CPU.
    fn forgive(
        &self,
        queue: &mut Queue<T>,
        cpu: usize,
        slot: u32,
        index: usize,
        bound: i64,
        now: u64,
    ) {
        let Some(runner) = queue.runner_mut(cpu) else {
            return;
        };
        if now < runner.checked.saturating_add(BALANCE_PERIOD / 2) {
            return;
        }
        runner.checked = now;
        let Some(victim) = self.queues.get(index).and_then(|slot| slot.lock.try_lock()) else {
            return;
        };
        let tag = victim
            .first_to_leave(cpu, false)
            .map(|(_, claim)| claim.from);
        if let Some(tag) = tag {
            Credit2::forgive(&mut queue.units, slot, tag, bound);
        }
    }

    /// An idle CPU for a ready unit, which is marked as not idle any more: where its registers are, then in its
    /// queue, then where it likes to be, then anywhere.
    #[inline]
    pub(crate) fn idle_cpu_for(&self, queue: &Queue<T>, slot: u32) -> Option<usize> {
        let all_idle = self.idle.load();
        if all_idle.is_empty() {
            return None;
        }
        self.idle_cpu_of(all_idle, queue, slot)
    }

    /// [`Self::idle_cpu_for`] of the CPUs that were idle a moment ago.
    fn idle_cpu_of(&self, all_idle: CpuMask, queue: &Queue<T>, slot: u32) -> Option<usize> {
        if !queue.policy.may_leave(slot) {
            return None;
        }
        let entry = queue.units.get(slot)?;
        let allowed = entry.allowed(&queue.units.pool);
        let idle = all_idle.and(allowed);
        let preferred = entry.preferred(allowed);
        let unit = entry.payload.unit();
        if let Some(on) = unit.loaded_on() {
            if idle.contains(on) && preferred.contains(on) && self.idle.remove(on) {
                return Some(on);
            }
            if (!idle.is_empty() || all_idle.contains(on)) && !unit.may_run_on(MAX_CPUS) {
                // Nobody else can take it yet: whoever has its registers offers it when it has saved them. An idle CPU
                // has to be told.
                return self.idle.remove(on).then_some(on);
            }
        }
        if idle.is_empty() {
            return None;
        }
        let own = queue.units.cpus;
        let liked = preferred.and(idle);
        let by_choice = [liked.and(own), liked, idle.and(own), idle];
        by_choice
            .iter()
            .flat_map(CpuMask::iter)
            .find(|cpu| self.idle.remove(*cpu))
    }
}
