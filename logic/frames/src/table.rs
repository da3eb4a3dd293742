//! The frame table: ownership and references.
//!
//! A frame whose last reference goes is pushed on the table's *limbo* list, which takes no lock: a
//! reference may be dropped anywhere. Whoever holds the allocator's lock collects limbo.

use crate::atomic::{AtomicU32, Ordering, const_fn};
use core::fmt;
use core::mem::ManuallyDrop;

use addr::Mfn;

use crate::clock::{FlushClock, Stamp};
use crate::info::{FrameInfo, NO_FRAME, count, kind};
use crate::types::PageType;

/// The owner of frames that are the hypervisor's: no domain, and not `DOMID_XEN` either, by which a privileged domain
/// names what is shared with it. Nobody can name these.
pub const HYPERVISOR_OWNER: u16 = u16::MAX;
/// The owner of frames that are device memory.
pub const DOMID_IO: u16 = 0x7ff1;

/// What is known of a frame at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameReport {
    /// Its owner, if it has references.
    pub owner: u16,
    /// Its references.
    pub references: u32,
    /// It is RAM that the table manages.
    pub is_ram: bool,
    /// One of the references is the owner's allocation.
    pub is_allocated: bool,
    /// Its type; without type references, the last one it had.
    pub page_type: PageType,
    /// Its type references.
    pub type_references: u32,
    /// One of the type references is a pin.
    pub is_pinned: bool,
    /// Its content is checked.
    pub is_validated: bool,
    /// The entries that hold references, if it is a table half checked or half undone.
    pub partial_entries: Option<usize>,
}

/// All frames of the machine, by number.
#[derive(Debug)]
pub struct FrameTable<'t> {
    frames: &'t [FrameInfo],
    limbo: AtomicU32,
    clock: FlushClock,
}

impl<'t> FrameTable<'t> {
    const_fn! {
        /// A table over this book-keeping; frame *n* is `frames[n]`.
        pub const fn new(frames: &'t [FrameInfo]) -> Self {
            Self {
                frames,
                limbo: AtomicU32::new(NO_FRAME),
                clock: FlushClock::new(),
            }
        }
    }

    /// Number of frames, managed or not: one above the highest frame number.
    #[inline]
    pub const fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are no frames at all.
    pub const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The clock that orders TLB flushes and stamps.
    #[inline]
    pub const fn clock(&self) -> &FlushClock {
        &self.clock
    }

    #[inline]
    pub(crate) fn info(&self, frame: Mfn) -> Option<&'t FrameInfo> {
        self.frames.get(usize::try_from(frame.raw()).ok()?)
    }

    /// Whether `frame` is RAM that this table manages.
    #[inline]
    pub fn is_ram(&self, frame: Mfn) -> bool {
        self.info(frame)
            .is_some_and(|info| info.count.load(Ordering::Relaxed) & count::RAM != 0)
    }

    /// The owner of `frame` and the number of its references at this moment; `None` if it is no RAM or
    /// nobody's. For reports; a decision needs a [`PageRef`].
    pub fn owner(&self, frame: Mfn) -> Option<(u16, u32)> {
        let word = self.info(frame)?.count.load(Ordering::Acquire);
        if word & count::RAM == 0 || word & count::REFERENCES == 0 {
            return None;
        }
        Some((count::owner(word), word as u32))
    }

    /// All that is known of `frame` at this moment. For reports and tests.
    pub fn report(&self, frame: Mfn) -> Option<FrameReport> {
        let info = self.info(frame)?;
        let count_word = info.count.load(Ordering::Acquire);
        let kind_word = info.kind.load(Ordering::Acquire);
        Some(FrameReport {
            owner: count::owner(count_word),
            references: count_word as u32,
            is_ram: count_word & count::RAM != 0,
            is_allocated: count_word & count::ALLOCATED != 0,
            page_type: PageType::of(kind_word),
            type_references: kind_word as u32,
            is_pinned: kind_word & kind::PINNED != 0,
            is_validated: kind_word & kind::VALIDATED != 0,
            partial_entries: (kind_word & kind::PARTIAL != 0)
                .then(|| crate::types::progress(kind_word)),
        })
    }

    /// Marks RAM as the hypervisor's own, for good (or until the allocator is given it): nobody can get a
    /// reference to it. For boot.
    pub fn reserve(&self, frame: Mfn) {
        if let Some(info) = self.info(frame) {
            let word = 1
                | owner_bits(HYPERVISOR_OWNER)
                | count::RAM
                | count::ALLOCATED
                | count::HYPERVISOR;
            info.count.store(word, Ordering::Release);
        }
    }

    /// Gets a reference to a frame that `owner` owns.
    #[inline]
    pub fn get(&'t self, frame: Mfn, owner: u16) -> Option<PageRef<'t>> {
        let info = self.info(frame)?;
        if !get_reference(info, owner) {
            return None;
        }
        Some(PageRef {
            table: self,
            frame: frame.raw() as u32,
        })
    }

    /// Gets a reference to a frame whoever owns it; the owner is the reference's
    /// [`owner`](PageRef::owner).
    pub fn get_any(&'t self, frame: Mfn) -> Option<PageRef<'t>> {
        let info = self.info(frame)?;
        let mut word = info.count.load(Ordering::Relaxed);
        loop {
            if word & count::RAM == 0 || !can_count(word) {
                return None;
            }
            match info.count.compare_exchange_weak(
                word,
                word + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(found) => word = found,
            }
        }
        Some(PageRef {
            table: self,
            frame: frame.raw() as u32,
        })
    }

    /// Takes back a reference that was [`leak`](PageRef::leak)ed. The caller answers for it that there
    /// is one, and that nobody else takes it back.
    pub fn adopt(&'t self, frame: Mfn) -> Option<PageRef<'t>> {
        let info = self.info(frame)?;
        if info.count.load(Ordering::Relaxed) & count::REFERENCES == 0 {
            return None;
        }
        Some(PageRef {
            table: self,
            frame: frame.raw() as u32,
        })
    }

    #[inline]
    pub(crate) fn put_reference(&self, frame: u32, info: &FrameInfo) {
        // Release: what was done with the frame is done before another may take it.
        let before = info.count.fetch_sub(1, Ordering::Release);
        if before & count::REFERENCES == 1 {
            self.push_limbo(frame, info);
        }
    }

    #[cold]
    fn push_limbo(&self, frame: u32, info: &FrameInfo) {
        let mut head = self.limbo.load(Ordering::Relaxed);
        loop {
            info.stamp.store(head, Ordering::Relaxed);
            // Release: pairs with the swap in `take_limbo`; the link is there before the frame is.
            match self.limbo.compare_exchange_weak(
                head,
                frame,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(found) => head = found,
            }
        }
    }

    /// Whether frames wait in limbo.
    #[inline]
    pub fn has_limbo(&self) -> bool {
        self.limbo.load(Ordering::Relaxed) != NO_FRAME
    }

    /// Takes every frame in limbo. Each has to be given to the allocator (or its lender).
    pub fn take_limbo(&'t self) -> Limbo<'t> {
        Limbo {
            table: self,
            // Acquire: pairs with `push_limbo`, and through it with the last `put_reference`.
            next: self.limbo.swap(NO_FRAME, Ordering::Acquire),
        }
    }
}

#[inline]
pub(crate) const fn owner_bits(owner: u16) -> u64 {
    (owner as u64) << count::OWNER_SHIFT
}

/// Whether a reference can be added: there is one already, and room for another.
#[inline]
pub(crate) const fn can_count(word: u64) -> bool {
    (word as u32).wrapping_sub(1) < u32::MAX - 1
}

/// Adds a reference if `owner` owns the frame.
#[inline]
pub(crate) fn get_reference(info: &FrameInfo, owner: u16) -> bool {
    let mut word = info.count.load(Ordering::Relaxed);
    loop {
        if !can_count(word) || count::owner(word) != owner {
            return false;
        }
        match info
            .count
            .compare_exchange_weak(word, word + 1, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => return true,
            Err(found) => word = found,
        }
    }
}

/// The frames that were in limbo when it was emptied.
#[derive(Debug)]
pub struct Limbo<'t> {
    table: &'t FrameTable<'t>,
    next: u32,
}

impl<'t> Iterator for Limbo<'t> {
    type Item = LimboFrame<'t>;

    fn next(&mut self) -> Option<LimboFrame<'t>> {
        if self.next == NO_FRAME {
            return None;
        }
        let frame = self.next;
        let info = self.table.info(Mfn::new(u64::from(frame)))?;
        self.next = info.stamp.load(Ordering::Relaxed);
        // Read-only mappings leave no stamp, so the frame counts as used until now.
        info.stamp
            .store(self.table.clock.now().0, Ordering::Relaxed);
        Some(LimboFrame {
            table: self.table,
            frame,
        })
    }
}

impl Drop for Limbo<'_> {
    fn drop(&mut self) {
        // Frames that were not taken go back.
        self.for_each(drop);
    }
}

/// A frame without references, on its way to the allocator. Dropped instead, it goes back to limbo.
#[derive(Debug)]
#[must_use = "give it to the allocator"]
pub struct LimboFrame<'t> {
    table: &'t FrameTable<'t>,
    frame: u32,
}

impl LimboFrame<'_> {
    /// The frame's number.
    pub fn frame(&self) -> Mfn {
        Mfn::new(u64::from(self.frame))
    }

    /// The last owner, whose account and list of frames it is still on.
    pub fn owner(&self) -> u16 {
        count::owner(self.word())
    }

    /// Whether the owner only had it on loan from the hypervisor: it is on none of the owner's accounts.
    pub fn is_lent(&self) -> bool {
        self.word() & count::HYPERVISOR != 0
    }

    fn word(&self) -> u64 {
        self.table
            .info(self.frame())
            .map_or(0, |info| info.count.load(Ordering::Relaxed))
    }

    /// When it was last in use.
    pub fn stamp(&self) -> Stamp {
        Stamp(
            self.table
                .info(self.frame())
                .map_or(0, |info| info.stamp.load(Ordering::Relaxed)),
        )
    }

    pub(crate) fn into_number(self) -> u32 {
        ManuallyDrop::new(self).frame
    }
}

impl Drop for LimboFrame<'_> {
    fn drop(&mut self) {
        if let Some(info) = self.table.info(self.frame()) {
            self.table.push_limbo(self.frame, info);
        }
    }
}

/// Adjacent frames that have left limbo and are freed in one piece. Dropped instead, they go back to limbo.
#[derive(Debug)]
#[must_use = "give it to the allocator"]
pub struct LimboRun<'t> {
    table: &'t FrameTable<'t>,
    first: u32,
    frames: u32,
}

impl<'t> LimboRun<'t> {
    /// Of one frame.
    pub fn new(frame: LimboFrame<'t>) -> Self {
        Self {
            table: frame.table,
            first: frame.into_number(),
            frames: 1,
        }
    }

    /// Adds a frame at either end.
    ///
    /// # Errors
    /// The frame, if it is not next to the run.
    pub fn add(&mut self, frame: LimboFrame<'t>) -> Result<(), LimboFrame<'t>> {
        if self.first.checked_sub(1) == Some(frame.frame) {
            self.first -= 1;
        } else if self.first.checked_add(self.frames) != Some(frame.frame) {
            return Err(frame);
        }
        self.frames += 1;
        frame.into_number();
        Ok(())
    }

    /// The first frame's number, and how many there are.
    pub(crate) fn into_numbers(self) -> (u32, u32) {
        let run = ManuallyDrop::new(self);
        (run.first, run.frames)
    }
}

impl Drop for LimboRun<'_> {
    fn drop(&mut self) {
        for frame in self.first..self.first + self.frames {
            if let Some(info) = self.table.info(Mfn::new(u64::from(frame))) {
                self.table.push_limbo(frame, info);
            }
        }
    }
}

/// A reference to a frame: while it lives, the frame has its owner and content.
pub struct PageRef<'t> {
    table: &'t FrameTable<'t>,
    frame: u32,
}

impl<'t> PageRef<'t> {
    /// The frame's number.
    #[inline]
    pub fn frame(&self) -> Mfn {
        Mfn::new(u64::from(self.frame))
    }

    /// The frame's owner.
    pub fn owner(&self) -> u16 {
        self.info().map_or(HYPERVISOR_OWNER, |info| {
            count::owner(info.count.load(Ordering::Relaxed))
        })
    }

    /// References to the frame just now, this one among them.
    pub fn references(&self) -> u32 {
        self.info().map_or(0, |info| {
            (info.count.load(Ordering::Acquire) & count::REFERENCES) as u32
        })
    }

    /// The table that the frame is in.
    pub fn table(&self) -> &'t FrameTable<'t> {
        self.table
    }

    /// Another reference to the same frame; `None` if there are too many.
    pub fn try_clone(&self) -> Option<Self> {
        self.table.get_any(self.frame())
    }

    /// Turns the reference into one that a page-table entry or other memory holds;
    /// [`FrameTable::adopt`] takes it back.
    pub fn leak(self) -> Mfn {
        ManuallyDrop::new(self).frame()
    }

    fn info(&self) -> Option<&'t FrameInfo> {
        self.table.info(self.frame())
    }
}

impl Drop for PageRef<'_> {
    fn drop(&mut self) {
        if let Some(info) = self.info() {
            self.table.put_reference(self.frame, info);
        }
    }
}

impl fmt::Debug for PageRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageRef({:#x})", self.frame)
    }
}

/// A list of frames, linked through the frame table. A frame is on one list at most; whoever locks the
/// list owns the links of the frames on it.
#[derive(Debug)]
pub struct FrameList {
    first: u32,
    len: usize,
}

impl FrameList {
    /// An empty list.
    pub const fn new() -> Self {
        Self {
            first: NO_FRAME,
            len: 0,
        }
    }

    /// Number of frames on the list.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first frame.
    pub fn first(&self) -> Option<Mfn> {
        (self.first != NO_FRAME).then(|| Mfn::new(u64::from(self.first)))
    }

    /// The frame after `frame`, which is on this list.
    pub fn next(&self, table: &FrameTable<'_>, frame: Mfn) -> Option<Mfn> {
        let next = table.info(frame)?.next.load(Ordering::Relaxed);
        (next != NO_FRAME).then(|| Mfn::new(u64::from(next)))
    }

    /// Puts `frame`, which is on no list, in front.
    pub fn push(&mut self, table: &FrameTable<'_>, frame: Mfn) {
        let Some(info) = table.info(frame) else {
            return;
        };
        info.previous.store(NO_FRAME, Ordering::Relaxed);
        info.next.store(self.first, Ordering::Relaxed);
        if let Some(first) = self.first().and_then(|first| table.info(first)) {
            first.previous.store(frame.raw() as u32, Ordering::Relaxed);
        }
        self.first = frame.raw() as u32;
        self.len += 1;
    }

    /// Takes `frame`, which is on this list, out.
    pub fn remove(&mut self, table: &FrameTable<'_>, frame: Mfn) {
        let Some(info) = table.info(frame) else {
            return;
        };
        let next = info.next.load(Ordering::Relaxed);
        let previous = info.previous.load(Ordering::Relaxed);
        if let Some(info) = table.info(Mfn::new(u64::from(next))) {
            info.previous.store(previous, Ordering::Relaxed);
        }
        match table.info(Mfn::new(u64::from(previous))) {
            Some(info) => info.next.store(next, Ordering::Relaxed),
            None => self.first = next,
        }
        self.len = self.len.saturating_sub(1);
    }

    /// Takes the first frame out.
    pub fn pop(&mut self, table: &FrameTable<'_>) -> Option<Mfn> {
        let first = self.first()?;
        self.remove(table, first);
        Some(first)
    }
}

impl Default for FrameList {
    fn default() -> Self {
        Self::new()
    }
}
