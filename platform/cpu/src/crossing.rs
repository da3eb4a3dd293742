//! Crossings between a program and its guest kernel that the entry code makes by itself: a program's `syscall` and
//! page faults on the way in, the `iret` hypercall on the way out.
//!
//! They are what a paravirtual guest does most often, and need nothing that the run loop decides: the address
//! spaces, the base of GS and the kernel's stack are changed, and a frame is made or taken. What the entry code needs
//! for that is in this CPU's block, put there by [`arm`]. Whenever something is not as usual, nothing has happened yet
//! and the exit goes to the run loop, which does the same and more in safe code: no handler or address space, upcalls
//! masked where they should not be, an event that waits, a frame that cannot be reached, a return to the kernel
//! itself, a change of the I/O privilege level.
//!
//! A change of address space makes the CPU forget all translations of guests, and is noted like any flush
//! ([`note_flushes`]).
//!
//! Interrupts stay disabled and the CPU counts as being in the guest: whoever asks it for something interrupts it, and
//! is served as soon as the guest is entered.
//!
//! Source: public/arch-x86/xen-x86_64.h (frames, `struct iret_context`).

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

use addr::Vaddr;
use xen_abi::shared_info::{ArchVcpuInfo, VcpuInfo};

use crate::descriptors::{FLAT_RING3_CS64, FLAT_RING3_DS};
use crate::entry::{FLAGS_SET, clac_site, stac_site};
use crate::percpu::PerCpu;
use crate::traps::fixup_entry;
use crate::{GuestRegs, guest, layout, percpu};

/// Who runs in the guest, as the entry code keeps it.
pub(crate) const KERNEL: u8 = 1;
/// See [`KERNEL`].
pub(crate) const PROGRAM: u8 = 0;

/// Bytes of the largest frame that a crossing writes to the kernel's stack: eight words.
const FRAME_BYTES: u64 = 64;
const IF: u32 = 1 << 9;
const IOPL_SHIFT: u32 = 12;
const IOPL: u32 = 3 << IOPL_SHIFT;

/// What the entry code needs, in this CPU's block. Written by this CPU alone.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Armed {
    /// [`KERNEL`] or [`PROGRAM`]; the entry code changes it.
    pub(crate) mode: AtomicU8,
    /// The upcall mask in the handler of `syscall`.
    pub(crate) syscall_mask: AtomicU8,
    /// The upcall mask in the handler of page faults.
    pub(crate) fault_mask: AtomicU8,
    /// Bits of the flags that a return is made with as they are now: IF, and IOPL if it is the guest's to change.
    pub(crate) return_flags_checked: AtomicU32,
    /// What these bits have to be.
    pub(crate) return_flags: AtomicU32,
    /// CR3 for the kernel.
    pub(crate) kernel_root: AtomicU64,
    /// CR3 for programs; 0: returns go to the run loop.
    pub(crate) user_root: AtomicU64,
    /// Where frames end: aligned, and with room for one below.
    pub(crate) kernel_stack: AtomicU64,
    /// Handler of `syscall`; 0: they go to the run loop.
    pub(crate) syscall_handler: AtomicU64,
    /// Handler of page faults; 0: they go to the run loop.
    pub(crate) fault_handler: AtomicU64,
    /// The virtual I/O privilege level, where the flags in a frame have it.
    pub(crate) iopl: AtomicU64,
    /// Address of the vCPU's `struct vcpu_info`.
    pub(crate) info: AtomicU64,
    /// The clock of flushes, and where this CPU keeps its time before its last one.
    pub(crate) clock: AtomicPtr<AtomicU64>,
    /// See `clock`.
    pub(crate) epoch: AtomicPtr<AtomicU64>,
}

/// A handler of the guest's kernel.
#[derive(Clone, Copy, Debug)]
pub struct Handler {
    /// Where it starts; 0 if there is none.
    pub address: u64,
    /// Whether upcalls are masked in it.
    pub masks_events: bool,
}

/// What a guest's crossings are made with, as long as its kernel does not change it.
#[derive(Clone, Copy, Debug)]
pub struct Crossing {
    /// Handler of `syscall`.
    pub syscall: Handler,
    /// Handler of page faults.
    pub page_fault: Handler,
    /// The virtual I/O privilege level, if the guest sees and changes it in its flags.
    pub iopl: Option<u8>,
    /// Address of the vCPU's `struct vcpu_info`.
    pub info: u64,
}

/// What each process of a guest has of its own.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Machine address of the root of the kernel's page tables.
    pub kernel_root: u64,
    /// Machine address of the root of programs' page tables.
    pub user_root: u64,
    /// Top of the kernel's stack.
    pub kernel_stack: u64,
}

#[inline]
fn set(place: &AtomicU64, value: u64) {
    place.store(value, Ordering::Relaxed);
}

/// Makes this CPU cross by itself, once it has a process, until it is armed otherwise or disarmed.
///
/// # Safety
/// Until it is armed otherwise `info` is the 8-byte aligned address of a whole `struct vcpu_info` in a page that is
/// mapped, and that a guest may write.
pub unsafe fn arm(crossing: &Crossing) {
    let armed = &percpu::local().crossing;
    // Handlers are entered by SYSRET, which must not find an address that is not canonical (XSA-7).
    let usable = |handler: Handler| {
        if Vaddr::new(handler.address).is_canonical() {
            handler.address
        } else {
            0
        }
    };
    let iopl = crossing.iopl.map(|iopl| u32::from(iopl & 3) << IOPL_SHIFT);
    set(&armed.syscall_handler, usable(crossing.syscall));
    set(&armed.fault_handler, usable(crossing.page_fault));
    set(&armed.iopl, u64::from(iopl.unwrap_or(0)));
    set(&armed.info, crossing.info);
    let checked = if iopl.is_some() { IF | IOPL } else { IF };
    armed.return_flags_checked.store(checked, Ordering::Relaxed);
    armed
        .return_flags
        .store(IF | iopl.unwrap_or(0), Ordering::Relaxed);
    let mask = |handler: Handler| u8::from(handler.masks_events);
    armed
        .syscall_mask
        .store(mask(crossing.syscall), Ordering::Relaxed);
    armed
        .fault_mask
        .store(mask(crossing.page_fault), Ordering::Relaxed);
}

/// Changes the process that this CPU, which is armed, crosses for. False, and disarmed, if its stack is none.
///
/// # Safety
/// Until it is changed again, or the CPU disarmed, both roots are of validated page tables that have the hypervisor's
/// entries.
#[inline]
pub unsafe fn set_process(process: &Process) -> bool {
    let armed = &percpu::local().crossing;
    let stack = process.kernel_stack & !15;
    // The frame is written without a look at where: a fault is expected, the hypervisor's own memory is not.
    let bottom = stack.wrapping_sub(FRAME_BYTES);
    if !guest::is_guest_range(Vaddr::new(bottom), FRAME_BYTES) {
        disarm();
        return false;
    }
    set(&armed.kernel_root, process.kernel_root);
    set(&armed.user_root, process.user_root);
    set(&armed.kernel_stack, stack);
    true
}

/// Has this CPU note in `epoch` what `clock` showed before it last changed an address space by itself. Once, before it
/// enters a guest.
pub fn note_flushes(clock: &'static AtomicU64, epoch: &'static AtomicU64) {
    let armed = &percpu::local().crossing;
    let pointer = |place: &'static AtomicU64| core::ptr::from_ref(place).cast_mut();
    armed.clock.store(pointer(clock), Ordering::Relaxed);
    armed.epoch.store(pointer(epoch), Ordering::Relaxed);
}

/// Whether an upcall is pending, and not masked, for the vCPU that this CPU was armed for last.
#[inline]
pub fn upcall_is_due() -> bool {
    let info = percpu::local().crossing.info.load(Ordering::Relaxed) as usize;
    // SAFETY: who armed the CPU promised that it is the address of a whole `struct vcpu_info`.
    let byte = |offset| unsafe { AtomicU8::from_ptr((info + offset) as *mut u8) };
    byte(offset_of!(VcpuInfo, evtchn_upcall_pending)).load(Ordering::Relaxed) != 0
        && byte(offset_of!(VcpuInfo, evtchn_upcall_mask)).load(Ordering::Relaxed) == 0
}

/// All crossings of this CPU go to the run loop.
pub fn disarm() {
    let armed = &percpu::local().crossing;
    for place in [
        &armed.user_root,
        &armed.syscall_handler,
        &armed.fault_handler,
    ] {
        place.store(0, Ordering::Relaxed);
    }
}

/// Flags that a handler is entered with as they are: all but IF, which is set, IOPL, AC, VM, RF, NT, TF, VIF, VIP and
/// what is undefined.
const HANDLER_FLAGS: u32 = 0x0020_0cd7;
/// Flags that a program may have: TF, RF and AC besides.
const PROGRAM_FLAGS: u32 = HANDLER_FLAGS | 1 << 8 | 1 << 16 | 1 << 18;

/// Distance from the stack pointer to a field of the frame, once the first five registers are pushed.
const fn frame(field: usize) -> i32 {
    field as i32 - offset_of!(GuestRegs, rax) as i32
}

/// The same to a field of [`Armed`].
const fn armed(field: usize) -> i32 {
    let armed = layout::VARIABLES as usize + offset_of!(PerCpu, crossing) + field;
    armed as i32 - layout::FRAME as i32 - offset_of!(GuestRegs, rax) as i32
}

// Both begin with `rdi`, `rsi`, `rdx`, `rcx` and `rax` in the frame and free to use, below what the CPU or the stub pushed.
// `save_rest` is where an exit to the run loop goes on. Nothing else of the frame is written before it is certain that it
// will not be needed, but by `iret`, whose values are all taken from the guest's stack again.
global_asm!(
    ".section .text.entry, \"ax\", @progbits",
    // `syscall`: of a program, whose RCX and R11 hold RIP and flags, or a hypercall.
    ".globl cross_syscall",
    ".balign 64",
    "cross_syscall:",
    "cmp byte ptr [rsp + {mode}], {program}",
    "jne cross_return",
    "mov rsi, [rsp + {info}]",
    "mov rdi, [rsp + {syscall_handler}]",
    "test rdi, rdi",
    "jz save_rest",
    "cmp word ptr [rsi + {info_pending}], 0",
    "jne save_rest",
    "mov rdx, [rsp + {kernel_root}]",
    "mov rax, [rsp + {clock}]",
    "mov rax, [rax]",
    "mov cr3, rdx",
    "mov rdx, [rsp + {epoch}]",
    "mov [rdx], rax",
    "swapgs",
    "mov rdx, [rsp + {kernel_stack}]",
    "mov rax, r11",
    "or rax, [rsp + {iopl}]",
    stac_site!(),
    "2: mov [rdx - 56], rcx",
    fixup_entry!("2b", "cross_undo"),
    "2: mov [rdx - 48], r11",
    fixup_entry!("2b", "cross_undo"),
    "2: mov [rdx - 40], rcx",
    fixup_entry!("2b", "cross_undo"),
    "2: mov qword ptr [rdx - 32], {ring3_cs}",
    fixup_entry!("2b", "cross_undo"),
    "2: mov [rdx - 24], rax",
    fixup_entry!("2b", "cross_undo"),
    "mov rax, [rsp + {rsp}]",
    "2: mov [rdx - 16], rax",
    fixup_entry!("2b", "cross_undo"),
    "2: mov qword ptr [rdx - 8], {ring3_ss}",
    fixup_entry!("2b", "cross_undo"),
    clac_site!(),
    "sub rdx, 56",
    "mov al, [rsp + {syscall_mask}]",
    "mov rcx, rdi",
    // To the handler at RCX on the stack RDX, with the flags of R11 and the upcall mask AL.
    "enter_handler:",
    "mov [rsi + {info_mask}], al",
    "mov byte ptr [rsp + {mode}], {kernel}",
    "and r11d, {handler_flags}",
    "or r11d, {flags_set}",
    "mov [rsp + {rsp}], rdx",
    "pop rax",
    "add rsp, 8",
    "pop rdx",
    "pop rsi",
    "pop rdi",
    "mov rsp, [rsp + {rsp_at_end}]",
    "sysretq",
    // The kernel's stack cannot be written: as if nothing had happened.
    "cross_undo:",
    clac_site!(),
    "swapgs",
    "mov rdx, [rsp + {user_root}]",
    "mov cr3, rdx",
    "jmp save_rest",
    // The `iret` hypercall. On the guest's stack: rax, r11, rcx, the call's flags, rip, cs, rflags, rsp, ss.
    "cross_return:",
    "cmp rax, {iret}",
    "jne save_rest",
    "mov rdi, [rsp + {user_root}]",
    "test rdi, rdi",
    "jz save_rest",
    "mov rdx, [rsp + {rsp}]",
    "mov rcx, {upper_start}",
    "cmp rdx, rcx",
    "jb save_rest",
    "cmp rdx, -72",
    "ja save_rest",
    "mov rsi, [rsp + {info}]",
    stac_site!(),
    "2: movzx ecx, word ptr [rdx + 40]",
    fixup_entry!("2b", "cross_unreadable"),
    "mov eax, ecx",
    "and eax, 3",
    "cmp eax, 3",
    "jne cross_stop",
    "2: test dword ptr [rdx + 24], {in_syscall}",
    fixup_entry!("2b", "cross_unreadable"),
    "jnz cross_stop",
    "2: mov rax, [rdx + 48]",
    fixup_entry!("2b", "cross_unreadable"),
    "mov [rsp + {cs}], rcx",
    "mov ecx, eax",
    "and ecx, [rsp + {return_flags_checked}]",
    "cmp ecx, [rsp + {return_flags}]",
    "jne cross_stop",
    "and eax, {program_flags}",
    "or eax, {flags_set}",
    "mov [rsp + {rflags}], rax",
    "2: mov rax, [rdx + 32]",
    fixup_entry!("2b", "cross_unreadable"),
    "mov [rsp + {rip}], rax",
    "2: movzx eax, word ptr [rdx + 64]",
    fixup_entry!("2b", "cross_unreadable"),
    "or eax, 3",
    "mov [rsp + {ss}], rax",
    "2: mov rax, [rdx + 56]",
    fixup_entry!("2b", "cross_unreadable"),
    "2: mov rcx, [rdx + 16]",
    fixup_entry!("2b", "cross_unreadable"),
    "2: mov r11, [rdx + 8]",
    fixup_entry!("2b", "cross_unreadable"),
    "2: mov rdx, [rdx]",
    fixup_entry!("2b", "cross_unreadable"),
    clac_site!(),
    // A full barrier: who makes an event pending and then sees upcalls masked leaves the event to be seen here.
    "lock and byte ptr [rsi + {info_mask}], 0",
    "cmp byte ptr [rsi + {info_pending}], 0",
    "jne save_rest",
    "mov rsi, [rsp + {clock}]",
    "mov rsi, [rsi]",
    "mov cr3, rdi",
    "mov rdi, [rsp + {epoch}]",
    "mov [rdi], rsi",
    "swapgs",
    "mov byte ptr [rsp + {mode}], {program}",
    "mov [rsp + {rsp}], rax",
    "mov rax, rdx",
    "mov rdx, [rsp + {rdx}]",
    "mov rsi, [rsp + {rsi}]",
    "mov rdi, [rsp + {rdi}]",
    "add rsp, {rip}",
    "jmp return_to_guest",
    // The frame cannot be read: the registers are the caller's again, for whoever looks at what is left of the domain.
    "cross_unreadable:",
    "mov rcx, [rsp + {rcx}]",
    "mov [rsp + {rip}], rcx",
    "mov qword ptr [rsp + {cs}], {ring3_cs}",
    "mov qword ptr [rsp + {ss}], {ring3_ss}",
    "mov [rsp + {rflags}], r11",
    "cross_stop:",
    clac_site!(),
    "jmp save_rest",
    // A page fault in ring 3.
    ".globl cross_fault",
    "cross_fault:",
    "cmp byte ptr [rsp + {mode}], {program}",
    "jne save_rest",
    "mov rsi, [rsp + {info}]",
    "mov rdi, [rsp + {fault_handler}]",
    "test rdi, rdi",
    "jz save_rest",
    "cmp word ptr [rsi + {info_pending}], 0",
    "jne save_rest",
    // The hypervisor's range is all of one value of the upper 21 bits.
    "mov rcx, cr2",
    "mov rax, rcx",
    "sar rax, {hypervisor_shift}",
    "cmp rax, {hypervisor_part}",
    "je save_rest",
    "mov rdx, [rsp + {kernel_root}]",
    "mov rax, [rsp + {clock}]",
    "mov rax, [rax]",
    "mov cr3, rdx",
    "mov rdx, [rsp + {epoch}]",
    "mov [rdx], rax",
    "swapgs",
    "mov rdx, [rsp + {kernel_stack}]",
    "mov rax, [rsp + {rcx}]",
    stac_site!(),
    "2: mov [rdx - 64], rax",
    fixup_entry!("2b", "cross_undo_fault"),
    "2: mov [rdx - 56], r11",
    fixup_entry!("2b", "cross_undo_fault"),
    "mov eax, [rsp + {error_code}]",
    "or eax, {user_fault}",
    "2: mov [rdx - 48], rax",
    fixup_entry!("2b", "cross_undo_fault"),
    "mov rax, [rsp + {rip}]",
    "2: mov [rdx - 40], rax",
    fixup_entry!("2b", "cross_undo_fault"),
    "movzx eax, word ptr [rsp + {cs}]",
    "2: mov [rdx - 32], rax",
    fixup_entry!("2b", "cross_undo_fault"),
    "mov rax, [rsp + {rflags}]",
    "or rax, [rsp + {iopl}]",
    "2: mov [rdx - 24], rax",
    fixup_entry!("2b", "cross_undo_fault"),
    "mov rax, [rsp + {rsp}]",
    "2: mov [rdx - 16], rax",
    fixup_entry!("2b", "cross_undo_fault"),
    "movzx eax, word ptr [rsp + {ss}]",
    "2: mov [rdx - 8], rax",
    fixup_entry!("2b", "cross_undo_fault"),
    clac_site!(),
    "mov [rsi + {info_fault_address}], rcx",
    "sub rdx, 64",
    "mov al, [rsp + {fault_mask}]",
    "mov rcx, rdi",
    "mov r11, [rsp + {rflags}]",
    "jmp enter_handler",
    // CR2 is of the fault on the kernel's stack now; the run loop looks for the program's there.
    "cross_undo_fault:",
    "mov cr2, rcx",
    "jmp cross_undo",
    kernel = const KERNEL,
    program = const PROGRAM,
    mode = const armed(offset_of!(Armed, mode)),
    info = const armed(offset_of!(Armed, info)),
    iopl = const armed(offset_of!(Armed, iopl)),
    clock = const armed(offset_of!(Armed, clock)),
    epoch = const armed(offset_of!(Armed, epoch)),
    syscall_handler = const armed(offset_of!(Armed, syscall_handler)),
    syscall_mask = const armed(offset_of!(Armed, syscall_mask)),
    fault_handler = const armed(offset_of!(Armed, fault_handler)),
    fault_mask = const armed(offset_of!(Armed, fault_mask)),
    kernel_root = const armed(offset_of!(Armed, kernel_root)),
    user_root = const armed(offset_of!(Armed, user_root)),
    kernel_stack = const armed(offset_of!(Armed, kernel_stack)),
    return_flags = const armed(offset_of!(Armed, return_flags)),
    return_flags_checked = const armed(offset_of!(Armed, return_flags_checked)),
    info_pending = const offset_of!(VcpuInfo, evtchn_upcall_pending),
    info_mask = const offset_of!(VcpuInfo, evtchn_upcall_mask),
    info_fault_address = const offset_of!(VcpuInfo, arch) + offset_of!(ArchVcpuInfo, cr2),
    rcx = const frame(offset_of!(GuestRegs, rcx)),
    rdx = const frame(offset_of!(GuestRegs, rdx)),
    rsi = const frame(offset_of!(GuestRegs, rsi)),
    rdi = const frame(offset_of!(GuestRegs, rdi)),
    error_code = const frame(offset_of!(GuestRegs, error_code)),
    rip = const frame(offset_of!(GuestRegs, rip)),
    cs = const frame(offset_of!(GuestRegs, cs)),
    rflags = const frame(offset_of!(GuestRegs, rflags)),
    rsp = const frame(offset_of!(GuestRegs, rsp)),
    ss = const frame(offset_of!(GuestRegs, ss)),
    rsp_at_end = const offset_of!(GuestRegs, rsp) - offset_of!(GuestRegs, error_code),
    ring3_cs = const FLAT_RING3_CS64,
    ring3_ss = const FLAT_RING3_DS,
    flags_set = const FLAGS_SET,
    handler_flags = const HANDLER_FLAGS,
    program_flags = const PROGRAM_FLAGS,
    iret = const xen_abi::hypercall::IRET,
    in_syscall = const xen_abi::vcpu_context::VGCF_IN_SYSCALL,
    upper_start = const guest::HYPERVISOR_END,
    hypervisor_shift = const HYPERVISOR_SHIFT,
    hypervisor_part = const guest::HYPERVISOR_START as i64 >> HYPERVISOR_SHIFT,
    user_fault = const x86_defs::paging::PageFaultCode::USER.bits(),
);

// Both are looked at as one word.
const _: () = assert!(
    offset_of!(VcpuInfo, evtchn_upcall_mask) == offset_of!(VcpuInfo, evtchn_upcall_pending) + 1
);

/// log2 of the size of the hypervisor's range.
const HYPERVISOR_SHIFT: u32 = 43;
const _: () = assert!(guest::HYPERVISOR_END - guest::HYPERVISOR_START == 1 << HYPERVISOR_SHIFT);
const _: () = assert!(guest::HYPERVISOR_START.trailing_zeros() >= HYPERVISOR_SHIFT);

#[cfg(test)]
mod tests {
    use super::*;
    use x86_defs::control::RFlags;

    #[test]
    fn flags_that_a_guest_cannot_choose_are_in_no_mask() {
        let never = RFlags::IOPL | RFlags::VM | RFlags::VIP | RFlags::VIF | RFlags::NT;
        let in_programs = RFlags::all() - never - RFlags::IF;
        let in_handlers = in_programs - RFlags::AC - RFlags::RF - RFlags::TF;
        assert_eq!(u64::from(PROGRAM_FLAGS), in_programs.bits());
        assert_eq!(u64::from(HANDLER_FLAGS), in_handlers.bits());
        assert_eq!(u64::from(FLAGS_SET), (RFlags::IF | RFlags::FIXED).bits());
    }
}
