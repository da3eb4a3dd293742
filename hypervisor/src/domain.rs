//! A domain: a virtual machine, and what it owns.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use ::hypercall::Caller;
use frames::FrameList;
use platform_cpu::lock::{Once, SpinLock};
use platform_memory::PerDomainArea;
use scheduler::{Payload, Share, Unit};

use xen_abi::shared_info::{ArchSharedInfo, SharedInfo};

use crate::death::Teardown;
use crate::emulate;
use crate::events::EventChannels;
use crate::hypercall::grant_table::{GrantTable, Maptrack};
use crate::hypercall::segments::VALID_ASSISTS;
use crate::io_access::IoAccess;
use crate::mm::LentPage;
use crate::pool::Membership;
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
    /// Free pages that are set aside for it.
    pub claimed: AtomicU64,
    /// Pages of the hypervisor's that it may map.
    pub lent: AtomicU64,
}

impl DomainMemory {
    /// The account of a domain that may own `limit` pages, and has none.
    pub const fn new(limit: u64) -> Self {
        Self {
            pages: SpinLock::new(ranks::DOMAIN_PAGES, FrameList::new()),
            total: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
            claimed: AtomicU64::new(0),
            lent: AtomicU64::new(0),
        }
    }

    /// Whether no frame names the domain as its owner any more.
    pub fn is_settled(&self) -> bool {
        self.total.load(Ordering::Relaxed) == 0 && self.lent.load(Ordering::Relaxed) == 0
    }
}

/// How far the life of a domain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Life {
    /// It is there, running or not.
    Alive = 0,
    /// Its destruction has begun.
    Dying = 1,
    /// It has given back everything that nobody else uses.
    Dead = 2,
}

/// How a domain's time-stamp counter is to be shown (`XEN_DOMCTL_settscinfo`).
#[derive(Clone, Copy, Debug, Default)]
pub struct TscMode {
    /// `TSC_MODE_*`.
    pub mode: u32,
    /// How often the domain was migrated.
    pub incarnation: u32,
}

/// An entry of an E820 table: address, size and kind, packed.
pub type E820Entry = [u8; 20];

/// What a domain's controller has set, and may set again.
#[derive(Default)]
pub struct Settings {
    /// Memory map.
    pub memory_map: Vec<E820Entry>,
    /// Time-stamp counter.
    pub tsc: TscMode,
    /// Port of the domain's that is raised when it has suspended; 0 for none.
    pub suspend_port: u32,
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
    /// In a lock of its own: the scheduler asks for it.
    handle: SpinLock<[u8; 16]>,
    vcpus: Box<[Once<Arc<Vcpu>>]>,
    /// The page shared with the hypervisor.
    pub shared_info: LentPage,
    /// Pages owned and allowed.
    pub memory: Arc<DomainMemory>,
    /// The pages with `vcpu_info` of vCPUs that have none in the shared page.
    pub info_pages: Vec<LentPage>,
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
    /// Pauses among them that its controller asked for (`XEN_DOMCTL_pausedomain`).
    pub controller_pauses: AtomicU32,
    /// Set when it was unpaused for the first time: its processor does not change any more.
    pub has_run: AtomicBool,
    /// Nanoseconds between the machine's wall clock and its own.
    pub time_offset: AtomicI64,
    /// What it may have of the machine's CPUs.
    pub share: Share,
    /// The CPUs that it shares.
    pub pool: Membership,
    /// Its watchdogs.
    pub watchdogs: SpinLock<Watchdogs>,
    /// What its controller has set.
    pub settings: SpinLock<Settings>,
    /// [`Life`].
    life: AtomicU8,
    /// How far its destruction has come.
    pub teardown: SpinLock<Teardown>,
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
    pub shared_info: LentPage,
    /// Account.
    pub memory: Arc<DomainMemory>,
    /// Pages for the `vcpu_info` of vCPUs that have none in the shared page.
    pub info_pages: Vec<LentPage>,
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
}

impl Domain {
    /// Makes a domain without vCPUs or memory.
    ///
    /// # Errors
    /// `None` when memory for it cannot be had.
    #[inline(never)]
    pub fn new(new: NewDomain) -> Option<Self> {
        let count = usize::try_from(new.max_vcpus).ok()?;
        let mut vcpus = Vec::new();
        vcpus.try_reserve_exact(count).ok()?;
        vcpus.resize_with(count, Once::new);
        Some(Self {
            id: new.id,
            caller: new.caller,
            handle: SpinLock::new(ranks::HANDLE, [0; 16]),
            vcpus: vcpus.into_boxed_slice(),
            shared_info: new.shared_info,
            memory: new.memory,
            info_pages: new.info_pages,
            area: new.area,
            event_channels: SpinLock::new(ranks::EVENT_CHANNELS, new.event_channels),
            grants: SpinLock::new(ranks::GRANTS, new.grants),
            maptrack: SpinLock::new(ranks::MAPTRACK, new.maptrack),
            io_access: new.io_access,
            emulation: emulate::DomainState::new(new.caller.is_hardware)?,
            assists: AtomicU64::new(0),
            shutdown: SpinLock::new(ranks::SHUTDOWN, Shutdown::default()),
            is_shut_down: AtomicBool::new(false),
            pause_count: AtomicU32::new(0),
            controller_pauses: AtomicU32::new(0),
            has_run: AtomicBool::new(false),
            time_offset: AtomicI64::new(0),
            share: Share::new(new.id),
            pool: Membership::none(),
            watchdogs: SpinLock::new(ranks::OWN_TIMERS, Watchdogs::new()),
            settings: SpinLock::new(ranks::SETTINGS, Settings::default()),
            life: AtomicU8::new(Life::Alive as u8),
            teardown: SpinLock::new(ranks::TEARDOWN, Teardown::default()),
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
        *self.handle.lock()
    }

    /// Sets its UUID.
    pub fn set_handle(&self, handle: [u8; 16]) {
        *self.handle.lock() = handle;
    }

    /// How far its life has come.
    #[inline]
    pub fn life(&self) -> Life {
        // Acquire: pairs with Release in `set_life`.
        match self.life.load(Ordering::Acquire) {
            0 => Life::Alive,
            1 => Life::Dying,
            _ => Life::Dead,
        }
    }

    /// Whether it is being destroyed: it gets nothing new.
    #[inline]
    pub fn is_dying(&self) -> bool {
        self.life() != Life::Alive
    }

    /// Notes how far its life has come; there is no way back.
    pub fn set_life(&self, life: Life) {
        self.life.fetch_max(life as u8, Ordering::Release);
    }

    /// vCPU `id`, if there is one.
    #[inline]
    pub fn vcpu(&self, id: u32) -> Option<&Vcpu> {
        self.vcpus.get(id as usize)?.get().map(|vcpu| &**vcpu)
    }

    /// Adds a vCPU; gives it back if there is no room for its number or it exists.
    pub fn add_vcpu(&self, vcpu: Arc<Vcpu>) -> Result<(), Arc<Vcpu>> {
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
            .filter_map(|slot| slot.get().map(|vcpu| &**vcpu))
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

    /// Sets all `vm_assist` switches, as far as they are known.
    pub fn set_assists(&self, bits: u64) {
        self.assists.store(bits & VALID_ASSISTS, Ordering::Relaxed);
    }

    /// All `vm_assist` switches.
    pub fn all_assists(&self) -> u64 {
        self.assists.load(Ordering::Relaxed)
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

    /// Lets a domain that has ended run again (`XEN_DOMCTL_resumedomain`).
    pub fn resume(&self) {
        let mut shutdown = self.shutdown.lock();
        shutdown.code = None;
        self.is_shut_down.store(false, Ordering::Release);
    }

    /// Ends the domain with `SHUTDOWN_*` code `code`; only the first code counts. Returns whether this was it.
    pub fn shut_down(&self, code: u32) -> bool {
        let mut shutdown = self.shutdown.lock();
        let first = !self.has_ended();
        if first {
            // A code that it announced before (`SCHEDOP_shutdown_code`) counts.
            shutdown.code.get_or_insert(code);
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
    /// The vCPU, one of the domain's.
    pub vcpu: Arc<Vcpu>,
}

impl Payload for VcpuRef {
    fn unit(&self) -> &Unit {
        &self.vcpu.unit
    }

    fn share(&self) -> &Share {
        &self.domain.share
    }

    fn name(&self) -> ([u8; 16], u32) {
        (self.domain.handle(), self.vcpu.id())
    }
}
