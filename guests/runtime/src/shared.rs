//! The shared info page: events and time.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use xen_abi::shared_info::{SharedInfo, VcpuTimeInfo};
use xen_abi::start_info::StartInfo;

use crate::memory::{self, Page, pte, read, write};
use crate::vcpus;

static ADDRESS: AtomicU64 = AtomicU64::new(0);

/// Maps the page, once.
pub fn map(info: &StartInfo) {
    if ADDRESS.load(Ordering::Relaxed) != 0 {
        return;
    }
    let page = Page::take();
    crate::check_eq!(
        memory::update_va_mapping(page.address, info.shared_info | pte::PAGE_RW),
        0
    );
    ADDRESS.store(page.address, Ordering::Relaxed);
}

/// Where it is mapped.
pub fn address() -> u64 {
    ADDRESS.load(Ordering::Relaxed)
}

macro_rules! field {
    ($($part:tt)+) => {
        address() + core::mem::offset_of!(SharedInfo, $($part)+) as u64
    };
}

/// Where the info of the vCPU that asks is.
fn info() -> u64 {
    vcpus::info(vcpus::id())
}

/// Masks or unmasks upcalls of a vCPU.
pub fn set_upcall_mask_of(id: u32, masked: bool) {
    write(vcpus::info(id) + 1, u8::from(masked));
}

/// Takes `vcpu_info.evtchn_pending_sel`, which becomes 0.
pub fn take_pending_selector() -> u64 {
    // SAFETY: an aligned word that both sides change by atomic operations.
    let word =
        unsafe { AtomicU64::from_ptr(core::ptr::with_exposed_provenance_mut(info() as usize + 8)) };
    word.swap(0, Ordering::SeqCst)
}

/// 64 ports that are pending and not masked, from port 64 × `word` on (2-level).
pub fn due(word: u64) -> u64 {
    read::<u64>(field!(evtchn_pending) + 8 * word) & !read::<u64>(field!(evtchn_mask) + 8 * word)
}

/// Whether upcalls are masked.
pub fn upcall_mask() -> bool {
    read::<u8>(info() + 1) != 0
}

/// Masks upcalls or, without asking for those that are pending, unmasks them.
pub fn set_upcall_mask(masked: bool) {
    if address() != 0 {
        write(info() + 1, u8::from(masked));
    }
}

/// Whether an upcall is pending.
pub fn upcall_pending() -> bool {
    read::<u8>(info()) != 0
}

/// Notes that the upcall is being handled.
pub fn clear_upcall_pending() {
    write(info(), 0u8);
}

/// `vcpu_info.evtchn_pending_sel`.
pub fn pending_selector() -> u64 {
    read(info() + 8)
}

/// Sets `vcpu_info.evtchn_pending_sel`.
pub fn set_pending_selector(value: u64) {
    write(info() + 8, value);
}

/// The address of the last page fault.
pub fn fault_address() -> u64 {
    if address() == 0 { 0 } else { read(info() + 16) }
}

fn bit(base: u64, port: u32) -> (u64, u64) {
    (base + u64::from(port / 64) * 8, 1 << (port % 64))
}

fn change(base: u64, port: u32, set: bool) -> bool {
    let (at, bit) = bit(base, port);
    // SAFETY: an aligned word of the shared page, which both sides change by atomic operations.
    let word = unsafe { AtomicU64::from_ptr(core::ptr::with_exposed_provenance_mut(at as usize)) };
    let old = if set {
        word.fetch_or(bit, Ordering::SeqCst)
    } else {
        word.fetch_and(!bit, Ordering::SeqCst)
    };
    old & bit != 0
}

/// Whether a port is pending (2-level).
pub fn is_pending(port: u32) -> bool {
    let (at, bit) = bit(field!(evtchn_pending), port);
    read::<u64>(at) & bit != 0
}

/// Takes the pending bit of a port; whether it was set (2-level).
pub fn take_pending(port: u32) -> bool {
    change(field!(evtchn_pending), port, false)
}

/// Whether a port is masked (2-level).
pub fn is_masked(port: u32) -> bool {
    let (at, bit) = bit(field!(evtchn_mask), port);
    read::<u64>(at) & bit != 0
}

/// Masks or unmasks a port by its bit alone (2-level); what it was.
pub fn set_masked(port: u32, masked: bool) -> bool {
    change(field!(evtchn_mask), port, masked)
}

/// The time stamp counter.
pub fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter, or traps and is emulated.
    unsafe { asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(low) | u64::from(high) << 32
}

/// The time information as of now.
pub fn time_info() -> VcpuTimeInfo {
    loop {
        let at = info() + 32;
        let before = read::<u32>(at);
        let time = read::<VcpuTimeInfo>(at);
        if before & 1 == 0 && read::<u32>(at) == before {
            return time;
        }
    }
}

/// Nanoseconds for the ticks since the time information's stamp.
pub fn scale(info: &VcpuTimeInfo, ticks: u64) -> u64 {
    let shifted = if info.tsc_shift < 0 {
        ticks >> -info.tsc_shift
    } else {
        ticks << info.tsc_shift
    };
    ((u128::from(shifted) * u128::from(info.tsc_to_system_mul)) >> 32) as u64
}

/// System time in nanoseconds (public/xen.h `struct vcpu_time_info`).
pub fn now() -> u64 {
    loop {
        let time = time_info();
        let stamp = tsc();
        // The vCPU may have moved to another CPU in between: then the stamp is not one for these parameters.
        if read::<u32>(info() + 32) == time.version {
            return time
                .system_time
                .wrapping_add(scale(&time, stamp.wrapping_sub(time.tsc_timestamp)));
        }
    }
}

/// `(wc_sec, wc_nsec)`: wall clock at system time 0.
pub fn wall_clock() -> (u64, u32) {
    loop {
        let version = read::<u32>(field!(wc_version));
        let seconds = u64::from(read::<u32>(field!(wc_sec)))
            | u64::from(read::<u32>(field!(wc_sec_hi))) << 32;
        let nanoseconds = read::<u32>(field!(wc_nsec));
        if version & 1 == 0 && read::<u32>(field!(wc_version)) == version {
            return (seconds, nanoseconds);
        }
    }
}
