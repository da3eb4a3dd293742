//! `memory_op` (public/memory.h). The low six bits of the command are the operation, the rest is the progress of one
//! that was preempted.

mod exchange;
mod maps;
mod reservation;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use ::hypercall::{Authorized, CallFrame, Operation, Outcome, authorize, op};
use addr::Vaddr;
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
use crate::hypercall::{errno, not_implemented};
use crate::mm;

pub use maps::set_machine_map;

/// Bits of the command that are the operation (`MEMOP_CMD_MASK`).
const OPERATION_BITS: u32 = 6;

/// `memory_op(command, argument)`.
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

/// Sets pages aside for a domain that is being built. COMPAT: nothing is set aside; the toolstack's check
/// that there is enough holds at this moment, and an allocation may fail later all the same.
fn claim_pages(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let argument: MemoryReservation = read(at)?;
    if !argument.extent_start.is_null() || argument.mem_flags != 0 || argument.extent_order != 0 {
        return Err(Errno::EINVAL);
    }
    let (domain, _token) = authorized::<op::MemoryClaimPages>(context, argument.domid)?;
    let total = domain.memory.total.load(Ordering::Relaxed);
    if argument.nr_extents == 0 {
        return Ok(());
    }
    let limit = domain.memory.limit.load(Ordering::Relaxed);
    if argument.nr_extents <= total || argument.nr_extents > limit {
        return Err(Errno::EINVAL);
    }
    if argument.nr_extents - total > mm::free_frames() {
        return Err(Errno::ENOMEM);
    }
    Ok(())
}
