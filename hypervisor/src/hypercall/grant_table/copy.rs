//! `GNTTABOP_copy`: bytes from a frame to another, each the caller's own or granted to it.

use alloc::sync::Arc;
use core::ops::Deref;

use addr::{Mfn, PAGE_SIZE};
use frames::PageRef;
use grants::{Access, Pin, Purpose, Status};
use xen_abi::domid::DOMID_SELF;
use xen_abi::grant_table as abi;

use crate::context::Context;
use crate::domain::Domain;
use crate::mm::{self, WritablePage};
use crate::{death, domains};

/// Does a request.
pub(super) fn copy(context: &Context<'_>, request: &abi::Copy) -> Status {
    match try_copy(context, request) {
        Ok(()) => Status::OKAY,
        Err(status) => status,
    }
}

fn try_copy(context: &Context<'_>, request: &abi::Copy) -> Result<(), Status> {
    let flags = u32::from(request.flags);
    let source = End::find(
        context,
        &request.source,
        flags & abi::GNTCOPY_SOURCE_GREF != 0,
    )?;
    let dest = End::find(context, &request.dest, flags & abi::GNTCOPY_DEST_GREF != 0)?;
    let from = source.acquire(context, &request.source, Access::copy(true))?;
    let to = dest.acquire(context, &request.dest, Access::copy(false))?;
    let in_page = |offset: u16| u64::from(offset) + u64::from(request.len) <= PAGE_SIZE;
    if !in_page(request.source.offset) || !in_page(request.dest.offset) {
        return Err(Status::BAD_COPY_ARG);
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

    fn acquire(
        &self,
        context: &Context<'_>,
        end: &abi::CopyPtr,
        access: Access,
    ) -> Result<Held, Status> {
        let (frame, pin) = if self.by_grant {
            let user = context.domain.id();
            let mut table = self.domain.grants.lock();
            let reference = end.u.reference();
            let (pin, page) = table.pin(reference, user, access, Purpose::Copy, |frame, _| {
                self.page(Mfn::new(frame)).ok_or(Status::BAD_PAGE)
            })?;
            (page.frame(), Some(PinGuard::new(&self.domain, pin)))
        } else {
            (Mfn::new(end.u.gmfn()), None)
        };
        let page = if access.read_only {
            self.page(frame).map(Page::Read).ok_or(Status::BAD_PAGE)?
        } else {
            self.page(frame).ok_or(Status::BAD_PAGE)?;
            let page = mm::writable_page(&self.domain, frame).ok_or(Status::GENERAL_ERROR)?;
            Page::Write(page)
        };
        Ok(Held { page, _pin: pin })
    }

    fn page(&self, frame: Mfn) -> Option<PageRef<'static>> {
        mm::frame_table().get(frame, self.domain.id())
    }
}

/// A frame that can be copied from or to. The references go before the pin.
struct Held {
    page: Page,
    _pin: Option<PinGuard>,
}

enum Page {
    Read(PageRef<'static>),
    Write(WritablePage),
}

impl Held {
    fn page(&self) -> &PageRef<'static> {
        match &self.page {
            Page::Read(page) => page,
            Page::Write(page) => page.deref(),
        }
    }
}

/// A pin that is given back at the end of the copy.
struct PinGuard {
    domain: Arc<Domain>,
    pin: Option<Pin>,
}

impl PinGuard {
    fn new(domain: &Arc<Domain>, pin: Pin) -> Self {
        Self {
            domain: domain.clone(),
            pin: Some(pin),
        }
    }
}

impl Drop for PinGuard {
    fn drop(&mut self) {
        if let Some(pin) = self.pin.take() {
            death::unpin(&self.domain, pin);
        }
    }
}
