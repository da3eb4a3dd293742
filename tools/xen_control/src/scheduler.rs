//! Schedulers and domains' shares.

use std::fmt;

use xen_abi::domctl::domain::{SchedCredit2, SchedulerOp, SchedulerOpUnion};
use xen_abi::sysctl::scheduler::SchedId;
use xen_abi::sysctl::scheduler::{
    Credit2Schedule, SchedulerOp as PoolSchedulerOp, SchedulerOpUnion as PoolSchedulerOpUnion,
};
use xen_abi::{DomId, domctl, sysctl};
use zerocopy::FromZeros;

use crate::call::{About, Control};
use crate::error::ControlError;

/// A kind of scheduler, by the interface's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduler(pub u32);

impl Scheduler {
    /// Credit2, the usual one.
    pub const CREDIT2: Self = Self(domctl::XEN_SCHEDULER_CREDIT2);

    const NAMES: [(&'static str, u32); 5] = [
        ("credit", domctl::XEN_SCHEDULER_CREDIT),
        ("credit2", domctl::XEN_SCHEDULER_CREDIT2),
        ("arinc653", domctl::XEN_SCHEDULER_ARINC653),
        ("rtds", domctl::XEN_SCHEDULER_RTDS),
        ("null", domctl::XEN_SCHEDULER_NULL),
    ];

    /// The scheduler of that name.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, number)| Self(*number))
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.pad(name),
            None => f.pad("unknown"),
        }
    }
}

/// A domain's share by credit2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit2 {
    /// In comparison to other domains'.
    pub weight: u16,
    /// Most of the CPUs, in hundredths of one; 0 is all.
    pub cap: u16,
}

impl Control {
    /// The default scheduler.
    pub fn scheduler(&self) -> Result<Scheduler, ControlError> {
        let about = About::machine("read the scheduler's kind");
        let done = self.sysctl(about, sysctl::SCHED_ID, SchedId { sched_id: 0 })?;
        Ok(Scheduler(done.sched_id().sched_id))
    }

    /// A domain's share.
    pub fn credit2(&self, domain: DomId) -> Result<Credit2, ControlError> {
        let about = About::domain("read its share of the CPUs", domain);
        let argument = SchedulerOp {
            sched_id: domctl::XEN_SCHEDULER_CREDIT2,
            cmd: domctl::SCHEDOP_GETINFO,
            ..SchedulerOp::new_zeroed()
        };
        let done = self.domctl(about, domctl::SCHEDULER_OP, argument)?;
        let SchedCredit2 { weight, cap } = done.u.scheduler_op().u.credit2();
        Ok(Credit2 { weight, cap })
    }

    /// Sets a domain's share.
    pub fn set_credit2(&self, domain: DomId, share: Credit2) -> Result<(), ControlError> {
        let about = About::domain("set its share of the CPUs", domain);
        let Credit2 { weight, cap } = share;
        let argument = SchedulerOp {
            sched_id: domctl::XEN_SCHEDULER_CREDIT2,
            cmd: domctl::SCHEDOP_PUTINFO,
            u: SchedulerOpUnion::new(SchedCredit2 { weight, cap }),
        };
        self.domctl(about, domctl::SCHEDULER_OP, argument).map(drop)
    }

    /// For how long, in µs, a pool's vCPU may run before another takes its place.
    pub fn credit2_rate_limit(&self, pool: u32) -> Result<u32, ControlError> {
        let about = About::machine("read a CPU pool's rate limit");
        let argument = PoolSchedulerOp {
            cpupool_id: pool,
            sched_id: domctl::XEN_SCHEDULER_CREDIT2,
            cmd: sysctl::SCHEDOP_GETINFO,
            ..PoolSchedulerOp::new_zeroed()
        };
        let done = self.sysctl(about, sysctl::SCHEDULER_OP, argument)?;
        Ok(done.scheduler_op().u.sched_credit2().ratelimit_us)
    }

    /// Sets it.
    pub fn set_credit2_rate_limit(&self, pool: u32, microseconds: u32) -> Result<(), ControlError> {
        let about = About::machine("set a CPU pool's rate limit");
        let parameters = Credit2Schedule {
            ratelimit_us: microseconds,
        };
        let argument = PoolSchedulerOp {
            cpupool_id: pool,
            sched_id: domctl::XEN_SCHEDULER_CREDIT2,
            cmd: sysctl::SCHEDOP_PUTINFO,
            u: PoolSchedulerOpUnion::new(parameters),
            ..PoolSchedulerOp::new_zeroed()
        };
        self.sysctl(about, sysctl::SCHEDULER_OP, argument).map(drop)
    }
}
