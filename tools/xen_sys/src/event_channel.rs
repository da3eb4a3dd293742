//! `/dev/xen/evtchn`: event channels of this process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags};
use xen_abi::{DomId, EvtchnPort};

use crate::error::DeviceError;
use crate::ioctl::{call, opcode, open};

const EVTCHN: &str = "/dev/xen/evtchn";

/// The event channels of one open device, which closes them when dropped. Reading never waits: poll the descriptor.
///
/// A port that was given by [`EventChannelDevice::pending`] stays masked until [`EventChannelDevice::unmask`].
#[derive(Debug)]
pub struct EventChannelDevice {
    device: OwnedFd,
}

impl EventChannelDevice {
    /// Opens the device.
    ///
    /// # Errors
    ///
    /// `ENOENT` outside Xen, `EACCES` without the right.
    pub fn open() -> Result<Self, DeviceError> {
        let device = open(EVTCHN, OFlags::NONBLOCK)?;
        Ok(Self { device })
    }

    /// The device that another program opened, and left to this one with its event channels.
    pub fn from_fd(device: OwnedFd) -> Self {
        Self { device }
    }

    /// Whether the descriptor, and so the event channels, survive `exec`. They do not at first.
    ///
    /// # Errors
    ///
    /// Those of `fcntl`.
    pub fn set_inheritable(&self, inheritable: bool) -> std::io::Result<()> {
        let flags = if inheritable {
            FdFlags::empty()
        } else {
            FdFlags::CLOEXEC
        };
        Ok(rustix::io::fcntl_setfd(&self.device, flags)?)
    }

    /// A call whose argument is words; gives the kernel's return value.
    fn call<const N: usize>(
        &self,
        operation: &'static str,
        number: u8,
        mut argument: [u32; N],
    ) -> Result<u32, DeviceError> {
        let opcode = opcode(b'E', number, N * 4);
        // SAFETY: these calls read words, as many as their opcode has, and touch no memory of this process.
        let result = unsafe { call(&self.device, opcode, &mut argument) };
        result
            .map(i32::cast_unsigned)
            .map_err(|errno| DeviceError::new(EVTCHN, operation, errno))
    }

    /// Binds a port to another domain's port that waits for it; gives the port here. It is pending once at once.
    ///
    /// # Errors
    ///
    /// `ESRCH` for no such domain, `EINVAL` if the remote port does not wait for this domain, `ENOSPC`, `ENOMEM`.
    pub fn bind_interdomain(
        &self,
        domain: DomId,
        remote_port: EvtchnPort,
    ) -> Result<EvtchnPort, DeviceError> {
        self.call("bind interdomain", 1, [u32::from(domain), remote_port])
    }

    /// Makes a port that waits for `domain` to bind to it.
    ///
    /// # Errors
    ///
    /// `ESRCH` for no such domain, `ENOSPC`, `ENOMEM`.
    pub fn bind_unbound(&self, domain: DomId) -> Result<EvtchnPort, DeviceError> {
        self.call("bind unbound", 2, [u32::from(domain)])
    }

    /// Binds a port to a virtual interrupt (`VIRQ_*`).
    ///
    /// # Errors
    ///
    /// `EEXIST` if another holds it, `EINVAL` for no such interrupt.
    pub fn bind_virq(&self, virq: u32) -> Result<EvtchnPort, DeviceError> {
        self.call("bind virq", 0, [virq])
    }

    /// Closes a port.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` if it is not of this device.
    pub fn unbind(&self, port: EvtchnPort) -> Result<(), DeviceError> {
        self.call("unbind", 3, [port]).map(drop)
    }

    /// Sends an event through a port.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` if it is not of this device.
    pub fn notify(&self, port: EvtchnPort) -> Result<(), DeviceError> {
        self.call("notify", 4, [port]).map(drop)
    }

    /// Adds the ports that are pending to `ports`, as many as one read gives (at most 256). Each is masked. With further
    /// ones the descriptor stays readable, of which those who wait for changes (edges) are not told: they read until
    /// nothing comes.
    ///
    /// # Errors
    ///
    /// Those of the read. An overflow of the kernel's list is dealt with: the list is emptied and `EFBIG` given,
    /// upon which all ports have to be looked at, and unmasked.
    pub fn pending(&self, ports: &mut Vec<EvtchnPort>) -> Result<(), DeviceError> {
        let mut bytes = [0; 1024];
        match rustix::io::read(&self.device, &mut bytes) {
            Ok(length) => {
                let (words, _) = bytes[..length.min(1024)].as_chunks::<4>();
                ports.extend(words.iter().map(|word| u32::from_ne_bytes(*word)));
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(errno) => {
                if errno == Errno::FBIG {
                    self.call::<0>("reset", 5, [])?;
                }
                Err(DeviceError::new(EVTCHN, "read", errno))
            }
        }
    }

    /// One port that is pending, if any; it is masked.
    ///
    /// # Errors
    ///
    /// As for [`EventChannelDevice::pending`].
    pub fn next_pending(&self) -> Result<Option<EvtchnPort>, DeviceError> {
        let mut bytes = [0; 4];
        match rustix::io::read(&self.device, &mut bytes) {
            Ok(4) => Ok(Some(u32::from_ne_bytes(bytes))),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(DeviceError::new(EVTCHN, "read", errno)),
        }
    }

    /// Lets ports become pending again.
    ///
    /// # Errors
    ///
    /// Those of the write.
    pub fn unmask(&self, ports: &[EvtchnPort]) -> Result<(), DeviceError> {
        // The kernel takes at most a page at once.
        for ports in ports.chunks(1024) {
            let bytes: &[u8] = zerocopy::IntoBytes::as_bytes(ports);
            rustix::io::write(&self.device, bytes)
                .map_err(|errno| DeviceError::new(EVTCHN, "unmask", errno))?;
        }
        Ok(())
    }
}

impl AsFd for EventChannelDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl std::os::fd::AsRawFd for EventChannelDevice {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.device.as_raw_fd()
    }
}
