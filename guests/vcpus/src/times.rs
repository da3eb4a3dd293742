//! Timers and run-state times of each vCPU.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use guest_runtime::event_channels::{bind_virq_to, block, close, set_timer};
use guest_runtime::memory::{PAGE, Page, address_of, read};
use guest_runtime::vcpus::{self, MAX, vcpu_op, wait_until};
use guest_runtime::xen_abi::vcpu::{self, RunstateInfo};
use guest_runtime::xen_abi::virq;
use guest_runtime::{check, expect, expect_eq, shared};

use crate::{
    EEXIST, EINVAL, MILLISECOND, PATIENCE, disown, everywhere, finish, give, hits, is_after, own,
};

static TIMERS: [AtomicU32; MAX] = [const { AtomicU32::new(0) }; MAX];

/// Every vCPU has a timer, and nobody else's.
pub(crate) fn timers(count: u32) {
    for id in 0..count {
        let port = bind_virq_to(virq::TIMER, id).unwrap_or(0);
        check!(port != 0);
        expect_eq!(bind_virq_to(virq::TIMER, id), Err(EEXIST));
        own(port, id);
        TIMERS[id as usize].store(port, Ordering::SeqCst);
        if id != 0 {
            let mut request = vcpu::SetSingleshotTimer {
                timeout_abs_ns: 1,
                flags: 0,
                _hole0: [0; 4],
            };
            expect_eq!(
                vcpu_op(vcpu::SET_SINGLESHOT_TIMER, id, &mut request),
                EINVAL
            );
        }
    }
    everywhere(count, |id| {
        let port = TIMERS[id as usize].load(Ordering::SeqCst);
        // Whatever a periodic timer may do is not what is looked at here.
        check!(vcpu_op(vcpu::STOP_PERIODIC_TIMER, id, &mut 0_u64) == 0);
        for delay in [1, 7, 30] {
            shared::set_upcall_mask(true);
            let (start, seen) = (shared::now(), hits(port));
            check!(set_timer(start + delay * MILLISECOND) == 0);
            // Other events end a block too.
            while hits(port) == seen {
                shared::set_upcall_mask(true);
                block();
            }
            let end = shared::now();
            expect!(is_after(end, start + delay * MILLISECOND));
            expect!(is_after(start + (delay + 20_000) * MILLISECOND, end));
        }
        // And while it computes.
        let (start, seen) = (shared::now(), hits(port));
        shared::set_upcall_mask(false);
        check!(set_timer(start + 5 * MILLISECOND) == 0);
        check!(wait_until(PATIENCE, || hits(port) > seen));
        shared::set_upcall_mask(true);
        expect!(is_after(shared::now(), start + 5 * MILLISECOND));
    });
    for id in 0..count {
        let port = TIMERS[id as usize].load(Ordering::SeqCst);
        disown(port);
        expect_eq!(close(port), 0);
    }
}

const EMPTY: RunstateInfo = RunstateInfo {
    state: 9,
    _hole0: [0; 4],
    state_entry_time: 0,
    time: [0; 4],
};

fn runstate(id: u32) -> RunstateInfo {
    let mut info = EMPTY;
    check!(vcpu_op(vcpu::GET_RUNSTATE_INFO, id, &mut info) == 0);
    info
}

fn sum(info: &RunstateInfo) -> u64 {
    info.time.iter().sum()
}

static AREA: AtomicU64 = AtomicU64::new(0);
static GO_ON: AtomicU32 = AtomicU32::new(0);

/// The times of each vCPU add up to time, whatever the vCPUs do.
pub(crate) fn runstates(count: u32) {
    const SLACK: u64 = 20_000 * MILLISECOND;
    let mut before = [(0, 0); MAX];
    for (id, before) in (0..count).zip(&mut before) {
        let early = shared::now();
        let info = runstate(id);
        expect!(is_after(shared::now(), info.state_entry_time));
        // From when the domain was made; what it was before is not the guest's.
        expect!(sum(&info) <= shared::now() + SLACK);
        *before = (early, sum(&info));
    }
    everywhere(count, |_| {
        let start = shared::now();
        while shared::now() - start < 3 * MILLISECOND {
            core::hint::spin_loop();
        }
    });
    for (id, (early, old)) in (0..count).zip(before) {
        let (start, info, end) = (shared::now(), runstate(id), shared::now());
        let passed = sum(&info) - old;
        // What passed for the vCPU is what passed on the clock, between the two looks at it.
        expect!(is_after(end, early + passed));
        expect!(is_after(early + passed + 50 * MILLISECOND, start));
        let [running, ..] = info.time;
        expect!(running >= 3 * MILLISECOND / 2);
    }
    if count < 2 {
        return;
    }
    // What a vCPU is in: asleep, down, or with the CPU.
    expect!(wait_until(PATIENCE, || runstate(1).state == vcpu::RUNSTATE_BLOCKED));
    expect_eq!(runstate(0).state, vcpu::RUNSTATE_RUNNING);
    // (One that sleeps when it is taken down is still called blocked.)
    GO_ON.store(0, Ordering::SeqCst);
    give(1, |_| {
        while GO_ON.load(Ordering::SeqCst) < 2 {
            GO_ON.fetch_max(1, Ordering::SeqCst);
        }
    });
    expect!(wait_until(PATIENCE, || GO_ON.load(Ordering::SeqCst) == 1));
    expect_eq!(vcpus::down(1), 0);
    expect!(wait_until(PATIENCE, || runstate(1).state == vcpu::RUNSTATE_OFFLINE));
    let offline = runstate(1).time[3];
    let start = shared::now();
    while shared::now() - start < 3 * MILLISECOND {}
    expect!(is_after(runstate(1).time[3], offline + 3 * MILLISECOND));
    expect_eq!(vcpus::up(1), 0);
    GO_ON.store(2, Ordering::SeqCst);
    finish(1);
    // The copy in memory, which another vCPU registers for it, says the same.
    let area = Page::take();
    AREA.store(area.address, Ordering::SeqCst);
    let mut address = area.address;
    expect_eq!(
        vcpu_op(vcpu::REGISTER_RUNSTATE_MEMORY_AREA, 1, &mut address),
        0
    );
    give(1, |_| {
        let start = shared::now();
        while shared::now() - start < 3 * MILLISECOND {}
        // After a switch at the latest the copy is true.
        check!(guest_runtime::event_channels::poll(&mut [], shared::now() + MILLISECOND) == 0);
        let copy: RunstateInfo = read(AREA.load(Ordering::SeqCst));
        expect_eq!(copy.state, vcpu::RUNSTATE_RUNNING);
        expect!(copy.time[0] > 0 && copy.state_entry_time > 0);
        let now = runstate(1);
        expect!(copy.state_entry_time <= now.state_entry_time);
        expect!(sum(&copy) <= sum(&now));
    });
    finish(1);
    address = 0;
    expect_eq!(
        vcpu_op(vcpu::REGISTER_RUNSTATE_MEMORY_AREA, 1, &mut address),
        0
    );
    let _ = (address_of(&mut address), PAGE);
}
