//! Guests' descriptor tables.
//!
//! A GDT is named by frames, an LDT by an address: its pages are found and checked when the CPU first faults on
//! them. Every page that is mapped has a type reference as a page of descriptors. When a guest changes what is
//! mapped where, its LDT pages are given up, to be found again.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ::hypercall::{Budget, CrashReason};
use addr::{Mfn, Vaddr};
use arrayvec::ArrayVec;
use frames::{Entry, PageType, Pending, TableMemory, TypedRef, Work};
use platform_cpu::{MAX_CPUS, control, cpu_id, hooks};
use platform_memory::{DirectMap, LDT_PAGES, PerDomainArea};
use xen_abi::errno::Errno;

use super::{validator, walk_to_l1};
use crate::context::Context;
use crate::domain::Domain;
use crate::vcpu::{MAX_GDT_FRAMES, Vcpu, VcpuState};
use crate::{domains, trap};

/// Descriptors in a page.
const PER_PAGE: u64 = 512;
/// Most descriptors that a guest's GDT can have; the rest are the hypervisor's.
pub const MAX_GDT_ENTRIES: u64 = MAX_GDT_FRAMES as u64 * PER_PAGE;
/// Most descriptors of an LDT.
pub const MAX_LDT_ENTRIES: u32 = 8192;

/// The pages of a vCPU's LDT that are mapped.
#[derive(Debug, Default)]
pub struct LdtShadow {
    pages: [Option<TypedRef<'static>>; LDT_PAGES],
    mapped: u32,
}

impl LdtShadow {
    /// The pages that are mapped.
    pub fn pages(&self) -> impl Iterator<Item = &TypedRef<'static>> {
        self.pages.iter().flatten()
    }
}

/// What the LDT of the vCPU on a CPU is, for faults of the hypervisor itself on it.
struct LoadedLdt {
    domain: AtomicU32,
    vcpu: AtomicU32,
    base: AtomicU64,
    entries: AtomicU32,
}

static LOADED: [LoadedLdt; MAX_CPUS] = [const {
    LoadedLdt {
        domain: AtomicU32::new(0),
        vcpu: AtomicU32::new(0),
        base: AtomicU64::new(0),
        entries: AtomicU32::new(0),
    }
}; MAX_CPUS];

/// Takes a frame as a page of descriptors, checking what is in it.
fn descriptor_page(domain: &Domain, frame: Mfn) -> Option<TypedRef<'static>> {
    let mut budget = Budget::unlimited();
    let mut pending = Pending::new();
    let mut work = Work::new(&mut budget, &mut pending);
    validator()
        .take(frame, PageType::Descriptors, domain.id(), &mut work)
        .ok()
}

/// Makes `frames` the GDT of `target`, with `entries` descriptors, in place of the frames that it had.
///
/// # Errors
/// `EINVAL` for too many entries, or a frame that is not the domain's, is mapped writable, or holds a descriptor
/// that a guest may not have; nothing has changed then.
pub fn set_descriptor_frames(
    domain: &Domain,
    target: &Vcpu,
    state: &mut VcpuState,
    frames: &[u64],
    entries: u64,
) -> Result<(), Errno> {
    if entries > MAX_GDT_ENTRIES {
        return Err(Errno::EINVAL);
    }
    let count = entries.div_ceil(PER_PAGE) as usize;
    let frames = frames.get(..count).ok_or(Errno::EINVAL)?;
    let mut pages = ArrayVec::<TypedRef<'static>, MAX_GDT_FRAMES>::new();
    for frame in frames {
        let page = descriptor_page(domain, Mfn::new(*frame)).ok_or(Errno::EINVAL)?;
        pages.try_push(page).map_err(|_| Errno::EINVAL)?;
    }
    let numbers: ArrayVec<Mfn, MAX_GDT_FRAMES> = pages.iter().map(TypedRef::frame).collect();
    domain.area.set_gdt_frames(target.id() as usize, &numbers);
    state.gdt_entries = entries as u32;
    // The former frames are given back once they are mapped no more.
    state.gdt_frames = pages;
    Ok(())
}

/// Loads the vCPU's descriptor tables on this CPU, where its root is loaded.
pub fn load_descriptor_tables(domain: &Domain, vcpu: &Vcpu, state: &VcpuState) {
    domain
        .area
        .load_descriptors(vcpu.id() as usize, state.ldt_entries);
    note_loaded(domain, vcpu, state);
}

fn note_loaded(domain: &Domain, vcpu: &Vcpu, state: &VcpuState) {
    if let Some(loaded) = LOADED.get(cpu_id()) {
        loaded.domain.store(domain.id().into(), Ordering::Relaxed);
        loaded.vcpu.store(vcpu.id(), Ordering::Relaxed);
        loaded.base.store(state.ldt_base, Ordering::Relaxed);
        loaded.entries.store(state.ldt_entries, Ordering::Relaxed);
    }
}

/// Registers what maps an LDT page on which the hypervisor itself faults while it loads a guest's selector.
pub fn init() {
    hooks::set_page_fault(hypervisor_fault);
}

fn hypervisor_fault(address: Vaddr, _error_code: u32) -> bool {
    let Some(loaded) = LOADED.get(cpu_id()) else {
        return false;
    };
    let vcpu = loaded.vcpu.load(Ordering::Relaxed);
    let Some((page, offset)) = PerDomainArea::ldt_offset(vcpu as usize, address) else {
        return false;
    };
    let Some(domain) = domains::find(loaded.domain.load(Ordering::Relaxed) as u16) else {
        return false;
    };
    let Some(vcpu) = domain.vcpu(vcpu) else {
        return false;
    };
    let ldt = Ldt {
        base: loaded.base.load(Ordering::Relaxed),
        entries: loaded.entries.load(Ordering::Relaxed),
        root: Mfn::new((control::read_cr3() & Entry::FRAME) >> 12),
    };
    ldt.map_page(&domain, vcpu, page, offset)
}

/// An LDT as the guest named it.
struct Ldt {
    base: u64,
    entries: u32,
    root: Mfn,
}

impl Ldt {
    /// Maps the page of the LDT where `offset` is. False if the guest has nothing there that can be a page of
    /// descriptors.
    fn map_page(&self, domain: &Domain, vcpu: &Vcpu, page: usize, offset: u64) -> bool {
        if offset >= u64::from(self.entries) * 8 {
            return false;
        }
        let Some(leaf) = self
            .base
            .checked_add(offset)
            .and_then(|address| walk_to_l1(self.root, Vaddr::new(address)))
        else {
            return false;
        };
        let entry = Entry(DirectMap.read_entry(leaf.table, leaf.index));
        if !entry.is_present() {
            return false;
        }
        let Some(reference) = descriptor_page(domain, entry.frame()) else {
            return false;
        };
        let mut shadow = vcpu.ldt.lock();
        let Some(slot) = shadow.pages.get_mut(page) else {
            return false;
        };
        domain
            .area
            .set_ldt_page(vcpu.id() as usize, page, Some(reference.frame()));
        if slot.replace(reference).is_none() {
            shadow.mapped += 1;
        }
        true
    }
}

/// A fault of the guest on the hypervisor's part of its address space. True if it is dealt with: the page of the LDT
/// is mapped, or the guest was told of the fault where its own LDT is.
///
/// # Errors
/// The domain cannot go on.
pub fn descriptor_table_fault(
    context: &mut Context<'_>,
    address: u64,
    error_code: u32,
) -> Result<bool, CrashReason> {
    let vcpu = context.vcpu;
    let Some((page, offset)) = PerDomainArea::ldt_offset(vcpu.id() as usize, Vaddr::new(address))
    else {
        return Ok(false);
    };
    let state = &context.state;
    let root = match (state.roots.kernel(), state.roots.user()) {
        // The kernel's tables map what the LDT is named by, whoever faults.
        (Some(root), _) | (None, Some(root)) => root.frame(),
        (None, None) => return Ok(false),
    };
    let ldt = Ldt {
        base: state.ldt_base,
        entries: state.ldt_entries,
        root,
    };
    if ldt.map_page(context.domain, vcpu, page, offset) {
        return Ok(true);
    }
    if offset >= u64::from(ldt.entries) * 8 {
        return Ok(false);
    }
    let there = ldt.base.wrapping_add(offset);
    if Vaddr::new(there).is_canonical() {
        trap::inject_page_fault(context, there, error_code)?;
    } else {
        /// Selector error code: the table is the LDT.
        const LOCAL: u32 = 1 << 2;
        const GENERAL_PROTECTION: u8 = 13;
        trap::inject(
            context,
            GENERAL_PROTECTION,
            (offset as u32 & 0xfff8) | LOCAL,
        )?;
    }
    Ok(true)
}

/// Makes the `entries` descriptors at `base` the vCPU's LDT; its pages are looked up when they are needed. The
/// vCPU runs on this CPU.
pub fn set_ldt(domain: &Domain, vcpu: &Vcpu, state: &mut VcpuState, base: u64, entries: u32) {
    forget_ldt(domain, vcpu);
    state.ldt_base = base;
    state.ldt_entries = entries;
    domain.area.load_ldt(vcpu.id() as usize, entries);
    note_loaded(domain, vcpu, state);
}

/// Gives up the pages of the vCPU's LDT.
#[inline]
pub fn forget_ldt(domain: &Domain, vcpu: &Vcpu) {
    let mut shadow = vcpu.ldt.lock();
    if shadow.mapped != 0 {
        domain.area.clear_ldt(vcpu.id() as usize);
        *shadow = LdtShadow::default();
    }
}

/// Gives up the pages of all LDTs of a domain: what they were named by is mapped no more. Other CPUs may have
/// translations of them; those are flushed before a page gets another type.
pub(super) fn forget_all_ldts(domain: &Domain) {
    for vcpu in domain.vcpus() {
        forget_ldt(domain, vcpu);
    }
}
