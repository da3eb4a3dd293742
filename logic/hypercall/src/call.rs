//! A call's registers, and what can come of a call.

use core::fmt;

use xen_abi::errno::Errno;

/// The registers of a hypercall: its number (rax) and arguments (rdi, rsi, rdx, r10, r8, r9).
///
/// A preempted call is again a `CallFrame`: its progress is encoded into its own arguments, so that a
/// guest that restarts it, migrates, or is looked at in between sees nothing but a call to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CallFrame {
    /// The call's number.
    pub nr: u64,
    /// The arguments, in the order of the ABI.
    pub args: [u64; 6],
}

impl CallFrame {
    /// A call with these arguments.
    pub const fn new(nr: u64, args: [u64; 6]) -> Self {
        Self { nr, args }
    }

    /// The same call with another value of the argument at `index`; an index past the last changes nothing.
    #[must_use]
    pub fn with_arg(mut self, index: usize, value: u64) -> Self {
        if let Some(arg) = self.args.get_mut(index) {
            *arg = value;
        }
        self
    }
}

/// What came of a hypercall. Applied in one place, which alone touches the guest's result registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The call is over; this goes to rax.
    Done(i64),
    /// The budget is spent. The guest is set back to the instruction of the call, with these registers.
    Preempt(CallFrame),
    /// The call is over with result 0, and the vCPU leaves the processor until an event wakes it.
    Block,
    /// The domain has done what no domain may survive.
    Crash(CrashReason),
}

impl Outcome {
    /// The call is over without error.
    pub const SUCCESS: Self = Self::Done(0);

    /// The call is over with `-errno`.
    pub const fn error(errno: Errno) -> Self {
        // Errno is a small positive number: the negation cannot overflow.
        Self::Done(-(errno.0 as i64))
    }
}

impl From<Errno> for Outcome {
    fn from(errno: Errno) -> Self {
        Self::error(errno)
    }
}

impl From<Result<(), Errno>> for Outcome {
    fn from(result: Result<(), Errno>) -> Self {
        match result {
            Ok(()) => Self::SUCCESS,
            Err(errno) => Self::error(errno),
        }
    }
}

impl From<Result<i64, Errno>> for Outcome {
    fn from(result: Result<i64, Errno>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(errno) => Self::error(errno),
        }
    }
}

impl From<CrashReason> for Outcome {
    fn from(reason: CrashReason) -> Self {
        Self::Crash(reason)
    }
}

/// Why a domain is crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashReason {
    /// The iret call's frame cannot be read.
    UnreadableReturnFrame,
    /// The stack frame of an exception, event or callback cannot be written.
    UnwritableTrapFrame,
    /// An exception happened for which the guest registered no handler.
    NoTrapHandler(u8),
    /// The guest's return frame faulted and no failsafe callback is registered.
    NoFailsafeCallback,
    /// A user program made a system call and no syscall callback is registered.
    NoSyscallCallback,
    /// The guest switched to user mode without a page table for it.
    NoUserPageTable,
    /// A page table that was valid cannot be loaded.
    BadPageTable,
    /// A preempted call's registers are not what the hypervisor put there.
    BadContinuation,
    /// A double fault or machine check hit while the guest was running.
    HostFault(u8),
    /// The guest asked for it (`SHUTDOWN_crash`).
    Requested,
    /// Anything else, in words.
    Other(&'static str),
}

impl fmt::Display for CrashReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnreadableReturnFrame => f.write_str("iret: the return frame cannot be read"),
            Self::UnwritableTrapFrame => f.write_str("a trap frame cannot be written to its stack"),
            Self::NoTrapHandler(vector) => write!(f, "exception {vector} without a handler"),
            Self::NoFailsafeCallback => f.write_str("bad return frame without a failsafe callback"),
            Self::NoSyscallCallback => f.write_str("system call without a syscall callback"),
            Self::NoUserPageTable => f.write_str("switch to user mode without a user page table"),
            Self::BadPageTable => f.write_str("the page table cannot be loaded"),
            Self::BadContinuation => f.write_str("a restarted call's registers were changed"),
            Self::HostFault(vector) => write!(f, "processor fault {vector} in the guest"),
            Self::Requested => f.write_str("the guest reports a crash"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn results_become_register_values() {
        assert_eq!(Outcome::from(Ok::<(), Errno>(())), Outcome::Done(0));
        assert_eq!(Outcome::from(Ok::<i64, Errno>(7)), Outcome::Done(7));
        assert_eq!(Outcome::from(Errno::EPERM), Outcome::Done(-1));
        assert_eq!(
            Outcome::from(Err::<(), _>(Errno::ENOSYS)),
            Outcome::Done(-38)
        );
    }

    #[test]
    fn a_frame_changes_only_the_named_argument() {
        let frame = CallFrame::new(1, [1, 2, 3, 4, 5, 6]);
        assert_eq!(frame.with_arg(2, 9).args, [1, 2, 9, 4, 5, 6]);
        assert_eq!(frame.with_arg(6, 9), frame);
    }

    #[test]
    fn reasons_are_words() {
        assert_eq!(
            CrashReason::NoTrapHandler(14).to_string(),
            "exception 14 without a handler"
        );
    }
}
