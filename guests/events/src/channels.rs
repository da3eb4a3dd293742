//! Event channels with two levels: ports, pending and mask bits, upcalls.

use guest_runtime::traps::{self, EVENT, Next};
use guest_runtime::xen_abi::event_channel as op;
use guest_runtime::xen_abi::{domid, virq};
use guest_runtime::{expect, expect_eq, shared};

use crate::{
    EBUSY, EEXIST, EINVAL, ENOENT, bind_ipi, bind_virq, channel, close, send, status, unmask,
};

pub(crate) fn run() {
    bindings();
    pending();
    upcalls();
    pairs();
    reset();
}

fn bindings() {
    let virq_port = bind_virq(virq::DEBUG);
    expect!(virq_port.is_ok());
    let virq_port = virq_port.unwrap_or(0);
    expect_eq!(status(virq_port), Ok((op::EVTCHNSTAT_VIRQ, 0, virq::DEBUG)));
    // Once each, and none that is not there.
    expect_eq!(bind_virq(virq::DEBUG), Err(EEXIST));
    expect_eq!(bind_virq(24), Err(EINVAL));
    expect_eq!(bind_virq(u32::MAX), Err(EINVAL));
    let mut other = op::BindVirq {
        virq: virq::TIMER,
        vcpu: 5,
        port: 0,
    };
    expect_eq!(channel(op::BIND_VIRQ, &mut other), ENOENT);
    let ipi = bind_ipi(0).unwrap_or(0);
    expect_eq!(status(ipi), Ok((op::EVTCHNSTAT_IPI, 0, 0)));
    expect_eq!(bind_ipi(7), Err(ENOENT));
    expect_eq!(bind_ipi(u32::MAX), Err(ENOENT));
    // Fresh ports are masked.
    expect!(shared::is_masked(ipi) || !shared::is_pending(ipi));
    // One may not send what another raises.
    expect_eq!(send(virq_port), EINVAL);
    // Binding to a vCPU: global interrupts and ports between domains only.
    expect_eq!(
        channel(op::BIND_VCPU, &mut op::BindVcpu { port: ipi, vcpu: 0 }),
        EINVAL
    );
    expect_eq!(
        channel(op::BIND_VCPU, &mut op::BindVcpu { port: ipi, vcpu: 9 }),
        ENOENT
    );
    expect_eq!(
        channel(
            op::BIND_VCPU,
            &mut op::BindVcpu {
                port: 4000,
                vcpu: 0
            }
        ),
        EINVAL
    );
    // No such port.
    for port in [0, 4095, 4096, 1 << 17, u32::MAX] {
        expect_eq!(send(port), EINVAL, "{port}");
        expect_eq!(close(port), EINVAL, "{port}");
        if port != 0 {
            expect_eq!(unmask(port), EINVAL, "{port}");
        }
        if port >= 4096 {
            expect_eq!(status(port), Err(EINVAL), "{port}");
        }
    }
    expect_eq!(close(virq_port), 0);
    expect_eq!(close(virq_port), EINVAL);
    expect_eq!(status(virq_port), Ok((op::EVTCHNSTAT_CLOSED, 0, 0)));
    // The lowest free port is the next.
    expect_eq!(bind_virq(virq::DEBUG), Ok(virq_port));
    expect_eq!(close(virq_port), 0);
    expect_eq!(close(ipi), 0);
    // Interrupts of the machine that are not there.
    for pirq in [100_000, u32::MAX] {
        let mut bind = op::BindPirq {
            pirq,
            flags: 0,
            port: 0,
        };
        expect_eq!(channel(op::BIND_PIRQ, &mut bind), EINVAL);
    }
}

/// Bits, without upcalls: the vCPU's mask is set.
fn pending() {
    shared::set_upcall_mask(true);
    let port = bind_ipi(0).unwrap_or(0);
    shared::set_masked(port, false);
    shared::clear_upcall_pending();
    shared::set_pending_selector(0);
    expect_eq!(send(port), 0);
    expect!(shared::is_pending(port));
    expect!(shared::upcall_pending());
    expect_eq!(shared::pending_selector(), 1 << (port / 64));
    // Again: one bit.
    expect_eq!(send(port), 0);
    expect!(shared::take_pending(port));
    expect!(!shared::take_pending(port));
    // Masked: pending, but not told; unmasking tells.
    shared::clear_upcall_pending();
    shared::set_pending_selector(0);
    shared::set_masked(port, true);
    expect_eq!(send(port), 0);
    expect!(shared::is_pending(port));
    expect!(!shared::upcall_pending());
    expect_eq!(shared::pending_selector(), 0);
    expect_eq!(unmask(port), 0);
    expect!(!shared::is_masked(port));
    expect!(shared::upcall_pending());
    expect_eq!(shared::pending_selector(), 1 << (port / 64));
    // Closing forgets.
    expect_eq!(close(port), 0);
    expect!(!shared::is_pending(port));
    shared::clear_upcall_pending();
    shared::set_pending_selector(0);
}

/// Upcalls: one for what came while they were masked, at once for what comes while they are not.
fn upcalls() {
    let port = bind_ipi(0).unwrap_or(0);
    shared::set_masked(port, false);
    traps::set_hook(Some(|frame| {
        if frame.vector != EVENT {
            return Next::Unwind;
        }
        // Upcalls are masked in here, and the interrupted code had them unmasked.
        expect!(shared::upcall_mask());
        expect_eq!(frame.saved_upcall_mask(), 0);
        expect!(frame.rflags & traps::IF != 0);
        shared::clear_upcall_pending();
        shared::set_pending_selector(0);
        Next::Resume
    }));
    let before = traps::count();
    shared::set_upcall_mask(false);
    expect_eq!(send(port), 0);
    expect_eq!(traps::count() - before, 1);
    expect!(!shared::upcall_mask());
    expect!(shared::take_pending(port));
    // Masked by the vCPU: later, with the next entry after the mask is off.
    shared::set_upcall_mask(true);
    expect_eq!(send(port), 0);
    expect_eq!(traps::count() - before, 1);
    shared::set_upcall_mask(false);
    expect_eq!(send(port), 0);
    expect_eq!(traps::count() - before, 2);
    expect!(shared::take_pending(port));
    // A port that is pending already tells nothing more.
    expect_eq!(send(port), 0);
    expect_eq!(send(port), 0);
    expect_eq!(traps::count() - before, 3);
    shared::take_pending(port);
    shared::set_upcall_mask(true);
    traps::set_hook(None);
    expect_eq!(close(port), 0);
}

/// A port that waits for a partner, who is the domain itself.
fn pairs() {
    let me = domid::DOMID_SELF;
    let mut first = op::AllocUnbound {
        dom: me,
        remote_dom: me,
        port: 0,
    };
    expect_eq!(channel(op::ALLOC_UNBOUND, &mut first), 0);
    expect_eq!(
        status(first.port).map(|status| status.0),
        Ok(op::EVTCHNSTAT_UNBOUND)
    );
    // Nobody hears it, which is no error.
    expect_eq!(send(first.port), 0);
    let mut second = op::BindInterdomain {
        remote_dom: me,
        _hole0: [0; 2],
        remote_port: first.port,
        local_port: 0,
    };
    expect_eq!(channel(op::BIND_INTERDOMAIN, &mut second), 0);
    expect!(second.local_port != first.port);
    for (one, other) in [
        (first.port, second.local_port),
        (second.local_port, first.port),
    ] {
        let mut seen = op::Status {
            dom: me,
            _hole0: [0; 2],
            port: one,
            status: 0,
            vcpu: 0,
            u: op::StatusUnion { words: [0; 2] },
        };
        expect_eq!(channel(op::STATUS, &mut seen), 0);
        expect_eq!(seen.status, op::EVTCHNSTAT_INTERDOMAIN);
        expect_eq!(seen.u.interdomain().port, other);
        shared::take_pending(other);
        expect_eq!(send(one), 0);
        expect!(shared::take_pending(other));
        expect!(!shared::is_pending(one));
        expect_eq!(
            channel(op::BIND_VCPU, &mut op::BindVcpu { port: one, vcpu: 0 }),
            0
        );
    }
    // Taken, none, and one of another kind.
    for port in [first.port, 4000, 0, u32::MAX] {
        let mut again = op::BindInterdomain {
            remote_dom: me,
            _hole0: [0; 2],
            remote_port: port,
            local_port: 0,
        };
        expect_eq!(channel(op::BIND_INTERDOMAIN, &mut again), EINVAL);
    }
    let mut nobody = op::BindInterdomain {
        remote_dom: 77,
        _hole0: [0; 2],
        remote_port: 1,
        local_port: 0,
    };
    expect_eq!(channel(op::BIND_INTERDOMAIN, &mut nobody), -3);
    let mut nobody = op::AllocUnbound {
        dom: 77,
        remote_dom: me,
        port: 0,
    };
    expect_eq!(channel(op::ALLOC_UNBOUND, &mut nobody), -3);
    // One end goes: the other waits again.
    expect_eq!(close(second.local_port), 0);
    expect_eq!(
        status(first.port).map(|status| status.0),
        Ok(op::EVTCHNSTAT_UNBOUND)
    );
    expect_eq!(close(first.port), 0);
    let _ = EBUSY;
}

fn reset() {
    let ports = [bind_ipi(0), bind_ipi(0), bind_virq(virq::DEBUG)].map(|port| port.unwrap_or(0));
    let mut reset = op::Reset {
        dom: domid::DOMID_SELF,
    };
    expect_eq!(channel(op::RESET, &mut reset), 0);
    for port in ports {
        expect_eq!(
            status(port).map(|status| status.0),
            Ok(op::EVTCHNSTAT_CLOSED)
        );
        expect_eq!(send(port), EINVAL);
    }
    // As many as there can be are not so many that they could not be counted.
    let mut count = 0;
    let error = loop {
        match bind_ipi(0) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
        if count > 5000 {
            break 0;
        }
    };
    expect_eq!(error, -28);
    expect!((1000..=4095).contains(&count));
    expect_eq!(channel(op::RESET, &mut reset), 0);
}
