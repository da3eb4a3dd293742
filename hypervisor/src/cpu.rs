//! A physical CPU as the hypervisor sees it: what only it touches ([`Cpu`]), and what others may ask of it
//! ([`Work`]).

use core::sync::atomic::{AtomicU32, Ordering};

use platform_cpu::MAX_CPUS;
use timers::TimerQueue;

use crate::emulate::LastWrite;
use crate::vcpu_time::TimerEvent;

/// Things that a CPU is asked to do before it enters a guest again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Work {
    /// Look at the timers: one may have expired.
    Timers = 1 << 0,
    /// Choose again which vCPU runs.
    Reschedule = 1 << 1,
    /// Handle console input that came in.
    Console = 1 << 2,
}

struct Requests(AtomicU32);

static REQUESTS: [Requests; MAX_CPUS] = [const { Requests(AtomicU32::new(0)) }; MAX_CPUS];

/// Asks CPU `id` for `work`; the caller sends it an interrupt if it is another one and may be in a guest.
pub fn request(id: usize, work: Work) {
    if let Some(requests) = REQUESTS.get(id) {
        // Release: what the work is about is seen by the CPU that takes it (Acquire in `take_work`).
        requests.0.fetch_or(work as u32, Ordering::Release);
    }
}

/// What only the CPU itself touches.
pub struct Cpu {
    /// Number: 0 is the one that booted.
    pub id: usize,
    /// Timers of the vCPUs that run here, and of the CPU itself.
    pub timers: TimerQueue<TimerEvent>,
    /// Deadline that the hardware timer is set for.
    pub programmed: Option<u64>,
    /// Whether the vCPU that runs should stop doing so.
    pub reschedule: bool,
    /// End of the running vCPU's time slice, in nanoseconds; `None` if it may run on.
    pub slice_end: Option<u64>,
    /// Print the registers of the guest that runs here (debug keys).
    pub show_registers: bool,
    /// The last write to a page table that was emulated here.
    pub last_write: LastWrite,
}

impl Cpu {
    /// Makes the state of CPU `id`.
    pub fn new(id: usize) -> Self {
        Self {
            id,
            timers: TimerQueue::new(),
            programmed: None,
            reschedule: false,
            slice_end: None,
            show_registers: false,
            last_write: LastWrite::default(),
        }
    }

    /// Whether any work was asked for.
    #[inline]
    pub fn has_work(&self) -> bool {
        REQUESTS
            .get(self.id)
            .is_some_and(|requests| requests.0.load(Ordering::Relaxed) != 0)
    }

    /// Takes all work that was asked for, as a set of [`Work`] bits.
    #[inline]
    pub fn take_work(&mut self) -> u32 {
        // Acquire: pairs with Release in `request`.
        REQUESTS
            .get(self.id)
            .map_or(0, |requests| requests.0.swap(0, Ordering::Acquire))
    }
}
