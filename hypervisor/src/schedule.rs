//! Which vCPU runs where: the policy of `logic/scheduler` behind locks, and the vCPUs' waiting states.
//!
//! Each CPU has a queue, in a lock of its own. Whether a vCPU may run follows from several words that others change
//! without a lock (it is up, it does not wait, nobody paused it). The rule that keeps queue and words together: who
//! changes one of them calls [`update`] afterwards, which looks at all of them under the queue's lock. So the
//! last one who gets the lock leaves the queue as the words say.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use platform_cpu::lock::SpinLock;
use platform_cpu::{MAX_CPUS, park};
use scheduler::{Policy, RoundRobin};

use crate::context::Context;
use crate::cpu::{self, Cpu, Work};
use crate::domain::{Domain, VcpuRef};
use crate::ranks;
use crate::vcpu::{Vcpu, Waiting};
use crate::{time, vcpu_time};

type Queue = RoundRobin<VcpuRef>;

static QUEUES: [SpinLock<Queue>; MAX_CPUS] =
    [const { SpinLock::new(ranks::SCHEDULER, RoundRobin::new()) }; MAX_CPUS];

/// CPUs that run vCPUs: the first ones.
static CPUS: AtomicUsize = AtomicUsize::new(1);
/// vCPUs that were made known, to spread them over the CPUs.
static INSERTED: AtomicUsize = AtomicUsize::new(0);

/// What a CPU that runs a vCPU should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Go on with it.
    Stay,
    /// Run another, which [`next`] names.
    Switch,
    /// Wait: no vCPU wants to run.
    Idle,
}

/// Says how many CPUs run vCPUs.
pub fn set_cpus(cpus: usize) {
    CPUS.store(cpus.clamp(1, MAX_CPUS), Ordering::Relaxed);
}

/// The vCPU that `cpu`, which has nothing loaded, is to load, if any. It counts as loaded from now on.
pub fn next(cpu: &Cpu) -> Option<VcpuRef> {
    let queue = QUEUES.get(cpu.id)?.lock();
    let unit = queue.running()?;
    let next = queue.get(unit).cloned()?;
    // Under the lock: who pauses the vCPU from now on waits for this CPU.
    next.domain.vcpu(next.id)?.set_loaded_on(Some(cpu.id));
    Some(next)
}

/// Decides what `cpu`, which has `current` loaded, does.
pub fn choose(cpu: &mut Cpu, current: &VcpuRef) -> Choice {
    let now = time::now();
    let Some(queue) = QUEUES.get(cpu.id) else {
        return Choice::Idle;
    };
    let mut queue = queue.lock();
    let pick = queue.pick(now);
    cpu.slice_end = pick.until;
    match pick.unit.and_then(|unit| queue.get(unit)) {
        None => Choice::Idle,
        Some(unit) if unit == current => Choice::Stay,
        Some(_) => Choice::Switch,
    }
}

/// Decides what an idle `cpu` with nothing loaded does: whether there is something to run.
pub fn choose_idle(cpu: &mut Cpu) -> bool {
    let Some(queue) = QUEUES.get(cpu.id) else {
        return false;
    };
    let pick = queue.lock().pick(time::now());
    cpu.slice_end = pick.until;
    pick.unit.is_some()
}

/// Makes a vCPU known to the scheduler, asleep.
///
/// # Errors
/// There is no memory for it.
pub fn insert(vcpu: VcpuRef) -> Result<(), scheduler::OutOfMemory> {
    let handle = vcpu.clone();
    let home = INSERTED.fetch_add(1, Ordering::Relaxed) % CPUS.load(Ordering::Relaxed);
    let queue = QUEUES.get(home).ok_or(scheduler::OutOfMemory)?;
    let Some(vcpu_state) = handle.domain.vcpu(handle.id) else {
        return Err(scheduler::OutOfMemory);
    };
    vcpu_state.set_cpu(home);
    if !vcpu_time::register(handle.domain.id(), vcpu_state) {
        return Err(scheduler::OutOfMemory);
    }
    let unit = queue.lock().insert(vcpu)?;
    vcpu_state.set_unit(unit);
    Ok(())
}

/// Forgets a vCPU that is paused for good, and its timers.
pub fn remove(vcpu: &Vcpu) {
    vcpu_time::unregister(vcpu);
    if let (Some(unit), Some(queue)) = (vcpu.unit(), QUEUES.get(vcpu.cpu())) {
        let removed = queue.lock().remove(unit, time::now());
        // After the lock: it may be what keeps the domain.
        drop(removed);
    }
}

/// Whether a CPU runs the vCPU at this moment.
pub fn is_running(vcpu: &Vcpu) -> bool {
    match (vcpu.unit(), QUEUES.get(vcpu.cpu())) {
        (Some(unit), Some(queue)) => queue.lock().running() == Some(unit),
        _ => false,
    }
}

/// Lets a vCPU run, or keeps it from running, as its state and its domain's say. To be called after each change of
/// them.
pub fn update(domain: &Domain, vcpu: &Vcpu) {
    let home = vcpu.cpu();
    let (Some(unit), Some(queue)) = (vcpu.unit(), QUEUES.get(home)) else {
        return;
    };
    let mut queue = queue.lock();
    let now = time::now();
    let look = if can_run(domain, vcpu) {
        vcpu_time::note_runnable(vcpu);
        queue.wake(unit, now)
    } else {
        let runs = queue.running() == Some(unit);
        queue.sleep(unit, now);
        runs
    };
    drop(queue);
    if look {
        cpu::request(home, Work::Reschedule);
    }
}

/// Takes the running vCPU off the queue until what it waits for happens.
pub fn wait(context: &mut Context<'_>) {
    update(context.domain, context.vcpu);
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
    if let (Some(unit), Some(queue)) = (context.vcpu.unit(), QUEUES.get(context.vcpu.cpu())) {
        queue.lock().yield_now(unit, time::now());
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

fn wait_until_unloaded(vcpu: &Vcpu) {
    if let Some(cpu) = vcpu.loaded_on()
        && cpu != platform_cpu::cpu_id()
    {
        cpu::request(cpu, Work::Unload);
        park::wait_until(vcpu.loaded_key(), || vcpu.loaded_on() != Some(cpu));
    }
}

/// Nanoseconds that a vCPU has run.
pub fn run_time(vcpu: &Vcpu) -> u64 {
    match (vcpu.unit(), QUEUES.get(vcpu.cpu())) {
        (Some(unit), Some(queue)) => queue.lock().run_time(unit, time::now()),
        _ => 0,
    }
}

/// Calls `f` for each vCPU that waits for a CPU, with that CPU's number.
pub fn for_each_queued(mut f: impl FnMut(usize, &VcpuRef)) {
    let cpus = CPUS.load(Ordering::Relaxed);
    for (cpu, queue) in QUEUES.iter().enumerate().take(cpus) {
        for vcpu in queue.lock().queued() {
            f(cpu, vcpu);
        }
    }
}
