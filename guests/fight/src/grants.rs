//! Grants of the domain's own pages to itself.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use guest_runtime::grants::{grant_table, setup_table};
use guest_runtime::memory::{PAGE, Page, pte, update_va_mapping, write};
use guest_runtime::random::Random;
use guest_runtime::traps::try_write;
use guest_runtime::xen_abi::domid::DOMID_SELF;
use guest_runtime::xen_abi::grant_table as op;
use guest_runtime::{check_eq, expect, expect_eq};

use crate::Kind;
use crate::arena::{frame, window};

pub(crate) static KINDS: [Kind; 10] = [
    Kind::new("grant", grant),
    Kind::new("map a grant", map),
    Kind::new("map another grant", map),
    Kind::new("unmap a grant", unmap),
    Kind::new("unmap and replace", unmap_and_replace),
    Kind::new("copy", copy),
    Kind::new("swap grants", swap),
    Kind::new("revoke", revoke),
    Kind::new("grow the grant table", grow),
    Kind::new("change the version", change_version),
];

/// Grants that are used, of which the first few are reserved.
const GRANTS: u64 = 16;
const RESERVED: u64 = 8;
/// One mapping of so many is of a grant that is not reserved: one that cannot be unmapped any more, because its entry was
/// overwritten, keeps the table's version from then on.
const SELDOM: u64 = 4096;
/// This domain.
const DOMAIN: u16 = 0;
/// Handles that mappings left.
const HANDLES: usize = 64;
static MAPPINGS: [Mapping; HANDLES] = [const { Mapping::none() }; HANDLES];
static TABLE: AtomicU64 = AtomicU64::new(0);
/// The table's version, or what it was a moment ago.
static VERSION: AtomicU32 = AtomicU32::new(1);
static FRAMES: AtomicU32 = AtomicU32::new(1);
const GRANT_ACCESS: u32 = op::GTF_PERMIT_ACCESS as u32;
const TRANSITIVE: u64 = op::GTF_TRANSITIVE as u64;
const GRANT_READ_ONLY: u32 = GRANT_ACCESS | op::GTF_READONLY as u32;

/// A mapping that was made.
struct Mapping {
    /// The handle, plus one.
    handle: AtomicU64,
    address: AtomicU64,
    flags: AtomicU32,
    device_address: AtomicU64,
}

impl Mapping {
    const fn none() -> Self {
        Self {
            handle: AtomicU64::new(0),
            address: AtomicU64::new(0),
            flags: AtomicU32::new(0),
            device_address: AtomicU64::new(0),
        }
    }
}

/// Maps the first frame of the grant table.
pub(crate) fn init() {
    let (status, frames) = setup_table(DOMID_SELF, 1);
    check_eq!(status, 0);
    let page = Page::take();
    check_eq!(
        update_va_mapping(page.address, frames[0] * PAGE | pte::PAGE_RW),
        0
    );
    TABLE.store(page.address, Ordering::Relaxed);
}

fn reference(random: &mut Random) -> u32 {
    random.below(GRANTS) as u32
}

/// One to map.
fn mapped_reference(random: &mut Random) -> u32 {
    if random.below(SELDOM) == 0 {
        return reference(random);
    }
    random.below(RESERVED) as u32
}

/// Where an entry is, and how many words it has.
fn place(reference: u32) -> (u64, u64) {
    let words = u64::from(VERSION.load(Ordering::Relaxed));
    let table = TABLE.load(Ordering::Relaxed);
    (table + 8 * words * u64::from(reference), words)
}

fn grant(random: &mut Random) -> bool {
    let (at, words) = place(reference(random));
    let flags = random.one_of(&[GRANT_ACCESS, GRANT_ACCESS, GRANT_READ_ONLY]);
    let header = u64::from(DOMAIN) << 16 | u64::from(flags);
    // As it should not be done: in use or not.
    if words == 1 {
        return try_write(at, frame(random) << 32 | header);
    }
    let kind = random.one_of(&[0, 0, u64::from(op::GTF_SUB_PAGE), TRANSITIVE]);
    let part = random.one_of(&[0, 512 << 16, 1024 << 16 | 512]);
    try_write(at + 8, frame(random)) && try_write(at, part << 32 | header | kind)
}

fn revoke(random: &mut Random) -> bool {
    let (at, _) = place(reference(random));
    try_write(at, 0)
}

fn change_version(random: &mut Random) -> bool {
    let mut request = op::SetVersion {
        version: random.one_of(&[1, 2]),
    };
    let is_done = grant_table(op::SET_VERSION, &mut request) == 0;
    VERSION.store(request.version, Ordering::Relaxed);
    is_done
}

fn map(random: &mut Random) -> bool {
    let flags = random.one_of(&[
        op::GNTMAP_HOST_MAP,
        op::GNTMAP_HOST_MAP,
        op::GNTMAP_HOST_MAP | op::GNTMAP_READONLY,
        op::GNTMAP_DEVICE_MAP,
        op::GNTMAP_DEVICE_MAP | op::GNTMAP_HOST_MAP,
        op::GNTMAP_DEVICE_MAP | op::GNTMAP_READONLY,
    ]);
    // Only where a handle is free: the last ones have to be found again.
    let slot = &MAPPINGS[random.below(HANDLES as u64) as usize];
    const TAKEN: u64 = u64::MAX;
    if slot
        .handle
        .compare_exchange(0, TAKEN, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        return false;
    }
    let mut map = op::MapGrantRef {
        host_addr: window(random).address,
        flags,
        reference: mapped_reference(random),
        dom: DOMAIN,
        status: 1,
        handle: 0,
        dev_bus_addr: 0,
    };
    let result = grant_table(op::MAP_GRANT_REF, &mut map);
    let is_mapped = result == 0 && map.status == 0;
    slot.address.store(map.host_addr, Ordering::Relaxed);
    slot.flags.store(flags, Ordering::Relaxed);
    slot.device_address
        .store(map.dev_bus_addr, Ordering::Relaxed);
    let handle = if is_mapped {
        u64::from(map.handle) + 1
    } else {
        0
    };
    // Release: who takes the handle sees the rest.
    slot.handle.store(handle, Ordering::Release);
    is_mapped
}

/// Unmaps what a slot holds; several vCPUs may try the same one.
fn unmap_slot(slot: &Mapping) -> bool {
    let noted = slot.handle.load(Ordering::Acquire);
    if noted == 0 || noted == u64::MAX {
        return false;
    }
    let flags = slot.flags.load(Ordering::Relaxed);
    let has = |flag| flags & flag != 0;
    let mut unmap = op::UnmapGrantRef {
        host_addr: if has(op::GNTMAP_HOST_MAP) {
            slot.address.load(Ordering::Relaxed)
        } else {
            0
        },
        dev_bus_addr: if has(op::GNTMAP_DEVICE_MAP) {
            slot.device_address.load(Ordering::Relaxed)
        } else {
            0
        },
        handle: (noted - 1) as u32,
        status: 1,
        _hole0: [0; 2],
    };
    let is_done = grant_table(op::UNMAP_GRANT_REF, &mut unmap) == 0 && unmap.status == 0;
    if is_done {
        let _ = slot
            .handle
            .compare_exchange(noted, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
    is_done
}

fn unmap(random: &mut Random) -> bool {
    unmap_slot(&MAPPINGS[random.below(HANDLES as u64) as usize])
}

fn unmap_and_replace(random: &mut Random) -> bool {
    let slot = &MAPPINGS[random.below(HANDLES as u64) as usize];
    let noted = slot.handle.load(Ordering::Acquire);
    let flags = slot.flags.load(Ordering::Relaxed);
    // A mapping for devices would keep its half.
    if noted == 0 || noted == u64::MAX || flags & op::GNTMAP_DEVICE_MAP != 0 {
        return false;
    }
    let mut unmap = op::UnmapAndReplace {
        host_addr: slot.address.load(Ordering::Relaxed),
        new_addr: window(random).address,
        handle: (noted - 1) as u32,
        status: 1,
        _hole0: [0; 2],
    };
    let is_done = grant_table(op::UNMAP_AND_REPLACE, &mut unmap) == 0 && unmap.status == 0;
    if is_done {
        let _ = slot
            .handle
            .compare_exchange(noted, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
    is_done
}

fn copy(random: &mut Random) -> bool {
    let mut end = |is_reference: bool| {
        let mut pointer = op::CopyPtr {
            u: op::CopyPtrUnion { words: [0] },
            domid: if is_reference { DOMAIN } else { 0x7ff0 },
            offset: (random.below(8) * 512) as u16,
            _hole0: [0; 4],
        };
        if is_reference {
            pointer.u.set(reference(random));
        } else {
            pointer.u.set(frame(random));
        }
        pointer
    };
    let (source, dest) = (end(true), end(false));
    let swapped = random.below(2) == 0;
    let mut copy = op::Copy {
        source: if swapped { dest } else { source },
        dest: if swapped { source } else { dest },
        len: random.one_of(&[0, 8, 64, 512]),
        flags: if swapped {
            op::GNTCOPY_DEST_GREF as u16
        } else {
            op::GNTCOPY_SOURCE_GREF as u16
        },
        status: 1,
        _hole0: [0; 2],
    };
    grant_table(op::COPY, &mut copy) == 0 && copy.status == 0
}

fn swap(random: &mut Random) -> bool {
    let mut swap = op::SwapGrantRef {
        ref_a: reference(random),
        ref_b: reference(random),
        status: 1,
        _hole0: [0; 2],
    };
    grant_table(op::SWAP_GRANT_REF, &mut swap) == 0 && swap.status == 0
}

fn grow(random: &mut Random) -> bool {
    let frames = 1 + random.below(6) as u32;
    let (status, _) = setup_table(DOMID_SELF, frames);
    FRAMES.fetch_max(frames, Ordering::Relaxed);
    status == 0
}

fn unmap_parts(handle: u32, host_addr: u64, dev_bus_addr: u64) -> i16 {
    let mut unmap = op::UnmapGrantRef {
        host_addr,
        dev_bus_addr,
        handle,
        status: 1,
        _hole0: [0; 2],
    };
    check_eq!(grant_table(op::UNMAP_GRANT_REF, &mut unmap), 0);
    unmap.status
}

/// Unmaps everything. What a handle stands for is not known for sure: vCPUs took slots from each other, and entries
/// were overwritten. So all that there can be is tried, with the entry put back that the hypervisor expects.
pub(crate) fn release() {
    const BAD_HANDLE: i16 = -4;
    /// More handles than slots are never in use.
    const ALL: u32 = 4 * HANDLES as u32;
    for handle in 0..ALL {
        // Unmaps nothing, but tells whether there is such a handle.
        let is_gone = || unmap_parts(handle, 0, 0) == BAD_HANDLE;
        if is_gone() {
            continue;
        }
        for frame in candidates() {
            unmap_parts(handle, 0, frame * PAGE);
            for window in crate::arena::windows() {
                for kind in [pte::PAGE_RW, pte::PAGE_RO] {
                    if !is_gone() && update_va_mapping(window.address, frame * PAGE | kind) == 0 {
                        unmap_parts(handle, window.address, 0);
                    }
                }
            }
        }
        expect!(is_gone());
    }
    for word in 0..PAGE / 8 {
        write(TABLE.load(Ordering::Relaxed) + 8 * word, 0_u64);
    }
    expect_eq!(setup_table(DOMID_SELF, FRAMES.load(Ordering::Relaxed)).0, 0);
}

/// Frames that may have been granted.
fn candidates() -> impl Iterator<Item = u64> {
    crate::arena::frames()
        .chain(crate::memory::frames())
        .chain(crate::memory::gone())
        .filter(|frame| *frame != 0)
}
