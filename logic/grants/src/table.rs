//! The grants of a domain.

use alloc::vec::Vec;
use core::mem::offset_of;

use shared_page::SharedPage;
use xen_abi::errno::Errno;
use xen_abi::grant_table::{
    GTF_PERMIT_ACCESS, GTF_READING, GTF_READONLY, GTF_SUB_PAGE, GTF_TYPE_MASK, GTF_WRITING,
    GrantEntryV1,
};
use xen_abi::{DomId, GrantRef};

use crate::pin::{Access, Counts, Pin, Purpose};
use crate::status::Status;

/// Entries in a frame.
pub const ENTRIES_PER_FRAME: u32 = 4096 / size_of::<GrantEntryV1>() as u32;

/// Attempts to exchange an entry's flags before the guest counts as working against it.
const ATTEMPTS: usize = 5;

const _: () = assert!(offset_of!(GrantEntryV1, flags) == 0 && offset_of!(GrantEntryV1, domid) == 2);

/// An entry's use.
struct Active<F> {
    counts: Counts,
    /// Who uses it, while it is pinned.
    user: DomId,
    /// The frame, while it is pinned.
    frame: Option<F>,
}

impl<F> Active<F> {
    const UNUSED: Self = Self {
        counts: Counts::NONE,
        user: 0,
        frame: None,
    };
}

/// The grants of a domain: `P` is a frame that it shares with the hypervisor for the entries, `F` a reference to a
/// granted frame, which keeps that from being freed. See the crate's page.
pub struct GrantTable<P, F> {
    max_frames: u32,
    frames: Vec<P>,
    /// For each frame, its entries' use.
    active: Vec<Vec<Active<F>>>,
    /// Entries in use.
    pinned: u32,
    dying: bool,
}

impl<P: SharedPage, F> GrantTable<P, F> {
    /// Makes a table that may grow to `max_frames` frames, and has none yet. (Xen's have one from the start: call
    /// [`Self::grow`].)
    pub const fn new(max_frames: u32) -> Self {
        Self {
            max_frames,
            frames: Vec::new(),
            active: Vec::new(),
            pinned: 0,
            dying: false,
        }
    }

    /// Frames in use.
    pub fn frames(&self) -> &[P] {
        &self.frames
    }

    /// Most frames that there can be.
    pub fn max_frames(&self) -> u32 {
        self.max_frames
    }

    /// Number of entries.
    pub fn entries(&self) -> u32 {
        self.frames.len() as u32 * ENTRIES_PER_FRAME
    }

    /// Refuses new pins from now on: the domain is being destroyed.
    pub fn set_dying(&mut self) {
        self.dying = true;
    }

    /// Grows the table to `count` frames, if it is smaller. `allocate` gives frames full of zeros.
    ///
    /// # Errors
    /// `EINVAL` above the limit; `ENOMEM`, or what `allocate` says: then the table is as large as it got.
    pub fn grow(
        &mut self,
        count: u32,
        mut allocate: impl FnMut() -> Result<P, Errno>,
    ) -> Result<(), Errno> {
        if count > self.max_frames {
            return Err(Errno::EINVAL);
        }
        while self.frames.len() < count as usize {
            self.frames.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            self.active.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            let mut active = Vec::new();
            active
                .try_reserve_exact(ENTRIES_PER_FRAME as usize)
                .map_err(|_| Errno::ENOMEM)?;
            active.resize_with(ENTRIES_PER_FRAME as usize, || Active::UNUSED);
            self.frames.push(allocate()?);
            self.active.push(active);
        }
        Ok(())
    }

    /// The version of the entries.
    pub fn version(&self) -> u32 {
        1
    }

    /// `GNTTABOP_set_version`: only version 1 exists here.
    ///
    /// # Errors
    /// `EINVAL` for a version that does not exist; `ENOSYS` for 2, as from a Xen that is limited to version 1.
    pub fn set_version(&self, version: u32) -> Result<(), Errno> {
        match version {
            1 => Ok(()),
            2 => Err(Errno::ENOSYS),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Pins an entry for `user`, and returns what to give back, and the frame.
    ///
    /// `resolve` gets the frame number that the entry names, if the entry was not in use, and whether it will be
    /// written; it checks that the frame is the granting domain's and takes a reference to it.
    ///
    /// # Errors
    /// [`Status::BAD_GNTREF`] if there is no such entry, [`Status::GENERAL_ERROR`] if it is another domain's, does not
    /// grant this access, or is pinned too often; what `resolve` says.
    pub fn pin(
        &mut self,
        reference: GrantRef,
        user: DomId,
        access: Access,
        purpose: Purpose,
        resolve: impl FnOnce(u64, bool) -> Result<F, Status>,
    ) -> Result<(Pin, &F), Status> {
        if access.is_none() {
            return Err(Status::BAD_GNTREF);
        }
        let Self {
            frames,
            active,
            pinned,
            dying,
            ..
        } = self;
        let frame = (reference / ENTRIES_PER_FRAME) as usize;
        let index = (reference % ENTRIES_PER_FRAME) as usize;
        let (Some(page), Some(active)) = (
            frames.get(frame),
            active.get_mut(frame).and_then(|frame| frame.get_mut(index)),
        ) else {
            return Err(Status::BAD_GNTREF);
        };
        if *dying {
            return Err(Status::GENERAL_ERROR);
        }
        let entry = Entry {
            page,
            offset: index * size_of::<GrantEntryV1>(),
        };
        let first = active.counts.is_zero();
        if !first && active.user != user {
            return Err(Status::GENERAL_ERROR);
        }
        let counts = active.counts.plus(access).ok_or(Status::GENERAL_ERROR)?;
        if first || (!access.read_only && !active.counts.has_writer()) {
            entry.mark(first.then_some(user), access, purpose)?;
        }
        if first {
            // After the flags were set: from now on the granting domain knows not to change the entry.
            match resolve(entry.frame(), !access.read_only) {
                Ok(frame) => active.frame = Some(frame),
                Err(status) => {
                    entry.unmark(&active.counts);
                    return Err(status);
                }
            }
            active.user = user;
            *pinned += 1;
        }
        active.counts = counts;
        match &active.frame {
            Some(frame) => Ok((Pin { reference, access }, frame)),
            // A pinned entry has a frame.
            None => Err(Status::GENERAL_ERROR),
        }
    }

    /// Gives a pin back. The mapping or copy that it was for is over, also in TLBs. Returns the reference to the
    /// frame if this was the last pin, to be dropped after the lock is released.
    pub fn unpin(&mut self, pin: Pin) -> Option<F> {
        let frame = (pin.reference / ENTRIES_PER_FRAME) as usize;
        let index = (pin.reference % ENTRIES_PER_FRAME) as usize;
        // A pin names an entry of this table, and tables never shrink.
        let page = self.frames.get(frame)?;
        let active = self.active.get_mut(frame)?.get_mut(index)?;
        active.counts.minus(pin.access);
        let entry = Entry {
            page,
            offset: index * size_of::<GrantEntryV1>(),
        };
        entry.unmark(&active.counts);
        if active.counts.is_zero() {
            self.pinned -= 1;
            active.frame.take()
        } else {
            None
        }
    }

    /// Entries in use.
    pub fn pinned(&self) -> u32 {
        self.pinned
    }

    /// The frame of an entry that is in use.
    pub fn pinned_frame(&self, reference: GrantRef) -> Option<&F> {
        self.active(reference)?.frame.as_ref()
    }

    /// The pins of an entry, for whom, and whether it has a frame.
    pub(crate) fn use_of(&self, reference: GrantRef) -> (Counts, DomId, bool) {
        self.active(reference)
            .map_or((Counts::NONE, 0, false), |active| {
                (active.counts, active.user, active.frame.is_some())
            })
    }

    /// Entries in use, with their user: for a person's eyes.
    pub fn in_use(&self) -> impl Iterator<Item = (GrantRef, DomId, &F)> {
        (0..)
            .zip(self.active.iter().flatten())
            .filter_map(|(reference, active)| {
                Some((reference, active.user, active.frame.as_ref()?))
            })
    }

    /// `GNTTABOP_swap_grant_ref`: exchanges two entries.
    ///
    /// # Errors
    /// [`Status::BAD_GNTREF`] if one does not exist; [`Status::EAGAIN`] if one is in use.
    pub fn swap(&mut self, a: GrantRef, b: GrantRef) -> Result<(), Status> {
        for reference in [a, b] {
            if reference >= self.entries() {
                return Err(Status::BAD_GNTREF);
            }
        }
        if a == b {
            return Ok(());
        }
        for reference in [a, b] {
            let active = self.active(reference).ok_or(Status::BAD_GNTREF)?;
            if !active.counts.is_zero() {
                return Err(Status::EAGAIN);
            }
        }
        let (Some(a), Some(b)) = (self.entry(a), self.entry(b)) else {
            return Err(Status::BAD_GNTREF);
        };
        for word in [0, 4] {
            let (from_a, from_b) = (
                a.page.load32(a.offset + word),
                b.page.load32(b.offset + word),
            );
            a.page.store32(a.offset + word, from_b);
            b.page.store32(b.offset + word, from_a);
        }
        Ok(())
    }

    fn active(&self, reference: GrantRef) -> Option<&Active<F>> {
        self.active
            .get((reference / ENTRIES_PER_FRAME) as usize)?
            .get((reference % ENTRIES_PER_FRAME) as usize)
    }

    fn entry(&self, reference: GrantRef) -> Option<Entry<'_, P>> {
        let page = self.frames.get((reference / ENTRIES_PER_FRAME) as usize)?;
        Some(Entry {
            page,
            offset: (reference % ENTRIES_PER_FRAME) as usize * size_of::<GrantEntryV1>(),
        })
    }
}

/// A shared entry, which the granting domain may write at any time. Flags and domain are one 32-bit word, so that
/// they are checked and changed together.
struct Entry<'a, P> {
    page: &'a P,
    offset: usize,
}

impl<P: SharedPage> Entry<'_, P> {
    /// Sets `GTF_reading`, and `GTF_writing` unless the access is read-only, if the entry grants that. `user` is who
    /// it must be for, if that has not been checked by an earlier pin.
    fn mark(&self, user: Option<DomId>, access: Access, purpose: Purpose) -> Result<(), Status> {
        let type_mask = match purpose {
            // A part of a page can be copied, but not mapped.
            Purpose::Map => GTF_TYPE_MASK | GTF_SUB_PAGE,
            Purpose::Copy => GTF_TYPE_MASK,
        };
        let mut old = self.page.load32(self.offset);
        for _ in 0..ATTEMPTS {
            let (flags, domid) = (old as u16, (old >> 16) as u16);
            if let Some(user) = user
                && (flags & type_mask != GTF_PERMIT_ACCESS || domid != user)
            {
                return Err(Status::GENERAL_ERROR);
            }
            let mut bits = GTF_READING;
            if !access.read_only {
                if flags & GTF_READONLY != 0 {
                    return Err(Status::GENERAL_ERROR);
                }
                bits |= GTF_WRITING;
            }
            let new = old | u32::from(bits);
            match self.page.compare_exchange32(self.offset, old, new) {
                Ok(_) => return Ok(()),
                Err(now) => old = now,
            }
        }
        // The guest changes it faster than it can be read: no lock-out of this CPU.
        Err(Status::GENERAL_ERROR)
    }

    /// Clears what no remaining pin needs.
    fn unmark(&self, counts: &Counts) {
        let mut bits = 0;
        if counts.is_zero() {
            bits |= GTF_READING;
        }
        if !counts.has_writer() {
            bits |= GTF_WRITING;
        }
        if bits != 0 {
            self.page.fetch_and32(self.offset, !u32::from(bits));
        }
    }

    /// The frame number, read once.
    fn frame(&self) -> u64 {
        u64::from(
            self.page
                .load32(self.offset + offset_of!(GrantEntryV1, frame)),
        )
    }
}
