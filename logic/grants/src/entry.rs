//! Shared entries, which the granting domain may write at any time.
//!
//! Flags and domain are one 32-bit word in both versions, so that they are read, and in version 1 changed, together. Of
//! version 2 the flags are the guest's alone, and what the hypervisor says of an entry's use is in a word of its status
//! frames: it says so first, and looks then whether the entry still grants what it granted; the guest takes the grant
//! back first, and looks then whether the entry is in use.

use core::mem::offset_of;

use shared_page::SharedPage;
use xen_abi::grant_table::{
    GTF_PERMIT_ACCESS, GTF_READING, GTF_READONLY, GTF_SUB_PAGE, GTF_TRANSITIVE, GTF_TYPE_MASK,
    GTF_WRITING, GrantEntryV1, GrantEntryV2FullPage, GrantEntryV2SubPage, GrantEntryV2Transitive,
};
use xen_abi::{DomId, GrantRef};

use crate::pin::{Access, Counts, Part, Purpose, Via};
use crate::status::Status;

/// Attempts to exchange an entry's flags before the guest counts as working against it.
pub(crate) const ATTEMPTS: usize = 5;

const _: () = {
    assert!(offset_of!(GrantEntryV1, flags) == 0 && offset_of!(GrantEntryV1, domid) == 2);
    assert!(offset_of!(GrantEntryV2SubPage, page_off) == 4);
    assert!(offset_of!(GrantEntryV2SubPage, length) == 6);
    assert!(offset_of!(GrantEntryV2SubPage, frame) == offset_of!(GrantEntryV2FullPage, frame));
    assert!(offset_of!(GrantEntryV2Transitive, trans_domid) == 4);
    assert!(offset_of!(GrantEntryV2Transitive, gref) == 8);
};

/// What the first 32 bits of an entry say.
#[derive(Clone, Copy)]
pub(crate) struct Header(u32);

impl Header {
    pub(crate) fn flags(self) -> u16 {
        self.0 as u16
    }

    pub(crate) fn domid(self) -> DomId {
        (self.0 >> 16) as DomId
    }

    pub(crate) fn kind(self) -> u16 {
        self.flags() & GTF_TYPE_MASK
    }

    /// Whether it grants an access. `user` is who it must be for, if that and the entry's type have not been checked by an
    /// earlier pin.
    #[inline]
    fn check(self, user: Option<DomId>, access: Access, purpose: Purpose) -> Result<(), Status> {
        if let Some(user) = user {
            let (mask, kind) = match purpose {
                // A part of a page can be copied, but not mapped.
                Purpose::Map => (GTF_TYPE_MASK | GTF_SUB_PAGE, GTF_PERMIT_ACCESS),
                Purpose::Copy | Purpose::CopyForOther => (GTF_TYPE_MASK, GTF_PERMIT_ACCESS),
                Purpose::PassOn => (GTF_TYPE_MASK, GTF_TRANSITIVE),
            };
            if self.flags() & mask != kind || self.domid() != user {
                return Err(Status::GENERAL_ERROR);
            }
        }
        if !access.read_only && self.flags() & GTF_READONLY != 0 {
            return Err(Status::GENERAL_ERROR);
        }
        Ok(())
    }
}

/// Where an entry is: with `status`, the place of its status word, it is one of version 2.
pub(crate) struct Entry<'a, P> {
    pub(crate) page: &'a P,
    pub(crate) offset: usize,
    pub(crate) status: Option<(&'a P, usize)>,
}

/// The bits of a half of a 32-bit word at an offset: where the word is, and how far its half is shifted.
fn half(offset: usize) -> (usize, u32) {
    (offset & !3, (offset as u32 & 2) * 8)
}

impl<P: SharedPage> Entry<'_, P> {
    /// The header as it is now.
    #[inline]
    pub(crate) fn header(&self) -> Header {
        Header(self.page.load32(self.offset))
    }

    /// Sets `GTF_reading`, and `GTF_writing` unless the access is read-only, if the entry grants that; returns the
    /// header that did. For `user` see [`Header::check`].
    #[inline]
    pub(crate) fn mark(
        &self,
        user: Option<DomId>,
        access: Access,
        purpose: Purpose,
    ) -> Result<Header, Status> {
        let bits = if access.read_only {
            GTF_READING
        } else {
            GTF_READING | GTF_WRITING
        };
        if let Some(status) = self.status {
            return self.mark_status(status, bits, user, access, purpose);
        }
        let mut old = self.header();
        for _ in 0..ATTEMPTS {
            old.check(user, access, purpose)?;
            let new = old.0 | u32::from(bits);
            match self.page.compare_exchange32(self.offset, old.0, new) {
                Ok(_) => return Ok(old),
                Err(now) => old = Header(now),
            }
        }
        // The guest changes it faster than it can be read: no lock-out of this CPU.
        Err(Status::GENERAL_ERROR)
    }

    fn mark_status(
        &self,
        (page, offset): (&P, usize),
        bits: u16,
        user: Option<DomId>,
        access: Access,
        purpose: Purpose,
    ) -> Result<Header, Status> {
        self.header().check(user, access, purpose)?;
        let (word, shift) = half(offset);
        page.fetch_or32(word, u32::from(bits) << shift);
        // That was a full barrier: a guest that took the grant back before sees the bits, or we see that it did.
        let header = self.header();
        if let Err(status) = header.check(user, access, purpose) {
            let mine = if user.is_some() { bits } else { GTF_WRITING };
            page.fetch_and32(word, !(u32::from(mine) << shift));
            return Err(status);
        }
        Ok(header)
    }

    /// Clears what no remaining pin needs.
    #[inline]
    pub(crate) fn unmark(&self, counts: &Counts) {
        let mut bits = 0;
        if counts.is_zero() {
            bits |= GTF_READING;
        }
        if !counts.has_writer() {
            bits |= GTF_WRITING;
        }
        if bits == 0 {
            return;
        }
        let bits = u32::from(bits);
        match self.status {
            None => self.page.fetch_and32(self.offset, !bits),
            Some((page, offset)) => {
                let (word, shift) = half(offset);
                page.fetch_and32(word, !(bits << shift))
            }
        };
    }

    /// The frame number, and the part of it that `header` grants; each read once.
    #[inline]
    pub(crate) fn frame(&self, header: Header) -> (u64, Part) {
        if self.status.is_none() {
            let frame = self
                .page
                .load32(self.offset + offset_of!(GrantEntryV1, frame));
            return (u64::from(frame), Part::WHOLE);
        }
        let part = if header.flags() & GTF_SUB_PAGE == 0 {
            Part::WHOLE
        } else {
            let word = self
                .page
                .load32(self.offset + offset_of!(GrantEntryV2SubPage, page_off));
            Part::some(word as u16, (word >> 16) as u16)
        };
        let frame = offset_of!(GrantEntryV2FullPage, frame);
        (self.page.load64(self.offset + frame), part)
    }

    /// What a transitive entry passes on.
    pub(crate) fn via(&self) -> Via {
        let domid = offset_of!(GrantEntryV2Transitive, trans_domid);
        let reference = offset_of!(GrantEntryV2Transitive, gref);
        Via {
            domid: self.page.load32(self.offset + domid) as DomId,
            reference: self.page.load32(self.offset + reference) as GrantRef,
        }
    }

    /// Whether it grants an access to what it passes on.
    pub(crate) fn check_passes_on(&self, user: DomId, access: Access) -> Result<(), Status> {
        self.header().check(Some(user), access, Purpose::PassOn)
    }

    /// Its status word, of version 2.
    pub(crate) fn status(&self) -> u16 {
        self.status.map_or(0, |(page, offset)| {
            let (word, shift) = half(offset);
            (page.load32(word) >> shift) as u16
        })
    }

    /// Writes its status word, of version 2.
    pub(crate) fn set_status(&self, value: u16) {
        if let Some((page, offset)) = self.status {
            let (word, shift) = half(offset);
            page.fetch_and32(word, !(0xffff << shift));
            page.fetch_or32(word, u32::from(value) << shift);
        }
    }
}
