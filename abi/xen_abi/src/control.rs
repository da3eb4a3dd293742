//! Types that only the control interfaces (`sysctl`, `domctl`) use.
//!
//! Source: `public/xen.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GuestHandle;

/// A UUID, its bytes in the order in which it is written.
#[doc(alias = "xen_uuid_t")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct XenUuid {
    pub a: [u8; 16],
}

/// A bitmap of the caller, of CPUs or nodes.
#[doc(alias = "xenctl_bitmap")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Bitmap {
    pub bitmap: GuestHandle<u8>,
    pub nr_bits: u32,
    pub _hole0: [u8; 4],
}
