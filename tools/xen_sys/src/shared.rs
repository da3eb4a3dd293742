//! Memory that another domain, or another process, may change at any time.

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use crate::PAGE_SIZE;
use crate::error::DeviceError;
use crate::grant;

/// Pages mapped into this process that somebody else may read and write as well: of another domain, of the kernel, or
/// of a file. Words are reached by atomic loads and stores, bytes by copies made of such; there is never a reference.
/// Unmapped when dropped.
///
/// All offsets are in bytes. A method panics when its range is not within the pages, or a word is not aligned:
/// offsets are the program's own, and nothing read from the memory may be used as one unchecked. Stores into a
/// mapping made without write access end the process with a signal; so does any access to a file that was
/// shortened after mapping it.
pub struct SharedPages {
    address: NonNull<u8>,
    length: usize,
    /// What is to be told to the device after unmapping.
    release: Option<Release>,
}

/// A mapping whose device wants to know when it ends.
#[derive(Debug)]
pub(crate) enum Release {
    Grant {
        device: Arc<OwnedFd>,
        index: u64,
        count: u32,
    },
    Allocated {
        device: Arc<OwnedFd>,
        index: u64,
        count: u32,
    },
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for SharedPages {}
// SAFETY: all accesses are atomic.
unsafe impl Sync for SharedPages {}

impl SharedPages {
    /// Maps `count` pages of a file or a device, shared, from the offset `from` in bytes.
    pub(crate) fn map(
        file: impl AsFd,
        from: u64,
        count: usize,
        writable: bool,
    ) -> Result<Self, Errno> {
        let length = count.checked_mul(PAGE_SIZE).ok_or(Errno::NOMEM)?;
        let protection = if writable {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        // SAFETY: a new mapping, at an address that the kernel chooses, aliases no object of Rust's.
        let address = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                MapFlags::SHARED,
                file,
                from,
            )
        }?;
        Ok(Self {
            address: NonNull::new(address.cast()).ok_or(Errno::NOMEM)?,
            length,
            release: None,
        })
    }

    /// Maps `count` pages of a file, such as one of `memfd_create` or on tmpfs, from byte `from`. What is stored
    /// is in the file at once for all processes, and outlives this one. The file has to be that long, and stay so.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    pub fn map_file(
        file: impl AsFd,
        from: u64,
        count: usize,
        writable: bool,
    ) -> std::io::Result<Self> {
        Ok(Self::map(file, from, count, writable)?)
    }

    pub(crate) fn with_release(mut self, release: Release) -> Self {
        self.release = Some(release);
        self
    }

    /// Where the pages are in this process: for the kernel and for hypercalls.
    pub(crate) fn address(&self) -> u64 {
        self.address.as_ptr().expose_provenance() as u64
    }

    /// The length in bytes: a multiple of [`PAGE_SIZE`].
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no pages.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The address of `size` bytes at `offset`, which are in the mapping and aligned for a word of that size.
    fn word(&self, offset: usize, size: usize) -> *mut u8 {
        assert!(
            offset.is_multiple_of(size) && offset < self.length && self.length - offset >= size,
            "offset {offset:#x} of {:#x}",
            self.length
        );
        // SAFETY: within the mapping, as just checked.
        unsafe { self.address.as_ptr().add(offset) }
    }

    /// The address of a range that is in the mapping.
    fn range(&self, offset: usize, length: usize) -> *mut u8 {
        assert!(
            offset <= self.length && self.length - offset >= length,
            "range {offset:#x}+{length:#x} of {:#x}",
            self.length
        );
        // SAFETY: within the mapping or one past it, as just checked.
        unsafe { self.address.as_ptr().add(offset) }
    }

    fn atomic_u8(&self, offset: usize) -> &AtomicU8 {
        // SAFETY: in the mapping, which lives as long as `self`; all accesses of this program are atomic.
        unsafe { AtomicU8::from_ptr(self.word(offset, 1)) }
    }

    fn atomic_u16(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: as above, and aligned, as `word` checked (mappings start at a page).
        unsafe { AtomicU16::from_ptr(self.word(offset, 2).cast()) }
    }

    fn atomic_u32(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(self.word(offset, 4).cast()) }
    }

    fn atomic_u64(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(self.word(offset, 8).cast()) }
    }

    /// Loads a byte.
    pub fn load_u8(&self, offset: usize) -> u8 {
        self.atomic_u8(offset).load(Ordering::Acquire)
    }

    /// Stores a byte.
    pub fn store_u8(&self, offset: usize, value: u8) {
        self.atomic_u8(offset).store(value, Ordering::Release);
    }

    /// Loads a word of 2 bytes; what is loaded afterwards is at least as new.
    pub fn load_u16(&self, offset: usize) -> u16 {
        self.atomic_u16(offset).load(Ordering::Acquire)
    }

    /// Stores a word of 2 bytes, after all that was stored before.
    pub fn store_u16(&self, offset: usize, value: u16) {
        self.atomic_u16(offset).store(value, Ordering::Release);
    }

    /// Loads a word of 4 bytes, such as a producer's index; what is loaded afterwards is at least as new.
    pub fn load_u32(&self, offset: usize) -> u32 {
        self.atomic_u32(offset).load(Ordering::Acquire)
    }

    /// Stores a word of 4 bytes, after all that was stored before.
    pub fn store_u32(&self, offset: usize, value: u32) {
        self.atomic_u32(offset).store(value, Ordering::Release);
    }

    /// Loads a word of 8 bytes; what is loaded afterwards is at least as new.
    pub fn load_u64(&self, offset: usize) -> u64 {
        self.atomic_u64(offset).load(Ordering::Acquire)
    }

    /// Stores a word of 8 bytes, after all that was stored before.
    pub fn store_u64(&self, offset: usize, value: u64) {
        self.atomic_u64(offset).store(value, Ordering::Release);
    }

    /// Puts `new` in the place of `old` in a word of 4 bytes; gives what was there, which is `old` on success.
    pub fn compare_exchange_u32(&self, offset: usize, old: u32, new: u32) -> u32 {
        match self.atomic_u32(offset).compare_exchange(
            old,
            new,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(found) | Err(found) => found,
        }
    }

    /// Orders all earlier stores before all later loads: between telling the other side of one's own progress and
    /// looking at its.
    pub fn fence(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    /// Copies bytes out. Not atomic as a whole: the other side may change them meanwhile.
    pub fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        let from = self.range(offset, bytes.len());
        let (head, words, tail) = split(offset, bytes.len());
        let (head_bytes, rest) = bytes.split_at_mut(head);
        let (word_bytes, tail_bytes) = rest.split_at_mut(words * 8);
        let at = |index: usize| {
            // SAFETY: in the range that was checked above.
            unsafe { from.add(index) }
        };
        for (index, byte) in head_bytes.iter_mut().enumerate() {
            // SAFETY: in the range; accessed atomically only.
            *byte = unsafe { AtomicU8::from_ptr(at(index)) }.load(Ordering::Relaxed);
        }
        for (index, chunk) in word_bytes.chunks_exact_mut(8).enumerate() {
            // SAFETY: in the range, and aligned: `split` saw to it.
            let word = unsafe { AtomicU64::from_ptr(at(head + index * 8).cast()) };
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        for (index, byte) in tail_bytes.iter_mut().enumerate().take(tail) {
            // SAFETY: in the range; accessed atomically only.
            *byte =
                unsafe { AtomicU8::from_ptr(at(head + words * 8 + index)) }.load(Ordering::Relaxed);
        }
    }

    /// Copies bytes in. Not atomic as a whole: the other side may look meanwhile.
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let to = self.range(offset, bytes.len());
        let (head, words, tail) = split(offset, bytes.len());
        let (head_bytes, rest) = bytes.split_at(head);
        let (word_bytes, tail_bytes) = rest.split_at(words * 8);
        let at = |index: usize| {
            // SAFETY: in the range that was checked above.
            unsafe { to.add(index) }
        };
        for (index, byte) in head_bytes.iter().enumerate() {
            // SAFETY: in the range; accessed atomically only.
            unsafe { AtomicU8::from_ptr(at(index)) }.store(*byte, Ordering::Relaxed);
        }
        for (index, chunk) in word_bytes.chunks_exact(8).enumerate() {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            // SAFETY: in the range, and aligned: `split` saw to it.
            unsafe { AtomicU64::from_ptr(at(head + index * 8).cast()) }
                .store(u64::from_ne_bytes(word), Ordering::Relaxed);
        }
        for (index, byte) in tail_bytes.iter().enumerate().take(tail) {
            // SAFETY: in the range; accessed atomically only.
            unsafe { AtomicU8::from_ptr(at(head + words * 8 + index)) }
                .store(*byte, Ordering::Relaxed);
        }
    }

    /// Copies `length` bytes out into a new vector.
    pub fn to_vec(&self, offset: usize, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.copy_out(offset, &mut bytes);
        bytes
    }

    /// Fills `length` bytes from a file, from byte `from` of it on. The kernel copies; nothing is read by way of
    /// this process's own memory.
    ///
    /// # Errors
    ///
    /// Those of `pread`; `UnexpectedEof` if the file is shorter.
    ///
    /// # Panics
    ///
    /// If the range is not within the pages.
    pub fn read_exact_from(
        &self,
        offset: usize,
        file: impl AsFd,
        from: u64,
        length: usize,
    ) -> std::io::Result<()> {
        let start = self.range(offset, length);
        let mut done = 0;
        while done < length {
            let at = start.wrapping_add(done);
            // SAFETY: within the mapping, as checked. The slice is of bytes that may hold anything, and is only
            // handed to the kernel, which copies as it does to any memory of several processes: no access is made
            // through it here.
            let part = unsafe {
                std::slice::from_raw_parts_mut(at.cast::<MaybeUninit<u8>>(), length - done)
            };
            match rustix::io::pread(&file, part, from + done as u64) {
                Ok(([], _)) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok((filled, _)) => done += filled.len(),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// Splits a range into bytes before an aligned word, whole words, and bytes after.
fn split(offset: usize, length: usize) -> (usize, usize, usize) {
    let head = (offset.next_multiple_of(8) - offset).min(length);
    let words = (length - head) / 8;
    (head, words, length - head - words * 8)
}

impl Drop for SharedPages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this object's, and nothing refers to it any more. An error leaves it mapped.
        let _ = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.length) };
        if let Some(release) = self.release.take() {
            grant::release(&release);
        }
    }
}

impl fmt::Debug for SharedPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPages")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Maps pages of a device, with its name in the error.
pub(crate) fn map_device(
    device: &'static str,
    file: impl AsFd,
    from: u64,
    count: usize,
    writable: bool,
) -> Result<SharedPages, DeviceError> {
    SharedPages::map(file, from, count, writable)
        .map_err(|errno| DeviceError::new(device, "map", errno))
}

#[cfg(test)]
mod tests {
    use rustix::fs::MemfdFlags;

    use super::*;

    fn pages() -> SharedPages {
        let file = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 8192).unwrap();
        SharedPages::map_file(&file, 0, 2, true).unwrap()
    }

    #[test]
    fn copies_at_any_alignment() {
        let pages = pages();
        let data: Vec<u8> = (0..100).collect();
        for offset in 0..17 {
            for length in 0..40 {
                pages.copy_in(0, &[0xff; 128]);
                pages.copy_in(offset, &data[..length]);
                assert_eq!(pages.to_vec(offset, length), data[..length]);
                assert!(pages.to_vec(0, offset).iter().all(|byte| *byte == 0xff));
                assert_eq!(pages.load_u8(offset + length), 0xff);
            }
        }
    }

    #[test]
    fn words_are_little_endian_bytes() {
        let pages = pages();
        pages.store_u32(8188, 0x0403_0201);
        assert_eq!(pages.to_vec(8188, 4), [1, 2, 3, 4]);
        assert_eq!(pages.load_u16(8190), 0x0403);
        assert_eq!(pages.compare_exchange_u32(8188, 0, 7), 0x0403_0201);
        assert_eq!(
            pages.compare_exchange_u32(8188, 0x0403_0201, 7),
            0x0403_0201
        );
        assert_eq!(pages.load_u64(8184), 7 << 32);
    }

    #[test]
    #[should_panic(expected = "range 0x1fff+0x2")]
    fn a_copy_beyond_the_end_panics() {
        pages().copy_in(8191, &[1, 2]);
    }

    #[test]
    #[should_panic(expected = "offset 0x2000")]
    fn a_word_beyond_the_end_panics() {
        pages().load_u32(8192);
    }

    #[test]
    fn two_mappings_of_a_file_are_the_same_memory() {
        let file = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 4096).unwrap();
        let one = SharedPages::map_file(&file, 0, 1, true).unwrap();
        let two = SharedPages::map_file(&file, 0, 1, false).unwrap();
        one.store_u64(16, 42);
        assert_eq!(two.load_u64(16), 42);
    }
}
