//! `grant_table_op` (public/grant_table.h): lists of requests, each with a status of its own.
//!
//! What may be done is decided in `logic/grants`; here requests are read, page tables changed and bytes copied. A
//! list is interrupted when its budget is spent: the call starts again with the rest of it.

mod cache;
mod copy;
mod map;
mod pin;
mod transfer;

use alloc::sync::Arc;

use ::hypercall::{Authorized, Budget, CallFrame, Operation, Outcome, authorize, op};
use addr::{Mfn, Vaddr};
use frames::PageRef;
use grants::Status;
use platform_cpu::guest;
use xen_abi::domid::DOMID_SELF;
use xen_abi::errno::Errno;
use xen_abi::grant_table as abi;
use xen_abi::{DomId, GuestHandle};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::context::Context;
use crate::domain::{Domain, DomainMemory};
use crate::events::shared_page_by_view;
use crate::mm::{self, LentPage, WritablePage};
use crate::{config, domains};

/// The grants of a domain.
pub type GrantTable = grants::GrantTable<EntryFrame, PageRef<'static>>;
/// A domain's mappings of grants.
pub type Maptrack = grants::Maptrack<WritablePage>;

/// Limit of a grant table, in frames (Xen's `gnttab_max_frames`).
pub const MAX_FRAMES: u32 = 64;
/// Limit of a domain's mappings, in frames of Xen's (`gnttab_max_maptrack_frames`).
pub const MAX_MAPTRACK_FRAMES: u32 = 1024;
/// Mappings in such a frame.
const MAPPINGS_PER_FRAME: u32 = 256;

/// A frame of a grant table: the hypervisor's, lent to the domain.
pub struct EntryFrame(LentPage);

impl EntryFrame {
    /// The page.
    pub fn page(&self) -> &PageRef<'static> {
        &self.0
    }
}

shared_page_by_view!(EntryFrame, |self| &self.0);

/// What a domain may have of grants.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Frames of its grant table.
    pub frames: u32,
    /// Frames of its mappings.
    pub maptrack_frames: u32,
    /// The latest version of its grant table.
    pub version: u32,
}

impl Limits {
    /// As much as any domain may have.
    pub fn most() -> Self {
        Self {
            frames: MAX_FRAMES,
            maptrack_frames: MAX_MAPTRACK_FRAMES,
            version: config::get().grants.max_version,
        }
    }
}

/// Makes the grant table and the mappings of a new domain; `None` if there is no memory.
pub fn new_tables(
    domain: DomId,
    account: &DomainMemory,
    limits: Limits,
) -> Option<(GrantTable, Maptrack)> {
    let mut table = GrantTable::new(domain, limits.frames, limits.version);
    // As on Xen, the first frame is there from the start.
    grow(&mut table, domain, account, 1).ok()?;
    let mappings = limits.maptrack_frames.saturating_mul(MAPPINGS_PER_FRAME);
    Some((table, Maptrack::new(mappings)))
}

fn grow(
    table: &mut GrantTable,
    domain: DomId,
    account: &DomainMemory,
    frames: u32,
) -> Result<(), Errno> {
    table.grow(frames, || lend(domain, account))
}

/// A new frame of a domain's table.
fn lend(domain: DomId, account: &DomainMemory) -> Result<EntryFrame, Errno> {
    mm::share_new_page(domain, account)
        .map(EntryFrame)
        .ok_or(Errno::ENOMEM)
}

/// A kind of frames of a grant table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Of entries.
    Shared,
    /// Of status words.
    Status,
}

/// How many frames of a kind a domain's table can have.
pub fn most_frames(domain: &Domain, kind: Kind) -> u32 {
    let table = domain.grants.lock();
    match kind {
        Kind::Shared => table.max_frames(),
        Kind::Status => table.max_status_frames(),
    }
}

/// Calls `each` with `count` frames of a domain's table from `first` on; the table grows so far.
///
/// # Errors
/// `EINVAL` beyond the table's limit, or if it has no such frames in its version; `ENOMEM`.
pub fn frames(
    domain: &Domain,
    kind: Kind,
    first: u64,
    count: u32,
    mut each: impl FnMut(Mfn),
) -> Result<(), Errno> {
    let end = first
        .checked_add(u64::from(count))
        .and_then(|end| u32::try_from(end).ok())
        .ok_or(Errno::EINVAL)?;
    let mut table = domain.grants.lock();
    if domain.is_dying() {
        return Err(Errno::EINVAL);
    }
    let frames = match kind {
        Kind::Shared => {
            grow(&mut table, domain.id(), &domain.memory, end)?;
            table.frames()
        }
        Kind::Status => {
            table.grow_to_status_frames(end, || lend(domain.id(), &domain.memory))?;
            table.status_frames()
        }
    };
    for frame in frames.iter().take(end as usize).skip(first as usize) {
        each(frame.0.frame());
    }
    Ok(())
}

/// Requests that a call handles before it lets others run.
const BUDGET: u32 = 64;

/// Handles the call.
#[inline(never)]
pub fn grant_table_op(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let [command, at, count, ..] = frame.args;
    let (command, count) = (command as u32, count as u32);
    if i32::try_from(count).is_err() {
        return Outcome::error(Errno::EINVAL);
    }
    let at = Vaddr::new(at);
    match command {
        abi::MAP_GRANT_REF => list(context, frame, |context, request: &mut abi::MapGrantRef| {
            request.status = map::map(context, request).0;
            Progress::Done
        }),
        abi::UNMAP_GRANT_REF => map::unmap_list::<abi::UnmapGrantRef>(context, frame),
        abi::UNMAP_AND_REPLACE => map::unmap_list::<abi::UnmapAndReplace>(context, frame),
        abi::COPY => list(context, frame, |context, request: &mut abi::Copy| {
            request.status = match copy::copy(context, request) {
                Ok(()) => Status::OKAY.0,
                Err(copy::Failure::Status(status)) => status.0,
                Err(copy::Failure::Again) => return Progress::Again,
            };
            Progress::Done
        }),
        abi::SWAP_GRANT_REF => list(
            context,
            frame,
            |context, request: &mut abi::SwapGrantRef| {
                let mut grants = context.domain.grants.lock();
                request.status = status(grants.swap(request.ref_a, request.ref_b)).0;
                Progress::Done
            },
        ),
        abi::TRANSFER => list(context, frame, |context, request: &mut abi::Transfer| {
            request.status = status(transfer::transfer(context, request)).0;
            Progress::Done
        }),
        abi::SETUP_TABLE => one(count, at, |request: &mut abi::SetupTable| {
            request.status = status(setup_table(context, request)).0;
        }),
        abi::QUERY_SIZE => one(count, at, |request: &mut abi::QuerySize| {
            request.status = status(query_size(context, request)).0;
        }),
        abi::GET_STATUS_FRAMES => one(count, at, |request: &mut abi::GetStatusFrames| {
            request.status = status(status_frames(context, request)).0;
        }),
        abi::SET_VERSION => set_version(context, at).into(),
        abi::GET_VERSION => get_version(context, at).into(),
        abi::CACHE_FLUSH => cache::flush_list(context, frame),
        // The high bits are for continuations of the last one.
        _ if command > 0xfff => Outcome::error(Errno::EINVAL),
        _ => super::not_implemented(context, "grant_table_op", command),
    }
}

fn status(result: Result<(), Status>) -> Status {
    match result {
        Ok(()) => Status::OKAY,
        Err(status) => status,
    }
}

/// What became of a request.
enum Progress {
    /// It has its answer.
    Done,
    /// It has to be made again, after others had their turn.
    Again,
}

/// Handles a list of requests, each of which gets its answer written back.
#[inline]
fn list<T: FromBytes + IntoBytes + Immutable>(
    context: &mut Context<'_>,
    frame: &CallFrame,
    mut handle: impl FnMut(&mut Context<'_>, &mut T) -> Progress,
) -> Outcome {
    let size = size_of::<T>() as u64;
    let [_, at, count, ..] = frame.args;
    let count = u64::from(count as u32);
    if !guest::is_guest_range(Vaddr::new(at), count * size) {
        return Outcome::error(Errno::EFAULT);
    }
    let mut budget = Budget::new(BUDGET);
    for done in 0..count {
        // The list was checked to be the guest's: no address in it overflows.
        let here = Vaddr::new(at.wrapping_add(done * size));
        if !budget.spend(1) {
            return rest(frame, here, count - done);
        }
        let Ok(mut request) = guest::read::<T>(here) else {
            return Outcome::error(Errno::EFAULT);
        };
        if matches!(handle(context, &mut request), Progress::Again) {
            return rest(frame, here, count - done);
        }
        if guest::write(here, &request).is_err() {
            return Outcome::error(Errno::EFAULT);
        }
    }
    Outcome::SUCCESS
}

/// The same call for the rest of its list.
fn rest(frame: &CallFrame, at: Vaddr, count: u64) -> Outcome {
    Outcome::Preempt(frame.with_arg(1, at.raw()).with_arg(2, count))
}

/// Handles the only request of a call that takes one.
fn one<T: FromBytes + IntoBytes + Immutable>(
    count: u32,
    at: Vaddr,
    handle: impl FnOnce(&mut T),
) -> Outcome {
    if count != 1 {
        return Outcome::error(Errno::EINVAL);
    }
    let Ok(mut request) = guest::read::<T>(at) else {
        return Outcome::error(Errno::EFAULT);
    };
    handle(&mut request);
    match guest::write(at, &request) {
        Ok(()) => Outcome::SUCCESS,
        Err(_) => Outcome::error(Errno::EFAULT),
    }
}

/// The domain that a request names, which may be the caller, and the permission to do `O` to it.
fn named<O: Operation>(
    context: &Context<'_>,
    domid: DomId,
) -> Result<(Arc<Domain>, Authorized<O>), Status> {
    let domain = if domid == DOMID_SELF || domid == context.domain.id() {
        context.domain.clone()
    } else {
        domains::find(domid).ok_or(Status::BAD_DOMAIN)?
    };
    let permission =
        authorize(context.domain.caller(), domain.id()).map_err(|_| Status::PERMISSION_DENIED)?;
    Ok((domain, permission))
}

/// Grows the table to the number of frames asked for, and tells where they are.
fn setup_table(context: &Context<'_>, request: &abi::SetupTable) -> Result<(), Status> {
    let (domain, _permission) = named::<op::GrantSetupTable>(context, request.dom)?;
    let mut table = domain.grants.lock();
    grow(&mut table, domain.id(), &domain.memory, request.nr_frames)
        .map_err(|_| Status::GENERAL_ERROR)?;
    let frames = table.frames();
    let told = frames.len().min(request.nr_frames as usize);
    write_numbers(request.frame_list, frames.get(..told).unwrap_or(frames))
}

fn query_size(context: &Context<'_>, request: &mut abi::QuerySize) -> Result<(), Status> {
    let (domain, _permission) = named::<op::GrantQuerySize>(context, request.dom)?;
    let table = domain.grants.lock();
    request.nr_frames = table.frames().len() as u32;
    request.max_nr_frames = table.max_frames();
    Ok(())
}

/// Tells where the frames of status words are.
fn status_frames(context: &Context<'_>, request: &abi::GetStatusFrames) -> Result<(), Status> {
    let (domain, _permission) = named::<op::GrantGetStatusFrames>(context, request.dom)?;
    let table = domain.grants.lock();
    let frames = table
        .status_frames()
        .get(..request.nr_frames as usize)
        .ok_or(Status::GENERAL_ERROR)?;
    write_numbers(request.frame_list, frames)
}

/// Writes the numbers of frames to a list of the guest's, as many as it can.
fn write_numbers<T>(list: GuestHandle<T>, frames: &[EntryFrame]) -> Result<(), Status> {
    let mut result = Ok(());
    for (index, frame) in (0..).zip(frames) {
        let number = frame.0.frame().raw();
        let written = list
            .element(index)
            .is_some_and(|at| guest::write(Vaddr::new(at.address), &number).is_ok());
        if !written {
            result = Err(Status::BAD_VIRT_ADDR);
        }
    }
    result
}

fn set_version(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let mut request: abi::SetVersion = guest::read(at).map_err(|_| Errno::EFAULT)?;
    let domain = context.domain;
    let mut table = domain.grants.lock();
    let result = table.set_version(
        request.version,
        || lend(domain.id(), &domain.memory),
        |frame| frame.0.is_in_use(),
    );
    // Also if it is refused, the guest is told what it has.
    request.version = table.version();
    drop(table);
    let unused = guest::write(at, &request)
        .map_err(|_| Errno::EFAULT)
        .and(result)?;
    // After the lock: they are freed.
    drop(unused);
    Ok(())
}

fn get_version(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let mut request: abi::GetVersion = guest::read(at).map_err(|_| Errno::EFAULT)?;
    let (domain, _permission) =
        named::<op::GrantGetVersion>(context, request.dom).map_err(|status| {
            if status == Status::PERMISSION_DENIED {
                Errno::EPERM
            } else {
                Errno::ESRCH
            }
        })?;
    request.version = domain.grants.lock().version();
    guest::write(at, &request).map_err(|_| Errno::EFAULT)
}
