//! Hypercalls: one dispatcher, one place that writes results, a module for each family.

pub mod bitmap;
pub mod console_io;
pub mod domctl;
pub mod event_channel;
pub mod grant_table;
pub mod memory;
pub mod mmu;
pub mod multicall;
pub mod page;
pub mod physdev;
pub mod platform;
pub mod sched;
pub mod scheduler_control;
pub mod segments;
pub mod sysctl;
pub mod vcpu;
pub mod version;

use ::hypercall::{CallFrame, CrashReason, Outcome};
use arrayvec::ArrayVec;
use platform_cpu::GuestRegs;
use platform_cpu::lock::SpinLock;
use xen_abi::errno::Errno;
use xen_abi::hypercall as number;

use crate::bounce;
use crate::context::Context;
use crate::history::Happening;

/// Length of the `syscall` instruction.
const SYSCALL_LENGTH: u64 = 2;

/// The call is over with `-errno`.
pub fn errno(errno: Errno) -> Outcome {
    Outcome::error(errno)
}

/// The call is over with 0.
pub fn ok() -> Outcome {
    Outcome::SUCCESS
}

/// The call is over with `value`.
pub fn done(value: u32) -> Outcome {
    Outcome::Done(i64::from(value))
}

/// Takes the call from the guest's registers, makes it, and applies what came of it: the only place that
/// writes the guest's result registers.
///
/// # Errors
/// The domain cannot go on.
#[inline]
pub fn handle(context: &mut Context<'_>) -> Result<(), CrashReason> {
    // Nothing else is called as often, and it tells the history nothing that the next entry does not.
    if context.regs.rax == u64::from(number::IRET) {
        context.regs.rax = bounce::iret(context)?;
        return Ok(());
    }
    let regs = &context.regs;
    context.state.history.note(
        Happening::Hypercall(regs.rax as u32, regs.rdi, regs.rsi),
        regs.rip,
    );
    let short = if regs.rax == u64::from(number::MMU_UPDATE) {
        mmu::update_one(context)
    } else {
        None
    };
    match short.unwrap_or_else(|| call(context, &call_frame(context.regs))) {
        Outcome::Done(value) => context.regs.rax = value as u64,
        Outcome::Preempt(again) => {
            let regs = &mut context.regs;
            regs.rax = again.nr;
            [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = again.args;
            regs.rip = regs.rip.wrapping_sub(SYSCALL_LENGTH);
        }
        Outcome::Block => {
            context.regs.rax = 0;
            crate::schedule::wait(context);
        }
        Outcome::Crash(reason) => return Err(reason),
    }
    Ok(())
}

/// The call that the registers say.
#[inline]
fn call_frame(regs: &GuestRegs) -> CallFrame {
    CallFrame::new(
        regs.rax,
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9],
    )
}

/// Makes one call: directly, or as an entry of a multicall. Each family is a function of its own, so that the calls that
/// programs' page faults and switches make share no page of code with the rest (see [`crate::run::run`]).
#[inline]
pub fn call(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let [a0, a1, a2, ..] = frame.args;
    let Ok(nr) = u32::try_from(frame.nr) else {
        return unknown(context, frame);
    };
    match nr {
        number::SET_TRAP_TABLE => segments::set_trap_table(context, a0),
        number::MMU_UPDATE => mmu::mmu_update(context, frame),
        number::SET_GDT => mmu::set_gdt(context, frame),
        number::STACK_SWITCH => segments::stack_switch(context, a0, a1),
        number::SET_CALLBACKS => segments::set_callbacks(context, a0, a1, a2),
        number::FPU_TASKSWITCH => segments::fpu_taskswitch(context, a0),
        number::PLATFORM_OP => platform::platform_op(context, frame),
        number::SET_DEBUGREG => segments::set_debugreg(context, a0, a1),
        number::GET_DEBUGREG => segments::get_debugreg(context, a0),
        number::UPDATE_DESCRIPTOR => mmu::update_descriptor(context, frame),
        number::MEMORY_OP => memory::memory_op(context, frame),
        number::MULTICALL => multicall::multicall(context, frame),
        number::UPDATE_VA_MAPPING => mmu::update_va_mapping(context, frame),
        number::SET_TIMER_OP => sched::set_timer_op(context, a0),
        number::XEN_VERSION => version::xen_version(context, a0, a1),
        number::CONSOLE_IO => console_io::console_io(context, frame),
        number::GRANT_TABLE_OP => grant_table::grant_table_op(context, frame),
        number::VM_ASSIST => segments::vm_assist(context, a0, a1),
        number::UPDATE_VA_MAPPING_OTHERDOMAIN => mmu::update_va_mapping_otherdomain(context, frame),
        number::VCPU_OP => vcpu::vcpu_op(context, a0, a1, a2),
        number::SET_SEGMENT_BASE => segments::set_segment_base(a0, a1),
        number::MMUEXT_OP => mmu::mmuext_op(context, frame),
        number::NMI_OP => segments::nmi_op(context, a0, a1),
        number::SCHED_OP => sched::sched_op(context, a0, a1),
        number::CALLBACK_OP => segments::callback_op(context, a0, a1),
        number::EVENT_CHANNEL_OP => event_channel::event_channel_op(context, frame),
        number::PHYSDEV_OP => physdev::physdev_op(context, a0, a1),
        number::SYSCTL => sysctl::sysctl(context, frame),
        number::DOMCTL => domctl::domctl(context, frame),
        _ => unknown(context, frame),
    }
}

/// Operations that nobody answers and that the log has named: call and sub-operation.
static REPORTED: SpinLock<ArrayVec<(&'static str, u32), 64>> =
    SpinLock::new(crate::ranks::REPORTED_CALLS, ArrayVec::new_const());

/// An operation that is not there: `-ENOSYS`, and one line in the log for each.
#[cold]
pub fn not_implemented(context: &Context<'_>, call: &'static str, operation: u32) -> Outcome {
    let mut reported = REPORTED.lock();
    let operation_id = (call, operation);
    if !reported.contains(&operation_id) && reported.try_push(operation_id).is_ok() {
        drop(reported);
        log::info!(
            "d{}: {call} {operation} is not implemented: -ENOSYS",
            context.domain.id(),
        );
    }
    errno(Errno::ENOSYS)
}

/// A call that is not there.
#[cold]
fn unknown(context: &Context<'_>, frame: &CallFrame) -> Outcome {
    let number = u32::try_from(frame.nr).unwrap_or(u32::MAX);
    not_implemented(context, ::hypercall::call_name(frame.nr), number)
}
