//! What is printed when a domain or the hypervisor crashes: registers, backtrace, the vCPU's last calls and traps.

use core::sync::atomic::{AtomicBool, Ordering};

use ::hypercall::CrashReason;
use addr::Vaddr;
use platform_cpu::{GuestRegs, HostFrame, backtrace, guest};
use xen_abi::sched;

use crate::context::Context;
use crate::history::History;
use crate::{console, power, shutdown};

/// Ends the running domain because of what it did, and says why.
#[cold]
#[inline(never)]
pub fn crash_domain(context: &mut Context<'_>, reason: CrashReason) {
    log::error!(
        "d{}v{}: domain crashed: {reason}",
        context.domain.id(),
        context.vcpu.id()
    );
    guest_registers(context.regs, context.state.in_kernel);
    guest_stack(context.regs);
    history(&context.state.history);
    shutdown::domain_ended(context.domain, sched::SHUTDOWN_CRASH);
    context.cpu.reschedule = true;
}

/// Debug keys: the registers of the vCPU that this CPU runs, and its last calls, traps and events.
#[cold]
#[inline(never)]
pub fn running(context: &Context<'_>) {
    log::error!(
        "*** Dumping CPU{} guest state (d{}v{}): ***",
        context.cpu.id,
        context.domain.id(),
        context.vcpu.id()
    );
    guest_registers(context.regs, context.state.in_kernel);
    guest_stack(context.regs);
    history(&context.state.history);
}

/// Prints a guest's registers.
pub fn guest_registers(regs: &GuestRegs, in_kernel: bool) {
    log::error!(
        "RIP:    {:04x}:[<{:016x}>]  {}",
        regs.cs,
        regs.rip,
        if in_kernel {
            "guest kernel"
        } else {
            "guest program"
        }
    );
    log::error!(
        "RFLAGS: {:016x}   vector {:#x} error {:#x}",
        regs.rflags,
        regs.entry_vector,
        regs.error_code
    );
    for (first, second, third) in [
        (("rax", regs.rax), ("rbx", regs.rbx), ("rcx", regs.rcx)),
        (("rdx", regs.rdx), ("rsi", regs.rsi), ("rdi", regs.rdi)),
        (("rbp", regs.rbp), ("rsp", regs.rsp), ("r8 ", regs.r8)),
        (("r9 ", regs.r9), ("r10", regs.r10), ("r11", regs.r11)),
        (("r12", regs.r12), ("r13", regs.r13), ("r14", regs.r14)),
        (
            ("r15", regs.r15),
            ("cr3", platform_cpu::control::read_cr3()),
            ("cr2", platform_cpu::read_fault_address().raw()),
        ),
    ] {
        log::error!(
            "{}: {:016x}   {}: {:016x}   {}: {:016x}",
            first.0,
            first.1,
            second.0,
            second.1,
            third.0,
            third.1
        );
    }
    log::error!("ss: {:04x}   cs: {:04x}", regs.ss, regs.cs);
}

/// Prints the top of the guest's stack, as far as it can be read.
fn guest_stack(regs: &GuestRegs) {
    /// Words on a line, and lines.
    const LINES: u64 = 6;
    log::error!("Guest stack trace from rsp={:016x}:", regs.rsp);
    for line in 0..LINES {
        let mut words = [0u64; 4];
        let at = Vaddr::new(regs.rsp.wrapping_add(line * 32));
        if guest::copy_words_from(&mut words, at).is_err() {
            log::error!("   (not accessible from {at:#x})");
            return;
        }
        let [a, b, c, d] = words;
        log::error!("   {a:016x} {b:016x} {c:016x} {d:016x}");
    }
}

/// Prints a vCPU's last calls, traps and events, the oldest first.
pub fn history(history: &History) {
    log::error!("Last calls, traps and events of this vCPU:");
    for (what, rip) in history.iter() {
        log::error!("   at {rip:016x}: {what}");
    }
}

/// Set by the first CPU that crashes: later ones stop without a word.
static CRASHING: AtomicBool = AtomicBool::new(false);

/// Makes `fatal` and `panicked` what the CPU's and the language's last resorts are.
pub fn install() {
    platform_cpu::hooks::set_fatal(fatal);
    platform_cpu::hooks::set_panic(panicked);
}

fn begin() {
    if CRASHING.swap(true, Ordering::AcqRel) {
        platform_cpu::halt_forever();
    }
    console::force_unlock();
}

/// An exception in the hypervisor that nothing expected.
pub fn fatal(frame: &HostFrame) -> ! {
    begin();
    log::error!("----[ Xenolith {}  x86_64 ]----", env!("CARGO_PKG_VERSION"));
    log::error!("CPU: {}", platform_cpu::cpu_id());
    log::error!(
        "FATAL TRAP: vector = {} error code = {:04x} at {:04x}:[<{:016x}>]",
        frame.vector,
        frame.error_code,
        frame.cs,
        frame.rip
    );
    log::error!(
        "RFLAGS: {:016x}   cr2: {:016x}   cr3: {:016x}",
        frame.rflags,
        platform_cpu::read_fault_address().raw(),
        platform_cpu::control::read_cr3()
    );
    log::error!(
        "rax: {:016x}   rbx: {:016x}   rcx: {:016x}",
        frame.rax,
        frame.rbx,
        frame.rcx
    );
    log::error!(
        "rdx: {:016x}   rsi: {:016x}   rdi: {:016x}",
        frame.rdx,
        frame.rsi,
        frame.rdi
    );
    log::error!(
        "rbp: {:016x}   rsp: {:016x}   r8:  {:016x}",
        frame.rbp,
        frame.rsp,
        frame.r8
    );
    log::error!(
        "r9:  {:016x}   r10: {:016x}   r11: {:016x}",
        frame.r9,
        frame.r10,
        frame.r11
    );
    log::error!(
        "r12: {:016x}   r13: {:016x}   r14: {:016x}   r15: {:016x}",
        frame.r12,
        frame.r13,
        frame.r14,
        frame.r15
    );
    call_trace(Some(frame.rip), frame.rbp);
    stop()
}

/// A panic: a bug of the hypervisor's own.
fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    begin();
    log::error!("----[ Xenolith {}  x86_64 ]----", env!("CARGO_PKG_VERSION"));
    log::error!("CPU: {}", platform_cpu::cpu_id());
    log::error!("{info}");
    call_trace(None, backtrace::frame_pointer());
    stop()
}

/// Prints the functions that led here, by name.
fn call_trace(rip: Option<u64>, frame_pointer: u64) {
    let line = |address: u64| match platform_cpu::symbols::lookup(address) {
        Some((name, offset)) => log::error!("   [<{address:016x}>] {name}+{offset:#x}"),
        None => log::error!("   [<{address:016x}>]"),
    };
    log::error!("Xenolith call trace:");
    if let Some(rip) = rip {
        line(rip);
    }
    backtrace::walk(frame_pointer, backtrace::read_stack, line);
}

fn stop() -> ! {
    log::error!("Panic on CPU {}: the machine stops", platform_cpu::cpu_id());
    power::reboot_unless_told_not_to()
}
