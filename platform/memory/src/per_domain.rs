//! The per-domain area, L4 slot 260: for vCPU *n*, at *n* × 128 KiB, 16 pages of GDT and 16 pages of LDT.
//!
//! GDT pages 0–13 map frames that the guest named and that were validated as descriptor pages; a page it did not
//! name maps zeroes, so that a selector there is #GP and not a page fault. Page 14 is the CPU's own. LDT pages are
//! mapped when they are first needed: a fault there comes out of the guest as an exit.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use addr::{Mfn, Vaddr};
use platform_cpu::{control, cpu_id, descriptors};

use crate::blocks;
use crate::layout::{PER_DOMAIN, bits};
use crate::table_page::TablePage;

/// Frames of descriptors that a guest may name for its GDT.
pub const GDT_PAGES: usize = 14;
/// Pages of an LDT.
pub const LDT_PAGES: usize = 16;
/// The GDT page that is the CPU's own.
const OWN_PAGE: usize = 14;
/// Bytes and pages of a vCPU's part.
const VCPU_SIZE: u64 = 128 << 10;
const VCPU_PAGES: usize = 32;
/// vCPUs in the part of an L1.
const VCPUS_PER_TABLE: usize = 512 / VCPU_PAGES;

/// A domain's area.
pub struct PerDomainArea {
    l3: TablePage,
    _l2: TablePage,
    l1s: Vec<TablePage>,
    /// What GDT pages map that the guest did not name.
    zeroes: TablePage,
}

impl PerDomainArea {
    /// An area for `vcpus` vCPUs (8192 at most), or `None` if there is no memory.
    pub fn new(vcpus: usize) -> Option<Self> {
        let tables = vcpus.div_ceil(VCPUS_PER_TABLE);
        if tables > 512 {
            return None;
        }
        let l3 = TablePage::new()?;
        let l2 = TablePage::new()?;
        let zeroes = TablePage::new()?;
        let mut l1s = Vec::new();
        l1s.try_reserve_exact(tables).ok()?;
        l3.set(0, l2.address() | bits::TABLE);
        for index in 0..tables {
            let l1 = TablePage::new()?;
            l2.set(index, l1.address() | bits::TABLE);
            for vcpu in 0..VCPUS_PER_TABLE {
                for page in 0..OWN_PAGE {
                    l1.set(
                        vcpu * VCPU_PAGES + page,
                        zeroes.address() | bits::PER_DOMAIN,
                    );
                }
            }
            l1s.push(l1);
        }
        Some(Self {
            l3,
            _l2: l2,
            l1s,
            zeroes,
        })
    }

    /// The entry of slot 260 in the domain's L4 tables.
    pub fn l4_entry(&self) -> u64 {
        self.l3.address() | bits::TABLE
    }

    /// Frame of the area's L3.
    pub fn l3_frame(&self) -> Mfn {
        self.l3.frame()
    }

    fn entry(&self, vcpu: usize, page: usize) -> Option<&AtomicU64> {
        self.l1s
            .get(vcpu / VCPUS_PER_TABLE)?
            .entries()
            .get(vcpu % VCPUS_PER_TABLE * VCPU_PAGES + page)
    }

    /// Writes an entry, and drops the translation that this CPU may have: a vCPU's part is used by no other CPU
    /// than the one that runs it, and changing CPUs changes roots.
    fn set(&self, vcpu: usize, page: usize, value: u64) {
        if let Some(entry) = self.entry(vcpu, page) {
            entry.store(value, Ordering::Release);
            control::invlpg(Vaddr::new(base(vcpu) + (page as u64) * addr::PAGE_SIZE));
        }
    }

    /// Maps the frames of `vcpu`'s GDT. Each is one of the domain's, with a type reference as a descriptor page that
    /// the caller keeps until other frames are set. More than [`GDT_PAGES`] are ignored.
    pub fn set_gdt_frames(&self, vcpu: usize, frames: &[Mfn]) {
        for page in 0..GDT_PAGES {
            let address = match frames.get(page) {
                Some(frame) => frame.raw() << 12,
                None => self.zeroes.address(),
            };
            self.set(vcpu, page, address | bits::PER_DOMAIN);
        }
    }

    /// Maps page `page` of `vcpu`'s LDT, under the same condition as a GDT's, or unmaps it.
    pub fn set_ldt_page(&self, vcpu: usize, page: usize, frame: Option<Mfn>) {
        if page < LDT_PAGES {
            let value = frame.map_or(0, |frame| frame.raw() << 12 | bits::PER_DOMAIN);
            self.set(vcpu, 16 + page, value);
        }
    }

    /// Unmaps all pages of `vcpu`'s LDT.
    pub fn clear_ldt(&self, vcpu: usize) {
        for page in 0..LDT_PAGES {
            self.set_ldt_page(vcpu, page, None);
        }
    }

    /// Whether page `page` of `vcpu`'s LDT is mapped.
    pub fn has_ldt_page(&self, vcpu: usize, page: usize) -> bool {
        page < LDT_PAGES
            && self
                .entry(vcpu, 16 + page)
                .is_some_and(|entry| entry.load(Ordering::Relaxed) != 0)
    }

    /// If `address` is in the LDT part of `vcpu`, the page and the offset in bytes from the LDT's start.
    pub fn ldt_offset(vcpu: usize, address: Vaddr) -> Option<(usize, u64)> {
        let offset = address.raw().checked_sub(base(vcpu) + VCPU_SIZE / 2)?;
        (offset < VCPU_SIZE / 2).then_some(((offset >> 12) as usize, offset))
    }

    /// Loads `vcpu`'s GDT, with this CPU's own page in it, and its LDT of `ldt_entries` descriptors, on this CPU.
    ///
    /// A root of this domain is loaded, and stays so until [`use_own_descriptors`].
    pub fn load_descriptors(&self, vcpu: usize, ldt_entries: u32) {
        let own = blocks::gdt_frame(cpu_id());
        let Some(entry) = self.entry(vcpu, OWN_PAGE) else {
            return;
        };
        let value = own.raw() << 12 | bits::PER_DOMAIN;
        if entry.load(Ordering::Relaxed) != value {
            self.set(vcpu, OWN_PAGE, value);
        }
        // SAFETY: page 14 is this CPU's own, the pages below are validated descriptor pages or zeroes; the
        // caller changes back before the root.
        unsafe { descriptors::load_gdt(base(vcpu)) };
        // With the CPU's own descriptors there was no LDT.
        if ldt_entries != 0 {
            self.load_ldt(vcpu, ldt_entries);
        }
    }

    /// Loads `vcpu`'s LDT of `entries` descriptors; none if 0.
    pub fn load_ldt(&self, vcpu: usize, entries: u32) {
        let entries = entries.min(8192) as u16;
        // SAFETY: the LDT part maps validated descriptor pages or nothing.
        unsafe { descriptors::load_ldt(base(vcpu) + VCPU_SIZE / 2, entries) };
    }
}

/// Address of `vcpu`'s part.
fn base(vcpu: usize) -> u64 {
    PER_DOMAIN + vcpu as u64 * VCPU_SIZE
}

/// Loads the CPU's own GDT, that every root maps, and no LDT: before the root changes to another domain's or to
/// the idle one. The segment registers keep what they hold.
pub fn use_own_descriptors() {
    descriptors::load_own_gdt();
    // SAFETY: no LDT.
    unsafe { descriptors::load_ldt(0, 0) };
}
