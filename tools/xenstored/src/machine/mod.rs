//! What the daemon needs of the machine below: other domains' rings, event channels, and who is still there.
//!
//! Two of them: Xen's devices, and a directory that stands for a machine, for tests and measurements without Xen.

mod simulated;
mod xen;

use std::io;
use std::os::fd::RawFd;

use xen_abi::{DomId, EvtchnPort};
use xen_sys::SharedPages;
use xenstore_core::Host;

pub use simulated::{Simulated, SimulatedDomain};
pub use xen::Xen;

/// What became of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainState {
    /// It runs, or could.
    Alive,
    /// It shut down or crashed.
    ShutDown,
    /// It is dying, or gone.
    Gone,
}

/// Something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// An event on a local port.
    Port(EvtchnPort),
    /// Some domain changed its state.
    DomainChanged,
    /// Events were lost: look everywhere.
    Everything,
}

/// The machine below.
pub trait Machine: Host {
    /// The descriptor that is readable when there are signals.
    fn descriptor(&self) -> RawFd;

    /// Adds the signals that are there; they may come again from now on.
    ///
    /// # Errors
    ///
    /// The device's.
    fn signals(&mut self, signals: &mut Vec<Signal>) -> io::Result<()>;

    /// Maps the page with a domain's rings: the one that it granted for this, or the frame.
    ///
    /// # Errors
    ///
    /// That the domain, or the page, is not there.
    fn map_ring(&mut self, domain: DomId, frame: u64) -> io::Result<SharedPages>;

    /// Binds a local port to a domain's.
    ///
    /// # Errors
    ///
    /// That the domain, or the port, is not there, or does not wait for this one.
    fn bind(&mut self, domain: DomId, remote: EvtchnPort) -> io::Result<EvtchnPort>;

    /// Closes a local port.
    fn unbind(&mut self, port: EvtchnPort);

    /// Sends an event through a local port.
    ///
    /// # Errors
    ///
    /// The device's.
    fn notify(&mut self, port: EvtchnPort) -> io::Result<()>;

    /// The page and the remote port of domain 0's own kernel, if it has them.
    ///
    /// # Errors
    ///
    /// That there are none.
    fn own_kernel(&mut self) -> io::Result<(SharedPages, EvtchnPort)>;

    /// What became of each of these domains.
    fn states(&self, domains: &[DomId]) -> Vec<DomainState>;
}
