//! The run loop of a CPU: choose a vCPU, enter the guest, handle why it left, and again.

use ::hypercall::CrashReason;
use platform_cpu::{Exit, GuestFrame, crossing};
use scheduler::Next;

use crate::bounce::{self, Extra};
use crate::context::Context;
use crate::counters::{self, Count};
use crate::cpu::{Cpu, Work};
use crate::domain::VcpuRef;
use crate::history::Happening;
use crate::trap::{self, SystemCall};
use crate::vcpu::Notice;
use crate::{
    audit, console, dump, events, hotplug, hypercall, irq, mm, nmi, schedule, switch, time,
    vcpu_time,
};

/// Runs guests on this CPU for ever.
///
/// What a program's system call or page fault goes through is in line here, and nothing else is: after each change of
/// address space the CPU finds every page of code anew, so the path has to stay on few of them.
pub fn run(mut cpu: Cpu, mut regs: GuestFrame) -> ! {
    mm::init_cpu();
    let mut next = None;
    loop {
        if next.is_none()
            && let Next::Switch(vcpu) = schedule::pick(&mut cpu, None)
        {
            next = Some(vcpu);
        }
        if let Some(wanted) = cpu.audit.take() {
            audit::run(wanted);
            continue;
        }
        match next.take() {
            Some(vcpu) => next = run_vcpu(&mut cpu, &mut regs, &vcpu),
            None => {
                // What it is to do while it is out of use is no more than it does here.
                hotplug::note_idle(cpu.id);
                idle(&mut cpu);
            }
        }
    }
}

/// Waits for an interrupt and handles it.
#[inline(never)]
fn idle(cpu: &mut Cpu) {
    counters::count(Count::Idles);
    time::program_timer(cpu);
    if let Some(vector) = cpu.halt() {
        irq::handle(cpu, vector);
    }
    do_work(cpu);
}

/// Does what interrupts and other CPUs asked for.
fn do_work(cpu: &mut Cpu) {
    mm::serve_flushes();
    let work = cpu.take_work();
    if work & Work::Timers as u32 != 0 {
        vcpu_time::run_timers(cpu);
    }
    if work & Work::Console as u32 != 0 {
        console::handle_input(cpu);
    }
    if work & Work::ConsoleRing as u32 != 0 {
        events::send_global_virq(xen_abi::virq::CON_RING);
    }
    if work & Work::Reschedule as u32 != 0 {
        cpu.reschedule = true;
    }
    if work & Work::Nmi as u32 != 0 {
        nmi::deliver();
    }
    // Nothing is to be done for `Work::Events`: they are looked for before each entry.
}

/// Runs `current` until another vCPU should run in its place, which is returned, or none. While nothing else wants
/// the CPU a blocked vCPU stays loaded, so that waking it costs no switch.
fn run_vcpu(cpu: &mut Cpu, regs: &mut GuestFrame, current: &VcpuRef) -> Option<VcpuRef> {
    let (domain, vcpu) = (&current.domain, &*current.vcpu);
    // No other CPU has it loaded; who looks at a vCPU that does not run soon gives it back.
    let mut guard = vcpu.state.lock();
    let state = &mut *guard;
    counters::count(Count::Switches);
    switch::load(cpu, domain, vcpu, state, regs);
    let mut context = Context {
        cpu,
        domain,
        vcpu,
        state,
        regs,
    };
    let next = loop {
        // A timer that expires may wake another vCPU, which is work again: no interrupt would say so later.
        while context.cpu.has_work() {
            do_work(context.cpu);
            if core::mem::take(&mut context.cpu.show_registers) {
                dump::running(&context);
            }
        }
        if context.cpu.reschedule {
            context.cpu.reschedule = false;
            if context.cpu.audit.is_some() {
                schedule::want_unloaded(vcpu);
            }
            match schedule::pick(context.cpu, Some(current)) {
                Next::Stay => {}
                Next::Switch(next) => break Some(next),
                Next::Unload => break None,
                Next::Idle => {
                    vcpu_time::note_idle(&mut context);
                    idle(context.cpu);
                    context.cpu.reschedule = true;
                    continue;
                }
            }
            vcpu_time::note_running(&mut context);
        }
        if let Err(reason) = enter(&mut context) {
            dump::crash_domain(&mut context, reason);
        }
    };
    let Context {
        cpu, state, regs, ..
    } = context;
    switch::save(cpu, domain, vcpu, state, regs);
    drop(guard);
    schedule::release(vcpu);
    next
}

/// Redirects the guest to its event callback.
#[inline]
fn deliver_upcall(context: &mut Context<'_>) -> Result<(), CrashReason> {
    let rip = context.regs.rip;
    context.state.history.note(Happening::Upcall, rip);
    let callback = context.state.callbacks.event;
    bounce::bounce(context, callback, Extra::None)
}

/// Does what the vCPU's notices ask for.
#[cold]
fn heed_notices(context: &mut Context<'_>) -> Result<(), CrashReason> {
    if context.vcpu.take_notice(Notice::Crossings) {
        context.state.roots.note_change();
    }
    if context.vcpu.take_notice(Notice::BadSegments) {
        trap::bad_segments(context)?;
    }
    if context.vcpu.has_notice(Notice::Nmi) {
        vcpu_time::deliver_nmi(context)?;
    }
    // What any of these changed.
    context.state.arm_crossings(context.domain, context.vcpu);
    Ok(())
}

/// Enters the guest, and handles why it left.
#[inline]
fn enter(context: &mut Context<'_>) -> Result<(), CrashReason> {
    context.state.arm_crossings(context.domain, context.vcpu);
    if context.vcpu.has_notices() {
        heed_notices(context)?;
    }
    if crossing::upcall_is_due() {
        deliver_upcall(context)?;
    }
    time::program_timer(context.cpu);
    let stopped = loop {
        if !context.cpu.begin_guest() {
            return Ok(());
        }
        let stopped = platform_cpu::enter_guest(context.regs, &mut context.state.in_kernel);
        context.cpu.end_guest();
        if !stopped.is_by_interrupt(irq::vector::RESCHEDULE) || context.cpu.has_work() {
            break stopped;
        }
        // Another CPU wanted a flush and no more, and has it: the guest goes on.
        irq::end_of_interrupt();
    };
    match stopped.exit() {
        Exit::Syscall => {
            if context.state.in_kernel {
                hypercall::handle(context)
            } else {
                let rip = context.regs.rip;
                context.state.history.note(Happening::SystemCall, rip);
                trap::system_call(context, SystemCall::Long)
            }
        }
        Exit::Exception { vector, error_code } => trap::exception(context, vector, error_code),
        Exit::Interrupt { vector } => {
            let rip = context.regs.rip;
            context
                .state
                .history
                .note(Happening::Interrupt(vector), rip);
            irq::handle(context.cpu, vector);
            Ok(())
        }
        Exit::Syscall32 => trap::system_call(context, SystemCall::Compat),
        Exit::Sysenter => trap::system_call(context, SystemCall::Sysenter),
        Exit::Nmi => {
            nmi::in_guest(context);
            Ok(())
        }
        Exit::MachineCheck => nmi::machine_check_in_guest(context),
        Exit::ReturnFault { vector, error_code } => trap::return_fault(context, vector, error_code),
    }
}
