//! [`DomainConfig`]: what a configuration says, with types.

use std::fmt;

use crate::cpus::CpuSet;
use crate::disk::Disk;
use crate::uuid::Uuid;
use crate::vif::Vif;

/// How a domain is virtualised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Paravirtual.
    #[default]
    Pv,
    /// Paravirtual in hardware's container.
    Pvh,
    /// Fully virtualised.
    Hvm,
}

impl Kind {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pv => "pv",
            Self::Pvh => "pvh",
            Self::Hvm => "hvm",
        }
    }
}

/// What is done when a domain stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is removed.
    Destroy,
    /// It is removed and made anew.
    Restart,
    /// It is made anew; what is left of it keeps its memory under another name.
    RenameRestart,
    /// It stays as it is.
    Preserve,
    /// Its memory is written to a file, then it is removed.
    CoredumpDestroy,
    /// Its memory is written to a file, then it is removed and made anew.
    CoredumpRestart,
    /// It goes on with its memory and without its devices' state.
    SoftReset,
}

impl Action {
    /// All, by their names in configurations.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("destroy", Self::Destroy),
        ("restart", Self::Restart),
        ("rename-restart", Self::RenameRestart),
        ("preserve", Self::Preserve),
        ("coredump-destroy", Self::CoredumpDestroy),
        ("coredump-restart", Self::CoredumpRestart),
        ("soft-reset", Self::SoftReset),
    ];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, action)| *action == self);
        found.map_or("destroy", |(name, _)| name)
    }
}

/// Where the kernel is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// A file of domain 0.
    Kernel {
        /// The kernel.
        kernel: String,
        /// Its initial RAM disk.
        ramdisk: Option<String>,
    },
    /// A program that finds the kernel on the domain's first disk.
    Bootloader {
        /// The program.
        program: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// Nowhere: only possible where no domain is made.
    Nothing,
}

/// A domain's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainConfig {
    /// Its name.
    pub name: String,
    /// Its UUID; none is a random one.
    pub uuid: Option<Uuid>,
    /// How it is virtualised.
    pub kind: Kind,
    /// Memory at start, in MiB.
    pub memory: u64,
    /// Most memory ever, in MiB; at least [`Self::memory`].
    pub maxmem: u64,
    /// vCPUs at start.
    pub vcpus: u32,
    /// Most vCPUs ever; at least [`Self::vcpus`].
    pub maxvcpus: u32,
    /// Where vCPUs may run: one set for all, or one for each.
    pub cpus: Vec<CpuSet>,
    /// Where vCPUs should run.
    pub cpus_soft: Vec<CpuSet>,
    /// Share of the CPUs, in comparison to other domains'.
    pub cpu_weight: Option<u16>,
    /// Most of the CPUs, in hundredths of one; 0 is all.
    pub cap: Option<u16>,
    /// The CPU pool.
    pub pool: Option<String>,
    /// Where the kernel is from.
    pub boot: Boot,
    /// The kernel's arguments.
    pub cmdline: Option<String>,
    /// Disks.
    pub disks: Vec<Disk>,
    /// Network interfaces.
    pub vifs: Vec<Vif>,
    /// What follows a shutdown by the guest.
    pub on_poweroff: Action,
    /// What follows a reboot by the guest.
    pub on_reboot: Action,
    /// What follows a time-out of the guest's watchdog.
    pub on_watchdog: Action,
    /// What follows a crash.
    pub on_crash: Action,
    /// What follows a soft reset.
    pub on_soft_reset: Action,
    /// The largest grant table, in pages.
    pub max_grant_frames: Option<u32>,
    /// The most pages of grants that it may map, in pages of the table of them.
    pub max_maptrack_frames: Option<u32>,
    /// The latest version of grant tables.
    pub max_grant_version: Option<u32>,
    /// The most event channels.
    pub event_channels: Option<u32>,
    /// How it sees the TSC (`default`, `always_emulate`, `native`): 0, 1, 2.
    pub tsc_mode: Option<u32>,
    /// Whether unknown MSRs read as 0.
    pub msr_relaxed: bool,
    /// The domain that serves those devices that do not say one themselves, by name or number.
    pub driver_domain: bool,
}

impl DomainConfig {
    /// A domain with the defaults of everything.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            uuid: None,
            kind: Kind::Pv,
            memory: 32,
            maxmem: 32,
            vcpus: 1,
            maxvcpus: 1,
            cpus: Vec::new(),
            cpus_soft: Vec::new(),
            cpu_weight: None,
            cap: None,
            pool: None,
            boot: Boot::Nothing,
            cmdline: None,
            disks: Vec::new(),
            vifs: Vec::new(),
            on_poweroff: Action::Destroy,
            on_reboot: Action::Restart,
            on_watchdog: Action::Destroy,
            on_crash: Action::Destroy,
            on_soft_reset: Action::SoftReset,
            max_grant_frames: None,
            max_maptrack_frames: None,
            max_grant_version: None,
            event_channels: None,
            tsc_mode: None,
            msr_relaxed: false,
            driver_domain: false,
        }
    }

    /// Whether a domain of this configuration can be made here.
    pub fn check_supported(&self) -> Result<(), Unsupported> {
        match (self.kind, &self.boot) {
            (Kind::Pv, Boot::Nothing) => Err(Unsupported::NoKernel),
            (Kind::Pv, _) => Ok(()),
            (kind, _) => Err(Unsupported::Kind(kind)),
        }
    }
}

/// Why a domain cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// Only paravirtual domains exist.
    Kind(Kind),
    /// There is no kernel.
    NoKernel,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(
                f,
                "domains of type `{}` cannot be made yet: only type=\"pv\"",
                kind.name()
            ),
            Self::NoKernel => f.write_str("neither `kernel` nor `bootloader` is set"),
        }
    }
}

impl std::error::Error for Unsupported {}
