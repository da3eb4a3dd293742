//! What a device answered.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// A device refused an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DeviceError {
    /// The device's path.
    pub device: &'static str,
    /// What was wanted of it.
    pub operation: &'static str,
    pub(crate) errno: Errno,
}

impl DeviceError {
    pub(crate) fn new(device: &'static str, operation: &'static str, errno: Errno) -> Self {
        Self {
            device,
            operation,
            errno,
        }
    }

    /// The kernel's error number, positive.
    pub fn raw_os_error(&self) -> i32 {
        self.errno.raw_os_error()
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.device, self.operation, self.errno)
    }
}

impl fmt::Debug for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for DeviceError {}

impl From<DeviceError> for io::Error {
    fn from(error: DeviceError) -> Self {
        Self::new(io::Error::from(error.errno).kind(), error)
    }
}
