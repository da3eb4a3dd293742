//! Calls of the security module, `__HYPERVISOR_xsm_op`.
//!
//! Source: `public/xsm/flask_op.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{EvtchnPort, GuestHandle};

crate::macros::constants! { u32;
    XEN_FLASK_INTERFACE_VERSION = 1;
    LOAD = 1, "FLASK_LOAD";
    GETENFORCE = 2, "FLASK_GETENFORCE";
    SETENFORCE = 3, "FLASK_SETENFORCE";
    CONTEXT_TO_SID = 4, "FLASK_CONTEXT_TO_SID";
    SID_TO_CONTEXT = 5, "FLASK_SID_TO_CONTEXT";
    ACCESS = 6, "FLASK_ACCESS";
    CREATE = 7, "FLASK_CREATE";
    RELABEL = 8, "FLASK_RELABEL";
    USER = 9, "FLASK_USER";
    POLICYVERS = 10, "FLASK_POLICYVERS";
    GETBOOL = 11, "FLASK_GETBOOL";
    SETBOOL = 12, "FLASK_SETBOOL";
    COMMITBOOLS = 13, "FLASK_COMMITBOOLS";
    MLS = 14, "FLASK_MLS";
    DISABLE = 15, "FLASK_DISABLE";
    GETAVC_THRESHOLD = 16, "FLASK_GETAVC_THRESHOLD";
    SETAVC_THRESHOLD = 17, "FLASK_SETAVC_THRESHOLD";
    AVC_HASHSTATS = 18, "FLASK_AVC_HASHSTATS";
    AVC_CACHESTATS = 19, "FLASK_AVC_CACHESTATS";
    MEMBER = 20, "FLASK_MEMBER";
    ADD_OCONTEXT = 21, "FLASK_ADD_OCONTEXT";
    DEL_OCONTEXT = 22, "FLASK_DEL_OCONTEXT";
    GET_PEER_SID = 23, "FLASK_GET_PEER_SID";
    RELABEL_DOMAIN = 24, "FLASK_RELABEL_DOMAIN";
    DEVICETREE_LABEL = 25, "FLASK_DEVICETREE_LABEL";
}

/// Argument of `FLASK_LOAD`.
#[doc(alias = "xen_flask_load")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Load {
    pub buffer: GuestHandle<u8>,
    pub size: u32,
    pub _hole0: [u8; 4],
}

/// Argument of `FLASK_SETENFORCE`.
#[doc(alias = "xen_flask_setenforce")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Setenforce {
    pub enforcing: u32,
}

/// A security label as number and as text.
#[doc(alias = "xen_flask_sid_context")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SidContext {
    pub sid: u32,
    pub size: u32,
    pub context: GuestHandle<u8>,
}

/// Argument of `FLASK_ACCESS`.
#[doc(alias = "xen_flask_access")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Access {
    pub ssid: u32,
    pub tsid: u32,
    pub tclass: u32,
    pub req: u32,
    pub allowed: u32,
    pub audit_allow: u32,
    pub audit_deny: u32,
    pub seqno: u32,
}

/// Which label an object gets.
#[doc(alias = "xen_flask_transition")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Transition {
    pub ssid: u32,
    pub tsid: u32,
    pub tclass: u32,
    pub newsid: u32,
}

/// A switch of the policy.
#[doc(alias = "xen_flask_boolean")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Boolean {
    pub bool_id: u32,
    pub enforcing: u8,
    pub pending: u8,
    pub new_value: u8,
    pub commit: u8,
    pub size: u32,
    pub _hole0: [u8; 4],
    pub name: GuestHandle<u8>,
}

/// Argument of `FLASK_SETAVC_THRESHOLD`.
#[doc(alias = "xen_flask_setavc_threshold")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetavcThreshold {
    pub threshold: u32,
}

/// How full the label table is.
#[doc(alias = "xen_flask_hash_stats")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct HashStats {
    pub entries: u32,
    pub buckets_used: u32,
    pub buckets_total: u32,
    pub max_chain_len: u32,
}

/// How often decisions were cached.
#[doc(alias = "xen_flask_cache_stats")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CacheStats {
    pub cpu: u32,
    pub lookups: u32,
    pub hits: u32,
    pub misses: u32,
    pub allocations: u32,
    pub reclaims: u32,
    pub frees: u32,
}

/// The label of a range of ports, memory or devices.
#[doc(alias = "xen_flask_ocontext")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Ocontext {
    pub ocon: u32,
    pub sid: u32,
    pub low: u64,
    pub high: u64,
}

/// The label of the other end of an event channel.
#[doc(alias = "xen_flask_peersid")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Peersid {
    pub evtchn: EvtchnPort,
    pub sid: u32,
}

/// Argument of `FLASK_RELABEL`.
#[doc(alias = "xen_flask_relabel")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Relabel {
    pub domid: u32,
    pub sid: u32,
}

/// Argument of `FLASK_DEVICETREE_LABEL`.
#[doc(alias = "xen_flask_devicetree_label")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct DevicetreeLabel {
    pub sid: u32,
    pub length: u32,
    pub path: GuestHandle<u8>,
}

/// The argument of `__HYPERVISOR_xsm_op`.
#[doc(alias = "xen_flask_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FlaskOp {
    pub cmd: u32,
    pub interface_version: u32,
    pub u: FlaskOpUnion,
}

crate::macros::union! {
    /// The union `xen_flask_op.u`.
    FlaskOpUnion: [u64; 4], "xen_flask_op.u" {
        load: Load,
        enforce: Setenforce,
        sid_context: SidContext,
        access: Access,
        transition: Transition,
        boolean: Boolean,
        setavc_threshold: SetavcThreshold,
        hash_stats: HashStats,
        cache_stats: CacheStats,
        ocontext: Ocontext,
        peersid: Peersid,
        relabel: Relabel,
        devicetree_label: DevicetreeLabel,
    }
}
