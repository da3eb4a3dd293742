//! Whether the parts of a domain's table agree with each other: ports, what they are bound to, and the counts.

use core::fmt;

use xen_abi::{DomId, EvtchnPort};

use crate::channel::PortState;
use crate::poll::Polling;
use crate::table::{EventChannels, virq_is_global};

/// Something that does not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The number of ports in use, as counted and as noted.
    Active(u32, u32),
    /// The number of ports of the hypervisor's own, as counted and as noted.
    ForHypervisor(u32, u32),
    /// A port of a vCPU that does not exist.
    Vcpu(EvtchnPort),
    /// A port of a virtual interrupt that is not noted for it.
    Virq(EvtchnPort),
    /// A port of a physical interrupt that is not noted for it.
    Pirq(EvtchnPort),
    /// A port that is noted for an interrupt, and is not bound to it.
    NotBound(EvtchnPort),
    /// The number of vCPUs that poll, as counted and as noted.
    Pollers(u32, u32),
    /// A port that is connected to one that is not connected to it.
    Peer(EvtchnPort),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active(counted, noted) => write!(f, "{counted} ports are in use, not {noted}"),
            Self::ForHypervisor(counted, noted) => {
                write!(f, "{counted} ports are the hypervisor's, not {noted}")
            }
            Self::Vcpu(port) => write!(f, "port {port} notifies a vCPU that does not exist"),
            Self::Virq(port) => write!(f, "port {port} is not its virtual interrupt's"),
            Self::Pirq(port) => write!(f, "port {port} is not its physical interrupt's"),
            Self::NotBound(port) => write!(f, "port {port} is an interrupt's, and is not bound"),
            Self::Pollers(counted, noted) => write!(f, "{counted} vCPUs poll, not {noted}"),
            Self::Peer(port) => write!(f, "port {port} is not its peer's peer"),
        }
    }
}

impl<P> EventChannels<P> {
    /// Looks for what does not agree within the domain. Ports to other domains are for [`Self::is_peer_of`].
    pub fn audit(&self, mut report: impl FnMut(Mismatch)) {
        let (mut active, mut own) = (0, 0);
        for (port, channel) in self.ports.in_use() {
            active += 1;
            own += u32::from(channel.consumer.is_some());
            let vcpu = usize::from(channel.vcpu);
            if vcpu >= self.vcpus.len() {
                report(Mismatch::Vcpu(port));
            }
            match channel.state {
                PortState::Virq { virq } => {
                    let holder = if virq_is_global(u32::from(virq)) {
                        0
                    } else {
                        vcpu
                    };
                    let noted = self
                        .vcpus
                        .get(holder)
                        .and_then(|vcpu| vcpu.virqs.get(usize::from(virq)));
                    if noted != Some(&port) {
                        report(Mismatch::Virq(port));
                    }
                }
                PortState::Pirq { pirq } if self.pirqs.get(pirq as usize) != Some(&port) => {
                    report(Mismatch::Pirq(port));
                }
                PortState::Interdomain { remote, port: peer }
                    if remote == self.domid && !self.is_peer_of(peer, remote, port) =>
                {
                    report(Mismatch::Peer(port));
                }
                _ => {}
            }
        }
        if active != self.active {
            report(Mismatch::Active(active, self.active));
        }
        if own != self.active_for_hypervisor {
            report(Mismatch::ForHypervisor(own, self.active_for_hypervisor));
        }
        self.audit_interrupts(&mut report);
    }

    fn audit_interrupts(&self, report: &mut impl FnMut(Mismatch)) {
        let is = |port: EvtchnPort, wanted: &dyn Fn(PortState) -> bool| {
            self.ports
                .get(port)
                .is_some_and(|channel| wanted(channel.state))
        };
        for vcpu in &self.vcpus {
            for (number, port) in (0..).zip(vcpu.virqs) {
                if port != 0 && !is(port, &|state| state == PortState::Virq { virq: number }) {
                    report(Mismatch::NotBound(port));
                }
            }
        }
        for (number, port) in (0..).zip(&self.pirqs) {
            if *port != 0 && !is(*port, &|state| state == PortState::Pirq { pirq: number }) {
                report(Mismatch::NotBound(*port));
            }
        }
        let polling = self.vcpus.iter();
        let pollers = polling
            .filter(|vcpu| !matches!(vcpu.polling, Polling::No))
            .count() as u32;
        if pollers != self.pollers {
            report(Mismatch::Pollers(pollers, self.pollers));
        }
    }

    /// Whether `port` is connected to `peer` of `domid`.
    pub fn is_peer_of(&self, port: EvtchnPort, domid: DomId, peer: EvtchnPort) -> bool {
        let wanted = PortState::Interdomain {
            remote: domid,
            port: peer,
        };
        self.ports
            .get(port)
            .is_some_and(|channel| channel.state == wanted)
    }

    /// Pages of the guest's that the FIFO ABI keeps.
    pub fn kept_pages(&self) -> impl Iterator<Item = &P> {
        self.fifo.iter().flat_map(|fifo| fifo.pages())
    }
}

#[cfg(test)]
mod tests {
    use super::Mismatch;
    use crate::EventChannels;
    use crate::channel::PortState;

    fn table() -> EventChannels<()> {
        let mut table = EventChannels::<()>::new(1, 100).unwrap();
        table.set_vcpus(2).unwrap();
        table.ports.set_state(3, PortState::Ipi);
        table.active += 1;
        table.ports.set_state(4, PortState::Virq { virq: 0 });
        table.vcpus[0].virqs[0] = 4;
        table.active += 1;
        for (port, peer) in [(5, 6), (6, 5)] {
            let state = PortState::Interdomain {
                remote: 1,
                port: peer,
            };
            table.ports.set_state(port, state);
            table.active += 1;
        }
        table
    }

    fn mismatches(table: &EventChannels<()>) -> std::vec::Vec<Mismatch> {
        let mut all = std::vec::Vec::new();
        table.audit(|mismatch| all.push(mismatch));
        all
    }

    #[test]
    fn what_agrees_is_not_named() {
        assert_eq!(mismatches(&table()), []);
    }

    #[test]
    fn what_does_not_agree_is_named() {
        let mut wrong = table();
        wrong.active += 1;
        assert_eq!(mismatches(&wrong), [Mismatch::Active(4, 5)]);
        wrong = table();
        wrong.vcpus[0].virqs[0] = 3;
        assert_eq!(
            mismatches(&wrong),
            [Mismatch::Virq(4), Mismatch::NotBound(3)]
        );
        wrong = table();
        wrong.ports.set_state(6, PortState::Ipi);
        assert_eq!(mismatches(&wrong), [Mismatch::Peer(5)]);
        wrong = table();
        wrong.ports.get_mut(3).unwrap().vcpu = 2;
        assert_eq!(mismatches(&wrong), [Mismatch::Vcpu(3)]);
        wrong = table();
        wrong.pollers = 1;
        assert_eq!(mismatches(&wrong), [Mismatch::Pollers(0, 1)]);
        wrong = table();
        wrong.pirqs.push(0);
        wrong.pirqs.push(3);
        assert_eq!(mismatches(&wrong), [Mismatch::NotBound(3)]);
    }
}
