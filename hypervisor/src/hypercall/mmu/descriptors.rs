//! `set_gdt` and `update_descriptor`.

use ::hypercall::{Authorized, Budget, CallFrame, Outcome, authorize, op};
use addr::{Mfn, PAGE_SIZE, Vaddr};
use frames::{PageType, Pending, Work, check_descriptor};
use platform_cpu::guest;
use xen_abi::errno::Errno;

use super::finish_pending;
use crate::context::Context;
use crate::hypercall::{errno, ok};
use crate::mm::{self, MAX_GDT_ENTRIES, validator};
use crate::vcpu::MAX_GDT_FRAMES;

/// Descriptors in a page.
const PER_PAGE: u64 = 512;

/// `set_gdt(frames, entries)`: the vCPU's descriptor table, by the frames that hold it.
#[inline(never)]
pub fn set_gdt(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    if let Err(outcome) = finish_pending(context, frame) {
        return outcome;
    }
    let [list, entries, ..] = frame.args;
    match authorize(context.domain.caller(), context.domain.id()) {
        Ok(token) => set(context, list, u64::from(entries as u32), &token).into(),
        Err(error) => errno(error),
    }
}

fn set(
    context: &mut Context<'_>,
    list: u64,
    entries: u64,
    _token: &Authorized<op::SetGdt>,
) -> Result<(), Errno> {
    if entries > MAX_GDT_ENTRIES {
        return Err(Errno::EINVAL);
    }
    let mut frames = [0; MAX_GDT_FRAMES];
    let wanted = frames
        .get_mut(..entries.div_ceil(PER_PAGE) as usize)
        .ok_or(Errno::EINVAL)?;
    guest::copy_words_from(wanted, Vaddr::new(list)).map_err(|_| Errno::EFAULT)?;
    mm::set_descriptor_frames(context.domain, context.vcpu, context.state, wanted, entries)?;
    mm::flush_local();
    Ok(())
}

/// `update_descriptor(address, descriptor)`: writes a descriptor at a machine address.
#[inline(never)]
pub fn update_descriptor(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let [address, descriptor, ..] = frame.args;
    match authorize(context.domain.caller(), context.domain.id()) {
        Ok(token) => update(context, address, descriptor, &token),
        Err(error) => errno(error),
    }
}

#[inline]
fn update(
    context: &Context<'_>,
    address: u64,
    descriptor: u64,
    _token: &Authorized<op::UpdateDescriptor>,
) -> Outcome {
    let offset = address & (PAGE_SIZE - 1);
    let checked = match check_descriptor(descriptor) {
        Some(checked) if offset.is_multiple_of(8) => checked,
        _ => return errno(Errno::EINVAL),
    };
    let frame = Mfn::new(address / PAGE_SIZE);
    // In a page of descriptors it counts at once; in one that the guest may write, the guest could as well.
    let page_type = match mm::frame_table().report(frame) {
        Some(report) if report.page_type == PageType::Descriptors => PageType::Descriptors,
        _ => PageType::Writable,
    };
    let mut budget = Budget::new(1);
    let mut pending = Pending::new();
    let mut work = Work::new(&mut budget, &mut pending);
    match validator().take(frame, page_type, context.domain.id(), &mut work) {
        Ok(page) => {
            platform_memory::map(page.page()).store_u64(offset as usize, checked);
            ok()
        }
        Err(_) => errno(Errno::EINVAL),
    }
}
