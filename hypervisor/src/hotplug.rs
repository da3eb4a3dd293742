//! CPUs that go out of use and come back while the machine runs.
//!
//! A CPU goes in steps: the scheduler gives its vCPUs to others; their timers move away; then it is told, and waits
//! like an idle CPU, with nothing loaded, until the scheduler has something for it again. Its registers, descriptors
//! and local APIC stay as they are, so coming back needs no start-up message. No step needs the other CPUs to stop.
//! Interrupts of devices all go to CPU 0, which never goes.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use platform_cpu::lock::SpinLock;
use platform_cpu::{MAX_CPUS, park};
use scheduler::{DEFAULT_POOL, PoolError, PoolId};
use xen_abi::errno::Errno;
use xen_abi::virq;

use crate::cpu::{self, Work};
use crate::{domains, events, irq, ranks, schedule, topology, vcpu_time};

/// In use.
const ONLINE: u8 = 0;
/// To go as soon as nothing is loaded.
const LEAVING: u8 = 1;
/// Nothing is loaded; who takes it out of use has not said so yet.
const GONE: u8 = 2;
/// Out of use.
const OFFLINE: u8 = 3;

struct State {
    state: AtomicU8,
    /// The pool that it was in.
    pool: AtomicU32,
}

static STATES: [State; MAX_CPUS] = [const {
    State {
        state: AtomicU8::new(ONLINE),
        pool: AtomicU32::new(DEFAULT_POOL),
    }
}; MAX_CPUS];

/// Held while a CPU goes or comes: one at a time.
static CHANGING: SpinLock<()> = SpinLock::new(ranks::HOTPLUG, ());

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is done.
    Done,
    /// The call has to be made again, from another CPU.
    Again,
}

fn state(cpu: usize) -> Option<&'static State> {
    irq::apic_id(cpu).and_then(|_| STATES.get(cpu))
}

/// Whether the CPU is there and in use.
pub fn is_online(cpu: usize) -> bool {
    // Acquire: pairs with the Release in `offline` and `online`.
    state(cpu).is_some_and(|state| state.state.load(Ordering::Acquire) == ONLINE)
}

impl State {
    fn key(&self) -> usize {
        core::ptr::from_ref(&self.state).addr()
    }
}

/// Takes a CPU out of use. Called with no lock held but the calling vCPU's state.
///
/// # Errors
/// `EINVAL`: there is no such CPU; `EOPNOTSUPP` for CPU 0; `EBUSY`: it is another pool's last, or a vCPU is pinned to
/// it; `ENOMEM`: its vCPUs cannot be put elsewhere.
pub fn offline(cpu: usize) -> Result<Progress, Errno> {
    let state = state(cpu).ok_or(Errno::EINVAL)?;
    if cpu == 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    {
        let Some(_changing) = CHANGING.try_lock() else {
            return Err(Errno::EBUSY);
        };
        match state.state.load(Ordering::Acquire) {
            OFFLINE => return Ok(Progress::Done),
            LEAVING | GONE => {}
            _ => {
                match schedule::leave(cpu) {
                    Ok(pool) => state.pool.store(pool, Ordering::Relaxed),
                    // It is in no pool already.
                    Err(PoolError::Elsewhere) => state.pool.store(NO_POOL, Ordering::Relaxed),
                    Err(error) => return Err(errno(error)),
                }
                state.state.store(LEAVING, Ordering::Release);
            }
        }
    }
    if cpu == platform_cpu::cpu_id() {
        return Ok(Progress::Again);
    }
    // Its vCPUs wake elsewhere, and their timers with them.
    domains::for_each(|domain| {
        for vcpu in domain.vcpus() {
            vcpu_time::leave(domain.id(), vcpu, cpu);
        }
    });
    cpu::request(cpu, Work::Hotplug);
    park::wait_until(state.key(), || {
        state.state.load(Ordering::Acquire) != LEAVING
    });
    let is_first = state
        .state
        .compare_exchange(GONE, OFFLINE, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok();
    if is_first {
        log::info!("CPU{cpu} is offline");
        events::send_global_virq(virq::PCPU_STATE);
    }
    Ok(Progress::Done)
}

/// The CPU was in no pool.
const NO_POOL: PoolId = PoolId::MAX;

/// Puts a CPU back into use.
///
/// # Errors
/// `EINVAL`: there is no such CPU; `EBUSY`: it is going; `ENOMEM`.
pub fn online(cpu: usize) -> Result<(), Errno> {
    let state = state(cpu).ok_or(Errno::EINVAL)?;
    let _changing = CHANGING.try_lock().ok_or(Errno::EBUSY)?;
    match state.state.load(Ordering::Acquire) {
        ONLINE => return Ok(()),
        OFFLINE => {}
        _ => return Err(Errno::EBUSY),
    }
    let pool = state.pool.load(Ordering::Relaxed);
    if pool != NO_POOL {
        let core = topology::first_of_core(cpu);
        match schedule::join(pool, cpu, core) {
            // Its pool is gone.
            Err(PoolError::NoPool) => schedule::join(DEFAULT_POOL, cpu, core),
            other => other,
        }
        .map_err(errno)?;
    }
    state.state.store(ONLINE, Ordering::Release);
    cpu::request(cpu, Work::Hotplug);
    log::info!("CPU{cpu} is online");
    events::send_global_virq(virq::PCPU_STATE);
    Ok(())
}

fn errno(error: PoolError) -> Errno {
    match error {
        PoolError::OutOfMemory => Errno::ENOMEM,
        _ => Errno::EBUSY,
    }
}

/// Called by a CPU that has nothing loaded and waits: if it is to go out of use, it has. What comes to it still (a timer
/// that was set while it went) is handled as ever.
pub fn note_idle(cpu: usize) {
    if let Some(state) = STATES.get(cpu)
        && state.state.load(Ordering::Relaxed) == LEAVING
        // Release: pairs with the Acquire in `offline`.
        && state
            .state
            .compare_exchange(LEAVING, GONE, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    {
        park::wake(state.key());
    }
}
