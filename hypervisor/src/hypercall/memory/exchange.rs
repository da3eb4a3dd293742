//! `XENMEM_exchange`: gives pages for others that are adjacent, or lower.
//!
//! It works in chunks, the larger extent of the two sides at a time: a chunk's pages are taken from the domain, new
//! ones are taken from the machine, and only then is there no way back. The guest's lists are addresses like any
//! other: each access is checked, at every element (XSA-212, XSA-29).

use alloc::vec::Vec;

use ::hypercall::{Authorized, Budget, CallFrame, Outcome, op};
use addr::{Mfn, PAGE_SHIFT, Vaddr};
use frames::{FrameList, ReadyChunk};
use platform_cpu::guest;
use xen_abi::errno::Errno;
use xen_abi::memory::MemoryExchange;

use super::reservation::{address_bits, max_order, set_numbers};
use super::{authorized, read};
use crate::context::Context;
use crate::domain::Domain;
use crate::hypercall::errno;
use crate::mm::{self, Stolen};

/// Pages that are exchanged before others may run.
const BUDGET: u32 = 4096;

/// `XENMEM_exchange`.
pub(super) fn exchange(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let at = Vaddr::new(frame.args[1]);
    let mut request: MemoryExchange = match read(at) {
        Ok(request) => request,
        Err(error) => return errno(error),
    };
    let mut preempted = false;
    let mut result = run(context, &mut request, &mut preempted);
    // How far it got is in the guest's structure: also for a call that goes on.
    let place =
        frame.args[1].checked_add(core::mem::offset_of!(MemoryExchange, nr_exchanged) as u64);
    let told = place
        .is_some_and(|place| guest::write_u64(Vaddr::new(place), request.nr_exchanged).is_ok());
    if !told {
        result = Err(Errno::EFAULT);
    } else if preempted {
        return Outcome::Preempt(*frame);
    }
    result.into()
}

/// The checked shape of an exchange.
struct Shape {
    /// Extents of each side in a chunk, as powers of two.
    input_chunk: u32,
    output_chunk: u32,
    input_order: u32,
    output_order: u32,
    input: u64,
    output: u64,
    address_bits: u32,
}

/// Checks the request; the order of the checks is Xen's.
fn check(context: &Context<'_>, request: &MemoryExchange) -> Result<Shape, Errno> {
    let (input, output) = (&request.input, &request.output);
    let (input_order, output_order) = (input.extent_order, output.extent_order);
    if input_order.max(output_order) > max_order(context) {
        return Err(Errno::EPERM);
    }
    let pages = |extents: u64, order: u32| {
        extents
            .checked_mul(1 << order)
            .filter(|pages| *pages <= u64::MAX >> PAGE_SHIFT)
    };
    if request.nr_exchanged > input.nr_extents
        || input.domid != output.domid
        || pages(input.nr_extents, input_order).is_none()
        || pages(input.nr_extents, input_order) != pages(output.nr_extents, output_order)
    {
        return Err(Errno::EINVAL);
    }
    let list_is_theirs = |list: u64, extents: u64| {
        extents
            .checked_mul(8)
            .is_some_and(|bytes| guest::is_guest_range(Vaddr::new(list), bytes))
    };
    if !list_is_theirs(input.extent_start.address, input.nr_extents)
        || !list_is_theirs(output.extent_start.address, output.nr_extents)
    {
        return Err(Errno::EFAULT);
    }
    Ok(Shape {
        input_chunk: output_order.saturating_sub(input_order),
        output_chunk: input_order.saturating_sub(output_order),
        input_order,
        output_order,
        input: input.extent_start.address,
        output: output.extent_start.address,
        address_bits: address_bits(output.mem_flags).ok_or(Errno::EINVAL)?,
    })
}

fn run(
    context: &Context<'_>,
    request: &mut MemoryExchange,
    preempted: &mut bool,
) -> Result<(), Errno> {
    let shape = check(context, request)?;
    let (domain, token) = authorized(context, request.input.domid)?;
    let mut budget = Budget::new(BUDGET);
    let chunks = request.input.nr_extents >> shape.input_chunk;
    let mut chunk = request.nr_exchanged >> shape.input_chunk;
    while chunk < chunks {
        if !budget.spend(1 << shape.input_order.max(shape.output_order)) {
            *preempted = true;
            return Ok(());
        }
        let done = shape.exchange_chunk(&domain, chunk, &token);
        // A chunk whose numbers could not be told is exchanged all the same.
        if !matches!(done, Err(ChunkError::NotDone(_))) {
            chunk += 1;
            request.nr_exchanged = chunk << shape.input_chunk;
        }
        done?;
    }
    request.nr_exchanged = request.input.nr_extents;
    Ok(())
}

enum ChunkError {
    /// Nothing has changed.
    NotDone(Errno),
    /// It is done, but the guest could not be told which frames it got.
    Untold,
}

impl From<ChunkError> for Errno {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::NotDone(errno) => errno,
            ChunkError::Untold => Self::EFAULT,
        }
    }
}

impl Shape {
    fn exchange_chunk(
        &self,
        domain: &Domain,
        chunk: u64,
        _token: &Authorized<op::MemoryExchange>,
    ) -> Result<(), ChunkError> {
        let mut stolen = FrameList::new();
        let ready = self
            .steal(domain, chunk, &mut stolen)
            .and_then(|()| self.allocate());
        let ready = match ready {
            Ok(ready) => ready,
            Err(error) => {
                mm::end_stealing(domain, &mut stolen, &Stolen::Returned);
                return Err(ChunkError::NotDone(error));
            }
        };
        mm::end_stealing(domain, &mut stolen, &Stolen::Freed);
        let mut told = true;
        for (index, ready) in ready.into_iter().enumerate() {
            let first = match mm::assign_charged(domain, ready) {
                Ok(first) => first,
                Err(ready) => {
                    mm::give_back_charged(domain, ready);
                    told = false;
                    continue;
                }
            };
            let position = (chunk << self.output_chunk) + index as u64;
            let place = Vaddr::new(self.output.wrapping_add(position.wrapping_mul(8)));
            match guest::read_u64(place) {
                Ok(number) => set_numbers(first, number, self.output_order),
                Err(_) => told = false,
            }
            told &= guest::write_u64(place, first.raw()).is_ok();
        }
        if told {
            Ok(())
        } else {
            Err(ChunkError::Untold)
        }
    }

    /// Takes a chunk's pages from the domain.
    fn steal(&self, domain: &Domain, chunk: u64, stolen: &mut FrameList) -> Result<(), Errno> {
        let table = mm::frame_table();
        for index in 0..1 << self.input_chunk {
            let position = (chunk << self.input_chunk) + index;
            let place = Vaddr::new(self.input.wrapping_add(position.wrapping_mul(8)));
            let first = guest::read_u64(place).map_err(|_| Errno::EFAULT)?;
            for offset in 0..1 << self.input_order {
                let frame = Mfn::new(first.checked_add(offset).ok_or(Errno::EINVAL)?);
                // The stamp stays with the frame: it is flushed before anyone gets it.
                mm::steal_page(domain, frame).ok_or(Errno::EINVAL)?;
                stolen.push(table, frame);
            }
        }
        Ok(())
    }

    /// Takes a chunk's worth of pages from the machine.
    fn allocate(&self) -> Result<Vec<ReadyChunk<'static>>, Errno> {
        let count = 1usize << self.output_chunk;
        let mut chunks = Vec::new();
        chunks.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        for _ in 0..count {
            match mm::take_uncharged(self.output_order, self.address_bits) {
                Some(chunk) => chunks.push(chunk),
                None => {
                    chunks.into_iter().for_each(mm::give_back);
                    return Err(Errno::ENOMEM);
                }
            }
        }
        Ok(chunks)
    }
}
