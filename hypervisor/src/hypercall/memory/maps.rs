//! Maps of the machine and of domains: E820 tables, and where the machine-to-physical table is.

use alloc::vec::Vec;

use ::hypercall::{authorize, op};
use addr::{PAGE_SIZE, Vaddr};
use arrayvec::ArrayVec;
use boot_info::MemoryMap as FirmwareMap;
use platform_cpu::guest;
use platform_cpu::lock::Once;
use platform_memory::{M2P, m2p};
use xen_abi::errno::Errno;
use xen_abi::memory::{ForeignMemoryMap, MachphysMapping, MachphysMfnList, MemoryMap};

use super::{authorized, read};
use crate::context::Context;
use crate::domain::E820Entry;
use crate::mm;

/// Bytes of an entry: address, size and kind, packed.
const E820_BYTES: usize = size_of::<E820Entry>();
/// Most entries of a domain's map (Xen's `E820MAX`).
const MAX_ENTRIES: usize = 128;

/// The machine's map, as domain 0 is told of it.
static MACHINE_MAP: Once<Vec<E820Entry>> = Once::new();

/// Keeps the machine's memory map for domain 0. Once, at boot.
pub fn set_machine_map(map: &FirmwareMap) {
    let mut entries = Vec::new();
    if entries.try_reserve_exact(map.regions().len()).is_err() {
        log::error!("no memory for domain 0's copy of the memory map");
        return;
    }
    for region in map.regions() {
        let mut entry = [0; E820_BYTES];
        let (address, rest) = entry.split_at_mut(8);
        let (size, kind) = rest.split_at_mut(8);
        address.copy_from_slice(&region.start.raw().to_le_bytes());
        size.copy_from_slice(&region.len().to_le_bytes());
        kind.copy_from_slice(&region.kind.0.to_le_bytes());
        entries.push(entry);
    }
    let _ = MACHINE_MAP.set(entries);
}

/// `XENMEM_machine_memory_map`.
///
/// # Errors
/// `EPERM`, `EFAULT`; `EINVAL` for a buffer that is too small.
pub(super) fn machine_memory_map(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let _token =
        authorize::<op::MemoryMachineMemoryMap>(context.domain.caller(), context.domain.id())?;
    let mut argument: MemoryMap = read(at)?;
    let entries = MACHINE_MAP.get().map_or(&[][..], Vec::as_slice);
    write_map(at, &mut argument, entries)
}

/// Writes a map to the guest's buffer, and its length to the argument.
fn write_map(at: Vaddr, argument: &mut MemoryMap, entries: &[E820Entry]) -> Result<(), Errno> {
    if !argument.buffer.is_null() {
        if (argument.nr_entries as usize) < entries.len() {
            return Err(Errno::EINVAL);
        }
        guest::copy_to(Vaddr::new(argument.buffer.address), entries.as_flattened())
            .map_err(|_| Errno::EFAULT)?;
    }
    argument.nr_entries = entries.len() as u32;
    guest::write(at, argument).map_err(|_| Errno::EFAULT)
}

/// `XENMEM_memory_map`: the map that a domain was given by its builder.
///
/// # Errors
/// `ENOSYS`: it was given none; then as for the machine's.
pub(super) fn memory_map(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let _token = authorize::<op::MemoryMemoryMap>(context.domain.caller(), context.domain.id())?;
    let mut argument: MemoryMap = read(at)?;
    let mut entries = ArrayVec::<E820Entry, MAX_ENTRIES>::new();
    // Copied: guest memory is not written with the lock held.
    let settings = context.domain.settings.lock();
    entries.extend(settings.memory_map.iter().copied().take(MAX_ENTRIES));
    drop(settings);
    if entries.is_empty() {
        return Err(Errno::ENOSYS);
    }
    // As on Xen, a buffer that is too small gets what fits.
    let room = (argument.nr_entries as usize).min(entries.len());
    entries.truncate(room);
    write_map(at, &mut argument, &entries)
}

/// `XENMEM_set_memory_map`: gives a domain its map.
///
/// # Errors
/// `EFAULT`, `ESRCH`, `EPERM`; `E2BIG` for too many entries; `ENOMEM`.
pub(super) fn set_memory_map(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let argument: ForeignMemoryMap = read(at)?;
    let count = argument.map.nr_entries as usize;
    if count > MAX_ENTRIES {
        return Err(Errno::E2BIG);
    }
    let (domain, _token) = authorized::<op::MemorySetMemoryMap>(context, argument.domid)?;
    let mut entries = Vec::new();
    entries
        .try_reserve_exact(count)
        .map_err(|_| Errno::ENOMEM)?;
    entries.resize(count, [0; E820_BYTES]);
    guest::copy_from(
        entries.as_flattened_mut(),
        Vaddr::new(argument.map.buffer.address),
    )
    .map_err(|_| Errno::EFAULT)?;
    let former = core::mem::replace(&mut domain.settings.lock().memory_map, entries);
    drop(former);
    Ok(())
}

/// `XENMEM_machphys_mapping`: where guests find the machine-to-physical table.
///
/// # Errors
/// `EFAULT`.
pub(super) fn machphys_mapping(at: Vaddr) -> Result<(), Errno> {
    /// Address space that is set aside for the table.
    const RESERVED_BYTES: u64 = 256 << 30;
    let mapping = MachphysMapping {
        v_start: M2P,
        v_end: M2P + RESERVED_BYTES,
        max_mfn: RESERVED_BYTES / 8 - 1,
    };
    guest::write(at, &mapping).map_err(|_| Errno::EFAULT)
}

/// `XENMEM_machphys_mfn_list`: the frames of the table, the first of each 2 MiB.
///
/// # Errors
/// `EFAULT`.
pub(super) fn machphys_mfn_list(at: Vaddr) -> Result<(), Errno> {
    const EXTENT_BYTES: u64 = 2 << 20;
    let mut argument: MachphysMfnList = read(at)?;
    let bytes = (mm::max_frame() + 1) * 8;
    let extents = bytes
        .div_ceil(EXTENT_BYTES)
        .min(u64::from(argument.max_extents));
    for index in 0..extents {
        let frame =
            m2p::frame(index * (EXTENT_BYTES / PAGE_SIZE)).map_or(u64::MAX, |frame| frame.raw());
        let to = argument.extent_start.element(index).ok_or(Errno::EFAULT)?;
        guest::write_u64(Vaddr::new(to.address), frame).map_err(|_| Errno::EFAULT)?;
    }
    argument.nr_extents = extents as u32;
    guest::write(at, &argument).map_err(|_| Errno::EFAULT)
}
