//! How often each cluster is used: a table of blocks of 16-bit counts. New clusters come from the end of the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::damaged;
use crate::header::{Header, REFCOUNT_TABLE_AT};

/// Bits of an offset in the refcount table.
const OFFSET: u64 = !0x1ff;
/// Largest table, in bytes, as in QEMU.
const MAX_TABLE: u64 = 8 << 20;

/// The counts of an image that is written.
#[derive(Debug)]
pub(crate) struct Refcounts {
    cluster_bits: u32,
    table_at: u64,
    table: Vec<u64>,
    /// The first cluster behind all others.
    end: u64,
}

impl Refcounts {
    pub(crate) fn read(file: &File, header: &Header) -> io::Result<Self> {
        let cluster = 1_u64 << header.cluster_bits;
        let bytes = u64::from(header.refcount_table_clusters) << header.cluster_bits;
        if bytes == 0 || bytes > MAX_TABLE {
            return Err(damaged("the size of the refcount table"));
        }
        let table = read_table(file, header.refcount_table_at, bytes as usize / 8)?;
        Ok(Self {
            cluster_bits: header.cluster_bits,
            table_at: header.refcount_table_at,
            table,
            end: file.metadata()?.len().div_ceil(cluster),
        })
    }

    fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Counts in a block.
    fn per_block(&self) -> u64 {
        self.cluster() / 2
    }

    /// A cluster that is used once from now on, full of zeros: its offset.
    pub(crate) fn allocate(&mut self, file: &File) -> io::Result<u64> {
        let at = self.extend(file, 1)?;
        self.change(file, at, 1)?;
        Ok(at)
    }

    /// Makes the file longer by `count` clusters that nobody counts yet.
    fn extend(&mut self, file: &File, count: u64) -> io::Result<u64> {
        let at = self.end << self.cluster_bits;
        self.end += count;
        file.set_len(self.end << self.cluster_bits)?;
        Ok(at)
    }

    /// Where the count of a cluster is. Its block is made if there is none.
    fn place(&mut self, file: &File, at: u64) -> io::Result<u64> {
        let number = at >> self.cluster_bits;
        let (block, index) = (number / self.per_block(), number % self.per_block());
        let slot = usize::try_from(block).map_err(|_| damaged("a cluster's number"))?;
        if slot >= self.table.len() {
            self.grow(file, slot)?;
        }
        let entry = self.table.get(slot).map_or(0, |entry| entry & OFFSET);
        if entry != 0 {
            if entry.checked_add(self.cluster()).is_none() {
                return Err(damaged("a refcount block's offset"));
            }
            return Ok(entry + index * 2);
        }
        let new = self.extend(file, 1)?;
        self.set_entry(file, slot, new)?;
        // The block counts itself, or another one does.
        self.change(file, new, 1)?;
        Ok(new + index * 2)
    }

    fn set_entry(&mut self, file: &File, slot: usize, value: u64) -> io::Result<()> {
        let entry = self
            .table
            .get_mut(slot)
            .ok_or_else(|| damaged("refcounts"))?;
        *entry = value;
        file.write_all_at(&value.to_be_bytes(), self.table_at + slot as u64 * 8)
    }

    /// Makes a larger table elsewhere, so that there is an entry `slot`.
    fn grow(&mut self, file: &File, slot: usize) -> io::Result<()> {
        let entries_per_cluster = self.cluster() as usize / 8;
        let old = (self.table_at, self.table.len());
        let entries = (slot + 2)
            .max(old.1 * 2)
            .next_multiple_of(entries_per_cluster);
        if entries as u64 * 8 > MAX_TABLE {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let clusters = (entries / entries_per_cluster) as u64;
        let at = self.extend(file, clusters)?;
        self.table.resize(entries, 0);
        write_table(file, at, &self.table)?;
        file.sync_data()?;
        let mut place = [0; 12];
        let (offset, count) = place.split_at_mut(8);
        offset.copy_from_slice(&at.to_be_bytes());
        count.copy_from_slice(&(clusters as u32).to_be_bytes());
        file.write_all_at(&place, REFCOUNT_TABLE_AT)?;
        self.table_at = at;
        for number in 0..clusters {
            self.change(file, at + (number << self.cluster_bits), 1)?;
        }
        file.sync_data()?;
        for number in 0..old.1.div_ceil(entries_per_cluster) as u64 {
            self.change(file, old.0 + (number << self.cluster_bits), -1)?;
        }
        Ok(())
    }

    /// Adds to a cluster's count.
    pub(crate) fn change(&mut self, file: &File, at: u64, by: i32) -> io::Result<()> {
        let place = self.place(file, at)?;
        let mut count = [0; 2];
        // A block at the end of the file may have been left short.
        if file.read_at(&mut count, place)? < count.len() {
            count = [0; 2];
        }
        let count = i32::from(u16::from_be_bytes(count)) + by;
        let count = u16::try_from(count).map_err(|_| damaged("a cluster's refcount"))?;
        file.write_all_at(&count.to_be_bytes(), place)
    }
}

pub(crate) fn read_table(file: &File, at: u64, entries: usize) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; entries * 8];
    file.read_exact_at(&mut bytes, at)?;
    let (words, _) = bytes.as_chunks::<8>();
    Ok(words.iter().map(|word| u64::from_be_bytes(*word)).collect())
}

pub(crate) fn write_table(file: &File, at: u64, table: &[u64]) -> io::Result<()> {
    let bytes: Vec<u8> = table.iter().flat_map(|word| word.to_be_bytes()).collect();
    file.write_all_at(&bytes, at)
}
