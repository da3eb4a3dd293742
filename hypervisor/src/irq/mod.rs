//! Interrupts: the machine's controllers, the vectors, and who gets what.
//!
//! Vectors at the top are the hypervisor's own; those from [`vector::FIRST_DEVICE`] on are given out to the lines and
//! messages of devices. A device's interrupt goes to the domain that drives it, as an event: a level interrupt is
//! held back at the IO-APIC until the domain has ended it, so that the domain decides the pace; edges and messages
//! are ended at once.

pub(crate) mod dump;
pub mod pirq;
mod routing;
mod table;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use addr::Maddr;
use arrayvec::ArrayVec;
use boot_info::acpi::{Madt, MadtEntry};
use platform_boot::StartError;
use platform_cpu::lock::{Once, SpinLock};
use platform_cpu::{MAX_CPUS, hooks};
use platform_devices::lapic::{self, Lapic, LapicSupport, SPURIOUS_VECTOR};
use platform_devices::pci::PortConfigSpace;
use platform_devices::redirection::MsiMessage;
use platform_devices::{CpuPorts, pic, startup};
use platform_memory::{Cache, Mmio};

use crate::counters::{self, Count};
use crate::cpu::{self, Cpu, Work};
use crate::{console, domains, events, ranks, time};
use table::{Arrival, TABLE};

pub use dump::dump;
pub use routing::{claim_for_console, read_ioapic, setup_gsi};

/// Vectors.
pub mod vector {
    /// Where spurious interrupts of the masked 8259s would come, 16 vectors.
    pub const PIC_BASE: u8 = 0x20;
    /// First vector for devices.
    pub const FIRST_DEVICE: u8 = 0x30;
    /// Last vector for devices.
    pub const LAST_DEVICE: u8 = 0xdf;
    /// Another CPU has put work into this one's set.
    pub const RESCHEDULE: u8 = 0xfb;
    /// The local APIC's timer.
    pub const TIMER: u8 = 0xfc;
    /// The local APIC found an error.
    pub const ERROR: u8 = 0xfe;
    /// Spurious.
    pub const SPURIOUS: u8 = 0xff;
}

const _: () = assert!(vector::SPURIOUS == SPURIOUS_VECTOR);

static LAPIC: Once<Lapic<Mmio>> = Once::new();
static MADT_FACTS: Once<MadtFacts> = Once::new();
/// The port pair of PCI configuration space.
pub static PCI_CONFIG: SpinLock<PortConfigSpace> =
    SpinLock::new(ranks::PCI_CONFIG, PortConfigSpace::new());
/// APIC identifiers by CPU number; `u32::MAX` where there is none.
static APIC_IDS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(u32::MAX) }; MAX_CPUS];
/// ACPI's numbers of the same CPUs.
static ACPI_IDS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(u32::MAX) }; MAX_CPUS];
static STOPPING: AtomicBool = AtomicBool::new(false);
static SPURIOUS: AtomicU64 = AtomicU64::new(0);
static ERRORS: AtomicU64 = AtomicU64::new(0);

/// Maps `bytes` of device memory, uncached; `None` if there is no room.
pub(crate) fn device_memory(at: Maddr, bytes: u64) -> Option<Mmio> {
    platform_memory::vmap(at, bytes, Cache::Uncached)
}

/// The local APIC of whichever CPU asks.
#[inline]
pub fn lapic() -> Option<&'static Lapic<Mmio>> {
    LAPIC.get()
}

/// Takes over the machine's interrupt controllers: 8259s off, IO-APICs masked, this CPU's local APIC on.
///
/// # Errors
/// What is missing or broken.
pub fn init(madt: &Madt<'_>) -> Result<(), &'static str> {
    let support = LapicSupport::detect();
    if !support.present {
        return Err("this CPU has no local APIC");
    }
    pic::disable(&CpuPorts, vector::PIC_BASE);
    pic::leave_pic_mode(&CpuPorts);
    let lapic = if support.prefers_x2apic() {
        Lapic::x2apic(support.tsc_deadline)
    } else {
        let at = if support.maddr != 0 {
            Maddr::new(support.maddr)
        } else {
            madt.local_apic()
        };
        let window = device_memory(at, lapic::WINDOW_BYTES as u64)
            .ok_or("the local APIC cannot be mapped")?;
        Lapic::xapic(window, support.tsc_deadline)
    };
    let _ = LAPIC.set(lapic);
    let _ = MADT_FACTS.set(MadtFacts::read(madt));
    init_this_cpu();
    routing::init(madt)?;
    init_waiting();
    let Some(lapic) = LAPIC.get() else {
        return Err("there is no local APIC");
    };
    log::info!(
        "Local APIC {} version {:#x}, {}{}",
        lapic.id(),
        lapic.version() & 0xff,
        if lapic.is_x2apic() { "x2APIC" } else { "xAPIC" },
        if lapic.has_deadline() {
            ", TSC deadline timer"
        } else {
            ""
        },
    );
    Ok(())
}

/// What is needed of the MADT when another CPU comes up.
struct MadtFacts {
    nmi_on_lint1: bool,
    /// APIC identifiers, and ACPI's numbers of the same CPUs.
    cpus: ArrayVec<(u32, u32), MAX_CPUS>,
}

impl MadtFacts {
    fn read(madt: &Madt<'_>) -> Self {
        let mut lints = madt
            .entries()
            .filter_map(|entry| match entry {
                MadtEntry::LocalNmi { lint, .. } => Some(lint),
                _ => None,
            })
            .peekable();
        Self {
            // LINT1 is where the machine's NMI arrives, if nothing is said.
            nmi_on_lint1: lints.peek().is_none() || lints.any(|lint| lint == 1),
            cpus: madt
                .entries()
                .filter_map(|entry| match entry {
                    MadtEntry::Cpu {
                        acpi_id, apic_id, ..
                    } => Some((apic_id, acpi_id)),
                    _ => None,
                })
                .take(MAX_CPUS)
                .collect(),
        }
    }
}

/// Turns on the local APIC of this CPU, which is then known by its number.
pub fn init_this_cpu() {
    let (Some(lapic), Some(facts)) = (LAPIC.get(), MADT_FACTS.get()) else {
        return;
    };
    lapic.enable(vector::ERROR, facts.nmi_on_lint1);
    let id = lapic.id();
    let number = platform_cpu::cpu_id();
    let acpi_id = facts
        .cpus
        .iter()
        .find_map(|&(apic, acpi)| (apic == id).then_some(acpi));
    if let (Some(apic), Some(acpi)) = (APIC_IDS.get(number), ACPI_IDS.get(number)) {
        acpi.store(acpi_id.unwrap_or(u32::MAX), Ordering::Relaxed);
        // Release: whoever sees the CPU (Acquire in `apic_id`) sees all of it.
        apic.store(id, Ordering::Release);
    }
}

/// Starts the CPU with APIC identifier `apic_id` as number `cpu`: it calls `main`.
///
/// # Errors
/// As [`platform_boot::start_cpu`].
pub fn start_cpu(cpu: usize, apic_id: u32, main: fn(usize) -> !) -> Result<(), StartError> {
    /// Nanoseconds that a CPU may take to say that it is there.
    const PATIENCE: u64 = 2_000_000_000;
    let deadline = time::now().saturating_add(PATIENCE);
    let send = |page| {
        if let Some(lapic) = LAPIC.get()
            && !startup::start_cpu(lapic, apic_id, page, time::delay_ns, || false)
        {
            log::error!("CPU{cpu} (APIC id {apic_id}) takes no start-up message");
        }
    };
    platform_boot::start_cpu(cpu, main, send, || time::now() < deadline)
}

/// ACPI's number of a CPU, if the MADT has it.
pub fn acpi_id(cpu: usize) -> Option<u32> {
    let id = ACPI_IDS.get(cpu)?.load(Ordering::Relaxed);
    (id != u32::MAX).then_some(id)
}

/// Highest number of a CPU that runs.
pub fn highest_cpu() -> u32 {
    APIC_IDS
        .iter()
        .rposition(|id| id.load(Ordering::Acquire) != u32::MAX)
        .unwrap_or(0) as u32
}

/// APIC identifier of a CPU that is running.
pub fn apic_id(cpu: usize) -> Option<u32> {
    let id = APIC_IDS.get(cpu)?.load(Ordering::Acquire);
    (id != u32::MAX).then_some(id)
}

#[inline]
fn send(cpu: usize, vector: u8) {
    if let (Some(lapic), Some(id)) = (LAPIC.get(), apic_id(cpu))
        && !lapic.send(id, vector)
    {
        note_unsent(cpu, vector);
    }
}

#[cold]
#[inline(never)]
fn note_unsent(cpu: usize, vector: u8) {
    log::error!("CPU{cpu} could not be sent interrupt {vector:#x}");
}

/// Makes another CPU leave its guest or its idle loop and look at its work.
pub fn send_reschedule(cpu: usize) {
    counters::count(Count::Interrupts);
    send(cpu, vector::RESCHEDULE);
}

/// Lets CPUs that wait long for each other halt.
fn init_waiting() {
    hooks::set_wait_for_interrupt(wait_for_interrupt);
    hooks::set_wake_cpu(send_reschedule);
}

/// Halts until the next interrupt of the hypervisor's own, in the midst of something: it is ended, and what it is about
/// is done later, but for flushes.
fn wait_for_interrupt() {
    let Some(lapic) = LAPIC.get() else { return };
    counters::count(Count::HaltedWaits);
    cpu::halted(|| {
        let vector = platform_cpu::halt_until_urgent_interrupt();
        match vector {
            vector::SPURIOUS => {}
            _ => lapic.end_of_interrupt(),
        }
        match vector {
            vector::TIMER => cpu::request(platform_cpu::cpu_id(), Work::Timers),
            vector::ERROR => {
                ERRORS.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    });
}

/// Sends an NMI to a CPU.
pub fn send_nmi(cpu: usize) {
    if let (Some(lapic), Some(id)) = (LAPIC.get(), apic_id(cpu))
        && !lapic.send_nmi(id)
    {
        log::error!("CPU{cpu} could not be sent an NMI");
    }
}

/// Stops all other CPUs with an NMI: for a machine that stops. Their NMI handler sees that it does.
pub fn stop_other_cpus() {
    let others = APIC_IDS
        .iter()
        .enumerate()
        .any(|(cpu, id)| cpu != platform_cpu::cpu_id() && id.load(Ordering::Acquire) != u32::MAX);
    if others && let Some(lapic) = LAPIC.get() {
        // Release: pairs with the Acquire in `is_stopping`, so that the NMI is known for what it is.
        STOPPING.store(true, Ordering::Release);
        lapic.send_nmi_all_but_self();
    }
}

/// Whether the machine stops: the NMI that says so is on its way to all CPUs but one.
pub fn is_stopping() -> bool {
    STOPPING.load(Ordering::Acquire)
}

/// The message that interrupts the CPU which handles devices' interrupts, at `vector`.
fn message_to_home(vector: u8) -> Option<MsiMessage> {
    MsiMessage::fixed(vector, apic_id(0)?)
}

/// Handles an interrupt that came out of a guest or of the idle loop.
#[inline]
pub fn handle(cpu: &mut Cpu, vector: u8) {
    match vector {
        vector::TIMER => {
            end_of_interrupt();
            cpu::request(cpu.id, Work::Timers);
        }
        // The work is in the CPU's set already.
        vector::RESCHEDULE => end_of_interrupt(),
        vector::FIRST_DEVICE..=vector::LAST_DEVICE => device(cpu, vector),
        _ => other(vector),
    }
}

/// Tells the local APIC that the interrupt in service is handled.
#[inline]
pub fn end_of_interrupt() {
    if let Some(lapic) = LAPIC.get() {
        lapic.end_of_interrupt();
    }
}

/// A device's interrupt. Its line is held back before the local APIC is told that it ended, or it would
/// come again at once.
#[inline(never)]
fn device(cpu: &Cpu, vector: u8) {
    let arrival = TABLE.lock().arrived(vector);
    match arrival {
        Arrival::Domain { pirq } => {
            end_of_interrupt();
            if let Some(domain) = domains::hardware() {
                events::send_pirq(domain, pirq);
            }
        }
        Arrival::Console => {
            end_of_interrupt();
            console::serial_interrupt(cpu);
        }
        Arrival::HeldBack => end_of_interrupt(),
        Arrival::Nobody => {
            // A vector that was given back while its message was on the way. One that is not in service was
            // never accepted, and an end would end another one's.
            SPURIOUS.fetch_add(1, Ordering::Relaxed);
            if let Some(lapic) = LAPIC.get()
                && lapic.is_in_service(vector)
            {
                lapic.end_of_interrupt();
            }
        }
    }
}

#[cold]
fn other(vector: u8) {
    match vector {
        vector::ERROR => {
            let status = LAPIC.get().map_or(0, |lapic| lapic.take_errors());
            end_of_interrupt();
            let count = ERRORS.fetch_add(1, Ordering::Relaxed);
            if count < 10 {
                log::error!("APIC error on CPU{}: {status:02x}", platform_cpu::cpu_id());
            }
        }
        vector::SPURIOUS => {
            SPURIOUS.fetch_add(1, Ordering::Relaxed);
        }
        _ => {
            let count = SPURIOUS.fetch_add(1, Ordering::Relaxed);
            if let Some(lapic) = LAPIC.get()
                && lapic.is_in_service(vector)
            {
                lapic.end_of_interrupt();
            }
            if count < 10 {
                log::warn!("unexpected interrupt at vector {vector:#x}");
            }
        }
    }
}
