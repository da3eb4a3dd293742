//! Segment registers and bases. They always hold the guest's values; the hypervisor uses none of them.

use core::arch::asm;
use core::sync::atomic::Ordering;

use addr::Vaddr;

use crate::control::HAS_FSGSBASE;
use crate::msr;
use crate::traps::fixup_entry;

/// The segments of a vCPU that does not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// Selector.
    pub ds: u16,
    /// Selector.
    pub es: u16,
    /// Selector.
    pub fs: u16,
    /// Selector.
    pub gs: u16,
    /// Base of FS.
    pub fs_base: u64,
    /// Base of GS as it is in use: the kernel's while the guest's kernel runs.
    pub gs_base: u64,
    /// The other base of GS, that [`swap_gs`] exchanges.
    pub shadow_gs_base: u64,
}

/// A selector that the CPU refuses to load. The register is null instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSelector;

macro_rules! load_selector {
    ($name:ident, $register:literal) => {
        #[inline]
        fn $name(selector: u16) -> Result<(), BadSelector> {
            // As if ring 3 loaded it: a segment of ring 0 is refused.
            let selector = if selector > 3 { selector | 3 } else { selector };
            let failed: u32;
            // SAFETY: a data segment's base and limit mean nothing to 64-bit ring 0; a fault continues at 3
            // with a null selector and `failed` set.
            unsafe {
                asm!(
                    "xor {failed:e}, {failed:e}",
                    concat!("2: mov ", $register, ", {selector:e}"),
                    "3:",
                    fixup_entry!("2b", "4f"),
                    ".pushsection .text.fixup, \"ax\", @progbits",
                    concat!("4: mov ", $register, ", {failed:e}"),
                    "mov {failed:e}, 1",
                    "jmp 3b",
                    ".popsection",
                    failed = out(reg) failed,
                    selector = in(reg) u32::from(selector),
                    options(nostack),
                );
            }
            if failed == 0 { Ok(()) } else { Err(BadSelector) }
        }
    };
}

load_selector!(load_ds, "ds");
load_selector!(load_es, "es");
load_selector!(load_fs, "fs");
load_selector!(load_gs, "gs");

macro_rules! read_selector {
    ($name:ident, $register:literal) => {
        #[inline]
        fn $name() -> u16 {
            let selector: u32;
            // SAFETY: reads a register.
            unsafe {
                asm!(
                    concat!("mov {:e}, ", $register),
                    out(reg) selector,
                    options(nomem, nostack, preserves_flags)
                );
            }
            selector as u16
        }
    };
}

read_selector!(read_ds, "ds");
read_selector!(read_es, "es");
read_selector!(read_fs, "fs");
read_selector!(read_gs, "gs");

impl Segments {
    /// Reads this CPU's.
    pub fn save() -> Self {
        Self {
            ds: read_ds(),
            es: read_es(),
            fs: read_fs(),
            gs: read_gs(),
            fs_base: fs_base(),
            gs_base: gs_base(),
            shadow_gs_base: shadow_gs_base(),
        }
    }

    /// Loads them on this CPU, all of them whatever fails.
    ///
    /// # Errors
    /// A selector was refused and is null; the guest's failsafe callback is to hear of it. (Bases that are not
    /// canonical are refused too, and are 0.)
    pub fn load(&self) -> Result<(), BadSelector> {
        // Selectors first: loading one sets the base.
        let results = [
            load_ds(self.ds),
            load_es(self.es),
            load_fs(self.fs),
            load_gs(self.gs),
        ];
        for (set, base) in [
            (set_fs_base as fn(u64) -> bool, self.fs_base),
            (set_gs_base, self.gs_base),
            (set_shadow_gs_base, self.shadow_gs_base),
        ] {
            if !set(base) {
                set(0);
            }
        }
        results.into_iter().collect()
    }
}

/// Exchanges the two bases of GS: the guest goes from its kernel to a program, or back.
#[inline]
pub fn swap_gs() {
    // SAFETY: the hypervisor does not use GS.
    unsafe { asm!("swapgs", options(nomem, nostack, preserves_flags)) };
}

/// Base of FS.
#[inline]
pub fn fs_base() -> u64 {
    if HAS_FSGSBASE.load(Ordering::Relaxed) {
        let base;
        // SAFETY: CR4.FSGSBASE is on.
        unsafe { asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
        base
    } else {
        msr::read(msr::FS_BASE).unwrap_or(0)
    }
}

/// Base of GS.
#[inline]
pub fn gs_base() -> u64 {
    if HAS_FSGSBASE.load(Ordering::Relaxed) {
        let base;
        // SAFETY: CR4.FSGSBASE is on.
        unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
        base
    } else {
        msr::read(msr::GS_BASE).unwrap_or(0)
    }
}

/// The base of GS that is not in use.
#[inline]
pub fn shadow_gs_base() -> u64 {
    msr::read(msr::KERNEL_GS_BASE).unwrap_or(0)
}

/// Sets the base of FS; false if it is not canonical.
#[inline]
pub fn set_fs_base(base: u64) -> bool {
    if !Vaddr::new(base).is_canonical() {
        return false;
    }
    if HAS_FSGSBASE.load(Ordering::Relaxed) {
        // SAFETY: CR4.FSGSBASE is on, the address canonical; the hypervisor does not use FS.
        unsafe { asm!("wrfsbase {}", in(reg) base, options(nomem, nostack, preserves_flags)) };
        true
    } else {
        msr::write(msr::FS_BASE, base)
    }
}

/// Sets the base of GS; false if it is not canonical.
#[inline]
pub fn set_gs_base(base: u64) -> bool {
    if !Vaddr::new(base).is_canonical() {
        return false;
    }
    if HAS_FSGSBASE.load(Ordering::Relaxed) {
        // SAFETY: CR4.FSGSBASE is on, the address canonical; the hypervisor does not use GS.
        unsafe { asm!("wrgsbase {}", in(reg) base, options(nomem, nostack, preserves_flags)) };
        true
    } else {
        msr::write(msr::GS_BASE, base)
    }
}

/// Sets the base of GS that is not in use; false if it is not canonical.
#[inline]
pub fn set_shadow_gs_base(base: u64) -> bool {
    Vaddr::new(base).is_canonical() && msr::write(msr::KERNEL_GS_BASE, base)
}

/// Loads the program's GS selector while the guest's kernel runs (`SEGBASE_GS_USER_SEL`): its base becomes the one
/// that is not in use.
///
/// # Errors
/// The CPU refuses the selector; the register is null.
pub fn load_user_gs_selector(selector: u16) -> Result<(), BadSelector> {
    swap_gs();
    let result = load_gs(selector);
    swap_gs();
    result
}
