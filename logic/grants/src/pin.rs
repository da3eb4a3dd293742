//! Pins: uses of an entry.

use xen_abi::grant_table::{GNTMAP_DEVICE_MAP, GNTMAP_HOST_MAP, GNTMAP_READONLY};
use xen_abi::{DomId, GrantRef};

/// How an entry is used: by CPUs, by devices, or both; for reading only or also for writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// By CPUs: a mapping in page tables, or a copy.
    pub host: bool,
    /// By devices.
    pub device: bool,
    /// Not for writing.
    pub read_only: bool,
}

impl Access {
    /// The access that `GNTMAP_*` flags ask for.
    pub const fn from_map_flags(flags: u32) -> Self {
        Self {
            host: flags & GNTMAP_HOST_MAP != 0,
            device: flags & GNTMAP_DEVICE_MAP != 0,
            read_only: flags & GNTMAP_READONLY != 0,
        }
    }

    /// Access for a copy.
    pub const fn copy(read_only: bool) -> Self {
        Self {
            host: true,
            device: false,
            read_only,
        }
    }

    /// Whether it is no access at all.
    pub const fn is_none(&self) -> bool {
        !self.host && !self.device
    }
}

/// What an entry is pinned for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To map the whole frame.
    Map,
    /// To copy from or to it.
    Copy,
    /// To copy from or to it for a domain to which this one's user passed it on: no further than that.
    CopyForOther,
    /// To copy from or to another domain's grant that the entry passes on.
    PassOn,
}

/// The bytes of a frame that are granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    start: u16,
    length: u16,
    is_whole: bool,
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self {
        start: 0,
        length: 4096,
        is_whole: true,
    };

    /// `length` bytes from `start` on, as the guest says: they may reach beyond the frame's end.
    pub const fn some(start: u16, length: u16) -> Self {
        Self {
            start,
            length,
            is_whole: false,
        }
    }

    /// Whether it is granted as a whole, so that it can be mapped.
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether it has all of the `length` bytes from `offset` on.
    pub const fn contains(&self, offset: u16, length: u16) -> bool {
        let end = offset as u32 + length as u32;
        offset >= self.start && end <= self.start as u32 + self.length as u32
    }
}

/// A grant of another domain's that a transitive entry passes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Via {
    /// The domain.
    pub domid: DomId,
    /// The entry of its table.
    pub reference: GrantRef,
}

/// One use of an entry, to be given back to [`crate::GrantTable::unpin`] of the table that it came from.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a pin that is not given back keeps the entry in use for ever"]
pub struct Pin {
    pub(crate) reference: GrantRef,
    pub(crate) access: Access,
}

impl Pin {
    /// The entry.
    pub fn reference(&self) -> GrantRef {
        self.reference
    }

    /// The use.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Takes a part out of the pin: the uses that are in both `host`, `device` and the pin. `None` if there are none.
    pub(crate) fn take(&mut self, host: bool, device: bool) -> Option<Self> {
        let access = Access {
            host: host && self.access.host,
            device: device && self.access.device,
            read_only: self.access.read_only,
        };
        if access.is_none() {
            return None;
        }
        self.access.host &= !access.host;
        self.access.device &= !access.device;
        Some(Self {
            reference: self.reference,
            access,
        })
    }

    /// Undoes [`Self::take`].
    pub(crate) fn put_back(&mut self, part: Self) {
        self.access.host |= part.access.host;
        self.access.device |= part.access.device;
    }
}

/// Pins of one entry, by kind: a byte for each, so that they are looked at together. From the lowest: reading by CPUs,
/// writing by CPUs, reading by devices, writing by devices. Xen's limit: no kind is added to at 128 or more, so that none
/// can overflow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counts(u32);

/// Most pins of a kind.
pub(crate) const MAX_PINS: u8 = 128;

impl Counts {
    pub(crate) const NONE: Self = Self(0);
    const WRITERS: u32 = 0xff00_ff00;
    /// Added to any counts, it sets the highest bit of each that is not 0, and carries into none.
    const MARK_NOT_ZERO: u32 = 0x7f7f_7f7f;

    #[inline]
    pub(crate) fn is_zero(&self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) fn has_writer(&self) -> bool {
        self.0 & Self::WRITERS != 0
    }

    /// The counts with `access` added; `None` at the limit.
    #[inline]
    pub(crate) fn plus(self, access: Access) -> Option<Self> {
        const { assert!(MAX_PINS == 1 << 7) };
        let one = Self::one(access);
        if self.0 & one << 7 != 0 {
            return None;
        }
        Some(Self(self.0 + one))
    }

    /// Takes `access` off. Every [`Pin`] was counted, so no count can be 0 here; if one were, it would stay.
    #[inline]
    pub(crate) fn minus(&mut self, access: Access) {
        let not_zero = (self.0 + Self::MARK_NOT_ZERO) >> 7;
        self.0 -= Self::one(access) & not_zero;
    }

    /// One of each kind that the access is.
    #[inline]
    fn one(access: Access) -> u32 {
        let kinds = u32::from(access.host) | u32::from(access.device) << 16;
        if access.read_only { kinds } else { kinds << 8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every access, every count of its kinds, among others that are full.
    #[test]
    fn kinds_are_counted_apart() {
        let bools = [false, true];
        for (host, device, read_only) in bools.into_iter().flat_map(|host| {
            bools
                .into_iter()
                .flat_map(move |device| bools.map(|read_only| (host, device, read_only)))
        }) {
            let access = Access {
                host,
                device,
                read_only,
            };
            let own = Counts::one(access) * 0xff;
            for count in 0..=MAX_PINS {
                let counts = Counts(0x8080_8080 & !own | own & (u32::from(count) * 0x0101_0101));
                let more = counts.plus(access);
                let is_full = count == MAX_PINS && !access.is_none();
                assert_eq!(more.is_none(), is_full, "{access:?} {count}");
                let mut less = more.unwrap_or(counts);
                less.minus(access);
                let expected = if is_full {
                    Counts(counts.0 - Counts::one(access))
                } else {
                    counts
                };
                assert_eq!(less, expected, "{access:?} {count}");
            }
            let mut none = Counts::NONE;
            none.minus(access);
            assert!(none.is_zero());
        }
    }
}
