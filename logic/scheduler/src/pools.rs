//! CPU pools: which CPUs share their domains, and by which policy.
//!
//! Each CPU is in one pool or free, each domain is in one pool. CPUs that come on line join [`DEFAULT_POOL`], and so do
//! domains that are created elsewhere nowhere. The hypervisor keeps one [`Pools`] in a lock that it takes before any
//! queue's; no vCPU's waking or running needs it.
//!
//! Source of the errors: public/sysctl.h, `XEN_SYSCTL_cpupool_op`.

use alloc::vec::Vec;

use crate::OutOfMemory;
use crate::arinc653::Schedule;
use crate::credit2::DEFAULT_RATE_LIMIT;
use crate::mask::{CpuMask, MAX_CPUS};
use crate::policy::Kind;
use crate::queue::Queue;
use crate::scheduler::{Lock, Scheduler};
use crate::unit::{Payload, Unit};

/// Number of a pool.
pub type PoolId = u32;

/// The pool that always exists, of domain 0.
pub const DEFAULT_POOL: PoolId = 0;

/// Why something cannot be done with a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolError {
    /// There is no such pool.
    NoPool,
    /// There is a pool with this number.
    Exists,
    /// The pool has domains or CPUs, or this is the last CPU of a pool that has domains.
    Busy,
    /// A vCPU is pinned to the CPU for the time being.
    Pinned,
    /// There is no such CPU.
    NoCpu,
    /// The CPU is in a pool, or in another one.
    Elsewhere,
    /// The pool has no CPU that a domain could run on.
    NoCpuInPool,
    /// The pool's scheduler does not have this setting.
    OtherScheduler,
    /// The value makes no sense.
    BadValue,
    /// There is no memory.
    OutOfMemory,
}

impl From<OutOfMemory> for PoolError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// What is known of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolInfo {
    /// Number.
    pub id: PoolId,
    /// Scheduler.
    pub kind: Kind,
    /// CPUs in it.
    pub cpus: CpuMask,
    /// Number of domains in it.
    pub domains: u32,
    /// Nanoseconds for which a vCPU runs before a wake-up may preempt it (credit2).
    pub rate_limit: u64,
}

struct Pool {
    info: PoolInfo,
    /// Run queues of its CPUs.
    queues: CpuMask,
    /// What was set, for the queue that there will be.
    schedule: Option<Schedule>,
}

/// All pools.
pub struct Pools {
    /// By number.
    pools: Vec<Pool>,
}

impl Pools {
    /// The default pool, without CPUs or domains.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(kind: Kind) -> Result<Self, OutOfMemory> {
        let mut pools = Self { pools: Vec::new() };
        match pools.create(Some(DEFAULT_POOL), kind) {
            Ok(_) => Ok(pools),
            Err(_) => Err(OutOfMemory),
        }
    }

    /// Makes an empty pool with number `id`, or the lowest that is free.
    ///
    /// # Errors
    /// The number is taken, or there is no memory.
    pub fn create(&mut self, id: Option<PoolId>, kind: Kind) -> Result<PoolId, PoolError> {
        let id = match id {
            Some(id) => id,
            None => self
                .pools
                .iter()
                .zip(0..)
                .find(|(pool, id)| pool.info.id != *id)
                .map_or(self.pools.len() as PoolId, |(_, id)| id),
        };
        let Err(at) = self.position(id) else {
            return Err(PoolError::Exists);
        };
        self.pools
            .try_reserve(1)
            .map_err(|_| PoolError::OutOfMemory)?;
        let info = PoolInfo {
            id,
            kind,
            cpus: CpuMask::EMPTY,
            domains: 0,
            rate_limit: DEFAULT_RATE_LIMIT,
        };
        self.pools.insert(
            at,
            Pool {
                info,
                queues: CpuMask::EMPTY,
                schedule: None,
            },
        );
        Ok(id)
    }

    /// Ends a pool.
    ///
    /// # Errors
    /// There is none, or it has CPUs or domains, or is the default one.
    pub fn destroy(&mut self, id: PoolId) -> Result<(), PoolError> {
        let at = self.position(id).map_err(|_| PoolError::NoPool)?;
        let info = self.get(id)?;
        if id == DEFAULT_POOL || info.domains != 0 || !info.cpus.is_empty() {
            return Err(PoolError::Busy);
        }
        self.pools.remove(at);
        Ok(())
    }

    /// What is known of pool `id`.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, id: PoolId) -> Result<PoolInfo, PoolError> {
        Ok(self.pool(id)?.info)
    }

    /// The pool with number `id`, or the next higher one.
    pub fn at_or_after(&self, id: PoolId) -> Option<PoolInfo> {
        let at = self.position(id).unwrap_or_else(|at| at);
        self.pools.get(at).map(|pool| pool.info)
    }

    /// The pool that a CPU is in.
    pub fn of_cpu(&self, cpu: usize) -> Option<PoolInfo> {
        self.pools
            .iter()
            .map(|pool| pool.info)
            .find(|info| info.cpus.contains(cpu))
    }

    /// Puts a free CPU into a pool. `core` is the lowest number of a CPU of its core, with which it shares a run queue.
    /// Returns the CPUs that should pick.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn add_cpu<T: Payload, L: Lock<Queue<T>>>(
        &mut self,
        scheduler: &Scheduler<T, L>,
        id: PoolId,
        cpu: usize,
        core: usize,
        now: u64,
    ) -> Result<CpuMask, PoolError> {
        if cpu >= scheduler.queue_count() {
            return Err(PoolError::NoCpu);
        }
        let info = self.get(id)?;
        if self.of_cpu(cpu).is_some() {
            return Err(PoolError::Elsewhere);
        }
        let queue = self.queue_for(scheduler, id, cpu, core)?;
        // Known to the pool first, so that the queue never serves a CPU that units may not run on.
        let mut cpus = info.cpus;
        cpus.insert(cpu);
        scheduler.add_to_queue(cpu, queue, info.kind, now)?;
        let pool = self.pool_mut(id)?;
        pool.info.cpus = cpus;
        pool.queues.insert(queue);
        // A copy that cannot be had leaves the queue with what it has, for a fresh one the default.
        if let Some(Ok(schedule)) = pool.schedule.as_ref().map(Schedule::try_clone) {
            scheduler.set_schedule(queue, schedule);
        }
        scheduler.set_rate_limit(queue, pool.info.rate_limit);
        self.tell(scheduler, id)?;
        // Units may be where they are only because nothing better was there.
        Ok(cpus)
    }

    /// The queue that is to serve a new CPU of a pool.
    fn queue_for<T: Payload, L: Lock<Queue<T>>>(
        &self,
        scheduler: &Scheduler<T, L>,
        id: PoolId,
        cpu: usize,
        core: usize,
    ) -> Result<usize, PoolError> {
        let pool = self.pool(id)?;
        let is_unused = |index: &usize| {
            scheduler
                .served_by(*index)
                .is_some_and(|(_, cpus)| cpus.is_empty())
        };
        let shared = match pool.info.kind {
            Kind::Credit2 => pool.queues.contains(core).then_some(core),
            Kind::Arinc653 => pool.queues.first(),
            Kind::Null => None,
        };
        // As many queues as CPUs, and each that is in use has a CPU: one is free.
        shared
            .or_else(|| {
                [core, cpu]
                    .into_iter()
                    .chain(0..scheduler.queue_count())
                    .find(is_unused)
            })
            .ok_or(PoolError::NoCpu)
    }

    /// Takes a CPU out of its pool; its units go to the pool's other CPUs. Returns the CPUs that should pick, this one
    /// among them: it is told to idle.
    ///
    /// # Errors
    /// See [`PoolError`]; nothing has changed then.
    pub fn remove_cpu<T: Payload, L: Lock<Queue<T>>>(
        &mut self,
        scheduler: &Scheduler<T, L>,
        id: PoolId,
        cpu: usize,
        now: u64,
    ) -> Result<CpuMask, PoolError> {
        if cpu >= scheduler.queue_count() {
            return Err(PoolError::NoCpu);
        }
        let pool = self.pool(id)?;
        let info = pool.info;
        if !info.cpus.contains(cpu) {
            return Err(PoolError::Elsewhere);
        }
        if info.domains != 0 && info.cpus.len() == 1 {
            return Err(PoolError::Busy);
        }
        if scheduler.is_pinned_to(cpu, pool.queues) {
            return Err(PoolError::Pinned);
        }
        let mut left = info.cpus;
        left.remove(cpu);
        self.pool_mut(id)?.info.cpus = left;
        self.tell(scheduler, id)?;
        let served = scheduler.queue_index_of(cpu);
        match scheduler.take_from_queue(cpu, left, now) {
            Ok(mut kicks) => {
                // Units may go now where they could not, if nothing is left of where they had to be.
                left.iter().for_each(|cpu| kicks.insert(cpu));
                if let Some(index) = served
                    && scheduler
                        .served_by(index)
                        .is_some_and(|(_, cpus)| cpus.is_empty())
                {
                    self.pool_mut(id)?.queues.remove(index);
                    self.tell(scheduler, id)?;
                }
                Ok(kicks)
            }
            Err(OutOfMemory) => {
                self.pool_mut(id)?.info.cpus = info.cpus;
                self.tell(scheduler, id)?;
                Err(PoolError::OutOfMemory)
            }
        }
    }

    /// Counts a new domain. Its vCPUs are inserted with the pool's CPUs ([`Scheduler::insert`]).
    ///
    /// # Errors
    /// There is no such pool, or it has no CPU.
    pub fn add_domain(&mut self, id: PoolId) -> Result<CpuMask, PoolError> {
        let pool = self.pool_mut(id)?;
        if pool.info.cpus.is_empty() {
            return Err(PoolError::NoCpuInPool);
        }
        pool.info.domains += 1;
        Ok(pool.info.cpus)
    }

    /// Counts a domain that is no more, or whose creation failed.
    pub fn remove_domain(&mut self, id: PoolId) {
        if let Ok(pool) = self.pool_mut(id) {
            pool.info.domains = pool.info.domains.saturating_sub(1);
        }
    }

    /// Moves a domain from pool `from`, with all its vCPUs. Returns the CPUs that should pick.
    ///
    /// # Errors
    /// There is no such pool, or it has no CPU, or there is no memory there: some vCPUs may have been moved then, and
    /// the call can be repeated.
    pub fn move_domain<'a, T: Payload, L: Lock<Queue<T>>>(
        &mut self,
        scheduler: &Scheduler<T, L>,
        from: PoolId,
        to: PoolId,
        units: impl Iterator<Item = &'a Unit>,
        now: u64,
    ) -> Result<CpuMask, PoolError> {
        let mut kicks = CpuMask::EMPTY;
        if from == to {
            return Ok(kicks);
        }
        let cpus = self.get(to)?.cpus;
        if cpus.is_empty() {
            return Err(PoolError::NoCpuInPool);
        }
        for unit in units {
            let more = scheduler.relocate(unit, cpus, now)?;
            more.iter().for_each(|cpu| kicks.insert(cpu));
        }
        self.remove_domain(from);
        self.pool_mut(to)?.info.domains += 1;
        Ok(kicks)
    }

    /// Sets the rate limit of a credit2 pool, in nanoseconds.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn set_rate_limit<T: Payload, L: Lock<Queue<T>>>(
        &mut self,
        scheduler: &Scheduler<T, L>,
        id: PoolId,
        rate_limit: u64,
    ) -> Result<(), PoolError> {
        let pool = self.pool_mut(id)?;
        if pool.info.kind != Kind::Credit2 {
            return Err(PoolError::OtherScheduler);
        }
        pool.info.rate_limit = rate_limit;
        for index in pool.queues.iter() {
            scheduler.set_rate_limit(index, rate_limit);
        }
        Ok(())
    }

    /// Sets the schedule of an ARINC 653 pool. Returns the CPUs that should pick.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn set_schedule<T: Payload, L: Lock<Queue<T>>>(
        &mut self,
        scheduler: &Scheduler<T, L>,
        id: PoolId,
        schedule: Schedule,
    ) -> Result<CpuMask, PoolError> {
        let pool = self.pool_mut(id)?;
        if pool.info.kind != Kind::Arinc653 {
            return Err(PoolError::OtherScheduler);
        }
        for index in pool.queues.iter() {
            scheduler.set_schedule(index, schedule.try_clone()?);
        }
        pool.schedule = Some(schedule);
        Ok(pool.info.cpus)
    }

    /// The schedule of an ARINC 653 pool, also if it was never set.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn schedule<T: Payload, L: Lock<Queue<T>>>(
        &self,
        scheduler: &Scheduler<T, L>,
        id: PoolId,
    ) -> Result<Schedule, PoolError> {
        let pool = self.pool(id)?;
        if pool.info.kind != Kind::Arinc653 {
            return Err(PoolError::OtherScheduler);
        }
        let used = match pool.queues.first() {
            Some(index) => scheduler.schedule(index)?,
            None => None,
        };
        match (used, &pool.schedule) {
            (Some(used), _) => Ok(used),
            (None, Some(set)) => Ok(set.try_clone()?),
            (None, None) => Ok(Schedule::default()),
        }
    }

    /// Tells the queues of a pool who is in it.
    fn tell<T: Payload, L: Lock<Queue<T>>>(
        &self,
        scheduler: &Scheduler<T, L>,
        id: PoolId,
    ) -> Result<(), PoolError> {
        let pool = self.pool(id)?;
        for index in pool.queues.iter() {
            scheduler.set_pool(index, pool.info.cpus, pool.queues);
        }
        Ok(())
    }

    fn position(&self, id: PoolId) -> Result<usize, usize> {
        self.pools.binary_search_by_key(&id, |pool| pool.info.id)
    }

    fn pool(&self, id: PoolId) -> Result<&Pool, PoolError> {
        let at = self.position(id).map_err(|_| PoolError::NoPool)?;
        self.pools.get(at).ok_or(PoolError::NoPool)
    }

    fn pool_mut(&mut self, id: PoolId) -> Result<&mut Pool, PoolError> {
        let at = self.position(id).map_err(|_| PoolError::NoPool)?;
        self.pools.get_mut(at).ok_or(PoolError::NoPool)
    }
}

const _: () = assert!(MAX_CPUS == 256, "a pool's queues are in a mask of CPUs");
