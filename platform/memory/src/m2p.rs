//! The machine-to-physical table: for each frame of the machine, the number by which its owner knows it. Guests
//! read it at [`crate::M2P`]; the hypervisor writes it through the direct map.

use core::sync::atomic::{AtomicU64, Ordering};

use addr::{Mfn, PAGE_SIZE, Pfn};

use crate::layout::DIRECT_MAP;

/// What the table says of a frame without a number (`INVALID_M2P_ENTRY`).
pub const INVALID: u64 = u64::MAX;

/// Address of the table in the direct map, and its number of entries.
static TABLE: AtomicU64 = AtomicU64::new(0);
static LEN: AtomicU64 = AtomicU64::new(0);

/// Tells where the table is.
///
/// # Safety
/// `len` × 8 bytes at `address` are memory of the direct map that nothing else writes.
pub(crate) unsafe fn init(address: u64, len: u64) {
    for index in 0..len {
        // SAFETY: by the caller's promise.
        unsafe { ((address + index * 8) as *mut u64).write(INVALID) };
    }
    TABLE.store(address, Ordering::Relaxed);
    LEN.store(len, Ordering::Release);
}

#[inline]
fn entry(frame: Mfn) -> Option<&'static AtomicU64> {
    // Pairs with the Release in `init`.
    if frame.raw() >= LEN.load(Ordering::Acquire) {
        return None;
    }
    let address = TABLE.load(Ordering::Relaxed) + frame.raw() * 8;
    // SAFETY: within the table, which is mapped for good and accessed by atomics only.
    Some(unsafe { &*(address as *const AtomicU64) })
}

/// Number of entries: every frame below it has one.
pub fn len() -> u64 {
    LEN.load(Ordering::Relaxed)
}

/// The frame that holds page `page` of the table; `None` past its end.
pub fn frame(page: u64) -> Option<Mfn> {
    let bytes = page.checked_mul(PAGE_SIZE)?;
    (bytes / 8 < len())
        .then(|| Mfn::new((TABLE.load(Ordering::Relaxed) - DIRECT_MAP + bytes) / PAGE_SIZE))
}

/// The owner's number for `frame`; `None` if it has none.
#[inline]
pub fn get(frame: Mfn) -> Option<Pfn> {
    let value = entry(frame)?.load(Ordering::Relaxed);
    (value != INVALID).then_some(Pfn::new(value))
}

/// Sets the owner's number for `frame`; false if the table does not reach it.
#[inline]
pub fn set(frame: Mfn, number: Pfn) -> bool {
    entry(frame)
        .map(|entry| entry.store(number.raw(), Ordering::Relaxed))
        .is_some()
}

/// Makes `frame` be without a number.
#[inline]
pub fn clear(frame: Mfn) {
    set(frame, Pfn::new(INVALID));
}
