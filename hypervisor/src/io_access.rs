//! Which devices a domain reaches: its permissions, less what the hypervisor keeps for itself.

use alloc::boxed::Box;

use addr::Mfn;
use frames::IoAccess as FrameAccess;
use io_permissions::{Full, MAX_RANGES, Permissions, RangeSet};
use platform_cpu::lock::SpinLock;
use platform_memory::try_box;

use crate::{console, ranks};

/// Ports that only the hypervisor uses: first and last.
///
/// Interrupt controllers with their trigger registers, the interval timer, the speaker's gate (of which, and of
/// the timer's channel 2, `emulate::ports` lets the machine's owner have its part), PCI configuration data.
const HYPERVISOR_PORTS: [(u64, u64); 6] = [
    (0x20, 0x21),
    (0xa0, 0xa1),
    (0x4d0, 0x4d1),
    (0x40, 0x43),
    (0x61, 0x61),
    (0xcfc, 0xcff),
];

/// Ports of a 16550.
const UART_PORTS: u64 = 8;
/// Where processors take writes for interrupts: frames of 0xfee00000 to 0xfeefffff.
const INTERRUPT_FRAMES: (u64, u64) = (0xfee00, 0xfeeff);
/// AMD's HyperTransport addresses, which are no memory: frames of 0xfd00000000 to 0xffffffffff.
const HYPERTRANSPORT_FRAMES: (u64, u64) = (0xfd0_0000, 0xfff_ffff);

/// Ports of devices that the hypervisor drives, and frames of such that domains may read.
struct OwnDevices {
    ports: RangeSet<16>,
    read_only: RangeSet<64>,
}

static OWN: SpinLock<OwnDevices> = SpinLock::new(
    ranks::OWN_DEVICES,
    OwnDevices {
        ports: RangeSet::new(),
        read_only: RangeSet::new(),
    },
);

/// Keeps `count` ports from `first` on from domains that are made later: a device that the hypervisor drives.
pub fn keep_ports(first: u16, count: u16) {
    let last = u64::from(first) + u64::from(count.saturating_sub(1));
    if OWN.lock().ports.insert(first.into(), last).is_err() {
        log::error!("too many devices of the hypervisor: port {first:#x} is not protected");
    }
}

/// Makes the frames from `first` on read-only for all domains: registers of a device that only the hypervisor
/// programs, beside others that are a domain's. False if there is no room to remember that.
pub fn protect_frames(first: Mfn, count: u64) -> bool {
    let last = first.raw().saturating_add(count.saturating_sub(1));
    OWN.lock().read_only.insert(first.raw(), last).is_ok()
}

/// What a domain can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// I/O ports.
    Ports,
    /// Frames of device memory.
    Frames,
    /// Interrupts.
    Interrupts,
}

impl Resource {
    /// The highest number of its kind.
    pub const fn last(self) -> u64 {
        match self {
            Self::Ports => 0xffff,
            Self::Frames => u64::MAX >> addr::PAGE_SHIFT,
            Self::Interrupts => u32::MAX as u64,
        }
    }

    fn of(self, permissions: &mut Permissions) -> &mut RangeSet<MAX_RANGES> {
        match self {
            Self::Ports => &mut permissions.ports,
            Self::Frames => &mut permissions.frames,
            Self::Interrupts => &mut permissions.interrupts,
        }
    }
}

/// A domain's access to devices.
pub struct IoAccess {
    permissions: SpinLock<Box<Permissions>>,
}

impl IoAccess {
    /// All of the machine but what the hypervisor drives itself, if there is memory to say so. Made after the console is
    /// set up.
    #[inline(never)]
    pub fn hardware_domain() -> Option<Self> {
        let mut permissions = Permissions::all();
        let uarts = console::serial_ports()
            .map(u64::from)
            .map(|base| (base, base + UART_PORTS - 1));
        let own = OWN.lock().ports.clone();
        let kept = HYPERVISOR_PORTS.into_iter().chain(uarts).chain(own.iter());
        for (first, last) in kept {
            if permissions.ports.remove(first, last).is_err() {
                log::error!("too many ports of the hypervisor: {first:#x} is not protected");
            }
        }
        for (first, last) in [INTERRUPT_FRAMES, HYPERTRANSPORT_FRAMES] {
            if permissions.frames.remove(first, last).is_err() {
                log::error!("too many ranges of the hypervisor: frame {first:#x} is not protected");
            }
        }
        Self::new(permissions)
    }

    /// Nothing, if there is memory to say so.
    pub fn none() -> Option<Self> {
        Self::new(Permissions::none())
    }

    /// Whether all of a resource from `first` to `last` is the domain's.
    pub fn permits(&self, resource: Resource, first: u64, last: u64) -> bool {
        resource
            .of(&mut self.permissions.lock())
            .contains(first, last)
    }

    /// Gives the domain all of a resource from `first` to `last`, or takes it.
    ///
    /// # Errors
    /// There are too many ranges.
    pub fn change(
        &self,
        resource: Resource,
        first: u64,
        last: u64,
        allow: bool,
    ) -> Result<(), Full> {
        let mut permissions = self.permissions.lock();
        let set = resource.of(&mut permissions);
        if allow {
            set.insert(first, last)
        } else {
            set.remove(first, last)
        }
    }

    /// `None` if there is no memory.
    #[inline(never)]
    fn new(permissions: Permissions) -> Option<Self> {
        Some(Self {
            permissions: SpinLock::new(ranks::IO_ACCESS, try_box(permissions)?),
        })
    }

    /// Whether all ports from `first` to `last` are the domain's.
    pub fn permits_ports(&self, first: u16, last: u16) -> bool {
        let ports = &self.permissions.lock().ports;
        ports.contains(first.into(), last.into())
    }

    /// What the domain may do with a frame that is no RAM.
    pub fn device_memory(&self, frame: Mfn) -> FrameAccess {
        let frame = frame.raw();
        if !self.permissions.lock().frames.contains(frame, frame) {
            return FrameAccess::Denied;
        }
        if OWN.lock().read_only.contains(frame, frame) {
            FrameAccess::ReadOnly
        } else {
            FrameAccess::Full
        }
    }

    /// Whether the domain has any device, so that caches matter to it.
    pub fn has_devices(&self) -> bool {
        self.permissions.lock().has_devices()
    }
}
