//! Offers of the granting domain to take a page of another's (`GTF_accept_transfer`).

use core::mem::offset_of;

use shared_page::SharedPage;
use xen_abi::grant_table::{
    GTF_ACCEPT_TRANSFER, GTF_TRANSFER_COMMITTED, GTF_TRANSFER_COMPLETED, GrantEntryV1,
    GrantEntryV2FullPage,
};
use xen_abi::{DomId, GrantRef};

use crate::entry::ATTEMPTS;
use crate::status::Status;
use crate::table::GrantTable;

impl<P: SharedPage, F> GrantTable<P, F> {
    /// Commits to giving the domain a page of `from`, if the entry is an offer to that one: the guest leaves the entry alone
    /// until [`Self::complete_transfer`].
    ///
    /// # Errors
    /// [`Status::GENERAL_ERROR`]
    pub fn accept_transfer(&mut self, reference: GrantRef, from: DomId) -> Result<(), Status> {
        let entry = self.entry(reference).ok_or(Status::GENERAL_ERROR)?;
        let offered = u32::from(from) << 16 | u32::from(GTF_ACCEPT_TRANSFER);
        let committed = offered | u32::from(GTF_TRANSFER_COMMITTED);
        for _ in 0..ATTEMPTS {
            let exchanged = entry
                .page
                .compare_exchange32(entry.offset, offered, committed);
            match exchanged {
                Ok(_) => return Ok(()),
                // An upper half that is someone else's, or any other flag.
                Err(now) if now != offered => return Err(Status::GENERAL_ERROR),
                Err(_) => {}
            }
        }
        Err(Status::GENERAL_ERROR)
    }

    /// Tells the domain which frame it was given. Returns the number that it wanted it to have.
    pub fn complete_transfer(&mut self, reference: GrantRef, frame: u64) -> Option<u64> {
        // A table that has changed its version meanwhile may have fewer entries.
        let entry = self.entry(reference)?;
        let (at, wanted) = if entry.status.is_none() {
            let at = entry.offset + offset_of!(GrantEntryV1, frame);
            (at, u64::from(entry.page.load32(at)))
        } else {
            let at = entry.offset + offset_of!(GrantEntryV2FullPage, frame);
            let wanted = entry.page.load64(at);
            entry.page.store32(at + 4, (frame >> 32) as u32);
            (at, wanted)
        };
        entry.page.store32(at, frame as u32);
        // A full barrier: who sees the flag sees the frame.
        entry
            .page
            .fetch_or32(entry.offset, GTF_TRANSFER_COMPLETED.into());
        Some(wanted)
    }
}
