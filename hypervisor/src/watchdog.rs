//! The watchdog of CPUs (option `watchdog`): a CPU that does not get around to its work for `watchdog_timeout=` seconds
//! is stuck. It is named, and says itself where, from an NMI; then the machine stops as after any crash.
//!
//! CPUs look after each other, each second, in a ring: each asks the next one for a sign of life, [`Work::Alive`], which
//! that takes before it next enters a guest or halts. Whoever finds its neighbour silent looks after the neighbour's
//! neighbour too. A CPU that runs a guest or waits for an interrupt is interrupted for it; so one that waits for a
//! lock that is never released, which halts as well, is found. The paths in and out of a guest do nothing for it.
//!
//! A machine of one CPU has nobody to look after it.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use platform_cpu::lock::Once;
use platform_cpu::{HostFrame, MAX_CPUS};

use crate::console::ALWAYS;
use crate::cpu::{self, Cpu, Work};
use crate::timer_queues::Timer;
use crate::vcpu_time::TimerEvent;
use crate::{config, dump, hotplug, irq, keys, time};

/// Nanoseconds between two looks.
const PERIOD: u64 = 1_000_000_000;

/// Each CPU's timer for the next look.
static TIMERS: [Once<Timer>; MAX_CPUS] = [const { Once::new() }; MAX_CPUS];
/// When each CPU was last asked for a sign of life.
static ASKED: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
/// The CPU that is to say where it is stuck.
static STUCK: AtomicUsize = AtomicUsize::new(NOBODY);
const NOBODY: usize = usize::MAX;

fn is_on(cpu: usize) -> bool {
    hotplug::is_online(cpu)
}

/// The next CPU of the ring.
fn after(cpu: usize) -> usize {
    (cpu + 1..MAX_CPUS)
        .chain(0..cpu)
        .find(|next| is_on(*next))
        .unwrap_or(cpu)
}

/// Starts it, if it is asked for. All CPUs are up.
pub fn init() {
    if config::get().test_keys {
        keys::register(b'Z', "spin for ever (test)", |_, _| spin_for_ever());
    }
    if !config::get().watchdog {
        return;
    }
    if after(0) == 0 {
        log::warn!("watchdog: a machine of one CPU has none");
        return;
    }
    let mut started = 0;
    for cpu in (0..MAX_CPUS).filter(|cpu| is_on(*cpu)) {
        if let Some(timer) = Timer::register(cpu, TimerEvent::CpuWatchdog)
            && TIMERS.get(cpu).is_some_and(|slot| slot.set(timer).is_ok())
        {
            timer.arm(time::now().saturating_add(PERIOD));
            started += 1;
        }
    }
    log::info!(
        "watchdog: {started} CPUs look after each other, {} s",
        config::get().watchdog_timeout
    );
}

/// The next look.
pub fn tick(cpu: &Cpu) {
    if let Some(timer) = TIMERS.get(cpu.id).and_then(Once::get) {
        timer.arm(time::now().saturating_add(PERIOD));
    }
    let mut other = after(cpu.id);
    while other != cpu.id && !is_alive(other) {
        other = after(other);
    }
}

/// Asks a CPU for a sign of life; whether it gave the last one.
fn is_alive(id: usize) -> bool {
    let Some(asked) = ASKED.get(id) else {
        return true;
    };
    if !cpu::is_asked(id, Work::Alive) {
        asked.store(time::now(), Ordering::Relaxed);
        cpu::request(id, Work::Alive);
        return true;
    }
    let silent = time::now().saturating_sub(asked.load(Ordering::Relaxed));
    if silent >= u64::from(config::get().watchdog_timeout) * PERIOD {
        found_stuck(id);
    }
    false
}

/// Has a stuck CPU say where it is, and stop the machine.
#[cold]
fn found_stuck(id: usize) {
    if STUCK
        .compare_exchange(NOBODY, id, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        return;
    }
    log::error!(target: ALWAYS, "Watchdog timer detects that CPU{id} is stuck!");
    irq::send_nmi(id);
    let end = time::now().saturating_add(PERIOD);
    while STUCK.load(Ordering::Acquire) == id && time::now() < end {
        core::hint::spin_loop();
    }
    assert!(
        STUCK.load(Ordering::Acquire) != id,
        "CPU{id} is stuck, and does not hear NMIs"
    );
}

/// An NMI hit the hypervisor: if this CPU is what was found stuck, here is where.
pub fn nmi_in_hypervisor(frame: &HostFrame) {
    if take_stuck() {
        dump::fatal(frame);
    }
}

/// An NMI hit a guest: a CPU that was found stuck is not stuck any more.
pub fn nmi_in_guest() -> bool {
    let was_stuck = take_stuck();
    if was_stuck {
        log::error!(target: ALWAYS, "watchdog: CPU{} is back in its guest", platform_cpu::cpu_id());
    }
    was_stuck
}

fn take_stuck() -> bool {
    let this = platform_cpu::cpu_id();
    STUCK
        .compare_exchange(this, NOBODY, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
}

/// What a stuck CPU looks like.
#[inline(never)]
fn spin_for_ever() {
    log::warn!(target: ALWAYS, "CPU{} spins for ever", platform_cpu::cpu_id());
    loop {
        core::hint::spin_loop();
    }
}
