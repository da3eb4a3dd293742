//! Control registers, CPUID, the time stamp counter and the local TLB.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, _rdtsc};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use addr::Vaddr;

use crate::{msr, percpu};

/// CR0: protection, monitor coprocessor, extension type, numeric error, write protect, alignment mask, paging.
const CR0: u64 = 0x8005_0033;
/// CR0.TS.
const CR0_TS: u64 = 1 << 3;

/// CR4 bits.
mod cr4 {
    pub(super) const TSD: u64 = 1 << 2;
    pub(super) const DE: u64 = 1 << 3;
    pub(super) const PAE: u64 = 1 << 5;
    pub(super) const MCE: u64 = 1 << 6;
    pub(super) const PGE: u64 = 1 << 7;
    pub(super) const OSFXSR: u64 = 1 << 9;
    pub(super) const OSXMMEXCPT: u64 = 1 << 10;
    pub(super) const FSGSBASE: u64 = 1 << 16;
    pub(super) const OSXSAVE: u64 = 1 << 18;
    pub(super) const SMEP: u64 = 1 << 20;
    pub(super) const SMAP: u64 = 1 << 21;
}

/// EFER: system calls, no-execute; long mode's two bits are on already.
const EFER_SCE: u64 = 1;
const EFER_NXE: u64 = 1 << 11;

/// PAT as Xen's ABI fixes it for paravirtual guests: WB, WT, UC-, UC, WC, WP, 0, 0.
const PAT: u64 = 0x0000_0501_0007_0406;

/// Whether the CPU has FSGSBASE, and CR4 allows it.
pub(crate) static HAS_FSGSBASE: AtomicBool = AtomicBool::new(false);
/// Whether the CPU has XSAVE, and CR4 allows it.
pub(crate) static HAS_XSAVE: AtomicBool = AtomicBool::new(false);
/// Whether ring 0 may touch guest memory only between STAC and CLAC.
static HAS_SMAP: AtomicBool = AtomicBool::new(false);
/// Features of leaf 7 that boot said not to use, as masks of EBX.
static DISABLED_LEAF7: AtomicU64 = AtomicU64::new(0);

const LEAF7_FSGSBASE: u32 = 1 << 0;
const LEAF7_SMEP: u32 = 1 << 7;
const LEAF7_SMAP: u32 = 1 << 20;

/// What CPUID answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the registers'")]
pub struct CpuidResult {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// Executes CPUID.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    let result = __cpuid_count(leaf, subleaf);
    CpuidResult {
        eax: result.eax,
        ebx: result.ebx,
        ecx: result.ecx,
        edx: result.edx,
    }
}

/// Reads the time stamp counter, not ordered with other instructions.
#[inline]
pub fn rdtsc() -> u64 {
    // SAFETY: every 64-bit CPU has RDTSC, and ring 0 may always use it.
    unsafe { _rdtsc() }
}

/// Reads the time stamp counter after all earlier loads.
#[inline]
pub fn rdtsc_ordered() -> u64 {
    // SAFETY: LFENCE is part of SSE2, which long mode implies.
    unsafe { asm!("lfence", options(nostack, preserves_flags)) };
    rdtsc()
}

/// Sets up this CPU's control registers, EFER and PAT: the same on every CPU.
pub(crate) fn init() {
    let max_leaf = cpuid(0, 0).eax;
    let leaf1 = cpuid(1, 0);
    let leaf7 = if max_leaf >= 7 {
        cpuid(7, 0).ebx & !(DISABLED_LEAF7.load(Ordering::Relaxed) as u32)
    } else {
        0
    };
    let mut cr4 = cr4::DE | cr4::PAE | cr4::PGE | cr4::OSFXSR | cr4::OSXMMEXCPT;
    if leaf1.edx & (1 << 7) != 0 {
        cr4 |= cr4::MCE;
    }
    if leaf7 & LEAF7_FSGSBASE != 0 {
        cr4 |= cr4::FSGSBASE;
        HAS_FSGSBASE.store(true, Ordering::Relaxed);
    }
    if leaf1.ecx & (1 << 26) != 0 {
        cr4 |= cr4::OSXSAVE;
        HAS_XSAVE.store(true, Ordering::Relaxed);
    }
    if leaf7 & LEAF7_SMEP != 0 {
        cr4 |= cr4::SMEP;
    }
    if leaf7 & LEAF7_SMAP != 0 {
        cr4 |= cr4::SMAP;
        HAS_SMAP.store(true, Ordering::Relaxed);
    }
    percpu::local().base_cr4.store(cr4, Ordering::Relaxed);

    // SAFETY: these are the modes that the hypervisor is written for: paging, PAE and long mode stay as they
    // are; WP, SMEP and SMAP only forbid; a fault cannot come since every bit was found in CPUID (NX and
    // SYSCALL by the boot code).
    unsafe {
        asm!("mov cr0, {}", in(reg) CR0, options(nostack, preserves_flags));
        asm!("mov cr4, {}", in(reg) cr4, options(nostack, preserves_flags));
        let efer = msr::read(msr::EFER).unwrap_or(0);
        let _ = msr::write_raw(msr::EFER, efer | EFER_SCE | EFER_NXE);
        let _ = msr::write_raw(msr::PAT, PAT);
    }
    crate::xsave::init();
    crate::debug_registers::clear();
}

/// Whether stac and clac are needed (known once the boot CPU was set up).
pub(crate) fn has_smap() -> bool {
    HAS_SMAP.load(Ordering::Relaxed)
}

/// CR4 bits that a guest may choose for itself.
pub const GUEST_CR4: u64 = cr4::TSD | cr4::DE | cr4::OSXSAVE | cr4::FSGSBASE;

/// CR4 as it is on this CPU.
#[inline]
pub fn read_cr4() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// CR0 as it is on this CPU.
#[inline]
pub fn read_cr0() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Takes [`TSD` and `DE`](GUEST_CR4) from `guest`; all other bits are the hypervisor's.
#[inline]
pub fn set_guest_cr4(guest: u64) {
    const CHOICE: u64 = cr4::TSD | cr4::DE;
    let base = percpu::local().base_cr4.load(Ordering::Relaxed);
    let wanted = (base & !CHOICE) | (guest & CHOICE);
    if wanted != read_cr4() {
        // SAFETY: only TSD and DE differ from what `init` set up; neither touches memory.
        unsafe { asm!("mov cr4, {}", in(reg) wanted, options(nostack, preserves_flags)) };
    }
}

/// Sets CR0.TS (`fpu_taskswitch`): the guest's next floating-point instruction is #NM.
#[inline]
pub fn set_task_switched(set: bool) {
    if set {
        // SAFETY: TS alone differs from what `init` set up; this crate uses no FPU instruction but XSAVE's,
        // which clear it first.
        unsafe { asm!("mov cr0, {}", in(reg) CR0 | CR0_TS, options(nostack, preserves_flags)) };
    } else {
        // SAFETY: clears TS only.
        unsafe { asm!("clts", options(nostack, preserves_flags)) };
    }
}

/// Writes back and invalidates this CPU's caches.
pub fn wbinvd() {
    // SAFETY: changes no memory contents as seen by anyone.
    unsafe { asm!("wbinvd", options(nostack, preserves_flags)) };
}

/// Drops translations of the page at `address` from this CPU's TLB, global or not.
#[inline]
pub fn invlpg(address: Vaddr) {
    // SAFETY: only makes the CPU read the page tables again; a non-canonical address is ignored.
    unsafe { asm!("invlpg [{}]", in(reg) address.raw(), options(nostack, preserves_flags)) };
}

/// Drops all of this CPU's translations, those of the hypervisor too.
pub fn flush_all() {
    let cr4 = read_cr4();
    // SAFETY: PGE off and on again flushes the TLB (SDM 3A §4.10.4.1); the value ends as it was.
    unsafe {
        asm!(
            "mov cr4, {}",
            "mov cr4, {}",
            in(reg) cr4 & !cr4::PGE,
            in(reg) cr4,
            options(nostack, preserves_flags)
        );
    }
}

/// Drops all of this CPU's translations but global ones, which only the hypervisor has.
#[inline]
pub fn flush_guest() {
    // SAFETY: writes back the value that CR3 has.
    unsafe {
        asm!(
            "mov {0}, cr3",
            "mov cr3, {0}",
            out(reg) _,
            options(nostack, preserves_flags)
        );
    }
}

/// Page-table root of this CPU, as CR3 has it.
#[inline]
pub fn read_cr3() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Loads a page-table root; flushes all translations but global ones.
///
/// # Safety
/// `root` is the address of an L4 table that maps the hypervisor as the present one does, and stays
/// valid for as long as it is loaded.
#[inline]
pub unsafe fn write_cr3(root: u64) {
    // SAFETY: by the caller's promise the code, stacks and data of the hypervisor stay where they are.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}
