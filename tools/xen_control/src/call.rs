//! [`Control`]: the devices, and how an argument goes out and comes back.

use std::fmt::Debug;

use xen_abi::domctl::{self, Domctl, DomctlUnion};
use xen_abi::sysctl::{self, Sysctl, SysctlUnion};
use xen_abi::{DomId, Errno, hypercall};
use xen_sys::{HypercallBuffer, Privcmd};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::error::ControlError;

/// Access to the hypervisor.
#[derive(Clone, Debug)]
pub struct Control {
    pub(crate) privcmd: Privcmd,
}

/// What a call is about, for its error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) operation: &'static str,
    pub(crate) domain: Option<DomId>,
}

impl About {
    pub(crate) fn machine(operation: &'static str) -> Self {
        Self {
            operation,
            domain: None,
        }
    }

    pub(crate) fn domain(operation: &'static str, domain: DomId) -> Self {
        Self {
            operation,
            domain: Some(domain),
        }
    }

    pub(crate) fn error(self, errno: Errno) -> ControlError {
        ControlError::new(self.operation, self.domain, errno)
    }

    pub(crate) fn device(self, error: &xen_sys::DeviceError) -> ControlError {
        ControlError::device(self.operation, self.domain, error)
    }
}

impl Control {
    /// Opens the devices.
    ///
    /// # Errors
    ///
    /// `ENOENT` where there is no Xen, `EACCES` or `EPERM` without the right.
    pub fn open() -> Result<Self, ControlError> {
        let privcmd = Privcmd::open().map_err(|error| {
            ControlError::device("open the hypervisor's devices (/dev/xen)", None, &error)
        })?;
        Ok(Self { privcmd })
    }

    /// The devices themselves.
    pub fn privcmd(&self) -> &Privcmd {
        &self.privcmd
    }

    pub(crate) fn call(
        &self,
        about: About,
        number: u32,
        arguments: [u64; 5],
    ) -> Result<i64, ControlError> {
        self.privcmd
            .hypercall(number, arguments)
            .map_err(|errno| about.error(errno))
    }

    pub(crate) fn buffer<T: FromBytes + IntoBytes + Immutable>(
        &self,
        about: About,
        value: &T,
    ) -> Result<HypercallBuffer<T>, ControlError> {
        self.privcmd
            .buffer(value)
            .map_err(|error| about.device(&error))
    }

    pub(crate) fn buffer_of<T: FromBytes + IntoBytes + Immutable>(
        &self,
        about: About,
        values: &[T],
    ) -> Result<HypercallBuffer<T>, ControlError> {
        self.privcmd
            .buffer_of(values)
            .map_err(|error| about.device(&error))
    }

    pub(crate) fn zeroed<T: FromBytes + IntoBytes + Immutable>(
        &self,
        about: About,
        length: usize,
    ) -> Result<HypercallBuffer<T>, ControlError> {
        self.privcmd
            .zeroed_buffer(length)
            .map_err(|error| about.device(&error))
    }

    /// A domctl; gives the argument as it came back, and the domain that it names then.
    pub(crate) fn domctl<T: IntoBytes + Immutable>(
        &self,
        about: About,
        command: u32,
        argument: T,
    ) -> Result<Domctl, ControlError> {
        let argument = Domctl {
            cmd: command,
            interface_version: domctl::INTERFACE_VERSION,
            domain: about.domain.unwrap_or(0),
            u: DomctlUnion::new(argument),
            ..Domctl::new_zeroed()
        };
        let buffer = self.buffer(about, &argument)?;
        self.call(about, hypercall::DOMCTL, [buffer.address(), 0, 0, 0, 0])?;
        Ok(buffer.get(0))
    }

    /// A sysctl; gives the argument as it came back.
    pub(crate) fn sysctl<T: IntoBytes + Immutable>(
        &self,
        about: About,
        command: u32,
        argument: T,
    ) -> Result<SysctlUnion, ControlError> {
        let argument = Sysctl {
            cmd: command,
            interface_version: sysctl::INTERFACE_VERSION,
            u: SysctlUnion::new(argument),
        };
        let buffer = self.buffer(about, &argument)?;
        self.call(about, hypercall::SYSCTL, [buffer.address(), 0, 0, 0, 0])?;
        Ok(buffer.get(0).u)
    }

    /// An operation with a structure as its argument; gives the result and the structure as it came back.
    pub(crate) fn operation<T: FromBytes + IntoBytes + Immutable + Debug>(
        &self,
        about: About,
        number: u32,
        operation: u32,
        argument: &T,
    ) -> Result<(i64, T), ControlError> {
        let buffer = self.buffer(about, argument)?;
        let result = self.call(
            about,
            number,
            [u64::from(operation), buffer.address(), 0, 0, 0],
        )?;
        Ok((result, buffer.get(0)))
    }
}
