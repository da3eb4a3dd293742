//! `SCHEDOP_poll`: a vCPU that sleeps until one of some ports is pending.
//!
//! A vCPU that polls one port is woken by that port only; one that polls several, by any. Spurious wake-ups are
//! part of the interface.

use xen_abi::EvtchnPort;
use xen_abi::errno::Errno;

use crate::memory::DomainMemory;
use crate::table::EventChannels;
use shared_page::SharedPage;

/// What a vCPU polls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Polling {
    No,
    One(EvtchnPort),
    Any,
}

/// Answer to a poll.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Poll {
    /// One of the ports is pending: go on.
    Ready,
    /// The vCPU is noted as a poller. Block it before the lock is released, or it may miss its event.
    Wait,
}

impl<P: SharedPage> EventChannels<P> {
    /// Looks whether one of `ports` is pending, and notes `vcpu` as polling them if none is.
    ///
    /// # Errors
    /// `EINVAL` if a port does not exist that comes before the first pending one.
    pub fn poll(
        &mut self,
        vcpu: u32,
        ports: &[EvtchnPort],
        memory: &impl DomainMemory,
    ) -> Result<Poll, Errno> {
        for port in ports {
            if *port >= self.valid_ports() {
                return Err(Errno::EINVAL);
            }
            if self.is_pending(*port, memory) {
                return Ok(Poll::Ready);
            }
        }
        let polling = match ports {
            [port] => Polling::One(*port),
            _ => Polling::Any,
        };
        self.set_polling(vcpu, polling);
        Ok(Poll::Wait)
    }

    /// Takes a vCPU that polls `port` off the list of pollers, to be unblocked; `None` when there is none.
    pub fn take_poller(&mut self, port: EvtchnPort) -> Option<u32> {
        if self.pollers == 0 {
            return None;
        }
        let vcpu = self.vcpus.iter().position(|vcpu| match vcpu.polling {
            Polling::No => false,
            Polling::One(polled) => polled == port,
            Polling::Any => true,
        })?;
        let vcpu = vcpu as u32;
        self.set_polling(vcpu, Polling::No);
        Some(vcpu)
    }

    /// Forgets that a vCPU polls: it was woken by something else.
    pub fn end_poll(&mut self, vcpu: u32) {
        self.set_polling(vcpu, Polling::No);
    }

    /// vCPUs that poll, for a person's eyes.
    pub fn pollers(&self) -> impl Iterator<Item = u32> {
        (0..)
            .zip(&self.vcpus)
            .filter(|(_, vcpu)| vcpu.polling != Polling::No)
            .map(|(number, _)| number)
    }

    fn set_polling(&mut self, vcpu: u32, polling: Polling) {
        let Some(vcpu) = self.vcpus.get_mut(vcpu as usize) else {
            return;
        };
        let before = core::mem::replace(&mut vcpu.polling, polling);
        self.pollers =
            self.pollers + u32::from(polling != Polling::No) - u32::from(before != Polling::No);
    }
}
