//! vCPUs that take each other down, and one that is never right to start.

use guest_runtime::event_channels::{set_timer, yield_now};
use guest_runtime::hypercalls::call;
use guest_runtime::memory::{PAGE, address_of};
use guest_runtime::random::Random;
use guest_runtime::shared;
use guest_runtime::vcpus::{self, context, vcpu_op};
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::xen_abi::vcpu::{self, RunstateInfo};

use crate::arena::{frame, page, window};
use crate::{Kind, fighters};

pub(crate) static KINDS: [Kind; 8] = [
    Kind::new("vCPU down", down),
    Kind::new("vCPU up", up),
    Kind::new("vCPU again", initialise_again),
    Kind::new("vCPU that cannot be", initialise_badly),
    Kind::new("run state", runstate),
    Kind::new("run-state area", area),
    Kind::new("timer", timer),
    Kind::new("yield", give_way),
];

/// vCPU 0 always stays up: it wakes the others.
pub(crate) fn init(_count: u32) {}

/// Brings all vCPUs up that were taken down.
pub(crate) fn bring_all_up() {
    for id in 1..fighters() {
        if vcpus::is_up(id) == 0 {
            vcpus::up(id);
        }
    }
}

fn other(random: &mut Random) -> u32 {
    random.below(u64::from(fighters())) as u32
}

fn down(random: &mut Random) -> bool {
    let id = other(random);
    id != 0 && vcpus::down(id) == 0
}

fn up(random: &mut Random) -> bool {
    vcpus::up(other(random)) == 0
}

extern "sysv64" fn never(_: u64) -> ! {
    guest_runtime::fail()
}

/// The answer is that it is there already.
fn initialise_again(random: &mut Random) -> bool {
    let mut wanted = context(0, never, 0);
    wanted.ctrlreg[3] = frame(random) * PAGE;
    vcpu_op(vcpu::INITIALISE, other(random), &mut wanted) == -17
}

/// A vCPU that is not up, with tables that others change meanwhile: an error, or a context that nobody starts.
fn initialise_badly(random: &mut Random) -> bool {
    let id = fighters();
    let mut wanted = context(id, never, 0);
    wanted.ctrlreg[3] = frame(random) * PAGE;
    // Not the root that all run on: programs do not see the machine-to-physical table in theirs.
    wanted.ctrlreg[1] = page(random).maddr();
    wanted.gdt_frames[0] = frame(random);
    // The last frame does not exist: whatever was taken before it is given back.
    wanted.gdt_frames[1] = u64::MAX;
    wanted.gdt_ents = 600;
    vcpu_op(vcpu::INITIALISE, id, &mut wanted) < 0
}

fn runstate(random: &mut Random) -> bool {
    let mut info = RunstateInfo {
        state: 0,
        _hole0: [0; 4],
        state_entry_time: 0,
        time: [0; 4],
    };
    vcpu_op(vcpu::GET_RUNSTATE_INFO, other(random), &mut info) == 0
}

/// An area that others map, unmap, and use as a page table.
fn area(random: &mut Random) -> bool {
    let mut address = if random.below(2) == 0 {
        0
    } else {
        window(random).address + 8 * random.below(500)
    };
    vcpu_op(
        vcpu::REGISTER_RUNSTATE_MEMORY_AREA,
        other(random),
        &mut address,
    ) == 0
}

fn timer(random: &mut Random) -> bool {
    set_timer(shared::now() + random.below(1_000_000)) == 0
}

fn give_way(_: &mut Random) -> bool {
    yield_now();
    let _ = (call, address_of::<u64>, number::VCPU_OP);
    true
}
