//! Reference clocks: counters whose frequency is known, used to measure those whose is not (the TSC and
//! the local APIC's timer), and to wait during boot.
//!
//! Preference: HPET, then the ACPI PM timer, then the 8254. All count up here, modulo 2^bits.

use crate::access::Registers;
use crate::scale::{NANOSECONDS, measured_frequency, wrapped_difference};
use platform_cpu::ports;

/// A reference clock.
#[derive(Debug)]
pub enum ReferenceClock<R> {
    /// High Precision Event Timer's main counter.
    Hpet(Hpet<R>),
    /// ACPI power-management timer.
    PmTimer(PmTimer),
    /// Channel 2 of the 8254.
    Pit(Pit),
}

impl<R: Registers> ReferenceClock<R> {
    /// The counter, modulo 2^[`Self::bits`].
    pub fn read(&self) -> u64 {
        match self {
            Self::Hpet(hpet) => hpet.read(),
            Self::PmTimer(timer) => timer.read(),
            Self::Pit(pit) => pit.read(),
        }
    }

    /// Counts per second.
    pub fn frequency(&self) -> u64 {
        match self {
            Self::Hpet(hpet) => hpet.frequency,
            Self::PmTimer(_) => PM_TIMER_HZ,
            Self::Pit(_) => PIT_HZ,
        }
    }

    /// Width of the counter.
    pub fn bits(&self) -> u32 {
        match self {
            // The upper half of a 64-bit HPET is not needed for the lengths measured here.
            Self::Hpet(_) => 32,
            Self::PmTimer(timer) => {
                if timer.wide {
                    32
                } else {
                    24
                }
            }
            Self::Pit(_) => 16,
        }
    }

    /// Nanoseconds after which the counter is back where it was.
    pub fn wrap_ns(&self) -> u64 {
        (((1u128 << self.bits()) * NANOSECONDS as u128) / self.frequency().max(1) as u128) as u64
    }

    /// As the log names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hpet(_) => "HPET",
            Self::PmTimer(_) => "ACPI PM Timer",
            Self::Pit(_) => "PIT",
        }
    }

    /// Whether the counter counts at all: a disabled or absent one does not.
    pub fn is_running(&self) -> bool {
        let first = self.read();
        for _ in 0..100_000 {
            if self.read() != first {
                return true;
            }
            core::hint::spin_loop();
        }
        false
    }

    /// Waits at least `ns`. The counter is polled throughout, so its width does not bound the wait.
    pub fn delay_ns(&self, ns: u64) {
        let target = (ns as u128 * self.frequency() as u128).div_ceil(NANOSECONDS as u128) as u64;
        let mut last = self.read();
        let mut passed = 0u64;
        // One more than the target: the first tick may have been about to end.
        while passed <= target {
            core::hint::spin_loop();
            let now = self.read();
            passed += wrapped_difference(now, last, self.bits());
            last = now;
        }
    }
}

/// A counter, and the TSC at the moment that it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The counter.
    pub value: u64,
    /// The TSC.
    pub tsc: u64,
}

impl Reading {
    /// Reads a counter that takes long to read: of some tries the tightest, with the TSC in its middle, so that
    /// neither an SMI nor a host's preemption in between counts.
    pub fn take(counter: impl Fn() -> u64, tsc: impl Fn() -> u64) -> Self {
        const TRIES: usize = 16;
        let attempt = || {
            let before = tsc();
            let value = counter();
            let width = tsc().wrapping_sub(before);
            let middle = before.wrapping_add(width / 2);
            (width, Self { value, tsc: middle })
        };
        let mut best = attempt();
        for _ in 1..TRIES {
            let next = attempt();
            if next.0 < best.0 {
                best = next;
            }
        }
        best.1
    }

    /// TSC ticks and ticks of the counter, of `bits` bits, from `earlier` on.
    fn since(&self, earlier: &Self, bits: u32) -> (u64, u64) {
        (
            self.tsc.wrapping_sub(earlier.tsc),
            wrapped_difference(self.value, earlier.value, bits),
        )
    }

    /// Frequency of the TSC, by a counter of known frequency that wrapped at most once since `earlier`.
    pub fn tsc_frequency(&self, earlier: &Self, bits: u32, counter_hz: u64) -> Option<u64> {
        let (tsc, ticks) = self.since(earlier, bits);
        measured_frequency(tsc, ticks, counter_hz)
    }

    /// Frequency of the counter, by a TSC of known frequency.
    pub fn counter_frequency(&self, earlier: &Self, bits: u32, tsc_hz: u64) -> Option<u64> {
        let (tsc, ticks) = self.since(earlier, bits);
        measured_frequency(ticks, tsc, tsc_hz)
    }
}

const HPET_CAPABILITIES: usize = 0x00;
const HPET_PERIOD: usize = 0x04;
const HPET_CONFIGURATION: usize = 0x10;
const HPET_COUNTER: usize = 0xf0;
const HPET_ENABLE: u32 = 1 << 0;
const HPET_LEGACY_ROUTE: u32 = 1 << 1;
/// A period above 100 ns is against the specification (IA-PC HPET §2.3.4).
const HPET_MAX_PERIOD: u64 = 100_000_000;
const FEMTOSECONDS: u64 = 1_000_000_000_000_000;

/// The HPET's main counter.
#[derive(Debug)]
pub struct Hpet<R> {
    registers: R,
    frequency: u64,
}

impl<R: Registers> Hpet<R> {
    /// Starts the counter of the HPET behind `registers`; `None` if there is none that makes sense.
    pub fn start(registers: R) -> Option<Self> {
        let capabilities = registers.read32(HPET_CAPABILITIES);
        let period = u64::from(registers.read32(HPET_PERIOD));
        // The revision must not be zero; all ones mean that nothing answered.
        if capabilities & 0xff == 0
            || capabilities == u32::MAX
            || period == 0
            || period > HPET_MAX_PERIOD
        {
            return None;
        }
        let configuration = registers.read32(HPET_CONFIGURATION);
        // Legacy routing would take the 8254's and the RTC's interrupt lines away.
        registers.write32(
            HPET_CONFIGURATION,
            (configuration | HPET_ENABLE) & !HPET_LEGACY_ROUTE,
        );
        Some(Self {
            registers,
            frequency: (FEMTOSECONDS + period / 2) / period,
        })
    }

    fn read(&self) -> u64 {
        self.registers.read32(HPET_COUNTER).into()
    }
}

/// Frequency of the ACPI PM timer (ACPI §4.8.3.3).
pub const PM_TIMER_HZ: u64 = 3_579_545;

/// The ACPI PM timer.
#[derive(Clone, Copy, Debug)]
pub struct PmTimer {
    port: u16,
    wide: bool,
}

impl PmTimer {
    /// The timer at `port`, 32 bits wide if the FADT says so (`TMR_VAL_EXT`), else 24.
    pub const fn new(port: u16, wide: bool) -> Self {
        Self { port, wide }
    }

    fn read(&self) -> u64 {
        // PIIX4 and ICH may return a value in transition: three readings in order exclude that.
        let mask = if self.wide { u32::MAX } else { 0xff_ffff };
        let mut value = ports::inl(self.port) & mask;
        for _ in 0..4 {
            let next = ports::inl(self.port) & mask;
            if next.wrapping_sub(value) & mask < 0x1000 {
                return next.into();
            }
            value = next;
        }
        value.into()
    }
}

/// Frequency of the 8254.
pub const PIT_HZ: u64 = 1_193_182;

const PIT_CHANNEL_0: u16 = 0x40;
const PIT_CHANNEL_2: u16 = 0x42;
const PIT_COMMAND: u16 = 0x43;
const PIT_GATE: u16 = 0x61;

/// Channel 2 of the 8254, counting without an interrupt and without sound.
#[derive(Debug)]
pub struct Pit(());

impl Pit {
    /// Starts the channel.
    pub fn start() -> Self {
        let gate = ports::inb(PIT_GATE);
        // Gate on, speaker off.
        ports::outb(PIT_GATE, (gate & !0x02) | 0x01);
        // Channel 2, both bytes, mode 2 (rate generator), binary; 65,536 counts.
        ports::outb(PIT_COMMAND, 0xb4);
        ports::outb(PIT_CHANNEL_2, 0);
        ports::outb(PIT_CHANNEL_2, 0);
        Self(())
    }

    fn read(&self) -> u64 {
        // Latch channel 2, then its two bytes. The chip counts down.
        ports::outb(PIT_COMMAND, 0x80);
        let low = ports::inb(PIT_CHANNEL_2);
        let high = ports::inb(PIT_CHANNEL_2);
        u64::from(0u16.wrapping_sub(u16::from_le_bytes([low, high])))
    }

    /// Stops channel 0, which the firmware leaves ticking at 18.2 Hz.
    pub fn silence() {
        // Mode 0 counts once; its interrupt is masked, and there is no second.
        ports::outb(PIT_COMMAND, 0x30);
        ports::outb(PIT_CHANNEL_0, 0xff);
        ports::outb(PIT_CHANNEL_0, 0xff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// An HPET of 100 MHz that advances by a step at each reading.
    struct Model {
        period: u32,
        counter: Cell<u32>,
        step: u32,
        configuration: Cell<u32>,
    }

    impl Registers for &Model {
        fn read32(&self, offset: usize) -> u32 {
            match offset {
                0 => 0x8086_a201,
                4 => self.period,
                0x10 => self.configuration.get(),
                0xf0 => {
                    self.counter.set(self.counter.get().wrapping_add(self.step));
                    self.counter.get()
                }
                _ => panic!("register {offset:#x}"),
            }
        }
        fn write32(&self, offset: usize, value: u32) {
            assert_eq!(offset, 0x10);
            self.configuration.set(value);
        }
    }

    fn model(period: u32, step: u32) -> Model {
        Model {
            period,
            counter: Cell::new(u32::MAX - 1000),
            step,
            configuration: Cell::new(2),
        }
    }

    #[test]
    fn hpet_is_started_without_legacy_routing() {
        let model = model(10_000_000, 1);
        let hpet = Hpet::start(&model).unwrap();
        assert_eq!(hpet.frequency, 100_000_000);
        assert_eq!(model.configuration.get(), 1);
        let clock = ReferenceClock::Hpet(hpet);
        assert!(clock.is_running());
        assert_eq!(clock.wrap_ns(), 42_949_672_960);
    }

    #[test]
    fn nonsense_periods_are_refused() {
        assert!(Hpet::start(&model(0, 1)).is_none());
        assert!(Hpet::start(&model(u32::MAX, 1)).is_none());
    }

    #[test]
    fn a_stopped_counter_is_noticed() {
        let model = model(10_000_000, 0);
        assert!(!ReferenceClock::Hpet(Hpet::start(&model).unwrap()).is_running());
    }

    #[test]
    fn delay_crosses_the_wrap() {
        let model = model(10_000_000, 7);
        let clock = ReferenceClock::Hpet(Hpet::start(&model).unwrap());
        let before = model.counter.get();
        clock.delay_ns(100_000);
        let passed = model.counter.get().wrapping_sub(before);
        assert!((10_000..10_100).contains(&passed), "{passed}");
    }

    #[test]
    fn frequencies_across_the_wrap() {
        let first = Reading {
            value: 0xffff_ff00,
            tsc: 1000,
        };
        let second = Reading {
            value: 999_744,
            tsc: 30_001_000,
        };
        // A million ticks of 10 ns: 10 ms.
        assert_eq!(
            second.tsc_frequency(&first, 32, 100_000_000),
            Some(3_000_000_000)
        );
        assert_eq!(
            second.counter_frequency(&first, 32, 3_000_000_000),
            Some(100_000_000)
        );
        assert_eq!(first.tsc_frequency(&first, 32, 100_000_000), None);
    }

    #[test]
    fn a_reading_is_the_tightest_try() {
        // The third try takes 10 ticks, from 1,000,000 on; the others more.
        let widths = |n: usize| if n == 2 { 10 } else { 400 + n as u64 };
        let calls = Cell::new(0usize);
        let tsc = || {
            let n = calls.replace(calls.get() + 1);
            let start = (n / 2) as u64 * 500_000;
            if n.is_multiple_of(2) {
                start
            } else {
                start + widths(n / 2)
            }
        };
        let reads = Cell::new(0);
        let counter = || {
            reads.set(reads.get() + 1);
            reads.get()
        };
        assert_eq!(
            Reading::take(counter, tsc),
            Reading {
                value: 3,
                tsc: 1_000_005
            }
        );
    }
}
