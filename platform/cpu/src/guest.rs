//! Copies between the hypervisor and the guest's address space that is loaded.
//!
//! A guest address is a claim: it is checked to lie outside of the hypervisor's range, and the access itself may
//! fault, which ends the copy with [`Fault`]. Nothing in the guest's memory is ever a Rust reference.

use core::arch::{asm, naked_asm};
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;

use addr::Vaddr;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::entry::{clac_site, stac_site};
use crate::percpu;
use crate::traps::fixup_entry;

/// First address of the hypervisor's range.
pub const HYPERVISOR_START: u64 = 0xffff_8000_0000_0000;
/// First address above the hypervisor's range.
pub const HYPERVISOR_END: u64 = 0xffff_8800_0000_0000;
/// First non-canonical address.
const LOWER_HALF_END: u64 = 0x0000_8000_0000_0000;

/// A guest address that could not be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: the byte that faulted, or the start of a range that may not be accessed at all.
    pub address: Vaddr,
    /// The page fault's error code; 0 if there was none.
    pub error_code: u32,
}

/// Whether the `len` bytes at `address` are outside of the hypervisor's range and canonical.
#[inline]
pub fn is_guest_range(address: Vaddr, len: u64) -> bool {
    let start = address.raw();
    match start.checked_add(len) {
        Some(end) => end <= LOWER_HALF_END || start >= HYPERVISOR_END,
        None => false,
    }
}

#[cold]
fn refused(address: Vaddr) -> Fault {
    Fault {
        address,
        error_code: 0,
    }
}

#[cold]
fn last_fault() -> Fault {
    let local = percpu::local();
    Fault {
        address: Vaddr::new(local.fault_address.load(Ordering::Relaxed)),
        error_code: local.fault_code.load(Ordering::Relaxed) as u32,
    }
}

/// Copies `len` bytes; returns 0, or 1 after a fault.
///
/// # Safety
/// The hypervisor's side is valid for `len` bytes; the guest's was checked with [`is_guest_range`].
#[unsafe(naked)]
unsafe extern "sysv64" fn copy(destination: *mut u8, source: *const u8, len: usize) -> u64 {
    naked_asm!(
        "mov rcx, rdx",
        "shr rcx, 3",
        stac_site!(),
        "2: rep movsq",
        "mov ecx, edx",
        "and ecx, 7",
        "3: rep movsb",
        clac_site!(),
        "xor eax, eax",
        "ret",
        fixup_entry!("2b", "4f"),
        fixup_entry!("3b", "4f"),
        "4:",
        clac_site!(),
        "mov eax, 1",
        "ret",
    )
}

/// Zeroes `len` bytes; returns 0, or 1 after a fault.
///
/// # Safety
/// The range was checked with [`is_guest_range`].
#[unsafe(naked)]
unsafe extern "sysv64" fn zero(destination: *mut u8, len: usize) -> u64 {
    naked_asm!(
        "xor eax, eax",
        "mov rcx, rsi",
        "shr rcx, 3",
        stac_site!(),
        "2: rep stosq",
        "mov ecx, esi",
        "and ecx, 7",
        "3: rep stosb",
        clac_site!(),
        "ret",
        fixup_entry!("2b", "4f"),
        fixup_entry!("3b", "4f"),
        "4:",
        clac_site!(),
        "mov eax, 1",
        "ret",
    )
}

/// Fills `destination` from guest memory. After a fault its contents are unspecified but initialised.
#[inline]
pub fn copy_from(destination: &mut [u8], source: Vaddr) -> Result<(), Fault> {
    if !is_guest_range(source, destination.len() as u64) {
        return Err(refused(source));
    }
    // SAFETY: `destination` is exclusive for its length; the source is outside of the hypervisor.
    match unsafe {
        copy(
            destination.as_mut_ptr(),
            source.raw() as *const u8,
            destination.len(),
        )
    } {
        0 => Ok(()),
        _ => Err(last_fault()),
    }
}

/// Writes `source` to guest memory. After a fault part of it may have been written.
#[inline]
pub fn copy_to(destination: Vaddr, source: &[u8]) -> Result<(), Fault> {
    if !is_guest_range(destination, source.len() as u64) {
        return Err(refused(destination));
    }
    // SAFETY: `source` is valid for its length; the destination is outside of the hypervisor.
    match unsafe { copy(destination.raw() as *mut u8, source.as_ptr(), source.len()) } {
        0 => Ok(()),
        _ => Err(last_fault()),
    }
}

/// Fills `destination` with words from guest memory.
#[inline]
pub fn copy_words_from(destination: &mut [u64], source: Vaddr) -> Result<(), Fault> {
    copy_from(destination.as_mut_bytes(), source)
}

/// Reads words, in line and one by one: frames and calls' arguments are too short for a string instruction to start up.
#[inline]
pub fn read_words<const WORDS: usize>(source: Vaddr) -> Result<[u64; WORDS], Fault> {
    if !is_guest_range(source, WORDS as u64 * 8) {
        return Err(refused(source));
    }
    let mut words = MaybeUninit::<[u64; WORDS]>::uninit();
    // SAFETY: `words` is exclusive for its length; the source is outside of the hypervisor.
    if unsafe { move_words::<WORDS>(words.as_mut_ptr().cast(), source.raw() as *const u64) } {
        // SAFETY: all words were written.
        Ok(unsafe { words.assume_init() })
    } else {
        Err(last_fault())
    }
}

/// As [`read_words`], to where they are wanted. After a fault some of them may have been read.
#[inline]
pub fn read_words_to<const WORDS: usize>(
    words: &mut [u64; WORDS],
    source: Vaddr,
) -> Result<(), Fault> {
    if !is_guest_range(source, WORDS as u64 * 8) {
        return Err(refused(source));
    }
    // SAFETY: `words` is exclusive for its length; the source is outside of the hypervisor.
    if unsafe { move_words::<WORDS>(words.as_mut_ptr(), source.raw() as *const u64) } {
        Ok(())
    } else {
        Err(last_fault())
    }
}

/// Writes words, as [`read_words`] reads them. After a fault part of them may have been written.
#[inline]
pub fn write_words<const WORDS: usize>(
    destination: Vaddr,
    words: &[u64; WORDS],
) -> Result<(), Fault> {
    if !is_guest_range(destination, WORDS as u64 * 8) {
        return Err(refused(destination));
    }
    // SAFETY: `words` is valid for its length; the destination is outside of the hypervisor.
    if unsafe { move_words::<WORDS>(destination.raw() as *mut u64, words.as_ptr()) } {
        Ok(())
    } else {
        Err(last_fault())
    }
}

/// Copies words; returns whether there was no fault.
///
/// # Safety
/// The hypervisor's side is valid for all words; the guest's was checked with [`is_guest_range`].
#[inline(always)]
unsafe fn move_words<const WORDS: usize>(destination: *mut u64, source: *const u64) -> bool {
    let failed: u32;
    // SAFETY: by the caller's promise; a fault continues at 3 with `failed` set.
    unsafe {
        asm!(
            "xor {failed:e}, {failed:e}",
            stac_site!(),
            ".rept {words}",
            "2: movsq",
            fixup_entry!("2b", "4f"),
            ".endr",
            "3:",
            clac_site!(),
            ".pushsection .text.fixup, \"ax\", @progbits",
            "4: mov {failed:e}, 1",
            "jmp 3b",
            ".popsection",
            words = const WORDS,
            failed = out(reg) failed,
            inout("rdi") destination => _,
            inout("rsi") source => _,
            options(nostack),
        );
    }
    failed == 0
}

/// Reads a value.
#[inline]
pub fn read<T: FromBytes + IntoBytes>(source: Vaddr) -> Result<T, Fault> {
    let mut value = T::new_zeroed();
    copy_from(value.as_mut_bytes(), source)?;
    Ok(value)
}

/// Writes a value.
#[inline]
pub fn write<T: IntoBytes + Immutable>(destination: Vaddr, value: &T) -> Result<(), Fault> {
    copy_to(destination, value.as_bytes())
}

macro_rules! read_in_line {
    ($(#[$doc:meta])* $name:ident, $type:ty, $form:literal) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(source: Vaddr) -> Result<$type, Fault> {
            if !is_guest_range(source, size_of::<$type>() as u64) {
                return Err(refused(source));
            }
            let value: $type;
            let failed: u32;
            // SAFETY: the address is outside of the hypervisor; a fault continues at 3 with `failed` set.
            unsafe {
                asm!(
                    "xor {failed:e}, {failed:e}",
                    stac_site!(),
                    concat!("2: mov {value", $form, "}, [{source}]"),
                    "3:",
                    clac_site!(),
                    fixup_entry!("2b", "4f"),
                    ".pushsection .text.fixup, \"ax\", @progbits",
                    "4: mov {failed:e}, 1",
                    "xor {value:e}, {value:e}",
                    "jmp 3b",
                    ".popsection",
                    failed = out(reg) failed,
                    value = out(reg) value,
                    source = in(reg) source.raw(),
                    options(nostack, readonly),
                );
            }
            if failed == 0 {
                Ok(value)
            } else {
                Err(last_fault())
            }
        }
    };
}

read_in_line! {
    /// Reads a word, in line: for the shortest paths.
    read_u64, u64, ":r"
}
read_in_line! {
    /// Reads half a word, in line: for the shortest paths.
    read_u32, u32, ":e"
}

/// Writes a word, in line: for the shortest paths.
#[inline]
pub fn write_u64(destination: Vaddr, value: u64) -> Result<(), Fault> {
    if !is_guest_range(destination, 8) {
        return Err(refused(destination));
    }
    let failed: u32;
    // SAFETY: the address is outside of the hypervisor; a fault continues at 3 with `failed` set.
    unsafe {
        asm!(
            "xor {failed:e}, {failed:e}",
            stac_site!(),
            "2: mov [{destination}], {value}",
            "3:",
            clac_site!(),
            fixup_entry!("2b", "4f"),
            ".pushsection .text.fixup, \"ax\", @progbits",
            "4: mov {failed:e}, 1",
            "jmp 3b",
            ".popsection",
            failed = out(reg) failed,
            value = in(reg) value,
            destination = in(reg) destination.raw(),
            options(nostack),
        );
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(last_fault())
    }
}

/// Zeroes `len` bytes of guest memory.
#[inline]
pub fn clear(destination: Vaddr, len: u64) -> Result<(), Fault> {
    if !is_guest_range(destination, len) {
        return Err(refused(destination));
    }
    // SAFETY: the destination is outside of the hypervisor.
    match unsafe { zero(destination.raw() as *mut u8, len as usize) } {
        0 => Ok(()),
        _ => Err(last_fault()),
    }
}
