//! Block devices.
//!
//! Source: `public/io/blkif.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GrantRef;

crate::macros::constants! { u32;
    OP_READ = 0, "BLKIF_OP_READ";
    OP_WRITE = 1, "BLKIF_OP_WRITE";
    OP_WRITE_BARRIER = 2, "BLKIF_OP_WRITE_BARRIER";
    OP_FLUSH_DISKCACHE = 3, "BLKIF_OP_FLUSH_DISKCACHE";
    OP_RESERVED_1 = 4, "BLKIF_OP_RESERVED_1";
    OP_DISCARD = 5, "BLKIF_OP_DISCARD";
    OP_INDIRECT = 6, "BLKIF_OP_INDIRECT";
    MAX_SEGMENTS_PER_REQUEST = 11, "BLKIF_MAX_SEGMENTS_PER_REQUEST";
    MAX_INDIRECT_PAGES_PER_REQUEST = 8, "BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST";
    DISCARD_SECURE = 1 << 0, "BLKIF_DISCARD_SECURE";
    VDISK_CDROM = 0x1;
    VDISK_REMOVABLE = 0x2;
    VDISK_READONLY = 0x4;
}

crate::macros::constants! { i16;
    RSP_EOPNOTSUPP = -2, "BLKIF_RSP_EOPNOTSUPP";
    RSP_ERROR = -1, "BLKIF_RSP_ERROR";
    RSP_OKAY = 0, "BLKIF_RSP_OKAY";
}

/// A granted frame and its sectors.
#[doc(alias = "blkif_request_segment")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RequestSegment {
    pub gref: GrantRef,
    pub first_sect: u8,
    pub last_sect: u8,
    pub _hole0: [u8; 2],
}

/// A request to read or write.
#[doc(alias = "blkif_request")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Request {
    pub operation: u8,
    pub nr_segments: u8,
    pub handle: u16,
    pub _hole0: [u8; 4],
    pub id: u64,
    pub sector_number: u64,
    pub seg: [RequestSegment; 11],
}

/// A request to forget sectors, in the place of a `struct blkif_request`.
#[doc(alias = "blkif_request_discard")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RequestDiscard {
    pub operation: u8,
    pub flag: u8,
    pub handle: u16,
    pub _hole0: [u8; 4],
    pub id: u64,
    pub sector_number: u64,
    pub nr_sectors: u64,
}

/// A request whose segments are in other frames, in the place of a `struct blkif_request`.
#[doc(alias = "blkif_request_indirect")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RequestIndirect {
    pub operation: u8,
    pub indirect_op: u8,
    pub nr_segments: u16,
    pub _hole0: [u8; 4],
    pub id: u64,
    pub sector_number: u64,
    pub handle: u16,
    pub _hole1: [u8; 2],
    pub indirect_grefs: [GrantRef; 8],
    pub _hole2: [u8; 4],
}

/// The answer to a request.
#[doc(alias = "blkif_response")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Response {
    pub id: u64,
    pub operation: u8,
    pub _hole0: [u8; 1],
    pub status: i16,
    pub _hole1: [u8; 4],
}
