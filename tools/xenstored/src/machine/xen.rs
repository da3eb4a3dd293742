//! Xen, through the kernel's devices.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use xen_abi::{DomId, EvtchnPort, virq};
use xen_control::{Control, DomainInfo};
use xen_sys::{EventChannelDevice, GrantDevice, SharedPages};
use xenstore_core::Host;

use super::{DomainState, Machine, Signal};

/// The grant that every domain's builder makes for its ring (`GNTTAB_RESERVED_XENSTORE`).
const RING_GRANT: u32 = xen_abi::grant_table::GNTTAB_RESERVED_XENSTORE;

/// Xen's devices, opened.
#[derive(Debug)]
pub struct Xen {
    control: Control,
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
        let control = Control::open().map_err(io::Error::other)?;
        let events = EventChannelDevice::open()?;
        let changes = events.bind_virq(virq::DOM_EXC)?;
        Ok(Self {
            control,
            // Without it rings are mapped as foreign pages.
            grants: GrantDevice::open().ok(),
            events,
            changes,
            ports: Vec::new(),
        })
    }
}

fn state(info: &DomainInfo) -> DomainState {
    if info.is_dying {
        DomainState::Gone
    } else if info.shutdown.is_some() {
        DomainState::ShutDown
    } else {
        DomainState::Alive
    }
}

impl Host for Xen {
    fn domain_exists(&self, domain: DomId) -> bool {
        match self.control.domain_info(domain) {
            Ok(info) => info.is_some_and(|info| state(&info) != DomainState::Gone),
            // Who cannot be asked about is not declared dead.
            Err(_) => true,
        }
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
        Ok(self
            .control
            .privcmd()
            .map_foreign_page(domain, frame, true)?)
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
        // All at once: to ask for each takes longer the more there are, whenever one of them ends.
        let Ok(all) = self.control.domains() else {
            return vec![DomainState::Alive; domains.len()];
        };
        let find = |domain: &DomId| {
            let index = all.binary_search_by_key(domain, |info| info.domain).ok()?;
            all.get(index).map(state)
        };
        domains
            .iter()
            .map(|domain| find(domain).unwrap_or(DomainState::Gone))
            .collect()
    }
}

/// `EFBIG`: the kernel's list of events overflowed.
fn overflow() -> i32 {
    rustix::io::Errno::FBIG.raw_os_error()
}
