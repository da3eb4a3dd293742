//! The order in which locks are taken: a CPU that holds a lock takes only locks of a higher rank.

use platform_cpu::lock::Rank;

/// A vCPU's own state, held for as long as it runs.
pub const VCPU_STATE: Rank = Rank::new(1, "vcpu state");
/// The creation of domains: one at a time.
pub const CREATION: Rank = Rank::new(4, "creation");
/// How far a domain's destruction has come.
pub const TEARDOWN: Rank = Rank::new(5, "teardown");
/// CPUs that go and come.
pub const HOTPLUG: Rank = Rank::new(8, "cpu hotplug");
/// The list of domains.
pub const DOMAINS: Rank = Rank::new(9, "domains");
/// Domains by number.
pub const DOMAIN_INDEX: Rank = Rank::new(10, "domain index");
/// How a domain ended.
pub const SHUTDOWN: Rank = Rank::new(11, "shutdown");
/// What a domain's controller has set.
pub const SETTINGS: Rank = Rank::new(12, "settings");
/// A domain's processor, as its controller chooses it.
pub const CPU_POLICY: Rank = Rank::new(13, "cpu policy");
/// A domain's event channels.
pub const EVENT_CHANNELS: Rank = Rank::new(30, "event channels");
/// A domain's grant table.
pub const GRANTS: Rank = Rank::new(31, "grants");
/// A domain's mappings of grants.
pub const MAPTRACK: Rank = Rank::new(32, "maptrack");
/// The table of physical interrupts: an event channel is bound to one under its domain's lock.
pub const INTERRUPTS: Rank = Rank::new(35, "interrupts");
/// Pools of CPUs.
pub const POOLS: Rank = Rank::new(48, "cpu pools");
/// Run queues.
pub const SCHEDULER: Rank = Rank::new(50, "scheduler");
/// A vCPU's run-state times: they change with what its queue says.
pub const RUNSTATE: Rank = Rank::new(51, "runstate");
/// Which timers a vCPU or a domain has.
pub const OWN_TIMERS: Rank = Rank::new(52, "own timers");
/// The timers of a CPU.
pub const TIMERS: Rank = Rank::new(53, "timers");
/// A domain's UUID.
pub const HANDLE: Rank = Rank::new(54, "handle");
/// The wall clock.
pub const WALL_CLOCK: Rank = Rank::new(55, "wall clock");
/// A vCPU's mapped LDT pages.
pub const LDT: Rank = Rank::new(42, "ldt");
/// The list of a domain's pages.
pub const DOMAIN_PAGES: Rank = Rank::new(57, "domain pages");
/// The page allocator.
pub const ALLOCATOR: Rank = Rank::new(60, "page allocator");
/// A domain's permissions to devices.
pub const IO_ACCESS: Rank = Rank::new(72, "io access");
/// Devices that the hypervisor keeps for itself.
pub const OWN_DEVICES: Rank = Rank::new(73, "own devices");
/// The clock's ports.
pub const CMOS: Rank = Rank::new(74, "cmos");
/// PCI configuration ports.
pub const PCI_CONFIG: Rank = Rank::new(75, "pci config");
/// Which missing calls were reported.
pub const REPORTED_CALLS: Rank = Rank::new(56, "reported calls");
/// The table of debug keys.
pub const KEYS: Rank = Rank::new(89, "debug keys");
/// The console ring and its devices: anything may be logged while any other lock is held.
pub const CONSOLE: Rank = Rank::new(90, "console");
