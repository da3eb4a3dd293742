//! Exceptions, NMIs and machine checks of the hypervisor itself.

use core::arch::asm;
use core::sync::atomic::Ordering;

use addr::Vaddr;

use crate::{HostFrame, hooks, idle, percpu};

/// Text that adds a fixup: if the instruction at the first label faults, execution continues at the second.
/// Use within `asm!`; both are local label references or symbols.
macro_rules! fixup_entry {
    ($fault:literal, $landing:literal) => {
        concat!(
            ".pushsection .fixups, \"a\", @progbits\n",
            ".long ",
            $fault,
            " - .\n.long ",
            $landing,
            " - .\n.popsection"
        )
    };
}
pub(crate) use fixup_entry;

unsafe extern "C" {
    static fixups_start: Fixup;
    static fixups_end: Fixup;
    static patch_clac_start: u64;
    static patch_clac_end: u64;
    static patch_stac_start: u64;
    static patch_stac_end: u64;
}

/// Distances of the two addresses from their own places in the table.
#[repr(C)]
struct Fixup {
    fault: i32,
    landing: i32,
}

/// Where to go on after a fault at `rip`.
fn find_fixup(rip: u64) -> Option<u64> {
    let start = &raw const fixups_start;
    let count = (&raw const fixups_end as usize - start as usize) / size_of::<Fixup>();
    // SAFETY: the linker script puts both symbols around the table, which is read-only.
    let table = unsafe { core::slice::from_raw_parts(start, count) };
    table.iter().find_map(|entry| {
        let fault = (&raw const entry.fault as u64).wrapping_add_signed(i64::from(entry.fault));
        (fault == rip).then(|| {
            (&raw const entry.landing as u64).wrapping_add_signed(i64::from(entry.landing))
        })
    })
}

/// Linear address of the last page fault (CR2).
#[inline]
pub fn read_fault_address() -> Vaddr {
    let address;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    Vaddr::new(address)
}

/// Called by the entry code for whatever stops ring 0.
pub(crate) extern "sysv64" fn host_trap(frame: &mut HostFrame) {
    match frame.vector {
        // A breakpoint that a guest armed, hit by a guest copy, or made pending across its system call
        // (XSA-260). It is not ours: go on, without single steps.
        1 => {
            frame.rflags &= !(1 << 8);
            return;
        }
        2 => return hooks::nmi(frame),
        18 => return hooks::machine_check(frame),
        // Interrupts are enabled in `halt_until_interrupt` only.
        32..=255 => {
            let local = percpu::local();
            local.idle_vector.store(frame.vector, Ordering::Relaxed);
            frame.rip = idle::wake_address();
            frame.rflags &= !(1 << 9);
            return;
        }
        _ => {}
    }
    let address = read_fault_address();
    if frame.vector == 14
        && frame.error_code & 1 == 0
        && hooks::page_fault(address, frame.error_code)
    {
        return;
    }
    if let Some(landing) = find_fixup(frame.rip) {
        let local = percpu::local();
        local.fault_address.store(address.raw(), Ordering::Relaxed);
        local.fault_code.store(
            u64::from(frame.vector) << 32 | u64::from(frame.error_code),
            Ordering::Relaxed,
        );
        frame.rip = landing;
        return;
    }
    if percpu::local().fatal_depth.fetch_add(1, Ordering::Relaxed) > 1 {
        crate::halt_forever();
    }
    hooks::fatal(frame);
}

/// Makes `clac` and `stac` of the places that wait for it, if the CPU has SMAP. Once, by the boot CPU, while the
/// image's text is still writable.
pub(crate) fn patch_smap() {
    if !crate::control::has_smap() {
        return;
    }
    const CLAC: [u8; 3] = [0x0f, 0x01, 0xca];
    const STAC: [u8; 3] = [0x0f, 0x01, 0xcb];
    let tables = [
        (&raw const patch_clac_start, &raw const patch_clac_end, CLAC),
        (&raw const patch_stac_start, &raw const patch_stac_end, STAC),
    ];
    for (start, end, code) in tables {
        let count = (end as usize - start as usize) / 8;
        // SAFETY: the linker script puts both symbols around the table.
        let sites = unsafe { core::slice::from_raw_parts(start, count) };
        for &site in sites {
            for (offset, byte) in code.into_iter().enumerate() {
                // SAFETY: the table names three-byte NOPs of the image's own text, mapped writable until
                // the final page tables; no other CPU runs and this one is not executing the site.
                unsafe { (site as *mut u8).add(offset).write_volatile(byte) };
            }
        }
    }
}
