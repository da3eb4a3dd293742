//! A domain: a virtual machine, and what it owns.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use ::hypercall::Caller;
use frames::{FrameList, PageRef};
use platform_cpu::lock::{Once, SpinLock};
use platform_memory::PerDomainArea;

use xen_abi::shared_info::{ArchSharedInfo, SharedInfo};

use crate::emulate;
use crate::events::EventChannels;
use crate::hypercall::grant_table::{GrantTable, Maptrack};
use crate::io_access::IoAccess;
use crate::ranks;
use crate::vcpu::Vcpu;
use crate::vcpu_time::Watchdogs;

/// Domain number.
pub type DomId = u16;

/// Memory that a domain has, in pages.
pub struct DomainMemory {
    /// Every page that it owns.
    pub pages: SpinLock<FrameList>,
    /// Pages it owns now.
    pub total: AtomicU64,
    /// Pages it may own.
    pub limit: AtomicU64,
}

/// How a domain ended (public/sched.h `SHUTDOWN_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// The code that it, or the hypervisor, gave; `None` while it runs.
    pub code: Option<u32>,
}

/// A virtual machine.
pub struct Domain {
    id: DomId,
    caller: Caller,
    handle: [u8; 16],
    vcpus: Box<[Once<Box<Vcpu>>]>,
    /// The page shared with the hypervisor.
    pub shared_info: PageRef<'static>,
    /// Pages owned and allowed.
    pub memory: DomainMemory,
    /// Descriptor tables of its vCPUs, in the hypervisor's part of its address spaces.
    pub area: PerDomainArea,
    /// Its event channels.
    pub event_channels: SpinLock<EventChannels>,
    /// Its grant table.
    pub grants: SpinLock<GrantTable>,
    /// What it has mapped of others' grants.
    pub maptrack: SpinLock<Maptrack>,
    /// Ports, device memory and interrupts it may use.
    pub io_access: IoAccess,
    /// The processor it sees, and the state of ports that it shares with others.
    pub emulation: emulate::DomainState,
    /// `vm_assist` switches, a bit for each `VMASST_TYPE_*`.
    assists: AtomicU64,
    /// How it ended.
    pub shutdown: SpinLock<Shutdown>,
    /// Set once it has ended: its vCPUs do not run any more.
    is_shut_down: AtomicBool,
    /// Number of reasons for which it is paused.
    pub pause_count: AtomicU32,
    /// Nanoseconds between the machine's wall clock and its own.
    pub time_offset: AtomicI64,
    /// Its watchdogs.
    pub watchdogs: SpinLock<Watchdogs>,
}

/// What [`Domain::new`] needs that does not start out empty.
pub struct NewDomain {
    /// Number.
    pub id: DomId,
    /// Privileges.
    pub caller: Caller,
    /// Highest number of vCPUs.
    pub max_vcpus: u32,
    /// The shared page.
    pub shared_info: PageRef<'static>,
    /// Descriptor tables.
    pub area: PerDomainArea,
    /// Event channels.
    pub event_channels: EventChannels,
    /// Grant table.
    pub grants: GrantTable,
    /// Its mappings of grants.
    pub maptrack: Maptrack,
    /// Hardware.
    pub io_access: IoAccess,
    /// Most pages it may own.
    pub memory_limit: u64,
}

impl Domain {
    /// Makes a domain without vCPUs or memory.
    ///
    /// # Errors
    /// `None` when memory for it cannot be had.
    pub fn new(new: NewDomain) -> Option<Self> {
        let count = usize::try_from(new.max_vcpus).ok()?;
        let mut vcpus = Vec::new();
        vcpus.try_reserve_exact(count).ok()?;
        vcpus.resize_with(count, Once::new);
        Some(Self {
            id: new.id,
            caller: new.caller,
            handle: [0; 16],
            vcpus: vcpus.into_boxed_slice(),
            shared_info: new.shared_info,
            memory: DomainMemory {
                pages: SpinLock::new(ranks::DOMAIN_PAGES, FrameList::default()),
                total: AtomicU64::new(0),
                limit: AtomicU64::new(new.memory_limit),
            },
            area: new.area,
            event_channels: SpinLock::new(ranks::EVENT_CHANNELS, new.event_channels),
            grants: SpinLock::new(ranks::GRANTS, new.grants),
            maptrack: SpinLock::new(ranks::MAPTRACK, new.maptrack),
            io_access: new.io_access,
            emulation: emulate::DomainState::new(new.caller.is_hardware),
            assists: AtomicU64::new(0),
            shutdown: SpinLock::new(ranks::SHUTDOWN, Shutdown::default()),
            is_shut_down: AtomicBool::new(false),
            pause_count: AtomicU32::new(0),
            time_offset: AtomicI64::new(0),
            watchdogs: SpinLock::new(ranks::OWN_TIMERS, Watchdogs::new()),
        })
    }

    /// Number.
    #[inline]
    pub fn id(&self) -> DomId {
        self.id
    }

    /// Its privileges, as [`hypercall::authorize`] wants them.
    #[inline]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether it owns the machine's devices.
    #[inline]
    pub fn is_hardware(&self) -> bool {
        self.caller.is_hardware
    }

    /// UUID that its creator gave it; zero for domain 0.
    pub fn handle(&self) -> [u8; 16] {
        self.handle
    }

    /// vCPU `id`, if there is one.
    #[inline]
    pub fn vcpu(&self, id: u32) -> Option<&Vcpu> {
        self.vcpus.get(id as usize)?.get().map(|boxed| &**boxed)
    }

    /// Adds a vCPU; gives it back if there is no room for its number or it exists.
    pub fn add_vcpu(&self, vcpu: Box<Vcpu>) -> Result<(), Box<Vcpu>> {
        let id = vcpu.id();
        match self.vcpus.get(id as usize) {
            Some(slot) => slot.set(vcpu),
            None => Err(vcpu),
        }
    }

    /// All vCPUs, by number.
    pub fn vcpus(&self) -> impl Iterator<Item = &Vcpu> {
        self.vcpus
            .iter()
            .filter_map(|slot| slot.get().map(|boxed| &**boxed))
    }

    /// Most vCPUs it can have.
    pub fn max_vcpus(&self) -> u32 {
        self.vcpus.len() as u32
    }

    /// Whether `vm_assist` kind `kind` is on.
    #[inline]
    pub fn assists(&self, kind: u32) -> bool {
        self.assists.load(Ordering::Relaxed) >> kind & 1 != 0
    }

    /// Switches `vm_assist` kind `kind` (below 64).
    pub fn set_assist(&self, kind: u32, on: bool) {
        let bit = 1u64.checked_shl(kind).unwrap_or(0);
        if on {
            self.assists.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.assists.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Adds `NMIREASON_*` bits to what the domain reads as the cause of an NMI.
    pub fn add_nmi_reason(&self, bits: u64) {
        let offset = core::mem::offset_of!(SharedInfo, arch)
            + core::mem::offset_of!(ArchSharedInfo, nmi_reason);
        platform_memory::map(&self.shared_info).fetch_or_u64(offset, bits);
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        // Acquire: pairs with Release in `shut_down`.
        self.is_shut_down.load(Ordering::Acquire)
    }

    /// Whether its vCPUs may run at all: it is not paused and has not ended.
    pub fn can_run(&self) -> bool {
        !self.has_ended() && self.pause_count.load(Ordering::SeqCst) == 0
    }

    /// Ends the domain with `SHUTDOWN_*` code `code`; only the first code counts. Returns whether this was it.
    pub fn shut_down(&self, code: u32) -> bool {
        let mut shutdown = self.shutdown.lock();
        let first = shutdown.code.is_none();
        if first {
            shutdown.code = Some(code);
            // Release: whoever sees the flag (Acquire, run loop) sees the code.
            self.is_shut_down.store(true, Ordering::Release);
        }
        first
    }
}

/// A vCPU, kept alive with its domain.
#[derive(Clone)]
pub struct VcpuRef {
    /// The domain.
    pub domain: Arc<Domain>,
    /// The vCPU's number; it exists.
    pub id: u32,
}

impl PartialEq for VcpuRef {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && Arc::ptr_eq(&self.domain, &other.domain)
    }
}
