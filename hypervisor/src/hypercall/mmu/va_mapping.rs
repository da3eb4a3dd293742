//! `update_va_mapping`: sets the entry that maps an address in the current address space.

use ::hypercall::{Authorized, CallFrame, Outcome, authorize, op};
use addr::Vaddr;
use frames::{AccessBits, Entry, Owners};
use platform_cpu::{control, guest};
use xen_abi::errno::Errno;
use xen_abi::mmu::{UVMF_ALL, UVMF_FLUSHTYPE_MASK, UVMF_INVLPG, UVMF_LOCAL, UVMF_TLB_FLUSH};

use super::{Subject, finish_pending, l1_errno};
use crate::context::Context;
use crate::creation::MAX_VCPUS;
use crate::domain::Domain;
use crate::hypercall::{errno, ok};
use crate::mm::{self, CpuSet, validator, walk_to_l1};
use crate::vcpu::Vcpu;

/// `update_va_mapping(address, entry, flags)`.
#[inline]
pub fn update_va_mapping(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    match authorize(context.domain.caller(), context.domain.id()) {
        Ok(token) => update(context, frame, context.domain.id(), &token),
        Err(error) => errno(error),
    }
}

/// `update_va_mapping_otherdomain(address, entry, flags, domid)`: the frame is another domain's.
#[inline(never)]
pub fn update_va_mapping_otherdomain(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let subject = match Subject::of_frames(context, frame.args[3] as u16) {
        Ok(subject) => subject,
        Err(error) => return errno(error),
    };
    match authorize::<op::UpdateVaMappingOtherdomain>(context.domain.caller(), subject.id) {
        // The same work, of which the token of the wider permission is the proof.
        Ok(_) => match authorize(context.domain.caller(), context.domain.id()) {
            Ok(token) => update(context, frame, subject.id, &token),
            Err(error) => errno(error),
        },
        Err(error) => errno(error),
    }
}

#[inline]
fn update(
    context: &mut Context<'_>,
    frame: &CallFrame,
    page_owner: u16,
    _token: &Authorized<op::UpdateVaMapping>,
) -> Outcome {
    if let Err(outcome) = finish_pending(context, frame) {
        return outcome;
    }
    let [address, value, flags, ..] = frame.args;
    let address = Vaddr::new(address);
    let owner = context.domain.id();
    let leaf = context
        .state
        .roots
        .kernel()
        .and_then(|root| walk_to_l1(root.frame(), address));
    let Some(leaf) = leaf else {
        return errno(Errno::EINVAL);
    };
    let owners = Owners {
        table: owner,
        page: page_owner,
    };
    let changed = match validator().lock(leaf.table, owner) {
        Ok(table) => table.modify_l1(leaf.index, Entry(value), AccessBits::Replace, owners),
        Err(_) => return errno(Errno::EINVAL),
    };
    if let Err(error) = changed {
        return errno(l1_errno(error));
    }
    match flush(context.domain, address, flags) {
        Ok(()) => ok(),
        Err(error) => errno(error),
    }
}

/// Flushes what the flags say, now that the entry is changed.
#[inline]
fn flush(domain: &Domain, address: Vaddr, flags: u64) -> Result<(), Errno> {
    let cpus = flags & !UVMF_FLUSHTYPE_MASK;
    match flags & UVMF_FLUSHTYPE_MASK {
        UVMF_TLB_FLUSH => match cpus {
            UVMF_LOCAL => mm::flush_local(),
            UVMF_ALL => mm::flush_all_cpus(),
            bitmap => mm::flush_on(cpus_of(domain, bitmap)?),
        },
        UVMF_INVLPG => match cpus {
            UVMF_LOCAL => control::invlpg(address),
            UVMF_ALL => mm::flush_page_on(CpuSet::of(domain), address),
            bitmap => mm::flush_page_on(cpus_of(domain, bitmap)?, address),
        },
        _ => {}
    }
    Ok(())
}

/// The CPUs that have the vCPUs in a bitmap of the guest's loaded.
///
/// # Errors
/// `EFAULT`: the bitmap cannot be read.
pub(super) fn cpus_of(domain: &Domain, bitmap: u64) -> Result<CpuSet, Errno> {
    let mut bytes = [0; MAX_VCPUS.div_ceil(8) as usize];
    let named = domain.max_vcpus().div_ceil(8) as usize;
    let named = bytes.get_mut(..named).ok_or(Errno::EINVAL)?;
    guest::copy_from(named, Vaddr::new(bitmap)).map_err(|_| Errno::EFAULT)?;
    let mut cpus = CpuSet::default();
    for (first, bits) in (0..).step_by(8).zip(named) {
        while *bits != 0 {
            let vcpu = first + bits.trailing_zeros();
            if let Some(cpu) = domain.vcpu(vcpu).and_then(Vcpu::loaded_on) {
                cpus.insert(cpu);
            }
            *bits &= *bits - 1;
        }
    }
    Ok(cpus)
}
