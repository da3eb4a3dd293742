//! Event channels of both kinds.

use core::sync::atomic::{AtomicU32, Ordering};

use guest_runtime::event_channels::{
    alloc_unbound, bind_interdomain, bind_ipi, bind_vcpu, bind_virq_to, channel, close, poll, send,
    status, unmask,
};
use guest_runtime::random::Random;
use guest_runtime::xen_abi::{domid, event_channel as op, virq};
use guest_runtime::{expect, expect_eq, shared};

use crate::arena::frame;
use crate::{Kind, fighters};

pub(crate) static KINDS: [Kind; 16] = [
    Kind::new("new port", unbound),
    Kind::new("connect", connect),
    Kind::new("new IPI", ipi),
    Kind::new("new VIRQ", virtual_interrupt),
    Kind::new("close", close_one),
    Kind::new("send", send_one),
    Kind::new("send again", send_one),
    Kind::new("move a port", move_one),
    Kind::new("unmask", unmask_one),
    Kind::new("status", status_one),
    Kind::new("priority", priority),
    Kind::new("control block", control),
    Kind::new("expand", expand),
    Kind::new("reset", reset),
    Kind::new("poll", poll_some),
    Kind::new("upcalls", upcalls),
];

const PORTS: usize = 24;
static KNOWN: [AtomicU32; PORTS] = [const { AtomicU32::new(0) }; PORTS];

/// A port that was bound once, or a small number.
fn port(random: &mut Random) -> u32 {
    match random.below(8) {
        0 => random.below(200) as u32,
        _ => KNOWN[random.below(PORTS as u64) as usize].load(Ordering::Relaxed),
    }
}

fn note(random: &mut Random, bound: Result<u32, i64>) -> bool {
    if let Ok(port) = bound {
        KNOWN[random.below(PORTS as u64) as usize].store(port, Ordering::Relaxed);
    }
    bound.is_ok()
}

fn vcpu(random: &mut Random) -> u32 {
    random.below(u64::from(fighters())) as u32
}

/// There are never so many that only resets help.
fn has_room(random: &mut Random) -> bool {
    random.below(3) != 0 || close_one(random)
}

fn unbound(random: &mut Random) -> bool {
    let bound = alloc_unbound(domid::DOMID_SELF);
    has_room(random);
    note(random, bound)
}

fn connect(random: &mut Random) -> bool {
    let bound = bind_interdomain(domid::DOMID_SELF, port(random));
    note(random, bound)
}

fn ipi(random: &mut Random) -> bool {
    let bound = bind_ipi(vcpu(random));
    has_room(random);
    note(random, bound)
}

fn virtual_interrupt(random: &mut Random) -> bool {
    let number = random.one_of(&[virq::TIMER, virq::DEBUG, virq::XENOPROF, virq::CONSOLE]);
    let bound = bind_virq_to(number, vcpu(random));
    note(random, bound)
}

fn close_one(random: &mut Random) -> bool {
    close(port(random)) == 0
}

fn send_one(random: &mut Random) -> bool {
    send(port(random)) == 0
}

fn move_one(random: &mut Random) -> bool {
    bind_vcpu(port(random), vcpu(random)) == 0
}

fn unmask_one(random: &mut Random) -> bool {
    unmask(port(random)) == 0
}

fn status_one(random: &mut Random) -> bool {
    status(port(random)).is_ok()
}

fn priority(random: &mut Random) -> bool {
    let mut request = op::SetPriority {
        port: port(random),
        priority: random.below(17) as u32,
    };
    channel(op::SET_PRIORITY, &mut request) == 0
}

fn control(random: &mut Random) -> bool {
    let mut request = op::InitControl {
        control_gfn: frame(random),
        offset: random.one_of(&[0, 8, 512, 4096 - 72, 4096 - 64, 4]),
        vcpu: vcpu(random),
        link_bits: 0,
        _pad: [0; 7],
    };
    channel(op::INIT_CONTROL, &mut request) == 0
}

fn expand(random: &mut Random) -> bool {
    let mut request = op::ExpandArray {
        array_gfn: frame(random),
    };
    channel(op::EXPAND_ARRAY, &mut request) == 0
}

/// Seldom: it ends all that the others have.
fn reset(random: &mut Random) -> bool {
    if random.below(16) != 0 {
        return true;
    }
    let mut request = op::Reset {
        dom: domid::DOMID_SELF,
    };
    channel(op::RESET, &mut request) == 0
}

fn poll_some(random: &mut Random) -> bool {
    let mut ports = [port(random), port(random)];
    let count = random.below(3) as usize;
    let until = shared::now() + random.below(200_000);
    poll(&mut ports[..count], until) == 0
}

/// Lets upcalls in for a moment.
fn upcalls(random: &mut Random) -> bool {
    shared::set_upcall_mask(false);
    send_one(random);
    shared::set_upcall_mask(true);
    true
}

/// Closes all ports, and gives the pages of the second kind back.
pub(crate) fn release() {
    let mut request = op::Reset {
        dom: domid::DOMID_SELF,
    };
    expect_eq!(channel(op::RESET, &mut request), 0);
    for port in 1..200 {
        if let Ok((state, _, _)) = status(port) {
            expect!(state == op::EVTCHNSTAT_CLOSED);
        }
    }
    let port = bind_ipi(0);
    expect!(port.is_ok());
    expect_eq!(close(port.unwrap_or(0)), 0);
}
