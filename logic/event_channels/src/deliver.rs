//! Sending: from a port to what it is connected to, and on to the guest's memory.

use xen_abi::errno::Errno;
use xen_abi::{DomId, EvtchnPort};

use crate::channel::{Channel, Consumer, PortState};
use crate::fifo::Fifo;
use crate::memory::{DomainMemory, mark_upcall};
use crate::table::{EventChannels, virq_is_global};
use crate::{fifo, two_level};
use shared_page::SharedPage;

/// Whom to wake after an event. It can wait until the lock is released.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[must_use]
pub struct Delivery {
    /// A vCPU whose upcall flag became set: unblock it, and make it exit if it runs on another CPU.
    pub kick: Option<u32>,
    /// A port that became pending while vCPUs poll: call [`EventChannels::take_poller`] with it, under the
    /// lock still, until there is none.
    pub polled: Option<EvtchnPort>,
}

/// What raising a port did to the shared words.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raised {
    /// The port was not pending before.
    pub(crate) newly_pending: bool,
    /// The guest was told where to look, and may need an upcall.
    pub(crate) upcall: bool,
}

/// The two ends of a connected channel, seen from the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerPort {
    /// Domain to deliver to.
    pub domid: DomId,
    /// Its port.
    pub port: EvtchnPort,
    /// Domain that sends.
    pub from: DomId,
    /// The port that it sends from.
    pub from_port: EvtchnPort,
}

/// What became of a sent event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Sent {
    /// It was delivered within the domain, or nobody listens.
    Done(Delivery),
    /// It goes to another domain: lock that one instead, and call [`EventChannels::receive`] there.
    Peer(PeerPort),
    /// It went to a part of the hypervisor that owns a port of the same domain.
    Consumer(Consumer, EvtchnPort),
}

/// What became of an event from another domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Received {
    /// It was delivered, or the ports are no longer connected.
    Done(Delivery),
    /// A part of the hypervisor owns the port.
    Consumer(Consumer, EvtchnPort),
}

impl<P: SharedPage> EventChannels<P> {
    /// `EVTCHNOP_send` from `port`.
    ///
    /// # Errors
    /// `EINVAL` if the port does not exist, belongs to the hypervisor, or is bound to something that cannot be sent to.
    #[inline]
    pub fn send(&mut self, port: EvtchnPort, memory: &impl DomainMemory) -> Result<Sent, Errno> {
        let channel = self.ports.get(port).ok_or(Errno::EINVAL)?;
        if channel.consumer.is_some() {
            return Err(Errno::EINVAL);
        }
        match channel.state {
            PortState::Interdomain { remote, port: peer } if remote == self.domid => {
                // Under one lock: the two ports name each other.
                let channel = self.ports.get_mut(peer).ok_or(Errno::EINVAL)?;
                if let Some(consumer) = channel.consumer {
                    return Ok(Sent::Consumer(consumer, peer));
                }
                let (fifo, pollers) = (&mut self.fifo, self.pollers);
                Ok(Sent::Done(raise_channel(
                    channel, peer, fifo, pollers, memory,
                )))
            }
            PortState::Interdomain { remote, port: peer } => Ok(Sent::Peer(PeerPort {
                domid: remote,
                port: peer,
                from: self.domid,
                from_port: port,
            })),
            PortState::Ipi => Ok(Sent::Done(self.raise(port, memory))),
            // Nobody has bound to it yet; whoever does gets an event then.
            PortState::Unbound { .. } => Ok(Sent::Done(Delivery::default())),
            PortState::Free
            | PortState::Reserved
            | PortState::Pirq { .. }
            | PortState::Virq { .. } => Err(Errno::EINVAL),
        }
    }

    /// Delivers an event that another domain sent. The sender's lock was released meanwhile, so the channel may be
    /// closed by now, or its ports bound anew; the event is dropped unless they still name each other.
    #[inline]
    pub fn receive(&mut self, peer: &PeerPort, memory: &impl DomainMemory) -> Received {
        let nothing = Received::Done(Delivery::default());
        let Some(channel) = self.ports.get(peer.port) else {
            return nothing;
        };
        let connected = PortState::Interdomain {
            remote: peer.from,
            port: peer.from_port,
        };
        if channel.state != connected {
            return nothing;
        }
        match channel.consumer {
            Some(consumer) => Received::Consumer(consumer, peer.port),
            None => Received::Done(self.raise(peer.port, memory)),
        }
    }

    /// Raises a virtual interrupt: a per-vCPU one for `vcpu`, a global one wherever it is bound.
    #[inline]
    pub fn raise_virq(&mut self, vcpu: u32, virq: u32, memory: &impl DomainMemory) -> Delivery {
        match self.virq_port(vcpu, virq) {
            Some(port) => self.raise(port, memory),
            None => Delivery::default(),
        }
    }

    /// The port that a virtual interrupt is bound to.
    pub fn virq_port(&self, vcpu: u32, virq: u32) -> Option<EvtchnPort> {
        let vcpu = if virq_is_global(virq) { 0 } else { vcpu };
        let port = self.vcpus.get(vcpu as usize)?.virqs.get(virq as usize)?;
        (*port != 0).then_some(*port)
    }

    /// Raises a physical interrupt, if it is bound.
    #[inline]
    pub fn raise_pirq(&mut self, pirq: u32, memory: &impl DomainMemory) -> Delivery {
        match self.pirq_port(pirq) {
            Some(port) => self.raise(port, memory),
            None => Delivery::default(),
        }
    }

    /// The port that a physical interrupt is bound to.
    pub fn pirq_port(&self, pirq: u32) -> Option<EvtchnPort> {
        self.pirqs
            .get(pirq as usize)
            .copied()
            .filter(|port| *port != 0)
    }

    /// Raises a connected port from the hypervisor's own end: `port` is the guest's. Events to a port that is not
    /// usable are dropped.
    #[inline]
    pub fn raise(&mut self, port: EvtchnPort, memory: &impl DomainMemory) -> Delivery {
        let Some(channel) = self.ports.get_mut(port) else {
            return Delivery::default();
        };
        raise_channel(channel, port, &mut self.fifo, self.pollers, memory)
    }

    /// `EVTCHNOP_unmask`. A port that is not in use answers without doing anything.
    ///
    /// # Errors
    /// `EINVAL` if the port does not exist.
    pub fn unmask(
        &mut self,
        port: EvtchnPort,
        memory: &impl DomainMemory,
    ) -> Result<Delivery, Errno> {
        let channel = self.ports.get(port).ok_or(Errno::EINVAL)?;
        if !channel.is_usable() {
            return Ok(Delivery::default());
        }
        let vcpu = u32::from(channel.vcpu);
        match &self.fifo {
            None => {
                let raised = two_level::unmask(memory, port, vcpu);
                Ok(Delivery {
                    kick: raised.upcall.then_some(vcpu),
                    polled: None,
                })
            }
            Some(fifo) => {
                if fifo.unmask(port) {
                    Ok(self.raise(port, memory))
                } else {
                    Ok(Delivery::default())
                }
            }
        }
    }

    /// Whether an event waits on the port. A port that is not in use has none.
    pub fn is_pending(&self, port: EvtchnPort, memory: &impl DomainMemory) -> bool {
        if !self.ports.get(port).is_some_and(Channel::is_usable) {
            return false;
        }
        match &self.fifo {
            None => two_level::is_pending(memory, port),
            Some(fifo) => fifo.is_pending(port),
        }
    }

    /// Whether the guest masked the port, or cannot have unmasked it.
    pub fn is_masked(&self, port: EvtchnPort, memory: &impl DomainMemory) -> bool {
        if !self.ports.get(port).is_some_and(Channel::is_usable) {
            return true;
        }
        match &self.fifo {
            None => two_level::is_masked(memory, port),
            Some(fifo) => fifo.is_masked(port),
        }
    }

    /// Number of ports that the ABI in use can have.
    pub(crate) fn width(&self) -> u32 {
        match &self.fifo {
            None => two_level::PORTS,
            Some(_) => fifo::PORTS,
        }
    }
}

/// Raises a port of a domain, if it is usable.
#[inline(always)]
fn raise_channel<P: SharedPage>(
    channel: &mut Channel,
    port: EvtchnPort,
    fifo: &mut Option<Fifo<P>>,
    pollers: u32,
    memory: &impl DomainMemory,
) -> Delivery {
    if !channel.is_usable() {
        return Delivery::default();
    }
    let vcpu = u32::from(channel.vcpu);
    let raised = match fifo {
        None => two_level::raise(memory, port, vcpu),
        Some(fifo) => raise_fifo(fifo, port, channel, memory),
    };
    Delivery {
        kick: raised.upcall.then_some(vcpu),
        polled: (raised.newly_pending && pollers != 0).then_some(port),
    }
}

#[inline(never)]
fn raise_fifo<P: SharedPage>(
    fifo: &mut Fifo<P>,
    port: EvtchnPort,
    channel: &mut Channel,
    memory: &impl DomainMemory,
) -> Raised {
    let vcpu = u32::from(channel.vcpu);
    let mut raised = fifo.raise(port, channel);
    raised.upcall = raised.upcall && mark_upcall(memory, vcpu);
    raised
}
