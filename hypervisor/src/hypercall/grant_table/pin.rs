//! Grants that are looked up in the table of the domain that granted them, and pinned.

use addr::Mfn;
use grants::{Access, Part, Pin, Pinned, Purpose, Status, Via};
use xen_abi::{DomId, GrantRef};

use crate::domain::Domain;
use crate::mm;

/// A grant that was found.
pub(super) enum Found {
    /// It is pinned, for a part of a frame of the granting domain's.
    Frame(Pin, Mfn, Part),
    /// It passes on another domain's.
    Via(Via),
}

/// Finds a grant of `granting` to `user`.
#[inline]
pub(super) fn pin(
    granting: &Domain,
    reference: GrantRef,
    user: DomId,
    access: Access,
    purpose: Purpose,
) -> Result<Found, Status> {
    let mut table = granting.grants.lock();
    let pinned = table.pin(reference, user, access, purpose, |frame, _| {
        mm::frame_table()
            .get(Mfn::new(frame), granting.id())
            .ok_or(Status::BAD_PAGE)
    })?;
    Ok(match pinned {
        Pinned::Frame(pin, page, part) => Found::Frame(pin, page.frame(), part),
        Pinned::Via(via) => Found::Via(via),
    })
}
