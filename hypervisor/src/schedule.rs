//! Which vCPU runs: the policy of `logic/scheduler` behind a lock, and the vCPUs' waiting states.
//!
//! All vCPUs are on CPU 0's queue for now; the other CPUs find nothing to run and stay idle.

use alloc::sync::Arc;

use platform_cpu::lock::SpinLock;
use scheduler::{Policy, RoundRobin};

use crate::context::Context;
use crate::cpu::{self, Cpu, Work};
use crate::domain::{Domain, VcpuRef};
use crate::ranks;
use crate::vcpu::{Vcpu, Waiting};
use crate::{time, vcpu_time};

/// The CPU whose queue all vCPUs are on.
pub const HOME_CPU: usize = 0;

static QUEUE: SpinLock<RoundRobin<VcpuRef>> = SpinLock::new(ranks::SCHEDULER, RoundRobin::new());

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

/// The vCPU to run now, if any.
pub fn next(cpu: &Cpu) -> Option<VcpuRef> {
    if cpu.id != HOME_CPU {
        return None;
    }
    let queue = QUEUE.lock();
    let unit = queue.running()?;
    queue.get(unit).cloned()
}

/// Decides what `cpu`, which has `current` loaded, does.
pub fn choose(cpu: &mut Cpu, current: &VcpuRef) -> Choice {
    let now = time::now();
    let mut queue = QUEUE.lock();
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
    if cpu.id != HOME_CPU {
        return false;
    }
    let now = time::now();
    let pick = QUEUE.lock().pick(now);
    cpu.slice_end = pick.until;
    pick.unit.is_some()
}

/// Makes a vCPU known to the scheduler, asleep.
///
/// # Errors
/// There is no memory for it.
pub fn insert(vcpu: VcpuRef) -> Result<(), scheduler::OutOfMemory> {
    let handle = vcpu.clone();
    let unit = QUEUE.lock().insert(vcpu)?;
    if let Some(vcpu) = handle.domain.vcpu(handle.id) {
        vcpu.set_unit(unit);
    }
    Ok(())
}

/// Lets a vCPU run if nothing else keeps it: it is up, its domain is neither paused nor ended, and it does
/// not wait.
pub fn make_runnable(domain: &Domain, vcpu: &Vcpu) {
    if !can_run(domain, vcpu) {
        return;
    }
    if let Some(unit) = vcpu.unit() {
        vcpu_time::note_runnable(vcpu);
        let preempts = QUEUE.lock().wake(unit, time::now());
        if preempts {
            cpu::request(HOME_CPU, Work::Reschedule);
            platform_interrupt(HOME_CPU);
        }
    }
}

/// Takes a vCPU off the queue: it is down, waits, or its domain is paused or ended.
pub fn make_asleep(vcpu: &Vcpu) {
    if let Some(unit) = vcpu.unit() {
        QUEUE.lock().sleep(unit, time::now());
        cpu::request(HOME_CPU, Work::Reschedule);
        platform_interrupt(HOME_CPU);
    }
}

/// Takes the running vCPU off the queue until what it waits for happens.
pub fn wait(context: &mut Context<'_>) {
    make_asleep(context.vcpu);
    // It may have happened in between: who wakes ends the waiting first and then puts the vCPU on the queue.
    make_runnable(context.domain, context.vcpu);
    context.cpu.reschedule = true;
}

/// Whether nothing but the scheduler keeps the vCPU from running.
pub fn can_run(domain: &Domain, vcpu: &Vcpu) -> bool {
    vcpu.is_up() && vcpu.waiting() == Waiting::No && domain.can_run()
}

/// Ends the waiting of vCPU `id`, if it waits in the way `from` says.
pub fn wake(domain: &Arc<Domain>, id: u32, from: Waiting) {
    if let Some(vcpu) = domain.vcpu(id)
        && vcpu.stop_waiting(from)
    {
        make_runnable(domain, vcpu);
    }
}

/// Lets other vCPUs go first, once.
pub fn yield_now(context: &mut Context<'_>) {
    if let Some(unit) = context.vcpu.unit() {
        QUEUE.lock().yield_now(unit, time::now());
        context.cpu.reschedule = true;
    }
}

/// Nanoseconds that a vCPU has run.
pub fn run_time(vcpu: &Vcpu) -> u64 {
    vcpu.unit()
        .map_or(0, |unit| QUEUE.lock().run_time(unit, time::now()))
}

/// Calls `f` for each vCPU that waits for the CPU.
pub fn for_each_queued(mut f: impl FnMut(&VcpuRef)) {
    for vcpu in QUEUE.lock().queued() {
        f(vcpu);
    }
}

/// Makes another CPU look at its work.
fn platform_interrupt(id: usize) {
    if platform_cpu::cpu_id() != id {
        crate::irq::send_reschedule(id);
    }
}
