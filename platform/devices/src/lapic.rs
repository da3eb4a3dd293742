//! The local APIC of each CPU (SDM 3A §11): registers in memory (xAPIC) or MSRs (x2APIC).
//!
//! One value serves all CPUs: the window is at the same address on each and shows the CPU's own APIC.
//! Interrupts are disabled throughout the hypervisor, so the two halves of the xAPIC's command register
//! cannot be torn apart; NMI handlers send no IPI.

use crate::access::Registers;
use core::sync::atomic::{Ordering, fence};
use platform_cpu::control::cpuid;
use platform_cpu::msr;

const MSR_APIC_BASE: u32 = 0x1b;
const APIC_BASE_X2APIC: u64 = 1 << 10;
const APIC_BASE_ENABLE: u64 = 1 << 11;
const MSR_TSC_DEADLINE: u32 = 0x6e0;
const MSR_X2APIC: u32 = 0x800;

const ID: u16 = 0x020;
const VERSION: u16 = 0x030;
const TASK_PRIORITY: u16 = 0x080;
const END_OF_INTERRUPT: u16 = 0x0b0;
const LOGICAL_DESTINATION: u16 = 0x0d0;
const DESTINATION_FORMAT: u16 = 0x0e0;
const SPURIOUS: u16 = 0x0f0;
const IN_SERVICE: u16 = 0x100;
const REQUESTED: u16 = 0x200;
const ERROR_STATUS: u16 = 0x280;
const LVT_CMCI: u16 = 0x2f0;
const COMMAND: u16 = 0x300;
const COMMAND_HIGH: u16 = 0x310;
const LVT_TIMER: u16 = 0x320;
const LVT_THERMAL: u16 = 0x330;
const LVT_PERFORMANCE: u16 = 0x340;
const LVT_LINT0: u16 = 0x350;
const LVT_LINT1: u16 = 0x360;
const LVT_ERROR: u16 = 0x370;
const TIMER_INITIAL: u16 = 0x380;
const TIMER_CURRENT: u16 = 0x390;
const TIMER_DIVIDE: u16 = 0x3e0;

const ENABLED: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const DEADLINE_MODE: u32 = 2 << 17;
const DELIVER_NMI: u32 = 4 << 8;
const DELIVER_INIT: u32 = 5 << 8;
const DELIVER_STARTUP: u32 = 6 << 8;
const PENDING: u32 = 1 << 12;
const ASSERT: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;
const ALL_BUT_SELF: u32 = 3 << 18;
const DIVIDE_BY_1: u32 = 0xb;

/// Vector of spurious interrupts; they take no end-of-interrupt.
pub const SPURIOUS_VECTOR: u8 = 0xff;
/// Machine address of the register window after reset.
pub const DEFAULT_MADDR: u64 = 0xfee0_0000;
/// Bytes of the register window.
pub const WINDOW_BYTES: usize = 0x1000;
/// Polls for a command to be accepted; on real hardware it takes nanoseconds.
const COMMAND_POLLS: u32 = 1_000_000;

/// What the CPU's APIC can do and is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LapicSupport {
    /// There is one at all.
    pub present: bool,
    /// MSR interface.
    pub x2apic: bool,
    /// The firmware has switched to it already: there is no way back without a reset.
    pub x2apic_enabled: bool,
    /// A hypervisor runs below.
    pub virtualised: bool,
    /// The timer can be given a TSC value.
    pub tsc_deadline: bool,
    /// Machine address of the window.
    pub maddr: u64,
}

impl LapicSupport {
    /// Asks this CPU.
    pub fn detect() -> Self {
        let features = cpuid(1, 0);
        let present = features.edx & 1 << 9 != 0;
        let base = if present {
            msr::read(MSR_APIC_BASE).unwrap_or(0)
        } else {
            0
        };
        Self {
            present,
            x2apic: features.ecx & 1 << 21 != 0,
            x2apic_enabled: base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)
                == APIC_BASE_ENABLE | APIC_BASE_X2APIC,
            virtualised: features.ecx & 1 << 31 != 0,
            tsc_deadline: features.ecx & 1 << 24 != 0,
            maddr: base & 0x000f_ffff_ffff_f000,
        }
    }

    /// Whether to use the MSR interface by default. Without interrupt remapping it is architectural only
    /// where the firmware chose it, and where a hypervisor below provides it; there it is also the faster.
    pub fn prefers_x2apic(&self) -> bool {
        self.x2apic_enabled || (self.x2apic && self.virtualised)
    }
}

/// Access to the local APIC of whichever CPU asks.
#[derive(Debug)]
pub struct Lapic<R> {
    /// `None`: x2APIC.
    window: Option<R>,
    tsc_deadline: bool,
}

impl<R: Registers> Lapic<R> {
    /// Through memory.
    pub const fn xapic(window: R, tsc_deadline: bool) -> Self {
        Self {
            window: Some(window),
            tsc_deadline,
        }
    }

    /// Through MSRs.
    pub const fn x2apic(tsc_deadline: bool) -> Self {
        Self {
            window: None,
            tsc_deadline,
        }
    }

    /// Whether registers are MSRs.
    pub fn is_x2apic(&self) -> bool {
        self.window.is_none()
    }

    /// Whether the timer takes TSC values ([`Self::set_deadline`]) instead of counts.
    pub fn has_deadline(&self) -> bool {
        self.tsc_deadline
    }

    #[inline]
    fn read(&self, register: u16) -> u32 {
        match &self.window {
            Some(window) => window.read32(register.into()),
            None => msr::read(MSR_X2APIC + u32::from(register >> 4)).unwrap_or(0) as u32,
        }
    }

    #[inline]
    fn write(&self, register: u16, value: u32) {
        match &self.window {
            Some(window) => window.write32(register.into(), value),
            None => {
                msr::write(MSR_X2APIC + u32::from(register >> 4), value.into());
            }
        }
    }

    /// Enables this CPU's APIC, everything masked but NMIs on LINT1 where `nmi_on_lint1`. The virtual wire of the
    /// 8259 through LINT0 ends here. Errors come at `error_vector`.
    pub fn enable(&self, error_vector: u8, nmi_on_lint1: bool) {
        // From off to x2APIC takes two steps (SDM 3A §11.12.5).
        msr::set_apic_mode(false);
        if self.is_x2apic() {
            msr::set_apic_mode(true);
        }
        let lvt_count = (self.read(VERSION) >> 16 & 0xff) + 1;
        // All priorities; the spurious vector also carries the software enable.
        self.write(TASK_PRIORITY, 0);
        if !self.is_x2apic() {
            // Flat logical model, no logical identity: only physical destinations are used.
            self.write(DESTINATION_FORMAT, u32::MAX);
            self.write(LOGICAL_DESTINATION, 0);
        }
        self.write(SPURIOUS, ENABLED | u32::from(SPURIOUS_VECTOR));
        self.write(LVT_TIMER, MASKED);
        self.write(LVT_LINT0, MASKED);
        self.write(
            LVT_LINT1,
            if nmi_on_lint1 {
                DELIVER_NMI
            } else {
                DELIVER_NMI | MASKED
            },
        );
        if lvt_count >= 5 {
            self.write(LVT_PERFORMANCE, MASKED);
        }
        if lvt_count >= 6 {
            self.write(LVT_THERMAL, MASKED);
        }
        if lvt_count >= 7 {
            self.write(LVT_CMCI, MASKED);
        }
        self.write(TIMER_INITIAL, 0);
        self.write(TIMER_DIVIDE, DIVIDE_BY_1);
        // What the firmware (or a kernel before us) left in service would block its priority for ever.
        for _ in 0..256 {
            if (0..8).all(|word| self.read(IN_SERVICE + word * 0x10) == 0) {
                break;
            }
            self.end_of_interrupt();
        }
        self.write(ERROR_STATUS, 0);
        self.write(LVT_ERROR, error_vector.into());
        self.write(ERROR_STATUS, 0);
    }

    /// Turns this CPU's APIC off for software, before a reset or for a CPU that stops.
    pub fn disable(&self) {
        for lvt in [LVT_TIMER, LVT_LINT0, LVT_LINT1, LVT_ERROR] {
            self.write(lvt, MASKED);
        }
        self.write(SPURIOUS, SPURIOUS_VECTOR.into());
    }

    /// This CPU's APIC identifier.
    pub fn id(&self) -> u32 {
        match self.window {
            Some(_) => self.read(ID) >> 24,
            None => self.read(ID),
        }
    }

    /// Version register.
    pub fn version(&self) -> u32 {
        self.read(VERSION)
    }

    /// Ends the interrupt in service with the highest priority.
    #[inline]
    pub fn end_of_interrupt(&self) {
        self.write(END_OF_INTERRUPT, 0);
    }

    /// Whether a vector is requested: arrived, and not delivered because interrupts are disabled.
    pub fn is_requested(&self, vector: u8) -> bool {
        self.read(REQUESTED + u16::from(vector >> 5) * 0x10) & 1 << (vector & 31) != 0
    }

    /// Whether a vector is in service.
    pub fn is_in_service(&self, vector: u8) -> bool {
        self.read(IN_SERVICE + u16::from(vector >> 5) * 0x10) & 1 << (vector & 31) != 0
    }

    /// Reads and clears the error status.
    pub fn take_errors(&self) -> u32 {
        self.write(ERROR_STATUS, 0);
        self.read(ERROR_STATUS)
    }

    /// Writes the command register; false if the APIC does not take it.
    fn command(&self, destination: u32, command: u32) -> bool {
        // What was written before has to be seen by the CPU that is interrupted; MSR writes do not order it.
        fence(Ordering::SeqCst);
        if self.is_x2apic() {
            msr::write(
                MSR_X2APIC + u32::from(COMMAND >> 4),
                u64::from(destination) << 32 | u64::from(command),
            );
            return true;
        }
        if !self.wait_sent() {
            return false;
        }
        self.write(COMMAND_HIGH, destination << 24);
        self.write(COMMAND, command);
        true
    }

    fn wait_sent(&self) -> bool {
        for _ in 0..COMMAND_POLLS {
            if self.read(COMMAND) & PENDING == 0 {
                return true;
            }
            core::hint::spin_loop();
        }
        false
    }

    /// Interrupts another CPU at `vector`.
    pub fn send(&self, apic_id: u32, vector: u8) -> bool {
        self.command(apic_id, ASSERT | u32::from(vector))
    }

    /// Interrupts all other CPUs at `vector`.
    pub fn send_all_but_self(&self, vector: u8) -> bool {
        self.command(0, ALL_BUT_SELF | ASSERT | u32::from(vector))
    }

    /// Sends an NMI.
    pub fn send_nmi(&self, apic_id: u32) -> bool {
        self.command(apic_id, ASSERT | DELIVER_NMI)
    }

    /// Sends an NMI to all other CPUs.
    pub fn send_nmi_all_but_self(&self) -> bool {
        self.command(0, ALL_BUT_SELF | ASSERT | DELIVER_NMI)
    }

    /// Sends INIT, asserted and then (for old APICs) deasserted.
    pub(crate) fn send_init(&self, apic_id: u32) -> bool {
        self.command(apic_id, LEVEL | ASSERT | DELIVER_INIT)
            && (self.is_x2apic()
                || (self.wait_sent() && self.command(apic_id, LEVEL | DELIVER_INIT)))
    }

    /// Sends STARTUP for the page `page` × 4 KiB.
    pub(crate) fn send_startup(&self, apic_id: u32, page: u8) -> bool {
        self.command(apic_id, ASSERT | DELIVER_STARTUP | u32::from(page))
            && (self.is_x2apic() || self.wait_sent())
    }

    /// Gives the timer its vector and lets it through. In deadline mode it waits for [`Self::set_deadline`], otherwise
    /// for [`Self::set_count`].
    pub fn enable_timer(&self, vector: u8) {
        let mode = if self.tsc_deadline { DEADLINE_MODE } else { 0 };
        self.write(TIMER_DIVIDE, DIVIDE_BY_1);
        self.write(LVT_TIMER, mode | u32::from(vector));
        // The mode must be set before the deadline MSR is written (SDM 3A §11.5.4.1).
        fence(Ordering::SeqCst);
        self.stop_timer();
    }

    /// Counts down once from `count`; 0 stops.
    #[inline]
    pub fn set_count(&self, count: u32) {
        self.write(TIMER_INITIAL, count);
    }

    /// What is left of the count.
    #[inline]
    pub fn count(&self) -> u32 {
        self.read(TIMER_CURRENT)
    }

    /// Fires once the TSC reaches `tsc`; 0 stops.
    #[inline]
    pub fn set_deadline(&self, tsc: u64) {
        msr::write(MSR_TSC_DEADLINE, tsc);
    }

    /// No timer interrupt.
    pub fn stop_timer(&self) {
        if self.tsc_deadline {
            self.set_deadline(0);
        } else {
            self.set_count(0);
        }
    }

    /// Lets the timer run masked from its maximum, so that [`Self::count`] can be measured.
    pub fn free_run(&self) {
        self.write(LVT_TIMER, MASKED);
        self.write(TIMER_DIVIDE, DIVIDE_BY_1);
        self.write(TIMER_INITIAL, u32::MAX);
    }
}
