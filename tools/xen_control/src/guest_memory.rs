//! A domain's memory: frames for it, its page tables, its grants.

use xen_abi::domctl::HYPERCALL_INIT;
use xen_abi::domctl::domain::HypercallInit;
use xen_abi::grant_table::GTF_PERMIT_ACCESS;
use xen_abi::memory::{
    CLAIM_PAGES, DECREASE_RESERVATION, MemoryReservation, POPULATE_PHYSMAP, RESOURCE_GRANT_TABLE,
    RESOURCE_GRANT_TABLE_ID_SHARED,
};
use xen_abi::mmu::{
    MMUEXT_CLEAR_PAGE, MMUEXT_PIN_L4_TABLE, MMUEXT_UNPIN_TABLE, MmuextOp, MmuextOpArg1,
};
use xen_abi::{DomId, Errno, GuestHandle, XenPfn, hypercall};
use xen_sys::SharedPages;
use zerocopy::FromZeros;

use crate::call::{About, Control};
use crate::error::ControlError;

/// Bytes of an entry of a grant table of version 1.
const GRANT_ENTRY: usize = 8;

/// Extents asked for at once: their list fills four pages.
const EXTENTS: usize = 2048;

/// Extents of one size, each by its first frame in the domain.
#[derive(Clone, Copy, Debug)]
pub struct Extents<'a> {
    /// First frames.
    pub first: &'a [u64],
    /// Size, as a power of two of pages.
    pub order: u32,
}

/// A frame that another domain may map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantedFrame {
    /// The number of the grant.
    pub reference: u32,
    /// The machine frame.
    pub frame: u64,
    /// Who may map it.
    pub to: DomId,
}

impl Control {
    /// Gives a domain memory. For each extent that it got, `got` is told the extent's first frame in the domain and
    /// in the machine. Fewer than were asked for are no error: whoever asks compares.
    ///
    /// The hypervisor notes by itself which frame of the domain each machine frame is.
    pub fn populate(
        &self,
        domain: DomId,
        extents: Extents<'_>,
        mut got: impl FnMut(u64, u64),
    ) -> Result<usize, ControlError> {
        let about = About::domain("give it memory", domain);
        let mut total = 0;
        for part in extents.first.chunks(EXTENTS) {
            let list = self.buffer_of(about, part)?;
            let argument = MemoryReservation {
                extent_start: list.handle(),
                nr_extents: part.len() as u64,
                extent_order: extents.order,
                mem_flags: 0,
                domid: domain,
                ..MemoryReservation::new_zeroed()
            };
            let (done, _) =
                self.operation(about, hypercall::MEMORY_OP, POPULATE_PHYSMAP, &argument)?;
            let done = usize::try_from(done).unwrap_or(0).min(part.len());
            for (first, machine) in part.iter().zip(list.to_vec(done)) {
                got(*first, machine);
            }
            total += done;
            if done < part.len() {
                break;
            }
        }
        Ok(total)
    }

    /// Takes machine frames from a paravirtual domain; gives how many it gave.
    pub fn depopulate(&self, domain: DomId, frames: &[XenPfn]) -> Result<usize, ControlError> {
        let about = About::domain("take memory from it", domain);
        let list = self.buffer_of(about, frames)?;
        let argument = MemoryReservation {
            extent_start: list.handle(),
            nr_extents: frames.len() as u64,
            domid: domain,
            ..MemoryReservation::new_zeroed()
        };
        let (done, _) =
            self.operation(about, hypercall::MEMORY_OP, DECREASE_RESERVATION, &argument)?;
        Ok(usize::try_from(done).unwrap_or(0))
    }

    /// Keeps so many pages free for a domain, beyond those that it has; 0 gives up what was kept.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there are not so many; `ENOSYS` or `EOPNOTSUPP` where this does not exist.
    pub fn claim(&self, domain: DomId, pages: u64) -> Result<(), ControlError> {
        let about = About::domain("reserve memory for it", domain);
        let argument = MemoryReservation {
            extent_start: GuestHandle::NULL,
            nr_extents: pages,
            domid: domain,
            ..MemoryReservation::new_zeroed()
        };
        self.operation(about, hypercall::MEMORY_OP, CLAIM_PAGES, &argument)
            .map(drop)
    }

    /// Maps machine frames of a paravirtual domain, in this order.
    pub fn map_frames(&self, domain: DomId, frames: &[u64]) -> Result<SharedPages, ControlError> {
        self.map(domain, frames, true)
    }

    /// Maps machine frames of a paravirtual domain for reading only, in this order: page tables can be had in no other
    /// way.
    pub fn view_frames(&self, domain: DomId, frames: &[u64]) -> Result<SharedPages, ControlError> {
        self.map(domain, frames, false)
    }

    fn map(
        &self,
        domain: DomId,
        frames: &[u64],
        writable: bool,
    ) -> Result<SharedPages, ControlError> {
        let about = About::domain("map its memory", domain);
        self.privcmd
            .map_foreign(domain, frames, writable)
            .map_err(|error| about.device(&error))?
            .complete()
            .map_err(|(_, errno)| about.error(errno))
    }

    /// Has a domain's top page table checked, and kept as one.
    pub fn pin_root(&self, domain: DomId, frame: u64) -> Result<(), ControlError> {
        let about = About::domain("check its page tables", domain);
        self.mmuext(about, domain, MMUEXT_PIN_L4_TABLE, frame)
    }

    /// Takes back [`Self::pin_root`].
    pub fn unpin_root(&self, domain: DomId, frame: u64) -> Result<(), ControlError> {
        let about = About::domain("let go of its page tables", domain);
        self.mmuext(about, domain, MMUEXT_UNPIN_TABLE, frame)
    }

    fn mmuext(
        &self,
        about: About,
        domain: DomId,
        command: u32,
        frame: u64,
    ) -> Result<(), ControlError> {
        let operation = MmuextOp {
            cmd: command,
            arg1: MmuextOpArg1::new(frame),
            ..MmuextOp::new_zeroed()
        };
        let buffer = self.buffer(about, &operation)?;
        self.call(
            about,
            hypercall::MMUEXT_OP,
            [buffer.address(), 1, 0, u64::from(domain), 0],
        )
        .map(drop)
    }

    /// Zeroes frames of a domain.
    pub fn clear_frames(&self, domain: DomId, frames: &[u64]) -> Result<(), ControlError> {
        let about = About::domain("clear its memory", domain);
        for part in frames.chunks(EXTENTS) {
            let operations: Vec<MmuextOp> = part
                .iter()
                .map(|frame| MmuextOp {
                    cmd: MMUEXT_CLEAR_PAGE,
                    arg1: MmuextOpArg1::new(*frame),
                    ..MmuextOp::new_zeroed()
                })
                .collect();
            let buffer = self.buffer_of(about, &operations)?;
            let count = part.len() as u64;
            self.call(
                about,
                hypercall::MMUEXT_OP,
                [buffer.address(), count, 0, u64::from(domain), 0],
            )?;
        }
        Ok(())
    }

    /// Has the page written by which older kernels make hypercalls.
    pub fn write_hypercall_page(&self, domain: DomId, frame: u64) -> Result<(), ControlError> {
        let about = About::domain("write its hypercall page", domain);
        self.domctl(about, HYPERCALL_INIT, HypercallInit { gmfn: frame })
            .map(drop)
    }

    /// Writes grants into a new domain's table, which has version 1 still.
    pub fn seed_grants(&self, domain: DomId, grants: &[GrantedFrame]) -> Result<(), ControlError> {
        let about = About::domain("write its grant table", domain);
        let page = self
            .privcmd
            .map_resource(
                domain,
                RESOURCE_GRANT_TABLE,
                RESOURCE_GRANT_TABLE_ID_SHARED,
                0,
                1,
                true,
            )
            .map_err(|error| about.device(&error))?;
        for grant in grants {
            let at = grant.reference as usize * GRANT_ENTRY;
            let frame = u32::try_from(grant.frame).map_err(|_| about.error(Errno::ERANGE))?;
            if at + GRANT_ENTRY > page.len() {
                return Err(about.error(Errno::E2BIG));
            }
            page.store_u32(at + 4, frame);
            page.store_u16(at + 2, grant.to);
            // What makes the entry valid comes last.
            page.fence();
            page.store_u16(at, GTF_PERMIT_ACCESS);
        }
        Ok(())
    }
}
