//! Memory that the hypervisor reads and writes during a hypercall.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use xen_abi::GuestHandle;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::PAGE_SIZE;
use crate::error::DeviceError;
use crate::privcmd::HYPERCALL;
use crate::shared::{SharedPages, map_device};

/// How many pages are kept for the next buffer.
const KEPT: usize = 16;

/// `/dev/xen/hypercall`, and pages of it that no buffer uses now.
pub(crate) struct BufferSource {
    pub(crate) device: std::os::fd::OwnedFd,
    pub(crate) spare: Mutex<Vec<SharedPages>>,
}

impl BufferSource {
    fn pages(&self, count: usize) -> Result<SharedPages, DeviceError> {
        let spare = (count == 1)
            .then(|| self.spare.lock().ok()?.pop())
            .flatten();
        match spare {
            Some(pages) => Ok(pages),
            None => map_device(HYPERCALL, &self.device, 0, count, true),
        }
    }
}

/// An array of `T` in pages that stay where they are, so that the hypervisor can be given their address. The kernel
/// never moves them (memory of the heap, even locked, may be migrated to another frame for a moment).
///
/// Elements are copied in and out. Made by [`crate::Privcmd::buffer`] and its relatives.
pub struct HypercallBuffer<T> {
    /// Only empty while being dropped.
    pages: Option<SharedPages>,
    source: Arc<BufferSource>,
    length: usize,
    elements: PhantomData<T>,
}

impl<T: FromBytes + IntoBytes + Immutable> HypercallBuffer<T> {
    /// `length` elements of zeros.
    pub(crate) fn zeroed(source: &Arc<BufferSource>, length: usize) -> Result<Self, DeviceError> {
        const { assert!(size_of::<T>() > 0) };
        let bytes = length
            .checked_mul(size_of::<T>())
            .ok_or_else(|| DeviceError::new(HYPERCALL, "allocate", rustix::io::Errno::NOMEM))?;
        let pages = source.pages(bytes.div_ceil(PAGE_SIZE).max(1))?;
        let mut buffer = Self {
            pages: Some(pages),
            source: Arc::clone(source),
            length,
            elements: PhantomData,
        };
        buffer.clear();
        Ok(buffer)
    }

    fn pages(&self) -> &SharedPages {
        // Taken in `drop` only.
        self.pages.as_ref().expect("the buffer has its pages")
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The address, for a hypercall's argument.
    pub fn address(&self) -> u64 {
        self.pages().address()
    }

    /// The address as it stands in structures of the interface.
    pub fn handle<U>(&self) -> GuestHandle<U> {
        GuestHandle::new(self.address())
    }

    fn clear(&mut self) {
        const ZEROS: [u8; 256] = [0; 256];
        let length = self.length * size_of::<T>();
        for offset in (0..length).step_by(ZEROS.len()) {
            let count = ZEROS.len().min(length - offset);
            self.pages().copy_in(offset, &ZEROS[..count]);
        }
    }

    /// Copies an element out.
    ///
    /// # Panics
    ///
    /// If there are not that many.
    pub fn get(&self, index: usize) -> T {
        assert!(index < self.length, "element {index} of {}", self.length);
        let mut value = T::new_zeroed();
        self.pages()
            .copy_out(index * size_of::<T>(), value.as_mut_bytes());
        value
    }

    /// Copies an element in.
    ///
    /// # Panics
    ///
    /// If there are not that many.
    pub fn set(&mut self, index: usize, value: &T) {
        assert!(index < self.length, "element {index} of {}", self.length);
        self.pages()
            .copy_in(index * size_of::<T>(), value.as_bytes());
    }

    /// Copies elements in from `index` on.
    ///
    /// # Panics
    ///
    /// If there are not that many.
    pub fn set_all(&mut self, index: usize, values: &[T]) {
        assert!(
            index <= self.length && values.len() <= self.length - index,
            "elements {index}+{} of {}",
            values.len(),
            self.length
        );
        self.pages()
            .copy_in(index * size_of::<T>(), values.as_bytes());
    }

    /// Copies the first `count` elements out, or all if there are fewer.
    pub fn to_vec(&self, count: usize) -> Vec<T> {
        (0..count.min(self.length))
            .map(|index| self.get(index))
            .collect()
    }
}

impl<T> Drop for HypercallBuffer<T> {
    fn drop(&mut self) {
        let Some(pages) = self.pages.take() else {
            return;
        };
        if pages.len() == PAGE_SIZE
            && let Ok(mut spare) = self.source.spare.lock()
            && spare.len() < KEPT
        {
            spare.push(pages);
        }
    }
}

impl<T> fmt::Debug for HypercallBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HypercallBuffer")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
