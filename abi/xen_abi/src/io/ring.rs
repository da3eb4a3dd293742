//! The rings between the two ends of a split driver (`public/io/ring.h`), which C makes with macros.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What is at the start of a ring's page. The entries follow it: as many as fit, rounded down to a power of two.
#[doc(alias = "DEFINE_RING_TYPES")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RingHeader {
    /// Requests that the frontend made, a free-running count.
    pub req_prod: u32,
    /// The backend wants an event when `req_prod` reaches this.
    pub req_event: u32,
    /// Responses that the backend made.
    pub rsp_prod: u32,
    /// The frontend wants an event when `rsp_prod` reaches this.
    pub rsp_event: u32,
    /// For the use of one end.
    pub pvt: [u8; 4],
    /// Padding, to 64 bytes.
    #[doc(alias = "__pad")]
    pub padding: [u8; 44],
}

/// The number of entries of `entry_size` bytes in a ring of `ring_size` bytes: a power of two.
#[doc(alias = "__CONST_RING_SIZE")]
pub const fn entries(ring_size: usize, entry_size: usize) -> usize {
    let fit = ring_size.saturating_sub(size_of::<RingHeader>()) / entry_size;
    if fit == 0 { 0 } else { 1 << fit.ilog2() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn entries_is_a_power_of_two() {
        assert_eq!(super::entries(4096, 112), 32);
        assert_eq!(super::entries(4096, 12), 256);
        assert_eq!(super::entries(64, 12), 0);
        assert_eq!(super::entries(64 + 12, 12), 1);
    }
}
