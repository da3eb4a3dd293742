//! Extended state (x87, SSE, AVX …) of vCPUs that do not run. It is saved and restored in whole when a CPU
//! changes the vCPU it runs, never lazily. Without XSAVE the area is FXSAVE's 512 bytes.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::control::{HAS_XSAVE, cpuid};
use crate::percpu;
use crate::traps::fixup_entry;

/// State components: x87 and SSE, which are always on.
pub const XCR0_BASE: u64 = 0b11;
/// Components that are used where the CPU has them: x87, SSE, AVX, AVX-512, PKRU.
const XCR0_WANTED: u64 = 0b10_1110_0111;

/// Components in use, and the area's size for them.
static FEATURES: AtomicU64 = AtomicU64::new(XCR0_BASE);
/// The CPU leaves x87 pointers as they are where it has none to load (AMD; APM 2 §11.4.4.3).
static KEEPS_POINTERS: AtomicBool = AtomicBool::new(false);
static SIZE: AtomicUsize = AtomicUsize::new(512);

/// Default control words: x87 and MXCSR with all exceptions masked.
const FCW_DEFAULT: u16 = 0x37f;
const MXCSR_DEFAULT: u32 = 0x1f80;

/// Turns on every component, on this CPU; CR4.OSXSAVE is on already.
pub(crate) fn init() {
    KEEPS_POINTERS.store(keeps_pointers(), Ordering::Relaxed);
    if !HAS_XSAVE.load(Ordering::Relaxed) {
        return;
    }
    let leaf = cpuid(0xd, 0);
    let supported = u64::from(leaf.edx) << 32 | u64::from(leaf.eax);
    let mut features = supported & XCR0_WANTED;
    if features & 0b1110_0000 != 0b1110_0000 || features & 0b100 == 0 {
        features &= !0b1110_0000;
    }
    write_xcr0(features | XCR0_BASE);
    FEATURES.store(features | XCR0_BASE, Ordering::Relaxed);
    // With XCR0 as it is now, EBX is the size of its components.
    SIZE.store((cpuid(0xd, 0).ebx as usize).max(576), Ordering::Relaxed);
}

fn keeps_pointers() -> bool {
    /// "Auth", of "AuthenticAMD".
    const AUTH: u32 = 0x6874_7541;
    /// Leaf whose EBX bit 2 says that the pointers are always loaded.
    const CAPACITY: u32 = 0x8000_0008;
    let always_loads =
        cpuid(0x8000_0000, 0).eax >= CAPACITY && cpuid(CAPACITY, 0).ebx & 1 << 2 != 0;
    cpuid(0, 0).ebx == AUTH && !always_loads
}

/// Components that a guest may turn on.
pub fn features() -> u64 {
    FEATURES.load(Ordering::Relaxed)
}

/// Bytes of an area.
pub fn area_size() -> usize {
    SIZE.load(Ordering::Relaxed)
}

fn write_xcr0(value: u64) {
    // SAFETY: called with components that CPUID names and in combinations that it allows.
    unsafe {
        asm!(
            "xsetbv",
            in("ecx") 0,
            in("eax") value as u32,
            in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags)
        );
    }
    percpu::local().xcr0.store(value, Ordering::Relaxed);
}

/// Whether `value` is an XCR0 that this machine can have.
pub fn is_valid_xcr0(value: u64) -> bool {
    HAS_XSAVE.load(Ordering::Relaxed)
        && value & 1 != 0
        && value & !features() == 0
        // AVX needs SSE; the three parts of AVX-512 go together and need AVX.
        && (value & 0b100 == 0 || value & 0b10 != 0)
        && (value & 0b1110_0000 == 0 || value & 0b1110_0100 == 0b1110_0100)
}

/// Sets XCR0 for the guest that is about to run; false if the machine can not have it.
pub fn set_xcr0(value: u64) -> bool {
    if !is_valid_xcr0(value) {
        return false;
    }
    if percpu::local().xcr0.load(Ordering::Relaxed) != value {
        write_xcr0(value);
    }
    true
}

/// XCR0 as it is now; 0 without XSAVE.
pub fn xcr0() -> u64 {
    percpu::local().xcr0.load(Ordering::Relaxed)
}

/// A vCPU's extended state in memory.
pub struct XsaveArea {
    bytes: NonNull<u8>,
    size: usize,
}

// SAFETY: the area is plain memory that the value owns.
unsafe impl Send for XsaveArea {}
// SAFETY: shared access only reads.
unsafe impl Sync for XsaveArea {}

/// The contents are not a state that the CPU takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadState;

impl XsaveArea {
    /// An area with the state after reset, or `None` if there is no memory.
    pub fn new() -> Option<Self> {
        let size = area_size();
        let layout = Layout::from_size_align(size, 64).ok()?;
        // SAFETY: the size is not 0.
        let bytes = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let mut area = Self { bytes, size };
        area.reset();
        Some(area)
    }

    /// Makes it the state after reset.
    pub fn reset(&mut self) {
        let bytes = self.bytes_mut();
        bytes.fill(0);
        bytes[..2].copy_from_slice(&FCW_DEFAULT.to_le_bytes());
        bytes[24..28].copy_from_slice(&MXCSR_DEFAULT.to_le_bytes());
        if HAS_XSAVE.load(Ordering::Relaxed) {
            // x87 and SSE are in the area; all else is initial.
            bytes[512] = XCR0_BASE as u8;
        }
    }

    /// The area: FXSAVE's layout in the first 512 bytes, then XSAVE's header and the standard format.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: owned and initialised.
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr(), self.size) }
    }

    /// The area, to be written; what it then holds is checked when it is restored.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: owned, initialised and borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.bytes.as_ptr(), self.size) }
    }

    /// Saves this CPU's state, of every component, whatever XCR0 the guest chose. CR0.TS is cleared, and XCR0 has every
    /// component from then on: each is restored before a guest chooses again.
    pub fn save(&mut self) {
        crate::control::set_task_switched(false);
        if !HAS_XSAVE.load(Ordering::Relaxed) {
            // SAFETY: 512 bytes, aligned to 64.
            unsafe { asm!("fxsave64 [{}]", in(reg) self.bytes.as_ptr(), options(nostack)) };
            return;
        }
        if xcr0() != features() {
            write_xcr0(features());
        }
        // SAFETY: the area is as large as CPUID says for all components, and aligned to 64.
        unsafe {
            asm!(
                "xsave64 [{}]",
                in(reg) self.bytes.as_ptr(),
                in("eax") u32::MAX,
                in("edx") u32::MAX,
                options(nostack)
            );
        }
    }

    /// Loads the state, of every component, into this CPU. CR0.TS is cleared. The guest's XCR0 is set afterwards
    /// ([`set_xcr0`]).
    ///
    /// # Errors
    /// The CPU refuses the contents (they came from outside); its state is unspecified.
    pub fn restore(&self) -> Result<(), BadState> {
        crate::control::set_task_switched(false);
        self.forget_pointers();
        let failed: u32;
        if HAS_XSAVE.load(Ordering::Relaxed) {
            if xcr0() != features() {
                write_xcr0(features());
            }
            // SAFETY: loads registers that the hypervisor does not use; bad contents fault, with a fixup.
            unsafe {
                asm!(
                    "xor {failed:e}, {failed:e}",
                    "2: xrstor64 [{area}]",
                    "3:",
                    fixup_entry!("2b", "4f"),
                    ".pushsection .text.fixup, \"ax\", @progbits",
                    "4: mov {failed:e}, 1",
                    "jmp 3b",
                    ".popsection",
                    failed = out(reg) failed,
                    area = in(reg) self.bytes.as_ptr(),
                    in("eax") u32::MAX,
                    in("edx") u32::MAX,
                    options(nostack)
                );
            }
        } else {
            // SAFETY: as above.
            unsafe {
                asm!(
                    "xor {failed:e}, {failed:e}",
                    "2: fxrstor64 [{area}]",
                    "3:",
                    fixup_entry!("2b", "4f"),
                    ".pushsection .text.fixup, \"ax\", @progbits",
                    "4: mov {failed:e}, 1",
                    "jmp 3b",
                    ".popsection",
                    failed = out(reg) failed,
                    area = in(reg) self.bytes.as_ptr(),
                    options(nostack)
                );
            }
        }
        if failed == 0 { Ok(()) } else { Err(BadState) }
    }
}

impl XsaveArea {
    /// AMD's CPUs before Zen 2 load the pointers of the last x87 instruction only with a pending exception: others'
    /// would stay (XSA-52). An instruction of ours replaces them.
    #[inline(never)] // `cargo xtask check registers` knows it by its name.
    fn forget_pointers(&self) {
        /// Bit 7 of the status word, bytes 2 and 3 of the area: an exception is pending.
        const PENDING: u8 = 1 << 7;
        let is_pending = self.bytes().get(2).is_none_or(|byte| byte & PENDING != 0);
        if is_pending || !KEEPS_POINTERS.load(Ordering::Relaxed) {
            return;
        }
        let zero = 0u32;
        // SAFETY: changes x87 registers, which the caller loads anew; with exceptions cleared and a register free it
        // cannot fault.
        unsafe {
            asm!(
                "fnclex",
                "ffree st(7)",
                "fild dword ptr [{}]",
                in(reg) &raw const zero,
                options(nostack, readonly)
            );
        }
    }
}

impl Drop for XsaveArea {
    fn drop(&mut self) {
        if let Ok(layout) = Layout::from_size_align(self.size, 64) {
            // SAFETY: allocated in `new` with this layout.
            unsafe { dealloc(self.bytes.as_ptr(), layout) };
        }
    }
}
