//! The protocol of xenstore.
//!
//! Source: `public/io/xs_wire.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u32;
    XS_DEBUG = 0;
    XENSTORE_RING_SIZE = 1024;
    XENSTORE_PAYLOAD_MAX = 4096;
    XENSTORE_ABS_PATH_MAX = 3072;
    XENSTORE_REL_PATH_MAX = 2048;
    XENSTORE_SERVER_FEATURE_RECONNECTION = 1;
    XENSTORE_SERVER_FEATURE_ERROR = 2;
    XENSTORE_CONNECTED = 0;
    XENSTORE_RECONNECT = 1;
    XENSTORE_ERROR_NONE = 0;
    XENSTORE_ERROR_COMM = 1;
    XENSTORE_ERROR_RINGIDX = 2;
    XENSTORE_ERROR_PROTO = 3;
    XS_CONTROL = 0;
    XS_DIRECTORY = 1;
    XS_READ = 2;
    XS_GET_PERMS = 3;
    XS_WATCH = 4;
    XS_UNWATCH = 5;
    XS_TRANSACTION_START = 6;
    XS_TRANSACTION_END = 7;
    XS_INTRODUCE = 8;
    XS_RELEASE = 9;
    XS_GET_DOMAIN_PATH = 10;
    XS_WRITE = 11;
    XS_MKDIR = 12;
    XS_RM = 13;
    XS_SET_PERMS = 14;
    XS_WATCH_EVENT = 15;
    XS_ERROR = 16;
    XS_IS_DOMAIN_INTRODUCED = 17;
    XS_RESUME = 18;
    XS_SET_TARGET = 19;
    XS_RESET_WATCHES = 21;
    XS_DIRECTORY_PART = 22;
    XS_TYPE_COUNT = 23;
    XS_INVALID = 65_535;
    XS_WATCH_PATH = 0;
    XS_WATCH_TOKEN = 1;
}

/// The header of every message.
#[doc(alias = "xsd_sockmsg")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct XsdSockmsg {
    #[doc(alias = "type")]
    pub kind: u32,
    pub req_id: u32,
    pub tx_id: u32,
    pub len: u32,
}

/// The page of two rings between a domain and xenstored.
#[doc(alias = "xenstore_domain_interface")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct XenstoreDomainInterface {
    pub req: [u8; 1024],
    pub rsp: [u8; 1024],
    pub req_cons: u32,
    pub req_prod: u32,
    pub rsp_cons: u32,
    pub rsp_prod: u32,
    pub server_features: u32,
    pub connection: u32,
    pub error: u32,
}
