//! Pointers that a guest passes (`XEN_GUEST_HANDLE`, `XEN_GUEST_HANDLE_64` of `public/arch-x86/xen.h`).
//!
//! A handle is a claim and not a pointer: it may be null, unmapped, unaligned or point into the hypervisor.
//! There is no way to dereference it here; the code that copies from guests checks it first.

use core::fmt;
use core::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The guest virtual address of one or more `T`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct GuestHandle<T> {
    /// The address as the guest gave it.
    pub address: u64,
    pointee: PhantomData<T>,
}

impl<T> GuestHandle<T> {
    /// The null handle.
    pub const NULL: Self = Self::new(0);

    /// A handle for what is at `address`.
    pub const fn new(address: u64) -> Self {
        Self {
            address,
            pointee: PhantomData,
        }
    }

    /// Whether this is the null pointer.
    pub const fn is_null(self) -> bool {
        self.address == 0
    }

    /// The handle of the `index`th element, or `None` when its address overflows.
    pub fn element(self, index: u64) -> Option<Self> {
        let offset = index.checked_mul(size_of::<T>() as u64)?;
        Some(Self::new(self.address.checked_add(offset)?))
    }

    /// The same address, as a pointer to `U`.
    pub const fn cast<U>(self) -> GuestHandle<U> {
        GuestHandle::new(self.address)
    }
}

// Written by hand, because derives would ask the same of `T`.
impl<T> Clone for GuestHandle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for GuestHandle<T> {}

impl<T> PartialEq for GuestHandle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl<T> Eq for GuestHandle<T> {}

impl<T> fmt::Debug for GuestHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.address)
    }
}
