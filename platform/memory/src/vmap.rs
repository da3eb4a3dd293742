//! Device memory: mapped at L4 slot 259 for good.

use core::sync::atomic::{AtomicU64, Ordering};

use addr::{Maddr, PAGE_SIZE};
use platform_cpu::lock::{Rank, SpinLock};

use crate::layout::{DIRECT_MAP, VMAP, bits};
use crate::table_page::TablePage;

/// How the CPU caches a mapping. The names are those of the page attribute table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Not at all: device registers.
    Uncached,
    /// Writes are gathered: frame buffers.
    WriteCombining,
    /// As memory: tables of the firmware.
    WriteBack,
}

impl Cache {
    fn bits(self) -> u64 {
        match self {
            Self::Uncached => bits::CACHE_DISABLED | bits::WRITE_THROUGH,
            Self::WriteCombining => bits::PAT,
            Self::WriteBack => 0,
        }
    }
}

/// A window of device memory. Registers are accessed one at a time, in program order, never as references.
#[derive(Clone, Copy, Debug)]
pub struct Mmio {
    base: u64,
    len: u64,
}

/// Address of slot 259's L3, and of the L2 of its first GiB.
static L3: AtomicU64 = AtomicU64::new(0);

struct Vmap {
    /// Next free address.
    next: u64,
    /// Address, in the hypervisor's space, of the L2 for `next`'s GiB and of the L1 for its 2 MiB.
    l2: Option<&'static [AtomicU64; 512]>,
    l1: Option<&'static [AtomicU64; 512]>,
}

static STATE: SpinLock<Vmap> = SpinLock::new(
    Rank::new(58, "vmap"),
    Vmap {
        next: VMAP,
        l2: None,
        l1: None,
    },
);

pub(crate) fn set_l3(address: u64) {
    L3.store(address, Ordering::Relaxed);
}

impl Vmap {
    /// Writes the entry for `next` and moves on by a page.
    fn map_page(&mut self, value: u64) -> Option<()> {
        if self.next & ((1 << 30) - 1) == 0 || self.l2.is_none() {
            let l3 = (DIRECT_MAP + L3.load(Ordering::Relaxed)) as *const [AtomicU64; 512];
            // SAFETY: the table was built at boot, in RAM of the direct map, and is written here only.
            let l3 = unsafe { &*l3 };
            self.l2 = Some(grow(l3.get((self.next >> 30 & 511) as usize)?)?);
            self.l1 = None;
        }
        if self.next & ((1 << 21) - 1) == 0 || self.l1.is_none() {
            self.l1 = Some(grow(self.l2?.get((self.next >> 21 & 511) as usize)?)?);
        }
        let entry = self.l1?.get((self.next >> 12 & 511) as usize)?;
        entry.store(value, Ordering::Release);
        self.next += PAGE_SIZE;
        Some(())
    }
}

/// Makes a table for an empty slot.
fn grow(slot: &AtomicU64) -> Option<&'static [AtomicU64; 512]> {
    let table = TablePage::new()?;
    slot.store(table.address() | bits::TABLE, Ordering::Release);
    Some(table.leak())
}

/// Maps `len` bytes of device memory at `start`, which need not be page boundaries. `None` if there is no memory
/// for the tables, or no address for them.
///
/// `start` is device memory, or memory of the firmware's; for RAM that has an owner this is not the way.
pub fn vmap(start: Maddr, len: u64, cache: Cache) -> Option<Mmio> {
    let offset = start.page_offset();
    let pages = addr::pages_for(offset.checked_add(len)?);
    let first = start.mfn();
    let end = first.checked_add(pages)?;
    end.maddr()?;
    let mut state = STATE.lock();
    let base = state.next;
    if pages > (VMAP + (1 << 39) - base) / PAGE_SIZE - 1 {
        return None;
    }
    for page in 0..pages {
        state.map_page((first.raw() + page) << 12 | bits::DATA | cache.bits())?;
    }
    // An unmapped page after each window.
    state.next += PAGE_SIZE;
    if state.next & ((1 << 21) - 1) < 2 * PAGE_SIZE {
        // The gap may have gone past a table's start.
        state.l1 = None;
        if state.next & ((1 << 30) - 1) < 2 * PAGE_SIZE {
            state.l2 = None;
        }
    }
    Some(Mmio {
        base: base + offset,
        len,
    })
}

macro_rules! access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads a register.
        ///
        /// # Panics
        /// It is not within the window, or not aligned: a mistake of the driver.
        #[inline]
        pub fn $read(&self, offset: usize) -> $type {
            let at = self.check(offset, size_of::<$type>());
            // SAFETY: within the window, aligned; device memory holds no Rust object.
            unsafe { (at as *const $type).read_volatile() }
        }

        /// Writes a register.
        ///
        /// # Panics
        /// It is not within the window, or not aligned: a mistake of the driver.
        #[inline]
        pub fn $write(&self, offset: usize, value: $type) {
            let at = self.check(offset, size_of::<$type>());
            // SAFETY: as for reading.
            unsafe { (at as *mut $type).write_volatile(value) }
        }
    };
}

impl Mmio {
    #[inline]
    fn check(&self, offset: usize, size: usize) -> u64 {
        let end = (offset as u64).saturating_add(size as u64);
        if end > self.len {
            self.refuse(offset);
        }
        // Within the window, which has an end.
        let at = self.base.wrapping_add(offset as u64);
        if !at.is_multiple_of(size as u64) {
            self.refuse(offset);
        }
        at
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, offset: usize) -> ! {
        panic!(
            "device register at {offset:#x} of a window of {:#x} bytes",
            self.len
        );
    }

    /// Bytes of the window.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the window is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    access!(read8, write8, u8);
    access!(read16, write16, u16);
    access!(read32, write32, u32);
    access!(read64, write64, u64);

    /// The window as bytes, for memory of the firmware's that does not change.
    pub(crate) fn bytes(&self) -> &'static [u8] {
        // SAFETY: mapped for good; the firmware's tables are written by no one.
        unsafe { core::slice::from_raw_parts(self.base as *const u8, self.len as usize) }
    }
}
