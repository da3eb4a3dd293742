//! Xen, through the kernel's devices.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use xen_abi::domctl::{
    Domctl, DomctlUnion, INTERFACE_VERSION, XEN_DOMINF_DYING, XEN_DOMINF_SHUTDOWN,
};
use xen_abi::{DomId, Errno, EvtchnPort, domctl, hypercall, virq};
use xen_sys::{EventChannelDevice, GrantDevice, Privcmd, SharedPages};
use xenstore_core::Host;

use super::{DomainState, Machine, Signal};

/// The grant that every domain's builder makes for its ring (`GNTTAB_RESERVED_XENSTORE`).
const RING_GRANT: u32 = xen_abi::grant_table::GNTTAB_RESERVED_XENSTORE;

/// Xen's devices, opened.
#[derive(Debug)]
pub struct Xen {
    privcmd: Privcmd,
    grants: Option<GrantDevice>,
    events: EventChannelDevice,
    /// The port of `VIRQ_DOM_EXC`.
    changes: EvtchnPort,
    ports: Vec<EvtchnPort>,
}

impl Xen {
    /// Opens the devices, and asks to be told of domains that end.
    ///
    /// # Errors
    ///
    /// The devices'; `EEXIST` if another xenstored is told already.
    pub fn open() -> io::Result<Self> {
        let privcmd = Privcmd::open()?;
        let events = EventChannelDevice::open()?;
        let changes = events.bind_virq(virq::DOM_EXC)?;
        Ok(Self {
            privcmd,
            // Without it rings are mapped as foreign pages.
            grants: GrantDevice::open().ok(),
            events,
            changes,
            ports: Vec::new(),
        })
    }

    /// The flags of `XEN_DOMCTL_getdomaininfo`; `None` if there is no such domain.
    fn flags(&self, domain: DomId) -> Result<Option<u32>, Errno> {
        let call = Domctl {
            cmd: domctl::GETDOMAININFO,
            interface_version: INTERFACE_VERSION,
            domain,
            _pad: [0; 3],
            u: DomctlUnion::ZERO,
        };
        let buffer = self
            .privcmd
            .buffer(&call)
            .map_err(|error| Errno(error.raw_os_error()))?;
        match self
            .privcmd
            .hypercall(hypercall::DOMCTL, [buffer.address(), 0, 0, 0, 0])
        {
            // The hypervisor answers with the next domain where there is none of this number.
            Ok(_) => {
                let info = buffer.get(0).u.getdomaininfo();
                Ok((info.domain == domain).then_some(info.flags))
            }
            Err(Errno::ESRCH) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn state(&self, domain: DomId) -> DomainState {
        match self.flags(domain) {
            Ok(None) => DomainState::Gone,
            Ok(Some(flags)) if flags & XEN_DOMINF_DYING != 0 => DomainState::Gone,
            Ok(Some(flags)) if flags & XEN_DOMINF_SHUTDOWN != 0 => DomainState::ShutDown,
            // Who cannot be asked about is not declared dead.
            Ok(Some(_)) | Err(_) => DomainState::Alive,
        }
    }
}

impl Host for Xen {
    fn domain_exists(&self, domain: DomId) -> bool {
        self.state(domain) != DomainState::Gone
    }
}

impl Machine for Xen {
    fn descriptor(&self) -> RawFd {
        self.events.as_raw_fd()
    }

    fn signals(&mut self, signals: &mut Vec<Signal>) -> io::Result<()> {
        self.ports.clear();
        // Until there is no more: the kernel wakes only who had read everything, so what comes while a read is under
        // way would be waited for for ever.
        loop {
            let before = self.ports.len();
            if let Err(error) = self.events.pending(&mut self.ports) {
                if error.raw_os_error() == overflow() {
                    signals.push(Signal::Everything);
                    return Ok(());
                }
                return Err(error.into());
            }
            if self.ports.len() == before {
                break;
            }
        }
        if self.ports.is_empty() {
            return Ok(());
        }
        // Before the rings are looked at: what happens after that is a new event.
        self.events.unmask(&self.ports)?;
        signals.extend(self.ports.iter().map(|port| {
            if *port == self.changes {
                Signal::DomainChanged
            } else {
                Signal::Port(*port)
            }
        }));
        Ok(())
    }

    fn map_ring(&mut self, domain: DomId, frame: u64) -> io::Result<SharedPages> {
        if let Some(grants) = &self.grants
            && let Ok(page) = grants.map(domain, &[RING_GRANT], true)
        {
            return Ok(page);
        }
        Ok(self.privcmd.map_foreign_page(domain, frame, true)?)
    }

    fn bind(&mut self, domain: DomId, remote: EvtchnPort) -> io::Result<EvtchnPort> {
        Ok(self.events.bind_interdomain(domain, remote)?)
    }

    fn unbind(&mut self, port: EvtchnPort) {
        // It has gone with its domain, if not with this.
        let _ = self.events.unbind(port);
    }

    fn notify(&mut self, port: EvtchnPort) -> io::Result<()> {
        Ok(self.events.notify(port)?)
    }

    fn own_kernel(&mut self) -> io::Result<(SharedPages, EvtchnPort)> {
        Ok((xen_sys::xenstored_page()?, xen_sys::xenstored_port()?))
    }

    fn states(&self, domains: &[DomId]) -> Vec<DomainState> {
        domains.iter().map(|domain| self.state(*domain)).collect()
    }
}

/// `EFBIG`: the kernel's list of events overflowed.
fn overflow() -> i32 {
    rustix::io::Errno::FBIG.raw_os_error()
}
