//! The CPU pool that a domain is in: counted there for as long as the domain exists.

use core::sync::atomic::{AtomicU32, Ordering};

use scheduler::{PoolError, PoolId, Unit};

use crate::domain::Domain;
use crate::{schedule, time};

/// In no pool yet.
const NONE: PoolId = PoolId::MAX;

/// A domain's place in a pool, which it gives back when it is dropped.
pub struct Membership(AtomicU32);

impl Membership {
    /// In no pool.
    pub const fn none() -> Self {
        Self(AtomicU32::new(NONE))
    }

    /// The pool; `None` until the domain has joined one.
    pub fn pool(&self) -> Option<PoolId> {
        let pool = self.0.load(Ordering::Relaxed);
        (pool != NONE).then_some(pool)
    }

    /// Joins a pool, once.
    ///
    /// # Errors
    /// There is no such pool, or it has no CPU.
    pub fn join(&self, pool: PoolId) -> Result<(), PoolError> {
        let pools = schedule::pools().ok_or(PoolError::NoPool)?;
        let mut pools = pools.lock();
        if self.pool().is_some() {
            return Err(PoolError::Elsewhere);
        }
        pools.add_domain(pool)?;
        self.0.store(pool, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let (Some(pool), Some(pools)) = (self.pool(), schedule::pools()) {
            pools.lock().remove_domain(pool);
        }
    }
}

/// Moves a domain to another pool, with all its vCPUs.
///
/// # Errors
/// See [`scheduler::Pools::move_domain`].
pub fn move_domain(domain: &Domain, to: PoolId) -> Result<(), PoolError> {
    let (Some(scheduler), Some(pools)) = (schedule::scheduler(), schedule::pools()) else {
        return Err(PoolError::NoPool);
    };
    let mut pools = pools.lock();
    let from = domain.pool.pool().ok_or(PoolError::NoPool)?;
    let kicks = pools.move_domain(scheduler, from, to, units(domain), time::now())?;
    // Under the lock of the pools, as whoever inserts a vCPU reads it.
    domain.pool.0.store(to, Ordering::Relaxed);
    drop(pools);
    schedule::kick(&kicks);
    Ok(())
}

/// The scheduler's names of a domain's vCPUs.
pub fn units(domain: &Domain) -> impl Iterator<Item = &Unit> {
    domain.vcpus().map(|vcpu| &vcpu.unit)
}
