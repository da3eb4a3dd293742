//! Calls about event channels, and what a vCPU does about time: sleeping, polling, yielding.

use xen_abi::event_channel as op;
use xen_abi::{GuestHandle, domid, hypercall as number, sched};

use crate::hypercalls;
use crate::memory::address_of;

/// `event_channel_op`.
pub fn channel<T>(operation: u32, argument: &mut T) -> i64 {
    hypercalls::call_with(number::EVENT_CHANNEL_OP, operation, argument)
}

/// A port for a virtual interrupt of vCPU 0, or the error.
pub fn bind_virq(virq: u32) -> Result<u32, i64> {
    bind_virq_to(virq, 0)
}

/// A port for a virtual interrupt of a vCPU, or the error.
pub fn bind_virq_to(virq: u32, vcpu: u32) -> Result<u32, i64> {
    let mut bind = op::BindVirq {
        virq,
        vcpu,
        port: 0,
    };
    match channel(op::BIND_VIRQ, &mut bind) {
        0 => Ok(bind.port),
        error => Err(error),
    }
}

/// A port by which this vCPU is interrupted by others of the domain, or the error.
pub fn bind_ipi(vcpu: u32) -> Result<u32, i64> {
    let mut bind = op::BindIpi { vcpu, port: 0 };
    match channel(op::BIND_IPI, &mut bind) {
        0 => Ok(bind.port),
        error => Err(error),
    }
}

/// `EVTCHNOP_send`.
pub fn send(port: u32) -> i64 {
    channel(op::SEND, &mut op::Send { port })
}

/// `EVTCHNOP_close`.
pub fn close(port: u32) -> i64 {
    channel(op::CLOSE, &mut op::Close { port })
}

/// `EVTCHNOP_unmask`.
pub fn unmask(port: u32) -> i64 {
    channel(op::UNMASK, &mut op::Unmask { port })
}

/// What a port is: the status, the vCPU and the first word of the rest.
pub fn status(port: u32) -> Result<(u32, u32, u32), i64> {
    let mut status = op::Status {
        dom: domid::DOMID_SELF,
        _hole0: [0; 2],
        port,
        status: 77,
        vcpu: 77,
        u: op::StatusUnion { words: [0; 2] },
    };
    match channel(op::STATUS, &mut status) {
        0 => Ok((status.status, status.vcpu, status.u.words[0])),
        error => Err(error),
    }
}

/// `sched_op` with an argument.
pub fn schedule<T>(operation: u32, argument: &mut T) -> i64 {
    hypercalls::call(
        number::SCHED_OP,
        &[u64::from(operation), address_of(argument)],
    )
}

/// `EVTCHNOP_alloc_unbound` of this domain for `remote`; the port, or the error.
pub fn alloc_unbound(remote: u16) -> Result<u32, i64> {
    let mut alloc = op::AllocUnbound {
        dom: domid::DOMID_SELF,
        remote_dom: remote,
        port: 0,
    };
    match channel(op::ALLOC_UNBOUND, &mut alloc) {
        0 => Ok(alloc.port),
        error => Err(error),
    }
}

/// `EVTCHNOP_bind_interdomain`; the local port, or the error.
pub fn bind_interdomain(remote_dom: u16, remote_port: u32) -> Result<u32, i64> {
    let mut bind = op::BindInterdomain {
        remote_dom,
        _hole0: [0; 2],
        remote_port,
        local_port: 0,
    };
    match channel(op::BIND_INTERDOMAIN, &mut bind) {
        0 => Ok(bind.local_port),
        error => Err(error),
    }
}

/// `EVTCHNOP_bind_vcpu`.
pub fn bind_vcpu(port: u32, vcpu: u32) -> i64 {
    channel(op::BIND_VCPU, &mut op::BindVcpu { port, vcpu })
}

/// Sleeps until an event is pending. Unmasks upcalls.
pub fn block() -> i64 {
    hypercalls::call(number::SCHED_OP, &[u64::from(sched::BLOCK), 0])
}

/// Lets other vCPUs run first.
pub fn yield_now() {
    hypercalls::call(number::SCHED_OP, &[u64::from(sched::YIELD), 0]);
}

/// Waits for one of the ports, or a system time (0 for none).
pub fn poll(ports: &mut [u32], until: u64) -> i64 {
    let mut poll = sched::Poll {
        ports: GuestHandle::new(ports.as_mut_ptr().expose_provenance() as u64),
        nr_ports: ports.len() as u32,
        _hole0: [0; 4],
        timeout: until,
    };
    schedule(sched::POLL, &mut poll)
}

/// `SET_TIMER_OP`: the timer event of this vCPU at a system time.
pub fn set_timer(at: u64) -> i64 {
    hypercalls::call(number::SET_TIMER_OP, &[at])
}
