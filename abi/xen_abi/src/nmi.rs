//! NMI callbacks, `__HYPERVISOR_nmi_op`.
//!
//! Source: `public/nmi.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

crate::macros::constants! { u64;
    NMIREASON_IO_ERROR = 1 << 0, "XEN_NMIREASON_io_error";
    NMIREASON_PCI_SERR = 1 << 1, "XEN_NMIREASON_pci_serr";
    NMIREASON_UNKNOWN = 1 << 2, "XEN_NMIREASON_unknown";
}

crate::macros::constants! { u32;
    XENNMI_REGISTER_CALLBACK = 0, "XENNMI_register_callback";
    XENNMI_UNREGISTER_CALLBACK = 1, "XENNMI_unregister_callback";
}

/// Argument of `XENNMI_register_callback`.
#[doc(alias = "xennmi_callback")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NmiCallback {
    pub handler_address: u64,
    pub pad: u64,
}
