//! Time: the hypervisor's clock, the clocks that guests read without calling, and the one-shot timer.
//!
//! The clock counts nanoseconds from the moment it is set up, by the TSC, whose frequency is measured against a
//! reference clock. Guests get the same two numbers that [`now`] uses (`vcpu_time_info`), so a time that a
//! guest computes is the hypervisor's own to the bit. Source: public/xen.h; the versions of both published
//! structures are odd while they change.

use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, Ordering, fence};

use addr::Vaddr;
use boot_info::acpi::{Fadt, Hpet as HpetTable, RegisterSpace};
use boot_info::config::ClockSource;
use platform_cpu::control::{cpuid, rdtsc};
use platform_cpu::guest;
use platform_cpu::lock::{Once, SpinLock};
use platform_devices::clock::{Hpet, Pit, PmTimer, Reading, ReferenceClock};
use platform_devices::rtc::CmosRtc;
use platform_devices::scale::{NANOSECONDS, Scale};
use platform_memory::Mmio;
use xen_abi::errno::Errno;
use xen_abi::shared_info::{SharedInfo, VcpuInfo, VcpuTimeInfo, XEN_PVCLOCK_TSC_STABLE_BIT};

use crate::console::ALWAYS;
use crate::cpu::Cpu;
use crate::domain::Domain;
use crate::timer_queues::NEVER;
use crate::vcpu::Vcpu;
use crate::{domains, io_access, irq, ranks, timer_queues};

/// Bytes of an HPET's registers.
const HPET_BYTES: u64 = 0x400;
/// How long the TSC and the local APIC's timer are measured.
const CALIBRATION_NS: u64 = 25_000_000;

struct Clock {
    tsc_hz: u64,
    /// A TSC value, and the time that it was read at.
    tsc_base: u64,
    /// See `tsc_base`.
    ns_base: u64,
    /// TSC to nanoseconds.
    scale: Scale,
    /// Nanoseconds to TSC.
    to_tsc: Scale,
}

impl Clock {
    /// The clock of a TSC of `tsc_hz` that shows `ns_base` at `tsc_base`.
    fn new(tsc_hz: u64, tsc_base: u64, ns_base: u64) -> Option<Self> {
        Some(Self {
            tsc_hz,
            tsc_base,
            ns_base,
            scale: Scale::ticks_to_ns(tsc_hz)?,
            to_tsc: Scale::ns_to_ticks(tsc_hz)?,
        })
    }

    #[inline]
    fn at(&self, tsc: u64) -> u64 {
        self.ns_base
            .wrapping_add(self.scale.apply(tsc.wrapping_sub(self.tsc_base)))
    }
}

/// What measures, and what was measured once.
struct Hardware {
    reference: ReferenceClock<Mmio>,
    /// The first reading, from which the TSC's frequency is measured again later.
    first: Reading,
    timer_hz: u64,
    /// Nanoseconds to counts of the local APIC's timer.
    to_count: Scale,
}

static HARDWARE: Once<Hardware> = Once::new();
/// The clock by a short measurement, while the machine boots.
static COARSE: Once<Clock> = Once::new();
/// The clock by a long one, from before the first guest on.
static FINE: Once<Clock> = Once::new();
/// Whether the TSCs of all CPUs run alike and never stop: guests then need no common last value.
static STABLE: AtomicBool = AtomicBool::new(false);
/// Nanoseconds from 1970 to time 0.
static WALL_CLOCK: SpinLock<u64> = SpinLock::new(ranks::WALL_CLOCK, 0);

/// Nanoseconds since the clock was set up; 0 before.
#[inline]
pub fn now() -> u64 {
    clock().map_or(0, |clock| clock.at(rdtsc()))
}

#[inline]
fn clock() -> Option<&'static Clock> {
    FINE.get().or_else(|| COARSE.get())
}

/// Picks a reference clock: the wanted one if it works, else the best.
fn find_reference(
    wanted: Option<ClockSource>,
    hpet: Option<&HpetTable>,
    fadt: Option<&Fadt>,
) -> ReferenceClock<Mmio> {
    let hpet = || {
        let address = hpet?.address;
        let registers = irq::device_memory(address, HPET_BYTES)?;
        // Domain 0 may read it, as on Xen.
        io_access::protect_frames(address.mfn(), 1);
        Some(ReferenceClock::Hpet(Hpet::start(registers)?))
    };
    let pm_timer_port = fadt
        .and_then(|fadt| fadt.pm_timer)
        .filter(|address| address.space == RegisterSpace::Port)
        .and_then(|address| u16::try_from(address.address).ok());
    if let Some(port) = pm_timer_port {
        // As on Xen, domain 0 has none: it would take it for a better clock to check the TSC by.
        io_access::keep_ports(port, 4);
    }
    let pm_timer = || {
        let fadt = fadt?;
        let port = pm_timer_port?;
        Some(ReferenceClock::PmTimer(PmTimer::new(
            port,
            fadt.pm_timer_is_32_bit,
        )))
    };
    let pit = || Some(ReferenceClock::Pit(Pit::start()));
    let named = match wanted {
        Some(ClockSource::Hpet) => hpet(),
        Some(ClockSource::Acpi) => pm_timer(),
        Some(ClockSource::Pit) => pit(),
        Some(ClockSource::Tsc) | None => None,
    };
    if named.is_none() && wanted.is_some_and(|source| source != ClockSource::Tsc) {
        log::warn!("clocksource={wanted:?}: this machine has none, using another");
    }
    let works = |clock: &ReferenceClock<Mmio>| clock.is_running();
    named
        .filter(works)
        .or_else(|| hpet().filter(works))
        .or_else(|| pm_timer().filter(works))
        .unwrap_or_else(|| ReferenceClock::Pit(Pit::start()))
}

/// Sets the clock up; this CPU's local APIC is enabled already.
///
/// # Errors
/// What is missing: without a timer nothing can run.
pub fn init(
    wanted: Option<ClockSource>,
    hpet: Option<&HpetTable>,
    fadt: Option<&Fadt>,
) -> Result<(), &'static str> {
    let reference = find_reference(wanted, hpet, fadt);
    if !reference.is_running() {
        return Err("no HPET, ACPI PM timer or PIT counts on this machine");
    }
    let lapic = irq::lapic().ok_or("there is no local APIC")?;
    // Short enough for the narrowest counter to wrap at most once.
    let window = CALIBRATION_NS.min(reference.wrap_ns() / 2);
    let timer = || u64::from(u32::MAX - lapic.count());
    let bits = reference.bits();
    lapic.free_run();
    let first = Reading::take(|| reference.read(), rdtsc);
    let first_timer = Reading::take(timer, rdtsc);
    reference.delay_ns(window);
    let last = Reading::take(|| reference.read(), rdtsc);
    let last_timer = Reading::take(timer, rdtsc);
    lapic.stop_timer();
    let tsc_hz = last
        .tsc_frequency(&first, bits, reference.frequency())
        .ok_or("the TSC does not count")?;
    let timer_hz = last_timer
        .counter_frequency(&first_timer, 32, tsc_hz)
        .ok_or("the local APIC's timer does not count")?;
    let clock = Clock::new(tsc_hz, rdtsc(), 0).ok_or("the TSC's frequency makes no sense")?;
    let hardware = Hardware {
        first,
        timer_hz,
        to_count: Scale::ns_to_ticks(timer_hz).ok_or("the local APIC's timer makes no sense")?,
        reference,
    };
    if HARDWARE.set(hardware).is_err() || COARSE.set(clock).is_err() {
        return Err("the clock is set up twice");
    }
    // CPUID 8000_0007 EDX bit 8: the TSC runs at one rate in all power states.
    let invariant =
        cpuid(0x8000_0000, 0).eax >= 0x8000_0007 && cpuid(0x8000_0007, 0).edx & 1 << 8 != 0;
    STABLE.store(invariant, Ordering::Relaxed);
    if let Some(Hardware { reference, .. }) = HARDWARE.get() {
        log::info!(
            "Platform timer is {} {}",
            MegaHertz(reference.frequency()),
            reference.name()
        );
    }
    log::info!("Local APIC timer: {}", MegaHertz(timer_hz));
    Ok(())
}

/// Measures the TSC once more, over the time since [`init`], just before the first guest runs: a long measurement
/// is exact even where readings are slow. Guests see only this clock; it goes on where the first one is.
pub fn refine() {
    let (Some(hardware), Some(coarse)) = (HARDWARE.get(), COARSE.get()) else {
        return;
    };
    let reference = &hardware.reference;
    let last = Reading::take(|| reference.read(), rdtsc);
    let tsc = last.tsc;
    // A reference that may have wrapped says nothing.
    let usable = coarse.at(tsc).saturating_add(CALIBRATION_NS) < reference.wrap_ns() / 4 * 3;
    let tsc_hz = last
        .tsc_frequency(&hardware.first, reference.bits(), reference.frequency())
        .filter(|_| usable)
        .unwrap_or(coarse.tsc_hz);
    if let Some(fine) = Clock::new(tsc_hz, tsc, coarse.at(tsc)) {
        // An error means that it was done before.
        let _ = FINE.set(fine);
    }
    log::info!("Detected {} processor.", MegaHertz(tsc_hz));
}

/// A frequency, as people read it.
struct MegaHertz(u64);

impl core::fmt::Display for MegaHertz {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{:03} MHz", self.0 / 1_000_000, self.0 / 1000 % 1000)
    }
}

/// Starts this CPU's timer; it fires first when something is due.
pub fn init_cpu_timer() {
    if let Some(lapic) = irq::lapic() {
        lapic.enable_timer(irq::vector::TIMER);
    }
}

/// TSC frequency in Hz; 0 before [`init`].
pub fn tsc_frequency() -> u64 {
    clock().map_or(0, |clock| clock.tsc_hz)
}

/// Whether the TSC is the same on all CPUs and never stops, for CPUID's time leaf.
pub fn tsc_is_stable() -> bool {
    STABLE.load(Ordering::Relaxed)
}

/// Waits at least `ns` by the reference clock: for hardware, during boot and shutdown.
pub fn delay_ns(ns: u64) {
    match HARDWARE.get() {
        Some(hardware) => hardware.reference.delay_ns(ns),
        None => ReferenceClock::<Mmio>::Pit(Pit::start()).delay_ns(ns),
    }
}

/// Sets this CPU's timer for the next thing that is due on it. What was put off does not change it: the timer fires
/// once for nothing and is set then, where each switch of vCPUs would set it.
#[inline]
pub fn program_timer(cpu: &mut Cpu) {
    let next = timer_queues::next_deadline(cpu.id);
    if next < cpu.programmed {
        cpu.programmed = next;
        set_timer(next);
    }
}

#[cold]
fn set_timer(deadline: u64) {
    let (Some(clock), Some(hardware), Some(lapic)) = (clock(), HARDWARE.get(), irq::lapic()) else {
        return;
    };
    let now = rdtsc();
    let ahead = deadline.saturating_sub(clock.at(now));
    // Rather late than early: after an early interrupt the timer would have to be set again.
    if lapic.has_deadline() {
        let ticks = clock.to_tsc.apply_saturating(ahead).saturating_add(1);
        lapic.set_deadline(now.saturating_add(ticks));
    } else {
        // The timer's frequency is known to some 100 millionths.
        let count = hardware.to_count.apply_saturating(ahead);
        let count = count.saturating_add(count / 4096 + 1);
        // Farther off than the counter reaches: it fires early, and is set again.
        lapic.set_count(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

/// What tells a guest the time on any CPU, apart from the version.
fn time_info() -> VcpuTimeInfo {
    let (tsc_timestamp, system_time, mul, shift) = match clock() {
        Some(clock) => (
            clock.tsc_base,
            clock.ns_base,
            clock.scale.mul(),
            clock.scale.shift(),
        ),
        None => (0, 0, 0, 0),
    };
    VcpuTimeInfo {
        version: 0,
        pad0: 0,
        tsc_timestamp,
        system_time,
        tsc_to_system_mul: mul,
        tsc_shift: shift,
        flags: if tsc_is_stable() {
            XEN_PVCLOCK_TSC_STABLE_BIT as u8
        } else {
            0
        },
        pad1: [0; 2],
    }
}

/// Publishes the clock to a vCPU: in its `vcpu_info`, and in the area that it registered, whose address space is
/// loaded.
pub fn update_vcpu_time(vcpu: &Vcpu) {
    let mut info = time_info();
    let (page, offset) = vcpu.info().place();
    let page = platform_memory::map(page);
    let at = offset + offset_of!(VcpuInfo, time);
    let version_at = at + offset_of!(VcpuTimeInfo, version);
    let version = page.load_u32(version_at) | 1;
    // Stores become visible in their order on x86; the fences keep the compiler to it.
    page.store_u32(version_at, version);
    fence(Ordering::Release);
    page.store_u64(
        at + offset_of!(VcpuTimeInfo, tsc_timestamp),
        info.tsc_timestamp,
    );
    page.store_u64(at + offset_of!(VcpuTimeInfo, system_time), info.system_time);
    page.store_u32(
        at + offset_of!(VcpuTimeInfo, tsc_to_system_mul),
        info.tsc_to_system_mul,
    );
    page.store_u8(
        at + offset_of!(VcpuTimeInfo, tsc_shift),
        info.tsc_shift as u8,
    );
    page.store_u8(at + offset_of!(VcpuTimeInfo, flags), info.flags);
    fence(Ordering::Release);
    page.store_u32(version_at, version.wrapping_add(1));

    let area = vcpu.time_area();
    if area != 0 {
        info.version = version;
        let area = Vaddr::new(area);
        // A guest that unmapped its area does without.
        if guest::write(area, &info).is_ok() {
            info.version = version.wrapping_add(1);
            let _ = guest::write(area, &info.version);
        }
    }
}

/// Reads the machine's clock as the wall clock; `century` is the FADT's register for it.
pub fn init_wall_clock(century: Option<u8>) {
    match CmosRtc::new(century.unwrap_or(0)).read() {
        Some(seconds) => {
            let since_1970 = seconds.saturating_mul(NANOSECONDS);
            *WALL_CLOCK.lock() = since_1970.saturating_sub(now());
            log::info!("Wallclock source: CMOS RTC, {seconds} s since 1970");
        }
        None => {
            log::warn!("the machine's real-time clock gives no date; the wall clock starts in 1970")
        }
    }
}

/// Sets the wall clock: it was `seconds` and `nanoseconds` after 1970 at `system_time`. All domains see it.
///
/// # Errors
/// `EINVAL` for a time that is none.
pub fn set_wall_clock(seconds: u64, nanoseconds: u32, system_time: u64) -> Result<(), Errno> {
    let at_zero = seconds
        .checked_mul(NANOSECONDS)
        .and_then(|time| time.checked_add(nanoseconds.into()))
        .and_then(|time| time.checked_sub(system_time))
        .ok_or(Errno::EINVAL)?;
    *WALL_CLOCK.lock() = at_zero;
    domains::for_each(|domain| update_wall_clock(domain));
    Ok(())
}

/// Publishes the wall clock to a domain, in its shared info page.
pub fn update_wall_clock(domain: &Domain) {
    // The lock is held throughout: two updates must not mix.
    let at_zero = WALL_CLOCK.lock();
    let time = at_zero.saturating_add_signed(domain.time_offset.load(Ordering::Relaxed));
    let (seconds, nanoseconds) = (time / NANOSECONDS, (time % NANOSECONDS) as u32);
    let page = platform_memory::map(&domain.shared_info);
    let version_at = offset_of!(SharedInfo, wc_version);
    let version = page.load_u32(version_at) | 1;
    page.store_u32(version_at, version);
    fence(Ordering::Release);
    page.store_u32(offset_of!(SharedInfo, wc_sec), seconds as u32);
    page.store_u32(offset_of!(SharedInfo, wc_nsec), nanoseconds);
    page.store_u32(offset_of!(SharedInfo, wc_sec_hi), (seconds >> 32) as u32);
    fence(Ordering::Release);
    page.store_u32(version_at, version.wrapping_add(1));
}

/// Debug key: the clock and this CPU's timers.
pub fn dump(cpu: &Cpu) {
    let now = now();
    let ahead = |at: u64| (at != NEVER).then(|| at.wrapping_sub(now) as i64);
    log::info!(target: ALWAYS, "Dumping timer queues:");
    if let (Some(clock), Some(hardware)) = (clock(), HARDWARE.get()) {
        log::info!(
            target: ALWAYS,
            "reference {} {}, TSC {} (mul {:#x} shift {}), APIC timer {}, NOW={now}",
            hardware.reference.name(),
            MegaHertz(hardware.reference.frequency()),
            MegaHertz(clock.tsc_hz),
            clock.scale.mul(),
            clock.scale.shift(),
            MegaHertz(hardware.timer_hz),
        );
    }
    log::info!(
        target: ALWAYS,
        "CPU{:02}: next deadline in {:?} ns, programmed {:?} ns",
        cpu.id,
        ahead(timer_queues::next_deadline(cpu.id)),
        ahead(cpu.programmed),
    );
}
