//! Event channels of two domains in the 2-level ABI, written as plainly as possible: what the header says, without
//! buckets, hints, locks or bit operations. The truth that the implementation is compared with.

use xen_abi::errno::Errno;
use xen_abi::virq;

use crate::PortState;

/// Port numbers 0 to 3; 0 is never used.
pub(super) const PORTS: usize = 4;
pub(super) const VCPUS: usize = 2;
/// Domain numbers.
pub(super) const DOMIDS: [u16; 2] = [1, 2];

/// An operation of domain `0` or `1`, or of its guest's memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    AllocUnbound {
        remote: u16,
    },
    BindInterdomain {
        remote: usize,
        port: u32,
    },
    BindVirq {
        virq: u32,
        vcpu: u32,
    },
    BindIpi {
        vcpu: u32,
    },
    Close {
        port: u32,
    },
    Send {
        port: u32,
    },
    BindVcpu {
        port: u32,
        vcpu: u32,
    },
    Unmask {
        port: u32,
    },
    RaiseVirq {
        virq: u32,
        vcpu: u32,
    },
    /// The guest masks a port.
    Mask {
        port: u32,
    },
    /// The guest's vCPU handles its events.
    TakeEvents {
        vcpu: u32,
    },
}

/// All operations.
pub(super) fn ops() -> impl Iterator<Item = Op> {
    let mut ops = std::vec::Vec::new();
    for remote in DOMIDS {
        ops.push(Op::AllocUnbound { remote });
    }
    for remote in [0, 1] {
        for port in 1..PORTS as u32 {
            ops.push(Op::BindInterdomain { remote, port });
        }
    }
    for vcpu in 0..2 {
        ops.push(Op::BindIpi { vcpu });
        ops.push(Op::BindVirq {
            virq: virq::TIMER,
            vcpu,
        });
        ops.push(Op::RaiseVirq {
            virq: virq::TIMER,
            vcpu,
        });
        ops.push(Op::TakeEvents { vcpu });
    }
    ops.push(Op::BindVirq {
        virq: virq::CONSOLE,
        vcpu: 0,
    });
    ops.push(Op::RaiseVirq {
        virq: virq::CONSOLE,
        vcpu: 0,
    });
    for port in 1..PORTS as u32 {
        ops.push(Op::Close { port });
        ops.push(Op::Send { port });
        ops.push(Op::Unmask { port });
        ops.push(Op::Mask { port });
        ops.push(Op::BindVcpu { port, vcpu: 1 });
    }
    ops.into_iter()
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum State {
    Free,
    Unbound(u16),
    Connected(u16, u32),
    Virq(u32),
    Ipi,
}

impl From<PortState> for State {
    fn from(state: PortState) -> Self {
        match state {
            PortState::Free | PortState::Reserved => Self::Free,
            PortState::Unbound { remote } => Self::Unbound(remote),
            PortState::Interdomain { remote, port } => Self::Connected(remote, port),
            PortState::Virq { virq } => Self::Virq(virq.into()),
            PortState::Ipi => Self::Ipi,
            PortState::Pirq { .. } => unreachable!("not in these tests"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Port {
    pub(super) state: State,
    pub(super) vcpu: u32,
    pub(super) pending: bool,
    pub(super) masked: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Side {
    pub(super) ports: [Port; PORTS],
    /// Whether the selector shows the (only) word of ports.
    pub(super) selected: [bool; VCPUS],
    pub(super) upcall: [bool; VCPUS],
}

/// Both domains.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct World(pub(super) [Side; 2]);

/// What an operation answers, and the vCPU that it kicks, of which domain.
pub(super) type Answer = (Result<u32, Errno>, Option<(usize, u32)>);

impl World {
    pub(super) fn new() -> Self {
        let port = Port {
            state: State::Free,
            vcpu: 0,
            pending: false,
            masked: false,
        };
        let side = Side {
            ports: [port; PORTS],
            selected: [false; VCPUS],
            upcall: [false; VCPUS],
        };
        Self([side.clone(), side])
    }

    pub(super) fn apply(&mut self, domain: usize, op: Op) -> Answer {
        match op {
            Op::AllocUnbound { remote } => self.open(domain, State::Unbound(remote), 0),
            Op::BindIpi { vcpu } => self.open(domain, State::Ipi, vcpu),
            Op::BindVirq { virq, vcpu } => {
                if self.virq_port(domain, virq, vcpu).is_some() {
                    return (Err(Errno::EEXIST), None);
                }
                self.open(domain, State::Virq(virq), vcpu)
            }
            Op::BindInterdomain { remote, port } => {
                let free = match self.free_port(domain) {
                    Ok(free) => free,
                    Err(errno) => return (Err(errno), None),
                };
                let other = &mut self.0[remote].ports[port as usize];
                if other.state != State::Unbound(DOMIDS[domain]) {
                    return (Err(Errno::EINVAL), None);
                }
                other.state = State::Connected(DOMIDS[domain], free);
                let (_, _) = self.open(domain, State::Connected(DOMIDS[remote], port), 0);
                (Ok(free), self.raise(domain, free))
            }
            Op::Close { port } => {
                let closed = &mut self.0[domain].ports[port as usize];
                let before = closed.state;
                if before == State::Free {
                    return (Err(Errno::EINVAL), None);
                }
                closed.state = State::Free;
                closed.vcpu = 0;
                closed.pending = false;
                if let State::Connected(remote, other) = before {
                    let remote = usize::from(remote != DOMIDS[0]);
                    self.0[remote].ports[other as usize].state = State::Unbound(DOMIDS[domain]);
                }
                (Ok(0), None)
            }
            Op::Send { port } => match self.0[domain].ports[port as usize].state {
                State::Free | State::Virq(_) => (Err(Errno::EINVAL), None),
                State::Unbound(_) => (Ok(0), None),
                State::Ipi => (Ok(0), self.raise(domain, port)),
                State::Connected(remote, other) => {
                    (Ok(0), self.raise(usize::from(remote != DOMIDS[0]), other))
                }
            },
            Op::BindVcpu { port, vcpu } => {
                let port = &mut self.0[domain].ports[port as usize];
                match port.state {
                    State::Free | State::Ipi | State::Virq(virq::TIMER) => {
                        (Err(Errno::EINVAL), None)
                    }
                    State::Unbound(_) | State::Connected(..) | State::Virq(_) => {
                        port.vcpu = vcpu;
                        (Ok(0), None)
                    }
                }
            }
            Op::Unmask { port } => {
                let side = &mut self.0[domain];
                let unmasked = &mut side.ports[port as usize];
                // Ports that are not in use stay as they are.
                if unmasked.state == State::Free {
                    return (Ok(0), None);
                }
                let (was_masked, pending, vcpu) =
                    (unmasked.masked, unmasked.pending, unmasked.vcpu);
                unmasked.masked = false;
                let kick = (was_masked && pending).then(|| self.show(domain, vcpu));
                (Ok(0), kick.flatten())
            }
            Op::RaiseVirq { virq, vcpu } => {
                let port = self.virq_port(domain, virq, vcpu);
                (Ok(0), port.and_then(|port| self.raise(domain, port)))
            }
            Op::Mask { port } => {
                self.0[domain].ports[port as usize].masked = true;
                (Ok(0), None)
            }
            Op::TakeEvents { vcpu } => {
                let side = &mut self.0[domain];
                side.upcall[vcpu as usize] = false;
                if std::mem::take(&mut side.selected[vcpu as usize]) {
                    for port in side.ports.iter_mut().filter(|port| !port.masked) {
                        port.pending = false;
                    }
                }
                (Ok(0), None)
            }
        }
    }

    fn virq_port(&self, domain: usize, virq: u32, vcpu: u32) -> Option<u32> {
        let port = self.0[domain].ports.iter().position(|port| {
            port.state == State::Virq(virq) && (virq != virq::TIMER || port.vcpu == vcpu)
        });
        port.map(|port| port as u32)
    }

    fn free_port(&self, domain: usize) -> Result<u32, Errno> {
        (1..PORTS)
            .find(|port| self.0[domain].ports[*port].state == State::Free)
            .map(|port| port as u32)
            .ok_or(Errno::ENOSPC)
    }

    fn open(&mut self, domain: usize, state: State, vcpu: u32) -> Answer {
        match self.free_port(domain) {
            Ok(port) => {
                let opened = &mut self.0[domain].ports[port as usize];
                opened.state = state;
                opened.vcpu = vcpu;
                (Ok(port), None)
            }
            Err(errno) => (Err(errno), None),
        }
    }

    fn raise(&mut self, domain: usize, port: u32) -> Option<(usize, u32)> {
        let raised = &mut self.0[domain].ports[port as usize];
        let before = std::mem::replace(&mut raised.pending, true);
        if before || raised.masked {
            return None;
        }
        let vcpu = raised.vcpu;
        self.show(domain, vcpu)
    }

    fn show(&mut self, domain: usize, vcpu: u32) -> Option<(usize, u32)> {
        let side = &mut self.0[domain];
        if std::mem::replace(&mut side.selected[vcpu as usize], true) {
            return None;
        }
        let upcall = std::mem::replace(&mut side.upcall[vcpu as usize], true);
        (!upcall).then_some((domain, vcpu))
    }
}
