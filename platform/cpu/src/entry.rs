//! Into a guest and out of it.
//!
//! [`enter_guest`] leaves what its caller needs on the main stack, takes the guest's registers from the frame and
//! returns to it. Whatever stops the guest pushes its registers back into the frame (RSP0 is the frame's end),
//! takes the main stack's pointer and returns to the caller with the reason. An exit and an entry are about
//! 80 instructions.
//!
//! - No instruction here relies on GS, FS, DS or ES: they are the guest's.
//! - `syscall` leaves the guest's stack pointer in RSP for two instructions; only NMI, #MC, #DB (a breakpoint
//!   made pending before it, XSA-260) and #DF can come then, and each has its own stack.
//! - NMI, #MC and #DB that hit a guest are moved into the frame and become ordinary exits, so that no return to
//!   a guest is made but the one in `enter_asm`, whose faults are expected.
//! - A fault of that `iretq` (bad selectors, non-canonical `rip`) finds all the guest's other registers
//!   loaded: they are pushed again and the fault is an exit.
//! - `sysretq` is used only with a canonical `rip` (XSA-7: it would fault in ring 0 on the guest's stack),
//!   and without TF and RF.
//! - Flags: IF is forced on, IOPL, NT and VM off, and CS and SS made ring 3's, whatever the frame says.

use core::arch::{asm, global_asm, naked_asm};
use core::marker::PhantomData;
use core::mem::offset_of;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::Ordering;

use crate::regs::vector;
use crate::{Exit, GuestRegs, crossing, layout, percpu};

/// The registers of the guest that this CPU runs: the frame in its block. There is one per CPU, and it does not
/// move between CPUs.
pub struct GuestFrame {
    regs: *mut GuestRegs,
    _not_send: PhantomData<*mut ()>,
}

impl GuestFrame {
    /// Takes this CPU's frame; `None` if it was taken already.
    pub fn take() -> Option<Self> {
        let local = percpu::local();
        if local.frame_taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        Some(Self {
            regs: (percpu::block_base() + layout::FRAME) as *mut GuestRegs,
            _not_send: PhantomData,
        })
    }
}

impl Deref for GuestFrame {
    type Target = GuestRegs;

    #[inline]
    fn deref(&self) -> &GuestRegs {
        // SAFETY: the frame is in this CPU's block, mapped for good; `take` made the only handle, and entry
        // code writes the frame only within `enter_guest`, which borrows it exclusively.
        unsafe { &*self.regs }
    }
}

impl DerefMut for GuestFrame {
    #[inline]
    fn deref_mut(&mut self) -> &mut GuestRegs {
        // SAFETY: as for `deref`.
        unsafe { &mut *self.regs }
    }
}

/// That a guest has stopped. Why is decoded where it is looked at, so that the commonest reason is found at once.
#[derive(Clone, Copy, Debug)]
pub struct Stopped(u64);

impl Stopped {
    /// Whether this interrupt is why.
    #[inline]
    pub fn is_by_interrupt(self, vector: u8) -> bool {
        self.0 >> 32 == u64::from(vector)
    }

    /// Why.
    #[inline]
    pub fn exit(self) -> Exit {
        Exit::decode(self.0)
    }
}

/// Runs the guest whose registers are in `frame`, in the address space that is loaded, until it stops. `in_kernel` says
/// whether its kernel runs, not a program, and is kept up to date: the entry code makes [`crossing`]s by itself, and then
/// loads the other address space and base of GS.
#[inline]
pub fn enter_guest(frame: &mut GuestFrame, in_kernel: &mut bool) -> Stopped {
    let _ = frame;
    let mode = &percpu::local().crossing.mode;
    const { assert!(crossing::KERNEL == true as u8 && crossing::PROGRAM == false as u8) };
    mode.store(u8::from(*in_kernel), Ordering::Relaxed);
    let stopped: u64;
    // SAFETY: `frame` is this CPU's, since it can not be sent; its contents are sanitised by the entry code;
    // every address space that can be loaded maps the hypervisor. `enter_asm` keeps RBX, RBP and RSP, and all
    // other registers are given up here.
    unsafe {
        asm!(
            "call {enter}",
            enter = sym enter_asm,
            lateout("rax") stopped,
            lateout("r12") _,
            lateout("r13") _,
            lateout("r14") _,
            lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
    *in_kernel = mode.load(Ordering::Relaxed) == crossing::KERNEL;
    Stopped(stopped)
}

macro_rules! clac_site {
    () => {
        // Three bytes, made `clac` at boot where the CPU has SMAP.
        "771: nop dword ptr [rax]\n.pushsection .patch_clac, \"a\", @progbits\n.quad 771b\n.popsection"
    };
}
macro_rules! stac_site {
    () => {
        "772: nop dword ptr [rax]\n.pushsection .patch_stac, \"a\", @progbits\n.quad 772b\n.popsection"
    };
}
pub(crate) use {clac_site, stac_site};

/// Flags that the guest does not choose: IOPL, NT, VM.
const FLAGS_CLEARED: i32 = 0x0002_7000;
/// IF, and the bit that is always 1.
pub(crate) const FLAGS_SET: u32 = 0x202;
/// TF and RF, with which `sysretq` is not used.
const FLAGS_NOT_SYSRET: u32 = 0x0001_0100;

/// Returns with the error code, and the entry vector in the upper half. Keeps RBX, RBP and RSP only.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter_asm() {
    naked_asm!(
        "push rbp",
        "push rbx",
        "mov rax, rsp",
        "and rax, {block_mask}",
        "mov [rax + {host_rsp}], rsp",
        "lea rsp, [rax + {frame}]",
        "and dword ptr [rsp + {rflags}], {flags_kept}",
        "or dword ptr [rsp + {rflags}], {flags_set}",
        "mov rax, [rsp + {rip}]",
        "cmp rax, [rsp + {rcx}]",
        "jne 2f",
        "mov rdx, [rsp + {rflags}]",
        "cmp rdx, [rsp + {r11}]",
        "jne 2f",
        "test edx, {flags_not_sysret}",
        "jnz 2f",
        "cmp word ptr [rsp + {cs}], {ring3_cs}",
        "jne 2f",
        "cmp word ptr [rsp + {ss}], {ring3_ss}",
        "jne 2f",
        "mov rdx, rax",
        "shl rdx, 16",
        "sar rdx, 16",
        "cmp rdx, rax",
        "jne 2f",
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
        "mov rsp, [rsp + 32]",
        "sysretq",
        "2:",
        "or byte ptr [rsp + {cs}], 3",
        "or byte ptr [rsp + {ss}], 3",
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
        "add rsp, 8",
        ".globl return_to_guest",
        "return_to_guest:",
        "iretq",
        block_mask = const -(layout::BLOCK_SIZE as i32),
        host_rsp = const layout::VARIABLES,
        frame = const layout::FRAME,
        rflags = const offset_of!(GuestRegs, rflags),
        flags_kept = const !FLAGS_CLEARED,
        flags_set = const FLAGS_SET,
        flags_not_sysret = const FLAGS_NOT_SYSRET,
        rip = const offset_of!(GuestRegs, rip),
        rcx = const offset_of!(GuestRegs, rcx),
        r11 = const offset_of!(GuestRegs, r11),
        cs = const offset_of!(GuestRegs, cs),
        ss = const offset_of!(GuestRegs, ss),
        ring3_cs = const crate::descriptors::FLAT_RING3_CS64,
        ring3_ss = const crate::descriptors::FLAT_RING3_DS,
    )
}

// Error code and vector share a word of the frame: the CPU or the stub pushes the first, the stub writes the second
// above it. From the top of the stack: that word, rip, cs, rflags, rsp, ss.
global_asm!(
    ".section .text.entry, \"ax\", @progbits",
    ".balign 16",
    "interrupt_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    ".if vector == 10 || vector == 11 || vector == 12 || vector == 13 || vector == 14 || vector == 17 || vector == 21 || vector == 29 || vector == 30",
    "mov dword ptr [rsp + 4], vector",
    ".if vector == 14",
    "jmp page_fault_entry",
    ".else",
    "jmp trap_entry",
    ".endif",
    ".else",
    "push 0",
    "mov dword ptr [rsp + 4], vector",
    "jmp trap_entry",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    // The system call stubs: the CPU's number is in the address of its stub.
    ".balign 32",
    "syscall_stubs:",
    ".set cpu, 0",
    ".rept {max_cpus}",
    ".balign 32",
    "mov [rip + percpu_blocks + cpu * {block_size} + {frame_rsp}], rsp",
    "lea rsp, [rip + percpu_blocks + cpu * {block_size} + {frame_rsp}]",
    "jmp syscall_entry",
    ".set cpu, cpu + 1",
    ".endr",
    ".balign 32",
    "syscall32_stubs:",
    ".set cpu, 0",
    ".rept {max_cpus}",
    ".balign 32",
    "mov [rip + percpu_blocks + cpu * {block_size} + {frame_rsp}], rsp",
    "lea rsp, [rip + percpu_blocks + cpu * {block_size} + {frame_rsp}]",
    "jmp syscall32_entry",
    ".set cpu, cpu + 1",
    ".endr",
    ".balign 64",
    "syscall_entry:",
    "mov qword ptr [rsp + 8], {ring3_ss}",
    "push r11",
    "push {ring3_cs}",
    "push rcx",
    "push 0",
    "mov dword ptr [rsp + 4], {syscall}",
    "push rdi",
    "push rsi",
    "push rdx",
    "push rcx",
    "push rax",
    "jmp cross_syscall",
    "syscall32_entry:",
    "mov qword ptr [rsp + 8], {ring3_ss}",
    "push r11",
    "push {ring3_cs32}",
    "push rcx",
    "push 0",
    "mov dword ptr [rsp + 4], {syscall32}",
    "jmp save_guest",
    // RSP is RSP0 already. SYSENTER clears IF only: the other flags that a guest must not bring are cleared here,
    // a single step (TF) by the debug handler.
    "sysenter_entry:",
    "push {ring3_ss}",
    "push 0",
    "pushfq",
    "push 2",
    "popfq",
    "or dword ptr [rsp], 0x200",
    "push {ring3_cs32}",
    "push 0",
    "push 0",
    "mov dword ptr [rsp + 4], {sysenter}",
    "jmp save_guest",
    ".balign 64",
    "page_fault_entry:",
    "test byte ptr [rsp + 16], 3",
    "jz host_trap",
    "push rdi",
    "push rsi",
    "push rdx",
    "push rcx",
    "push rax",
    "jmp cross_fault",
    "trap_entry:",
    "test byte ptr [rsp + 16], 3",
    "jz host_trap",
    "save_guest:",
    "push rdi",
    "push rsi",
    "push rdx",
    "push rcx",
    "push rax",
    ".globl save_rest",
    "save_rest:",
    clac_site!(),
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
    "cld",
    "mov rax, [rsp + {error_code}]",
    "mov rsp, [rsp + {host_rsp_from_frame}]",
    "pop rbx",
    "pop rbp",
    "ret",
    // A trap of ring 0. If it is the return to a guest that faulted, the CPU's words are below the frame's rip,
    // after one word of alignment: from RSP, rax, error|vector, rip, cs, rflags, rsp, ss, (the frame's own
    // error|vector).
    "host_trap:",
    "push rax",
    "lea rax, [rip + return_to_guest]",
    "cmp [rsp + 16], rax",
    "je 2f",
    "pop rax",
    "host_save:",
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
    "cld",
    "mov rdi, rsp",
    "sub rsp, 8",
    "call {host_trap}",
    "add rsp, 8",
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
    "add rsp, 8",
    "iretq",
    "2:",
    "mov rax, [rsp + 8]",
    "bts rax, 41",
    "mov [rsp + 64 - 8], rax",
    "pop rax",
    "lea rsp, [rsp + 48]",
    "jmp save_guest",
    // #DB, NMI, #MC on their own stacks: from a guest they move to the frame.
    ".balign 16",
    "debug_entry:",
    "push 0",
    "mov dword ptr [rsp + 4], 1",
    "jmp 3f",
    "nmi_entry:",
    "push 0",
    "mov dword ptr [rsp + 4], 2",
    "jmp 3f",
    "machine_check_entry:",
    "push 0",
    "mov dword ptr [rsp + 4], 18",
    "3:",
    "test byte ptr [rsp + 16], 3",
    "jz host_save",
    "push rax",
    "mov rax, rsp",
    "and rax, {block_mask}",
    "pop qword ptr [rax + {frame} + {rax}]",
    "pop qword ptr [rax + {frame} + {error_code}]",
    "pop qword ptr [rax + {frame} + {rip}]",
    "pop qword ptr [rax + {frame} + {cs}]",
    "pop qword ptr [rax + {frame} + {rflags}]",
    "pop qword ptr [rax + {frame} + {rsp}]",
    "pop qword ptr [rax + {frame} + {ss}]",
    "lea rsp, [rax + {frame} + {error_code}]",
    "mov rax, [rax + {frame} + {rax}]",
    "jmp save_guest",
    // The CPU pushes an error code of 0. There is no way back.
    "double_fault_entry:",
    "mov dword ptr [rsp + 4], 8",
    "jmp host_save",
    max_cpus = const layout::MAX_CPUS,
    block_size = const layout::BLOCK_SIZE,
    block_mask = const -(layout::BLOCK_SIZE as i32),
    frame = const layout::FRAME,
    frame_rsp = const layout::FRAME + offset_of!(GuestRegs, rsp) as u64,
    host_rsp_from_frame = const layout::VARIABLES - layout::FRAME,
    ring3_cs = const crate::descriptors::FLAT_RING3_CS64,
    ring3_cs32 = const crate::descriptors::FLAT_RING3_CS32,
    ring3_ss = const crate::descriptors::FLAT_RING3_DS,
    syscall = const vector::SYSCALL,
    syscall32 = const vector::SYSCALL32,
    sysenter = const vector::SYSENTER,
    rax = const offset_of!(GuestRegs, rax),
    error_code = const offset_of!(GuestRegs, error_code),
    rip = const offset_of!(GuestRegs, rip),
    cs = const offset_of!(GuestRegs, cs),
    rflags = const offset_of!(GuestRegs, rflags),
    rsp = const offset_of!(GuestRegs, rsp),
    ss = const offset_of!(GuestRegs, ss),
    host_trap = sym crate::traps::host_trap,
);

const _: () = assert!(vector::RETURN_FAULT == 1 << (41 - 32));

unsafe extern "C" {
    fn interrupt_stubs();
}

// Assembler labels are taken by address only.
mod labels {
    unsafe extern "C" {
        pub(super) fn syscall_stubs();
        pub(super) fn syscall32_stubs();
        pub(super) fn sysenter_entry();
        pub(super) fn debug_entry();
        pub(super) fn nmi_entry();
        pub(super) fn machine_check_entry();
        pub(super) fn double_fault_entry();
    }
}

/// Address of the handler of interrupt `vector`.
pub(crate) fn stub(vector: usize) -> u64 {
    match vector {
        1 => labels::debug_entry as *const () as u64,
        2 => labels::nmi_entry as *const () as u64,
        8 => labels::double_fault_entry as *const () as u64,
        18 => labels::machine_check_entry as *const () as u64,
        _ => interrupt_stubs as *const () as u64 + vector as u64 * 16,
    }
}

/// Addresses of `cpu`'s entry points for SYSCALL from 64-bit and compatibility mode.
pub(crate) fn syscall_stubs(cpu: usize) -> (u64, u64) {
    (
        labels::syscall_stubs as *const () as u64 + cpu as u64 * 32,
        labels::syscall32_stubs as *const () as u64 + cpu as u64 * 32,
    )
}

/// Address of the entry point for SYSENTER.
pub(crate) fn sysenter_stub() -> u64 {
    labels::sysenter_entry as *const () as u64
}
