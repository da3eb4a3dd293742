//! The machine as the checks of `logic/frames` see it.

use addr::Mfn;
use frames::{Environment, IoAccess, Stamp, TableMemory, Validator};
use platform_cpu::hooks;
use platform_memory::DirectMap;
use xen_abi::domid::DOMID_IO;

use super::{descriptors, flush, frame_table};
use crate::domain::Domain;
use crate::domains;

/// The machine: page tables through the direct map, flushes by interrupt, permissions from the domains.
#[derive(Debug)]
pub struct Machine;

static MACHINE: Machine = Machine;

/// The validator of guests' page tables.
#[inline]
pub fn validator() -> Validator<'static, 'static, Machine> {
    Validator::new(frame_table(), &MACHINE)
}

impl TableMemory for Machine {
    type View<'m> = <DirectMap as TableMemory>::View<'m>;

    #[inline]
    fn view(&self, table: Mfn) -> Self::View<'_> {
        DirectMap.view(table)
    }
}

impl Machine {
    /// Asks a domain something; the one with the devices is found without a lock.
    fn ask<R>(domain: u16, question: impl FnOnce(&Domain) -> R) -> Option<R> {
        match domains::hardware() {
            Some(hardware) if hardware.id() == domain => Some(question(hardware)),
            _ => domains::find(domain).map(|domain| question(&domain)),
        }
    }
}

impl Environment for Machine {
    fn flush_stale(&self, _owner: u16, since: Stamp) {
        // Whoever had a mapping may have been another domain than the owner: all CPUs count.
        flush::flush_stale(since);
    }

    fn relax(&self) {
        hooks::spin_poll();
        core::hint::spin_loop();
    }

    fn io_access(&self, domain: u16, frame: Mfn) -> IoAccess {
        if domain == DOMID_IO {
            // The caller's own permission is asked for as well.
            return IoAccess::Full;
        }
        Self::ask(domain, |domain| domain.io_access.device_memory(frame))
            .unwrap_or(IoAccess::Denied)
    }

    fn may_set_cache_attributes(&self, domain: u16) -> bool {
        Self::ask(domain, |domain| domain.io_access.has_devices()).unwrap_or(false)
    }

    #[inline]
    fn reserved_bits(&self) -> u64 {
        flush::reserved_bits()
    }

    fn hypervisor_entry(&self, domain: u16, slot: usize) -> u64 {
        const PER_DOMAIN: usize = 260;
        if slot == PER_DOMAIN {
            return Self::ask(domain, |domain| domain.area.l4_entry()).unwrap_or(0);
        }
        platform_memory::hypervisor_entry(slot)
    }

    fn descriptor_page_unmapped(&self, domain: u16) {
        Self::ask(domain, descriptors::forget_all_ldts);
    }
}
