//! Operations that join or part two ports, of two domains or of one.

use xen_abi::errno::Errno;
use xen_abi::{DomId, EvtchnPort};

use crate::channel::PortState;
use crate::deliver::Delivery;
use crate::memory::DomainMemory;
use crate::table::{EventChannels, virq_is_global};
use shared_page::SharedPage;

/// `EVTCHNOP_bind_interdomain`: connects a new port of `local` to `remote_port`, which waits for `local` to bind to it.
/// `remote` is `None` if that is a port of `local` too; else both locks are held. `memory` is `local`'s.
/// Returns the new port, which is made pending, for an event may have been lost while nobody was connected.
///
/// # Errors
/// As [`EventChannels::alloc_unbound`] for `local`; then `EINVAL` if the remote port does not exist, or does not wait
/// for this domain.
pub fn bind_interdomain<P: SharedPage>(
    local: &mut EventChannels<P>,
    remote: Option<&mut EventChannels<P>>,
    remote_port: EvtchnPort,
    memory: &impl DomainMemory,
) -> Result<(EvtchnPort, Delivery), Errno> {
    let port = local.find_free_port()?;
    let local_domid = local.domid;
    let waiting = PortState::Unbound {
        remote: local_domid,
    };
    let connect = |table: &mut EventChannels<P>| {
        let channel = table.ports.get(remote_port).ok_or(Errno::EINVAL)?;
        if channel.state != waiting {
            return Err(Errno::EINVAL);
        }
        let state = PortState::Interdomain {
            remote: local_domid,
            port,
        };
        table.ports.set_state(remote_port, state);
        Ok(table.domid)
    };
    // Nothing of either domain changes before the remote port has been checked (XSA-496).
    let remote_domid = match remote {
        Some(remote) => connect(remote)?,
        None => connect(local)?,
    };
    let state = PortState::Interdomain {
        remote: remote_domid,
        port: remote_port,
    };
    local.occupy(port, state, 0);
    Ok((port, local.raise(port, memory)))
}

/// On whose behalf a port is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closer {
    /// The guest, which cannot close ports that belong to the hypervisor.
    Guest,
    /// The hypervisor.
    Hypervisor,
}

/// What came of closing a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Closed {
    /// It is closed.
    Done,
    /// It is closed, and this physical interrupt is no longer bound: disconnect it.
    Pirq(u32),
    /// Nothing happened: the port is connected to this domain, which was not passed. Lock both, in order, and
    /// try again.
    NeedsPeer(DomId),
}

impl<P: SharedPage> EventChannels<P> {
    /// The other domain that a port is connected to, whose lock [`Self::close`] will need.
    pub fn peer_domain(&self, port: EvtchnPort) -> Option<DomId> {
        match self.ports.get(port)?.state {
            PortState::Interdomain { remote, .. } if remote != self.domid => Some(remote),
            _ => None,
        }
    }

    /// `EVTCHNOP_close`. The other end of a connected port waits for a new connection from this domain afterwards.
    /// `peer` is the table of the domain at the other end, if that is another one. `memory` is this domain's.
    ///
    /// # Errors
    /// `EINVAL` if the port does not exist or is not in use, or belongs to the hypervisor and `closer` is the guest.
    pub fn close(
        &mut self,
        port: EvtchnPort,
        closer: Closer,
        peer: Option<&mut Self>,
        memory: &impl DomainMemory,
    ) -> Result<Closed, Errno> {
        let channel = *self.ports.get(port).ok_or(Errno::EINVAL)?;
        if channel.consumer.is_some() && closer == Closer::Guest {
            return Err(Errno::EINVAL);
        }
        let mut closed = Closed::Done;
        match channel.state {
            PortState::Free | PortState::Reserved => return Err(Errno::EINVAL),
            PortState::Unbound { .. } | PortState::Ipi => {}
            PortState::Pirq { pirq } => {
                if let Some(bound) = self.pirqs.get_mut(pirq as usize) {
                    *bound = 0;
                }
                closed = Closed::Pirq(pirq);
            }
            PortState::Virq { virq } => {
                let vcpu = if virq_is_global(u32::from(virq)) {
                    0
                } else {
                    usize::from(channel.vcpu)
                };
                if let Some(bound) = self
                    .vcpus
                    .get_mut(vcpu)
                    .and_then(|vcpu| vcpu.virqs.get_mut(usize::from(virq)))
                {
                    *bound = 0;
                }
            }
            PortState::Interdomain {
                remote,
                port: remote_port,
            } => {
                let domid = self.domid;
                let part = |table: &mut Self| {
                    let waiting = PortState::Unbound { remote: domid };
                    table.ports.set_state(remote_port, waiting);
                };
                if remote == domid {
                    part(self);
                } else {
                    match peer.filter(|peer| peer.domid == remote) {
                        Some(peer) => part(peer),
                        None => return Ok(Closed::NeedsPeer(remote)),
                    }
                }
            }
        }
        self.vacate(port, memory);
        Ok(closed)
    }
}
