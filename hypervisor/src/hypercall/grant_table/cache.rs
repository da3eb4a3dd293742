//! `GNTTABOP_cache_flush`: writes a part of a page back from the CPUs' caches, for a device that does not look there.

use ::hypercall::{Budget, CallFrame, Outcome};
use addr::{Mfn, PAGE_SIZE, Vaddr};
use platform_cpu::guest;
use xen_abi::errno::Errno;
use xen_abi::grant_table as abi;

use super::{BUDGET, rest};
use crate::context::Context;
use crate::{domains, mm};

/// What looking for a grant in another domain's table takes of the budget.
const COST: u32 = 16;

/// Handles a list of requests, which have no answers of their own: the first that fails ends the call.
pub(super) fn flush_list(context: &Context<'_>, frame: &CallFrame) -> Outcome {
    let size = size_of::<abi::CacheFlush>() as u64;
    let [_, at, count, ..] = frame.args;
    let count = u64::from(count as u32);
    if !guest::is_guest_range(Vaddr::new(at), count * size) {
        return Outcome::error(Errno::EFAULT);
    }
    let mut budget = Budget::new(BUDGET);
    for done in 0..count {
        let here = Vaddr::new(at.wrapping_add(done * size));
        if !budget.spend(COST) {
            return rest(frame, here, count - done);
        }
        let Ok(request) = guest::read::<abi::CacheFlush>(here) else {
            return Outcome::error(Errno::EFAULT);
        };
        if let Err(errno) = flush(context, &request) {
            return Outcome::error(errno);
        }
    }
    Outcome::SUCCESS
}

fn flush(context: &Context<'_>, request: &abi::CacheFlush) -> Result<(), Errno> {
    const KNOWN: u32 = abi::GNTTAB_CACHE_CLEAN | abi::GNTTAB_CACHE_INVAL;
    let (offset, length) = (u64::from(request.offset), u64::from(request.length));
    if offset >= PAGE_SIZE || offset + length > PAGE_SIZE || request.op & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    if length == 0 || request.op == 0 {
        return Ok(());
    }
    let frame = Mfn::new(request.a.dev_bus_addr() >> addr::PAGE_SHIFT);
    if frame.raw() > mm::max_frame() {
        return Err(Errno::EINVAL);
    }
    let page = mm::frame_table().get_any(frame).ok_or(Errno::EPERM)?;
    let user = context.domain.id();
    if page.owner() != user {
        let owner = domains::find(page.owner()).ok_or(Errno::EPERM)?;
        let is_granted = owner
            .grants
            .lock()
            .in_use()
            .any(|(_, by, granted)| by == user && granted.frame() == frame);
        if !is_granted {
            return Err(Errno::EINVAL);
        }
    }
    // The CPU has no way to forget what is in a cache without writing it back.
    if request.op & abi::GNTTAB_CACHE_CLEAN == 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    platform_memory::map(&page).flush_cache(offset as usize, length as usize);
    Ok(())
}
