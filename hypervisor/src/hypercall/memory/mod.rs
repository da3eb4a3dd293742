//! `memory_op` (public/memory.h). The low six bits of the command are the operation, the rest is the progress of one
//! that was preempted.

mod exchange;
mod maps;
mod reservation;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use ::hypercall::{Authorized, CallFrame, Operation, Outcome, authorize, op};
use addr::Vaddr;
use arrayvec::ArrayVec;
use platform_cpu::guest;
use xen_abi::domid::DOMID_SELF;
use xen_abi::errno::Errno;
use xen_abi::memory::{
    self as abi, CLAIM_PAGES, CURRENT_RESERVATION, MAXIMUM_GPFN, MAXIMUM_RAM_PAGE,
    MAXIMUM_RESERVATION, MemoryDomain, MemoryReservation,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::context::Context;
use crate::domain::Domain;
use crate::hypercall::{errno, grant_table, not_implemented};
use crate::mm;

pub use maps::set_machine_map;

/// Bits of the command that are the operation (`MEMOP_CMD_MASK`).
const OPERATION_BITS: u32 = 6;

/// `memory_op(command, argument)`.
#[inline(never)]
pub fn memory_op(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let [command, argument, ..] = frame.args;
    let operation = (command & ((1 << OPERATION_BITS) - 1)) as u32;
    let progress = command >> OPERATION_BITS;
    let at = Vaddr::new(argument);
    match operation {
        abi::INCREASE_RESERVATION | abi::DECREASE_RESERVATION | abi::POPULATE_PHYSMAP => {
            reservation::adjust(context, frame, operation, progress)
        }
        abi::EXCHANGE => exchange::exchange(context, frame),
        MAXIMUM_RAM_PAGE => Outcome::Done(mm::max_frame() as i64),
        CURRENT_RESERVATION | MAXIMUM_RESERVATION | MAXIMUM_GPFN => {
            statistics(context, operation, at).into()
        }
        abi::MACHPHYS_MAPPING => maps::machphys_mapping(at).into(),
        abi::MACHPHYS_MFN_LIST => maps::machphys_mfn_list(at).into(),
        abi::MEMORY_MAP => maps::memory_map(context, at).into(),
        abi::MACHINE_MEMORY_MAP => maps::machine_memory_map(context, at).into(),
        abi::SET_MEMORY_MAP => maps::set_memory_map(context, at).into(),
        abi::ADD_TO_PHYSMAP => add_to_physmap(context, at).into(),
        abi::REMOVE_FROM_PHYSMAP => remove_from_physmap(context, at).into(),
        // No virtual NUMA, no device that needs memory mapped one to one.
        abi::GET_VNUMAINFO => vnuma_info(context, at).into(),
        abi::RESERVED_DEVICE_MEMORY_MAP => errno(Errno::EOPNOTSUPP),
        CLAIM_PAGES => claim_pages(context, at).into(),
        abi::ACQUIRE_RESOURCE => acquire_resource(context, at).into(),
        _ => not_implemented(context, "memory_op", operation),
    }
}

/// Reads an argument.
fn read<T: FromBytes + IntoBytes>(at: Vaddr) -> Result<T, Errno> {
    guest::read(at).map_err(|_| Errno::EFAULT)
}

/// The domain that an argument names.
///
/// # Errors
/// `ESRCH`.
fn subject(context: &Context<'_>, domid: u16) -> Result<Arc<Domain>, Errno> {
    if domid == DOMID_SELF || domid == context.domain.id() {
        return Ok(context.domain.clone());
    }
    crate::domains::find(domid).ok_or(Errno::ESRCH)
}

/// The domain that an argument names, with the permission to do `O` to it.
///
/// # Errors
/// `ESRCH`, `EPERM`.
fn authorized<O: Operation>(
    context: &Context<'_>,
    domid: u16,
) -> Result<(Arc<Domain>, Authorized<O>), Errno> {
    let domain = subject(context, domid)?;
    let token = authorize(context.domain.caller(), domain.id())?;
    Ok((domain, token))
}

fn statistics(context: &Context<'_>, operation: u32, at: Vaddr) -> Result<i64, Errno> {
    let MemoryDomain { domid } = read(at)?;
    match operation {
        CURRENT_RESERVATION => {
            let (domain, _token) = authorized::<op::MemoryCurrentReservation>(context, domid)?;
            Ok(domain.memory.total.load(Ordering::Relaxed) as i64)
        }
        MAXIMUM_RESERVATION => {
            let (domain, _token) = authorized::<op::MemoryMaximumReservation>(context, domid)?;
            let limit = domain.memory.limit.load(Ordering::Relaxed);
            Ok(i64::try_from(limit).unwrap_or(i64::MAX))
        }
        _ => {
            let (domain, _token) = authorized::<op::MemoryMaximumGpfn>(context, domid)?;
            // What the guest itself says of its memory, as on Xen.
            let offset = core::mem::offset_of!(xen_abi::shared_info::SharedInfo, arch);
            let pages = platform_memory::map(&domain.shared_info).load_u64(offset);
            Ok((pages as i64).wrapping_sub(1))
        }
    }
}

/// `XENMEM_add_to_physmap` is for domains whose physical map is the hypervisor's.
fn add_to_physmap(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let argument: abi::AddToPhysmap = read(at)?;
    let (_domain, _token) = authorized::<op::MemoryAddToPhysmap>(context, argument.domid)?;
    Err(Errno::EINVAL)
}

fn remove_from_physmap(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let argument: abi::RemoveFromPhysmap = read(at)?;
    let (_domain, _token) = authorized::<op::MemoryRemoveFromPhysmap>(context, argument.domid)?;
    Err(Errno::ENOSYS)
}

fn vnuma_info(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let argument: abi::VnumaTopologyInfo = read(at)?;
    let (_domain, _token) = authorized::<op::MemoryGetVnumainfo>(context, argument.domid)?;
    Err(Errno::EOPNOTSUPP)
}

/// Sets pages aside for a domain that is being built.
fn claim_pages(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let argument: MemoryReservation = read(at)?;
    if !argument.extent_start.is_null() || argument.mem_flags != 0 || argument.extent_order != 0 {
        return Err(Errno::EINVAL);
    }
    let (domain, _token) = authorized::<op::MemoryClaimPages>(context, argument.domid)?;
    if domain.is_dying() {
        return Err(Errno::EINVAL);
    }
    domain.memory.claim(argument.nr_extents)
}

/// Tells a controller the frames of a resource of a domain's, for it to map: of the grant table, which grows so far.
/// Without a list, how many there can be.
fn acquire_resource(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    /// Frames told at a time (Xen's limit).
    const MOST: u32 = 32;
    let mut argument: abi::AcquireResource = read(at)?;
    if argument.pad != 0 {
        return Err(Errno::EINVAL);
    }
    if argument.domid == DOMID_SELF || argument.domid == context.domain.id() {
        return Err(Errno::EPERM);
    }
    let (domain, _token) = authorized::<op::MemoryAcquireResource>(context, argument.domid)?;
    if u32::from(argument.kind) != abi::RESOURCE_GRANT_TABLE {
        return Err(Errno::EOPNOTSUPP);
    }
    let kind = match argument.id {
        abi::RESOURCE_GRANT_TABLE_ID_SHARED => grant_table::Kind::Shared,
        abi::RESOURCE_GRANT_TABLE_ID_STATUS => grant_table::Kind::Status,
        _ => return Err(Errno::EINVAL),
    };
    if argument.frame_list.is_null() {
        if argument.nr_frames != 0 {
            return Err(Errno::EINVAL);
        }
        argument.nr_frames = grant_table::most_frames(&domain, kind);
        return guest::write(at, &argument).map_err(|_| Errno::EFAULT);
    }
    if argument.nr_frames == 0 {
        return Err(Errno::EINVAL);
    }
    if argument.nr_frames > MOST {
        return Err(Errno::E2BIG);
    }
    let mut frames = ArrayVec::<u64, { MOST as usize }>::new();
    grant_table::frames(&domain, kind, argument.frame, argument.nr_frames, |frame| {
        // There is room for as many as can be asked for.
        let _ = frames.try_push(frame.raw());
    })?;
    for (index, frame) in (0..).zip(&frames) {
        let place = argument.frame_list.element(index).ok_or(Errno::EFAULT)?;
        guest::write(Vaddr::new(place.address), frame).map_err(|_| Errno::EFAULT)?;
    }
    Ok(())
}
