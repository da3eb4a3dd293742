//! What changes now and then: vCPUs come and go, are bound to CPUs, move between pools; CPUs come and go. And lists for
//! a person's eyes.
//!
//! Operations that move a unit hold its queue and try the other, again and again if need be, with neither held in
//! between.

use crate::OutOfMemory;
use crate::arinc653::Schedule;
use crate::mask::CpuMask;
use crate::policy::{Kind, Policies};
use crate::queue::Queue;
use crate::scheduler::{Lock, Scheduler};
use crate::share::Share;
use crate::unit::{Affinity, Entry, Payload, Place, State, Unit};

/// A run queue, for a person's eyes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueInfo {
    /// Its number.
    pub index: usize,
    /// Its policy.
    pub kind: Kind,
    /// CPUs that it serves.
    pub cpus: CpuMask,
    /// Units in it, asleep or not.
    pub units: usize,
    /// Units that wait for a CPU.
    pub waiting: usize,
    /// Units that run.
    pub running: usize,
}

/// A unit, for a person's eyes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnitInfo {
    /// What it does.
    pub state: State,
    /// Nanoseconds that it has run.
    pub run_time: u64,
    /// Its place in the order of its queue: the lower, the sooner.
    pub tag: u64,
    /// Where it may and likes to run.
    pub affinity: Affinity,
    /// Temporary pin.
    pub pin: Option<usize>,
    /// CPUs of its pool on which it may run.
    pub allowed: CpuMask,
}

impl<T: Payload, L: Lock<Queue<T>>> Scheduler<T, L> {
    /// Adds a unit, asleep, to the pool that has the CPUs `pool`.
    ///
    /// # Errors
    /// There is no memory, or no CPU in the pool.
    pub fn insert(&self, payload: T, affinity: Affinity, pool: CpuMask) -> Result<(), OutOfMemory> {
        let mut entry = Some(Entry::new(payload, affinity));
        loop {
            let index = entry
                .as_ref()
                .and_then(|entry| self.emptiest(entry, pool, None))
                .ok_or(OutOfMemory)?;
            let mut queue = self.lock_queue(index).ok_or(OutOfMemory)?;
            // The last CPU may have left it meanwhile.
            if queue.units.cpus.and(pool).is_empty() {
                continue;
            }
            queue.reserve()?;
            if let Some(entry) = entry.take() {
                let payload = entry.payload.clone();
                let slot = queue.insert(entry)?;
                payload.unit().set_place(Some(Place { queue: index, slot }));
                self.note_len(&queue);
            }
            return Ok(());
        }
    }

    /// Forgets a unit in any state. Returns its payload and the CPU that should pick, if any; `None` if it was not there.
    pub fn remove(&self, unit: &Unit, now: u64) -> Option<(T, Option<usize>)> {
        let (mut queue, slot) = self.lock_unit(unit)?;
        let (entry, ran_on) = queue.take(slot, now)?;
        unit.set_place(None);
        if entry.state != State::Asleep {
            entry.payload.share().note_asleep();
        }
        self.note_len(&queue);
        self.publish(&queue);
        // A CPU of its own is free for another now.
        let freed = ran_on.or_else(|| {
            (queue.policy.kind() == Kind::Null)
                .then(|| queue.units.cpus.first())
                .flatten()
        });
        Some((entry.payload, freed))
    }

    /// Sets where a unit may run. Returns the CPUs that should pick.
    ///
    /// # Errors
    /// There is no memory in a queue where it may be; the affinity is set, and the unit waits until there is.
    pub fn set_affinity(
        &self,
        unit: &Unit,
        affinity: Affinity,
        now: u64,
    ) -> Result<CpuMask, OutOfMemory> {
        if let Some((mut queue, slot)) = self.lock_unit(unit)
            && let Some(entry) = queue.units.get_mut(slot)
        {
            entry.affinity = affinity;
        }
        self.place_again(unit, now)
    }

    /// Pins a unit to a CPU for a while, whatever its affinity says, or (`None`) ends that. Returns the CPUs that should
    /// pick.
    ///
    /// # Errors
    /// As [`Scheduler::set_affinity`].
    pub fn set_pin(
        &self,
        unit: &Unit,
        pin: Option<usize>,
        now: u64,
    ) -> Result<CpuMask, OutOfMemory> {
        if let Some((mut queue, slot)) = self.lock_unit(unit)
            && let Some(entry) = queue.units.get_mut(slot)
        {
            entry.pin = pin;
        }
        self.place_again(unit, now)
    }

    /// Sets the weight of a domain that runs already; `units` are those of its vCPUs.
    pub fn set_weight<'a>(
        &self,
        share: &Share,
        units: impl Iterator<Item = &'a Unit>,
        weight: u32,
        now: u64,
    ) {
        share.set_weight(weight);
        for unit in units {
            if let Some((mut queue, slot)) = self.lock_unit(unit) {
                queue.charge_all(now);
                queue.reweigh(slot);
                self.publish(&queue);
            }
        }
    }

    /// Where a unit may run, and what it does; `None` if it is in no queue.
    pub fn info(&self, unit: &Unit) -> Option<UnitInfo> {
        let (queue, slot) = self.lock_unit(unit)?;
        queue.units.get(slot).map(|entry| info_of(&queue, entry))
    }

    /// After a change of what it may do: takes a unit off where it may not be.
    fn place_again(&self, unit: &Unit, now: u64) -> Result<CpuMask, OutOfMemory> {
        let mut kicks = CpuMask::EMPTY;
        let pool = {
            let Some((mut queue, slot)) = self.lock_unit(unit) else {
                return Ok(kicks);
            };
            let Some(entry) = queue.units.get(slot) else {
                return Ok(kicks);
            };
            let allowed = entry.allowed(&queue.units.pool);
            if let State::Running(cpu) = entry.state
                && !allowed.contains(cpu)
            {
                queue.preempt(slot, now);
                kicks.insert(cpu);
            }
            self.publish(&queue);
            if let Some(cpu) = self.cpu_if_ready(&mut queue, slot, now) {
                kicks.insert(cpu);
            }
            if queue.policy.kind() == Kind::Null {
                // It may have left its CPU to another.
                kicks = queue.units.cpus.iter().fold(kicks, |mut all, cpu| {
                    all.insert(cpu);
                    all
                });
            }
            queue.units.pool
        };
        let moved = self.relocate(unit, pool, now)?;
        Ok(moved.iter().fold(kicks, |mut all, cpu| {
            all.insert(cpu);
            all
        }))
    }

    fn cpu_if_ready(&self, queue: &mut Queue<T>, slot: u32, now: u64) -> Option<usize> {
        queue
            .units
            .get(slot)
            .filter(|entry| entry.state == State::Ready)?;
        self.cpu_for(queue, slot, now)
    }

    /// Moves a unit to a queue of the pool with the CPUs `pool` where it may run, if it is in none. Returns the CPUs that
    /// should pick.
    ///
    /// # Errors
    /// There is no memory there, or no CPU in the pool; the unit stays where it is.
    pub fn relocate(&self, unit: &Unit, pool: CpuMask, now: u64) -> Result<CpuMask, OutOfMemory> {
        let mut kicks = CpuMask::EMPTY;
        loop {
            let Some((mut from, slot)) = self.lock_unit(unit) else {
                return Ok(kicks);
            };
            let Some(entry) = from.units.get(slot) else {
                return Ok(kicks);
            };
            let allowed = entry.allowed(&pool);
            if !from.units.cpus.and(allowed).is_empty() {
                return Ok(kicks);
            }
            let mut tried = CpuMask::EMPTY;
            tried.insert(from.index);
            let mut any = false;
            while let Some(index) = self.emptiest(entry, pool, Some(tried)) {
                any = true;
                tried.insert(index);
                let Some(mut to) = self.try_lock_queue(index) else {
                    continue;
                };
                if to.units.cpus.and(allowed).is_empty() {
                    continue;
                }
                // It ran there, or an idle CPU still has it loaded.
                if let Some(cpu) = entry.payload.unit().loaded_on() {
                    kicks.insert(cpu);
                }
                let is_null = from.policy.kind() == Kind::Null;
                let slot = self.transfer(&mut from, slot, &mut to, now)?;
                self.publish(&from);
                self.publish(&to);
                if let Some(cpu) = self.cpu_if_ready(&mut to, slot, now) {
                    kicks.insert(cpu);
                }
                if let (true, Some(cpu)) = (is_null, from.units.cpus.first()) {
                    kicks.insert(cpu);
                }
                return Ok(kicks);
            }
            if !any {
                return Err(OutOfMemory);
            }
            drop(from);
            // Another CPU has each of them just now; it holds no lock of ours meanwhile.
            core::hint::spin_loop();
        }
    }

    /// Of the queues that serve a CPU of `pool` where the unit may run, the one with the fewest units; if there is a
    /// choice, where it likes to run.
    fn emptiest(&self, entry: &Entry<T>, pool: CpuMask, but: Option<CpuMask>) -> Option<usize> {
        let allowed = entry.allowed(&pool);
        let but = but.unwrap_or(CpuMask::EMPTY);
        let best = |cpus: CpuMask| {
            cpus.iter()
                .filter_map(|cpu| self.queue_index_of(cpu))
                .filter(|index| !but.contains(*index))
                .min_by_key(|index| self.len_of(*index))
        };
        best(entry.preferred(allowed)).or_else(|| best(allowed))
    }

    /// Tells a queue which CPUs and queues are in its pool, and which time its policy limits the rate of switches to.
    pub(crate) fn set_pool(&self, index: usize, cpus: CpuMask, queues: CpuMask) {
        if let Some(mut queue) = self.lock_queue(index) {
            queue.set_pool(cpus);
            queue.peers = queues;
            self.publish(&queue);
        }
    }

    /// Lets a CPU be served by queue `index`, of policy `kind`.
    pub(crate) fn add_to_queue(
        &self,
        cpu: usize,
        index: usize,
        kind: Kind,
        now: u64,
    ) -> Result<(), OutOfMemory> {
        let mut queue = self.lock_queue(index).ok_or(OutOfMemory)?;
        queue.add_cpu(cpu, now)?;
        if queue.policy.kind() != kind {
            queue.policy = Policies::new(kind);
        }
        self.set_queue_of(cpu, Some(index));
        Ok(())
    }

    /// Takes a CPU from its queue; what it ran is ready. The pool's other CPUs are `pool`. Returns the CPUs that should
    /// pick, the CPU itself among them.
    ///
    /// # Errors
    /// Units could not be moved, for want of memory; the CPU is where it was then.
    pub(crate) fn take_from_queue(
        &self,
        cpu: usize,
        pool: CpuMask,
        now: u64,
    ) -> Result<CpuMask, OutOfMemory> {
        let mut kicks = CpuMask::only(cpu);
        let Some(index) = self.queue_index_of(cpu) else {
            return Ok(kicks);
        };
        {
            let mut queue = self.lock_queue(index).ok_or(OutOfMemory)?;
            queue.remove_cpu(cpu, now);
            self.set_queue_of(cpu, None);
            self.idle.remove(cpu);
            self.publish(&queue);
        }
        // Units that may not run on what is left of the queue, one by one: the lock is not held for all of them.
        let mut from_slot = 0;
        loop {
            let next = {
                let queue = self.lock_queue(index).ok_or(OutOfMemory)?;
                let left = queue.units.cpus;
                queue
                    .units
                    .iter()
                    .find(|(slot, entry)| {
                        *slot >= from_slot && entry.allowed(&pool).and(left).is_empty()
                    })
                    .map(|(slot, entry)| (slot, entry.payload.clone()))
            };
            let Some((slot, payload)) = next else {
                return Ok(kicks);
            };
            from_slot = slot;
            match self.relocate(payload.unit(), pool, now) {
                Ok(more) => more.iter().for_each(|cpu| kicks.insert(cpu)),
                Err(OutOfMemory) => {
                    // There was room for it a moment ago.
                    let mut queue = self.lock_queue(index).ok_or(OutOfMemory)?;
                    queue.add_cpu(cpu, now)?;
                    self.set_queue_of(cpu, Some(index));
                    return Err(OutOfMemory);
                }
            }
        }
    }

    /// Whether a unit is pinned to `cpu` for a while.
    pub(crate) fn is_pinned_to(&self, cpu: usize, queues: CpuMask) -> bool {
        queues.iter().any(|index| {
            self.lock_queue(index)
                .is_some_and(|queue| queue.units.iter().any(|(_, entry)| entry.pin == Some(cpu)))
        })
    }

    /// Sets the rate limit, in nanoseconds, of a queue whose policy has one.
    pub(crate) fn set_rate_limit(&self, index: usize, rate_limit: u64) {
        if let Some(mut queue) = self.lock_queue(index)
            && let Policies::Credit2(policy) = &mut queue.policy
        {
            policy.rate_limit = rate_limit;
        }
    }

    /// Sets the schedule of a queue whose policy has one.
    pub(crate) fn set_schedule(&self, index: usize, schedule: Schedule) {
        if let Some(mut queue) = self.lock_queue(index)
            && let Policies::Arinc653(policy) = &mut queue.policy
        {
            policy.set_schedule(schedule);
        }
    }

    /// The schedule of a queue whose policy has one.
    pub(crate) fn schedule(&self, index: usize) -> Result<Option<Schedule>, OutOfMemory> {
        let queue = self.lock_queue(index).ok_or(OutOfMemory)?;
        match &queue.policy {
            Policies::Arinc653(policy) => policy.schedule().try_clone().map(Some),
            _ => Ok(None),
        }
    }

    /// The policy of queue `index`, and the CPUs that it serves.
    pub(crate) fn served_by(&self, index: usize) -> Option<(Kind, CpuMask)> {
        let queue = self.lock_queue(index)?;
        Some((queue.policy.kind(), queue.units.cpus))
    }

    /// Calls `f` for each queue that serves a CPU and then `g` for each of its units, in no order. The queue is locked
    /// meanwhile: both are to be short.
    pub fn for_each(
        &self,
        mut f: impl FnMut(&QueueInfo),
        mut g: impl FnMut(&QueueInfo, &T, &UnitInfo),
    ) {
        for index in 0..self.queue_count() {
            let Some(queue) = self.lock_queue(index) else {
                continue;
            };
            if queue.units.cpus.is_empty() && queue.len() == 0 {
                continue;
            }
            let info = QueueInfo {
                index,
                kind: queue.policy.kind(),
                cpus: queue.units.cpus,
                units: queue.len(),
                waiting: queue.units.ready.len(),
                running: queue.units.running,
            };
            f(&info);
            for (_, entry) in queue.units.iter() {
                g(&info, &entry.payload, &info_of(&queue, entry));
            }
        }
    }
}

fn info_of<T: Payload>(queue: &Queue<T>, entry: &Entry<T>) -> UnitInfo {
    UnitInfo {
        state: entry.state,
        run_time: entry.run_time,
        tag: entry.tag,
        affinity: entry.affinity,
        pin: entry.pin,
        allowed: entry.allowed(&queue.units.pool),
    }
}
