//! Timers of vCPUs: single shot, periodic, poll, watchdog, time slice; and run-state times.
//!
//! Times are nanoseconds since boot, the same clock that guests see as system time.

use ::hypercall::{CrashReason, Outcome};
use addr::Vaddr;
use platform_cpu::guest;
use x86_defs::exception::Exception;
use xen_abi::errno::Errno;
use xen_abi::vcpu::{
    RUNSTATE_BLOCKED, RUNSTATE_OFFLINE, RUNSTATE_RUNNABLE, RUNSTATE_RUNNING, RunstateInfo,
    XEN_RUNSTATE_UPDATE,
};
use xen_abi::virq;

use crate::bounce::{self, Callback, Extra};
use crate::context::Context;
use crate::cpu::Cpu;
use crate::domain::{DomId, Domain};
use crate::hypercall::errno;
use crate::timer_queues::{self, Timer};
use crate::vcpu::{Notice, Vcpu, VcpuState, Waiting};
use crate::{domains, events, schedule, shutdown, time, watchdog as cpu_watchdog};

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerEvent {
    /// A vCPU's timer event, once.
    Singleshot(DomId, u32),
    /// A vCPU's timer event, again and again.
    Periodic(DomId, u32),
    /// End of a poll.
    Poll(DomId, u32),
    /// A domain's watchdog (0 or 1).
    Watchdog(DomId, u32),
    /// The watchdog of the CPU itself.
    CpuWatchdog,
}

/// Shortest period that a guest may ask for, in nanoseconds (Xen's limit is the same 1 ms).
const MIN_PERIOD: u64 = 1_000_000;
/// Longest one (Xen's limit too).
const MAX_PERIOD: u64 = u64::MAX >> 2;

/// Timers of a vCPU, registered with a CPU: the one that it ran on last, as a rule.
#[derive(Clone, Copy)]
pub struct VcpuTimers {
    singleshot: Timer,
    periodic: Timer,
    poll: Timer,
    /// The poll's was set since it was last taken back.
    poll_is_set: bool,
}

/// Registers the timers of a vCPU that is being made. False when there is no memory.
pub fn register(domain: DomId, vcpu: &Vcpu) -> bool {
    let mut timers = vcpu.timers.lock();
    let (cpu, id) = (vcpu.cpu(), vcpu.id());
    let add = |event| Timer::register(cpu, event);
    let Some(singleshot) = add(TimerEvent::Singleshot(domain, id)) else {
        return false;
    };
    let Some(periodic) = add(TimerEvent::Periodic(domain, id)) else {
        singleshot.unregister();
        return false;
    };
    let Some(poll) = add(TimerEvent::Poll(domain, id)) else {
        singleshot.unregister();
        periodic.unregister();
        return false;
    };
    *timers = Some(VcpuTimers {
        singleshot,
        periodic,
        poll,
        poll_is_set: false,
    });
    true
}

/// Forgets the timers of a vCPU that goes away.
pub fn unregister(vcpu: &Vcpu) {
    if let Some(timers) = vcpu.timers.lock().take() {
        timers.singleshot.unregister();
        timers.periodic.unregister();
        timers.poll.unregister();
    }
}

/// Moves the timers of a vCPU to `cpu`, where it runs from now on.
pub fn follow(domain: DomId, vcpu: &Vcpu, cpu: usize) {
    if let Some(timers) = &mut *vcpu.timers.lock() {
        let id = vcpu.id();
        timers.singleshot = timers
            .singleshot
            .moved_to(cpu, TimerEvent::Singleshot(domain, id));
        timers.periodic = timers
            .periodic
            .moved_to(cpu, TimerEvent::Periodic(domain, id));
        timers.poll = timers.poll.moved_to(cpu, TimerEvent::Poll(domain, id));
    }
}

/// Moves the timers of a vCPU away from `cpu`, which goes out of use.
pub fn leave(domain: DomId, vcpu: &Vcpu, cpu: usize) {
    let is_there = vcpu
        .timers
        .lock()
        .as_ref()
        .is_some_and(|timers| timers.singleshot.cpu() == cpu);
    if is_there {
        // CPU 0 is always there. When the vCPU runs, they follow it.
        follow(domain, vcpu, 0);
    }
}

/// Handles every timer of this CPU that has expired.
pub fn run_timers(cpu: &mut Cpu) {
    // The hardware's timer fires once.
    cpu.programmed = timer_queues::NEVER;
    let now = time::now();
    while let Some((deadline, event)) = timer_queues::pop_expired(cpu.id, now) {
        match event {
            TimerEvent::Singleshot(domain, vcpu) => send_timer(domain, vcpu),
            TimerEvent::Periodic(domain, vcpu) => {
                send_timer(domain, vcpu);
                rearm_periodic(domain, vcpu, deadline, now);
            }
            TimerEvent::Poll(domain, vcpu) => {
                if let Some(domain) = domains::find(domain) {
                    schedule::wake(&domain, vcpu, Waiting::Polling);
                }
            }
            TimerEvent::CpuWatchdog => cpu_watchdog::tick(cpu),
            TimerEvent::Watchdog(domain, _) => {
                if let Some(domain) = domains::find(domain) {
                    log::warn!("d{}: watchdog expired", domain.id());
                    shutdown::domain_ended(&domain, xen_abi::sched::SHUTDOWN_WATCHDOG);
                }
            }
        }
    }
    if timer_queues::turn_end(cpu.id).get() <= now {
        cpu.reschedule = true;
    }
}

fn send_timer(domain: DomId, vcpu: u32) {
    if let Some(domain) = domains::find(domain) {
        events::send_vcpu_virq(&domain, vcpu, virq::TIMER);
    }
}

fn rearm_periodic(domain: DomId, vcpu: u32, deadline: u64, now: u64) {
    let Some(domain) = domains::find(domain) else {
        return;
    };
    let Some(vcpu) = domain.vcpu(vcpu) else {
        return;
    };
    // Under the lock, so that the timer does not move and its period does not change meanwhile.
    let timers = vcpu.timers.lock();
    let period = vcpu.period();
    if period != 0
        && let Some(timers) = &*timers
    {
        // Ticks that were missed are not made up for.
        timers
            .periodic
            .arm(deadline.saturating_add(period).max(now));
    }
}

/// Sets a vCPU's timer event for `deadline`.
#[inline]
pub fn arm_singleshot(vcpu: &Vcpu, deadline: u64) {
    if let Some(timers) = &*vcpu.timers.lock() {
        timers.singleshot.arm(deadline);
    }
}

/// Takes back a vCPU's timer event.
pub fn disarm_singleshot(vcpu: &Vcpu) {
    if let Some(timers) = &*vcpu.timers.lock() {
        timers.singleshot.disarm();
    }
}

/// Ends a poll that starts now at `deadline`; 0 for never.
pub fn arm_poll(vcpu: &Vcpu, deadline: u64) {
    if let Some(timers) = &mut *vcpu.timers.lock() {
        if deadline != 0 {
            timers.poll.arm(deadline);
        } else if timers.poll_is_set {
            // That of an earlier poll, which ended before.
            timers.poll.disarm();
        }
        timers.poll_is_set = deadline != 0;
    }
}

/// Starts timer events every `period` nanoseconds; 0 stops them.
pub fn set_periodic(vcpu: &Vcpu, period: u64) -> Outcome {
    if period != 0 && !(MIN_PERIOD..=MAX_PERIOD).contains(&period) {
        return errno(Errno::EINVAL);
    }
    let timers = vcpu.timers.lock();
    vcpu.set_period(period);
    if let Some(timers) = &*timers {
        if period == 0 {
            timers.periodic.disarm();
        } else {
            timers.periodic.arm(time::now().saturating_add(period));
        }
    }
    Outcome::SUCCESS
}

/// Watchdogs of a domain. Registered when the first is asked for, with the CPU that booted.
#[derive(Default)]
pub struct Watchdogs([Option<Timer>; 2]);

impl Watchdogs {
    /// None yet.
    pub const fn new() -> Self {
        Self([None; 2])
    }

    /// The timer of watchdog `index`, registered if it was not.
    fn timer(&mut self, domain: DomId, index: usize) -> Option<Timer> {
        let slot = self.0.get_mut(index)?;
        if slot.is_none() {
            *slot = Timer::register(0, TimerEvent::Watchdog(domain, index as u32));
        }
        *slot
    }

    /// Forgets the timers, of a domain that goes away.
    pub fn unregister(&mut self) {
        for timer in self.0.iter_mut().filter_map(Option::take) {
            timer.unregister();
        }
    }
}

/// `SCHEDOP_watchdog`: id 0 asks for a new watchdog, others re-arm (timeout in seconds) or stop (0) theirs.
pub fn watchdog(domain: &Domain, id: u32, seconds: u32) -> Outcome {
    const NANOS: u64 = 1_000_000_000;
    let deadline = time::now().saturating_add(u64::from(seconds).saturating_mul(NANOS));
    let mut watchdogs = domain.watchdogs.lock();
    if id == 0 {
        if seconds == 0 {
            return errno(Errno::EINVAL);
        }
        for index in 0..watchdogs.0.len() {
            let Some(timer) = watchdogs.timer(domain.id(), index) else {
                return errno(Errno::ENOMEM);
            };
            if timer.deadline().is_none() {
                timer.arm(deadline);
                return Outcome::Done(index as i64 + 1);
            }
        }
        return errno(Errno::ENOSPC);
    }
    let Some(timer) = watchdogs.0.get(id as usize - 1) else {
        return errno(Errno::EINVAL);
    };
    let Some(timer) = timer.filter(|timer| timer.deadline().is_some()) else {
        return errno(Errno::EEXIST);
    };
    if seconds == 0 {
        timer.disarm();
    } else {
        timer.arm(deadline);
    }
    Outcome::SUCCESS
}

/// Times that a vCPU spent in each run state, and where the guest wants to see them.
#[derive(Clone, Copy)]
pub struct Runstate {
    info: RunstateInfo,
    /// Guest address of the copy; 0 for none.
    pub area: u64,
}

impl Runstate {
    /// Starts as offline.
    pub const fn new() -> Self {
        Self {
            info: RunstateInfo {
                state: RUNSTATE_OFFLINE,
                _hole0: [0; 4],
                state_entry_time: 0,
                time: [0; 4],
            },
            area: 0,
        }
    }

    /// Changes to `state` at `now`, which another CPU may have read a little before the last change.
    pub fn change(&mut self, state: i32, now: u64) {
        let now = now.max(self.info.state_entry_time);
        let spent = now - self.info.state_entry_time;
        let index = usize::try_from(self.info.state).unwrap_or(usize::MAX);
        if let Some(total) = self.info.time.get_mut(index) {
            *total = total.saturating_add(spent);
        }
        self.info.state = state;
        self.info.state_entry_time = now;
    }

    /// The times up to `now`.
    pub fn snapshot(&self, now: u64) -> RunstateInfo {
        let mut copy = *self;
        copy.change(self.info.state, now);
        copy.info
    }
}

/// Writes the run-state times to where the guest wants them; its address space is loaded.
fn publish(domain: &Domain, runstate: &Runstate) {
    if runstate.area == 0 {
        return;
    }
    let at = Vaddr::new(runstate.area);
    let Some(entry_time_at) =
        at.checked_add(core::mem::offset_of!(RunstateInfo, state_entry_time) as u64)
    else {
        return;
    };
    let mut info = runstate.info;
    if domain.assists(xen_abi::vm_assist::TYPE_RUNSTATE_UPDATE_FLAG) {
        // A reader that sees the flag reads again: the times below are being changed.
        info.state_entry_time |= XEN_RUNSTATE_UPDATE;
        let _ = guest::write(entry_time_at, &info.state_entry_time);
    }
    // A guest that unmapped its area does without: as on Xen this is not an error.
    let _ = guest::write(at, &info);
    if info.state_entry_time & XEN_RUNSTATE_UPDATE != 0 {
        let _ = guest::write(entry_time_at, &runstate.info.state_entry_time);
    }
}

/// Notes that the vCPU runs from now on.
#[inline(never)]
pub fn note_running(context: &mut Context<'_>) {
    change(
        context.domain,
        context.vcpu,
        RUNSTATE_RUNNING,
        context.cpu.picked_at,
    );
}

/// Notes that the vCPU was loaded, and runs.
pub fn note_loaded(domain: &Domain, vcpu: &Vcpu, now: u64) {
    change(domain, vcpu, RUNSTATE_RUNNING, now);
}

/// Notes that the vCPU waits, still loaded.
#[inline(never)]
pub fn note_idle(context: &mut Context<'_>) {
    let state = if context.vcpu.is_up() {
        RUNSTATE_BLOCKED
    } else {
        RUNSTATE_OFFLINE
    };
    change(context.domain, context.vcpu, state, context.cpu.picked_at);
}

/// Notes that the vCPU leaves the CPU, to wait or to run later.
pub fn note_stopped(domain: &Domain, vcpu: &Vcpu, now: u64) {
    let state = if !vcpu.is_up() {
        RUNSTATE_OFFLINE
    } else if vcpu.waiting() == Waiting::No {
        RUNSTATE_RUNNABLE
    } else {
        RUNSTATE_BLOCKED
    };
    change(domain, vcpu, state, now);
}

/// Notes that a vCPU of which nothing is loaded can run.
pub fn note_runnable(vcpu: &Vcpu, now: u64) {
    let mut runstate = vcpu.runstate.lock();
    if runstate.info.state == RUNSTATE_BLOCKED || runstate.info.state == RUNSTATE_OFFLINE {
        runstate.change(RUNSTATE_RUNNABLE, now);
    }
}

/// Notes that a vCPU that waited for a CPU is not to run any more.
pub fn note_not_runnable(vcpu: &Vcpu, now: u64) {
    let mut runstate = vcpu.runstate.lock();
    if runstate.info.state == RUNSTATE_RUNNABLE {
        runstate.change(RUNSTATE_OFFLINE, now);
    }
}

fn change(domain: &Domain, vcpu: &Vcpu, state: i32, now: u64) {
    let shown = {
        let mut runstate = vcpu.runstate.lock();
        if runstate.info.state == state {
            return;
        }
        runstate.change(state, now);
        // The guest sees its times where it runs.
        (state == RUNSTATE_RUNNING && runstate.area != 0).then(|| *runstate)
    };
    if let Some(copy) = shown {
        publish(domain, &copy);
    }
}

/// Shows the running vCPU's times at an address that it has just named.
pub fn publish_now(context: &Context<'_>) {
    let copy = *context.vcpu.runstate.lock();
    publish(context.domain, &copy);
}

/// Passes a pending NMI to the guest, unless one is being handled.
///
/// # Errors
/// The domain cannot go on.
#[cold]
pub fn deliver_nmi(context: &mut Context<'_>) -> Result<(), CrashReason> {
    if context.state.nmi_masked {
        return Ok(());
    }
    context.vcpu.take_notice(Notice::Nmi);
    let handler = nmi_handler(context.state);
    if handler.address == 0 {
        return Ok(());
    }
    context.state.nmi_masked = true;
    context.state.roots.note_change();
    bounce::bounce(context, handler, Extra::None)
}

/// The NMI callback, or the trap table's entry for it, which newer kernels use.
fn nmi_handler(state: &VcpuState) -> Callback {
    if state.callbacks.nmi.address != 0 {
        return state.callbacks.nmi;
    }
    Callback {
        address: state.traps[usize::from(Exception::NMI.0)].address,
        masks_events: true,
    }
}
