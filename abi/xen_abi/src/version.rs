//! Versions and properties of the hypervisor, `__HYPERVISOR_xen_version`.
//!
//! Source: `public/version.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u32;
    VERSION = 0, "XENVER_version";
    EXTRAVERSION = 1, "XENVER_extraversion";
    COMPILE_INFO = 2, "XENVER_compile_info";
    CAPABILITIES = 3, "XENVER_capabilities";
    CHANGESET = 4, "XENVER_changeset";
    PLATFORM_PARAMETERS = 5, "XENVER_platform_parameters";
    GET_FEATURES = 6, "XENVER_get_features";
    PAGESIZE = 7, "XENVER_pagesize";
    GUEST_HANDLE = 8, "XENVER_guest_handle";
    COMMANDLINE = 9, "XENVER_commandline";
    BUILD_ID = 10, "XENVER_build_id";
}

/// Argument of `XENVER_compile_info`.
#[doc(alias = "xen_compile_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CompileInfo {
    pub compiler: [u8; 64],
    pub compile_by: [u8; 16],
    pub compile_domain: [u8; 32],
    pub compile_date: [u8; 32],
}

/// Argument of `XENVER_platform_parameters`.
#[doc(alias = "xen_platform_parameters")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PlatformParameters {
    pub virt_start: u64,
}

/// 32 bits of the feature map: `XENVER_get_features`.
#[doc(alias = "xen_feature_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FeatureInfo {
    pub submap_idx: u32,
    pub submap: u32,
}

/// Argument of `XENVER_build_id`.
#[doc(alias = "xen_build_id")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BuildId {
    pub len: u32,
}
