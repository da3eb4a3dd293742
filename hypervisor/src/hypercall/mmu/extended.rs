//! `mmuext_op`: pins, roots, flushes, the LDT, and operations on whole pages.

use ::hypercall::{Authorized, Budget, CallFrame, Outcome, authorize, op};
use addr::{Mfn, Vaddr};
use frames::{PageType, TypeError, TypedRef, Work};
use platform_cpu::{control, guest};
use xen_abi::errno::Errno;
use xen_abi::mmu::{
    MMUEXT_CLEAR_PAGE, MMUEXT_COPY_PAGE, MMUEXT_FLUSH_CACHE, MMUEXT_FLUSH_CACHE_GLOBAL,
    MMUEXT_INVLPG_ALL, MMUEXT_INVLPG_LOCAL, MMUEXT_INVLPG_MULTI, MMUEXT_MARK_SUPER,
    MMUEXT_NEW_BASEPTR, MMUEXT_NEW_USER_BASEPTR, MMUEXT_PIN_L1_TABLE, MMUEXT_PIN_L2_TABLE,
    MMUEXT_PIN_L3_TABLE, MMUEXT_PIN_L4_TABLE, MMUEXT_SET_LDT, MMUEXT_TLB_FLUSH_ALL,
    MMUEXT_TLB_FLUSH_LOCAL, MMUEXT_TLB_FLUSH_MULTI, MMUEXT_UNMARK_SUPER, MMUEXT_UNPIN_TABLE,
    MmuextOp,
};

use super::va_mapping::cpus_of;
use super::{BUDGET, Stop, Subject, end, start, table_stop};
use crate::context::Context;
use crate::counters::{self, Count};
use crate::domain::DomId;
use crate::hypercall::errno;
use crate::mm::{self, CpuSet, MAX_LDT_ENTRIES, validator};

/// `mmuext_op(list, count, done, domid)`.
#[inline(never)]
pub fn mmuext_op(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let list = match start::<MmuextOp>(context, frame) {
        Ok(list) => list,
        Err(outcome) => return outcome,
    };
    let subject = match Subject::of_frames(context, frame.args[3] as u16) {
        Ok(subject) => subject,
        Err(error) => return errno(error),
    };
    let token = match authorize(context.domain.caller(), subject.id) {
        Ok(token) => token,
        Err(error) => return errno(error),
    };
    let mut budget = Budget::new(BUDGET);
    let mut done = 0;
    let result = loop {
        if done == list.count {
            break Ok(());
        }
        if !budget.spend(1) || !context.state.pending.is_empty() {
            break Err(Stop::Preempted);
        }
        // The list was checked to be the guest's: it has an end.
        let at = list.at + u64::from(done) * size_of::<MmuextOp>() as u64;
        // Command, first and second argument, 8 bytes each.
        let Ok([command, first, second]) = guest::read_words(Vaddr::new(at)) else {
            break Err(Stop::Failed(Errno::EFAULT));
        };
        let item = Item {
            command: command as u32,
            first,
            second,
            owner: subject.id,
        };
        // The last may overdraw: there is enough for one.
        let _ = budget.spend(item.extra_units());
        if let Err(stop) = item.perform(context, &token, &mut budget) {
            break Err(stop);
        }
        done += 1;
    };
    end::<MmuextOp>(context, frame, &list, done, result)
}

/// Loads `frame` as the page table of the guest's kernel, as `MMUEXT_NEW_BASEPTR` does: for `mov cr3`.
/// [`Outcome::Preempt`] says that the instruction is to be executed again.
pub fn new_kernel_root(context: &mut Context<'_>, frame: u64) -> Outcome {
    let again = CallFrame::default();
    if let Err(outcome) = super::finish_pending(context, &again) {
        return outcome;
    }
    let item = Item {
        command: MMUEXT_NEW_BASEPTR,
        first: frame,
        second: 0,
        owner: context.domain.id(),
    };
    match item.new_kernel_root(context, &mut Budget::new(super::BUDGET)) {
        Ok(()) => Outcome::SUCCESS,
        Err(Stop::Preempted) => Outcome::Preempt(again),
        Err(Stop::Failed(errno)) => Outcome::error(errno),
    }
}

/// One operation.
struct Item {
    command: u32,
    /// Frame or address.
    first: u64,
    /// Frame, number of descriptors, or address of a bitmap.
    second: u64,
    /// The domain whose frames it is about.
    owner: DomId,
}

impl Item {
    #[inline]
    fn perform(
        &self,
        context: &mut Context<'_>,
        _token: &Authorized<op::MmuextOp>,
        budget: &mut Budget,
    ) -> Result<(), Stop> {
        match self.command {
            MMUEXT_PIN_L1_TABLE => self.pin(context, PageType::L1, budget),
            MMUEXT_PIN_L2_TABLE => self.pin(context, PageType::L2, budget),
            MMUEXT_PIN_L3_TABLE => self.pin(context, PageType::L3, budget),
            MMUEXT_PIN_L4_TABLE => self.pin(context, PageType::L4, budget),
            MMUEXT_UNPIN_TABLE => self.unpin(context, budget),
            MMUEXT_NEW_BASEPTR => self.new_kernel_root(context, budget),
            MMUEXT_NEW_USER_BASEPTR => self.new_user_root(context, budget),
            MMUEXT_CLEAR_PAGE => Ok(self.clear_page(budget)?),
            MMUEXT_COPY_PAGE => Ok(self.copy_page(budget)?),
            MMUEXT_MARK_SUPER | MMUEXT_UNMARK_SUPER => Err(Errno::EOPNOTSUPP.into()),
            MMUEXT_TLB_FLUSH_LOCAL..=MMUEXT_SET_LDT | MMUEXT_FLUSH_CACHE_GLOBAL => {
                // These are about the caller's own CPUs.
                if self.owner != context.domain.id() {
                    return Err(Errno::EPERM.into());
                }
                Ok(self.perform_local(context)?)
            }
            _ => Err(Errno::ENOSYS.into()),
        }
    }

    /// What the operation costs beyond looking at it, in units of the budget; tables are charged as they are checked.
    fn extra_units(&self) -> u32 {
        match self.command {
            MMUEXT_CLEAR_PAGE | MMUEXT_COPY_PAGE => 4,
            MMUEXT_TLB_FLUSH_MULTI
            | MMUEXT_TLB_FLUSH_ALL
            | MMUEXT_INVLPG_MULTI
            | MMUEXT_INVLPG_ALL => 64,
            MMUEXT_FLUSH_CACHE | MMUEXT_FLUSH_CACHE_GLOBAL => BUDGET,
            _ => 0,
        }
    }

    #[inline(never)]
    fn pin(
        &self,
        context: &mut Context<'_>,
        page_type: PageType,
        budget: &mut Budget,
    ) -> Result<(), Stop> {
        let mut work = Work::new(budget, &mut context.state.pending);
        validator()
            .pin(Mfn::new(self.first), page_type, self.owner, &mut work)
            .map_err(table_stop)
    }

    #[inline(never)]
    fn unpin(&self, context: &mut Context<'_>, budget: &mut Budget) -> Result<(), Stop> {
        let mut work = Work::new(budget, &mut context.state.pending);
        validator()
            .unpin(Mfn::new(self.first), self.owner, &mut work)
            .map_err(table_stop)
    }

    #[inline(never)]
    fn new_kernel_root(&self, context: &mut Context<'_>, budget: &mut Budget) -> Result<(), Stop> {
        if self.owner != context.domain.id() {
            return Err(Errno::EPERM.into());
        }
        let frame = Mfn::new(self.first);
        if let Some(root) = context.state.roots.kernel()
            && root.frame() == frame
        {
            mm::load_root(root);
            return Ok(());
        }
        let mut work = Work::new(budget, &mut context.state.pending);
        let root = validator()
            .take_root(frame, self.owner, &mut work)
            .map_err(table_stop)?;
        platform_memory::set_m2p_visible(&root, true);
        // An LDT is named by address: it may be elsewhere in the new address space.
        mm::forget_ldt(context.domain, context.vcpu);
        // The guest's kernel made the call: its root is the one that is loaded.
        mm::load_root(&root);
        if let Some(old) = context.state.roots.replace_kernel(Some(root)) {
            validator().release_root(old, &mut work);
        }
        Ok(())
    }

    #[inline(never)]
    fn new_user_root(&self, context: &mut Context<'_>, budget: &mut Budget) -> Result<(), Stop> {
        if self.owner != context.domain.id() {
            return Err(Errno::EPERM.into());
        }
        let frame = Mfn::new(self.first);
        let old = context.state.roots.user();
        if old.map_or(0, |root| root.frame().raw()) == self.first {
            return Ok(());
        }
        let mut work = Work::new(budget, &mut context.state.pending);
        let root = if self.first == 0 {
            None
        } else {
            let root = validator()
                .take_root(frame, self.owner, &mut work)
                .map_err(table_stop)?;
            let kernel = context.state.roots.kernel();
            if kernel.is_none_or(|kernel| kernel.frame() != frame) {
                platform_memory::set_m2p_visible(&root, false);
            }
            Some(root)
        };
        if let Some(old) = context.state.roots.replace_user(root) {
            validator().release_root(old, &mut work);
        }
        Ok(())
    }

    #[inline]
    fn perform_local(&self, context: &mut Context<'_>) -> Result<(), Errno> {
        let domain = context.domain;
        let address = Vaddr::new(self.first);
        let is_address = guest::is_guest_range(address, 1);
        let cpus = || cpus_of(domain, self.second).map_err(|_| Errno::EINVAL);
        match self.command {
            MMUEXT_TLB_FLUSH_LOCAL => {
                counters::count(Count::LocalFlushes);
                mm::flush_local();
            }
            MMUEXT_TLB_FLUSH_MULTI => {
                counters::count(Count::GuestFlushes);
                mm::flush_on(cpus()?);
            }
            MMUEXT_TLB_FLUSH_ALL => mm::flush_on(CpuSet::of(domain)),
            MMUEXT_INVLPG_LOCAL if is_address => control::invlpg(address),
            MMUEXT_INVLPG_MULTI => {
                counters::count(Count::GuestFlushes);
                let cpus = cpus()?;
                if is_address {
                    mm::flush_page_on(cpus, address);
                }
            }
            MMUEXT_INVLPG_ALL if is_address => mm::flush_page_on(CpuSet::of(domain), address),
            MMUEXT_INVLPG_LOCAL | MMUEXT_INVLPG_ALL => {}
            MMUEXT_FLUSH_CACHE | MMUEXT_FLUSH_CACHE_GLOBAL => {
                if !domain.io_access.has_devices() {
                    return Err(Errno::EACCES);
                }
                // Caches are coherent between CPUs: writing back this one's is what the domain's own lines need.
                control::wbinvd();
            }
            MMUEXT_SET_LDT => return self.set_ldt(context),
            _ => return Err(Errno::ENOSYS),
        }
        Ok(())
    }

    #[inline(never)]
    fn set_ldt(&self, context: &mut Context<'_>) -> Result<(), Errno> {
        let entries = self.second as u32;
        let base = if entries == 0 { 0 } else { self.first };
        if Vaddr::new(base).page_offset() != 0
            || !guest::is_guest_range(Vaddr::new(base), 1)
            || entries > MAX_LDT_ENTRIES
        {
            return Err(Errno::EINVAL);
        }
        let state = &mut *context.state;
        if (state.ldt_base, state.ldt_entries) != (base, entries) {
            mm::set_ldt(context.domain, context.vcpu, state, base, entries);
        }
        Ok(())
    }

    /// A page of the owner's to write to.
    fn writable(&self, frame: u64, budget: &mut Budget) -> Result<TypedRef<'static>, Errno> {
        let mut pending = frames::Pending::new();
        validator()
            .take(
                Mfn::new(frame),
                PageType::Writable,
                self.owner,
                &mut Work::new(budget, &mut pending),
            )
            .map_err(|_: TypeError| Errno::EINVAL)
    }

    #[inline(never)]
    fn clear_page(&self, budget: &mut Budget) -> Result<(), Errno> {
        let page = self.writable(self.first, budget)?;
        platform_memory::map(page.page()).zero();
        Ok(())
    }

    #[inline(never)]
    fn copy_page(&self, budget: &mut Budget) -> Result<(), Errno> {
        let source = mm::frame_table()
            .get(Mfn::new(self.second), self.owner)
            .ok_or(Errno::EINVAL)?;
        let destination = self.writable(self.first, budget)?;
        platform_memory::map(destination.page()).copy_page_from(&platform_memory::map(&source));
        Ok(())
    }
}
