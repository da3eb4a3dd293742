//! Argo, message rings between domains, `__HYPERVISOR_argo_op`.
//!
//! Source: `public/argo.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DomId, GuestHandle};

crate::macros::constants! { u32;
    DOMID_ANY = 32_756, "XEN_ARGO_DOMID_ANY";
    MAXIOV = 8, "XEN_ARGO_MAXIOV";
    MSG_SLOT_SIZE = 0x10, "XEN_ARGO_MSG_SLOT_SIZE";
    RING_EXISTS = 1 << 0, "XEN_ARGO_RING_EXISTS";
    RING_SHARED = 1 << 1, "XEN_ARGO_RING_SHARED";
    RING_EMPTY = 1 << 2, "XEN_ARGO_RING_EMPTY";
    RING_SUFFICIENT = 1 << 3, "XEN_ARGO_RING_SUFFICIENT";
    RING_EMSGSIZE = 1 << 4, "XEN_ARGO_RING_EMSGSIZE";
    RING_EBUSY = 1 << 5, "XEN_ARGO_RING_EBUSY";
    OP_REGISTER_RING = 1, "XEN_ARGO_OP_register_ring";
    REGISTER_FLAG_FAIL_EXIST = 0x1, "XEN_ARGO_REGISTER_FLAG_FAIL_EXIST";
    OP_UNREGISTER_RING = 2, "XEN_ARGO_OP_unregister_ring";
    OP_SENDV = 3, "XEN_ARGO_OP_sendv";
    OP_NOTIFY = 4, "XEN_ARGO_OP_notify";
}

crate::macros::constants! { u64;
    MAX_RING_SIZE = 0x1000000, "XEN_ARGO_MAX_RING_SIZE";
}

/// A piece of a message.
#[doc(alias = "xen_argo_iov")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Iov {
    pub iov_hnd: GuestHandle<u8>,
    pub iov_len: u32,
    pub pad: u32,
}

/// A port of a domain.
#[doc(alias = "xen_argo_addr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Addr {
    pub aport: u32,
    pub domain_id: DomId,
    pub pad: u16,
}

/// Sender and receiver.
#[doc(alias = "xen_argo_send_addr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SendAddr {
    pub src: Addr,
    pub dst: Addr,
}

/// The start of a ring; its bytes follow.
#[doc(alias = "xen_argo_ring")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Ring {
    pub rx_ptr: u32,
    pub tx_ptr: u32,
    pub reserved: [u8; 56],
}

/// Argument of `XEN_ARGO_OP_register_ring`.
#[doc(alias = "xen_argo_register_ring")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterRing {
    pub aport: u32,
    pub partner_id: DomId,
    pub pad: u16,
    pub len: u32,
}

/// Argument of `XEN_ARGO_OP_unregister_ring`.
#[doc(alias = "xen_argo_unregister_ring")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnregisterRing {
    pub aport: u32,
    pub partner_id: DomId,
    pub pad: u16,
}

/// A ring asked about, and the answer.
#[doc(alias = "xen_argo_ring_data_ent")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RingDataEnt {
    pub ring: Addr,
    pub flags: u16,
    pub pad: u16,
    pub space_required: u32,
    pub max_message_size: u32,
}

/// The rings asked about: `nent` entries follow.
#[doc(alias = "xen_argo_ring_data")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RingData {
    pub nent: u32,
    pub pad: u32,
}

/// In front of each message in a ring.
#[doc(alias = "xen_argo_ring_message_header")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RingMessageHeader {
    pub len: u32,
    pub source: Addr,
    pub message_type: u32,
}
