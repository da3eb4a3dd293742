//! The timers of each CPU. Any CPU may set any timer; it expires at the CPU where it is registered, which is told if
//! that is now sooner than what it waits for.

use core::sync::atomic::{AtomicU64, Ordering};

use platform_cpu::MAX_CPUS;
use platform_cpu::lock::SpinLock;
use scheduler::TurnEnd;
use timers::{TimerId, TimerQueue};

use crate::cpu::{self, Work};
use crate::ranks;
use crate::vcpu_time::TimerEvent;

struct CpuTimers {
    queue: SpinLock<TimerQueue<TimerEvent>>,
    /// The queue's next deadline, written under its lock; [`NEVER`] if there is none.
    next: AtomicU64,
    turn_end: TurnEnd,
}

/// No deadline.
pub const NEVER: u64 = scheduler::NEVER;

static TIMERS: [CpuTimers; MAX_CPUS] = [const {
    CpuTimers {
        queue: SpinLock::new(ranks::TIMERS, TimerQueue::new()),
        next: AtomicU64::new(NEVER),
        turn_end: TurnEnd::new(),
    }
}; MAX_CPUS];

impl CpuTimers {
    fn note_next(&self, queue: &TimerQueue<TimerEvent>) {
        let next = queue.next_deadline().unwrap_or(NEVER);
        self.next.store(next, Ordering::Relaxed);
    }
}

/// Names a timer.
#[derive(Clone, Copy, Debug)]
pub struct Timer {
    cpu: u32,
    id: TimerId,
}

impl Timer {
    /// Registers a timer with a CPU, not armed. `None`: there is no memory.
    pub fn register(cpu: usize, event: TimerEvent) -> Option<Self> {
        let id = TIMERS.get(cpu)?.queue.lock().register(event).ok()?;
        Some(Self {
            cpu: cpu as u32,
            id,
        })
    }

    /// The CPU where it expires.
    pub fn cpu(self) -> usize {
        self.cpu as usize
    }

    #[inline]
    fn place(self) -> Option<&'static CpuTimers> {
        TIMERS.get(self.cpu as usize)
    }

    /// Forgets the timer, armed or not.
    pub fn unregister(self) {
        if let Some(timers) = self.place() {
            let mut queue = timers.queue.lock();
            queue.unregister(self.id);
            timers.note_next(&queue);
        }
    }

    /// Sets it to expire at `deadline`.
    pub fn arm(self, deadline: u64) {
        let Some(timers) = self.place() else { return };
        let sooner = {
            let mut queue = timers.queue.lock();
            let changed = queue.arm(self.id, deadline);
            if changed {
                timers.note_next(&queue);
            }
            changed && queue.next_deadline() == Some(deadline)
        };
        if sooner && self.cpu as usize != platform_cpu::cpu_id() {
            cpu::request(self.cpu as usize, Work::Timers);
        }
    }

    /// Takes the setting back.
    pub fn disarm(self) {
        if let Some(timers) = self.place() {
            let mut queue = timers.queue.lock();
            if queue.disarm(self.id) {
                timers.note_next(&queue);
            }
        }
    }

    /// When it expires, if it is set.
    pub fn deadline(self) -> Option<u64> {
        self.place()?.queue.lock().deadline(self.id)
    }

    /// Moves it to another CPU; it stays where it is if there is no memory for it there, and works as well.
    #[must_use]
    pub fn moved_to(self, cpu: usize, event: TimerEvent) -> Self {
        if self.cpu as usize == cpu {
            return self;
        }
        let Some(new) = Self::register(cpu, event) else {
            return self;
        };
        let deadline = self.deadline();
        self.unregister();
        if let Some(deadline) = deadline {
            new.arm(deadline);
        }
        new
    }
}

/// Takes the earliest timer of a CPU that is due at `now`, with the deadline that it had.
pub fn pop_expired(cpu: usize, now: u64) -> Option<(u64, TimerEvent)> {
    let timers = TIMERS.get(cpu)?;
    let mut queue = timers.queue.lock();
    let (_, deadline, event) = queue.pop_expired(now)?;
    timers.note_next(&queue);
    Some((deadline, event))
}

/// When the next timer of a CPU expires or the vCPU's turn there ends, or [`NEVER`].
#[inline]
pub fn next_deadline(cpu: usize) -> u64 {
    TIMERS.get(cpu).map_or(NEVER, |timers| {
        timers
            .next
            .load(Ordering::Relaxed)
            .min(timers.turn_end.get())
    })
}

/// When the vCPU's turn on a CPU (of a number below [`MAX_CPUS`]) ends.
#[inline]
pub fn turn_end(cpu: usize) -> &'static TurnEnd {
    static NONE: TurnEnd = TurnEnd::new();
    TIMERS.get(cpu).map_or(&NONE, |timers| &timers.turn_end)
}
