//! Starting the machine's other CPUs.
//!
//! A CPU that gets a start-up message runs in real mode from a page below 1 MiB. The code there goes straight to
//! long mode, with tables that map that page at its own address besides the hypervisor, and then to the CPU's own
//! block. CPUs are started one at a time.

use core::arch::global_asm;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use boot_info::RegionKind;
use platform_cpu::{MAX_CPUS, layout};
use platform_memory::{DIRECT_MAP, HYPERVISOR_SLOTS};

use crate::entry::OFFSET;

/// Why a CPU did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// There is no such CPU number, or it is the boot CPU's.
    BadNumber,
    /// Another CPU is being started.
    Busy,
    /// No memory for its block.
    NoMemory,
    /// No page of RAM below 640 KiB to start from.
    NoPage,
    /// It did not answer.
    NoAnswer,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadNumber => "its number is too high",
            Self::Busy => "another CPU is being started",
            Self::NoMemory => "there is no memory for it",
            Self::NoPage => "there is no RAM below 640 KiB to start from",
            Self::NoAnswer => "it does not answer",
        })
    }
}

global_asm!(
    ".section .rodata.trampoline, \"a\", @progbits",
    ".balign 16",
    ".code16",
    "trampoline_start:",
    "cli",
    "cld",
    "movw %cs, %ax",
    "movw %ax, %ds",
    "lgdtl trampoline_gdt_pointer - trampoline_start",
    "movl $0xa0, %eax",
    "movl %eax, %cr4",
    "movl trampoline_root - trampoline_start, %eax",
    "movl %eax, %cr3",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    // Long mode, no-execute: the tables use it.
    "orl $0x900, %eax",
    "wrmsr",
    "movl $0x80010033, %eax",
    "movl %eax, %cr0",
    "ljmpl *(trampoline_far - trampoline_start)",
    ".code64",
    "trampoline_64:",
    "xorl %eax, %eax",
    "movl %eax, %ss",
    "movl %eax, %ds",
    "movl %eax, %es",
    "movl %eax, %fs",
    "movl %eax, %gs",
    "xorl %ebp, %ebp",
    "movq trampoline_stack(%rip), %rsp",
    "movq trampoline_entry(%rip), %rax",
    "pushq $0",
    "pushq $0",
    "callq *%rax",
    "ud2",
    ".balign 8",
    "trampoline_gdt: .quad 0, 0x00af9b000000ffff",
    "trampoline_gdt_pointer: .short 15",
    // From here on filled in by `prepare_page`.
    "trampoline_gdt_base: .long 0",
    "trampoline_far: .long 0",
    ".short 8",
    "trampoline_root: .long 0",
    "trampoline_stack: .quad 0",
    "trampoline_entry: .quad 0",
    "trampoline_end:",
    options(att_syntax),
);

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_64: u8;
    static trampoline_gdt: u8;
    static trampoline_gdt_base: u8;
    static trampoline_far: u8;
    static trampoline_root: u8;
    static trampoline_stack: u8;
    static trampoline_entry: u8;
    static trampoline_end: u8;
}

/// A page table in the image, and so below 4 GiB, where the 32-bit load of the root reaches.
#[repr(C, align(4096))]
struct Table([AtomicU64; 512]);

impl Table {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 512])
    }

    fn set(&self, index: usize, value: u64) {
        if let Some(entry) = self.0.get(index) {
            entry.store(value, Ordering::Relaxed);
        }
    }

    fn address(&self) -> u64 {
        self.0.as_ptr() as u64 - OFFSET
    }
}

static L4: Table = Table::new();
static L3: Table = Table::new();
static L2: Table = Table::new();

static BUSY: AtomicBool = AtomicBool::new(false);
static ONLINE: AtomicBool = AtomicBool::new(false);
static MAIN: AtomicUsize = AtomicUsize::new(0);

/// Starts CPU `id`, which then calls `main` with its number, on its own stack and with its own descriptors, in the idle
/// address space.
///
/// `send` makes the CPU start at the page whose number it is given: INIT, then SIPI. `wait` is called until the CPU
/// answers, and says false when it has waited long enough. After [`StartError::NoAnswer`] no other CPU can be started,
/// because this one may still come.
///
/// # Errors
/// See [`StartError`].
pub fn start_cpu(
    id: usize,
    main: fn(usize) -> !,
    send: impl FnOnce(u8),
    mut wait: impl FnMut() -> bool,
) -> Result<(), StartError> {
    if id == 0 || id >= MAX_CPUS {
        return Err(StartError::BadNumber);
    }
    if BUSY.swap(true, Ordering::Acquire) {
        return Err(StartError::Busy);
    }
    let ready = if platform_memory::map_block(id) {
        prepare_page(id).ok_or(StartError::NoPage)
    } else {
        Err(StartError::NoMemory)
    };
    let page = match ready {
        Ok(page) => page,
        Err(error) => {
            BUSY.store(false, Ordering::Release);
            return Err(error);
        }
    };
    MAIN.store(main as usize, Ordering::Relaxed);
    // Release: the CPU sees what was prepared (Acquire by its start-up, which orders all).
    ONLINE.store(false, Ordering::Release);
    send(page);
    // Pairs with the Release in `other_cpu`.
    while !ONLINE.load(Ordering::Acquire) {
        if !wait() {
            return Err(StartError::NoAnswer);
        }
        core::hint::spin_loop();
    }
    BUSY.store(false, Ordering::Release);
    Ok(())
}

/// Number of a page of RAM below 640 KiB, the highest; not page 0.
fn find_page() -> Option<u8> {
    let info = crate::start::boot_info()?;
    info.memory_map
        .regions()
        .iter()
        .filter(|region| region.kind == RegionKind::RAM)
        .filter_map(|region| {
            let end = region.end.raw().min(0xa_0000) >> 12;
            let page = end.checked_sub(1)?;
            (page > 0 && page << 12 >= region.start.raw()).then_some(page as u8)
        })
        .max()
}

/// Puts code and tables for CPU `id` in place.
fn prepare_page(id: usize) -> Option<u8> {
    let page = find_page()?;
    let physical = u64::from(page) << 12;
    for slot in HYPERVISOR_SLOTS {
        L4.set(slot, platform_memory::hypervisor_entry(slot));
    }
    L4.set(0, L3.address() | 3);
    L3.set(0, L2.address() | 3);
    // The low 2 MiB, executable, in these tables only.
    L2.set(0, 0x83);

    let start = &raw const trampoline_start as u64;
    let len = &raw const trampoline_end as u64 - start;
    let target = DIRECT_MAP + physical;
    // SAFETY: the page is RAM below 1 MiB, which the direct map has and no one else uses; the code is shorter than a
    // page.
    unsafe {
        core::ptr::copy_nonoverlapping(start as *const u8, target as *mut u8, len as usize);
    }
    let place = |symbol: *const u8| target + (symbol as u64 - start);
    let code = physical + (&raw const trampoline_64 as u64 - start);
    let descriptors = physical + (&raw const trampoline_gdt as u64 - start);
    let words = [
        (&raw const trampoline_gdt_base, descriptors as u32),
        (&raw const trampoline_far, code as u32),
        (&raw const trampoline_root, L4.address() as u32),
    ];
    for (symbol, value) in words {
        // SAFETY: within the copy just made.
        unsafe { (place(symbol) as *mut u32).write_unaligned(value) };
    }
    let long_words = [
        (
            &raw const trampoline_stack,
            layout::block(id) + layout::MAIN_STACK,
        ),
        (
            &raw const trampoline_entry,
            other_cpu as extern "sysv64" fn() -> ! as usize as u64,
        ),
    ];
    for (symbol, value) in long_words {
        // SAFETY: within the copy just made.
        unsafe { (place(symbol) as *mut u64).write_unaligned(value) };
    }
    Some(page)
}

/// First Rust code of another CPU.
extern "sysv64" fn other_cpu() -> ! {
    platform_memory::load_idle_root();
    // SAFETY: this CPU's first code, on its own block's stack.
    unsafe { platform_cpu::start::init_other_cpu() };
    let main = MAIN.load(Ordering::Relaxed);
    // SAFETY: `start_cpu` stored it, and no other since: this CPU is the one being started.
    let main = unsafe { core::mem::transmute::<usize, fn(usize) -> !>(main) };
    // Release: pairs with the Acquire in `start_cpu`; the next CPU may be started from now on.
    ONLINE.store(true, Ordering::Release);
    main(platform_cpu::cpu_id())
}
