//! Memory: the p2m and m2p, pages of the guest's own, entries of page tables, and the calls that change them.
//!
//! The guest is linked with VIRT_BASE 0: in the initial map an address is a pseudo-physical address. All of the
//! image is in it, so a page of [`Page::take`] is mapped at its own pseudo-physical address too, until the guest
//! changes that.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use xen_abi::mmu::{MmuUpdate, MmuextOp, MmuextOpArg1, MmuextOpArg2, UVMF_INVLPG};
use xen_abi::start_info::StartInfo;
use xen_abi::{domid, hypercall as number};

use crate::hypercalls::call;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Where the hypervisor shows the machine-to-physical table.
pub const M2P: u64 = 0xffff_8000_0000_0000;
/// The first address behind the hypervisor's part of every address space.
pub const HYPERVISOR_END: u64 = 0xffff_8800_0000_0000;

/// Bits of a page-table entry.
pub mod pte {
    #![allow(missing_docs, reason = "SDM 3A §4.5 names them")]
    pub const P: u64 = 1;
    pub const RW: u64 = 2;
    pub const US: u64 = 4;
    pub const PWT: u64 = 8;
    pub const PCD: u64 = 0x10;
    pub const A: u64 = 0x20;
    pub const D: u64 = 0x40;
    pub const PSE: u64 = 0x80;
    pub const G: u64 = 0x100;
    pub const AVAIL: u64 = 0xe00;
    pub const NX: u64 = 1 << 63;
    pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    /// A page with everything but execution refused to nobody.
    pub const PAGE_RW: u64 = P | RW | A | D;
    /// A page that cannot be written.
    pub const PAGE_RO: u64 = P | A;
    /// An entry that names a table.
    pub const TABLE: u64 = P | RW | US | A;
}

static P2M: AtomicU64 = AtomicU64::new(0);
static ROOT: AtomicU64 = AtomicU64::new(0);

pub(crate) fn init(info: &StartInfo) {
    P2M.store(info.mfn_list, Ordering::Relaxed);
    ROOT.store(info.pt_base, Ordering::Relaxed);
}

/// Address of the initial L4 table.
pub fn root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// Reads memory at an address, whatever is there.
///
/// An address that is not mapped raises a page fault in the guest.
pub fn read<T: Copy>(address: u64) -> T {
    // SAFETY: the guest's own memory or a fault that the guest handles; volatile, as the hypervisor may write.
    unsafe { core::ptr::with_exposed_provenance::<T>(address as usize).read_volatile() }
}

/// Writes memory at an address that is the guest's to write.
///
/// An address that cannot be written raises a page fault in the guest.
pub fn write<T: Copy>(address: u64, value: T) {
    // SAFETY: callers name pages that they took, or mean the fault.
    unsafe { core::ptr::with_exposed_provenance_mut::<T>(address as usize).write_volatile(value) }
}

/// The machine frame of a pseudo-physical frame.
pub fn mfn_of(pfn: u64) -> u64 {
    read(P2M.load(Ordering::Relaxed) + 8 * pfn)
}

/// Notes another machine frame for a pseudo-physical frame.
pub fn set_mfn_of(pfn: u64, mfn: u64) {
    write(P2M.load(Ordering::Relaxed) + 8 * pfn, mfn);
}

/// The pseudo-physical frame of a machine frame of this guest.
pub fn pfn_of(mfn: u64) -> u64 {
    read(M2P + 8 * mfn)
}

/// Pages that a guest can take.
const POOL_PAGES: usize = 512;

#[repr(C, align(4096))]
struct Pool([[u8; PAGE as usize]; POOL_PAGES]);

static mut POOL: Pool = Pool([[0; PAGE as usize]; POOL_PAGES]);
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// A page of the guest's image: zeroed, mapped writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it is mapped.
    pub address: u64,
}

impl Page {
    /// Takes one, for good.
    pub fn take() -> Page {
        let index = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(index < POOL_PAGES, "no pages are left");
        Page {
            address: (&raw mut POOL).expose_provenance() as u64 + index as u64 * PAGE,
        }
    }

    /// Its pseudo-physical frame.
    pub fn pfn(self) -> u64 {
        self.address / PAGE
    }

    /// Its machine frame.
    pub fn mfn(self) -> u64 {
        mfn_of(self.pfn())
    }

    /// Its machine address.
    pub fn maddr(self) -> u64 {
        self.mfn() * PAGE
    }

    /// A word of it.
    pub fn get(self, index: u64) -> u64 {
        read(self.address + 8 * index)
    }

    /// Writes a word of it.
    pub fn set(self, index: u64, value: u64) {
        write(self.address + 8 * index, value);
    }

    /// Makes all words 0.
    pub fn clear(self) {
        for index in 0..PAGE / 8 {
            self.set(index, 0);
        }
    }

    /// Maps it writable where it belongs.
    pub fn map_rw(self) -> i64 {
        update_va_mapping(self.address, self.maddr() | pte::PAGE_RW)
    }

    /// Maps it read-only where it belongs, as page tables must be.
    pub fn map_ro(self) -> i64 {
        update_va_mapping(self.address, self.maddr() | pte::PAGE_RO)
    }

    /// Maps nothing where it belongs.
    pub fn unmap(self) -> i64 {
        update_va_mapping(self.address, 0)
    }
}

/// The position of an address's entry in a table of `level` (1 to 4).
pub fn index_at(address: u64, level: u32) -> u64 {
    (address >> (12 + 9 * (level - 1))) & 511
}

/// An entry of a page table in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the entry is mapped, read-only.
    pub address: u64,
    /// Its machine address.
    pub maddr: u64,
    /// What it is.
    pub value: u64,
}

/// The entry of `level` (1 to 4) for an address in the initial tables, if the tables above it are there.
pub fn entry_of(address: u64, level: u32) -> Option<Entry> {
    let mut table = root();
    let mut at = 4;
    loop {
        let index = index_at(address, at);
        let value = read::<u64>(table + 8 * index);
        if at == level {
            return Some(Entry {
                address: table + 8 * index,
                maddr: mfn_of(table / PAGE) * PAGE + 8 * index,
                value,
            });
        }
        if value & pte::P == 0 {
            return None;
        }
        table = pfn_of((value & pte::ADDRESS) / PAGE) * PAGE;
        at -= 1;
    }
}

/// Updates of page tables, or of the m2p: `MMU_*` in the low bits of each `ptr`.
pub fn mmu_updates(updates: &mut [MmuUpdate], done: &mut u32, domain: u64) -> i64 {
    call(
        number::MMU_UPDATE,
        &[
            updates.as_mut_ptr().expose_provenance() as u64,
            updates.len() as u64,
            (&raw mut *done).expose_provenance() as u64,
            domain,
        ],
    )
}

/// One update of a page table of the guest's own.
pub fn mmu_update(ptr: u64, val: u64) -> i64 {
    mmu_updates(
        &mut [MmuUpdate { ptr, val }],
        &mut 0,
        u64::from(domid::DOMID_SELF),
    )
}

/// `update_va_mapping` with an `INVLPG`.
pub fn update_va_mapping(address: u64, value: u64) -> i64 {
    call(number::UPDATE_VA_MAPPING, &[address, value, UVMF_INVLPG])
}

/// One extended operation.
pub fn mmuext(command: u32, arg1: u64, arg2: u64) -> i64 {
    let mut operation = MmuextOp {
        cmd: command,
        _hole0: [0; 4],
        arg1: MmuextOpArg1 { words: [arg1] },
        arg2: MmuextOpArg2 { words: [arg2] },
    };
    call(
        number::MMUEXT_OP,
        &[
            (&raw mut operation).expose_provenance() as u64,
            1,
            0,
            u64::from(domid::DOMID_SELF),
        ],
    )
}

/// The address of a pointer.
pub fn address_of<T>(value: &mut T) -> u64 {
    (&raw mut *value).expose_provenance() as u64
}
