//! Entries of L2 tables.

/// This table is the only one that uses the cluster: it may be written in place.
pub(crate) const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
/// Bits of an offset in entries of the L1 and L2 tables.
pub(crate) const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

/// What an entry says of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cluster {
    /// It is as in the backing file.
    Backing,
    /// It is zeros; and an offset that is kept for it, or 0.
    Zero(u64),
    /// It is at this offset, and may be written there or not.
    Data { at: u64, is_own: bool },
    /// It is compressed: offset and length.
    Compressed { at: u64, length: u64 },
}

impl Cluster {
    /// Reads an entry of a version and cluster size.
    pub(crate) fn of_entry(entry: u64, version: u32, cluster_bits: u32) -> Self {
        if entry & COMPRESSED != 0 {
            let shift = 62 - (cluster_bits - 8);
            let at = entry & ((1 << shift) - 1);
            let sectors = (entry & (COMPRESSED - 1)) >> shift;
            return Self::Compressed {
                at,
                length: (sectors + 1) * 512 - at % 512,
            };
        }
        let at = entry & OFFSET;
        if version >= 3 && entry & ZERO != 0 {
            Self::Zero(at)
        } else if at == 0 {
            Self::Backing
        } else {
            Self::Data {
                at,
                is_own: entry & COPIED != 0,
            }
        }
    }
}
