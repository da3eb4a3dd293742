//! Descriptor tables: the CPU's own page of descriptors, the task state segment, the interrupt table.
//!
//! The own page is page 14 of any GDT that is loaded: selectors from 0xe000 are the hypervisor's and the flat
//! ones of public/arch-x86/xen-x86_64.h, so a GDT's base is always 14 pages below a mapping of it. While no guest
//! is loaded the pages below are unmapped or hold nothing of interest, and no one loads their selectors.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::{entry, layout, msr, percpu};

/// 64-bit code of ring 0.
pub const HYPERVISOR_CS: u16 = 0xe008;
/// Flat data of ring 0.
pub const HYPERVISOR_DS: u16 = 0xe010;
/// Flat 32-bit code of ring 3.
pub const FLAT_RING3_CS32: u16 = 0xe023;
/// Flat data of ring 3.
pub const FLAT_RING3_DS: u16 = 0xe02b;
/// Flat 64-bit code of ring 3.
pub const FLAT_RING3_CS64: u16 = 0xe033;
const TSS_SELECTOR: u16 = 0xe040;
const LDT_SELECTOR: u16 = 0xe050;

/// First selector of the own page, which is also its distance from the GDT's base.
pub const OWN_PAGE: u64 = 0xe000;
/// Limit of every GDT that is loaded: 14 pages of the guest's, one of the CPU's.
const GDT_LIMIT: u16 = 0xefff;

/// Operand of LGDT and LIDT.
#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Interrupt descriptor table: the same for all CPUs, since the stacks that it names are in the TSS.
#[repr(C, align(4096))]
struct Idt([[AtomicU64; 2]; 256]);

static IDT: Idt = Idt([const { [const { AtomicU64::new(0) }; 2] }; 256]);

/// Interrupt stacks of the TSS, by number.
const IST_DOUBLE_FAULT: u64 = 1;
const IST_NMI: u64 = 2;
const IST_MACHINE_CHECK: u64 = 3;
const IST_DEBUG: u64 = 4;

/// Fills the interrupt table: once, by the boot CPU.
pub(crate) fn init_idt() {
    for (index, gate) in IDT.0.iter().enumerate() {
        let handler = entry::stub(index);
        let stack = match index {
            1 => IST_DEBUG,
            2 => IST_NMI,
            8 => IST_DOUBLE_FAULT,
            18 => IST_MACHINE_CHECK,
            _ => 0,
        };
        // `int3` and `into` are for programs to use; every other gate is closed to them (#GP).
        let privilege: u64 = if matches!(index, 3 | 4) { 3 } else { 0 };
        // Present 64-bit interrupt gate (SDM 3A §6.14.1).
        let low = (handler & 0xffff)
            | u64::from(HYPERVISOR_CS) << 16
            | stack << 32
            | 0x8e << 40
            | privilege << 45
            | (handler >> 16 & 0xffff) << 48;
        let [first, second] = gate;
        first.store(low, Ordering::Relaxed);
        second.store(handler >> 32, Ordering::Relaxed);
    }
}

/// Loads GDT, TSS, interrupt table and the entry points of SYSCALL and SYSENTER on this CPU.
pub(crate) fn init_cpu() {
    let block = percpu::block_base();
    let tss = block + layout::TSS;
    let stacks = [
        (4, block + layout::FRAME_END),
        (36, block + layout::DOUBLE_FAULT_STACK),
        (44, block + layout::NMI_STACK),
        (52, block + layout::MACHINE_CHECK_STACK),
        (60, block + layout::DEBUG_STACK),
    ];
    for (offset, top) in stacks {
        // SAFETY: the TSS is 104 bytes in this CPU's own block, which only this CPU writes, here.
        unsafe { ((tss + offset) as *mut u64).write_unaligned(top) };
    }
    // I/O map base beyond the limit: no port is open to ring 3.
    // SAFETY: as above.
    unsafe { ((tss + 102) as *mut u16).write_unaligned(104) };

    let descriptors: [(u16, u64); 8] = [
        (HYPERVISOR_CS, 0x00af_9b00_0000_ffff),
        (HYPERVISOR_DS, 0x00cf_9300_0000_ffff),
        (FLAT_RING3_CS32, 0x00cf_fb00_0000_ffff),
        (FLAT_RING3_DS, 0x00cf_f300_0000_ffff),
        (FLAT_RING3_CS64, 0x00af_fb00_0000_ffff),
        (TSS_SELECTOR, system_descriptor(tss, 103, 0x89)),
        (TSS_SELECTOR + 8, tss >> 32),
        (LDT_SELECTOR, 0),
    ];
    for (selector, value) in descriptors {
        write_descriptor(selector, value);
    }

    load_own_gdt();
    let idt = TablePointer {
        limit: 0xfff,
        base: IDT.0.as_ptr() as u64,
    };
    // SAFETY: the tables are filled and stay mapped for good. The far return loads CS from the new GDT, where
    // HYPERVISOR_CS is 64-bit code of ring 0. Data selectors become null, which 64-bit mode allows.
    unsafe {
        asm!(
            "lidt [{idt}]",
            "push {cs}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ss, {zero:e}",
            "mov ds, {zero:e}",
            "mov es, {zero:e}",
            "mov fs, {zero:e}",
            "mov gs, {zero:e}",
            "ltr {tss:x}",
            "lldt {zero:x}",
            idt = in(reg) &idt,
            cs = in(reg) u64::from(HYPERVISOR_CS),
            scratch = out(reg) _,
            zero = in(reg) 0_u32,
            tss = in(reg) TSS_SELECTOR,
        );
    }

    let star = u64::from(FLAT_RING3_CS32) << 48 | u64::from(HYPERVISOR_CS) << 32;
    // What a guest must not bring along: TF, IF, DF, IOPL, NT, RF, VM, AC.
    let flags = 0x0007_7700;
    let (syscall, syscall32) = entry::syscall_stubs(percpu::cpu_id());
    let writes = [
        (msr::STAR, star),
        (msr::LSTAR, syscall),
        (msr::CSTAR, syscall32),
        (msr::SFMASK, flags),
        (msr::SYSENTER_CS, u64::from(HYPERVISOR_CS)),
        (msr::SYSENTER_ESP, block + layout::FRAME_END),
        (msr::SYSENTER_EIP, entry::sysenter_stub()),
    ];
    for (register, value) in writes {
        // SAFETY: the entry points are this crate's own. AMD has no SYSENTER in long mode but keeps the
        // registers; a CPU without CSTAR refuses it and never takes it.
        let _ = unsafe { msr::write_raw(register, value) };
    }
}

/// A descriptor's low half for a TSS or LDT (SDM 3A §7.2.3).
fn system_descriptor(base: u64, limit: u64, kind: u64) -> u64 {
    (limit & 0xffff) | (base & 0xff_ffff) << 16 | kind << 40 | (base >> 24 & 0xff) << 56
}

/// Writes a descriptor of this CPU's own page.
fn write_descriptor(selector: u16, value: u64) {
    let offset = u64::from(selector & !7) - OWN_PAGE;
    let address = percpu::block_base() + layout::GDT + offset;
    // SAFETY: the page is this CPU's; only this crate chooses selectors, all within the page.
    unsafe { (address as *mut u64).write_volatile(value) };
}

/// Loads the GDT whose page 14 is this CPU's own page and that has no other.
pub fn load_own_gdt() {
    // SAFETY: the page is mapped in every address space, and holds the selectors that are in use.
    unsafe { load_gdt(percpu::block_base() + layout::GDT - OWN_PAGE) }
}

/// Loads the GDT at `base`.
///
/// # Safety
/// In every address space that is loaded before the next change of GDT, page 14 from `base` maps this
/// CPU's own page of descriptors, and the pages before it memory that only validated descriptors reach.
#[inline]
pub unsafe fn load_gdt(base: u64) {
    let pointer = TablePointer {
        limit: GDT_LIMIT,
        base,
    };
    // SAFETY: by the caller's promise.
    unsafe { asm!("lgdt [{}]", in(reg) &pointer, options(nostack, preserves_flags)) };
}

/// Loads an LDT of `entries` descriptors at `base`; none if `entries` is 0.
///
/// # Safety
/// The `entries` × 8 bytes from `base` are only ever mapped to frames of validated descriptors, or to nothing.
pub unsafe fn load_ldt(base: u64, entries: u16) {
    let selector = if entries == 0 {
        0
    } else {
        let limit = u64::from(entries) * 8 - 1;
        write_descriptor(LDT_SELECTOR, system_descriptor(base, limit, 0x82));
        write_descriptor(LDT_SELECTOR + 8, base >> 32);
        LDT_SELECTOR
    };
    // SAFETY: null, or the descriptor just written.
    unsafe { asm!("lldt {:x}", in(reg) selector, options(nostack, preserves_flags)) };
}

/// Address of this CPU's own page of descriptors, to be mapped as page 14 of a guest's GDT.
pub fn own_page() -> addr::Vaddr {
    addr::Vaddr::new(percpu::block_base() + layout::GDT)
}
