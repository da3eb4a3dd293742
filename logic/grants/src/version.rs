//! The versions of a table: changing between them, and the frames of status words of version 2.

use alloc::vec::Vec;
use core::mem::offset_of;

use shared_page::SharedPage;
use xen_abi::errno::Errno;
use xen_abi::grant_table::{
    GNTTAB_NR_RESERVED_ENTRIES, GTF_INVALID, GTF_PERMIT_ACCESS, GTF_READING, GTF_TRANSITIVE,
    GTF_WRITING, GrantEntryV1, GrantEntryV2FullPage,
};

use crate::table::{ENTRIES_PER_FRAME_V2, GrantTable, STATUSES_PER_FRAME};

/// Frames of entries for whose status words one frame is enough.
const FRAMES_PER_STATUS_FRAME: u32 = STATUSES_PER_FRAME / ENTRIES_PER_FRAME_V2;

/// Entries that tools make before a domain runs, and that outlast a change of version.
const RESERVED: usize = GNTTAB_NR_RESERVED_ENTRIES as usize;

impl<P: SharedPage, F> GrantTable<P, F> {
    /// The version of the entries: 1 or 2.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Most frames of status words that there can be.
    pub fn max_status_frames(&self) -> u32 {
        self.max_frames.div_ceil(FRAMES_PER_STATUS_FRAME)
    }

    /// Makes sure that there are `count` frames of status words, by growing the table to as many entries as they are for.
    ///
    /// # Errors
    /// `EINVAL` if that is above the limit, or the table is of version 1; as [`Self::grow`].
    pub fn grow_to_status_frames(
        &mut self,
        count: u32,
        allocate: impl FnMut() -> Result<P, Errno>,
    ) -> Result<(), Errno> {
        if self.version != 2 {
            return Err(Errno::EINVAL);
        }
        if count as usize <= self.status.len() {
            return Ok(());
        }
        let frames = count
            .checked_mul(FRAMES_PER_STATUS_FRAME)
            .ok_or(Errno::EINVAL)?;
        self.grow(frames, allocate)
    }

    /// Makes the frames of status words for `frames` frames of entries.
    pub(crate) fn grow_status(
        &mut self,
        frames: u32,
        allocate: &mut impl FnMut() -> Result<P, Errno>,
    ) -> Result<(), Errno> {
        let count = frames.div_ceil(FRAMES_PER_STATUS_FRAME) as usize;
        while self.status.len() < count {
            self.status.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            self.status.push(allocate()?);
        }
        Ok(())
    }

    /// `GNTTABOP_set_version`. All entries are invalid afterwards, but for the reserved ones. `allocate` gives frames full of
    /// zeros; `is_mapped` says whether the guest still has a frame mapped. Returns frames of status words that are no
    /// longer needed.
    ///
    /// # Errors
    /// `EINVAL` for a version that does not exist; `ENOSYS` for one that this domain may not have; `EBUSY` if an entry
    /// that is not reserved is in use; `ENOMEM`, or what `allocate` says; `ERANGE` if a reserved entry cannot be
    /// expressed in version 1; `EBUSY` if the guest has a frame of status words mapped (XSA-379).
    pub fn set_version(
        &mut self,
        version: u32,
        mut allocate: impl FnMut() -> Result<P, Errno>,
        is_mapped: impl Fn(&P) -> bool,
    ) -> Result<Vec<P>, Errno> {
        if version != 1 && version != 2 {
            return Err(Errno::EINVAL);
        }
        if version > self.max_version {
            return Err(Errno::ENOSYS);
        }
        if version == self.version {
            return Ok(Vec::new());
        }
        if self.any_pinned(GNTTAB_NR_RESERVED_ENTRIES..self.entries()) {
            return Err(Errno::EBUSY);
        }
        let mut unused = Vec::new();
        let reserved;
        if version == 2 {
            let made = self.grow_status(self.frames.len() as u32, &mut allocate);
            if let Err(errno) = made {
                self.status.clear();
                return Err(errno);
            }
            reserved = self.reserved_v1();
        } else {
            reserved = self.reserved_v2()?;
            if self.status.iter().any(is_mapped) {
                return Err(Errno::EBUSY);
            }
            unused = core::mem::take(&mut self.status);
        }
        for page in &self.frames {
            for offset in (0..4096).step_by(4) {
                page.store32(offset, 0);
            }
        }
        self.version = version;
        for (reference, entry) in (0..).zip(reserved) {
            self.restore(reference, entry);
        }
        Ok(unused)
    }

    fn reserved_v1(&self) -> [GrantEntryV1; RESERVED] {
        core::array::from_fn(|reference| match self.entry(reference as u32) {
            None => INVALID,
            Some(entry) => {
                let header = entry.page.load32(entry.offset);
                let frame = offset_of!(GrantEntryV1, frame);
                GrantEntryV1 {
                    flags: header as u16,
                    domid: (header >> 16) as u16,
                    frame: entry.page.load32(entry.offset + frame),
                }
            }
        })
    }

    /// The reserved entries in the form of version 1. Each is read once.
    fn reserved_v2(&self) -> Result<[GrantEntryV1; RESERVED], Errno> {
        let mut entries = [INVALID; RESERVED];
        for (reference, to) in (0..).zip(&mut entries) {
            let Some(entry) = self.entry(reference) else {
                continue;
            };
            let header = entry.header();
            match header.kind() {
                GTF_PERMIT_ACCESS => {
                    let frame = offset_of!(GrantEntryV2FullPage, frame);
                    let frame = entry.page.load64(entry.offset + frame);
                    *to = GrantEntryV1 {
                        flags: header.flags() | entry.status() & USE,
                        domid: header.domid(),
                        frame: u32::try_from(frame).map_err(|_| Errno::ERANGE)?,
                    };
                }
                GTF_TRANSITIVE => return Err(Errno::ERANGE),
                // An offer to take a page ends, as on Xen. One that was made invalid while in use still is in use.
                _ => to.flags = entry.status() & USE,
            }
        }
        Ok(entries)
    }

    fn restore(&self, reference: u32, from: GrantEntryV1) {
        let Some(entry) = self.entry(reference) else {
            return;
        };
        let (flags, frame) = if self.version == 1 {
            (from.flags, offset_of!(GrantEntryV1, frame))
        } else {
            entry.set_status(from.flags & USE);
            (from.flags & !USE, offset_of!(GrantEntryV2FullPage, frame))
        };
        entry.page.store32(entry.offset + frame, from.frame);
        let header = u32::from(from.domid) << 16 | u32::from(flags);
        entry.page.store32(entry.offset, header);
    }
}

/// What a status word says.
const USE: u16 = GTF_READING | GTF_WRITING;

const INVALID: GrantEntryV1 = GrantEntryV1 {
    flags: GTF_INVALID,
    domid: 0,
    frame: 0,
};
