//! `mmu_update`, and what it has in common with `mmuext_op` (public/xen.h).
//!
//! Both take a list, and may be interrupted in it: the call then starts again with the rest of the list and
//! [`PREEMPTED`] in its count. A table that is left half undone is finished first, whichever call comes next; if it
//! is the list's last item that left one, the call starts again with an empty list and its result in the
//! argument that named the foreign domain.

mod descriptors;
mod extended;
mod va_mapping;

use alloc::sync::Arc;

use ::hypercall::{Authorized, Budget, CallFrame, Outcome, authorize, op};
use addr::{Mfn, Pfn, Vaddr};
use frames::{AccessBits, Entry, LockedTable, Owners, PageType, TypeError, TypedRef, Work};
use platform_cpu::guest;
use platform_memory::m2p;
use xen_abi::domid::{DOMID_IO, DOMID_SELF, DOMID_XEN};
use xen_abi::errno::Errno;
use xen_abi::mmu::{
    MMU_MACHPHYS_UPDATE, MMU_NORMAL_PT_UPDATE, MMU_PT_UPDATE_NO_TRANSLATE,
    MMU_PT_UPDATE_PRESERVE_AD, MmuUpdate,
};

use crate::context::Context;
use crate::domain::{DomId, Domain};
use crate::domains;
use crate::hypercall::errno;
use crate::mm::{self, Machine, validator};

pub use descriptors::{set_gdt, update_descriptor};
pub use extended::{mmuext_op, new_kernel_root};
pub use va_mapping::{update_va_mapping, update_va_mapping_otherdomain};

/// In a count: the call is the continuation of another (`MMU_UPDATE_PREEMPTED`).
const PREEMPTED: u32 = 1 << 31;
/// Units that a call may spend: well below a millisecond.
const BUDGET: u32 = 4096;

/// Why a list is left before its end.
enum Stop {
    /// An item fails.
    Failed(Errno),
    /// The budget is spent, or a table has to be finished before the item.
    Preempted,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

/// A domain whose memory a call is about, kept alive for the call.
struct Subject {
    id: DomId,
    _domain: Option<Arc<Domain>>,
}

impl Subject {
    /// The domain whose frames are mapped, as the argument names it.
    ///
    /// # Errors
    /// `ESRCH`: there is none, or it is the caller by its number and not by `DOMID_SELF`.
    #[inline]
    fn of_frames(context: &Context<'_>, domid: u16) -> Result<Self, Errno> {
        let own = context.domain.id();
        match domid {
            DOMID_SELF => Ok(Self::own(own)),
            DOMID_IO | DOMID_XEN => Ok(Self::own(domid)),
            _ if domid == own => Err(Errno::ESRCH),
            _ => Self::find(domid).ok_or(Errno::ESRCH),
        }
    }

    fn own(id: DomId) -> Self {
        Self { id, _domain: None }
    }

    #[cold]
    fn find(id: DomId) -> Option<Self> {
        domains::find(id).map(|domain| Self {
            id,
            _domain: Some(domain),
        })
    }
}

/// A list of items and the progress in it.
struct List {
    at: u64,
    count: u32,
    /// Where the guest wants to know how many items were done; 0 if it does not.
    done_at: u64,
    /// Items that earlier parts of the call have done.
    done_before: u32,
}

/// Starts a call with a list: finishes what is left of an earlier one, and takes the arguments apart.
///
/// # Errors
/// The call is over already.
#[inline]
fn start<T>(context: &mut Context<'_>, frame: &CallFrame) -> Result<List, Outcome> {
    finish_pending(context, frame)?;
    let [at, count, done_at, foreign, ..] = frame.args;
    let mut count = count as u32;
    let mut done_before = 0;
    if count & PREEMPTED != 0 {
        if count == PREEMPTED && at == 0 {
            return Err(Outcome::Done(i64::from(foreign as i32)));
        }
        count &= !PREEMPTED;
        if done_at != 0 {
            done_before = guest::read::<u32>(Vaddr::new(done_at)).unwrap_or(0);
        }
    }
    if !guest::is_guest_range(Vaddr::new(at), u64::from(count) * size_of::<T>() as u64) {
        return Err(errno(Errno::EFAULT));
    }
    Ok(List {
        at,
        count,
        done_at,
        done_before,
    })
}

/// Finishes a table that an earlier call of the vCPU left half undone.
///
/// # Errors
/// The call has to be made again: the budget is spent.
#[inline]
fn finish_pending(context: &mut Context<'_>, frame: &CallFrame) -> Result<(), Outcome> {
    if context.state.pending.is_empty() {
        return Ok(());
    }
    let mut budget = Budget::new(BUDGET);
    let mut work = Work::new(&mut budget, &mut context.state.pending);
    validator()
        .resume(&mut work)
        .map_err(|_| Outcome::Preempt(*frame))
}

/// Ends a call with a list, of which `done` items are done.
fn end<T>(
    context: &Context<'_>,
    frame: &CallFrame,
    list: &List,
    done: u32,
    result: Result<(), Stop>,
) -> Outcome {
    if list.done_at != 0 {
        let total = list.done_before.wrapping_add(done);
        // As on Xen, a counter that cannot be written is the guest's loss.
        let _ = guest::write(Vaddr::new(list.done_at), &total);
    }
    let [_, _, done_at, foreign, ..] = frame.args;
    let value = match result {
        Err(Stop::Preempted) => {
            let rest = (list.count - done) | PREEMPTED;
            let at = list.at + u64::from(done) * size_of::<T>() as u64;
            return Outcome::Preempt(CallFrame::new(
                frame.nr,
                [at, u64::from(rest), done_at, foreign, 0, 0],
            ));
        }
        Err(Stop::Failed(errno)) => -errno.0,
        Ok(()) => 0,
    };
    if context.state.pending.is_empty() {
        return Outcome::Done(i64::from(value));
    }
    Outcome::Preempt(CallFrame::new(
        frame.nr,
        [0, u64::from(PREEMPTED), 0, u64::from(value as u32), 0, 0],
    ))
}

/// What a refused entry of an L1 table is to the guest.
fn l1_errno(error: TypeError) -> Errno {
    match error {
        TypeError::NotOwned | TypeError::Conflict | TypeError::TooMany => Errno::EBUSY,
        TypeError::IoDenied => Errno::EPERM,
        _ => Errno::EINVAL,
    }
}

/// What a refused table is to the guest.
fn table_stop(error: TypeError) -> Stop {
    match error {
        TypeError::Preempted => Stop::Preempted,
        TypeError::IoDenied => Stop::Failed(Errno::EPERM),
        TypeError::MappedPage => Stop::Failed(Errno::EBUSY),
        _ => Stop::Failed(Errno::EINVAL),
    }
}

/// `mmu_update`: writes page-table entries, and entries of the machine-to-physical table.
#[inline]
pub fn mmu_update(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    if frame.args[3] as u32 != u32::from(DOMID_SELF) {
        return update_foreign(context, frame);
    }
    let own = context.domain.id();
    update_list(context, frame, own, own)
}

/// What an item that writes a page-table entry does with the CPU's bits in it; `None` if it is none.
#[inline]
fn access_bits(pointer: u64) -> Option<AccessBits> {
    match (pointer & 7) as u32 {
        MMU_NORMAL_PT_UPDATE | MMU_PT_UPDATE_NO_TRANSLATE => Some(AccessBits::Replace),
        MMU_PT_UPDATE_PRESERVE_AD => Some(AccessBits::Preserve),
        _ => None,
    }
}

/// `mmu_update` of one entry of an L1 table of the caller's own, which is what a kernel makes for each entry that it sets
/// by itself: several hundred times for a program that it starts. `None`, and nothing is done, if it is about anything else.
#[inline]
pub fn update_one(context: &mut Context<'_>) -> Option<Outcome> {
    let regs = &context.regs;
    let (at, count, done_at, foreign) = (regs.rdi, regs.rsi, regs.rdx, regs.r10);
    if count as u32 != 1
        || done_at != 0
        || foreign as u32 != u32::from(DOMID_SELF)
        || !context.state.pending.is_empty()
    {
        return None;
    }
    let [pointer, value] = guest::read_words(Vaddr::new(at)).ok()?;
    let access = access_bits(pointer)?;
    let own = context.domain.id();
    let token = authorize::<op::MmuUpdate>(context.domain.caller(), own).ok()?;
    let owners = Owners::same(token.target());
    let table = validator().lock(Mfn::new(pointer >> 12), own).ok()?;
    if table.page_type() != PageType::L1 {
        return None;
    }
    let index = (pointer >> 3 & 511) as usize;
    Some(match table.modify_l1(index, Entry(value), access, owners) {
        Ok(()) => Outcome::SUCCESS,
        Err(error) => errno(l1_errno(error)),
    })
}

/// `mmu_update` that names a domain: the high half of the argument is the tables' plus one (0 is the caller), the low
/// half the frames'.
#[cold]
fn update_foreign(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let [at, count, _, foreign, ..] = frame.args;
    if count as u32 == PREEMPTED && at == 0 {
        // There is only a result in the argument.
        return update_list(context, frame, DOMID_SELF, DOMID_SELF);
    }
    let own = context.domain.id();
    let tables = match (foreign >> 16) as u16 {
        0 => Some(Subject::own(own)),
        domid if domid - 1 == own => Some(Subject::own(own)),
        domid => Subject::find(domid - 1),
    };
    let Some(tables) = tables else {
        return errno(Errno::EINVAL);
    };
    match Subject::of_frames(context, foreign as u16) {
        Ok(frames) => update_list(context, frame, tables.id, frames.id),
        Err(error) => errno(error),
    }
}

fn update_list(
    context: &mut Context<'_>,
    frame: &CallFrame,
    tables: DomId,
    frames: DomId,
) -> Outcome {
    let list = match start::<MmuUpdate>(context, frame) {
        Ok(list) => list,
        Err(outcome) => return outcome,
    };
    let mut update = Update {
        owners: Owners {
            table: tables,
            page: frames,
        },
        permission: Update::permission(context, tables, frames),
        target: None,
    };
    let mut budget = Budget::new(BUDGET);
    let mut done = 0;
    let mut at = list.at;
    let result = loop {
        if done == list.count {
            break Ok(());
        }
        if !budget.spend(1) || !context.state.pending.is_empty() {
            break Err(Stop::Preempted);
        }
        if let Err(stop) = update.item(context, Vaddr::new(at), &mut budget) {
            break Err(stop);
        }
        at += size_of::<MmuUpdate>() as u64;
        done += 1;
    };
    drop(update);
    end::<MmuUpdate>(context, frame, &list, done, result)
}

/// Permission to change the tables of one domain so that they map frames of another.
struct Permission {
    _tables: Authorized<op::MmuUpdate>,
    _frames: Authorized<op::MmuUpdate>,
}

struct Update {
    owners: Owners,
    permission: Result<Permission, Errno>,
    /// What the last item was about: as a rule the next one is about the same.
    target: Option<Target>,
}

/// The page that items change.
enum Target {
    /// A page table in use.
    Table(LockedTable<'static, 'static, Machine>),
    /// A page that the domain may write itself: Linux fills tables that are not in use yet this way.
    Plain(TypedRef<'static>),
}

impl Target {
    #[inline]
    fn frame(&self) -> Mfn {
        match self {
            Self::Table(table) => table.frame(),
            Self::Plain(page) => page.frame(),
        }
    }
}

impl Update {
    fn permission(
        context: &Context<'_>,
        tables: DomId,
        frames: DomId,
    ) -> Result<Permission, Errno> {
        let caller = context.domain.caller();
        // Device memory is asked for frame by frame.
        let frames = if frames == DOMID_IO { tables } else { frames };
        Ok(Permission {
            _frames: authorize(caller, frames)?,
            _tables: authorize(caller, tables)?,
        })
    }

    /// Does the item at `at`.
    #[inline]
    fn item(
        &mut self,
        context: &mut Context<'_>,
        at: Vaddr,
        budget: &mut Budget,
    ) -> Result<(), Stop> {
        let Ok([pointer, value]) = guest::read_words(at) else {
            return Err(Errno::EFAULT.into());
        };
        let Some(access) = access_bits(pointer) else {
            return match (pointer & 7) as u32 {
                MMU_MACHPHYS_UPDATE => self.set_number(context, pointer, value),
                _ => Err(Errno::ENOSYS.into()),
            };
        };
        let frame = Mfn::new(pointer >> 12);
        let index = (pointer >> 3 & 511) as usize;
        let value = Entry(value);
        let owners = self.owners;
        let target = match &mut self.target {
            Some(target) if target.frame() == frame => target,
            _ => self.find(frame)?,
        };
        match target {
            Target::Table(table) if table.page_type() == PageType::L1 => table
                .modify_l1(index, value, access, owners)
                .map_err(|error| l1_errno(error).into()),
            Target::Table(table) => modify_upper(
                table,
                index,
                value,
                access,
                owners,
                &mut Work::new(budget, &mut context.state.pending),
            ),
            Target::Plain(page) => {
                platform_memory::map(page.page()).store_u64(index * 8, value.0);
                Ok(())
            }
        }
    }

    /// Takes hold of a page, and lets go of the last item's first: it may be named by an entry of this one's.
    fn find(&mut self, frame: Mfn) -> Result<&mut Target, Errno> {
        self.target = None;
        if let Err(error) = &self.permission {
            return Err(*error);
        }
        let target = match validator().lock(frame, self.owners.table) {
            Ok(table) => Target::Table(table),
            Err(TypeError::NotATable) => Target::Plain(self.plain_page(frame)?),
            Err(_) => return Err(Errno::EINVAL),
        };
        Ok(self.target.insert(target))
    }

    /// A page that is no table.
    #[inline(never)]
    fn plain_page(&self, frame: Mfn) -> Result<TypedRef<'static>, Errno> {
        let mut pending = frames::Pending::new();
        let mut budget = Budget::new(1);
        validator()
            .take(
                frame,
                PageType::Writable,
                self.owners.table,
                &mut Work::new(&mut budget, &mut pending),
            )
            .map_err(|_| Errno::EINVAL)
    }

    /// Sets the number by which a frame's owner knows it.
    #[inline(never)]
    fn set_number(&mut self, context: &Context<'_>, pointer: u64, value: u64) -> Result<(), Stop> {
        if self.owners.table != context.domain.id() {
            return Err(Errno::EPERM.into());
        }
        if let Err(error) = &self.permission {
            return Err((*error).into());
        }
        let frame = Mfn::new(pointer >> 12);
        let Some(_page) = mm::frame_table().get(frame, self.owners.page) else {
            return Err(Errno::EINVAL.into());
        };
        m2p::set(frame, Pfn::new(value));
        Ok(())
    }
}

/// Changes an entry that names a table.
#[inline(never)]
fn modify_upper(
    table: &LockedTable<'static, 'static, Machine>,
    index: usize,
    value: Entry,
    access: AccessBits,
    owners: Owners,
    work: &mut Work<'_>,
) -> Result<(), Stop> {
    if owners.page != owners.table {
        return Err(Errno::EINVAL.into());
    }
    table
        .modify(index, value, access, owners, work)
        .map_err(table_stop)
}
