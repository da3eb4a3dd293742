//! `GNTTABOP_copy`: bytes from a frame to another, each the caller's own or granted to it.

use alloc::sync::Arc;
use core::ops::Deref;

use addr::{Mfn, PAGE_SIZE};
use frames::PageRef;
use grants::{Access, Part, Pin, Purpose, Status, Via};
use xen_abi::domid::DOMID_SELF;
use xen_abi::grant_table as abi;
use xen_abi::{DomId, GrantRef};

use super::pin::{Found, pin};
use crate::context::Context;
use crate::domain::Domain;
use crate::mm::{self, WritablePage};
use crate::{config, death, domains};

/// Why a request was not done.
pub(super) enum Failure {
    /// For good.
    Status(Status),
    /// A grant changed while it was looked at: the request has to be made again.
    Again,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// Does a request.
#[inline]
pub(super) fn copy(context: &Context<'_>, request: &abi::Copy) -> Result<(), Failure> {
    let flags = u32::from(request.flags);
    let by_grant = flags & abi::GNTCOPY_SOURCE_GREF != 0;
    let source = End::find(context, &request.source, by_grant)?;
    let by_grant = flags & abi::GNTCOPY_DEST_GREF != 0;
    let dest = End::find(context, &request.dest, by_grant)?;
    let from = source.acquire(context, &request.source, Access::copy(true))?;
    let to = dest.acquire(context, &request.dest, Access::copy(false))?;
    let in_page = |offset: u16| u64::from(offset) + u64::from(request.len) <= PAGE_SIZE;
    if !in_page(request.source.offset) || !in_page(request.dest.offset) {
        return Err(Status::BAD_COPY_ARG.into());
    }
    if !from.part.contains(request.source.offset, request.len)
        || !to.part.contains(request.dest.offset, request.len)
    {
        return Err(Status::GENERAL_ERROR.into());
    }
    let (from, to) = (
        platform_memory::map(from.page()),
        platform_memory::map(to.page()),
    );
    to.copy_part_from(
        usize::from(request.dest.offset),
        &from,
        usize::from(request.source.offset),
        usize::from(request.len),
    );
    Ok(())
}

/// A side of a copy: whose frame it is, and whether it is named by a grant.
struct End {
    domain: Arc<Domain>,
    by_grant: bool,
}

impl End {
    #[inline]
    fn find(context: &Context<'_>, end: &abi::CopyPtr, by_grant: bool) -> Result<Self, Status> {
        // Others' frames are named by grants only.
        if end.domid != DOMID_SELF && !by_grant {
            return Err(Status::PERMISSION_DENIED);
        }
        let domain = if end.domid == DOMID_SELF || end.domid == context.domain.id() {
            context.domain.clone()
        } else {
            domains::find(end.domid).ok_or(Status::BAD_DOMAIN)?
        };
        Ok(Self { domain, by_grant })
    }

    #[inline]
    fn acquire(
        &self,
        context: &Context<'_>,
        end: &abi::CopyPtr,
        access: Access,
    ) -> Result<Held<'_>, Failure> {
        if !self.by_grant {
            let frame = Mfn::new(end.u.gmfn());
            return Ok(Held {
                page: Page::get(&self.domain, frame, access)?,
                part: Part::WHOLE,
                _outer: None,
                _pin: None,
            });
        }
        let reference = end.u.reference();
        let user = context.domain.id();
        match pin(&self.domain, reference, user, access, purpose())? {
            Found::Frame(pin, frame, part) => {
                let pin = PinGuard::new(Owner::Named(&self.domain), pin);
                Ok(Held {
                    page: Page::get(&self.domain, frame, access)?,
                    part,
                    _outer: None,
                    _pin: Some(pin),
                })
            }
            Found::Via(via) => self.acquire_via(reference, user, access, via),
        }
    }

    /// What another domain granted to this one, which passes it on to the user. That domain's lock is taken without this
    /// one's, so this one's entry is looked at again afterwards.
    #[cold]
    fn acquire_via(
        &self,
        reference: GrantRef,
        user: DomId,
        access: Access,
        via: Via,
    ) -> Result<Held<'_>, Failure> {
        let owner = domains::find(via.domid).ok_or(Status::GENERAL_ERROR)?;
        let own = self.domain.id();
        let found = pin(&owner, via.reference, own, access, Purpose::CopyForOther)?;
        let Found::Frame(inner, frame, part) = found else {
            // Is not what comes of pinning for another.
            return Err(Status::GENERAL_ERROR.into());
        };
        let inner = PinGuard::new(Owner::PassedOn(owner.clone()), inner);
        let outer = self
            .domain
            .grants
            .lock()
            .pin_via(reference, user, access, via)?
            .ok_or(Failure::Again)?;
        Ok(Held {
            _outer: Some(PinGuard::new(Owner::Named(&self.domain), outer)),
            page: Page::get(&owner, frame, access)?,
            part,
            _pin: Some(inner),
        })
    }
}

/// What copies may use: other domains' grants too, unless the command line says no.
fn purpose() -> Purpose {
    if config::get().grants.transitive {
        Purpose::Copy
    } else {
        Purpose::CopyForOther
    }
}

/// A frame that can be copied from or to. The references go before the pins, and the outer pin before that of what it
/// passes on.
struct Held<'a> {
    page: Page,
    part: Part,
    _outer: Option<PinGuard<'a>>,
    _pin: Option<PinGuard<'a>>,
}

enum Page {
    Read(PageRef<'static>),
    Write(WritablePage),
}

impl Page {
    #[inline]
    fn get(owner: &Domain, frame: Mfn, access: Access) -> Result<Self, Status> {
        let get = || {
            mm::frame_table()
                .get(frame, owner.id())
                .ok_or(Status::BAD_PAGE)
        };
        if access.read_only {
            return get().map(Self::Read);
        }
        match mm::writable_page(owner, frame) {
            Some(page) => Ok(Self::Write(page)),
            None => Err(get().err().unwrap_or(Status::GENERAL_ERROR)),
        }
    }
}

impl Held<'_> {
    fn page(&self) -> &PageRef<'static> {
        match &self.page {
            Page::Read(page) => page,
            Page::Write(page) => page.deref(),
        }
    }
}

/// Whose table a pin came from.
enum Owner<'a> {
    Named(&'a Arc<Domain>),
    PassedOn(Arc<Domain>),
}

/// A pin that is given back at the end of the copy.
struct PinGuard<'a> {
    owner: Owner<'a>,
    pin: Option<Pin>,
}

impl<'a> PinGuard<'a> {
    fn new(owner: Owner<'a>, pin: Pin) -> Self {
        Self {
            owner,
            pin: Some(pin),
        }
    }
}

impl Drop for PinGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(pin) = self.pin.take() {
            match &self.owner {
                Owner::Named(domain) => death::unpin(domain, pin),
                Owner::PassedOn(domain) => death::unpin(domain, pin),
            }
        }
    }
}
