//! `EVTCHNOP_reset`: closes all ports of a domain and returns it to the 2-level ABI; and the same at its end.
//!
//! A domain can have 131072 ports, so the caller closes them one by one and may stop in between. How far
//! it came is kept here, not in the call's registers: a guest that forges a continuation only goes on with a reset
//! that it began (XSA-344). Ports that are bound meanwhile make the reset fail at its end, instead of being lost
//! with the pages of the FIFO ABI (XSA-343).

use xen_abi::EvtchnPort;
use xen_abi::errno::Errno;

use crate::fifo::Fifo;
use crate::table::EventChannels;
use shared_page::SharedPage;

impl<P: SharedPage> EventChannels<P> {
    /// Begins a reset, or checks that one is under way if the call is a continuation.
    ///
    /// # Errors
    /// `EBUSY` if a reset is under way and this is not its continuation, or the reverse.
    pub fn reset_begin(&mut self, continued: bool) -> Result<(), Errno> {
        if self.resetting.is_some() != continued {
            return Err(Errno::EBUSY);
        }
        if !continued {
            self.resetting = Some(1);
        }
        Ok(())
    }

    /// The next port for [`Self::close`], whose error then means nothing; `None` when all have been tried.
    pub fn reset_next(&mut self) -> Option<EvtchnPort> {
        let valid = self.valid_ports();
        let nothing_left = self.active <= self.active_for_hypervisor;
        let next = self.resetting.as_mut()?;
        if nothing_left || *next >= valid {
            return None;
        }
        let port = *next;
        *next += 1;
        Some(port)
    }

    /// Ends the reset: the domain uses the 2-level ABI again. Returns the FIFO ABI's pages, to be unmapped after the
    /// lock is released.
    ///
    /// # Errors
    /// `EAGAIN` if ports were bound during the reset.
    pub fn reset_end(&mut self) -> Result<Option<Fifo<P>>, Errno> {
        self.resetting = None;
        if self.active > self.active_for_hypervisor {
            return Err(Errno::EAGAIN);
        }
        Ok(self.fifo.take())
    }

    /// Takes the FIFO ABI's pages of a dying domain, all of whose ports have been closed.
    pub fn take_fifo(&mut self) -> Option<Fifo<P>> {
        self.fifo.take()
    }

    /// Number of ports in use, the hypervisor's among them.
    pub fn active_ports(&self) -> u32 {
        self.active
    }
}
