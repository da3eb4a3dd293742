//! Requests of the hypervisor to a device model.
//!
//! Source: `public/hvm/ioreq.h`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u32;
    IOREQ_READ = 1;
    IOREQ_WRITE = 0;
    STATE_IOREQ_NONE = 0;
    STATE_IOREQ_READY = 1;
    STATE_IOREQ_INPROCESS = 2;
    STATE_IORESP_READY = 3;
    IOREQ_TYPE_PIO = 0;
    IOREQ_TYPE_COPY = 1;
    IOREQ_TYPE_PCI_CONFIG = 2;
    IOREQ_TYPE_TIMEOFFSET = 7;
    IOREQ_TYPE_INVALIDATE = 8;
    IOREQ_BUFFER_SLOT_NUM = 511;
}

/// A request of a vCPU.
#[doc(alias = "ioreq")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IoRequest {
    /// Physical address or port.
    pub addr: u64,
    /// The data, or the physical address where it is.
    pub data: u64,
    /// Repetitions of a string instruction.
    pub count: u32,
    /// Bytes of one access.
    pub size: u32,
    /// The event channel to notify when done.
    pub vp_eport: u32,
    /// Zero.
    #[doc(alias = "_pad0")]
    pub padding: u16,
    /// `state` in bits 0 to 3 (`STATE_IO*`), `data_is_ptr` bit 4, `dir` bit 5 (`IOREQ_READ`), `df` bit 6.
    pub state_bits: u8,
    /// `IOREQ_TYPE_*`.
    #[doc(alias = "type")]
    pub kind: u8,
}

/// A write that the vCPU does not wait for.
#[doc(alias = "buf_ioreq")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BufferedIoRequest {
    /// `type` in bits 0 to 7, `dir` bit 9, the logarithm of the size in bits 10 and 11, `addr` in bits 12 to 31.
    pub bits: u32,
    /// The data, its low 32 bits; an 8-byte write takes two slots.
    pub data: u32,
}

/// The page of buffered requests.
#[doc(alias = "buffered_iopage")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BufferedIoPage {
    /// The device model's.
    pub read_pointer: u32,
    /// The hypervisor's.
    pub write_pointer: u32,
    /// The ring.
    pub buf_ioreq: [BufferedIoRequest; 511],
}
