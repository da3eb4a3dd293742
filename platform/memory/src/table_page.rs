//! Pages of the hypervisor's heap used as page tables, or mapped for other reasons by their frame.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use addr::Mfn;

use crate::layout::{DIRECT_MAP, DIRECT_MAP_SIZE, IMAGE, IMAGE_LOAD};

const LAYOUT: Layout = match Layout::from_size_align(4096, 4096) {
    Ok(layout) => layout,
    Err(_) => panic!("a page is a valid layout"),
};

/// A zeroed page of the heap.
pub(crate) struct TablePage(NonNull<[AtomicU64; 512]>);

// SAFETY: it owns the page, which is accessed by atomics only.
unsafe impl Send for TablePage {}
// SAFETY: as above.
unsafe impl Sync for TablePage {}

impl TablePage {
    /// Takes a page, if there is memory.
    pub(crate) fn new() -> Option<Self> {
        // SAFETY: the layout's size is not 0.
        NonNull::new(unsafe { alloc_zeroed(LAYOUT) }.cast()).map(Self)
    }

    /// Its entries, as a page table.
    pub(crate) fn entries(&self) -> &[AtomicU64; 512] {
        // SAFETY: the page is owned, aligned, and zero is valid for atomics.
        unsafe { self.0.as_ref() }
    }

    /// Writes an entry; the CPU may use the table already.
    pub(crate) fn set(&self, index: usize, value: u64) {
        if let Some(entry) = self.entries().get(index) {
            entry.store(value, Ordering::Release);
        }
    }

    /// Its frame.
    pub(crate) fn frame(&self) -> Mfn {
        Mfn::new(physical(self.0.as_ptr() as u64) >> 12)
    }

    /// Its address in the machine.
    pub(crate) fn address(&self) -> u64 {
        self.frame().raw() << 12
    }

    /// Keeps the page for good.
    pub(crate) fn leak(self) -> &'static [AtomicU64; 512] {
        let page = self.0;
        core::mem::forget(self);
        // SAFETY: owned, and never freed from now on.
        unsafe { page.as_ref() }
    }
}

impl Drop for TablePage {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.0.as_ptr().cast(), LAYOUT) };
    }
}

/// Machine address of an address of the image or of the direct map.
pub(crate) fn physical(virt: u64) -> u64 {
    if (DIRECT_MAP..DIRECT_MAP + DIRECT_MAP_SIZE).contains(&virt) {
        virt - DIRECT_MAP
    } else {
        virt.wrapping_sub(IMAGE).wrapping_add(IMAGE_LOAD)
    }
}
