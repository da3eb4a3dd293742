//! The state of domains.

use std::fmt;

use xen_abi::domctl::domain::GetDomainInfo;
use xen_abi::sysctl::GetDomainInfoList;
use xen_abi::{DomId, Errno, domctl, sched, sysctl};
use zerocopy::FromZeros;

use crate::call::{About, Control};
use crate::error::ControlError;

/// Domains asked for at once: as many as fit into a page, which is kept for the next call.
const BATCH: usize = 4096 / size_of::<GetDomainInfo>();

/// Why a domain has shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownReason {
    /// It powered off.
    PowerOff,
    /// It wants to boot again.
    Reboot,
    /// It is suspended.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog was not fed.
    Watchdog,
    /// It wants its devices' state dropped.
    SoftReset,
    /// A number that nothing knows.
    Other(u32),
}

impl ShutdownReason {
    fn from_code(code: u32) -> Self {
        match code {
            sched::SHUTDOWN_POWEROFF => Self::PowerOff,
            sched::SHUTDOWN_REBOOT => Self::Reboot,
            sched::SHUTDOWN_SUSPEND => Self::Suspend,
            sched::SHUTDOWN_CRASH => Self::Crash,
            sched::SHUTDOWN_WATCHDOG => Self::Watchdog,
            sched::SHUTDOWN_SOFT_RESET => Self::SoftReset,
            other => Self::Other(other),
        }
    }

    /// The number, `SHUTDOWN_*`.
    pub fn code(self) -> u32 {
        match self {
            Self::PowerOff => sched::SHUTDOWN_POWEROFF,
            Self::Reboot => sched::SHUTDOWN_REBOOT,
            Self::Suspend => sched::SHUTDOWN_SUSPEND,
            Self::Crash => sched::SHUTDOWN_CRASH,
            Self::Watchdog => sched::SHUTDOWN_WATCHDOG,
            Self::SoftReset => sched::SHUTDOWN_SOFT_RESET,
            Self::Other(code) => code,
        }
    }
}

impl fmt::Display for ShutdownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::PowerOff => "poweroff",
            Self::Reboot => "reboot",
            Self::Suspend => "suspend",
            Self::Crash => "crash",
            Self::Watchdog => "watchdog",
            Self::SoftReset => "soft_reset",
            Self::Other(code) => return write!(f, "{code}"),
        };
        f.pad(word)
    }
}

/// A domain's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainInfo {
    /// Its number.
    pub domain: DomId,
    /// It was destroyed, and waits for others to let go of its pages.
    pub is_dying: bool,
    /// It is paused by a control domain.
    pub is_paused: bool,
    /// None of its vCPUs can run.
    pub is_blocked: bool,
    /// One of its vCPUs runs just now.
    pub is_running: bool,
    /// Why it has shut down, if it has.
    pub shutdown: Option<ShutdownReason>,
    /// Pages that it has.
    pub pages: u64,
    /// Pages that it may have.
    pub max_pages: u64,
    /// Pages that are kept free for it.
    pub outstanding_pages: u64,
    /// Frame of its shared info page.
    pub shared_info: u64,
    /// CPU time used, in ns.
    pub cpu_time: u64,
    /// vCPUs that are up.
    pub online_vcpus: u32,
    /// vCPUs that there are.
    pub vcpus: u32,
    /// Its UUID.
    pub handle: [u8; 16],
    /// Its CPU pool.
    pub cpu_pool: u32,
}

impl DomainInfo {
    fn from_abi(info: &GetDomainInfo) -> Self {
        let flag = |bit: u32| info.flags & bit != 0;
        let reason =
            info.flags >> domctl::XEN_DOMINF_SHUTDOWNSHIFT & domctl::XEN_DOMINF_SHUTDOWNMASK;
        Self {
            domain: info.domain,
            is_dying: flag(domctl::XEN_DOMINF_DYING),
            is_paused: flag(domctl::XEN_DOMINF_PAUSED),
            is_blocked: flag(domctl::XEN_DOMINF_BLOCKED),
            is_running: flag(domctl::XEN_DOMINF_RUNNING),
            shutdown: flag(domctl::XEN_DOMINF_SHUTDOWN).then(|| ShutdownReason::from_code(reason)),
            pages: info.tot_pages,
            max_pages: info.max_pages,
            outstanding_pages: info.outstanding_pages,
            shared_info: info.shared_info_frame,
            cpu_time: info.cpu_time,
            online_vcpus: info.nr_online_vcpus,
            vcpus: match info.max_vcpu_id {
                domctl::XEN_INVALID_MAX_VCPU_ID => 0,
                highest => highest.saturating_add(1),
            },
            handle: info.handle,
            cpu_pool: info.cpupool,
        }
    }

    /// The six letters of `xl list`.
    pub fn state_letters(&self) -> String {
        let crashed = self.shutdown == Some(ShutdownReason::Crash);
        [
            (self.is_running, 'r'),
            (self.is_blocked, 'b'),
            (self.is_paused, 'p'),
            (self.shutdown.is_some(), 's'),
            (crashed, 'c'),
            (self.is_dying, 'd'),
        ]
        .iter()
        .map(|&(is, letter)| if is { letter } else { '-' })
        .collect()
    }
}

impl Control {
    /// A domain's state; `None` if there is none of this number.
    pub fn domain_info(&self, domain: DomId) -> Result<Option<DomainInfo>, ControlError> {
        let about = About::domain("read its state", domain);
        match self.domctl(about, domctl::GETDOMAININFO, [0_u64; 0]) {
            Ok(done) => {
                let info = DomainInfo::from_abi(&done.u.getdomaininfo());
                // Some versions give the next domain instead of an error.
                Ok((info.domain == domain).then_some(info))
            }
            Err(error) if error.errno == Errno::ESRCH => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All domains' states, by ascending numbers.
    pub fn domains(&self) -> Result<Vec<DomainInfo>, ControlError> {
        let about = About::machine("list the domains");
        let buffer = self.zeroed::<GetDomainInfo>(about, BATCH)?;
        let mut all = Vec::new();
        let mut first = 0;
        loop {
            let argument = GetDomainInfoList {
                first_domain: first,
                max_domains: BATCH as u32,
                buffer: buffer.handle(),
                ..GetDomainInfoList::new_zeroed()
            };
            let done = self.sysctl(about, sysctl::GETDOMAININFOLIST, argument)?;
            let count = done.getdomaininfolist().num_domains as usize;
            all.extend(buffer.to_vec(count).iter().map(DomainInfo::from_abi));
            match all.last() {
                Some(last) if count == BATCH => first = last.domain.saturating_add(1),
                _ => return Ok(all),
            }
        }
    }
}
