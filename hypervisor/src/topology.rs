//! Where each CPU is: socket, core and thread, from the parts of its APIC identifier (SDM 3A §8.9, APM 3 E.4.7).

use platform_cpu::control::cpuid;
use platform_cpu::lock::Once;

use crate::irq;

/// Bits of an APIC identifier that number the threads of a core, and the threads of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shifts {
    core: u32,
    socket: u32,
}

static SHIFTS: Once<Shifts> = Once::new();

/// Where a CPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Socket.
    pub socket: u32,
    /// Core within the socket.
    pub core: u32,
    /// Thread within the core.
    pub thread: u32,
}

fn shifts() -> Shifts {
    *SHIFTS.call_once(find_shifts)
}

/// Asks CPUID: the leaf of topologies, or what older CPUs have.
fn find_shifts() -> Shifts {
    const TOPOLOGY: u32 = 0xb;
    let highest = cpuid(0, 0).eax;
    if highest >= TOPOLOGY {
        let mut found = Shifts { core: 0, socket: 0 };
        for level in 0..8 {
            let leaf = cpuid(TOPOLOGY, level);
            match leaf.ecx >> 8 & 0xff {
                0 => break,
                // Threads.
                1 => found.core = leaf.eax & 0x1f,
                _ => {}
            }
            found.socket = leaf.eax & 0x1f;
        }
        if found.socket != 0 {
            return found;
        }
    }
    let features = cpuid(1, 0);
    let is_several = features.edx & 1 << 28 != 0;
    let threads = if is_several {
        features.ebx >> 16 & 0xff
    } else {
        1
    };
    let socket = threads.max(1).next_power_of_two().trailing_zeros();
    let cores = if cpuid(0x8000_0000, 0).eax >= 0x8000_0008 && is_amd() {
        (cpuid(0x8000_0008, 0).ecx & 0xff) + 1
    } else if highest >= 4 {
        (cpuid(4, 0).eax >> 26) + 1
    } else {
        1
    };
    let core_bits = cores.next_power_of_two().trailing_zeros();
    Shifts {
        core: socket.saturating_sub(core_bits),
        socket,
    }
}

fn is_amd() -> bool {
    /// "Auth", of "AuthenticAMD".
    const AUTH: u32 = 0x6874_7541;
    cpuid(0, 0).ebx == AUTH
}

/// Where CPU `cpu` is; `None` if there is no such CPU.
pub fn place(cpu: usize) -> Option<Place> {
    let apic_id = irq::apic_id(cpu)?;
    let Shifts { core, socket } = shifts();
    Some(Place {
        socket: apic_id.checked_shr(socket).unwrap_or(0),
        core: (apic_id & low_bits(socket)) >> core,
        thread: apic_id & low_bits(core),
    })
}

fn low_bits(count: u32) -> u32 {
    1u32.checked_shl(count).map_or(u32::MAX, |bit| bit - 1)
}

/// The lowest number of a CPU of the same core as `cpu`.
pub fn first_of_core(cpu: usize) -> usize {
    let core_of = |cpu| place(cpu).map(|place| (place.socket, place.core));
    let core = core_of(cpu);
    (0..cpu)
        .find(|other| core_of(*other) == core)
        .unwrap_or(cpu)
}
