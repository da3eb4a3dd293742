//! One run queue: the units that are in it, and what its CPUs run.
//!
//! A queue serves one CPU, or the threads of a core, or (ARINC 653) a pool. It does what is the same for every policy:
//! states, run times, caps, who may run where. [`Policies`] orders and chooses.
//!
//! Invariants: a unit that is [`State::Ready`] is in `ready` once, one that is parked in `parked` once, one that runs
//! is the `current` of its CPU, and of no other; `running` counts these; all lists have room for every unit, so that
//! only `reserve` allocates.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::OutOfMemory;
use crate::credit2::{MAX_LAG, MIGRATE_RESIST, lead, virtual_time};
use crate::mask::CpuMask;
use crate::policy::{Arrival, Choice, Kind, Policies, Policy};
use crate::unit::{Entry, Payload, State};

/// What a queue has besides its policy's own state.
pub(crate) struct Units<T> {
    entries: Vec<Option<Entry<T>>>,
    free: Vec<u32>,
    /// Units that wait, in the order of the policy.
    pub(crate) ready: Vec<u32>,
    /// Units whose domains used up their caps.
    parked: Vec<u32>,
    /// Number of units that run.
    pub(crate) running: usize,
    /// CPUs that this queue serves.
    pub(crate) cpus: CpuMask,
    /// CPUs of its pool.
    pub(crate) pool: CpuMask,
    /// CPUs of its pool that it does not serve.
    elsewhere: CpuMask,
    /// Number of CPUs that it serves.
    pub(crate) cpu_count: usize,
}

/// A CPU, as its queue sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runner {
    pub(crate) cpu: usize,
    /// The unit that it runs.
    pub(crate) current: Option<u32>,
    /// When it was switched to.
    pub(crate) since: u64,
    /// Up to when it was charged.
    pub(crate) charged: u64,
    /// The policy's: when its turn is over.
    pub(crate) slice_end: u64,
    /// The policy's: its tag when its turn began.
    pub(crate) start_tag: u64,
    /// The policy's: when the CPU last checked for units that lag too far.
    pub(crate) checked: u64,
    /// It is idle: who takes it out of the idle ones expects it to look for work.
    pub(crate) owes_look: bool,
}

impl<T: Payload> Units<T> {
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&Entry<T>> {
        self.entries.get(slot as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry<T>> {
        self.entries.get_mut(slot as usize)?.as_mut()
    }

    /// Whether the unit's affinity allows the CPU.
    #[inline]
    pub(crate) fn may_run_on(&self, slot: u32, cpu: usize) -> bool {
        self.get(slot)
            .is_some_and(|entry| entry.may_run_on(cpu, &self.pool))
    }

    /// Whether no other CPU has the unit loaded.
    pub(crate) fn is_free_for(&self, slot: u32, cpu: usize) -> bool {
        self.get(slot)
            .is_some_and(|entry| entry.payload.unit().may_run_on(cpu))
    }

    /// The first ready unit that may run on `cpu` now.
    #[inline]
    pub(crate) fn first_for(&self, cpu: usize) -> Option<u32> {
        let fits = |entry: &Entry<T>| {
            entry.may_run_on(cpu, &self.pool) && entry.payload.unit().may_run_on(cpu)
        };
        self.ready
            .iter()
            .copied()
            .find(|slot| self.get(*slot).is_some_and(fits))
    }

    /// After a change of the CPUs that it serves, or of its pool.
    fn note_cpus(&mut self) {
        self.elsewhere = self.pool.without(self.cpus);
        self.cpu_count = self.cpus.len();
    }

    /// Takes a unit out of `ready`.
    fn remove_ready(&mut self, slot: u32) {
        if let Some(at) = self.ready.iter().position(|other| *other == slot) {
            self.ready.remove(at);
        }
    }

    /// Compares two units' tags.
    pub(crate) fn compare_tags(&self, a: u32, b: u32) -> Ordering {
        match (self.get(a), self.get(b)) {
            (Some(a), Some(b)) => lead(a.tag, b.tag).cmp(&0),
            _ => Ordering::Equal,
        }
    }

    /// Puts a unit into `ready` behind those with its tag or a lower one.
    pub(crate) fn insert_by_tag(&mut self, slot: u32) {
        let at = self
            .ready
            .partition_point(|other| self.compare_tags(*other, slot) != Ordering::Greater);
        self.ready.insert(at, slot);
    }

    /// All units.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Entry<T>)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(slot, entry)| Some((slot as u32, entry.as_ref()?)))
    }
}

/// Most ready units of a queue that are looked at for the one that should leave.
const CLAIMS: usize = 32;

/// What a waiting unit has a claim to: the CPU of any unit with a tag behind `from`. That is a little behind its own tag,
/// by what it must be owed to be worth moving; less for a heavier one, which is owed more by the same distance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    pub(crate) from: u64,
    pub(crate) weight: u32,
}

impl Claim {
    fn of(tag: u64, weight: u32) -> Self {
        let resist = virtual_time(MIGRATE_RESIST, weight);
        Self {
            from: tag.wrapping_add(resist as u64),
            weight,
        }
    }
}

/// A run queue; the hypervisor puts each into a lock.
pub struct Queue<T> {
    pub(crate) index: usize,
    pub(crate) policy: Policies,
    pub(crate) runners: Vec<Runner>,
    pub(crate) units: Units<T>,
    /// Queues of its pool, itself included.
    pub(crate) peers: CpuMask,
}

impl<T: Payload> Queue<T> {
    /// A queue that serves no CPU.
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            policy: Policies::new(Kind::Credit2),
            runners: Vec::new(),
            units: Units {
                entries: Vec::new(),
                free: Vec::new(),
                ready: Vec::new(),
                parked: Vec::new(),
                running: 0,
                cpus: CpuMask::EMPTY,
                pool: CpuMask::EMPTY,
                elsewhere: CpuMask::EMPTY,
                cpu_count: 0,
            },
            peers: CpuMask::EMPTY,
        }
    }

    /// Makes room for one more unit.
    pub(crate) fn reserve(&mut self) -> Result<(), OutOfMemory> {
        let units = &mut self.units;
        if !units.free.is_empty() {
            return Ok(());
        }
        let room = units.entries.len() + 1;
        u32::try_from(room).map_err(|_| OutOfMemory)?;
        units.entries.try_reserve(1).map_err(|_| OutOfMemory)?;
        for list in [&mut units.free, &mut units.ready, &mut units.parked] {
            let missing = room.saturating_sub(list.len());
            list.try_reserve(missing).map_err(|_| OutOfMemory)?;
        }
        Ok(())
    }

    /// Adds a unit, for which there is room, asleep or parked as it is; another state counts as asleep.
    fn add(&mut self, mut entry: Entry<T>) -> u32 {
        let state = core::mem::replace(&mut entry.state, State::Asleep);
        let units = &mut self.units;
        let slot = match units.free.pop() {
            Some(slot) => slot,
            None => {
                units.entries.push(None);
                units.entries.len() as u32 - 1
            }
        };
        if let Some(place) = units.entries.get_mut(slot as usize) {
            *place = Some(entry);
        }
        if let State::Parked(until) = state {
            self.park(slot, until);
        }
        slot
    }

    /// Keeps a unit, which is in no list, from running until there is budget.
    fn park(&mut self, slot: u32, until: u64) {
        if let Some(entry) = self.units.get_mut(slot) {
            entry.state = State::Parked(until);
            self.policy.note_parked(entry, true);
            self.units.parked.push(slot);
        }
    }

    /// Adds a new unit, asleep, or one that another queue gave up.
    pub(crate) fn insert(&mut self, entry: Entry<T>) -> Result<u32, OutOfMemory> {
        self.reserve()?;
        let is_ready = matches!(entry.state, State::Ready | State::Running(_));
        let slot = self.add(entry);
        if is_ready {
            self.make_ready(slot, Arrival::Moved);
        }
        Ok(slot)
    }

    /// Takes a unit out. If it ran, its CPU (returned) has to pick.
    pub(crate) fn take(&mut self, slot: u32, now: u64) -> Option<(Entry<T>, Option<usize>)> {
        let (state, ran_on) = self.take_off(slot, now)?;
        self.policy.forget(slot);
        let mut entry = self.units.entries.get_mut(slot as usize)?.take()?;
        entry.state = match state {
            State::Running(_) => State::Ready,
            state => state,
        };
        entry.return_grant();
        self.units.free.push(slot);
        Some((entry, ran_on))
    }

    /// Takes a unit out of the list or off the CPU that it is in. Returns what it was doing, and the CPU.
    fn take_off(&mut self, slot: u32, now: u64) -> Option<(State, Option<usize>)> {
        let state = self.units.get(slot)?.state;
        let mut ran_on = None;
        match state {
            State::Asleep => {}
            State::Ready => self.units.remove_ready(slot),
            State::Parked(_) => {
                self.units.parked.retain(|other| *other != slot);
                if let Some(entry) = self.units.get_mut(slot) {
                    self.policy.note_parked(entry, false);
                }
            }
            State::Running(cpu) => {
                self.charge(cpu, now);
                if let Some(runner) = self.runner_mut(cpu) {
                    runner.current = None;
                }
                self.units.running -= 1;
                ran_on = Some(cpu);
            }
        }
        Some((state, ran_on))
    }

    fn make_ready(&mut self, slot: u32, arrival: Arrival) {
        if let Some(entry) = self.units.get_mut(slot) {
            entry.state = State::Ready;
            self.policy.enqueue(&mut self.units, slot, arrival);
        }
    }

    /// Makes a sleeping unit ready; whether it was asleep.
    pub(crate) fn wake(&mut self, slot: u32) -> bool {
        let is_asleep = self
            .units
            .get(slot)
            .is_some_and(|entry| entry.state == State::Asleep);
        if is_asleep {
            self.make_ready(slot, Arrival::Woken);
        }
        is_asleep
    }

    /// Puts a unit to sleep. Returns whether it was awake, and the CPU that ran it.
    pub(crate) fn sleep(&mut self, slot: u32, now: u64) -> (bool, Option<usize>) {
        let Some((state, ran_on)) = self.take_off(slot, now) else {
            return (false, None);
        };
        if let Some(entry) = self.units.get_mut(slot) {
            entry.state = State::Asleep;
            entry.return_grant();
        }
        (state != State::Asleep, ran_on)
    }

    /// Takes a running unit off its CPU, still wanting to run. Returns the CPU.
    pub(crate) fn preempt(&mut self, slot: u32, now: u64) -> Option<usize> {
        let State::Running(cpu) = self.units.get(slot)?.state else {
            return None;
        };
        self.take_off(slot, now)?;
        self.units.get_mut(slot)?.return_grant();
        self.make_ready(slot, Arrival::Preempted);
        Some(cpu)
    }

    /// After a change of its weight: a debt of time that was paid for by another weight may be of any size.
    pub(crate) fn reweigh(&mut self, slot: u32) {
        let (Policies::Credit2(policy), Some(entry)) = (&self.policy, self.units.get_mut(slot))
        else {
            return;
        };
        policy.bound(entry, MAX_LAG);
        if entry.state == State::Ready {
            self.units.remove_ready(slot);
            self.units.insert_by_tag(slot);
        }
    }

    #[inline]
    pub(crate) fn runner(&self, cpu: usize) -> Option<&Runner> {
        self.runners.iter().find(|runner| runner.cpu == cpu)
    }

    #[inline]
    pub(crate) fn runner_mut(&mut self, cpu: usize) -> Option<&mut Runner> {
        self.runners.iter_mut().find(|runner| runner.cpu == cpu)
    }

    /// Charges what `cpu` runs up to `now`.
    pub(crate) fn charge(&mut self, cpu: usize, now: u64) {
        let Some(runner) = self.runners.iter_mut().find(|runner| runner.cpu == cpu) else {
            return;
        };
        let elapsed = now.saturating_sub(runner.charged);
        runner.charged = runner.charged.max(now);
        let Some(entry) = runner.current.and_then(|slot| self.units.get_mut(slot)) else {
            return;
        };
        entry.run_time = entry.run_time.saturating_add(elapsed);
        if let Some(grant) = &mut entry.grant {
            grant.left = grant.left.saturating_sub(elapsed.min(1 << 40) as i64);
        }
        self.policy.charge(entry, elapsed);
    }

    /// Charges everything that runs.
    pub(crate) fn charge_all(&mut self, now: u64) {
        for index in 0..self.runners.len() {
            if let Some(cpu) = self.runners.get(index).map(|runner| runner.cpu) {
                self.charge(cpu, now);
            }
        }
    }

    /// Makes ready what is parked and has its budget back; whether there was anything.
    pub(crate) fn unpark(&mut self, now: u64) -> bool {
        let mut any = false;
        let mut index = 0;
        while let Some(slot) = self.units.parked.get(index).copied() {
            match self.units.get(slot).map(|entry| entry.state) {
                Some(State::Parked(until)) if until > now => index += 1,
                _ => {
                    self.take_off(slot, now);
                    self.units.parked.retain(|other| *other != slot);
                    self.make_ready(slot, Arrival::Moved);
                    any = true;
                }
            }
        }
        any
    }

    /// When the first parked unit is due.
    pub(crate) fn next_unpark(&self) -> Option<u64> {
        let until = |slot: &u32| match self.units.get(*slot)?.state {
            State::Parked(until) => Some(until),
            _ => None,
        };
        self.units.parked.iter().filter_map(until).min()
    }

    pub(crate) fn choose(&mut self, cpu: usize, now: u64) -> Choice {
        let none = Choice {
            slot: None,
            open: true,
        };
        let Some(runner) = self.runner(cpu).copied() else {
            return none;
        };
        self.policy.choose(&self.units, &runner, now)
    }

    /// Makes sure that a unit's domain lets it run; parks it if it does not.
    #[inline]
    pub(crate) fn has_budget(&mut self, slot: u32, now: u64) -> bool {
        let Some(entry) = self.units.get_mut(slot) else {
            return false;
        };
        if entry.payload.share().cap() != 0 {
            return self.has_grant(slot, now);
        }
        entry.return_grant();
        true
    }

    /// [`Self::has_budget`] of a unit with a cap.
    fn has_grant(&mut self, slot: u32, now: u64) -> bool {
        let Some(entry) = self.units.get_mut(slot) else {
            return false;
        };
        if entry.grant.is_some_and(|grant| grant.left > 0) {
            return true;
        }
        // A debt has to be known before there is more.
        entry.return_grant();
        let number = entry.payload.number();
        let until = match entry.payload.share().take(now, number, &mut entry.taken) {
            Ok(grant) => {
                entry.grant = Some(grant);
                return true;
            }
            Err(until) => until,
        };
        self.take_off(slot, now);
        self.park(slot, until);
        false
    }

    /// The queue's CPU that should choose again because `slot` became ready, when none is idle; and when it should.
    pub(crate) fn disturbed_by(&mut self, slot: u32, now: u64) -> Option<(usize, u64)> {
        self.policy
            .disturbs(&self.units, &mut self.runners, slot, now)
    }

    /// Lets `cpu` run `slot`, or nothing, from `now` on. Returns when to choose again.
    pub(crate) fn start(
        &mut self,
        cpu: usize,
        slot: Option<u32>,
        open: bool,
        now: u64,
    ) -> Option<u64> {
        let at = self.runners.iter().position(|runner| runner.cpu == cpu)?;
        let current = self.runners.get(at)?.current;
        if current != slot {
            if let Some(current) = current {
                if let Some(entry) = self.units.get_mut(current) {
                    entry.yielded = false;
                }
                self.preempt(current, now);
            }
            if let Some(slot) = slot {
                // What may be chosen waits.
                self.units.remove_ready(slot);
                if let Some(entry) = self.units.get_mut(slot) {
                    entry.state = State::Running(cpu);
                    self.units.running += 1;
                }
            }
            let runner = self.runners.get_mut(at)?;
            runner.current = slot;
            runner.since = now;
        }
        let Some(slot) = slot else {
            return self.policy.idle_until(now);
        };
        let entry = self.units.get_mut(slot)?;
        entry.yielded = false;
        entry.payload.unit().load_on(cpu);
        let grant_end = entry
            .grant
            .map(|grant| now.saturating_add(grant.left.max(0) as u64));
        let runner = self.runners.get_mut(at)?;
        let until = self.policy.start(&self.units, runner, slot, open, now);
        earlier(until, grant_end)
    }

    /// The ready unit that `cpu` of another queue should take, if any, and its claim; only one that likes to run there,
    /// if `liked`.
    pub(crate) fn first_to_leave(&self, cpu: usize, liked: bool) -> Option<(u32, Claim)> {
        let pool = &self.units.pool;
        self.most_deserving(|entry| {
            entry.may_run_on(cpu, pool)
                && (!liked || entry.preferred(entry.allowed(pool)).contains(cpu))
                && entry.payload.unit().may_run_on(cpu)
        })
    }

    /// Whether there can be an [`Self::offer`].
    #[inline]
    pub(crate) fn may_offer(&self) -> bool {
        !self.units.ready.is_empty() && !self.units.elsewhere.is_empty()
    }

    /// What other queues' CPUs need to know: the claim of the ready unit that is the first to go elsewhere.
    pub(crate) fn offer(&self) -> Option<Claim> {
        let (pool, elsewhere) = (&self.units.pool, &self.units.elsewhere);
        self.most_deserving(|entry| entry.may_run_in(elsewhere, pool))
            .map(|(_, claim)| claim)
    }

    /// Tells it which CPUs are in its pool.
    pub(crate) fn set_pool(&mut self, cpus: CpuMask) {
        self.units.pool = cpus;
        self.units.note_cpus();
    }

    /// Of the ready units that may leave and for which `fits` says so, the one with the strongest claim.
    fn most_deserving(&self, fits: impl Fn(&Entry<T>) -> bool) -> Option<(u32, Claim)> {
        let fitting = |slot: u32| {
            let entry = self.units.get(slot)?;
            (self.policy.may_leave(slot) && fits(entry))
                .then(|| (slot, Claim::of(entry.tag, entry.weight())))
        };
        self.units
            .ready
            .iter()
            .filter_map(|slot| fitting(*slot))
            .take(CLAIMS)
            .reduce(|best, other| {
                if lead(other.1.from, best.1.from) < 0 {
                    other
                } else {
                    best
                }
            })
    }

    /// Begins to serve a CPU, which runs nothing.
    pub(crate) fn add_cpu(&mut self, cpu: usize, now: u64) -> Result<(), OutOfMemory> {
        self.runners.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.units.cpus.insert(cpu);
        self.units.note_cpus();
        self.runners.push(Runner {
            cpu,
            current: None,
            since: now,
            charged: now,
            slice_end: now,
            start_tag: 0,
            checked: now,
            owes_look: false,
        });
        Ok(())
    }

    /// Ends serving a CPU; what it runs is ready again.
    pub(crate) fn remove_cpu(&mut self, cpu: usize, now: u64) {
        if let Some(slot) = self.runner(cpu).and_then(|runner| runner.current) {
            self.preempt(slot, now);
        }
        self.runners.retain(|runner| runner.cpu != cpu);
        self.units.cpus.remove(cpu);
        self.units.note_cpus();
    }

    /// Number of units in it.
    pub(crate) fn len(&self) -> usize {
        self.units.entries.len() - self.units.free.len()
    }
}

/// The earlier of two times, each of which may be never.
pub(crate) fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
