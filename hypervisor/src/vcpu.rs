//! A virtual CPU: what others may touch ([`Vcpu`]) and what only the CPU that runs it may ([`VcpuState`]).
//!
//! The state is behind a lock that the physical CPU holds for as long as it runs the vCPU. Whoever else
//! wants the state pauses the vCPU first and then takes the lock, so the lock is never waited for long.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use arrayvec::ArrayVec;
use cpu_policy::msr::VcpuMsrs;
use frames::TypedRef;
use platform_cpu::lock::{Once, SpinLock};
use platform_cpu::{GuestRegs, segments::Segments, xsave::XsaveArea};
use scheduler::Unit;
use xen_abi::trap::TrapInfo;

use crate::bounce::Callback;
use crate::crossings::Roots;
use crate::history::History;
use crate::mm::LdtShadow;
use crate::ranks;
use crate::shared_info::VcpuInfoArea;
use crate::vcpu_time::{Runstate, VcpuTimers};

/// Frames of guest descriptors that a GDT can have (public/xen.h: 14, the rest is the hypervisor's).
pub const MAX_GDT_FRAMES: usize = 14;

/// Callbacks by their numbers in public/callback.h.
#[derive(Clone, Copy, Default, Debug)]
pub struct Callbacks {
    /// Event upcall.
    pub event: Callback,
    /// Bad selector or bad return frame.
    pub failsafe: Callback,
    /// 64-bit `syscall` from a program.
    pub syscall: Callback,
    /// `syscall` from a 32-bit program.
    pub syscall32: Callback,
    /// `sysenter` from a program.
    pub sysenter: Callback,
    /// Non-maskable interrupt.
    pub nmi: Callback,
}

/// What a vCPU has to look at before it enters its guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Notice {
    /// An NMI is pending. It stays so while the guest handles another.
    Nmi = 1 << 0,
    /// A data segment could not be loaded: the failsafe callback is due.
    BadSegments = 1 << 1,
    /// Another vCPU changed what the CPU that has this one loaded is armed with ([`crate::crossings`]).
    Crossings = 1 << 2,
}

/// Why a vCPU that is up does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Waiting {
    /// It runs, or wants to.
    No = 0,
    /// Until an event is pending (`SCHEDOP_block`).
    Blocked = 1,
    /// Until one of some ports is pending or a time is reached (`SCHEDOP_poll`).
    Polling = 2,
}

/// A virtual CPU, as other CPUs and domains see it.
pub struct Vcpu {
    id: u32,
    /// The vCPU's slot in the shared info page, or a page of the hypervisor's if its number is above 31.
    initial_info: VcpuInfoArea,
    /// Where the guest moved it to (`VCPUOP_register_vcpu_info`, once).
    registered_info: Once<VcpuInfoArea>,
    up: AtomicBool,
    initialised: AtomicBool,
    waiting: AtomicU8,
    /// [`Notice`]s that it has not taken.
    notices: AtomicU8,
    cpu: AtomicU32,
    /// Reasons for which it alone is paused.
    pauses: AtomicU32,
    /// The scheduler's part of it.
    pub unit: Unit,
    /// Its timers, once it has any.
    pub timers: SpinLock<Option<VcpuTimers>>,
    /// Nanoseconds between periodic timer events; 0 for none.
    period: AtomicU64,
    /// Guest address of a second copy of the time information; 0 for none.
    time_area: AtomicU64,
    /// Which pages of its LDT are mapped.
    pub ldt: SpinLock<LdtShadow>,
    /// Times in each run state.
    pub runstate: SpinLock<Runstate>,
    /// Everything that belongs to the CPU that runs it.
    pub state: SpinLock<VcpuState>,
}

/// State of a vCPU that only the physical CPU that runs it touches.
pub struct VcpuState {
    /// Registers, while it does not run. While it runs they are in the per-CPU guest frame.
    pub regs: GuestRegs,
    /// Data segments and bases, while it does not run.
    pub segments: Segments,
    /// Extended state, while it does not run.
    pub xsave: XsaveArea,
    /// Whether the guest's kernel runs (else a program).
    pub in_kernel: bool,
    /// Stack segment and pointer for traps from programs (`stack_switch`).
    pub kernel_ss: u16,
    /// See `kernel_ss`.
    pub kernel_sp: u64,
    /// Tables that a change or unpin left half undone, to go on with before anything else.
    pub pending: frames::Pending,
    /// Handlers of the guest (`set_trap_table`), by vector.
    pub traps: Box<[TrapInfo; 256]>,
    /// Callbacks of the guest.
    pub callbacks: Callbacks,
    /// Roots of its page tables.
    pub roots: Roots,
    /// Frames of the guest's descriptors, each with a type reference as a descriptor page.
    pub gdt_frames: ArrayVec<TypedRef<'static>, MAX_GDT_FRAMES>,
    /// Descriptors in them.
    pub gdt_entries: u32,
    /// Address and number of descriptors of the LDT.
    pub ldt_base: u64,
    /// See `ldt_base`.
    pub ldt_entries: u32,
    /// CR0 as the guest sees it (TS is its own, the rest is the hypervisor's).
    pub cr0: u64,
    /// CR4 bits that the guest chose.
    pub cr4: u64,
    /// XCR0 as the guest set it.
    pub xcr0: u64,
    /// Model-specific registers that it has of its own.
    pub msrs: VcpuMsrs,
    /// DR0–DR3, DR6, DR7 as the guest set them; in place of DR5, the bits of DR7 for breakpoints on ports, which are
    /// not loaded.
    pub debug_registers: [u64; 8],
    /// I/O privilege level of the guest's kernel (`PHYSDEVOP_set_iopl`).
    pub iopl: u8,
    /// Guest address of a bitmap of permitted I/O ports, and its number of ports.
    pub io_bitmap: u64,
    /// See `io_bitmap`.
    pub io_bitmap_ports: u32,
    /// An NMI handler runs in the guest; another waits.
    pub nmi_masked: bool,
    /// The last calls, traps and events.
    pub history: History,
}

impl Vcpu {
    /// Makes vCPU `id`, down and without a context.
    pub fn new(id: u32, info: VcpuInfoArea, state: VcpuState) -> Self {
        Self {
            id,
            initial_info: info,
            registered_info: Once::new(),
            up: AtomicBool::new(false),
            initialised: AtomicBool::new(false),
            waiting: AtomicU8::new(Waiting::No as u8),
            notices: AtomicU8::new(0),
            cpu: AtomicU32::new(0),
            pauses: AtomicU32::new(0),
            timers: SpinLock::new(ranks::OWN_TIMERS, None),
            unit: Unit::new(),
            period: AtomicU64::new(0),
            time_area: AtomicU64::new(0),
            ldt: SpinLock::new(ranks::LDT, LdtShadow::default()),
            runstate: SpinLock::new(ranks::RUNSTATE, Runstate::new()),
            state: SpinLock::new(ranks::VCPU_STATE, state),
        }
    }

    /// Number within the domain.
    #[inline]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The area that holds its `vcpu_info` now.
    #[inline]
    pub fn info(&self) -> &VcpuInfoArea {
        self.registered_info.get().unwrap_or(&self.initial_info)
    }

    /// The areas that hold or held its `vcpu_info`.
    pub fn info_areas(&self) -> impl Iterator<Item = &VcpuInfoArea> {
        core::iter::once(&self.initial_info).chain(self.registered_info.get())
    }

    /// Moves the `vcpu_info` to `area`, with its contents and a pending upcall, so that no event is lost that
    /// came meanwhile.
    ///
    /// # Errors
    /// It was moved before.
    pub fn move_info(&self, area: VcpuInfoArea) -> Result<(), VcpuInfoArea> {
        if self.registered_info.get().is_some() {
            return Err(area);
        }
        area.copy_from(&self.initial_info);
        self.registered_info.set(area)?;
        self.info().mark_all_pending();
        Ok(())
    }

    /// Whether it was given a context (`VCPUOP_initialise`).
    pub fn is_initialised(&self) -> bool {
        self.initialised.load(Ordering::Acquire)
    }

    /// Marks that it has a context.
    pub fn set_initialised(&self) {
        // Release: the context is seen by whoever sees this.
        self.initialised.store(true, Ordering::Release);
    }

    /// Whether it was brought up, and not down again.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Marks it as up or down.
    pub fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::SeqCst);
    }

    /// Why it does not run by its own wish.
    pub fn waiting(&self) -> Waiting {
        match self.waiting.load(Ordering::Acquire) {
            1 => Waiting::Blocked,
            2 => Waiting::Polling,
            _ => Waiting::No,
        }
    }

    /// Starts or ends waiting. A waiter looks for events after this, and a sender at this after it has made an
    /// event visible: sequentially consistent, so that one of them sees the other.
    pub fn set_waiting(&self, waiting: Waiting) {
        self.waiting.store(waiting as u8, Ordering::SeqCst);
    }

    /// Ends waiting of the kind `from`; whether it did wait like that.
    pub fn stop_waiting(&self, from: Waiting) -> bool {
        from != Waiting::No
            && self
                .waiting
                .compare_exchange(
                    from as u8,
                    Waiting::No as u8,
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Leaves a notice. Who wants it to be seen soon makes the vCPU leave the guest, or stop waiting.
    pub fn notify(&self, notice: Notice) {
        self.notices.fetch_or(notice as u8, Ordering::Release);
    }

    /// Whether there is any notice.
    #[inline]
    pub fn has_notices(&self) -> bool {
        self.notices.load(Ordering::Relaxed) != 0
    }

    /// Whether there is this notice.
    pub fn has_notice(&self, notice: Notice) -> bool {
        self.notices.load(Ordering::Relaxed) & notice as u8 != 0
    }

    /// Takes a notice; whether there was one.
    pub fn take_notice(&self, notice: Notice) -> bool {
        // Acquire: pairs with `notify`.
        self.notices.fetch_and(!(notice as u8), Ordering::Acquire) & notice as u8 != 0
    }

    /// Physical CPU that it runs on, or ran on last.
    pub fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed) as usize
    }

    /// Notes on which physical CPU it runs.
    pub fn set_cpu(&self, cpu: usize) {
        self.cpu.store(cpu as u32, Ordering::Relaxed);
    }

    /// Physical CPU that has it loaded or is about to, and so may have translations of its address space.
    ///
    /// Who changed a page table looks here afterwards; who loads the vCPU walks page tables after it was noted.
    #[inline]
    pub fn loaded_on(&self) -> Option<usize> {
        self.unit.loaded_on()
    }

    /// Whether it alone is paused.
    pub fn is_paused(&self) -> bool {
        self.pauses.load(Ordering::SeqCst) != 0
    }

    /// Adds a reason for which it is paused.
    #[allow(dead_code, reason = "for the management of domains")]
    pub fn add_pause(&self) {
        self.pauses.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes back a reason for which it is paused.
    #[allow(dead_code, reason = "for the management of domains")]
    pub fn remove_pause(&self) {
        self.pauses.fetch_sub(1, Ordering::SeqCst);
    }

    /// Nanoseconds between periodic timer events; 0 for none.
    pub fn period(&self) -> u64 {
        self.period.load(Ordering::Relaxed)
    }

    /// Sets the period of timer events.
    pub fn set_period(&self, period: u64) {
        self.period.store(period, Ordering::Relaxed);
    }

    /// Guest address of a second copy of the time information; 0 for none.
    pub fn time_area(&self) -> u64 {
        self.time_area.load(Ordering::Relaxed)
    }

    /// Sets where the second copy of the time information goes.
    pub fn set_time_area(&self, area: u64) {
        self.time_area.store(area, Ordering::Relaxed);
    }
}
