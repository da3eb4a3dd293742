//! Network interfaces.
//!
//! Source: `public/io/netif.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::GrantRef;

crate::macros::constants! { u32;
    NR_SLOTS_MIN = 18, "XEN_NETIF_NR_SLOTS_MIN";
    CTRL_HASH_TYPE_IPV4 = 1 << 0, "XEN_NETIF_CTRL_HASH_TYPE_IPV4";
    CTRL_HASH_TYPE_IPV4_TCP = 1 << 1, "XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP";
    CTRL_HASH_TYPE_IPV6 = 1 << 2, "XEN_NETIF_CTRL_HASH_TYPE_IPV6";
    CTRL_HASH_TYPE_IPV6_TCP = 1 << 3, "XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP";
    CTRL_HASH_ALGORITHM_NONE = 0, "XEN_NETIF_CTRL_HASH_ALGORITHM_NONE";
    CTRL_HASH_ALGORITHM_TOEPLITZ = 1, "XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ";
    CTRL_TYPE_INVALID = 0, "XEN_NETIF_CTRL_TYPE_INVALID";
    CTRL_TYPE_GET_HASH_FLAGS = 1, "XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS";
    CTRL_TYPE_SET_HASH_FLAGS = 2, "XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS";
    CTRL_TYPE_SET_HASH_KEY = 3, "XEN_NETIF_CTRL_TYPE_SET_HASH_KEY";
    CTRL_TYPE_GET_HASH_MAPPING_SIZE = 4, "XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE";
    CTRL_TYPE_SET_HASH_MAPPING_SIZE = 5, "XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE";
    CTRL_TYPE_SET_HASH_MAPPING = 6, "XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING";
    CTRL_TYPE_SET_HASH_ALGORITHM = 7, "XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM";
    CTRL_TYPE_GET_GREF_MAPPING_SIZE = 8, "XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE";
    CTRL_TYPE_ADD_GREF_MAPPING = 9, "XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING";
    CTRL_TYPE_DEL_GREF_MAPPING = 10, "XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING";
    CTRL_STATUS_SUCCESS = 0, "XEN_NETIF_CTRL_STATUS_SUCCESS";
    CTRL_STATUS_NOT_SUPPORTED = 1, "XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED";
    CTRL_STATUS_INVALID_PARAMETER = 2, "XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER";
    CTRL_STATUS_BUFFER_OVERFLOW = 3, "XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW";
    CTRLF_GREF_READONLY = 1 << 0, "XEN_NETIF_CTRLF_GREF_readonly";
    NETTXF_CSUM_BLANK = 1 << 0, "NETTXF_csum_blank";
    NETTXF_DATA_VALIDATED = 1 << 1, "NETTXF_data_validated";
    NETTXF_MORE_DATA = 1 << 2, "NETTXF_more_data";
    NETTXF_EXTRA_INFO = 1 << 3, "NETTXF_extra_info";
    MAX_TX_SIZE = 0xffff, "XEN_NETIF_MAX_TX_SIZE";
    EXTRA_TYPE_NONE = 0, "XEN_NETIF_EXTRA_TYPE_NONE";
    EXTRA_TYPE_GSO = 1, "XEN_NETIF_EXTRA_TYPE_GSO";
    EXTRA_TYPE_MCAST_ADD = 2, "XEN_NETIF_EXTRA_TYPE_MCAST_ADD";
    EXTRA_TYPE_MCAST_DEL = 3, "XEN_NETIF_EXTRA_TYPE_MCAST_DEL";
    EXTRA_TYPE_HASH = 4, "XEN_NETIF_EXTRA_TYPE_HASH";
    EXTRA_TYPE_MAX = 5, "XEN_NETIF_EXTRA_TYPE_MAX";
    EXTRA_FLAG_MORE = 1 << 0, "XEN_NETIF_EXTRA_FLAG_MORE";
    GSO_TYPE_NONE = 0, "XEN_NETIF_GSO_TYPE_NONE";
    GSO_TYPE_TCPV4 = 1, "XEN_NETIF_GSO_TYPE_TCPV4";
    GSO_TYPE_TCPV6 = 2, "XEN_NETIF_GSO_TYPE_TCPV6";
    NETRXF_DATA_VALIDATED = 1 << 0, "NETRXF_data_validated";
    NETRXF_CSUM_BLANK = 1 << 1, "NETRXF_csum_blank";
    NETRXF_MORE_DATA = 1 << 2, "NETRXF_more_data";
    NETRXF_EXTRA_INFO = 1 << 3, "NETRXF_extra_info";
    NETRXF_GSO_PREFIX = 1 << 4, "NETRXF_gso_prefix";
}

crate::macros::constants! { i16;
    NETIF_RSP_DROPPED = -2;
    NETIF_RSP_ERROR = -1;
    NETIF_RSP_OKAY = 0;
    NETIF_RSP_NULL = 1;
}

/// A request on the control ring.
#[doc(alias = "xen_netif_ctrl_request")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CtrlRequest {
    pub id: u16,
    #[doc(alias = "type")]
    pub kind: u16,
    pub data: [u32; 3],
}

/// The answer on the control ring.
#[doc(alias = "xen_netif_ctrl_response")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CtrlResponse {
    pub id: u16,
    #[doc(alias = "type")]
    pub kind: u16,
    pub status: u32,
    pub data: u32,
}

/// A grant to keep mapped.
#[doc(alias = "xen_netif_gref")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Gref {
    #[doc(alias = "ref")]
    pub reference: GrantRef,
    pub flags: u16,
    pub status: u16,
}

/// A packet to send, or a part of one.
#[doc(alias = "netif_tx_request")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TxRequest {
    pub gref: GrantRef,
    pub offset: u16,
    pub flags: u16,
    pub id: u16,
    pub size: u16,
}

/// More on a packet, in the place of the next request or response.
#[doc(alias = "netif_extra_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ExtraInfo {
    #[doc(alias = "type")]
    pub kind: u8,
    pub flags: u8,
    pub u: ExtraInfoUnion,
}

crate::macros::union! {
    /// The union `netif_extra_info.u`.
    ExtraInfoUnion: [u16; 3], "netif_extra_info.u" {
        gso: ExtraInfoGso,
        mcast: ExtraInfoMcast,
        hash: ExtraInfoHash,
    }
}

/// The member `netif_extra_info.u.gso`.
#[doc(alias = "netif_extra_info.u.gso")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ExtraInfoGso {
    pub size: u16,
    #[doc(alias = "type")]
    pub kind: u8,
    pub pad: u8,
    pub features: u16,
}

/// The member `netif_extra_info.u.mcast`.
#[doc(alias = "netif_extra_info.u.mcast")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ExtraInfoMcast {
    pub addr: [u8; 6],
}

/// The member `netif_extra_info.u.hash`.
#[doc(alias = "netif_extra_info.u.hash")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ExtraInfoHash {
    #[doc(alias = "type")]
    pub kind: u8,
    pub algorithm: u8,
    pub value: [u8; 4],
}

/// The answer for a packet to send.
#[doc(alias = "netif_tx_response")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TxResponse {
    pub id: u16,
    pub status: i16,
}

/// A frame for packets to arrive in.
#[doc(alias = "netif_rx_request")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RxRequest {
    pub id: u16,
    pub pad: u16,
    pub gref: GrantRef,
}

/// A packet that arrived.
#[doc(alias = "netif_rx_response")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RxResponse {
    pub id: u16,
    pub offset: u16,
    pub flags: u16,
    pub status: i16,
}
