//! Domain numbers with a meaning of their own.
//!
//! Source: `public/xen.h`.

crate::macros::constants! { u16;
    DOMID_FIRST_RESERVED = 0x7ff0;
    DOMID_SELF = 0x7ff0;
    DOMID_IO = 0x7ff1;
    DOMID_XEN = 0x7ff2;
    DOMID_COW = 0x7ff3;
    DOMID_INVALID = 0x7ff4;
    DOMID_IDLE = 0x7fff;
    DOMID_MASK = 0x7fff;
}
