//! A domain from its creation to its end.

use xen_abi::arch_x86::ArchDomainConfig;
use xen_abi::domctl::domain::{
    CreateDomain, MaxMem, MaxVcpus, SendTrigger, SetDomainHandle, TscInfo,
};
use xen_abi::sched::{REMOTE_SHUTDOWN, RemoteShutdown};
use xen_abi::{DomId, Errno, EvtchnPort, domctl, event_channel, hypercall};
use zerocopy::FromZeros;

use crate::call::{About, Control};
use crate::error::ControlError;

/// What a paravirtual domain is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewDomain {
    /// Its UUID.
    pub handle: [u8; 16],
    /// The most vCPUs it can have.
    pub max_vcpus: u32,
    /// The highest port of its event channels.
    pub max_port: u32,
    /// The most pages of its grant table; negative is the hypervisor's default.
    pub max_grant_frames: i32,
    /// The most pages of handles of grants that it maps; negative is the hypervisor's default.
    pub max_maptrack_frames: i32,
    /// The latest version of grant tables that it may choose.
    pub max_grant_version: u32,
    /// Its CPU pool.
    pub cpu_pool: u32,
    /// Whether reading MSRs that do not exist gives 0.
    pub msr_relaxed: bool,
}

impl Control {
    /// Makes a domain, with a number of the hypervisor's choice. It is paused, and has neither vCPUs nor memory.
    pub fn create_domain(&self, new: &NewDomain) -> Result<DomId, ControlError> {
        let about = About::machine("make a domain");
        let misc_flags = if new.msr_relaxed {
            xen_abi::arch_x86::XEN_X86_MSR_RELAXED
        } else {
            0
        };
        let argument = CreateDomain {
            handle: new.handle,
            max_vcpus: new.max_vcpus,
            max_evtchn_port: new.max_port,
            max_grant_frames: new.max_grant_frames,
            max_maptrack_frames: new.max_maptrack_frames,
            grant_opts: new.max_grant_version & domctl::GRANT_VERSION_MASK,
            cpupool_id: new.cpu_pool,
            arch: ArchDomainConfig {
                emulation_flags: 0,
                misc_flags,
            },
            ..CreateDomain::new_zeroed()
        };
        let done = self.domctl(about, domctl::CREATEDOMAIN, argument)?;
        Ok(done.domain)
    }

    /// Gives a new domain its vCPUs, of which the first is up once it has a context.
    pub fn set_max_vcpus(&self, domain: DomId, max: u32) -> Result<(), ControlError> {
        let about = About::domain("set the number of its vCPUs", domain);
        self.domctl(about, domctl::MAX_VCPUS, MaxVcpus { max })
            .map(drop)
    }

    /// Limits a domain's memory, in KiB.
    pub fn set_max_memory(&self, domain: DomId, kib: u64) -> Result<(), ControlError> {
        let about = About::domain("limit its memory", domain);
        self.domctl(about, domctl::MAX_MEM, MaxMem { max_memkb: kib })
            .map(drop)
    }

    /// Lets a domain run; a new one starts.
    pub fn unpause(&self, domain: DomId) -> Result<(), ControlError> {
        let about = About::domain("unpause it", domain);
        self.domctl(about, domctl::UNPAUSEDOMAIN, [0_u64; 0])
            .map(drop)
    }

    /// Stops a domain until it is unpaused.
    pub fn pause(&self, domain: DomId) -> Result<(), ControlError> {
        let about = About::domain("pause it", domain);
        self.domctl(about, domctl::PAUSEDOMAIN, [0_u64; 0])
            .map(drop)
    }

    /// Ends a domain and gives back what it has. What others still map of it stays until they do not.
    pub fn destroy(&self, domain: DomId) -> Result<(), ControlError> {
        let about = About::domain("destroy it", domain);
        loop {
            match self.domctl(about, domctl::DESTROYDOMAIN, [0_u64; 0]) {
                // Long work is done in parts.
                Err(error) if matches!(error.errno, Errno::EAGAIN | Errno::ERESTART) => {}
                result => return result.map(drop),
            }
        }
    }

    /// Makes a domain shut down as if it had asked for it: `SHUTDOWN_*`.
    pub fn shut_down(&self, domain: DomId, reason: u32) -> Result<(), ControlError> {
        let about = About::domain("shut it down", domain);
        let argument = RemoteShutdown {
            domain_id: domain,
            reason,
            ..RemoteShutdown::new_zeroed()
        };
        self.operation(about, hypercall::SCHED_OP, REMOTE_SHUTDOWN, &argument)
            .map(drop)
    }

    /// Sets a domain's UUID.
    pub fn set_handle(&self, domain: DomId, handle: [u8; 16]) -> Result<(), ControlError> {
        let about = About::domain("set its UUID", domain);
        self.domctl(about, domctl::SETDOMAINHANDLE, SetDomainHandle { handle })
            .map(drop)
    }

    /// Sets how a domain sees the TSC (0 default, 1 always emulated, 2 never).
    pub fn set_tsc_mode(&self, domain: DomId, tsc_mode: u32) -> Result<(), ControlError> {
        let about = About::domain("set its TSC mode", domain);
        let argument = TscInfo {
            tsc_mode,
            ..TscInfo::new_zeroed()
        };
        self.domctl(about, domctl::SETTSCINFO, argument).map(drop)
    }

    /// Sends a vCPU a trigger: `SENDTRIGGER_*`.
    pub fn trigger(&self, domain: DomId, trigger: u32, vcpu: u32) -> Result<(), ControlError> {
        let about = About::domain("send it a trigger", domain);
        self.domctl(about, domctl::SENDTRIGGER, SendTrigger { trigger, vcpu })
            .map(drop)
    }

    /// Makes a port of `domain` to which `remote` may bind.
    pub fn allocate_port(&self, domain: DomId, remote: DomId) -> Result<EvtchnPort, ControlError> {
        let about = About::domain("make an event channel", domain);
        let argument = event_channel::AllocUnbound {
            dom: domain,
            remote_dom: remote,
            port: 0,
        };
        let (_, done) = self.operation(
            about,
            hypercall::EVENT_CHANNEL_OP,
            event_channel::ALLOC_UNBOUND,
            &argument,
        )?;
        Ok(done.port)
    }
}
