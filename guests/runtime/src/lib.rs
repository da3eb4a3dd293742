//! What every test guest needs: an entry point with Xen's ELF notes, hypercalls, the console, and a way to end.
//!
//! A guest is a 64-bit paravirtual kernel of one file: it defines `fn guest_main(&'static StartInfo)` through
//! [`guest!`], prints what it finds, and ends with [`pass`] or [`fail`], which leave QEMU by its debug exit
//! device. Sources: public/xen.h, public/elfnote.h.

#![no_std]
// UNSAFETY: a guest is a kernel: entry code, hypercalls with raw pointers, page tables.
#![allow(unsafe_code)]

pub mod console;
pub mod event_channels;
pub mod grants;
pub mod hypercalls;
pub mod list;
pub mod memory;
pub mod random;
pub mod shared;
pub mod traps;
pub mod vcpus;

pub use hypercalls::hypercall;
pub use xen_abi;

use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, Ordering};

use xen_abi::start_info::StartInfo;

/// Size of the boot stack in bytes.
pub const STACK_BYTES: usize = 64 << 10;

global_asm!(
    ".pushsection .text.start, \"ax\"",
    ".globl _start",
    "_start:",
    "mov [rip + initial_registers], rax",
    "mov [rip + initial_registers + 8], rbx",
    "mov [rip + initial_registers + 16], rcx",
    "mov [rip + initial_registers + 24], rdx",
    "mov [rip + initial_registers + 32], rsi",
    "mov [rip + initial_registers + 40], rdi",
    "mov [rip + initial_registers + 48], rbp",
    "mov [rip + initial_registers + 56], rsp",
    "pushfq",
    "pop qword ptr [rip + initial_registers + 64]",
    "mov [rip + initial_registers + 72], cs",
    "mov [rip + initial_registers + 80], ss",
    "mov [rip + initial_registers + 88], ds",
    "mov [rip + initial_registers + 96], r8",
    "mov [rip + initial_registers + 104], r15",
    "cld",
    "lea rsp, [rip + guest_stack_end]",
    "xor ebp, ebp",
    "mov rdi, rsi",
    "call guest_entry",
    "ud2",
    ".popsection",
    ".pushsection .bss",
    ".balign 16",
    "guest_stack:",
    ".skip {stack}",
    "guest_stack_end:",
    ".popsection",
    ".pushsection .data",
    ".balign 8",
    "initial_registers: .skip 112",
    ".popsection",
    // ELF notes (public/elfnote.h): name size, description size, type, "Xen\0", description.
    ".pushsection .note.Xen, \"a\", @note",
    ".balign 4",
    ".macro note_text type, text:vararg",
    ".long 4, 2f - 1f, \\type",
    ".asciz \"Xen\"",
    "1: .asciz \\text",
    "2: .balign 4",
    ".endm",
    ".macro note_word type, value",
    ".long 4, 8, \\type",
    ".asciz \"Xen\"",
    ".quad \\value",
    ".endm",
    "note_text 6, \"xenolith-test\"",
    "note_text 7, \"1\"",
    "note_text 5, \"xen-3.0\"",
    "note_text 8, \"generic\"",
    "note_text 9, \"yes\"",
    "note_word 3, 0",
    "note_word 4, 0",
    "note_word 1, _start",
    "note_word 2, hypercall_page",
    ".popsection",
    ".pushsection .text, \"ax\"",
    ".balign 4096",
    ".globl hypercall_page",
    "hypercall_page: .skip 4096",
    ".popsection",
    stack = const STACK_BYTES,
);

/// The number behind `name` (with its `=`) on the guest's command line.
pub fn option(info: &StartInfo, name: &str) -> Option<u64> {
    let end = info.cmd_line.iter().position(|byte| *byte == 0)?;
    let line = core::str::from_utf8(&info.cmd_line[..end]).ok()?;
    line.split(' ')
        .find_map(|word| word.strip_prefix(name)?.parse().ok())
}

unsafe extern "Rust" {
    fn guest_main(info: &'static StartInfo);
}

/// RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, RFLAGS, CS, SS, DS, R8 and R15 as the guest found them.
pub fn initial_registers() -> [u64; 14] {
    unsafe extern "C" {
        static initial_registers: [u64; 14];
    }
    // SAFETY: written by the first instructions, and by none after.
    unsafe { (&raw const initial_registers).read() }
}

/// First Rust code of the guest.
#[unsafe(no_mangle)]
extern "sysv64" fn guest_entry(info: &'static StartInfo) -> ! {
    memory::init(info);
    console::init(info);
    // SAFETY: `guest!` defines it with this type.
    unsafe { guest_main(info) };
    finish()
}

/// Defines the guest's main function.
#[macro_export]
macro_rules! guest {
    ($main:path) => {
        /// Called by the runtime.
        #[unsafe(no_mangle)]
        fn guest_main(info: &'static $crate::xen_abi::start_info::StartInfo) {
            let main: fn(&'static $crate::xen_abi::start_info::StartInfo) = $main;
            main(info);
        }

        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::println!("PANIC: {info}");
            $crate::fail()
        }
    };
}

/// QEMU's `isa-debug-exit` device: the status is twice the value, plus one.
const DEBUG_EXIT_PORT: u16 = 0xf4;
const EXIT_PASS: u32 = 0x10;
const EXIT_FAIL: u32 = 0x11;

/// Ends the test: what it checked holds.
pub fn pass() -> ! {
    println!("GUEST PASS");
    end(EXIT_PASS)
}

/// Ends the test: something it checked does not hold.
pub fn fail() -> ! {
    println!("GUEST FAIL");
    end(EXIT_FAIL)
}

/// Lets some tenths of a second pass.
fn wait() {
    for _ in 0..100_000_000_u32 {
        core::hint::spin_loop();
    }
}

fn end(value: u32) -> ! {
    let reason = if value == EXIT_PASS { 0 } else { 3 };
    if console::is_ring() {
        // Whoever started this domain reads how it ended.
        hypercalls::shutdown(reason);
    }
    hypercalls::set_iopl(1);
    // What was printed may still be on its way through the hypervisor, and would be lost.
    wait();
    // SAFETY: the port is the debug exit's or nobody's.
    unsafe {
        core::arch::asm!("out dx, eax", in("dx") DEBUG_EXIT_PORT, in("eax") value, options(nomem, nostack));
    }
    // The machine ends at its leisure.
    wait();
    hypercalls::shutdown(reason)
}

/// Expectations that did not hold.
static FAILURES: AtomicU32 = AtomicU32::new(0);

/// Notes that an expectation does not hold.
pub fn note_failure() {
    FAILURES.fetch_add(1, Ordering::Relaxed);
}

/// Ends the test: passed unless an expectation did not hold.
pub fn finish() -> ! {
    match FAILURES.load(Ordering::Relaxed) {
        0 => pass(),
        count => {
            println!("{count} expectations do not hold");
            fail()
        }
    }
}

/// Notes a failure unless `condition` holds, naming what was expected, and goes on.
#[macro_export]
macro_rules! expect {
    ($condition:expr) => {
        if !$condition {
            $crate::println!(
                "not so at {}:{}: {}",
                file!(),
                line!(),
                stringify!($condition)
            );
            $crate::note_failure();
        }
    };
}

/// Notes a failure unless both are equal, showing them, and goes on. What follows is a name for the case.
#[macro_export]
macro_rules! expect_eq {
    ($left:expr, $right:expr) => {
        $crate::expect_eq!($left, $right, "")
    };
    ($left:expr, $right:expr, $($name:tt)+) => {{
        let (left, right) = ($left, $right);
        if left != right {
            $crate::println!(
                "not so at {}:{}: {} is {:x?}, not {:x?} {}",
                file!(),
                line!(),
                stringify!($left),
                left,
                right,
                format_args!($($name)+)
            );
            $crate::note_failure();
        }
    }};
}

/// Ends the test unless `condition` holds, naming what was expected.
#[macro_export]
macro_rules! check {
    ($condition:expr) => {
        if !$condition {
            $crate::println!(
                "check failed at {}:{}: {}",
                file!(),
                line!(),
                stringify!($condition)
            );
            $crate::fail();
        }
    };
}

/// Ends the test unless both are equal, showing them.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr) => {{
        let (left, right) = ($left, $right);
        if left != right {
            $crate::println!(
                "check failed at {}:{}: {} is {:?}, not {:?}",
                file!(),
                line!(),
                stringify!($left),
                left,
                right
            );
            $crate::fail();
        }
    }};
}
