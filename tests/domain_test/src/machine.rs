//! What of the machine is in use, to be compared.

use std::fmt;

use xen_control::Control;

use crate::Outcome;

/// What is in use at a moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leftovers {
    free_pages: u64,
    claimed_pages: u64,
    domains: usize,
}

impl Leftovers {
    /// What is in use now.
    pub(crate) fn of(control: &Control) -> Outcome<Self> {
        let machine = control.machine()?;
        Ok(Self {
            free_pages: machine.info.free_pages,
            claimed_pages: machine.info.outstanding_pages,
            domains: control.domains()?.len(),
        })
    }

    /// Fails unless as much is in use now.
    pub(crate) fn compare(&self, control: &Control) -> Outcome {
        let now = Self::of(control)?;
        if *self == now {
            Ok(())
        } else {
            Err(format!("left behind: {self} before, {now} now").into())
        }
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pages free, {} claimed, {} domains",
            self.free_pages, self.claimed_pages, self.domains
        )
    }
}
