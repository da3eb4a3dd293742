//! Domain 0's memory while it is built: runs of adjacent frames, in pseudo-physical order.

use alloc::vec::Vec;

use addr::{Mfn, PAGE_SIZE, Pfn, Vaddr};
use frames::PageRef;
use platform_memory::m2p;
use pv_layout::Layout;

use super::Dom0Error;
use crate::domain::Domain;
use crate::mm;

/// Adjacent frames.
struct Run {
    first_pfn: u64,
    first_mfn: u64,
    count: u64,
}

/// Largest run taken at once, as a power of two of frames: 1 GiB.
const MAX_ORDER: u32 = 18;

/// The pages that domain 0 has so far.
pub struct Pages<'d> {
    domain: &'d Domain,
    runs: Vec<Run>,
    count: u64,
}

impl<'d> Pages<'d> {
    /// No pages yet.
    pub fn new(domain: &'d Domain) -> Self {
        Self {
            domain,
            runs: Vec::new(),
            count: 0,
        }
    }

    /// Adds pages until there are `total`, from large runs to small ones.
    ///
    /// # Errors
    /// There is not so much memory.
    pub fn grow_to(&mut self, total: u64) -> Result<(), Dom0Error> {
        let mut order = MAX_ORDER;
        while self.count < total {
            let missing = total - self.count;
            while order > 0 && 1 << order > missing {
                order -= 1;
            }
            match mm::allocate_for(self.domain, order) {
                Some(first) => self.add(first, 1 << order)?,
                None if order > 0 => order -= 1,
                None => {
                    return Err(Dom0Error::Pages {
                        wanted: total,
                        got: self.count,
                    });
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, first: Mfn, count: u64) -> Result<(), Dom0Error> {
        for offset in 0..count {
            m2p::set(
                Mfn::new(first.raw() + offset),
                Pfn::new(self.count + offset),
            );
        }
        match self.runs.last_mut() {
            Some(last) if last.first_mfn + last.count == first.raw() => last.count += count,
            _ => {
                self.runs
                    .try_reserve(1)
                    .map_err(|_| Dom0Error::NoMemory("the list of its pages"))?;
                self.runs.push(Run {
                    first_pfn: self.count,
                    first_mfn: first.raw(),
                    count,
                });
            }
        }
        self.count += count;
        Ok(())
    }

    /// The frame of page `pfn`.
    pub fn frame(&self, pfn: Pfn) -> Option<Mfn> {
        let index = self
            .runs
            .partition_point(|run| run.first_pfn <= pfn.raw())
            .checked_sub(1)?;
        let run = self.runs.get(index)?;
        let offset = pfn.raw() - run.first_pfn;
        (offset < run.count).then(|| Mfn::new(run.first_mfn + offset))
    }

    /// All frames, by page number.
    pub fn frames(&self) -> impl Iterator<Item = Mfn> + '_ {
        self.runs
            .iter()
            .flat_map(|run| (run.first_mfn..run.first_mfn + run.count).map(Mfn::new))
    }

    /// A reference to page `pfn`.
    pub fn page(&self, pfn: Pfn) -> Option<PageRef<'static>> {
        mm::frame_table().get(self.frame(pfn)?, self.domain.id())
    }

    /// Writes `bytes` at `address` of the initial map. False if they would not all lie within it.
    #[must_use]
    pub fn write(&self, layout: &Layout, address: Vaddr, bytes: &[u8]) -> bool {
        self.each_part(
            layout,
            address,
            bytes.len() as u64,
            |page, offset, done, len| {
                if let Some(part) = bytes.get(done..done + len) {
                    platform_memory::map(page).copy_to(offset, part);
                }
            },
        )
    }

    /// Zeroes `len` bytes at `address` of the initial map. False if they would not all lie within it.
    #[must_use]
    pub fn clear(&self, layout: &Layout, address: Vaddr, len: u64) -> bool {
        static ZEROES: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];
        self.each_part(layout, address, len, |page, offset, _, len| {
            let page = platform_memory::map(page);
            if len == ZEROES.len() {
                page.zero();
            } else {
                page.copy_to(offset, ZEROES.get(..len).unwrap_or_default());
            }
        })
    }

    /// Calls `each` with page, offset in it, bytes done before and bytes there, for each page of a range.
    fn each_part(
        &self,
        layout: &Layout,
        address: Vaddr,
        len: u64,
        mut each: impl FnMut(&PageRef<'static>, usize, usize, usize),
    ) -> bool {
        let mut done = 0;
        while done < len {
            let Some(at) = address.checked_add(done) else {
                return false;
            };
            let Some(page) = layout.frame_at(at).and_then(|pfn| self.page(pfn)) else {
                return false;
            };
            let part = (PAGE_SIZE - at.page_offset()).min(len - done);
            each(
                &page,
                at.page_offset() as usize,
                done as usize,
                part as usize,
            );
            done += part;
        }
        true
    }
}
