//! Traps, callbacks and `iret`: a handler for each vector that saves all registers, and ways to run code and see
//! what it raises.
//!
//! - [`probe`] calls a function and catches the first trap that it raises, if any.
//! - [`enter`] goes to any code, of the kernel or a program, through `iret`, and catches the trap, callback or system
//!   call that ends it.
//! - [`set_hook`] sees every trap first, and may let the code go on.
//!
//! A trap that nobody expects ends the test. Handlers run with events masked only if the trap table says so.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use xen_abi::callback::CallbackRegister;
use xen_abi::hypercall as number;
use xen_abi::trap::TrapInfo;

use crate::hypercalls::{call, call_with};
use crate::{memory, println, shared};

/// `TrapInfo::flags`: events are masked while the handler runs.
pub const MASKS_EVENTS: u8 = 4;

/// Number of the entry of the event callback, among the vectors.
pub const EVENT: u64 = 256;
/// As [`EVENT`]: the failsafe callback.
pub const FAILSAFE: u64 = 257;
/// As [`EVENT`]: `syscall` from a program.
pub const SYSCALL: u64 = 258;
/// As [`EVENT`]: `syscall` from a 32-bit program.
pub const SYSCALL32: u64 = 259;
/// As [`EVENT`]: `sysenter` from a program.
pub const SYSENTER: u64 = 260;
/// As [`EVENT`]: a non-maskable interrupt's callback.
pub const NMI: u64 = 261;

/// Registers, as entries save them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "registers")]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// An exception, or one of the callbacks' numbers of this module.
    pub vector: u64,
    /// 0 for those that have none.
    pub error: u64,
    pub rip: u64,
    /// With the upcall mask at the time of the trap in bits 32 to 39.
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Frame {
    /// The selector of the code.
    pub fn selector(&self) -> u16 {
        self.cs as u16
    }

    /// The upcall mask at the time of the trap.
    pub fn saved_upcall_mask(&self) -> u8 {
        (self.cs >> 32) as u8
    }
}

/// A trap that was caught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trap {
    /// What was saved.
    pub frame: Frame,
    /// `vcpu_info.arch.cr2`, if the shared page is mapped.
    pub cr2: u64,
    /// Whether upcalls were masked when the handler started.
    pub mask_in_handler: bool,
    /// RFLAGS in the handler.
    pub flags_in_handler: u64,
    /// `ds`, `es`, `fs`, `gs` as the failsafe callback gives them.
    pub selectors: [u64; 4],
    /// CS and SS in the handler.
    pub segments_in_handler: [u16; 2],
    /// The address of the frame that the hypervisor wrote, just above it.
    pub stack: u64,
}

/// What to do after a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on with what the frame says now.
    Resume,
    /// End what was being run: `probe` or `enter` return the trap.
    Unwind,
}

/// Sees every trap.
pub type Hook = fn(&mut Frame) -> Next;

/// Flags that an iret frame can hold: back by the rules of `sysret`.
pub const IN_SYSCALL: u64 = xen_abi::vcpu_context::VGCF_IN_SYSCALL;
/// Flat code of 64 bits for ring 3.
pub const CS64: u64 = xen_abi::arch_x86::FLAT_RING3_CS64 as u64;
/// Flat code of 32 bits for ring 3.
pub const CS32: u64 = xen_abi::arch_x86::FLAT_RING3_CS32 as u64;
/// Flat stack for ring 3.
pub const SS: u64 = xen_abi::arch_x86::FLAT_RING3_SS64 as u64;
/// CS of 64 bits that says to `iret` that the guest's kernel is meant.
pub const KERNEL_CS: u64 = CS64 & !3;
/// The interrupt flag, which stands for the upcall mask.
pub const IF: u64 = 0x200;

global_asm!(
    ".pushsection .text, \"ax\"",
    ".balign 64",
    "trap_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    "pop rcx",
    "pop r11",
    ".if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30",
    "push vector",
    ".else",
    "push 0",
    "push vector",
    ".endif",
    "jmp trap_entry",
    ".set vector, vector + 1",
    ".endr",
    ".set vector, 256",
    ".rept 6",
    ".balign 64",
    "pop rcx",
    "pop r11",
    ".if vector == 257",
    "pop qword ptr [rip + failsafe_selectors]",
    "pop qword ptr [rip + failsafe_selectors + 8]",
    "pop qword ptr [rip + failsafe_selectors + 16]",
    "pop qword ptr [rip + failsafe_selectors + 24]",
    ".endif",
    "push 0",
    "push vector",
    "jmp trap_entry",
    ".set vector, vector + 1",
    ".endr",
    "trap_entry:",
    "push rdi",
    "push rsi",
    "push rdx",
    "push rcx",
    "push rax",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rdi, rsp",
    "mov rbx, rsp",
    "pushfq",
    "pop rsi",
    "mov edx, cs",
    "shl edx, 16",
    "mov eax, ss",
    "mov dx, ax",
    "and rsp, -16",
    "cld",
    "call trap_handler",
    "mov rsp, rbx",
    "test eax, eax",
    "jnz trap_unwind",
    // Back by what the frame says.
    "frame_return:",
    "xor eax, eax",
    "frame_return_with_flags:",
    // The words of vector and error code become those of rcx and flags.
    "mov [rsp + 16 * 8], rax",
    "mov rax, [rsp + 11 * 8]",
    "mov [rsp + 15 * 8], rax",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rax",
    "pop rcx",
    "pop rdx",
    "pop rsi",
    "pop rdi",
    "push r11",
    "push rax",
    "mov eax, {iret}",
    "syscall",
    "ud2",
    // Back to `probe_asm` or `enter_asm`, whose stack was noted.
    "trap_unwind:",
    "mov rsp, [rip + caught_stack]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "mov eax, 1",
    "ret",
    ".globl probe_asm",
    "probe_asm:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rip + caught_stack], rsp",
    "sub rsp, 8",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "xor eax, eax",
    "ret",
    ".globl enter_asm",
    "enter_asm:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rip + caught_stack], rsp",
    "mov rax, rsi",
    "sub rsp, {frame_bytes} + 256",
    "test rdx, rdx",
    "cmovz rdx, rsp",
    "mov rsi, rdi",
    "mov rdi, rdx",
    "mov ecx, {frame_bytes} / 8",
    "cld",
    "rep movsq",
    "mov rsp, rdx",
    "jmp frame_return_with_flags",
    ".popsection",
    ".pushsection .data",
    ".balign 8",
    "caught_stack: .quad 0",
    ".globl failsafe_selectors",
    "failsafe_selectors: .quad 0, 0, 0, 0",
    ".popsection",
    iret = const number::IRET,
    frame_bytes = const size_of::<Frame>(),
);

unsafe extern "sysv64" {
    fn probe_asm(function: extern "sysv64" fn(u64), argument: u64) -> u32;
    fn enter_asm(frame: *const Frame, flags: u64, place: u64) -> u32;
}

mod labels {
    unsafe extern "C" {
        pub(super) fn trap_stubs();
        pub(super) static failsafe_selectors: [u64; 4];
    }
}

/// How many `probe` and `enter` are waiting: 0 or 1.
static CATCHING: AtomicUsize = AtomicUsize::new(0);
static HOOK: AtomicUsize = AtomicUsize::new(0);
static mut CAUGHT: Trap = Trap {
    frame: Frame {
        r15: 0,
        r14: 0,
        r13: 0,
        r12: 0,
        rbp: 0,
        rbx: 0,
        r11: 0,
        r10: 0,
        r9: 0,
        r8: 0,
        rax: 0,
        rcx: 0,
        rdx: 0,
        rsi: 0,
        rdi: 0,
        vector: 0,
        error: 0,
        rip: 0,
        cs: 0,
        rflags: 0,
        rsp: 0,
        ss: 0,
    },
    cr2: 0,
    mask_in_handler: false,
    flags_in_handler: 0,
    selectors: [0; 4],
    segments_in_handler: [0; 2],
    stack: 0,
};
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Where [`enter`] puts its frame; 0 is on the stack that it runs on.
static RETURN_FRAME: AtomicU64 = AtomicU64::new(0);

global_asm!(
    ".pushsection .text, \"ax\"",
    "try_read_asm:",
    "xor edx, edx",
    "try_read_access:",
    "mov rax, [rdi]",
    "ret",
    "try_write_asm:",
    "xor edx, edx",
    "try_write_access:",
    "mov [rdi], rsi",
    "ret",
    "try_selector_asm:",
    "xor edx, edx",
    "try_selector_access:",
    "lar eax, edi",
    "ret",
    "try_failed:",
    "mov edx, 1",
    "ret",
    ".popsection",
);

mod attempts {
    unsafe extern "C" {
        pub(super) fn try_read_asm();
        pub(super) fn try_read_access();
        pub(super) fn try_write_asm();
        pub(super) fn try_write_access();
        pub(super) fn try_selector_asm();
        pub(super) fn try_selector_access();
        pub(super) fn try_failed();
    }
}

fn attempt(function: unsafe extern "C" fn(), address: u64, value: u64) -> Option<u64> {
    let (result, failed): (u64, u64);
    // SAFETY: the function touches the word that the caller named, or faults and says so.
    unsafe {
        core::arch::asm!(
            "call {function}",
            function = in(reg) function as *const () as u64,
            inlateout("rdi") address => _,
            inlateout("rsi") value => _,
            lateout("rax") result,
            lateout("rdx") failed,
            clobber_abi("sysv64"),
        );
    }
    (failed == 0).then_some(result)
}

/// Reads a word, if it is mapped. On any vCPU, at any time.
pub fn try_read(address: u64) -> Option<u64> {
    attempt(attempts::try_read_asm, address, 0)
}

/// Writes a word, if it is mapped writable; whether it was. On any vCPU, at any time.
pub fn try_write(address: u64, value: u64) -> bool {
    attempt(attempts::try_write_asm, address, value).is_some()
}

/// Looks a descriptor up by its selector, in a table of which a part may not be there; whether that was possible.
pub fn try_read_selector(selector: u16) -> bool {
    attempt(attempts::try_selector_asm, u64::from(selector), 0).is_some()
}

/// Lets a failed [`try_read`] or [`try_write`] go on; whether it was one.
fn fix_up(frame: &mut Frame) -> bool {
    let is_attempt = [
        attempts::try_read_access,
        attempts::try_write_access,
        attempts::try_selector_access,
    ]
    .iter()
    .any(|access| *access as *const () as u64 == frame.rip);
    let is_fault = frame.vector == 14 || frame.vector == 13;
    if is_attempt && is_fault {
        frame.rip = attempts::try_failed as *const () as u64;
    }
    is_attempt && is_fault
}

#[unsafe(no_mangle)]
extern "sysv64" fn trap_handler(frame: &mut Frame, flags: u64, segments: u32) -> u32 {
    COUNT.fetch_add(1, Ordering::Relaxed);
    if fix_up(frame) {
        return 0;
    }
    let hook = HOOK.load(Ordering::Relaxed);
    if hook != 0 {
        // SAFETY: `set_hook` stored a function of this type.
        let hook: Hook = unsafe { core::mem::transmute(hook) };
        if hook(frame) == Next::Resume {
            return 0;
        }
    }
    let trap = Trap {
        frame: *frame,
        cr2: shared::fault_address(),
        mask_in_handler: shared::address() != 0 && shared::upcall_mask(),
        flags_in_handler: flags,
        // SAFETY: the entry of the failsafe callback has written them, or nobody.
        selectors: unsafe { (&raw const labels::failsafe_selectors).read_volatile() },
        segments_in_handler: [(segments >> 16) as u16, segments as u16],
        stack: (&raw const *frame).expose_provenance() as u64 + size_of::<Frame>() as u64,
    };
    if CATCHING.swap(0, Ordering::Relaxed) == 0 {
        println!("unexpected trap: {trap:#x?}");
        crate::fail();
    }
    // SAFETY: read after the unwinding only.
    unsafe { (&raw mut CAUGHT).write_volatile(trap) };
    1
}

fn caught(trapped: u32) -> Option<Trap> {
    CATCHING.store(0, Ordering::Relaxed);
    // SAFETY: the handler is done with it.
    (trapped != 0).then(|| unsafe { (&raw const CAUGHT).read_volatile() })
}

/// Sees every trap before all else; `None` for nobody.
pub fn set_hook(hook: Option<Hook>) {
    HOOK.store(hook.map_or(0, |hook| hook as usize), Ordering::Relaxed);
}

/// Traps since the start.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Calls a function; the trap that ended it, if one did. The upcall mask is left as the trap set it.
pub fn probe(function: extern "sysv64" fn(u64), argument: u64) -> Option<Trap> {
    check_free();
    // SAFETY: a trap leaves the function where it is: functions for this hold nothing that must be dropped.
    caught(unsafe { probe_asm(function, argument) })
}

/// Has [`enter`] make its frames such that they end at this address; `None` puts them on the stack that it runs on.
pub fn set_return_stack(end: Option<u64>) {
    let place = end.map_or(0, |end| end - size_of::<Frame>() as u64);
    RETURN_FRAME.store(place, Ordering::Relaxed);
}

/// Goes where the frame says through `iret`, with its `flags`, until a trap.
pub fn enter(frame: &Frame, flags: u64) -> Trap {
    check_free();
    // SAFETY: code that the caller wrote runs, until it traps.
    let trapped = unsafe { enter_asm(frame, flags, RETURN_FRAME.load(Ordering::Relaxed)) };
    caught(trapped).unwrap_or_else(|| unreachable!())
}

fn check_free() {
    crate::check_eq!(CATCHING.swap(1, Ordering::Relaxed), 0);
}

/// Address of the entry for a vector, or a callback's number of this module.
pub fn entry(vector: u64) -> u64 {
    let stubs = labels::trap_stubs as *const () as u64;
    if vector < 256 {
        stubs + 16 * vector
    } else {
        stubs + 16 * 256 + 64 * (vector - 256)
    }
}

/// Registers the entry of one vector with these `TrapInfo::flags`.
pub fn register(vector: u8, flags: u8) -> i64 {
    let entry = TrapInfo {
        vector,
        flags,
        cs: CS64 as u16,
        _hole0: [0; 4],
        address: entry(u64::from(vector)),
    };
    set_table(&mut [entry, END])
}

/// The end of a trap table.
pub const END: TrapInfo = TrapInfo {
    vector: 0,
    flags: 0,
    cs: 0,
    _hole0: [0; 4],
    address: 0,
};

/// `set_trap_table` with a list that has its end in it.
pub fn set_table(table: &mut [TrapInfo]) -> i64 {
    call(
        number::SET_TRAP_TABLE,
        &[table.as_mut_ptr().expose_provenance() as u64],
    )
}

/// `CALLBACKOP_register`.
pub fn register_callback(kind: u32, flags: u32, address: u64) -> i64 {
    let mut request = CallbackRegister {
        kind: kind as u16,
        flags: flags as u16,
        _hole0: [0; 4],
        address,
    };
    call_with(
        number::CALLBACK_OP,
        xen_abi::callback::REGISTER,
        &mut request,
    )
}

/// Entries for all exceptions, none of which masks events, and an end.
pub fn table() -> [TrapInfo; 33] {
    let mut table = [END; 33];
    for (vector, entry_of) in (0u8..).zip(table.iter_mut().take(32)) {
        *entry_of = TrapInfo {
            vector,
            flags: if vector == 3 || vector == 4 { 3 } else { 0 },
            cs: CS64 as u16,
            _hole0: [0; 4],
            address: entry(u64::from(vector)),
        };
    }
    table
}

/// Registers entries for all exceptions (none masks events) and all callbacks.
pub fn init() {
    crate::check_eq!(set_table(&mut table()), 0);
    use xen_abi::callback as kind;
    for (kind, number) in [
        (kind::CALLBACKTYPE_EVENT, EVENT),
        (kind::CALLBACKTYPE_FAILSAFE, FAILSAFE),
        (kind::CALLBACKTYPE_SYSCALL, SYSCALL),
    ] {
        crate::check_eq!(register_callback(kind, 0, entry(number)), 0);
    }
}

/// Sets the top of the stack for traps from programs.
pub fn set_kernel_stack(top: u64) {
    crate::check_eq!(call(number::STACK_SWITCH, &[SS, top]), 0);
}

/// Pages of the stack for traps from programs.
const KERNEL_STACK_PAGES: usize = 4;

/// Makes page tables and a stack such that programs can run: they see all that the kernel does in the first
/// 512 GiB. Gives the programs' L4 table.
pub fn init_programs() -> memory::Page {
    use memory::Page;
    let root = Page::take();
    root.set(0, memory::read(memory::root()));
    crate::check_eq!(root.map_ro(), 0);
    crate::check_eq!(
        memory::mmuext(xen_abi::mmu::MMUEXT_PIN_L4_TABLE, root.mfn(), 0),
        0
    );
    crate::check_eq!(
        memory::mmuext(xen_abi::mmu::MMUEXT_NEW_USER_BASEPTR, root.mfn(), 0),
        0
    );
    let mut stack = Page::take();
    for _ in 1..KERNEL_STACK_PAGES {
        stack = Page::take();
    }
    set_kernel_stack(stack.address + memory::PAGE);
    root
}
