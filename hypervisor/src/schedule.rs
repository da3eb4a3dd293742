//! Which vCPU runs where: the scheduler of `logic/scheduler` with its queues in locks, and the vCPUs' waiting states.
//!
//! Whether a vCPU may run follows from several words that others change without a lock (it is up, it does not wait,
//! nobody paused it). The rule that keeps the scheduler and the words together: who changes one of them calls
//! [`update`] afterwards, which looks at all of them under the lock of the vCPU's queue. So the last one who gets the
//! lock leaves the scheduler knowing what the words say, and no wake-up is lost.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use boot_info::config;
use platform_cpu::lock::{Once, SpinGuard, SpinLock};
use platform_cpu::park;
use scheduler::{
    Affinity, CpuMask, Kind, Lock, Next, Notice, OutOfMemory, PoolError, PoolId, Pools, State,
};

use crate::context::Context;
use crate::cpu::{self, Cpu, Work};
use crate::domain::{Domain, VcpuRef};
use crate::ranks;
use crate::vcpu::{Vcpu, Waiting};
use crate::{time, timer_queues, vcpu_time};

/// A run queue.
type Queue = scheduler::Queue<VcpuRef>;

/// A run queue in its lock.
pub struct QueueLock(SpinLock<Queue>);

impl Lock<Queue> for QueueLock {
    type Guard<'a> = SpinGuard<'a, Queue>;

    #[inline]
    fn lock(&self) -> SpinGuard<'_, Queue> {
        self.0.lock()
    }

    #[inline]
    fn try_lock(&self) -> Option<SpinGuard<'_, Queue>> {
        self.0.try_lock()
    }
}

/// All run queues.
pub type Scheduler = scheduler::Scheduler<VcpuRef, QueueLock>;

static SCHEDULER: Once<Scheduler> = Once::new();
static POOLS: Once<SpinLock<Pools>> = Once::new();

/// Sets up queues for CPUs 0 to `cpus` - 1, of which each has to [`join`].
///
/// # Errors
/// There is no memory.
pub fn init(wanted: config::Scheduler, cpus: usize) -> Result<(), OutOfMemory> {
    let kind = match wanted {
        config::Scheduler::Credit2 => Kind::Credit2,
        config::Scheduler::Null => Kind::Null,
        config::Scheduler::Arinc653 => Kind::Arinc653,
        config::Scheduler::Credit | config::Scheduler::Rtds => {
            log::warn!("sched={wanted:?} is not there, using credit2");
            Kind::Credit2
        }
    };
    let queues = Scheduler::new(
        cpus,
        |queue| QueueLock(SpinLock::new(ranks::SCHEDULER, queue)),
        timer_queues::turn_end,
    )?;
    let _ = SCHEDULER.set(queues);
    let _ = POOLS.set(SpinLock::new(ranks::POOLS, Pools::new(kind)?));
    log::info!("Using scheduler: {}", kind.name());
    Ok(())
}

/// The scheduler; `None` before [`init`].
#[inline]
pub fn scheduler() -> Option<&'static Scheduler> {
    SCHEDULER.get()
}

/// The pools of CPUs; `None` before [`init`].
pub fn pools() -> Option<&'static SpinLock<Pools>> {
    POOLS.get()
}

/// Puts a CPU into a pool. `core` is the lowest number of a CPU of its core.
///
/// # Errors
/// See [`PoolError`].
pub fn join(pool: PoolId, cpu: usize, core: usize) -> Result<(), PoolError> {
    let (Some(scheduler), Some(pools)) = (scheduler(), pools()) else {
        return Err(PoolError::NoCpu);
    };
    let kicks = pools
        .lock()
        .add_cpu(scheduler, pool, cpu, core, time::now())?;
    kick(&kicks);
    Ok(())
}

/// Takes a CPU out of its pool, which is returned; its vCPUs go to others. It may run one for a moment.
///
/// # Errors
/// See [`PoolError`].
pub fn leave(cpu: usize) -> Result<PoolId, PoolError> {
    let (Some(scheduler), Some(pools)) = (scheduler(), pools()) else {
        return Err(PoolError::NoCpu);
    };
    let mut pools = pools.lock();
    let pool = pools.of_cpu(cpu).ok_or(PoolError::Elsewhere)?.id;
    let kicks = pools.remove_cpu(scheduler, pool, cpu, time::now())?;
    drop(pools);
    kick(&kicks);
    Ok(pool)
}

/// Makes CPUs choose again what they run.
pub fn kick(cpus: &CpuMask) {
    for cpu in cpus.iter() {
        cpu::request(cpu, Work::Reschedule);
    }
}

fn kick_one(cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        cpu::request(cpu, Work::Reschedule);
    }
}

fn heed(notice: Option<Notice>) {
    match notice {
        None => {}
        Some(Notice::Pick(cpu)) => cpu::request(cpu, Work::Reschedule),
        // This CPU looks before it enters a guest.
        Some(Notice::Sooner(cpu)) if cpu == platform_cpu::cpu_id() => {}
        Some(Notice::Sooner(cpu)) => cpu::request(cpu, Work::Timers),
    }
}

/// Decides what `cpu`, which has `loaded` loaded, does. A vCPU to switch to counts as loaded from now on.
pub fn pick(cpu: &mut Cpu, loaded: Option<&VcpuRef>) -> Next<VcpuRef> {
    let Some(scheduler) = scheduler() else {
        return Next::Idle;
    };
    cpu.picked_at = time::now();
    let pick = scheduler.pick(cpu.id, loaded.map(|vcpu| &vcpu.vcpu.unit), cpu.picked_at);
    if !pick.kick.is_empty() {
        kick(&pick.kick);
    }
    pick.next
}

/// Notes that a vCPU's state is saved: another CPU may load it.
#[inline(never)]
pub fn release(vcpu: &Vcpu) {
    if let Some(scheduler) = scheduler() {
        kick_one(scheduler.release(&vcpu.unit, time::now));
    }
    park::wake(loaded_key(vcpu));
}

/// Makes a vCPU known to the scheduler, asleep, in its domain's pool.
///
/// # Errors
/// There is no memory for it.
pub fn insert(vcpu: VcpuRef) -> Result<(), OutOfMemory> {
    let (Some(scheduler), Some(pools)) = (scheduler(), pools()) else {
        return Err(OutOfMemory);
    };
    if !vcpu_time::register(vcpu.domain.id(), &vcpu.vcpu) {
        return Err(OutOfMemory);
    }
    // Held until it is there, so that the domain does not move to another pool without it.
    let pools = pools.lock();
    let pool = vcpu.domain.pool.pool().ok_or(OutOfMemory)?;
    let cpus = pools.get(pool).map_err(|_| OutOfMemory)?.cpus;
    scheduler.insert(vcpu, Affinity::ANY, cpus)
}

/// Forgets a vCPU, which is paused or whose domain has ended, and its timers. Returns when no CPU has it loaded.
pub fn remove(vcpu: &Vcpu) {
    wait_until_unloaded(vcpu);
    if let Some(scheduler) = scheduler()
        && let Some((vcpu, cpu)) = scheduler.remove(&vcpu.unit, time::now())
    {
        kick_one(cpu);
        // It may be the last reference to the domain, and no lock is held here.
        drop(vcpu);
    }
    vcpu_time::unregister(vcpu);
}

/// Whether a CPU runs the vCPU at this moment.
pub fn is_running(vcpu: &Vcpu) -> bool {
    scheduler()
        .and_then(|scheduler| scheduler.info(&vcpu.unit))
        .is_some_and(|info| matches!(info.state, State::Running(_)))
}

/// Lets a vCPU run, or keeps it from running, as its state and its domain's say. To be called after each change of
/// them.
pub fn update(domain: &Domain, vcpu: &Vcpu) {
    heed(evaluate(domain, vcpu));
}

/// [`update`], but for telling the CPU that it changes something for.
fn evaluate(domain: &Domain, vcpu: &Vcpu) -> Option<Notice> {
    let now = time::now();
    scheduler()?.update(&vcpu.unit, now, || {
        let runs = can_run(domain, vcpu);
        if runs {
            vcpu_time::note_runnable(vcpu, now);
        } else {
            vcpu_time::note_not_runnable(vcpu, now);
        }
        runs
    })
}

/// Takes the running vCPU off the queue until what it waits for happens.
pub fn wait(context: &mut Context<'_>) {
    let notice = evaluate(context.domain, context.vcpu);
    if notice != Some(Notice::Pick(context.cpu.id)) {
        heed(notice);
    }
    context.cpu.reschedule = true;
}

/// Whether nothing but the scheduler keeps the vCPU from running.
fn can_run(domain: &Domain, vcpu: &Vcpu) -> bool {
    vcpu.is_up() && vcpu.waiting() == Waiting::No && !vcpu.is_paused() && domain.can_run()
}

/// Ends the waiting of vCPU `id`, if it waits in the way `from` says.
pub fn wake(domain: &Domain, id: u32, from: Waiting) {
    if let Some(vcpu) = domain.vcpu(id)
        && vcpu.stop_waiting(from)
    {
        update(domain, vcpu);
    }
}

/// Lets other vCPUs go first, once.
pub fn yield_now(context: &mut Context<'_>) {
    if let Some(scheduler) = scheduler() {
        scheduler.yield_now(&context.vcpu.unit);
        context.cpu.reschedule = true;
    }
}

/// Keeps all vCPUs of a domain from running until [`unpause`], once for each call. They may run on for a moment.
pub fn pause(domain: &Arc<Domain>) {
    domain.pause_count.fetch_add(1, Ordering::SeqCst);
    for vcpu in domain.vcpus() {
        update(domain, vcpu);
    }
}

/// Takes back one [`pause`]. False if there was none.
pub fn unpause(domain: &Arc<Domain>) -> bool {
    let before = domain
        .pause_count
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
            count.checked_sub(1)
        });
    if before == Ok(1) {
        for vcpu in domain.vcpus() {
            update(domain, vcpu);
        }
    }
    before.is_ok()
}

/// Like [`pause`]; returns when no CPU has a vCPU of the domain loaded, but for the one that the caller itself is: the
/// vCPUs' states are there to be locked. The caller holds no lock but its own vCPU's state.
pub fn pause_and_wait(domain: &Arc<Domain>) {
    pause(domain);
    for vcpu in domain.vcpus() {
        wait_until_unloaded(vcpu);
    }
}

/// Keeps a vCPU from running until [`unpause_vcpu`], once for each call; returns when no CPU has it loaded.
#[allow(dead_code, reason = "for the management of domains")]
pub fn pause_vcpu_and_wait(domain: &Domain, vcpu: &Vcpu) {
    vcpu.add_pause();
    update(domain, vcpu);
    wait_until_unloaded(vcpu);
}

/// Takes back one pause of a vCPU.
#[allow(dead_code, reason = "for the management of domains")]
pub fn unpause_vcpu(domain: &Domain, vcpu: &Vcpu) {
    vcpu.remove_pause();
    update(domain, vcpu);
}

/// Returns when no other CPU has the vCPU, which does not want to run, loaded.
fn wait_until_unloaded(vcpu: &Vcpu) {
    let this = platform_cpu::cpu_id();
    while let Some(cpu) = vcpu.unit.ask_for().filter(|cpu| *cpu != this) {
        cpu::request(cpu, Work::Reschedule);
        park::wait_until(loaded_key(vcpu), || vcpu.loaded_on() != Some(cpu));
    }
}

/// Has the CPU that asks, which has the vCPU loaded, save it as soon as it does not run it any more.
pub fn want_unloaded(vcpu: &Vcpu) {
    // The CPU is this one, and about to pick.
    let _ = vcpu.unit.ask_for();
}

/// What one waits for who waits until the vCPU is not loaded.
fn loaded_key(vcpu: &Vcpu) -> usize {
    core::ptr::from_ref(&vcpu.unit).addr()
}

/// Nanoseconds that a vCPU has run.
pub fn run_time(vcpu: &Vcpu) -> u64 {
    scheduler().map_or(0, |scheduler| scheduler.run_time(&vcpu.unit, time::now()))
}

/// Prints all run queues (debug key `r`).
pub fn dump() {
    use crate::console::ALWAYS;
    let now = time::now();
    log::info!(target: ALWAYS, "Run queues (now = {now}):");
    if let Some(scheduler) = scheduler() {
        scheduler.for_each(
            |queue| {
                log::info!(
                    target: ALWAYS,
                    "queue {} ({}), CPUs {:x?}: {} vCPUs, {} wait, {} run",
                    queue.index,
                    queue.kind.name(),
                    queue.cpus.words(),
                    queue.units,
                    queue.waiting,
                    queue.running,
                );
            },
            |_, vcpu, unit| {
                log::info!(
                    target: ALWAYS,
                    "    d{}v{} {:?}, ran {} ns",
                    vcpu.domain.id(),
                    vcpu.vcpu.id(),
                    unit.state,
                    unit.run_time,
                );
            },
        );
    }
}
