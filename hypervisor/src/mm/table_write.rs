//! Writes of a guest's kernel to its own L1 tables, which it maps read-only: each is carried out here, and what
//! goes into the table is checked like an `mmu_update`.

use addr::{Mfn, Vaddr};
use frames::{AccessBits, Entry, Owners, PageType, TableMemory};
use platform_cpu::guest;
use platform_memory::DirectMap;
use privileged_ops::{Memory, Width};

use super::{validator, walk_to_l1};
use crate::context::Context;
use crate::emulate;

/// The guest's memory, with one L1 table in it that may be written.
struct Table {
    /// First address of the page where the guest maps it.
    address: u64,
    frame: Mfn,
    domain: u16,
}

/// The access cannot be carried out: the guest gets the fault that it caused.
struct Refused;

impl Table {
    /// The entry that `address` is in, and the position of its bytes in it.
    fn place(&self, address: u64, width: Width) -> Result<(usize, u32), Refused> {
        let offset = address.wrapping_sub(self.address);
        // Aligned to its size, an access does not leave the entry.
        if offset >= addr::PAGE_SIZE || address & (width.bytes() - 1) != 0 {
            return Err(Refused);
        }
        Ok(((offset / 8) as usize, (offset % 8 * 8) as u32))
    }

    fn entry(&self, index: usize) -> u64 {
        DirectMap.read_entry(self.frame, index)
    }

    /// Replaces an entry if it still is `expected`.
    fn replace(&self, index: usize, expected: u64, new: u64) -> Result<bool, Refused> {
        let table = validator()
            .lock(self.frame, self.domain)
            .map_err(|_| Refused)?;
        table
            .compare_exchange_l1(
                index,
                Entry(expected),
                Entry(new),
                Owners::same(self.domain),
            )
            .map_err(|_| Refused)
    }
}

/// `old` with the bytes at `shift` replaced.
fn merged(old: u64, value: u64, width: Width, shift: u32) -> u64 {
    let mask = width.mask() << shift;
    old & !mask | (value << shift) & mask
}

impl Memory for Table {
    type Fault = Refused;

    fn read(&mut self, address: u64, width: Width) -> Result<u64, Refused> {
        let mut bytes = [0; 8];
        let wanted = bytes.get_mut(..width.bytes() as usize).ok_or(Refused)?;
        guest::copy_from(wanted, Vaddr::new(address)).map_err(|_| Refused)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(&mut self, address: u64, width: Width, value: u64) -> Result<(), Refused> {
        let (index, shift) = self.place(address, width)?;
        if width.bytes() == 8 {
            return validator()
                .lock(self.frame, self.domain)
                .and_then(|table| {
                    table.modify_l1(
                        index,
                        Entry(value),
                        AccessBits::Replace,
                        Owners::same(self.domain),
                    )
                })
                .map_err(|_| Refused);
        }
        // Another vCPU, or the CPU's accessed and dirty bits, may come in between; not for long.
        loop {
            let old = self.entry(index);
            if self.replace(index, old, merged(old, value, width, shift))? {
                return Ok(());
            }
        }
    }

    fn compare_exchange(
        &mut self,
        address: u64,
        width: Width,
        expected: u64,
        new: u64,
    ) -> Result<bool, Refused> {
        let (index, shift) = self.place(address, width)?;
        let old = self.entry(index);
        if merged(old, expected, width, shift) != old {
            return Ok(false);
        }
        self.replace(index, old, merged(old, new, width, shift))
    }
}

/// Carries out the write to `address` on which the guest's kernel faulted, if that is one to an L1 table that it
/// maps read-only. False if it is not, or cannot be carried out.
#[inline(never)]
pub fn emulate_table_write(context: &mut Context<'_>, address: u64) -> bool {
    let Some(root) = context.state.roots.kernel() else {
        return false;
    };
    let Some(leaf) = walk_to_l1(root.frame(), Vaddr::new(address)) else {
        return false;
    };
    let entry = Entry(DirectMap.read_entry(leaf.table, leaf.index));
    if !entry.is_present() || entry.is_writable() {
        return false;
    }
    let domain = context.domain.id();
    // Looked at without a lock; each write checks again.
    let is_table = validator()
        .lock(entry.frame(), domain)
        .is_ok_and(|table| table.page_type() == PageType::L1);
    if !is_table {
        return false;
    }
    let mut table = Table {
        address: Vaddr::new(address).page_base().raw(),
        frame: entry.frame(),
        domain,
    };
    emulate::write_table(context, &mut table).is_some()
}
