//! References to guests' frames for the rest of the hypervisor: roots, and pages that it shares.

use core::ops::Deref;

use ::hypercall::Budget;
use addr::Mfn;
use frames::{PageRef, PageType, Pending, RootRef, TypeError, TypedRef, Work};
use xen_abi::errno::Errno;

use super::validator;
use crate::domain::Domain;

/// Runs an operation that may not stop half way: in the construction of a vCPU or a domain.
fn whole<R>(operation: impl FnOnce(&mut Work<'_>) -> Result<R, TypeError>) -> Result<R, Errno> {
    let mut budget = Budget::unlimited();
    let mut pending = Pending::new();
    operation(&mut Work::new(&mut budget, &mut pending)).map_err(|_| Errno::EINVAL)
}

/// A page-table root of `domain`, checked.
///
/// # Errors
/// `EINVAL`: it is none.
pub fn guest_root(domain: &Domain, frame: Mfn) -> Result<RootRef<'static>, Errno> {
    whole(|work| validator().take_root(frame, domain.id(), work))
}

/// Gives up a root that [`guest_root`] gave: dropped alone, it would stay half undone if nothing else uses it.
pub fn release_root(root: RootRef<'static>) {
    let done = whole(|work| {
        validator().release_root(root, work);
        Ok(())
    });
    // Without a limit there is nothing that it could stop at.
    debug_assert!(done.is_ok());
}

/// Pins a page-table root of `domain`.
///
/// # Errors
/// `EINVAL`: it is none.
pub fn pin_root(domain: &Domain, frame: Mfn) -> Result<(), Errno> {
    whole(|work| validator().pin(frame, PageType::L4, domain.id(), work))
}

/// A page of a guest that the hypervisor writes too: it cannot become a page table meanwhile.
#[derive(Debug)]
pub struct WritablePage(TypedRef<'static>);

impl WritablePage {
    /// The reference underneath.
    pub fn typed(&self) -> &TypedRef<'static> {
        &self.0
    }
}

impl Deref for WritablePage {
    type Target = PageRef<'static>;

    #[inline]
    fn deref(&self) -> &PageRef<'static> {
        self.0.page()
    }
}

/// Keeps a page of `domain` for the hypervisor to write. `None` if it is not the domain's, or is in use as
/// something that may not be written.
pub fn writable_page(domain: &Domain, frame: Mfn) -> Option<WritablePage> {
    whole(|work| validator().take(frame, PageType::Writable, domain.id(), work))
        .ok()
        .map(WritablePage)
}
