//! Walks a guest's page tables in software.

use addr::{Mfn, Vaddr};
use frames::{Entry, TableMemory, is_hypervisor_slot};
use platform_memory::DirectMap;

/// Where the entry for an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The L1 table, as the L2 entry names it; it may be something else by now, so lock it.
    pub table: Mfn,
    /// The entry's place in it.
    pub index: usize,
}

/// Finds the L1 table for `address` below `root`, which is a validated table that stays one. `None` for addresses
/// that are not the guest's, or have no L1 table.
#[inline]
pub fn walk_to_l1(root: Mfn, address: Vaddr) -> Option<Leaf> {
    let top = address.table_index(4);
    if !address.is_canonical() || is_hypervisor_slot(top) {
        return None;
    }
    let mut table = root;
    for (level, index) in [
        (4, top),
        (3, address.table_index(3)),
        (2, address.table_index(2)),
    ] {
        let entry = Entry(DirectMap.read_entry(table, index));
        if !entry.is_present() || (level < 4 && entry.0 & Entry::LARGE != 0) {
            return None;
        }
        table = entry.frame();
    }
    Some(Leaf {
        table,
        index: address.table_index(1),
    })
}
