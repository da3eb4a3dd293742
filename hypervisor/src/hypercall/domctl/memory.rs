//! A domain's memory: how much it may have, and what its frames are.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use ::hypercall::{Authorized, op};
use addr::{Mfn, PAGE_SIZE};
use frames::PageType;
use xen_abi::domctl as abi;
use xen_abi::domctl::domain::MaxMem;
use xen_abi::domctl::memory::GetPageFrameInfo3;
use xen_abi::errno::Errno;

use super::{read, write};
use crate::context::Context;
use crate::domain::Domain;
use crate::mm;

/// Sets how much memory the domain may own; what it has beyond that stays.
pub(super) fn max_mem(
    _permission: Authorized<op::DomctlMaxMem>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &MaxMem,
) -> Result<(), Errno> {
    let pages = wanted.max_memkb / (PAGE_SIZE / 1024);
    // An `unsigned int` in Xen.
    let limit = pages.min(u64::from(u32::MAX));
    domain.memory.limit.store(limit, Ordering::Relaxed);
    Ok(())
}

/// Says of frames which kind of page table they are: each number of the list is replaced by its kind.
pub(super) fn page_frame_info(
    _permission: Authorized<op::DomctlGetpageframeinfo3>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &GetPageFrameInfo3,
) -> Result<(), Errno> {
    /// Most frames at a time.
    const MOST: u64 = 1024;
    if domain.id() == context.domain.id() {
        return Err(Errno::EINVAL);
    }
    if wanted.num > MOST {
        return Err(Errno::E2BIG);
    }
    for index in 0..wanted.num {
        let at = wanted.array.element(index).ok_or(Errno::EFAULT)?.address;
        let frame: u64 = read(at)?;
        write(at, &u64::from(kind(domain, Mfn::new(frame))))?;
    }
    Ok(())
}

fn kind(domain: &Domain, frame: Mfn) -> u32 {
    let table = mm::frame_table();
    // Held: it stays the domain's while it is looked at.
    let Some(page) = table.get(frame, domain.id()) else {
        return abi::PFINFO_XTAB;
    };
    let Some(report) = table.report(page.frame()) else {
        return abi::PFINFO_XTAB;
    };
    let level = if report.is_validated && report.type_references != 0 {
        match report.page_type {
            PageType::L1 => abi::PFINFO_L1TAB,
            PageType::L2 => abi::PFINFO_L2TAB,
            PageType::L3 => abi::PFINFO_L3TAB,
            PageType::L4 => abi::PFINFO_L4TAB,
            _ => abi::PFINFO_NOTAB,
        }
    } else {
        abi::PFINFO_NOTAB
    };
    if report.is_pinned {
        level | abi::PFINFO_LPINTAB
    } else {
        level
    }
}
