//! Time and events: clocks, timers, event channels of both kinds, blocking and polling.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod channels;
mod fifo;
mod timers;

use guest_runtime::memory::address_of;
use guest_runtime::xen_abi::event_channel as op;
use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::xen_abi::{domid, hypercall as number};
use guest_runtime::{guest, hypercalls, option, println, shared, traps};

guest!(main);

pub(crate) const EBUSY: i64 = -16;
pub(crate) const EEXIST: i64 = -17;
pub(crate) const EINVAL: i64 = -22;
pub(crate) const ENOENT: i64 = -2;

/// `event_channel_op`.
pub(crate) fn channel<T>(operation: u32, argument: &mut T) -> i64 {
    hypercalls::call_with(number::EVENT_CHANNEL_OP, operation, argument)
}

/// A port for a virtual interrupt of vCPU 0, or the error.
pub(crate) fn bind_virq(virq: u32) -> Result<u32, i64> {
    let mut bind = op::BindVirq {
        virq,
        vcpu: 0,
        port: 0,
    };
    match channel(op::BIND_VIRQ, &mut bind) {
        0 => Ok(bind.port),
        error => Err(error),
    }
}

/// A port for interrupts from this vCPU.
pub(crate) fn bind_ipi(vcpu: u32) -> Result<u32, i64> {
    let mut bind = op::BindIpi { vcpu, port: 0 };
    match channel(op::BIND_IPI, &mut bind) {
        0 => Ok(bind.port),
        error => Err(error),
    }
}

/// `EVTCHNOP_send`.
pub(crate) fn send(port: u32) -> i64 {
    channel(op::SEND, &mut op::Send { port })
}

/// `EVTCHNOP_close`.
pub(crate) fn close(port: u32) -> i64 {
    channel(op::CLOSE, &mut op::Close { port })
}

/// `EVTCHNOP_unmask`.
pub(crate) fn unmask(port: u32) -> i64 {
    channel(op::UNMASK, &mut op::Unmask { port })
}

/// What a port is: the status, the vCPU and the first word of the rest.
pub(crate) fn status(port: u32) -> Result<(u32, u32, u32), i64> {
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
pub(crate) fn schedule<T>(operation: u32, argument: &mut T) -> i64 {
    hypercalls::call(
        number::SCHED_OP,
        &[u64::from(operation), address_of(argument)],
    )
}

fn main(info: &'static StartInfo) {
    shared::map(info);
    traps::init();
    let is_careful = option(info, "careful=").is_some();
    println!("clock");
    timers::clock();
    println!("channels");
    channels::run();
    println!("timers");
    timers::run(is_careful);
    println!("priorities");
    fifo::run();
    println!("timers again");
    timers::run(is_careful);
}
