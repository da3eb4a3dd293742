//! The event channels of a domain: binding ports to what raises them.

use alloc::vec::Vec;

use xen_abi::domid::DOMID_SELF;
use xen_abi::errno::Errno;
use xen_abi::event_channel::{
    EVTCHN_FIFO_LINK_BITS, EVTCHN_FIFO_PRIORITY_DEFAULT, EVTCHN_FIFO_PRIORITY_MIN, FifoControlBlock,
};
use xen_abi::{DomId, EvtchnPort, virq};

use crate::channel::{Channel, Consumer, PortState, Status};
use crate::deliver::Delivery;
use crate::fifo::{Fifo, WORDS_PER_PAGE};
use crate::memory::DomainMemory;
use crate::poll::Polling;
use crate::ports::Ports;
use crate::two_level;
use shared_page::SharedPage;

/// Number of virtual interrupts.
const VIRQS: usize = virq::COUNT as usize;
/// vCPU numbers have to fit into a channel.
const MAX_VCPUS: u32 = 1 << 16;

/// Whether a virtual interrupt exists once per domain, rather than once per vCPU.
pub const fn virq_is_global(virq: u32) -> bool {
    !matches!(
        virq,
        virq::TIMER | virq::DEBUG | virq::XENOPROF | virq::XENPMU
    )
}

/// What belongs to one vCPU.
#[derive(Clone)]
pub(crate) struct Vcpu {
    /// The port of each virtual interrupt; 0 for none. Global ones are with vCPU 0, whichever vCPU they notify.
    pub(crate) virqs: [EvtchnPort; VIRQS],
    pub(crate) polling: Polling,
}

/// The event channels of one domain. `P` is a mapped page of the guest. See the crate's page.
#[derive(Clone)]
pub struct EventChannels<P> {
    pub(crate) domid: DomId,
    /// The highest port number that the domain may have.
    max_port: EvtchnPort,
    pub(crate) ports: Ports,
    /// Ports in use, and those of them that belong to the hypervisor.
    pub(crate) active: u32,
    pub(crate) active_for_hypervisor: u32,
    pub(crate) vcpus: Vec<Vcpu>,
    /// vCPUs in `vcpus` that poll.
    pub(crate) pollers: u32,
    /// The port of each physical interrupt; 0 for none. As long as the highest one that was ever bound.
    pub(crate) pirqs: Vec<EvtchnPort>,
    /// Set while the domain uses the FIFO ABI.
    pub(crate) fifo: Option<Fifo<P>>,
    dying: bool,
    /// The next port that a reset under way will close.
    pub(crate) resetting: Option<EvtchnPort>,
}

impl<P> EventChannels<P> {
    /// Makes the table of a new domain, which has no vCPUs yet. Ports above `max_port` are refused to it.
    ///
    /// # Errors
    /// `ENOMEM`
    pub fn new(domid: DomId, max_port: EvtchnPort) -> Result<Self, Errno> {
        let mut ports = Ports::default();
        ports.grow()?;
        ports.set_state(0, PortState::Reserved);
        Ok(Self {
            domid,
            // A port number is an `int` in Xen.
            max_port: max_port.min(i32::MAX as u32),
            ports,
            active: 0,
            active_for_hypervisor: 0,
            vcpus: Vec::new(),
            pollers: 0,
            pirqs: Vec::new(),
            fifo: None,
            dying: false,
            resetting: None,
        })
    }

    /// Makes room for vCPUs 0 to `count` - 1, to which ports can be bound from now on.
    ///
    /// # Errors
    /// `EINVAL` if there are too many, `ENOMEM`.
    pub fn set_vcpus(&mut self, count: u32) -> Result<(), Errno> {
        if count > MAX_VCPUS {
            return Err(Errno::EINVAL);
        }
        let count = count as usize;
        let missing = count.saturating_sub(self.vcpus.len());
        self.vcpus
            .try_reserve_exact(missing)
            .map_err(|_| Errno::ENOMEM)?;
        if let Some(fifo) = &mut self.fifo {
            fifo.grow_vcpus(count)?;
        }
        for _ in 0..missing {
            self.vcpus.push(Vcpu {
                virqs: [0; VIRQS],
                polling: Polling::No,
            });
        }
        Ok(())
    }

    /// The domain that the ports belong to.
    pub fn domid(&self) -> DomId {
        self.domid
    }

    /// Number of ports that exist, in use or not.
    pub fn valid_ports(&self) -> u32 {
        self.ports.len()
    }

    /// Refuses new ports from now on: the domain is being destroyed.
    pub fn set_dying(&mut self) {
        self.dying = true;
    }

    /// Whether the domain uses the FIFO ABI.
    pub fn uses_fifo(&self) -> bool {
        self.fifo.is_some()
    }

    /// All ports in use, in order: for a person's eyes.
    pub fn iter(&self) -> impl Iterator<Item = (EvtchnPort, Status)> {
        self.ports
            .in_use()
            .map(|(port, channel)| (port, status_of(channel)))
    }

    /// `EVTCHNOP_status` of a port of this domain.
    ///
    /// # Errors
    /// `EINVAL` if the port does not exist; `EACCES` if it belongs to the hypervisor.
    pub fn status(&self, port: EvtchnPort) -> Result<Status, Errno> {
        let channel = self.ports.get(port).ok_or(Errno::EINVAL)?;
        if channel.consumer.is_some() {
            return Err(Errno::EACCES);
        }
        Ok(status_of(channel))
    }

    fn check_vcpu(&self, vcpu: u32) -> Result<u16, Errno> {
        if (vcpu as usize) < self.vcpus.len() {
            u16::try_from(vcpu).map_err(|_| Errno::ENOENT)
        } else {
            Err(Errno::ENOENT)
        }
    }
}

pub(crate) fn status_of(channel: &Channel) -> Status {
    Status {
        state: channel.state,
        vcpu: u32::from(channel.vcpu),
    }
}

impl<P: SharedPage> EventChannels<P> {
    /// The FIFO event word of a port, for a person's eyes.
    pub fn event_word(&self, port: EvtchnPort) -> Option<u32> {
        self.fifo.as_ref()?.raw_word(port)
    }

    /// Finds the port for the next binding. It stays free until [`Self::occupy`].
    ///
    /// # Errors
    /// `EINVAL` if the domain is dying; `ENOSPC`; `ENOMEM`.
    pub(crate) fn find_free_port(&mut self) -> Result<EvtchnPort, Errno> {
        if self.dying {
            return Err(Errno::EINVAL);
        }
        let limit = self.width().min(self.max_port.saturating_add(1));
        let Self { ports, fifo, .. } = self;
        ports.find_free(limit, |port| {
            fifo.as_ref().is_some_and(|fifo| fifo.is_linked(port))
        })
    }

    /// Takes a free port into use.
    pub(crate) fn occupy(&mut self, port: EvtchnPort, state: PortState, vcpu: u16) {
        self.ports.set_state(port, state);
        if let Some(channel) = self.ports.get_mut(port) {
            channel.vcpu = vcpu;
            channel.priority = EVTCHN_FIFO_PRIORITY_DEFAULT as u8;
        }
        self.active += 1;
    }

    /// Gives a port back. A later owner of the number finds no event of this one, and vCPU 0.
    pub(crate) fn vacate(&mut self, port: EvtchnPort, memory: &impl DomainMemory) {
        match &self.fifo {
            None => two_level::clear_pending(memory, port),
            Some(fifo) => fifo.clear_pending(port),
        }
        self.ports.set_state(port, PortState::Free);
        let Some(channel) = self.ports.get_mut(port) else {
            return;
        };
        channel.vcpu = 0;
        channel.pending = false;
        // The last queue stays: the port may still be that queue's tail.
        if channel.consumer.take().is_some() {
            self.active_for_hypervisor -= 1;
        }
        self.active -= 1;
    }

    /// `EVTCHNOP_alloc_unbound` in this domain, by a caller that is `caller`: a port to which `remote` may bind.
    ///
    /// # Errors
    /// `EINVAL` if the domain is dying; `ENOSPC`; `ENOMEM`.
    // COMPAT: Xen finds a port before it checks whether the caller may do this to another domain; here the check
    // comes first, so that who may not learns nothing about the domain's ports.
    pub fn alloc_unbound(&mut self, caller: DomId, remote: DomId) -> Result<EvtchnPort, Errno> {
        let port = self.find_free_port()?;
        let remote = if remote == DOMID_SELF { caller } else { remote };
        self.occupy(port, PortState::Unbound { remote }, 0);
        Ok(port)
    }

    /// Makes a port to which `remote` may bind, and whose events go to a part of the hypervisor, for `vcpu`'s sake.
    ///
    /// # Errors
    /// `ENOENT` if there is no such vCPU, then as [`Self::alloc_unbound`].
    pub fn alloc_for_hypervisor(
        &mut self,
        vcpu: u32,
        remote: DomId,
        consumer: Consumer,
    ) -> Result<EvtchnPort, Errno> {
        let vcpu = self.check_vcpu(vcpu)?;
        let port = self.find_free_port()?;
        self.occupy(port, PortState::Unbound { remote }, vcpu);
        if let Some(channel) = self.ports.get_mut(port) {
            channel.consumer = Some(consumer);
            self.active_for_hypervisor += 1;
        }
        Ok(port)
    }

    /// `EVTCHNOP_bind_virq`.
    ///
    /// # Errors
    /// `EINVAL` if there is no such virtual interrupt, or it is global and `vcpu` is not 0; `ENOENT` if there is no
    /// such vCPU; `EEXIST` if it is bound already; then as [`Self::alloc_unbound`].
    pub fn bind_virq(&mut self, virq: u32, vcpu: u32) -> Result<EvtchnPort, Errno> {
        let index = virq as usize;
        let number = u8::try_from(virq).map_err(|_| Errno::EINVAL)?;
        if index >= VIRQS || (virq_is_global(virq) && vcpu != 0) {
            return Err(Errno::EINVAL);
        }
        let notify = self.check_vcpu(vcpu)?;
        let bound = self
            .vcpus
            .get(vcpu as usize)
            .and_then(|vcpu| vcpu.virqs.get(index));
        if bound.is_none_or(|port| *port != 0) {
            return Err(Errno::EEXIST);
        }
        let port = self.find_free_port()?;
        self.occupy(port, PortState::Virq { virq: number }, notify);
        if let Some(bound) = self
            .vcpus
            .get_mut(vcpu as usize)
            .and_then(|vcpu| vcpu.virqs.get_mut(index))
        {
            *bound = port;
        }
        Ok(port)
    }

    /// `EVTCHNOP_bind_ipi`.
    ///
    /// # Errors
    /// `ENOENT` if there is no such vCPU, then as [`Self::alloc_unbound`].
    pub fn bind_ipi(&mut self, vcpu: u32) -> Result<EvtchnPort, Errno> {
        let vcpu = self.check_vcpu(vcpu)?;
        let port = self.find_free_port()?;
        self.occupy(port, PortState::Ipi, vcpu);
        Ok(port)
    }

    /// `EVTCHNOP_bind_pirq`. `count` is the number of physical interrupts of the domain and `permitted` whether it may
    /// use this one. `connect` connects the interrupt to the port that it is given; the interrupt may be raised
    /// from then on, and finds the port once this returns.
    ///
    /// # Errors
    /// `EINVAL` if `pirq` is out of range; `EPERM` if it is not permitted; `EEXIST` if it is bound already; then as
    /// [`Self::alloc_unbound`]; then what `connect` says.
    pub fn bind_pirq(
        &mut self,
        pirq: u32,
        count: u32,
        permitted: bool,
        connect: impl FnOnce(EvtchnPort) -> Result<(), Errno>,
    ) -> Result<EvtchnPort, Errno> {
        if pirq >= count {
            return Err(Errno::EINVAL);
        }
        if !permitted {
            return Err(Errno::EPERM);
        }
        if self.pirq_port(pirq).is_some() {
            return Err(Errno::EEXIST);
        }
        let port = self.find_free_port()?;
        let index = pirq as usize;
        if index >= self.pirqs.len() {
            let missing = index + 1 - self.pirqs.len();
            self.pirqs.try_reserve(missing).map_err(|_| Errno::ENOMEM)?;
            self.pirqs.resize(index + 1, 0);
        }
        connect(port)?;
        self.occupy(port, PortState::Pirq { pirq }, 0);
        if let Some(bound) = self.pirqs.get_mut(index) {
            *bound = port;
        }
        Ok(port)
    }

    /// `EVTCHNOP_bind_vcpu`. Returns the physical interrupt whose affinity should follow, if that is what the port is
    /// bound to and the vCPU changed.
    ///
    /// # Errors
    /// `ENOENT` if there is no such vCPU; `EINVAL` if the port does not exist, belongs to the hypervisor, or is bound
    /// to something that has a vCPU for good.
    pub fn bind_vcpu(&mut self, port: EvtchnPort, vcpu: u32) -> Result<Option<u32>, Errno> {
        let vcpu = self.check_vcpu(vcpu)?;
        let channel = self.ports.get_mut(port).ok_or(Errno::EINVAL)?;
        if channel.consumer.is_some() {
            return Err(Errno::EINVAL);
        }
        let changed = channel.vcpu != vcpu;
        match channel.state {
            PortState::Virq { virq } if !virq_is_global(u32::from(virq)) => {
                return Err(Errno::EINVAL);
            }
            PortState::Virq { .. }
            | PortState::Unbound { .. }
            | PortState::Interdomain { .. }
            | PortState::Pirq { .. } => {}
            PortState::Free | PortState::Reserved | PortState::Ipi => return Err(Errno::EINVAL),
        }
        channel.vcpu = vcpu;
        match channel.state {
            PortState::Pirq { pirq } if changed => Ok(Some(pirq)),
            _ => Ok(None),
        }
    }

    /// `EVTCHNOP_set_priority`: of the port's next event.
    ///
    /// # Errors
    /// `EINVAL` if the port does not exist; `ENOSYS` in the 2-level ABI; `EACCES` if the port is not in use;
    /// `EINVAL` if there is no such priority.
    pub fn set_priority(&mut self, port: EvtchnPort, priority: u32) -> Result<(), Errno> {
        let channel = self.ports.get_mut(port).ok_or(Errno::EINVAL)?;
        if self.fifo.is_none() {
            return Err(Errno::ENOSYS);
        }
        if !channel.is_usable() {
            return Err(Errno::EACCES);
        }
        if priority > EVTCHN_FIFO_PRIORITY_MIN {
            return Err(Errno::EINVAL);
        }
        channel.priority = priority as u8;
        Ok(())
    }

    /// `EVTCHNOP_init_control`: gives a vCPU its control block, at `offset` of the page that `map` maps. The first one
    /// switches the domain to the FIFO ABI. Returns `link_bits`.
    ///
    /// # Errors
    /// `ENOENT` if there is no such vCPU; `EINVAL` for a misplaced `offset`; `ENOMEM`; `EINVAL` if the vCPU has a
    /// control block; then what `map` says. A failure leaves the ABI as it was (XSA-342: no half-made FIFO state).
    pub fn init_control(
        &mut self,
        vcpu: u32,
        offset: u32,
        memory: &impl DomainMemory,
        map: impl FnOnce() -> Result<P, Errno>,
    ) -> Result<u8, Errno> {
        self.check_vcpu(vcpu)?;
        let offset = offset as usize;
        if offset > 4096 - size_of::<FifoControlBlock>() || !offset.is_multiple_of(8) {
            return Err(Errno::EINVAL);
        }
        match &mut self.fifo {
            Some(fifo) => {
                if fifo.has_control(vcpu) {
                    return Err(Errno::EINVAL);
                }
                fifo.set_control(vcpu, map()?, offset);
            }
            None => {
                let mut fifo = Fifo::new(self.vcpus.len())?;
                fifo.set_control(vcpu, map()?, offset);
                // What is pending now is raised when its event word comes into being.
                for port in 1..self.ports.len().min(two_level::PORTS) {
                    if let Some(channel) = self.ports.get_mut(port) {
                        channel.pending |= two_level::is_pending(memory, port);
                        channel.priority = EVTCHN_FIFO_PRIORITY_DEFAULT as u8;
                    }
                }
                self.fifo = Some(fifo);
            }
        }
        Ok(EVTCHN_FIFO_LINK_BITS as u8)
    }

    /// `EVTCHNOP_expand_array`: appends the page that `map` maps to the event array. Events that waited for
    /// it are raised; `deliver` gets each one's delivery.
    ///
    /// # Errors
    /// `EOPNOTSUPP` in the 2-level ABI; `ENOSPC` if the array is complete; then what `map` says.
    pub fn expand_array(
        &mut self,
        memory: &impl DomainMemory,
        map: impl FnOnce() -> Result<P, Errno>,
        mut deliver: impl FnMut(&mut Self, Delivery),
    ) -> Result<(), Errno> {
        let fifo = self.fifo.as_mut().ok_or(Errno::EOPNOTSUPP)?;
        if fifo.is_full() {
            return Err(Errno::ENOSPC);
        }
        let first = fifo.words();
        fifo.push_page(map()?);
        for port in first..first + WORDS_PER_PAGE {
            let Some(channel) = self.ports.get_mut(port) else {
                break;
            };
            if core::mem::take(&mut channel.pending) {
                let delivery = self.raise(port, memory);
                if delivery != Delivery::default() {
                    deliver(self, delivery);
                }
            }
        }
        Ok(())
    }
}
