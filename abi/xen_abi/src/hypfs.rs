//! The tree of hypervisor parameters, `__HYPERVISOR_hypfs_op`.
//!
//! Source: `public/hypfs.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u32;
    VERSION = 1, "XEN_HYPFS_VERSION";
    MAX_PATHLEN = 1024, "XEN_HYPFS_MAX_PATHLEN";
    TYPE_DIR = 0, "XEN_HYPFS_TYPE_DIR";
    TYPE_BLOB = 1, "XEN_HYPFS_TYPE_BLOB";
    TYPE_STRING = 2, "XEN_HYPFS_TYPE_STRING";
    TYPE_UINT = 3, "XEN_HYPFS_TYPE_UINT";
    TYPE_INT = 4, "XEN_HYPFS_TYPE_INT";
    TYPE_BOOL = 5, "XEN_HYPFS_TYPE_BOOL";
    ENC_PLAIN = 0, "XEN_HYPFS_ENC_PLAIN";
    ENC_GZIP = 1, "XEN_HYPFS_ENC_GZIP";
    OP_GET_VERSION = 0, "XEN_HYPFS_OP_get_version";
    OP_READ = 1, "XEN_HYPFS_OP_read";
    OP_WRITE_CONTENTS = 2, "XEN_HYPFS_OP_write_contents";
}

/// What an entry is.
#[doc(alias = "xen_hypfs_direntry")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Direntry {
    #[doc(alias = "type")]
    pub kind: u8,
    pub encoding: u8,
    pub pad: u16,
    pub content_len: u32,
    pub max_write_len: u32,
}

/// An entry of a directory; its name follows.
#[doc(alias = "xen_hypfs_dirlistentry")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Dirlistentry {
    pub e: Direntry,
    pub off_next: u16,
    pub _hole0: [u8; 2],
}
