//! What a controller sets of a domain: names, clocks, nodes.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use ::hypercall::{Authorized, op};
use xen_abi::domctl::domain::{
    AddressSize, NodeAffinity, SetDomainHandle, SetTimeOffset, SetVirqHandler, TscInfo,
};
use xen_abi::errno::Errno;

use crate::context::Context;
use crate::domain::{Domain, TscMode};
use crate::hypercall::bitmap;
use crate::{events, time};

/// Sets the domain's UUID.
pub(super) fn set_handle(
    _permission: Authorized<op::DomctlSetdomainhandle>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &SetDomainHandle,
) -> Result<(), Errno> {
    domain.set_handle(wanted.handle);
    Ok(())
}

/// Bits of the guest's words: 64 is what there is.
const ADDRESS_SIZE: u32 = 64;

/// Chooses between guests of 32 and 64 bits.
pub(super) fn set_address_size(
    _permission: Authorized<op::DomctlSetAddressSize>,
    _context: &Context<'_>,
    _domain: &Arc<Domain>,
    wanted: &AddressSize,
) -> Result<(), Errno> {
    match wanted.size {
        ADDRESS_SIZE => Ok(()),
        // As a Xen without them: no 32-bit guests.
        32 => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EINVAL),
    }
}

/// Says which it is.
pub(super) fn get_address_size(
    _permission: Authorized<op::DomctlGetAddressSize>,
    _context: &Context<'_>,
    _domain: &Arc<Domain>,
    answer: &mut AddressSize,
) -> Result<(), Errno> {
    answer.size = ADDRESS_SIZE;
    Ok(())
}

/// Sets how far the domain's wall clock is ahead of the machine's.
pub(super) fn set_time_offset(
    _permission: Authorized<op::DomctlSettimeoffset>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &SetTimeOffset,
) -> Result<(), Errno> {
    const NANOSECONDS: i64 = 1_000_000_000;
    let offset = wanted.time_offset_seconds.saturating_mul(NANOSECONDS);
    domain.time_offset.store(offset, Ordering::Relaxed);
    time::update_wall_clock(domain);
    Ok(())
}

/// Never emulated, and emulated as needed, which it is not: a domain stays on its machine.
const TSC_DEFAULT: u32 = 0;
const TSC_NEVER_EMULATED: u32 = 2;
const TSC_ALWAYS_EMULATED: u32 = 1;

/// Chooses how the time-stamp counter is shown.
pub(super) fn set_tsc(
    _permission: Authorized<op::DomctlSettscinfo>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &TscInfo,
) -> Result<(), Errno> {
    if domain.id() == context.domain.id() {
        return Err(Errno::EINVAL);
    }
    match wanted.tsc_mode {
        TSC_DEFAULT | TSC_NEVER_EMULATED => {}
        TSC_ALWAYS_EMULATED => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    }
    domain.settings.lock().tsc = TscMode {
        mode: wanted.tsc_mode,
        incarnation: wanted.incarnation,
    };
    Ok(())
}

/// Says how the time-stamp counter is shown, and what it shows.
pub(super) fn get_tsc(
    _permission: Authorized<op::DomctlGettscinfo>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
    answer: &mut TscInfo,
) -> Result<(), Errno> {
    if domain.id() == context.domain.id() {
        return Err(Errno::EINVAL);
    }
    let tsc = domain.settings.lock().tsc;
    let (elapsed_nsec, gtsc_khz) = if tsc.mode == TSC_NEVER_EMULATED {
        (0, 0)
    } else {
        (time::now(), (time::tsc_frequency() / 1000) as u32)
    };
    *answer = TscInfo {
        tsc_mode: tsc.mode,
        gtsc_khz,
        incarnation: tsc.incarnation,
        pad: 0,
        elapsed_nsec,
    };
    Ok(())
}

/// Makes the domain the one that handles a virtual interrupt of the machine's.
pub(super) fn set_virq_handler(
    _permission: Authorized<op::DomctlSetVirqHandler>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &SetVirqHandler,
) -> Result<(), Errno> {
    if domain.is_dying() {
        return Err(Errno::EINVAL);
    }
    events::set_virq_handler(domain, wanted.virq)
}

/// Chooses the nodes that a domain's memory comes from: there is one.
pub(super) fn set_node_affinity(
    _permission: Authorized<op::DomctlSetnodeaffinity>,
    _context: &Context<'_>,
    _domain: &Arc<Domain>,
    wanted: &NodeAffinity,
) -> Result<(), Errno> {
    let first = bitmap::read_words::<1>(&wanted.nodemap)?;
    if first[0] & 1 == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Says which nodes these are.
pub(super) fn get_node_affinity(
    _permission: Authorized<op::DomctlGetnodeaffinity>,
    _context: &Context<'_>,
    _domain: &Arc<Domain>,
    answer: &NodeAffinity,
) -> Result<(), Errno> {
    bitmap::write(&answer.nodemap, |node| node == 0)
}
