//! A domain's life: pause, unpause, resume, trigger, destroy.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use ::hypercall::{Authorized, op};
use xen_abi::domctl as abi;
use xen_abi::domctl::domain::{SendTrigger, Subscribe};
use xen_abi::errno::Errno;

use super::Answer;
use crate::context::Context;
use crate::death::{self, Progress};
use crate::domain::Domain;
use crate::{events, schedule};

/// Pauses that a controller can stack.
const MAX_PAUSES: u32 = 255;

/// Stops the domain's vCPUs; they have stopped when this returns.
pub(super) fn pause(
    _permission: Authorized<op::DomctlPausedomain>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
) -> Result<(), Errno> {
    if domain.id() == context.domain.id() {
        return Err(Errno::EINVAL);
    }
    let counted =
        domain
            .controller_pauses
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < MAX_PAUSES).then_some(count + 1)
            });
    if counted.is_err() {
        return Err(Errno::EOVERFLOW);
    }
    schedule::pause_and_wait(domain);
    Ok(())
}

/// Takes back one pause.
pub(super) fn unpause(
    _permission: Authorized<op::DomctlUnpausedomain>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
) -> Result<(), Errno> {
    let counted =
        domain
            .controller_pauses
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                count.checked_sub(1)
            });
    if counted.is_err() {
        return Err(Errno::EINVAL);
    }
    // From now on the domain may run: it sees one processor for ever.
    if !domain.has_run.swap(true, Ordering::Relaxed) {
        domain.emulation.fix();
    }
    schedule::unpause(domain);
    Ok(())
}

/// Lets a domain that suspended itself go on.
pub(super) fn resume(
    _permission: Authorized<op::DomctlResumedomain>,
    context: &Context<'_>,
    domain: &Arc<Domain>,
) -> Result<(), Errno> {
    if domain.id() == context.domain.id() {
        return Err(Errno::EINVAL);
    }
    schedule::pause_and_wait(domain);
    domain.resume();
    schedule::unpause(domain);
    Ok(())
}

/// Raises a line of an imagined machine: of a paravirtual one, the NMI.
pub(super) fn send_trigger(
    _permission: Authorized<op::DomctlSendtrigger>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &SendTrigger,
) -> Result<(), Errno> {
    if wanted.trigger != abi::SENDTRIGGER_NMI {
        return Err(match wanted.trigger {
            abi::SENDTRIGGER_POWER | abi::SENDTRIGGER_SLEEP => Errno::EINVAL,
            _ => Errno::ENOSYS,
        });
    }
    if wanted.vcpu >= domain.max_vcpus() {
        return Err(Errno::EINVAL);
    }
    let vcpu = domain.vcpu(wanted.vcpu).ok_or(Errno::ESRCH)?;
    events::send_nmi(domain, vcpu);
    Ok(())
}

/// Names the port that is raised when the domain has suspended.
pub(super) fn subscribe(
    _permission: Authorized<op::DomctlSubscribe>,
    _context: &Context<'_>,
    domain: &Arc<Domain>,
    wanted: &Subscribe,
) -> Result<(), Errno> {
    domain.settings.lock().suspend_port = wanted.port;
    Ok(())
}

/// Destroys the domain, or a part of it: the call is made again until it is done.
pub(super) fn destroy(
    _permission: Authorized<op::DomctlDestroydomain>,
    context: &Context<'_>,
    domain: Arc<Domain>,
) -> Result<Answer, Errno> {
    if domain.id() == context.domain.id() || domain.is_hardware() {
        return Err(Errno::EINVAL);
    }
    Ok(match death::destroy(&domain) {
        Progress::Done => Answer::Silent,
        Progress::More => Answer::Again,
    })
}
