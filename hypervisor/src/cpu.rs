//! A physical CPU as the hypervisor sees it: what only it touches ([`Cpu`]), and what others see of it and may ask
//! of it ([`Work`]).
//!
//! Each CPU publishes its [`Mode`]. Who asks for work sets the bit first and looks at the mode then; the CPU changes
//! its mode first and looks at the bits then, both sequentially consistent: so either the asker sees that an interrupt
//! is needed, or the CPU sees the bit before it enters a guest or halts.

use core::sync::atomic::{AtomicU32, Ordering};

use platform_cpu::MAX_CPUS;

use crate::audit::Wanted;
use crate::emulate::LastWrite;
use crate::{irq, mm, timer_queues};

/// Things that a CPU is asked to do before it enters a guest again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Work {
    /// Look at the timers: one may have expired, or an earlier one was added.
    Timers = 1 << 0,
    /// Choose again which vCPU runs.
    Reschedule = 1 << 1,
    /// Handle console input that came in.
    Console = 1 << 2,
    /// Go out of use, or come back ([`crate::hotplug`]).
    Hotplug = 1 << 3,
    /// Look for events of the vCPU that runs.
    Events = 1 << 4,
    /// Flush all translations ([`crate::mm`]).
    Flush = 1 << 5,
    /// Flush the translations of some pages ([`crate::mm`]).
    FlushPages = 1 << 6,
    /// Pass an NMI on to the vCPU that it is for.
    Nmi = 1 << 7,
    /// Show that it is alive: taking this is all there is to do.
    Alive = 1 << 8,
    /// Tell who keeps the log of the console that there is more of it.
    ConsoleRing = 1 << 9,
}

/// Work that can wait for as long as the CPU has no use for a guest's translations.
const FLUSHES: u32 = Work::Flush as u32 | Work::FlushPages as u32;

/// What a CPU is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// Hypervisor code: all work is looked at before a guest is entered.
    Hypervisor = 0,
    /// A guest.
    Guest = 1,
    /// Waiting for an interrupt. No guest's translations are used until flushes have been looked at.
    Idle = 2,
}

/// What others see of a CPU.
#[repr(align(64))]
struct Shared {
    work: AtomicU32,
    mode: AtomicU32,
}

static SHARED: [Shared; MAX_CPUS] = [const {
    Shared {
        work: AtomicU32::new(0),
        mode: AtomicU32::new(Mode::Hypervisor as u32),
    }
}; MAX_CPUS];

/// Asks CPU `id` for `work`, and interrupts it if it would not look by itself.
pub fn request(id: usize, work: Work) {
    let Some(shared) = SHARED.get(id) else { return };
    // Sequentially consistent: see the module's page. It also releases what the work is about.
    shared.work.fetch_or(work as u32, Ordering::SeqCst);
    if id == platform_cpu::cpu_id() {
        return;
    }
    match mode(id) {
        Mode::Hypervisor => {}
        Mode::Idle if work as u32 & FLUSHES != 0 => {}
        Mode::Guest | Mode::Idle => irq::send_reschedule(id),
    }
}

/// Whether CPU `id` has not yet taken work that it was asked for.
pub fn is_asked(id: usize, work: Work) -> bool {
    SHARED
        .get(id)
        .is_some_and(|shared| shared.work.load(Ordering::Relaxed) & work as u32 != 0)
}

/// What CPU `id` is doing.
#[inline]
pub fn mode(id: usize) -> Mode {
    match SHARED
        .get(id)
        .map(|shared| shared.mode.load(Ordering::SeqCst))
    {
        Some(1) => Mode::Guest,
        Some(2) => Mode::Idle,
        _ => Mode::Hypervisor,
    }
}

/// Whether this CPU, in the midst of something else, is asked to flush.
#[inline]
pub fn is_asked_to_flush() -> bool {
    SHARED
        .get(platform_cpu::cpu_id())
        .is_some_and(|shared| shared.work.load(Ordering::Relaxed) & FLUSHES != 0)
}

/// Takes the flushes that this CPU is asked for, as a set of [`Work`] bits.
pub fn take_flushes() -> u32 {
    SHARED.get(platform_cpu::cpu_id()).map_or(0, |shared| {
        // Acquire: pairs with `request`.
        shared.work.fetch_and(!FLUSHES, Ordering::AcqRel) & FLUSHES
    })
}

/// Runs `wait`, in which this CPU, in the midst of something else, halts: flushes that it is asked for meanwhile
/// are looked at afterwards.
pub fn halted(wait: impl FnOnce()) {
    let Some(shared) = SHARED.get(platform_cpu::cpu_id()) else {
        return;
    };
    shared.begin_idle();
    wait();
    shared.end_idle();
}

impl Shared {
    fn begin_idle(&self) {
        self.mode.swap(Mode::Idle as u32, Ordering::SeqCst);
        if self.work.load(Ordering::SeqCst) & FLUSHES != 0 {
            // Who waits for a flush need not do so any more.
            mm::wake_flush_waiters();
        }
    }

    fn end_idle(&self) {
        // Sequentially consistent: flushes that nobody interrupted us for are seen now.
        self.mode.swap(Mode::Hypervisor as u32, Ordering::SeqCst);
        mm::serve_flushes();
    }
}

/// What only the CPU itself touches.
pub struct Cpu {
    /// Number: 0 is the one that booted.
    pub id: usize,
    shared: &'static Shared,
    /// Deadline that the hardware timer is set for, or [`timer_queues::NEVER`]. What is due next is not before it.
    pub programmed: u64,
    /// Whether the vCPU that runs should stop doing so.
    pub reschedule: bool,
    /// When it was last decided what runs here.
    pub picked_at: u64,
    /// Audit everything once no vCPU is loaded here.
    pub audit: Option<Wanted>,
    /// Print the registers of the guest that runs here (debug keys).
    pub show_registers: bool,
    /// The last write to a page table that was emulated here.
    pub last_write: LastWrite,
}

impl Cpu {
    /// Makes the state of CPU `id`; `None` if there can be no such CPU.
    pub fn new(id: usize) -> Option<Self> {
        Some(Self {
            id,
            shared: SHARED.get(id)?,
            programmed: timer_queues::NEVER,
            reschedule: false,
            picked_at: 0,
            audit: None,
            show_registers: false,
            last_write: LastWrite::default(),
        })
    }

    /// Whether any work was asked for.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.shared.work.load(Ordering::Relaxed) != 0
    }

    /// Takes the work that was asked for, as a set of [`Work`] bits, but for flushes: others wait for these, so
    /// whoever takes them serves them before anything else ([`mm::serve_flushes`]).
    #[inline]
    pub fn take_work(&mut self) -> u32 {
        // Acquire: pairs with Release in `request`.
        self.shared.work.fetch_and(FLUSHES, Ordering::Acquire) & !FLUSHES
    }

    /// Says that this CPU is about to enter a guest. False, and nothing said, if there is work to do first.
    #[inline]
    pub fn begin_guest(&mut self) -> bool {
        self.shared.mode.swap(Mode::Guest as u32, Ordering::SeqCst);
        if self.shared.work.load(Ordering::SeqCst) == 0 {
            return true;
        }
        self.end_guest();
        false
    }

    /// Says that this CPU has left the guest.
    #[inline]
    pub fn end_guest(&mut self) {
        // Release: who sees this sees what the guest did.
        self.shared
            .mode
            .store(Mode::Hypervisor as u32, Ordering::Release);
        // Someone waits for it.
        if self.shared.work.load(Ordering::Relaxed) & FLUSHES != 0 {
            mm::serve_flushes();
        }
    }

    /// Waits for an interrupt, unless there is work to do, and returns its vector.
    pub fn halt(&mut self) -> Option<u8> {
        self.shared.begin_idle();
        let vector = if self.shared.work.load(Ordering::SeqCst) & !FLUSHES == 0 {
            Some(platform_cpu::halt_until_interrupt())
        } else {
            None
        };
        self.shared.end_idle();
        vector
    }
}
