//! `XENMEM_increase_reservation`, `XENMEM_decrease_reservation`, `XENMEM_populate_physmap`: pages for a domain, and
//! back.
//!
//! The result is the number of extents that were done, whatever stopped the rest.

use ::hypercall::{Authorized, Budget, CallFrame, Outcome, authorize, op};
use addr::{Mfn, Pfn, Vaddr};
use frames::OldContent;
use platform_cpu::guest;
use platform_memory::m2p;
use xen_abi::memory::{
    DECREASE_RESERVATION, INCREASE_RESERVATION, MemoryReservation, XENMEMF_POPULATE_ON_DEMAND,
};

use super::{OPERATION_BITS, subject};
use crate::context::Context;
use crate::domain::Domain;
use crate::mm;

/// Bits of `mem_flags` that limit the address width.
const ADDRESS_BITS: u32 = 0xff;
/// Any address.
const ANY_ADDRESS: u32 = 64;
/// Largest extents, as powers of two of pages, that a domain with and one without devices can have.
const MAX_ORDER_HARDWARE: u32 = 18;
const MAX_ORDER: u32 = 9;
/// Pages that are handled before others may run.
const BUDGET: u32 = 4096;

/// The largest extent that the caller may have.
pub(super) fn max_order(context: &Context<'_>) -> u32 {
    if context.domain.io_access.has_devices() || context.domain.caller().is_control {
        MAX_ORDER_HARDWARE
    } else {
        MAX_ORDER
    }
}

/// The address width that `mem_flags` ask for; `None` if it is none.
pub(super) fn address_bits(mem_flags: u32) -> Option<u32> {
    match mem_flags & ADDRESS_BITS {
        0 => Some(ANY_ADDRESS),
        bits if bits > addr::PAGE_SHIFT => Some(bits),
        _ => None,
    }
}

/// Permission to change a domain's reservation, whichever way.
enum Permission {
    Increase(#[expect(dead_code, reason = "the proof")] Authorized<op::MemoryIncreaseReservation>),
    Decrease(#[expect(dead_code, reason = "the proof")] Authorized<op::MemoryDecreaseReservation>),
    Populate(#[expect(dead_code, reason = "the proof")] Authorized<op::MemoryPopulatePhysmap>),
}

/// Does the three operations. `progress` extents were done before.
pub(super) fn adjust(
    context: &mut Context<'_>,
    frame: &CallFrame,
    operation: u32,
    progress: u64,
) -> Outcome {
    let done_before = Outcome::Done(progress as i64);
    let at = Vaddr::new(frame.args[1]);
    let Ok(request) = guest::read::<MemoryReservation>(at) else {
        return done_before;
    };
    // More could not be encoded in a preempted call.
    if request.nr_extents > u64::from(u32::MAX >> OPERATION_BITS) || progress >= request.nr_extents
    {
        return done_before;
    }
    let Ok(domain) = subject(context, request.domid) else {
        return done_before;
    };
    let caller = context.domain.caller();
    let permission = match operation {
        INCREASE_RESERVATION => authorize(caller, domain.id()).map(Permission::Increase),
        DECREASE_RESERVATION => authorize(caller, domain.id()).map(Permission::Decrease),
        _ => authorize(caller, domain.id()).map(Permission::Populate),
    };
    let (Ok(permission), Some(bits)) = (permission, address_bits(request.mem_flags)) else {
        return done_before;
    };
    let is_decrease = matches!(permission, Permission::Decrease(_));
    if request.extent_order > max_order(context)
        || (!is_decrease && request.mem_flags & XENMEMF_POPULATE_ON_DEMAND != 0)
    {
        return done_before;
    }
    let reservation = Reservation {
        domain: &domain,
        list: request.extent_start.address,
        order: request.extent_order,
        address_bits: bits,
    };
    let mut budget = Budget::new(BUDGET);
    let mut done = progress;
    while done < request.nr_extents {
        if !budget.spend(1 << request.extent_order) {
            let again = u64::from(operation) | done << OPERATION_BITS;
            return Outcome::Preempt(frame.with_arg(0, again));
        }
        let one = match permission {
            Permission::Increase(_) => reservation.increase(done),
            Permission::Decrease(_) => reservation.decrease(done),
            Permission::Populate(_) => reservation.populate(done),
        };
        if one.is_none() {
            break;
        }
        done += 1;
    }
    Outcome::Done(done as i64)
}

struct Reservation<'d> {
    domain: &'d Domain,
    /// Address of the list of extents; 0 if there is none.
    list: u64,
    order: u32,
    address_bits: u32,
}

impl Reservation<'_> {
    fn place(&self, index: u64) -> Option<Vaddr> {
        self.list.checked_add(index.checked_mul(8)?).map(Vaddr::new)
    }

    fn allocate(&self) -> Option<Mfn> {
        mm::assign_pages(
            self.domain,
            self.order,
            self.address_bits,
            OldContent::Cleared,
        )
    }

    /// Undoes an allocation that the guest cannot be told of.
    fn release(&self, first: Mfn) {
        for number in first.raw()..first.raw() + (1 << self.order) {
            mm::release_page(self.domain, Mfn::new(number));
        }
    }

    fn increase(&self, index: u64) -> Option<()> {
        let first = self.allocate()?;
        if self.list != 0 {
            let told = self
                .place(index)
                .is_some_and(|place| guest::write_u64(place, first.raw()).is_ok());
            if !told {
                self.release(first);
                return None;
            }
        }
        Some(())
    }

    fn decrease(&self, index: u64) -> Option<()> {
        let first = guest::read_u64(self.place(index)?).ok()?;
        let end = first.checked_add(1 << self.order)?;
        for number in first..end {
            if !mm::release_page(self.domain, Mfn::new(number)) {
                return None;
            }
        }
        Some(())
    }

    fn populate(&self, index: u64) -> Option<()> {
        let place = self.place(index)?;
        let number = guest::read_u64(place).ok()?;
        let first = self.allocate()?;
        set_numbers(first, number, self.order);
        if guest::write_u64(place, first.raw()).is_err() {
            self.release(first);
            return None;
        }
        Some(())
    }
}

/// Notes by which numbers the owner knows the frames of an extent.
pub(super) fn set_numbers(first: Mfn, number: u64, order: u32) {
    for offset in 0..1 << order {
        m2p::set(
            Mfn::new(first.raw() + offset),
            Pfn::new(number.wrapping_add(offset)),
        );
    }
}
