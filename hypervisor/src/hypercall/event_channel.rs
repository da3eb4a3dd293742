//! `event_channel_op` (public/event_channel.h): arguments in, permission, the operation on the domain's channels,
//! results out.

use ::hypercall::{Authorized, Budget, CallFrame, Outcome, authorize, op};
use addr::{Mfn, Vaddr};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use event_channels::Closer;
use platform_cpu::guest;
use xen_abi::DomId;
use xen_abi::domid::DOMID_SELF;
use xen_abi::errno::Errno;
use xen_abi::event_channel as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::context::Context;
use crate::domain::Domain;
use crate::events::{self, Pair, SharedFrame};
use crate::{domains, irq, mm};

/// `EVTCHNOP_reset_cont`: goes on with a reset. The hypervisor's own, for restarted calls.
const RESET_CONT: u32 = 14;

/// Ports that a reset closes before it lets others run.
const RESET_BUDGET: u32 = 256;

/// Handles the call.
#[inline(never)]
pub fn event_channel_op(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let [command, argument, ..] = frame.args;
    let at = Vaddr::new(argument);
    // An `int`: the upper half does not count.
    match command as u32 {
        // In line here, apart from the rest, whose registers it need not save.
        abi::SEND => send(context, at).into(),
        command => other_op(context, frame, command),
    }
}

#[inline(never)]
fn other_op(context: &mut Context<'_>, frame: &CallFrame, command: u32) -> Outcome {
    let at = Vaddr::new(frame.args[1]);
    match command {
        abi::UNMASK => unmask(context, at).into(),
        abi::ALLOC_UNBOUND => update(at, |argument| alloc_unbound(context, argument)),
        abi::BIND_INTERDOMAIN => update(at, |argument| bind_interdomain(context, argument)),
        abi::BIND_VIRQ => update(at, |argument| bind_virq(context, argument)),
        abi::BIND_IPI => update(at, |argument| bind_ipi(context, argument)),
        abi::BIND_PIRQ => update(at, |argument| bind_pirq(context, argument)),
        abi::CLOSE => close(context, at).into(),
        abi::STATUS => update(at, |argument| status(context, argument)),
        abi::BIND_VCPU => bind_vcpu(context, at).into(),
        command @ (abi::RESET | RESET_CONT) => reset(context, frame, at, command == RESET_CONT),
        abi::INIT_CONTROL => update(at, |argument| init_control(context, argument)),
        abi::EXPAND_ARRAY => expand_array(context, at).into(),
        abi::SET_PRIORITY => set_priority(context, at).into(),
        _ => Outcome::error(Errno::ENOSYS),
    }
}

/// Reads an argument.
#[inline]
fn read<T: FromBytes + IntoBytes>(at: Vaddr) -> Result<T, Errno> {
    guest::read(at).map_err(|_| Errno::EFAULT)
}

/// Reads an argument, has it changed, and writes it back if that went well.
fn update<T: FromBytes + IntoBytes + Immutable>(
    at: Vaddr,
    change: impl FnOnce(&mut T) -> Result<(), Errno>,
) -> Outcome {
    let attempt = || {
        let mut argument = read::<T>(at)?;
        change(&mut argument)?;
        // As on Xen, what was done stays done if the result cannot be written.
        guest::write(at, &argument).map_err(|_| Errno::EFAULT)
    };
    attempt().into()
}

/// The domain that a call names, which may be the caller.
fn named(context: &Context<'_>, domid: DomId) -> Result<Arc<Domain>, Errno> {
    if domid == DOMID_SELF || domid == context.domain.id() {
        Ok(context.domain.clone())
    } else {
        domains::find(domid).ok_or(Errno::ESRCH)
    }
}

#[inline]
fn send(context: &mut Context<'_>, at: Vaddr) -> Result<(), Errno> {
    const { assert!(size_of::<abi::Send>() == size_of::<u32>()) };
    let port = guest::read_u32(at).map_err(|_| Errno::EFAULT)?;
    events::send(context.domain, port)
}

fn unmask(context: &mut Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let argument: abi::Unmask = read(at)?;
    let mut channels = context.domain.event_channels.lock();
    let delivery = channels.unmask(argument.port, &**context.domain)?;
    events::deliver(context.domain, channels, delivery);
    Ok(())
}

fn alloc_unbound(context: &Context<'_>, argument: &mut abi::AllocUnbound) -> Result<(), Errno> {
    let domain = named(context, argument.dom)?;
    let permission: Authorized<op::EventAllocUnbound> =
        authorize(context.domain.caller(), domain.id())?;
    argument.port = alloc_unbound_in(&permission, context, &domain, argument.remote_dom)?;
    Ok(())
}

fn alloc_unbound_in(
    _permission: &Authorized<op::EventAllocUnbound>,
    context: &Context<'_>,
    domain: &Domain,
    remote: DomId,
) -> Result<u32, Errno> {
    let mut channels = domain.event_channels.lock();
    channels.alloc_unbound(context.domain.id(), remote)
}

fn bind_interdomain(
    context: &Context<'_>,
    argument: &mut abi::BindInterdomain,
) -> Result<(), Errno> {
    let remote = named(context, argument.remote_dom)?;
    let mut pair = Pair::lock(context.domain, Some(&remote));
    let (local, other) = pair.get();
    let (port, delivery) =
        event_channels::bind_interdomain(local, other, argument.remote_port, &**context.domain)?;
    argument.local_port = port;
    events::deliver(context.domain, pair.into_local(), delivery);
    Ok(())
}

fn bind_virq(context: &Context<'_>, argument: &mut abi::BindVirq) -> Result<(), Errno> {
    let mut channels = context.domain.event_channels.lock();
    argument.port = channels.bind_virq(argument.virq, argument.vcpu)?;
    Ok(())
}

fn bind_ipi(context: &Context<'_>, argument: &mut abi::BindIpi) -> Result<(), Errno> {
    let mut channels = context.domain.event_channels.lock();
    argument.port = channels.bind_ipi(argument.vcpu)?;
    Ok(())
}

fn bind_pirq(context: &Context<'_>, argument: &mut abi::BindPirq) -> Result<(), Errno> {
    let domain = context.domain;
    let pirq = argument.pirq;
    let share = argument.flags & abi::BIND_PIRQ__WILL_SHARE != 0;
    // None, for a domain without devices.
    let count = irq::pirq::count(domain);
    let mut channels = domain.event_channels.lock();
    // Under the lock: an interrupt that comes at once finds the port.
    argument.port = channels.bind_pirq(pirq, count, domain.is_hardware(), |_| {
        irq::pirq::bind(domain, pirq, share)
    })?;
    Ok(())
}

fn close(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let argument: abi::Close = read(at)?;
    events::close(context.domain, argument.port, Closer::Guest)
}

fn status(context: &Context<'_>, argument: &mut abi::Status) -> Result<(), Errno> {
    let domain = named(context, argument.dom)?;
    let permission: Authorized<op::EventStatus> = authorize(context.domain.caller(), domain.id())?;
    status_of(&permission, &domain, argument)
}

fn status_of(
    _permission: &Authorized<op::EventStatus>,
    domain: &Domain,
    argument: &mut abi::Status,
) -> Result<(), Errno> {
    let status = domain.event_channels.lock().status(argument.port)?;
    status.fill(argument);
    Ok(())
}

fn bind_vcpu(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let argument: abi::BindVcpu = read(at)?;
    let mut channels = context.domain.event_channels.lock();
    // A physical interrupt stays at the CPU that handles all devices' interrupts, whichever vCPU it notifies.
    channels.bind_vcpu(argument.port, argument.vcpu)?;
    Ok(())
}

fn reset(context: &Context<'_>, frame: &CallFrame, at: Vaddr, continued: bool) -> Outcome {
    let attempt = || {
        let argument: abi::Reset = read(at)?;
        let domain = named(context, argument.dom)?;
        let permission: Authorized<op::EventReset> =
            authorize(context.domain.caller(), domain.id())?;
        reset_domain(&permission, context, &domain, continued)
    };
    match attempt() {
        Ok(Progress::Done) => Outcome::SUCCESS,
        Ok(Progress::More) => Outcome::Preempt(frame.with_arg(0, u64::from(RESET_CONT))),
        Err(errno) => errno.into(),
    }
}

enum Progress {
    Done,
    More,
}

fn reset_domain(
    _permission: &Authorized<op::EventReset>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
    continued: bool,
) -> Result<Progress, Errno> {
    // Another domain must not run meanwhile: its controller has paused it.
    if domain.id() != context.domain.id() && domain.pause_count.load(Ordering::Acquire) == 0 {
        return Err(Errno::EINVAL);
    }
    domain.event_channels.lock().reset_begin(continued)?;
    let mut budget = Budget::new(RESET_BUDGET);
    loop {
        let Some(port) = domain.event_channels.lock().reset_next() else {
            break;
        };
        // A port that is not in use, or belongs to the hypervisor, stays as it is.
        let _ = events::close(domain, port, Closer::Guest);
        if !budget.spend(1) {
            return Ok(Progress::More);
        }
    }
    let pages = domain.event_channels.lock().reset_end()?;
    // After the lock: the pages may be freed.
    drop(pages);
    Ok(Progress::Done)
}

fn init_control(context: &Context<'_>, argument: &mut abi::InitControl) -> Result<(), Errno> {
    let domain = context.domain;
    let mut channels = domain.event_channels.lock();
    argument.link_bits =
        channels.init_control(argument.vcpu, argument.offset, &**domain, || {
            shared_frame(domain, argument.control_gfn)
        })?;
    Ok(())
}

fn expand_array(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let argument: abi::ExpandArray = read(at)?;
    let domain = context.domain;
    let mut channels = domain.event_channels.lock();
    channels.expand_array(
        &**domain,
        || shared_frame(domain, argument.array_gfn),
        |channels, delivery| events::deliver_locked(domain, channels, delivery),
    )
}

/// A page of the domain that it shares from now on.
fn shared_frame(domain: &Domain, frame: u64) -> Result<SharedFrame, Errno> {
    mm::writable_page(domain, Mfn::new(frame))
        .map(SharedFrame::new)
        .ok_or(Errno::EINVAL)
}

fn set_priority(context: &Context<'_>, at: Vaddr) -> Result<(), Errno> {
    let argument: abi::SetPriority = read(at)?;
    let mut channels = context.domain.event_channels.lock();
    channels.set_priority(argument.port, argument.priority)
}
