//! `GNTTABOP_transfer`: a page of the caller's becomes another domain's, which offered to take one.

use addr::Mfn;
use addr::Pfn;
use grants::Status;
use platform_memory::m2p;
use xen_abi::grant_table as abi;

use crate::context::Context;
use crate::domains;
use crate::mm::LoosePage;

/// Does a request. As on Xen the page is gone afterwards, whatever comes of it, unless the answer is
/// [`Status::BAD_PAGE`].
pub(super) fn transfer(context: &Context<'_>, request: &abi::Transfer) -> Result<(), Status> {
    let from = context.domain;
    let page = LoosePage::take(from, Mfn::new(request.mfn)).ok_or(Status::BAD_PAGE)?;
    let to = domains::find(request.domid).ok_or(Status::BAD_DOMAIN)?;
    let reference = request.reference;
    // Its frame number fits into an entry of version 1: the machine has less than 2^32 frames.
    let accepts = || {
        let mut table = to.grants.lock();
        table.accept_transfer(reference, from.id()).is_ok()
    };
    let frame = page.give(&to, accepts).ok_or(Status::GENERAL_ERROR)?;
    let wanted = to.grants.lock().complete_transfer(reference, frame.raw());
    if let Some(number) = wanted {
        // A number that there cannot be is the other domain's own affair.
        m2p::set(frame, Pfn::new(number));
    }
    Ok(())
}
