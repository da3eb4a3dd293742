//! Giving frames their types: checking tables entry by entry, and undoing that.
//!
//! A table is in one of four states, all in its type word:
//!
//! | state | references | flags |
//! |---|---|---|
//! | idle | 0 | none (a writable page keeps `VALIDATED`: its type costs nothing to take again) |
//! | busy | 1 | none: a CPU has it to itself, checking or undoing it |
//! | validated | ≥ 1 | `VALIDATED` |
//! | partial | 0 | `PARTIAL`: the first *progress* entries hold their references |
//!
//! Checking goes up from entry 0 and undoing down to it, so both can stop after any entry and leave a
//! partial table, and either can go on from any partial table. A partial table holds one reference
//! to its own frame and belongs to no one: a vCPU that never comes back strands nothing but frames of
//! its own domain, until the domain is torn down.
//!
//! Waiting is for tables of lower levels only, so there is no circle of waiting CPUs. Recursion is four
//! deep when checking, and seven when undoing: a linear entry leads to a table that has none (XSA-240).

use crate::ENTRIES;
use crate::atomic::Ordering;

use addr::Mfn;

use crate::check::LastUse;
use crate::clock::Stamp;
use crate::environment::Environment;
use crate::info::{FrameInfo, kind};
use crate::table::{FrameTable, PageRef, get_reference};
use crate::types::{Dropped, PageType, Pending, RootRef, TypeError, TypedRef, Work, progress};

/// Checks page tables on behalf of guests. Cheap to make: two pointers.
#[derive(Debug)]
pub struct Validator<'t, 'e, E> {
    pub(crate) table: &'t FrameTable<'t>,
    pub(crate) env: &'e E,
}

impl<E> Clone for Validator<'_, '_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Validator<'_, '_, E> {}

/// An acquisition that failed, and whether the general reference is still the caller's.
pub(crate) enum Failure {
    /// It is: the caller gives it back.
    Kept(TypeError),
    /// It became the partial table's.
    Taken(TypeError),
}

impl<'t, 'e, E: Environment> Validator<'t, 'e, E> {
    /// A validator for frames of `table` on the machine `env`.
    pub const fn new(table: &'t FrameTable<'t>, env: &'e E) -> Self {
        Self { table, env }
    }

    /// The frame table.
    pub const fn table(&self) -> &'t FrameTable<'t> {
        self.table
    }

    /// Gets a reference to a frame of `owner` with a type, checking its content if need be.
    ///
    /// # Errors
    /// Nothing is held then. After [`TypeError::Preempted`] the same call goes on.
    pub fn take(
        &self,
        frame: Mfn,
        page_type: PageType,
        owner: u16,
        work: &mut Work<'_>,
    ) -> Result<TypedRef<'t>, TypeError> {
        self.acquire(frame, page_type, owner, work)?;
        let page = self.table.adopt(frame).ok_or(TypeError::NotOwned)?;
        Ok(TypedRef::from_held(page, page_type))
    }

    /// Gets a root: a validated L4 table of `owner`.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_root(
        &self,
        frame: Mfn,
        owner: u16,
        work: &mut Work<'_>,
    ) -> Result<RootRef<'t>, TypeError> {
        self.take(frame, PageType::L4, owner, work).map(RootRef)
    }

    /// Gives a typed reference back, and undoes the table if it was the last. What the budget does not
    /// allow is left in the work's [`Pending`].
    pub fn release(&self, reference: TypedRef<'t>, work: &mut Work<'_>) {
        let frame = reference.leak();
        // A table left half undone is on the pending list.
        let _ = self.put(frame, work);
    }

    /// Gives a root back; see [`release`](Self::release).
    pub fn release_root(&self, root: RootRef<'t>, work: &mut Work<'_>) {
        self.release(root.0, work);
    }

    /// Pins a frame of `owner` as a table: it keeps its type without being in use.
    ///
    /// # Errors
    /// [`TypeError::Pin`] if it is pinned already, else as [`take`](Self::take).
    pub fn pin(
        &self,
        frame: Mfn,
        page_type: PageType,
        owner: u16,
        work: &mut Work<'_>,
    ) -> Result<(), TypeError> {
        self.acquire(frame, page_type, owner, work)?;
        let info = self.table.info(frame).ok_or(TypeError::NotOwned)?;
        let before = info.kind.fetch_or(kind::PINNED, Ordering::Relaxed);
        if before & kind::PINNED != 0 {
            // The first pin's reference is still there: this one is not the last.
            let _ = self.put(frame, work);
            return Err(TypeError::Pin);
        }
        Ok(())
    }

    /// Takes the pin from a frame of `owner`. What the budget does not allow to be undone is left in the
    /// work's [`Pending`].
    ///
    /// # Errors
    /// [`TypeError::NotOwned`], [`TypeError::Pin`] if it is not pinned.
    pub fn unpin(&self, frame: Mfn, owner: u16, work: &mut Work<'_>) -> Result<(), TypeError> {
        let _page = self.table.get(frame, owner).ok_or(TypeError::NotOwned)?;
        let info = self.table.info(frame).ok_or(TypeError::NotOwned)?;
        let mut word = info.kind.load(Ordering::Relaxed);
        loop {
            if word & kind::PINNED == 0 {
                return Err(TypeError::Pin);
            }
            // Only the pin keeps it: it was stamped when the last table or CPU let go of it, or was never used since it
            // got its type. A guest that unpins many tables has the first flush stand for all.
            let is_last = word as u32 == 1;
            let page_type = PageType::of(word);
            let new = if !is_last {
                word & !kind::PINNED
            } else if word & kind::LOCKED == 0 {
                page_type.bits() | 1
            } else {
                // XSA-242: whoever holds the lock relies on the type.
                self.env.relax();
                word = info.kind.load(Ordering::Relaxed);
                continue;
            };
            match info
                .kind
                .compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if is_last => {
                    let _ = self.undo(frame, info, page_type, ENTRIES, LastUse::Stamped, work);
                    return Ok(());
                }
                Ok(_) => {
                    let _ = self.put(frame, work);
                    return Ok(());
                }
                Err(found) => word = found,
            }
        }
    }

    /// Goes on undoing the tables that earlier calls left in `pending`, which may be those of another domain: of one
    /// that the vCPU's controls. To be called before other work of the same vCPU.
    ///
    /// # Errors
    /// [`TypeError::Preempted`]: there is still some left.
    #[inline]
    pub fn resume(&self, work: &mut Work<'_>) -> Result<(), TypeError> {
        if !work.has_pending() {
            return Ok(());
        }
        self.resume_pending(work)
    }

    #[cold]
    fn resume_pending(&self, work: &mut Work<'_>) -> Result<(), TypeError> {
        let earlier = core::mem::take(work.pending());
        for (position, frame) in earlier.frames().iter().enumerate() {
            if self
                .undo_partial(Mfn::new(u64::from(*frame)), work)
                .is_err()
            {
                for later in earlier.frames().iter().skip(position + 1) {
                    work.pending().push(*later);
                }
                return Err(TypeError::Preempted);
            }
        }
        Ok(())
    }

    /// One step of tearing a domain down: takes a frame's pin, undoes it if it is partial, and gives up
    /// the domain's allocation of it. The domain's vCPUs run no more and have given up their roots.
    ///
    /// # Errors
    /// [`TypeError::Preempted`]: the same call goes on.
    pub fn relinquish(&self, frame: Mfn, owner: u16, work: &mut Work<'_>) -> Result<(), TypeError> {
        self.resume(work)?;
        match self.unpin(frame, owner, work) {
            Err(TypeError::NotOwned) => return Ok(()),
            _ => self.resume(work)?,
        }
        self.undo_partial(frame, work)?;
        if work.must_stop() {
            return Err(TypeError::Preempted);
        }
        self.table.release(frame, owner);
        work.did(1);
        Ok(())
    }

    /// Undoes a partial table that no one is at work on, whosever it is: that is never wrong.
    fn undo_partial(&self, frame: Mfn, work: &mut Work<'_>) -> Result<(), TypeError> {
        // Keeps the frame, which may be someone else's by now, while it is looked at.
        let Some(_page) = self.table.get_any(frame) else {
            return Ok(());
        };
        let Some(info) = self.table.info(frame) else {
            return Ok(());
        };
        match self.table.claim_partial(info) {
            Some((page_type, checked)) => {
                self.undo(frame, info, page_type, checked, LastUse::Now, work)
            }
            None => Ok(()),
        }
    }

    /// Gets a general and a type reference.
    pub(crate) fn acquire(
        &self,
        frame: Mfn,
        page_type: PageType,
        owner: u16,
        work: &mut Work<'_>,
    ) -> Result<(), TypeError> {
        let info = self.table.info(frame).ok_or(TypeError::NotOwned)?;
        if !get_reference(info, owner) {
            return Err(TypeError::NotOwned);
        }
        match self.take_type(frame, info, page_type, owner, Some(work)) {
            Ok(()) => Ok(()),
            Err(Failure::Kept(error)) => {
                self.table.put_reference(frame.raw() as u32, info);
                Err(error)
            }
            Err(Failure::Taken(error)) => Err(error),
        }
    }

    /// Gives a general and a type reference back.
    ///
    /// # Errors
    /// [`TypeError::Preempted`]: both are gone, but a table is left half undone, and on the pending list.
    pub(crate) fn put(&self, frame: Mfn, work: &mut Work<'_>) -> Result<(), TypeError> {
        let Some(info) = self.table.info(frame) else {
            return Ok(());
        };
        match self.table.put_type(info, || self.env.relax()) {
            Dropped::Done => {
                self.table.put_reference(frame.raw() as u32, info);
                Ok(())
            }
            Dropped::LastOfTable(page_type) => {
                self.undo(frame, info, page_type, ENTRIES, LastUse::Now, work)
            }
        }
    }

    pub(crate) fn take_type(
        &self,
        frame: Mfn,
        info: &FrameInfo,
        page_type: PageType,
        owner: u16,
        work: Option<&mut Work<'_>>,
    ) -> Result<(), Failure> {
        let mut word = info.kind.load(Ordering::Acquire);
        loop {
            let current = PageType::of(word);
            let references = word as u32;
            if references == u32::MAX {
                return Err(Failure::Kept(TypeError::TooMany));
            }
            let partial = word & kind::PARTIAL != 0;
            if current != page_type && (references != 0 || partial) {
                return Err(Failure::Kept(TypeError::Conflict));
            }
            if references != 0 && word & kind::VALIDATED == 0 {
                // Another CPU is at it, on a table of a lower level than any that we keep busy.
                self.env.relax();
                word = info.kind.load(Ordering::Acquire);
                continue;
            }
            let new = if word & kind::VALIDATED != 0 && current == page_type {
                word + 1
            } else {
                page_type.bits() | 1
            };
            // Acquire: pairs with the release of the type by `put_type`.
            if let Err(found) =
                info.kind
                    .compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Acquire)
            {
                word = found;
                continue;
            }
            if new & kind::VALIDATED != 0 {
                return Ok(());
            }
            // The frame is ours alone now, and its type taken: no new mapping of another type can come
            // up behind the flush (XSA-401). A frame of no type comes flushed from the allocator.
            if current != page_type && current != PageType::None {
                let stamp = Stamp(info.stamp.load(Ordering::Relaxed));
                self.env.flush_stale(owner, stamp);
            }
            let start = if partial {
                // The partial table's own reference; we hold another.
                self.table.put_reference(frame.raw() as u32, info);
                progress(word)
            } else {
                0
            };
            return self.check(frame, info, page_type, owner, start, work);
        }
    }

    /// Gets a general reference, for callers that have none of the validator's types in hand.
    pub fn page(&self, frame: Mfn, owner: u16) -> Option<PageRef<'t>> {
        self.table.get(frame, owner)
    }

    /// Undoes all that `pending` names, without a budget: for a vCPU that goes away with its domain
    /// still alive.
    pub fn finish(&self, pending: &mut Pending) {
        let mut budget = hypercall::Budget::unlimited();
        let _ = self.resume(&mut Work::new(&mut budget, pending));
    }
}
