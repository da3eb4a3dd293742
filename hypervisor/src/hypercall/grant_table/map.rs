//! Mapping granted frames into the caller's page tables, and unmapping them.
//!
//! An entry that maps a grant is an ordinary entry to the frames' account: it holds its own references. The pin
//! keeps the granting domain from taking the frame back, until no TLB holds the mapping any more.

use alloc::sync::Arc;

use ::hypercall::{CallFrame, Outcome};
use addr::{Mfn, Vaddr};
use arrayvec::ArrayVec;
use frames::{AccessBits, Entry, Owners};
use grants::{Access, Handle, Pin, Purpose, Status, Taken};
use platform_cpu::guest;
use xen_abi::errno::Errno;
use xen_abi::grant_table as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::pin::{Found, pin};
use super::{BUDGET, rest};
use crate::context::Context;
use crate::domain::{DomId, Domain};
use crate::mm::{self, CpuSet, Leaf, WritablePage, validator, walk_to_l1};
use crate::{death, domains};

/// `GNTTABOP_map_grant_ref`.
pub(super) fn map(context: &mut Context<'_>, request: &mut abi::MapGrantRef) -> Status {
    match try_map(context, request) {
        Ok(()) => Status::OKAY,
        Err(status) => status,
    }
}

fn try_map(context: &mut Context<'_>, request: &mut abi::MapGrantRef) -> Result<(), Status> {
    let access = Access::from_map_flags(request.flags);
    if access.is_none() {
        return Err(Status::BAD_GNTREF);
    }
    let granting = domains::find(request.dom).ok_or(Status::BAD_DOMAIN)?;
    let user = context.domain.id();
    let reserved = context.domain.maptrack.lock().reserve()?;
    let found = pin(&granting, request.reference, user, access, Purpose::Map);
    let (pin, frame) = match found {
        Ok(Found::Frame(pin, frame, _)) => (pin, frame),
        refused => {
            context.domain.maptrack.lock().release(reserved);
            // What another domain granted is not what comes of pinning for a mapping.
            return Err(refused.err().unwrap_or(Status::GENERAL_ERROR));
        }
    };
    match map_frame(context, request, access, &granting, frame) {
        Ok(device_guard) => {
            request.dev_bus_addr = frame.maddr().map_or(0, |maddr| maddr.raw());
            request.handle = context.domain.maptrack.lock().commit(
                reserved,
                granting.id(),
                request.flags,
                (pin, frame.raw()),
                device_guard,
            );
            Ok(())
        }
        Err(status) => {
            // Nothing was mapped, so no TLB can hold it.
            death::unpin(&granting, pin);
            context.domain.maptrack.lock().release(reserved);
            Err(status)
        }
    }
}

/// Makes the frame accessible as asked for. Returns what keeps it writable for devices.
fn map_frame(
    context: &Context<'_>,
    request: &abi::MapGrantRef,
    access: Access,
    granting: &Domain,
    frame: Mfn,
) -> Result<Option<WritablePage>, Status> {
    let device_guard = if access.device && !access.read_only {
        let page = mm::writable_page(granting, frame).ok_or(Status::GENERAL_ERROR)?;
        Some(page)
    } else {
        None
    };
    if access.host {
        let place = Place::find(context, request.host_addr, request.flags)?;
        place.set(context, host_entry(frame, request.flags), granting.id())?;
    }
    Ok(device_guard)
}

/// The page-table entry for a mapping.
fn host_entry(frame: Mfn, flags: u32) -> Entry {
    /// Bits of an entry that are the guest's to use.
    const AVAILABLE_SHIFT: u32 = 9;
    const AVAILABLE: u64 = 0b111 << AVAILABLE_SHIFT;
    let mut bits = Entry::PRESENT | Entry::ACCESSED | Entry::DIRTY;
    if flags & abi::GNTMAP_READONLY == 0 {
        bits |= Entry::WRITABLE;
    }
    if flags & abi::GNTMAP_APPLICATION_MAP != 0 {
        bits |= Entry::USER;
    }
    bits |= (u64::from(flags >> abi::GNTMAP_GUEST_AVAIL0) << AVAILABLE_SHIFT) & AVAILABLE;
    Entry(frame.raw() << addr::PAGE_SHIFT | bits)
}

/// An entry of one of the caller's L1 tables.
struct Place(Leaf);

impl Place {
    /// Finds the entry that an address stands for: the entry's own machine address, or the address that it maps.
    fn find(context: &Context<'_>, address: u64, flags: u32) -> Result<Self, Status> {
        if flags & abi::GNTMAP_CONTAINS_PTE == 0 {
            return Self::of_address(context, address);
        }
        // Not a part of two entries (XSA-227).
        if !address.is_multiple_of(8) {
            return Err(Status::GENERAL_ERROR);
        }
        Ok(Self(Leaf {
            table: Mfn::new(address >> addr::PAGE_SHIFT),
            index: (address % addr::PAGE_SIZE / 8) as usize,
        }))
    }

    fn of_address(context: &Context<'_>, address: u64) -> Result<Self, Status> {
        let root = context.state.roots.kernel().ok_or(Status::GENERAL_ERROR)?;
        walk_to_l1(root.frame(), Vaddr::new(address))
            .map(Self)
            .ok_or(Status::GENERAL_ERROR)
    }

    /// Sets the entry to map a frame of `owner`.
    fn set(&self, context: &Context<'_>, entry: Entry, owner: DomId) -> Result<(), Status> {
        let owners = Owners {
            table: context.domain.id(),
            page: owner,
        };
        validator()
            .lock(self.0.table, owners.table)
            .and_then(|table| table.modify_l1(self.0.index, entry, AccessBits::Replace, owners))
            .map_err(|_| Status::GENERAL_ERROR)
    }

    /// Replaces the entry, which must map `frame` as the mapping's flags say.
    fn replace(
        &self,
        context: &Context<'_>,
        frame: Mfn,
        flags: u32,
        new: Entry,
    ) -> Result<(), Status> {
        let own = context.domain.id();
        let table = validator()
            .lock(self.0.table, own)
            .map_err(|_| Status::GENERAL_ERROR)?;
        let old = table.read(self.0.index);
        let is_writable = old.0 & Entry::WRITABLE != 0;
        let should_be = flags & abi::GNTMAP_READONLY == 0;
        if !old.is_present() || old.frame() != frame || is_writable != should_be {
            return Err(Status::GENERAL_ERROR);
        }
        table
            .modify_l1(self.0.index, new, AccessBits::Replace, Owners::same(own))
            .map_err(|_| Status::GENERAL_ERROR)
    }

    fn read(&self, context: &Context<'_>) -> Result<Entry, Status> {
        validator()
            .lock(self.0.table, context.domain.id())
            .map(|table| table.read(self.0.index))
            .map_err(|_| Status::GENERAL_ERROR)
    }
}

/// A request to unmap.
pub(super) trait Unmap: FromBytes + IntoBytes + Immutable {
    /// The mapping.
    fn handle(&self) -> Handle;
    /// Where CPUs have it mapped; 0 to leave that.
    fn host_address(&self) -> u64;
    /// Where devices have it mapped; 0 to leave that.
    fn device_address(&self) -> u64;
    /// Where the entry is that takes the place of the CPUs'; 0 for none.
    fn replacement(&self) -> u64;
    /// Sets the answer.
    fn set_status(&mut self, status: Status);
}

impl Unmap for abi::UnmapGrantRef {
    fn handle(&self) -> Handle {
        self.handle
    }
    fn host_address(&self) -> u64 {
        self.host_addr
    }
    fn device_address(&self) -> u64 {
        self.dev_bus_addr
    }
    fn replacement(&self) -> u64 {
        0
    }
    fn set_status(&mut self, status: Status) {
        self.status = status.0;
    }
}

impl Unmap for abi::UnmapAndReplace {
    fn handle(&self) -> Handle {
        self.handle
    }
    fn host_address(&self) -> u64 {
        self.host_addr
    }
    fn device_address(&self) -> u64 {
        0
    }
    fn replacement(&self) -> u64 {
        self.new_addr
    }
    fn set_status(&mut self, status: Status) {
        self.status = status.0;
    }
}

/// Mappings that are gone from the page tables, and wait for the TLBs.
type Unflushed = ArrayVec<(DomId, Pin, Option<WritablePage>), { BUDGET as usize }>;

/// Handles a list of requests to unmap, with one flush of the TLBs for all.
pub(super) fn unmap_list<T: Unmap>(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let size = size_of::<T>() as u64;
    let [_, at, count, ..] = frame.args;
    let count = u64::from(count as u32);
    if !guest::is_guest_range(Vaddr::new(at), count * size) {
        return Outcome::error(Errno::EFAULT);
    }
    let now = count.min(u64::from(BUDGET));
    let mut unflushed = Unflushed::new();
    let mut outcome = Outcome::SUCCESS;
    for index in 0..now {
        let here = Vaddr::new(at.wrapping_add(index * size));
        let Ok(mut request) = guest::read::<T>(here) else {
            outcome = Outcome::error(Errno::EFAULT);
            break;
        };
        let status = match unmap(context, &request, &mut unflushed) {
            Ok(()) => Status::OKAY,
            Err(status) => status,
        };
        request.set_status(status);
        if guest::write(here, &request).is_err() {
            outcome = Outcome::error(Errno::EFAULT);
            break;
        }
    }
    release(context.domain, &mut unflushed);
    if outcome == Outcome::SUCCESS && now < count {
        return rest(frame, Vaddr::new(at.wrapping_add(now * size)), count - now);
    }
    outcome
}

/// Takes a mapping out of the page tables.
fn unmap<T: Unmap>(
    context: &Context<'_>,
    request: &T,
    unflushed: &mut Unflushed,
) -> Result<(), Status> {
    let (host, device) = (request.host_address() != 0, request.device_address() != 0);
    let part = context
        .domain
        .maptrack
        .lock()
        .take(request.handle(), host, device)?;
    let removed = remove(context, request, &part);
    let mut maptrack = context.domain.maptrack.lock();
    if let Err(status) = removed {
        maptrack.put_back(part);
        return Err(status);
    }
    let domid = part.domid;
    if let Some((pin, guard)) = maptrack.finish(part)
        && let Err(full) = unflushed.try_push((domid, pin, guard))
    {
        // Cannot happen: a list has no more requests than there is room for.
        drop(maptrack);
        release(context.domain, unflushed);
        let _ = unflushed.try_push(full.element());
    }
    Ok(())
}

fn remove<T: Unmap>(
    context: &Context<'_>,
    request: &T,
    part: &Taken<WritablePage>,
) -> Result<(), Status> {
    let Some(pin) = &part.pin else {
        return Ok(());
    };
    let frame = Mfn::new(part.frame);
    let device_address = request.device_address();
    if device_address != 0 && frame.maddr().map(|maddr| maddr.raw()) != Some(device_address) {
        return Err(Status::GENERAL_ERROR);
    }
    if !pin.access().host {
        return Ok(());
    }
    let place = Place::find(context, request.host_address(), part.flags)?;
    if request.replacement() == 0 {
        return place.replace(context, frame, part.flags, Entry(0));
    }
    if part.flags & abi::GNTMAP_CONTAINS_PTE != 0 {
        return Err(Status::GENERAL_ERROR);
    }
    let source = Place::of_address(context, request.replacement())?;
    let entry = source.read(context)?;
    place.replace(context, frame, part.flags, entry)?;
    source.set(context, Entry(0), context.domain.id())
}

/// Gives back the pins of mappings that are gone from the page tables, after the TLBs forgot them too.
fn release(domain: &Domain, unflushed: &mut Unflushed) {
    if unflushed.is_empty() {
        return;
    }
    mm::flush_on(CpuSet::of(domain));
    // As a rule one domain's.
    let mut last: Option<Arc<Domain>> = None;
    while let Some((domid, pin, guard)) = unflushed.pop() {
        drop(guard);
        if last.as_ref().is_none_or(|last| last.id() != domid) {
            // A domain whose grants are in use is not gone.
            last = domains::find(domid);
        }
        if let Some(granting) = &last {
            death::unpin(granting, pin);
        }
    }
    drop(last);
    death::reap();
}
