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

use crate::atomic::Ordering;

use addr::Mfn;

use crate::clock::Stamp;
use crate::descriptor::check_descriptor;
use crate::entry::Entry;
use crate::environment::{Environment, IoAccess, TableView};
use crate::info::{FrameInfo, count, kind};
use crate::table::{FrameTable, PageRef, get_reference};
use crate::types::{Dropped, PageType, Pending, RootRef, TypeError, TypedRef, Work, progress};
use crate::{ENTRIES, is_hypervisor_slot};

/// Units of budget that an L1 table costs: to look for its entries, and for each two of them. (A unit is an entry
/// of a higher table, with another table behind it.)
const L1_UNITS: u32 = 16;
const ENTRIES_PER_UNIT: u32 = 2;

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
enum Failure {
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
        if info.kind.load(Ordering::Relaxed) & kind::PINNED == 0
            || info.kind.fetch_and(!kind::PINNED, Ordering::Relaxed) & kind::PINNED == 0
        {
            return Err(TypeError::Pin);
        }
        let _ = self.put(frame, work);
        Ok(())
    }

    /// Goes on undoing the tables that earlier calls left in `pending`. To be called before other work of
    /// the same vCPU.
    ///
    /// # Errors
    /// [`TypeError::Preempted`]: there is still some left.
    #[inline]
    pub fn resume(&self, owner: u16, work: &mut Work<'_>) -> Result<(), TypeError> {
        if !work.has_pending() {
            return Ok(());
        }
        self.resume_pending(owner, work)
    }

    #[cold]
    fn resume_pending(&self, owner: u16, work: &mut Work<'_>) -> Result<(), TypeError> {
        let earlier = core::mem::take(work.pending());
        for (position, frame) in earlier.frames().iter().enumerate() {
            if self
                .undo_partial(Mfn::new(u64::from(*frame)), owner, work)
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
        self.resume(owner, work)?;
        match self.unpin(frame, owner, work) {
            Err(TypeError::NotOwned) => return Ok(()),
            _ => self.resume(owner, work)?,
        }
        self.undo_partial(frame, owner, work)?;
        if work.must_stop() {
            return Err(TypeError::Preempted);
        }
        self.table.release(frame, owner);
        work.did(1);
        Ok(())
    }

    /// Undoes a partial table that no one is at work on.
    fn undo_partial(&self, frame: Mfn, owner: u16, work: &mut Work<'_>) -> Result<(), TypeError> {
        // Keeps the frame, which may be someone else's by now, while it is looked at.
        let Some(_page) = self.table.get(frame, owner) else {
            return Ok(());
        };
        let Some(info) = self.table.info(frame) else {
            return Ok(());
        };
        match self.table.claim_partial(info) {
            Some((page_type, checked)) => self.undo(frame, info, page_type, checked, work),
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
            Dropped::LastOfTable(page_type) => self.undo(frame, info, page_type, ENTRIES, work),
        }
    }

    /// Adds a writable reference to a frame to which the caller holds a general one.
    #[inline]
    pub(crate) fn take_writable(
        &self,
        frame: Mfn,
        info: &FrameInfo,
        owner: u16,
    ) -> Result<(), TypeError> {
        const WRITABLE: u64 = PageType::Writable.bits() | kind::VALIDATED;
        let word = info.kind.load(Ordering::Relaxed);
        if word & !kind::REFERENCES == WRITABLE
            && word as u32 != u32::MAX
            && info
                .kind
                .compare_exchange(word, word + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        {
            return Ok(());
        }
        match self.take_type(frame, info, PageType::Writable, owner, None) {
            Ok(()) => Ok(()),
            Err(Failure::Kept(error) | Failure::Taken(error)) => Err(error),
        }
    }

    /// Takes a writable reference away, and the general one that goes with it.
    #[inline]
    pub(crate) fn put_writable_type(&self, info: &FrameInfo) {
        // Before the count goes: whoever takes another type must see the stamp.
        self.table.stamp(info);
        info.kind.fetch_sub(1, Ordering::Release);
    }

    fn take_type(
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

    /// Checks a busy frame's content, from entry `start` on.
    fn check(
        &self,
        frame: Mfn,
        info: &FrameInfo,
        page_type: PageType,
        owner: u16,
        start: usize,
        work: Option<&mut Work<'_>>,
    ) -> Result<(), Failure> {
        match (page_type, work) {
            (PageType::None | PageType::Writable, _) => {}
            (PageType::Descriptors, _) => {
                if self.check_descriptors(frame).is_err() {
                    self.table.stamp(info);
                    info.kind.store(page_type.bits(), Ordering::Release);
                    return Err(Failure::Kept(TypeError::BadDescriptor));
                }
            }
            (_, None) => {
                // Only what needs no budget is asked for without one.
                self.table.leave_partial(info, page_type, start);
                return Err(Failure::Taken(TypeError::Preempted));
            }
            (_, Some(work)) => {
                if let Err((error, checked)) =
                    self.check_table(frame, page_type, owner, start, work)
                {
                    if error == TypeError::Preempted {
                        self.table.leave_partial(info, page_type, checked);
                    } else {
                        // Undoing gives the general reference back, or leaves it to the partial table.
                        let _ = self.undo(frame, info, page_type, checked, work);
                    }
                    return Err(Failure::Taken(error));
                }
            }
        }
        // Release: pairs with the acquire of whoever adds a reference without checking.
        info.kind
            .store(page_type.bits() | kind::VALIDATED | 1, Ordering::Release);
        Ok(())
    }

    fn check_descriptors(&self, frame: Mfn) -> Result<(), TypeError> {
        let view = self.env.view(frame);
        for index in 0..ENTRIES {
            let descriptor = view.read(index);
            let checked = check_descriptor(descriptor).ok_or(TypeError::BadDescriptor)?;
            if checked != descriptor {
                view.write(index, checked);
            }
        }
        Ok(())
    }

    /// On failure also says how many entries hold references.
    fn check_table(
        &self,
        frame: Mfn,
        page_type: PageType,
        owner: u16,
        start: usize,
        work: &mut Work<'_>,
    ) -> Result<(), (TypeError, usize)> {
        let below = match page_type {
            PageType::L1 => return self.check_l1(frame, owner, start, work),
            PageType::L2 => PageType::L1,
            PageType::L3 => PageType::L2,
            _ => PageType::L3,
        };
        let view = self.env.view(frame);
        let mut next = start;
        while let Some((index, entry)) = next_present(view, next) {
            next = index + 1;
            if page_type == PageType::L4 && is_hypervisor_slot(index) {
                continue;
            }
            if work.must_stop() {
                return Err((TypeError::Preempted, index));
            }
            let adjusted = self
                .acquire_table(entry, frame, page_type, below, owner, work)
                .map_err(|error| (error, index))?;
            if adjusted != entry {
                view.write(index, adjusted.0);
            }
            work.did(1);
        }
        if page_type == PageType::L4 {
            for slot in crate::HYPERVISOR_SLOTS {
                view.write(slot, self.env.hypervisor_entry(owner, slot));
            }
        }
        Ok(())
    }

    fn check_l1(
        &self,
        frame: Mfn,
        owner: u16,
        start: usize,
        work: &mut Work<'_>,
    ) -> Result<(), (TypeError, usize)> {
        let view = self.env.view(frame);
        let mut next = start;
        let mut present = 0;
        while let Some((index, entry)) = next_present(view, next) {
            next = index + 1;
            present += 1;
            let adjusted = self
                .get_mapping(entry, owner, owner)
                .map_err(|error| (error, index))?;
            if adjusted != entry {
                view.write(index, adjusted.0);
            }
        }
        work.did(L1_UNITS + present / ENTRIES_PER_UNIT);
        Ok(())
    }

    /// Gets the references for a present entry of an L2, L3 or L4 table, and returns the entry as it is to
    /// be written.
    pub(crate) fn acquire_table(
        &self,
        entry: Entry,
        table: Mfn,
        page_type: PageType,
        below: PageType,
        owner: u16,
        work: &mut Work<'_>,
    ) -> Result<Entry, TypeError> {
        if entry.0 & (Entry::UPPER_FORBIDDEN | self.env.reserved_bits()) != 0 {
            return Err(TypeError::ForbiddenBits);
        }
        match self.acquire(entry.frame(), below, owner, work) {
            Ok(()) => {}
            Err(TypeError::Conflict) if page_type >= PageType::L2 => {
                self.acquire_linear(entry, table, page_type, owner)?;
            }
            Err(error) => return Err(error),
        }
        Ok(entry.adjusted_upper())
    }

    /// Gets the references for a linear entry: one that maps a table of the same level, read-only.
    fn acquire_linear(
        &self,
        entry: Entry,
        table: Mfn,
        page_type: PageType,
        owner: u16,
    ) -> Result<(), TypeError> {
        if entry.is_writable() {
            return Err(TypeError::Conflict);
        }
        if entry.frame() == table {
            // A table that maps itself holds no reference to itself: it could never be given back.
            return Ok(());
        }
        let target = self.table.info(entry.frame()).ok_or(TypeError::NotOwned)?;
        let source = self.table.info(table).ok_or(TypeError::NotOwned)?;
        if !get_reference(target, owner) {
            return Err(TypeError::NotOwned);
        }
        let result = self.count_linear(source, target, page_type);
        if result.is_err() {
            self.table.put_reference(entry.frame().raw() as u32, target);
        }
        result
    }

    fn count_linear(
        &self,
        source: &FrameInfo,
        target: &FrameInfo,
        page_type: PageType,
    ) -> Result<(), TypeError> {
        // Chains would make undoing recurse as deep as a guest likes (XSA-240): a table is either the
        // source of linear entries or the target of some.
        if !step_linear(&target.linear, -1) {
            return Err(TypeError::Conflict);
        }
        if !step_linear(&source.linear, 1) {
            target.linear.fetch_add(1, Ordering::Relaxed);
            return Err(TypeError::Conflict);
        }
        let wanted = page_type.bits() | kind::VALIDATED;
        let mut word = target.kind.load(Ordering::Relaxed);
        loop {
            // It must be a table already: checking it here could go round in circles.
            if word & (kind::TYPE | kind::VALIDATED) != wanted
                || word as u32 == 0
                || word as u32 == u32::MAX
            {
                source.linear.fetch_sub(1, Ordering::Relaxed);
                target.linear.fetch_add(1, Ordering::Relaxed);
                return Err(TypeError::Conflict);
            }
            match target.kind.compare_exchange_weak(
                word,
                word + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(found) => word = found,
            }
        }
    }

    /// Gives back the references of a present entry of an L2, L3 or L4 table.
    pub(crate) fn put_table(
        &self,
        entry: Entry,
        table: Mfn,
        page_type: PageType,
        work: &mut Work<'_>,
    ) -> Result<(), TypeError> {
        let frame = entry.frame();
        if frame == table {
            return Ok(());
        }
        let Some(target) = self.table.info(frame) else {
            return Ok(());
        };
        // The entry's own type reference keeps the type what it is.
        if PageType::of(target.kind.load(Ordering::Relaxed)) == page_type {
            target.linear.fetch_add(1, Ordering::Relaxed);
            if let Some(source) = self.table.info(table) {
                source.linear.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.put(frame, work)
    }

    /// Gives back the references of the first `checked` entries of a busy table, last first, then the
    /// caller's general reference to the table.
    fn undo(
        &self,
        frame: Mfn,
        info: &FrameInfo,
        page_type: PageType,
        checked: usize,
        work: &mut Work<'_>,
    ) -> Result<(), TypeError> {
        let view = self.env.view(frame);
        let mut end = checked;
        let mut present = 0;
        while let Some((index, entry)) = last_present(view, end) {
            end = index;
            if page_type == PageType::L4 && is_hypervisor_slot(index) {
                continue;
            }
            if page_type == PageType::L1 {
                self.put_mapping(entry);
                present += 1;
                continue;
            }
            let left = if work.must_stop() {
                Some(index + 1)
            } else if self.put_table(entry, frame, page_type, work).is_err() {
                Some(index)
            } else {
                work.did(1);
                None
            };
            if let Some(left) = left {
                self.table.leave_partial(info, page_type, left);
                work.pending().push(frame.raw() as u32);
                return Err(TypeError::Preempted);
            }
        }
        if page_type == PageType::L1 {
            work.did(L1_UNITS + present / ENTRIES_PER_UNIT);
        }
        self.table.stamp(info);
        // Release: pairs with the acquire of whoever takes another type.
        info.kind.store(page_type.bits(), Ordering::Release);
        self.table.put_reference(frame.raw() as u32, info);
        Ok(())
    }

    /// Gets the references for a present entry of an L1 table of `table_owner` that maps a frame of
    /// `page_owner`, and returns the entry as it is to be written.
    #[inline]
    pub(crate) fn get_mapping(
        &self,
        entry: Entry,
        table_owner: u16,
        page_owner: u16,
    ) -> Result<Entry, TypeError> {
        self.check_mapping_bits(entry, table_owner)?;
        let frame = entry.frame();
        let info = match self.table.info(frame) {
            Some(info) if info.count.load(Ordering::Relaxed) & count::RAM != 0 => info,
            _ => return self.io_mapping(entry, table_owner, page_owner),
        };
        if !get_reference(info, page_owner) {
            return Err(TypeError::NotOwned);
        }
        if entry.is_writable()
            && let Err(error) = self.take_writable(frame, info, page_owner)
        {
            self.table.put_reference(frame.raw() as u32, info);
            return Err(error);
        }
        // COMPAT: RAM is write-back in every mapping (XSA-402: no mapping may let a check read other
        // bytes than the CPU's walker), where Xen follows what a domain with devices asks for.
        Ok(Entry(entry.0 & !Entry::CACHE).adjusted_l1())
    }

    #[inline]
    pub(crate) fn check_mapping_bits(&self, entry: Entry, owner: u16) -> Result<(), TypeError> {
        let reserved = entry.0 & (Entry::GRANT | self.env.reserved_bits());
        if reserved != 0 && reserved & !Entry::FRAME == 0 {
            // As on Xen: beyond all addresses there are devices that nobody may have.
            return Err(TypeError::IoDenied);
        }
        if reserved != 0
            || (entry.0 & Entry::CACHE != 0 && !self.env.may_set_cache_attributes(owner))
        {
            return Err(TypeError::ForbiddenBits);
        }
        Ok(())
    }

    /// Device memory: who may map it is a matter of policy; there is nothing to count.
    #[cold]
    fn io_mapping(
        &self,
        entry: Entry,
        table_owner: u16,
        page_owner: u16,
    ) -> Result<Entry, TypeError> {
        let frame = entry.frame();
        let mut access = self.env.io_access(page_owner, frame);
        if table_owner != page_owner && access != IoAccess::Denied {
            match self.env.io_access(table_owner, frame) {
                IoAccess::Full => {}
                less => access = less,
            }
        }
        match access {
            IoAccess::Denied => Err(TypeError::IoDenied),
            IoAccess::ReadOnly => Ok(Entry(entry.0 & !Entry::WRITABLE).adjusted_l1()),
            IoAccess::Full => Ok(entry.adjusted_l1()),
        }
    }

    /// Gives back the references of a present L1 entry.
    #[inline]
    pub(crate) fn put_mapping(&self, entry: Entry) {
        let frame = entry.frame();
        let Some(info) = self.table.info(frame) else {
            return;
        };
        let word = info.count.load(Ordering::Relaxed);
        if word & count::RAM == 0 {
            return;
        }
        if entry.is_writable() {
            self.put_writable_type(info);
        } else {
            self.note_read_only_unmap(info, word);
        }
        self.table.put_reference(frame.raw() as u32, info);
    }

    /// A read-only mapping of descriptors may be what an LDT was named by.
    #[inline]
    pub(crate) fn note_read_only_unmap(&self, info: &FrameInfo, count_word: u64) {
        let word = info.kind.load(Ordering::Relaxed);
        if PageType::of(word) == PageType::Descriptors && word as u32 != 0 {
            self.env.descriptor_page_unmapped(count::owner(count_word));
        }
    }

    /// Gets a general reference, for callers that have none of the validator's types in hand.
    pub fn page(&self, frame: Mfn, owner: u16) -> Option<PageRef<'t>> {
        self.table.get(frame, owner)
    }

    /// Undoes all that `pending` names, without a budget: for a vCPU that goes away with its domain
    /// still alive.
    pub fn finish(&self, owner: u16, pending: &mut Pending) {
        let mut budget = hypercall::Budget::unlimited();
        let _ = self.resume(owner, &mut Work::new(&mut budget, pending));
    }
}

/// The first present entry from `index` on.
#[inline]
fn next_present(view: impl TableView, mut index: usize) -> Option<(usize, Entry)> {
    while index < ENTRIES {
        if index.is_multiple_of(8) && !view.any_present(index) {
            index += 8;
            continue;
        }
        let entry = Entry(view.read(index));
        if entry.is_present() {
            return Some((index, entry));
        }
        index += 1;
    }
    None
}

/// The last present entry below `end`.
#[inline]
fn last_present(view: impl TableView, mut end: usize) -> Option<(usize, Entry)> {
    while end > 0 {
        if end.is_multiple_of(8) && !view.any_present(end - 8) {
            end -= 8;
            continue;
        }
        end -= 1;
        let entry = Entry(view.read(end));
        if entry.is_present() {
            return Some((end, entry));
        }
    }
    None
}

/// Adds `step` unless the count is on the other side of zero.
fn step_linear(linear: &crate::atomic::AtomicI32, step: i32) -> bool {
    linear
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            if i64::from(count) * i64::from(step) < 0 {
                None
            } else {
                count.checked_add(step)
            }
        })
        .is_ok()
}
