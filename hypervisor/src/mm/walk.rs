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
    let top = step(root, top, 0)?;
    let middle = step(top, address.table_index(3), Entry::LARGE)?;
    let table = step(middle, address.table_index(2), Entry::LARGE)?;
    Some(Leaf {
        table,
        index: address.table_index(1),
    })
}

/// The table that an entry maps; `None` if it is not present or has a bit that it must not have.
#[inline]
fn step(table: Mfn, index: usize, forbidden: u64) -> Option<Mfn> {
    let entry = Entry(DirectMap.read_entry(table, index));
    (entry.0 & (Entry::PRESENT | forbidden) == Entry::PRESENT).then(|| entry.frame())
}
