//! Waiting for another CPU without keeping it from running: below this machine there may be another scheduler, and then
//! whoever spins may spin in the place of the CPU that it waits for.
//!
//! A CPU that waits spins for a short while and then halts, having said what it waits for (a key, as a rule the
//! address of something). Who makes true what is waited for calls [`wake`] with the same key afterwards.
//!
//! Ordering: the waiter publishes its key and looks at the condition then; the waker makes the condition true and looks
//! at the keys then; both are sequentially consistent, so one of them sees the other's write. Interrupts are disabled
//! from before the look until the CPU halts, so that an interrupt in between ends the halt.

use core::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::{MAX_CPUS, hooks, percpu};

/// Turns of a waiting CPU before it halts: some microseconds, twice what another CPU that runs takes to answer.
const SPINS: u32 = 50;

/// What each CPU that has halted waits for; 0 while it does not.
static WAITS_FOR: [AtomicUsize; MAX_CPUS] = [const { AtomicUsize::new(0) }; MAX_CPUS];
/// CPUs that have halted here.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Returns once `done` says so; `key`, which is not 0, is what [`wake`] is called with when it might.
///
/// Requests of other CPUs that cannot wait are served meanwhile ([`hooks::spin_poll`]).
pub fn wait_until(key: usize, mut done: impl FnMut() -> bool) {
    loop {
        for _ in 0..SPINS {
            if done() {
                return;
            }
            hooks::spin_poll();
            core::hint::spin_loop();
        }
        if done() {
            return;
        }
        halt_unless(key, &mut done);
    }
}

/// Halts until an interrupt comes, unless `done` says that there is nothing to wait for.
pub(crate) fn halt_unless(key: usize, done: &mut dyn FnMut() -> bool) {
    let Some(place) = WAITS_FOR.get(percpu::cpu_id()) else {
        return;
    };
    WAITING.fetch_add(1, Ordering::SeqCst);
    place.store(key, Ordering::SeqCst);
    if !done() {
        hooks::wait_for_interrupt();
    }
    place.store(0, Ordering::Relaxed);
    WAITING.fetch_sub(1, Ordering::Relaxed);
}

/// Wakes the CPUs that have halted for `key`.
#[inline]
pub fn wake(key: usize) {
    // What is waited for is true before the keys are looked at.
    fence(Ordering::SeqCst);
    if WAITING.load(Ordering::SeqCst) != 0 {
        wake_all(key);
    }
}

#[cold]
fn wake_all(key: usize) {
    for (cpu, waits_for) in WAITS_FOR.iter().enumerate() {
        if waits_for.load(Ordering::SeqCst) == key {
            hooks::wake_cpu(cpu);
        }
    }
}
