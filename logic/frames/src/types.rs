//! Page types as values: what a frame is used as, a reference of that type, and what can go wrong.

use crate::atomic::Ordering;
use core::fmt;
use core::mem::ManuallyDrop;

use addr::Mfn;
use hypercall::Budget;

use crate::clock::Stamp;
use crate::info::{FrameInfo, kind};
use crate::table::{FrameTable, PageRef};

/// What a frame is used as (`PGT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum PageType {
    /// Nothing in particular: read-only mappings need no type.
    None = 0,
    /// Page table, lowest level.
    L1 = 1,
    /// Page table.
    L2 = 2,
    /// Page table.
    L3 = 3,
    /// Page table, top level.
    L4 = 4,
    /// Holds segment descriptors.
    Descriptors = 5,
    /// May be mapped writable.
    Writable = 7,
}

impl PageType {
    /// The type of a table of `level` 1 to 4.
    pub const fn table(level: u32) -> Option<Self> {
        match level {
            1 => Some(Self::L1),
            2 => Some(Self::L2),
            3 => Some(Self::L3),
            4 => Some(Self::L4),
            _ => None,
        }
    }

    /// The level of a table; 0 for what is no table.
    pub const fn level(self) -> u32 {
        match self {
            Self::L1 => 1,
            Self::L2 => 2,
            Self::L3 => 3,
            Self::L4 => 4,
            _ => 0,
        }
    }

    pub(crate) const fn bits(self) -> u64 {
        (self as u64) << kind::TYPE_SHIFT
    }

    #[inline]
    pub(crate) const fn of(word: u64) -> Self {
        match (word & kind::TYPE) >> kind::TYPE_SHIFT {
            1 => Self::L1,
            2 => Self::L2,
            3 => Self::L3,
            4 => Self::L4,
            5 => Self::Descriptors,
            7 => Self::Writable,
            _ => Self::None,
        }
    }
}

/// Why a type, or an entry, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeError {
    /// There is no such frame, or it is not the domain's.
    NotOwned,
    /// The frame is in use as something else.
    Conflict,
    /// A page that a table maps is not the domain's, or in use as something else.
    MappedPage,
    /// An entry has bits that a guest may not set.
    ForbiddenBits,
    /// The domain may not map this device memory.
    IoDenied,
    /// The slot is the hypervisor's.
    HypervisorSlot,
    /// The frame is no page table.
    NotATable,
    /// The frame is pinned already, or is not pinned.
    Pin,
    /// A page of descriptors has one that a guest may not have.
    BadDescriptor,
    /// There are as many references as can be counted.
    TooMany,
    /// The budget is spent. What is done is kept; the same call again goes on from there.
    Preempted,
}

/// Tables whose last type reference is gone but whose entries are not all given back, deepest first.
///
/// These are hints: each such table keeps itself alive and can be taken up by anyone. A vCPU keeps the
/// list, and calls [`Validator::resume`](crate::Validator::resume) before it does more of the kind.
#[derive(Debug, Default)]
pub struct Pending {
    frames: [u32; Self::DEPTH],
    len: u8,
}

impl Pending {
    /// Three levels above L1, each perhaps through one linear entry, and the top.
    const DEPTH: usize = 8;

    /// No tables.
    pub const fn new() -> Self {
        Self {
            frames: [0; Self::DEPTH],
            len: 0,
        }
    }

    /// Whether nothing is left to do.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, frame: u32) {
        // A frame that does not fit stays partial until its domain is torn down.
        if let Some(slot) = self.frames.get_mut(usize::from(self.len)) {
            *slot = frame;
            self.len += 1;
        }
    }

    pub(crate) fn frames(&self) -> &[u32] {
        self.frames.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// What a long operation may spend, and where it leaves what it could not finish.
#[derive(Debug)]
pub struct Work<'b> {
    budget: &'b mut Budget,
    pending: &'b mut Pending,
    /// Each call gets something done, however small its budget.
    worked: bool,
}

impl<'b> Work<'b> {
    /// Work within `budget`; `pending` is the calling vCPU's.
    pub fn new(budget: &'b mut Budget, pending: &'b mut Pending) -> Self {
        Self {
            budget,
            pending,
            worked: false,
        }
    }

    #[inline]
    pub(crate) fn must_stop(&self) -> bool {
        self.worked && self.budget.is_exhausted()
    }

    #[inline]
    pub(crate) fn did(&mut self, units: u32) {
        self.worked = true;
        // Whether anything is left is asked before the next piece.
        let _ = self.budget.spend(units);
    }

    pub(crate) fn pending(&mut self) -> &mut Pending {
        self.pending
    }

    /// Whether a table is left half undone.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// A reference to a frame together with a reference to its type.
///
/// Dropped, it gives both back. If it was the last of a page table, the table's entries keep theirs
/// until the frame gets a type again or its domain is torn down: use
/// [`Validator::release`](crate::Validator::release) to undo the table.
pub struct TypedRef<'t> {
    page: ManuallyDrop<PageRef<'t>>,
    page_type: PageType,
}

impl<'t> TypedRef<'t> {
    /// Both references are held already.
    pub(crate) fn from_held(page: PageRef<'t>, page_type: PageType) -> Self {
        Self {
            page: ManuallyDrop::new(page),
            page_type,
        }
    }

    /// The frame's number.
    #[inline]
    pub fn frame(&self) -> Mfn {
        self.page.frame()
    }

    /// The type.
    pub fn page_type(&self) -> PageType {
        self.page_type
    }

    /// The general reference.
    #[inline]
    pub fn page(&self) -> &PageRef<'t> {
        &self.page
    }

    /// Turns both references into ones that something else holds.
    pub fn leak(self) -> Mfn {
        ManuallyDrop::new(self).frame()
    }

    /// Another reference of the same type to the same frame.
    pub fn try_clone(&self) -> Option<Self> {
        let page = self.page.try_clone()?;
        let info = page.table().info(self.frame())?;
        let mut word = info.kind.load(Ordering::Relaxed);
        loop {
            if word as u32 == u32::MAX {
                return None;
            }
            match info.kind.compare_exchange_weak(
                word,
                word + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(Self::from_held(page, self.page_type)),
                Err(found) => word = found,
            }
        }
    }
}

impl Drop for TypedRef<'_> {
    fn drop(&mut self) {
        let table = self.page.table();
        let frame = self.page.frame();
        if let Some(info) = table.info(frame) {
            table.drop_typed(frame.raw() as u32, info);
        }
    }
}

impl fmt::Debug for TypedRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypedRef({:#x}: {:?})", self.frame(), self.page_type)
    }
}

/// A validated top-level table: what a CPU may load as its root.
#[derive(Debug)]
pub struct RootRef<'t>(pub(crate) TypedRef<'t>);

impl<'t> RootRef<'t> {
    /// The table's frame.
    #[inline]
    pub fn frame(&self) -> Mfn {
        self.0.frame()
    }

    /// The reference underneath.
    pub fn typed(&self) -> &TypedRef<'t> {
        &self.0
    }

    /// Another reference to the same root.
    pub fn try_clone(&self) -> Option<Self> {
        self.0.try_clone().map(Self)
    }
}

/// What became of a type reference that was given back.
pub(crate) enum Dropped {
    /// It was not the last, or nothing hangs on the type.
    Done,
    /// It was the last of a table: the caller has the table to itself and undoes its entries.
    LastOfTable(PageType),
}

impl FrameTable<'_> {
    /// Takes a type reference away. With [`Dropped::LastOfTable`] the count stays at 1 and the table is
    /// neither validated nor partial: it is the caller's alone.
    #[inline]
    pub(crate) fn put_type(&self, info: &FrameInfo, relax: impl Fn()) -> Dropped {
        let mut word = info.kind.load(Ordering::Relaxed);
        loop {
            let page_type = PageType::of(word);
            let (new, result) = if word as u32 > 1 {
                if word as u32 == 2 && word & kind::PINNED != 0 {
                    // No table and no CPU refers to it from now on, only its pin: see `Validator::unpin`.
                    self.stamp(info);
                }
                (word - 1, Dropped::Done)
            } else if word & kind::LOCKED != 0 {
                // XSA-242: whoever holds the lock relies on the type.
                relax();
                word = info.kind.load(Ordering::Relaxed);
                continue;
            } else if page_type.level() != 0 {
                (page_type.bits() | 1, Dropped::LastOfTable(page_type))
            } else {
                // Before the count goes: whoever takes another type must see the stamp.
                self.stamp(info);
                let keep = match page_type {
                    PageType::Writable => kind::VALIDATED,
                    _ => 0,
                };
                (page_type.bits() | keep, Dropped::Done)
            };
            // Release: what was done under the type is done before it goes. Pairs with `take_type`.
            match info
                .kind
                .compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return result,
                Err(found) => word = found,
            }
        }
    }

    #[inline]
    pub(crate) fn stamp(&self, info: &FrameInfo) {
        let now = self.clock().now();
        let mut before = info.stamp.load(Ordering::Relaxed);
        // Stamps go up only: another CPU that gives up a use at the same time may have read the clock later, and its
        // stamp must not be lost to ours.
        while before != now.0 && self.clock().later(Stamp(before), now) == now {
            match info.stamp.compare_exchange_weak(
                before,
                now.0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(found) => before = found,
            }
        }
    }

    /// Leaves a table that the caller has to itself with `progress` entries that hold references. The
    /// caller's general reference becomes the table's own.
    pub(crate) fn leave_partial(&self, info: &FrameInfo, page_type: PageType, progress: usize) {
        self.stamp(info);
        let word = page_type.bits() | kind::PARTIAL | ((progress as u64) << kind::PROGRESS_SHIFT);
        // Release: pairs with the claim in `take_type` and `claim_partial`.
        info.kind.store(word, Ordering::Release);
    }

    /// Takes a partial table for oneself; its own general reference becomes the caller's. Returns the
    /// type and the progress.
    pub(crate) fn claim_partial(&self, info: &FrameInfo) -> Option<(PageType, usize)> {
        let word = info.kind.load(Ordering::Relaxed);
        if word & kind::PARTIAL == 0 {
            return None;
        }
        let page_type = PageType::of(word);
        info.kind
            .compare_exchange(
                word,
                page_type.bits() | 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .ok()?;
        Some((page_type, progress(word)))
    }

    fn drop_typed(&self, frame: u32, info: &FrameInfo) {
        match self.put_type(info, core::hint::spin_loop) {
            Dropped::Done => self.put_reference(frame, info),
            Dropped::LastOfTable(page_type) => {
                self.leave_partial(info, page_type, crate::ENTRIES);
            }
        }
    }
}

/// The number of checked entries of a partial table.
#[inline]
pub(crate) const fn progress(word: u64) -> usize {
    ((word & kind::PROGRESS) >> kind::PROGRESS_SHIFT) as usize
}
