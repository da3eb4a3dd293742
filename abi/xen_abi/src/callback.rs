//! Entry points of a guest kernel, `__HYPERVISOR_callback_op`.
//!
//! Source: `public/callback.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u32;
    CALLBACKTYPE_EVENT = 0, "CALLBACKTYPE_event";
    CALLBACKTYPE_FAILSAFE = 1, "CALLBACKTYPE_failsafe";
    CALLBACKTYPE_SYSCALL = 2, "CALLBACKTYPE_syscall";
    CALLBACKTYPE_SYSENTER_DEPRECATED = 3, "CALLBACKTYPE_sysenter_deprecated";
    CALLBACKTYPE_NMI = 4, "CALLBACKTYPE_nmi";
    CALLBACKTYPE_SYSENTER = 5, "CALLBACKTYPE_sysenter";
    CALLBACKTYPE_SYSCALL32 = 7, "CALLBACKTYPE_syscall32";
    CALLBACKF_MASK_EVENTS = 1 << 0, "CALLBACKF_mask_events";
    REGISTER = 0, "CALLBACKOP_register";
    UNREGISTER = 1, "CALLBACKOP_unregister";
}

/// An entry point: `CALLBACKOP_register`.
#[doc(alias = "callback_register")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CallbackRegister {
    #[doc(alias = "type")]
    pub kind: u16,
    pub flags: u16,
    pub _hole0: [u8; 4],
    pub address: u64,
}

/// An entry point to take back: `CALLBACKOP_unregister`.
#[doc(alias = "callback_unregister")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CallbackUnregister {
    #[doc(alias = "type")]
    pub kind: u16,
    pub _unused: u16,
}
