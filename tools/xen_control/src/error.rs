//! [`ControlError`]: what was refused, to whom, and what that means.

use std::fmt;

use xen_abi::{DomId, Errno};
use xen_sys::DeviceError;

/// A call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlError {
    /// What was wanted, as an infinitive.
    pub operation: &'static str,
    /// Of which domain, if of one.
    pub domain: Option<DomId>,
    /// The number that came back.
    pub errno: Errno,
}

impl ControlError {
    pub(crate) fn new(operation: &'static str, domain: Option<DomId>, errno: Errno) -> Self {
        Self {
            operation,
            domain,
            errno,
        }
    }

    pub(crate) fn device(
        operation: &'static str,
        domain: Option<DomId>,
        error: &DeviceError,
    ) -> Self {
        Self::new(operation, domain, Errno(error.raw_os_error()))
    }

    /// Whether the domain does not exist (any more).
    pub fn is_no_domain(&self) -> bool {
        self.errno == Errno::ESRCH
    }

    /// What the number means here, in words.
    fn meaning(&self) -> &'static str {
        match self.errno {
            Errno::EPERM => "not allowed; this needs domain 0's rights",
            Errno::ESRCH => "there is no such domain",
            Errno::ENOENT => "it does not exist",
            Errno::ENOMEM => "there is not enough free memory",
            Errno::EACCES => "the hypervisor speaks another version of this interface",
            Errno::EFAULT => "the hypervisor could not reach the argument",
            Errno::EBUSY => "it is in use",
            Errno::EEXIST => "it exists already",
            Errno::EINVAL => "the hypervisor does not accept the values",
            Errno::ENOSYS | Errno::EOPNOTSUPP => "this hypervisor cannot do that",
            Errno::ENOSPC => "a limit is reached",
            Errno::E2BIG => "it is too large",
            Errno::EAGAIN | Errno::ERESTART => "it is not possible at this moment",
            _ => "it failed",
        }
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation, errno, ..
        } = self;
        match self.domain {
            Some(domain) => write!(f, "domain {domain}: cannot {operation}")?,
            None => write!(f, "cannot {operation}")?,
        }
        write!(f, ": {} ({errno})", self.meaning())
    }
}

impl std::error::Error for ControlError {}

#[cfg(test)]
mod tests {
    use super::{ControlError, Errno};

    #[test]
    fn text() {
        let error = ControlError::new("pause it", Some(5), Errno::ESRCH);
        assert_eq!(
            error.to_string(),
            "domain 5: cannot pause it: there is no such domain (ESRCH)"
        );
        let error = ControlError::new("read the machine's state", None, Errno(77));
        assert_eq!(
            error.to_string(),
            "cannot read the machine's state: it failed (errno 77)"
        );
    }
}
