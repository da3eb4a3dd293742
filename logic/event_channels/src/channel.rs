//! One port: what it is bound to, and what the hypervisor remembers of its delivery.

use core::num::NonZeroU8;

use xen_abi::event_channel as abi;
use xen_abi::{DomId, EvtchnPort};

/// A part of the hypervisor that takes the events of a port in the guest's stead. The number is its own choice.
pub type Consumer = NonZeroU8;

/// What a port is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortState {
    /// Not in use.
    Free,
    /// Never to be used: port 0.
    Reserved,
    /// Waits for `remote` to bind to it.
    Unbound {
        /// The domain that may.
        remote: DomId,
    },
    /// Connected to a port of a domain, perhaps the same one.
    Interdomain {
        /// The domain at the other end.
        remote: DomId,
        /// Its port.
        port: EvtchnPort,
    },
    /// Raised by a physical interrupt.
    Pirq {
        /// The domain's number for it.
        pirq: u32,
    },
    /// Raised by the hypervisor.
    Virq {
        /// `VIRQ_*`.
        virq: u8,
    },
    /// Raised by the domain itself.
    Ipi,
}

/// A port's state as `EVTCHNOP_status` tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// What the port is bound to.
    pub state: PortState,
    /// The vCPU that it notifies.
    pub vcpu: u32,
}

impl Status {
    /// Writes the answer into the operation's argument, whose other fields stay.
    pub fn fill(&self, argument: &mut abi::Status) {
        argument.vcpu = self.vcpu;
        argument.status = match self.state {
            PortState::Free | PortState::Reserved => abi::EVTCHNSTAT_CLOSED,
            PortState::Unbound { remote } => {
                argument.u.set(abi::StatusUnbound { dom: remote });
                abi::EVTCHNSTAT_UNBOUND
            }
            PortState::Interdomain { remote, port } => {
                argument.u.set(abi::StatusInterdomain {
                    dom: remote,
                    _hole0: [0; 2],
                    port,
                });
                abi::EVTCHNSTAT_INTERDOMAIN
            }
            PortState::Pirq { pirq } => {
                argument.u.set(pirq);
                abi::EVTCHNSTAT_PIRQ
            }
            PortState::Virq { virq } => {
                argument.u.set(u32::from(virq));
                abi::EVTCHNSTAT_VIRQ
            }
            PortState::Ipi => abi::EVTCHNSTAT_IPI,
        };
    }
}

/// A FIFO queue: of a vCPU, for a priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QueueId {
    pub(crate) vcpu: u16,
    pub(crate) priority: u8,
}

/// A port. 16 bytes: a table of all 131072 is 2 MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel {
    pub(crate) state: PortState,
    /// The vCPU to notify.
    pub(crate) vcpu: u16,
    /// FIFO: the priority of the queue for the next event.
    pub(crate) priority: u8,
    /// FIFO: raised before its event word existed.
    pub(crate) pending: bool,
    /// FIFO: the queue that the port was last linked into, and of which it may be the tail.
    last_vcpu: u16,
    last_priority: u8,
    /// The hypervisor's part that owns the port; the guest cannot use it then.
    pub(crate) consumer: Option<Consumer>,
}

const _: () = assert!(size_of::<Channel>() == 16);

impl Channel {
    pub(crate) const FREE: Self = Self {
        state: PortState::Free,
        vcpu: 0,
        priority: abi::EVTCHN_FIFO_PRIORITY_DEFAULT as u8,
        pending: false,
        last_vcpu: 0,
        last_priority: 0,
        consumer: None,
    };

    /// Whether events on it reach the guest.
    pub(crate) fn is_usable(&self) -> bool {
        self.consumer.is_none() && !matches!(self.state, PortState::Free | PortState::Reserved)
    }

    /// The queue that the port was last linked into.
    pub(crate) fn last_queue(&self) -> QueueId {
        QueueId {
            vcpu: self.last_vcpu,
            priority: self.last_priority,
        }
    }

    pub(crate) fn set_last_queue(&mut self, queue: QueueId) {
        self.last_vcpu = queue.vcpu;
        self.last_priority = queue.priority;
    }
}
