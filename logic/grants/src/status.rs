//! `GNTST_*`: what became of a grant operation.

use xen_abi::grant_table as abi;

/// A status as the guest reads it: 0, or a negative number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Status(pub i16);

impl Status {
    /// It was done.
    pub const OKAY: Self = Self(abi::GNTST_OKAY);
    /// Anything that has no status of its own.
    pub const GENERAL_ERROR: Self = Self(abi::GNTST_GENERAL_ERROR);
    /// There is no such domain.
    pub const BAD_DOMAIN: Self = Self(abi::GNTST_BAD_DOMAIN);
    /// There is no such entry, or the request makes no sense.
    pub const BAD_GNTREF: Self = Self(abi::GNTST_BAD_GNTREF);
    /// There is no such mapping.
    pub const BAD_HANDLE: Self = Self(abi::GNTST_BAD_HANDLE);
    /// The address to map at is not suitable.
    pub const BAD_VIRT_ADDR: Self = Self(abi::GNTST_BAD_VIRT_ADDR);
    /// The caller may not do this.
    pub const PERMISSION_DENIED: Self = Self(abi::GNTST_PERMISSION_DENIED);
    /// The frame cannot be used for this.
    pub const BAD_PAGE: Self = Self(abi::GNTST_BAD_PAGE);
    /// The copy crosses the end of a page.
    pub const BAD_COPY_ARG: Self = Self(abi::GNTST_BAD_COPY_ARG);
    /// The frame's number does not fit into the entry.
    pub const ADDRESS_TOO_BIG: Self = Self(abi::GNTST_ADDRESS_TOO_BIG);
    /// The entry is in use.
    pub const EAGAIN: Self = Self(abi::GNTST_EAGAIN);
    /// No handles are left.
    pub const NO_SPACE: Self = Self(abi::GNTST_NO_SPACE);
}
