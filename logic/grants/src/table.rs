//! The grants of a domain.

use alloc::vec::Vec;

use shared_page::SharedPage;
use xen_abi::errno::Errno;
use xen_abi::grant_table::{GTF_TRANSITIVE, GrantEntryV1, GrantEntryV2};
use xen_abi::{DomId, GrantRef};

use crate::entry::Entry;
use crate::pin::{Access, Counts, Part, Pin, Purpose, Via};
use crate::status::Status;

/// Entries of version 1 in a frame, and the most that a frame can have.
pub const ENTRIES_PER_FRAME: u32 = 4096 / size_of::<GrantEntryV1>() as u32;
/// Entries of version 2 in a frame.
pub(crate) const ENTRIES_PER_FRAME_V2: u32 = 4096 / size_of::<GrantEntryV2>() as u32;
/// Status words in a frame of them.
pub(crate) const STATUSES_PER_FRAME: u32 = 4096 / size_of::<u16>() as u32;

/// What a pinned entry stands for.
#[derive(Debug)]
enum Target<F> {
    /// A frame, or a part of it.
    Frame(F, Part),
    /// Another domain's entry, which is pinned as often as this one is.
    Via(Via),
}

/// An entry's use.
struct Active<F> {
    counts: Counts,
    /// Who uses it, while it is pinned.
    user: DomId,
    /// What it stands for, while it is pinned.
    target: Option<Target<F>>,
}

impl<F> Active<F> {
    const UNUSED: Self = Self {
        counts: Counts::NONE,
        user: 0,
        target: None,
    };
}

/// What became of pinning an entry.
#[derive(Debug)]
pub enum Pinned<'a, F> {
    /// It is pinned: what to give back, the frame, and the part of it that is granted.
    Frame(Pin, &'a F, Part),
    /// It passes on another domain's grant, and is not pinned: pin that one for this table's domain, for
    /// [`Purpose::CopyForOther`], then this one with [`GrantTable::pin_via`].
    Via(Via),
}

/// The grants of a domain: `P` is a frame that it shares with the hypervisor for the entries, `F` a reference to a
/// granted frame, which keeps that from being freed. See the crate's page.
pub struct GrantTable<P, F> {
    domid: DomId,
    pub(crate) max_frames: u32,
    pub(crate) max_version: u32,
    pub(crate) version: u32,
    pub(crate) frames: Vec<P>,
    /// Of version 2: a status word for each entry. Else empty.
    pub(crate) status: Vec<P>,
    /// For each frame, the use of as many entries as it can have.
    active: Vec<Vec<Active<F>>>,
    /// Entries in use.
    pinned: u32,
    dying: bool,
}

impl<P: SharedPage, F> GrantTable<P, F> {
    /// Makes a table of version 1 for domain `domid` that may grow to `max_frames` frames, and has none yet, and may
    /// become one of `max_version`. (Xen's have one frame from the start: call [`Self::grow`].)
    pub const fn new(domid: DomId, max_frames: u32, max_version: u32) -> Self {
        Self {
            domid,
            max_frames,
            max_version,
            version: 1,
            frames: Vec::new(),
            status: Vec::new(),
            active: Vec::new(),
            pinned: 0,
            dying: false,
        }
    }

    /// Frames of entries.
    pub fn frames(&self) -> &[P] {
        &self.frames
    }

    /// Frames of status words, which only a table of version 2 has.
    pub fn status_frames(&self) -> &[P] {
        &self.status
    }

    /// Most frames of entries that there can be.
    pub fn max_frames(&self) -> u32 {
        self.max_frames
    }

    /// Number of entries.
    #[inline]
    pub fn entries(&self) -> u32 {
        let each = if self.version == 1 {
            ENTRIES_PER_FRAME
        } else {
            ENTRIES_PER_FRAME_V2
        };
        self.frames.len() as u32 * each
    }

    /// Refuses new pins from now on: the domain is being destroyed.
    pub fn set_dying(&mut self) {
        self.dying = true;
    }

    /// Grows the table to `count` frames, if it is smaller, and to as many frames of status words as they need.
    /// `allocate` gives frames full of zeros.
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
            if self.version == 2 {
                self.grow_status(self.frames.len() as u32 + 1, &mut allocate)?;
            }
            self.frames.push(allocate()?);
            self.active.push(active);
        }
        Ok(())
    }

    /// Pins an entry for `user`.
    ///
    /// `resolve` gets the frame number that the entry names, if the entry was not in use, and whether it will be
    /// written; it checks that the frame is the granting domain's and takes a reference to it.
    ///
    /// # Errors
    /// [`Status::BAD_GNTREF`] if there is no such entry, [`Status::GENERAL_ERROR`] if it is another domain's, does not
    /// grant this access, or is pinned too often; what `resolve` says.
    #[inline]
    pub fn pin(
        &mut self,
        reference: GrantRef,
        user: DomId,
        access: Access,
        purpose: Purpose,
        resolve: impl FnOnce(u64, bool) -> Result<F, Status>,
    ) -> Result<Pinned<'_, F>, Status> {
        let domid = self.domid;
        let (entry, active, pinned) = self.claim(reference, access)?;
        let first = active.counts.is_zero();
        if !first && active.user != user {
            return Err(Status::GENERAL_ERROR);
        }
        let counts = active.counts.plus(access).ok_or(Status::GENERAL_ERROR)?;
        if first {
            if entry.status.is_some() && entry.header().kind() == GTF_TRANSITIVE {
                let via = entry.via();
                entry.check_passes_on(user, access)?;
                return pass_on(via, domid, purpose);
            }
            let header = entry.mark(Some(user), access, purpose)?;
            // After the flags were set: from now on the granting domain knows not to change the entry.
            let (frame, part) = entry.frame(header);
            match resolve(frame, !access.read_only) {
                Ok(frame) => active.target = Some(Target::Frame(frame, part)),
                Err(status) => {
                    entry.unmark(&active.counts);
                    return Err(status);
                }
            }
            active.user = user;
            *pinned += 1;
        } else {
            match &active.target {
                Some(Target::Via(via)) => return pass_on(*via, domid, purpose),
                Some(Target::Frame(_, part)) if purpose == Purpose::Map && !part.is_whole() => {
                    return Err(Status::GENERAL_ERROR);
                }
                _ => {}
            }
            if !access.read_only && !active.counts.has_writer() {
                entry.mark(None, access, purpose)?;
            }
        }
        active.counts = counts;
        match &active.target {
            Some(Target::Frame(frame, part)) => {
                Ok(Pinned::Frame(Pin { reference, access }, frame, *part))
            }
            // A pinned entry has a target.
            _ => Err(Status::GENERAL_ERROR),
        }
    }

    /// Pins an entry that passes on `via`, as [`Self::pin`] said, which is pinned for this table's domain. `None` if the
    /// entry is another one by now: give the other pin back and begin again.
    ///
    /// # Errors
    /// As [`Self::pin`].
    pub fn pin_via(
        &mut self,
        reference: GrantRef,
        user: DomId,
        access: Access,
        via: Via,
    ) -> Result<Option<Pin>, Status> {
        let (entry, active, pinned) = self.claim(reference, access)?;
        let first = active.counts.is_zero();
        if !first && active.user != user {
            return Err(Status::GENERAL_ERROR);
        }
        let counts = active.counts.plus(access).ok_or(Status::GENERAL_ERROR)?;
        if first {
            if entry.status.is_none() || entry.header().kind() != GTF_TRANSITIVE {
                return Ok(None);
            }
            entry.mark(Some(user), access, Purpose::PassOn)?;
            if entry.via() != via {
                entry.unmark(&active.counts);
                return Ok(None);
            }
            active.target = Some(Target::Via(via));
            active.user = user;
            *pinned += 1;
        } else {
            if !matches!(&active.target, Some(Target::Via(now)) if *now == via) {
                return Ok(None);
            }
            if !access.read_only && !active.counts.has_writer() {
                entry.mark(None, access, Purpose::PassOn)?;
            }
        }
        active.counts = counts;
        Ok(Some(Pin { reference, access }))
    }

    /// Gives a pin back. The mapping or copy that it was for is over, also in TLBs. Returns the reference to the
    /// frame if this was the last pin, to be dropped after the lock is released.
    #[inline]
    pub fn unpin(&mut self, pin: Pin) -> Option<F> {
        // A pin names an entry of this table, and tables do not shrink below an entry that is pinned.
        let (entry, active, pinned) = self.place(pin.reference)?;
        active.counts.minus(pin.access);
        entry.unmark(&active.counts);
        if !active.counts.is_zero() {
            return None;
        }
        *pinned -= 1;
        match active.target.take() {
            Some(Target::Frame(frame, _)) => Some(frame),
            _ => None,
        }
    }

    /// Entries in use.
    pub fn pinned(&self) -> u32 {
        self.pinned
    }

    /// Whether an entry of `references` is in use.
    pub(crate) fn any_pinned(&self, mut references: core::ops::Range<GrantRef>) -> bool {
        references.any(|reference| {
            self.active(reference)
                .is_some_and(|active| !active.counts.is_zero())
        })
    }

    /// The frame of an entry that is in use.
    pub fn pinned_frame(&self, reference: GrantRef) -> Option<&F> {
        frame_of(self.active(reference)?)
    }

    /// The pins of an entry, for whom, and whether it stands for something.
    pub(crate) fn use_of(&self, reference: GrantRef) -> (Counts, DomId, bool) {
        self.active(reference)
            .map_or((Counts::NONE, 0, false), |active| {
                (active.counts, active.user, active.target.is_some())
            })
    }

    /// Entries in use that stand for a frame, with their user: for a person's eyes.
    pub fn in_use(&self) -> impl Iterator<Item = (GrantRef, DomId, &F)> {
        (0..)
            .zip(self.active.iter().flatten())
            .filter_map(|(reference, active)| Some((reference, active.user, frame_of(active)?)))
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
            if self.any_pinned(reference..reference + 1) {
                return Err(Status::EAGAIN);
            }
        }
        let (Some(a), Some(b)) = (self.entry(a), self.entry(b)) else {
            return Err(Status::BAD_GNTREF);
        };
        let size = if self.version == 1 {
            size_of::<GrantEntryV1>()
        } else {
            size_of::<GrantEntryV2>()
        };
        for word in (0..size).step_by(4) {
            let (from_a, from_b) = (
                a.page.load32(a.offset + word),
                b.page.load32(b.offset + word),
            );
            a.page.store32(a.offset + word, from_b);
            b.page.store32(b.offset + word, from_a);
        }
        let (of_a, of_b) = (a.status(), b.status());
        a.set_status(of_b);
        b.set_status(of_a);
        Ok(())
    }

    fn active(&self, reference: GrantRef) -> Option<&Active<F>> {
        self.active
            .get((reference / ENTRIES_PER_FRAME) as usize)?
            .get((reference % ENTRIES_PER_FRAME) as usize)
    }

    /// An entry of the version in use.
    pub(crate) fn entry(&self, reference: GrantRef) -> Option<Entry<'_, P>> {
        entry(self.version, &self.frames, &self.status, reference)
    }

    /// An entry, its use, and the number of entries in use, to pin it for `access`.
    #[inline]
    fn claim(
        &mut self,
        reference: GrantRef,
        access: Access,
    ) -> Result<(Entry<'_, P>, &mut Active<F>, &mut u32), Status> {
        let dying = self.dying;
        if access.is_none() {
            return Err(Status::BAD_GNTREF);
        }
        let place = self.place(reference).ok_or(Status::BAD_GNTREF)?;
        if dying {
            return Err(Status::GENERAL_ERROR);
        }
        Ok(place)
    }

    #[inline]
    fn place(&mut self, reference: GrantRef) -> Option<(Entry<'_, P>, &mut Active<F>, &mut u32)> {
        let entry = entry(self.version, &self.frames, &self.status, reference)?;
        let active = self
            .active
            .get_mut((reference / ENTRIES_PER_FRAME) as usize)?
            .get_mut((reference % ENTRIES_PER_FRAME) as usize)?;
        Some((entry, active, &mut self.pinned))
    }
}

#[inline]
fn entry<'a, P>(
    version: u32,
    frames: &'a [P],
    status: &'a [P],
    reference: GrantRef,
) -> Option<Entry<'a, P>> {
    if version == 1 {
        return Some(Entry {
            page: frames.get((reference / ENTRIES_PER_FRAME) as usize)?,
            offset: (reference % ENTRIES_PER_FRAME) as usize * size_of::<GrantEntryV1>(),
            status: None,
        });
    }
    let word = (reference % STATUSES_PER_FRAME) as usize * size_of::<u16>();
    Some(Entry {
        page: frames.get((reference / ENTRIES_PER_FRAME_V2) as usize)?,
        offset: (reference % ENTRIES_PER_FRAME_V2) as usize * size_of::<GrantEntryV2>(),
        status: Some((status.get((reference / STATUSES_PER_FRAME) as usize)?, word)),
    })
}

fn frame_of<F>(active: &Active<F>) -> Option<&F> {
    match &active.target {
        Some(Target::Frame(frame, _)) => Some(frame),
        _ => None,
    }
}

/// What a transitive entry of `domid` leads to, which cannot be another of its own, nor through a second one (XSA-226).
fn pass_on<'a, F>(via: Via, domid: DomId, purpose: Purpose) -> Result<Pinned<'a, F>, Status> {
    if purpose != Purpose::Copy || via.domid == domid {
        return Err(Status::GENERAL_ERROR);
    }
    Ok(Pinned::Via(via))
}
