//! The direct map: all RAM, and the ways to it.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use addr::{Maddr, Mfn, PAGE_SIZE};
use boot_info::PhysicalMemory;
use frames::{PageRef, TableMemory, TableView};

use crate::init;
use crate::layout::DIRECT_MAP;
use crate::vmap::{Cache, vmap};

/// Access to frames by number: to page tables, whose validator knows what it may touch, and to frames that nobody
/// owns yet. A frame that is not in the direct map reads as zeroes and takes no writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirectMap;

#[inline]
fn page(frame: Mfn) -> Option<u64> {
    init::is_mapped(frame).then_some(DIRECT_MAP + (frame.raw() << 12))
}

impl DirectMap {
    /// Zeroes a frame that nobody owns or maps.
    pub fn zero_frame(&self, frame: Mfn) {
        if let Some(address) = page(frame) {
            // SAFETY: RAM of the direct map.
            unsafe { core::ptr::write_bytes(address as *mut u8, 0, PAGE_SIZE as usize) };
        }
    }

    /// Writes `bytes` into a frame at `offset`; what does not fit is left out. For building a domain that does
    /// not run yet.
    pub fn fill(&self, frame: Mfn, offset: usize, bytes: &[u8]) {
        let offset = offset.min(PAGE_SIZE as usize);
        let len = bytes.len().min(PAGE_SIZE as usize - offset);
        if let Some(address) = page(frame) {
            // SAFETY: RAM of the direct map, within a page; `bytes` is a Rust object and so elsewhere.
            unsafe {
                core::ptr::copy_nonoverlapping(
                    bytes.as_ptr(),
                    (address + offset as u64) as *mut u8,
                    len,
                );
            }
        }
    }
}

/// A page table in the direct map, or none.
#[derive(Clone, Copy)]
pub struct Table(Option<&'static [AtomicU64; 512]>);

impl Table {
    #[inline]
    fn entry(self, index: usize) -> Option<&'static AtomicU64> {
        self.0.map(|entries| &entries[index & 511])
    }
}

impl TableView for Table {
    #[inline]
    fn read(self, index: usize) -> u64 {
        // Relaxed: entries are values of their own; the frame table orders what they refer to.
        self.entry(index)
            .map_or(0, |entry| entry.load(Ordering::Relaxed))
    }

    #[inline]
    fn write(self, index: usize, value: u64) {
        if let Some(entry) = self.entry(index) {
            entry.store(value, Ordering::Release);
        }
    }

    #[inline]
    fn compare_exchange(self, index: usize, current: u64, new: u64) -> Result<(), u64> {
        self.entry(index).map_or(Err(0), |entry| {
            entry
                .compare_exchange(current, new, Ordering::SeqCst, Ordering::Relaxed)
                .map(|_| ())
        })
    }

    #[inline]
    fn swap(self, index: usize, new: u64) -> u64 {
        self.entry(index)
            .map_or(0, |entry| entry.swap(new, Ordering::SeqCst))
    }

    #[inline]
    fn any_present(self, first: usize) -> bool {
        let Some(entries) = self.0 else {
            return false;
        };
        let bits = entries
            .iter()
            .skip(first & 504)
            .take(8)
            .fold(0, |bits, entry| bits | entry.load(Ordering::Relaxed));
        bits & 1 != 0
    }
}

impl TableMemory for DirectMap {
    type View<'m> = Table;

    #[inline]
    fn view(&self, table: Mfn) -> Table {
        // SAFETY: RAM of the direct map, which nothing holds as a Rust object but as atomics.
        Table(page(table).map(|address| unsafe { &*(address as *const [AtomicU64; 512]) }))
    }
}

/// A page that someone owns, mapped. The guest may change it at any time, so that every access is one load, store
/// or atomic operation, or a copy whose bytes may be of different times.
///
/// Offsets are in bytes, and taken modulo the page; they are made multiples of the access's size.
pub struct Mapped<'a> {
    address: u64,
    page: PhantomData<&'a ()>,
}

/// Maps a page for as long as it is referred to.
#[inline]
pub fn map<'a>(page: &'a PageRef<'_>) -> Mapped<'a> {
    // A reference is to RAM that the frame table manages, all of which is in the direct map.
    Mapped {
        address: DIRECT_MAP + (page.frame().raw() << 12),
        page: PhantomData,
    }
}

macro_rules! accessors {
    ($type:ty, $atomic:ty, $place:ident, $load:ident, $store:ident, $swap:ident, $or:ident, $and:ident, $compare:ident) => {
        #[inline]
        fn $place(&self, offset: usize) -> &$atomic {
            let offset = offset as u64 & (PAGE_SIZE - 1) & !(size_of::<$type>() as u64 - 1);
            // SAFETY: within the page, aligned; nothing holds it as a Rust object but as atomics.
            unsafe { &*((self.address + offset) as *const $atomic) }
        }

        /// Loads. Orders what was stored before the value was.
        #[inline]
        pub fn $load(&self, offset: usize) -> $type {
            self.$place(offset).load(Ordering::Acquire)
        }

        /// Stores. Orders what was stored before.
        #[inline]
        pub fn $store(&self, offset: usize, value: $type) {
            self.$place(offset).store(value, Ordering::Release);
        }

        /// Exchanges; returns the old value.
        #[inline]
        pub fn $swap(&self, offset: usize, value: $type) -> $type {
            self.$place(offset).swap(value, Ordering::SeqCst)
        }

        /// Sets bits; returns the old value.
        #[inline]
        pub fn $or(&self, offset: usize, value: $type) -> $type {
            self.$place(offset).fetch_or(value, Ordering::SeqCst)
        }

        /// Keeps only the bits of `value`; returns the old value.
        #[inline]
        pub fn $and(&self, offset: usize, value: $type) -> $type {
            self.$place(offset).fetch_and(value, Ordering::SeqCst)
        }

        /// Stores `new` if `current` is there.
        ///
        /// # Errors
        /// What is there instead.
        #[inline]
        pub fn $compare(&self, offset: usize, current: $type, new: $type) -> Result<$type, $type> {
            self.$place(offset)
                .compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
        }
    };
}

impl Mapped<'_> {
    accessors!(
        u8,
        AtomicU8,
        at_u8,
        load_u8,
        store_u8,
        swap_u8,
        fetch_or_u8,
        fetch_and_u8,
        compare_exchange_u8
    );
    accessors!(
        u16,
        AtomicU16,
        at_u16,
        load_u16,
        store_u16,
        swap_u16,
        fetch_or_u16,
        fetch_and_u16,
        compare_exchange_u16
    );
    accessors!(
        u32,
        AtomicU32,
        at_u32,
        load_u32,
        store_u32,
        swap_u32,
        fetch_or_u32,
        fetch_and_u32,
        compare_exchange_u32
    );
    accessors!(
        u64,
        AtomicU64,
        at_u64,
        load_u64,
        store_u64,
        swap_u64,
        fetch_or_u64,
        fetch_and_u64,
        compare_exchange_u64
    );

    /// Copies from the page at `offset`; what is beyond the page's end is left as it is.
    pub fn copy_from(&self, offset: usize, destination: &mut [u8]) {
        let offset = offset.min(PAGE_SIZE as usize);
        let len = destination.len().min(PAGE_SIZE as usize - offset);
        // SAFETY: within the page. A guest that writes meanwhile makes the bytes unspecified, not the
        // copy unsound: it is `rep movs` on memory that the compiler knows nothing of.
        unsafe {
            copy_bytes(
                destination.as_mut_ptr(),
                (self.address + offset as u64) as *const u8,
                len,
            );
        }
    }

    /// Copies to the page at `offset`; what is beyond the page's end is left out.
    pub fn copy_to(&self, offset: usize, source: &[u8]) {
        let offset = offset.min(PAGE_SIZE as usize);
        let len = source.len().min(PAGE_SIZE as usize - offset);
        // SAFETY: as for `copy_from`.
        unsafe {
            copy_bytes(
                (self.address + offset as u64) as *mut u8,
                source.as_ptr(),
                len,
            );
        }
    }

    /// Copies `len` bytes to `offset` from `source_offset` of another page, or of this one; what is beyond the end of a
    /// page is left out.
    #[inline]
    pub fn copy_part_from(
        &self,
        offset: usize,
        source: &Mapped<'_>,
        source_offset: usize,
        len: usize,
    ) {
        let room = |offset: usize| (PAGE_SIZE as usize).saturating_sub(offset);
        let len = len.min(room(offset)).min(room(source_offset));
        // SAFETY: within the pages; as for `copy_from`. The two parts may overlap: a string instruction copies upwards,
        // whatever comes of it.
        unsafe {
            copy_bytes(
                (self.address + offset as u64) as *mut u8,
                (source.address + source_offset as u64) as *const u8,
                len,
            );
        }
    }

    /// Copies the whole page from another.
    pub fn copy_page_from(&self, source: &Mapped<'_>) {
        // SAFETY: as for `copy_from`; two pages are the same or do not overlap.
        unsafe {
            copy_bytes(
                self.address as *mut u8,
                source.address as *const u8,
                PAGE_SIZE as usize,
            );
        }
    }

    /// Writes `len` bytes at `offset` back from all caches; what is beyond the page's end is left out.
    pub fn flush_cache(&self, offset: usize, len: usize) {
        /// The shortest line that a CPU with `clflush` has been made with; longer ones are flushed more than once.
        const LINE: usize = 32;
        let end = offset.saturating_add(len).min(PAGE_SIZE as usize);
        for line in (offset & !(LINE - 1)..end).step_by(LINE) {
            // SAFETY: within the page; flushing changes nothing that can be read.
            unsafe {
                core::arch::asm!(
                    "clflush [{line}]",
                    line = in(reg) self.address + line as u64,
                    options(nostack, preserves_flags)
                );
            }
        }
        // Whoever is told of it finds it done.
        // SAFETY: orders, and does nothing else.
        unsafe { core::arch::asm!("mfence", options(nostack, preserves_flags)) };
    }

    /// Zeroes the page.
    pub fn zero(&self) {
        // SAFETY: as for `copy_from`.
        unsafe {
            core::arch::asm!(
                "rep stosq",
                inout("rdi") self.address => _,
                inout("rcx") PAGE_SIZE / 8 => _,
                in("rax") 0_u64,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// Copies memory that others may write at the same time.
///
/// # Safety
/// Both sides are mapped for `len` bytes, and are memory that may be written, or read, as bytes.
#[inline]
unsafe fn copy_bytes(destination: *mut u8, source: *const u8, len: usize) {
    // SAFETY: by the caller's promise; the direction flag is clear in all of the hypervisor.
    unsafe {
        core::arch::asm!(
            "rep movsq",
            "mov ecx, {tail:e}",
            "rep movsb",
            inout("rdi") destination => _,
            inout("rsi") source => _,
            inout("rcx") len / 8 => _,
            tail = in(reg) len % 8,
            options(nostack, preserves_flags)
        );
    }
}

/// The machine's memory while the firmware's tables are read, after [`crate::init`]: RAM and the firmware's own
/// through the direct map, all else through windows of device memory that stay.
pub struct FirmwareMemory;

impl PhysicalMemory for FirmwareMemory {
    fn read(&self, at: Maddr, len: usize) -> Option<&[u8]> {
        let end = at.raw().checked_add(len as u64)?;
        let frames = at.raw() >> 12..end.div_ceil(PAGE_SIZE);
        if frames.clone().all(|frame| init::is_mapped(Mfn::new(frame))) {
            // SAFETY: mapped; boot code reads tables that no one writes.
            return Some(unsafe {
                core::slice::from_raw_parts((DIRECT_MAP + at.raw()) as *const u8, len)
            });
        }
        if len > 1 << 20 {
            return None;
        }
        vmap(at, len as u64, Cache::WriteBack).map(|window| window.bytes())
    }
}
