//! Ports between vCPUs.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use guest_runtime::event_channels::{
    alloc_unbound, bind_interdomain, bind_ipi, bind_vcpu, block, close, poll, send, status,
};
use guest_runtime::vcpus::{self, Barrier, MAX, wait_until};
use guest_runtime::xen_abi::{domid, event_channel as op};
use guest_runtime::{check, expect, expect_eq, shared};

use crate::{EINVAL, ENOENT, PATIENCE, disown, everywhere, finish, give, hits, own, upcalls};

static PORTS: [AtomicU32; MAX] = [const { AtomicU32::new(0) }; MAX];
static COUNT: AtomicU32 = AtomicU32::new(0);
static BARRIER: Barrier = Barrier::new();
/// Interrupts that each vCPU sends to each.
const INTERRUPTS: u64 = 5;
/// Among more vCPUs each waits for all others at once: they have to run for it, and those that wait keep the CPUs.
const FEW: u32 = 8;

/// Each vCPU interrupts all others; none is lost, and none reaches another vCPU.
pub(crate) fn each_to_each(count: u32) {
    COUNT.store(count, Ordering::SeqCst);
    for id in 0..count {
        let port = bind_ipi(id).unwrap_or(0);
        check!(port != 0);
        own(port, id);
        PORTS[id as usize].store(port, Ordering::SeqCst);
        expect_eq!(status(port), Ok((op::EVTCHNSTAT_IPI, id, 0)));
        // It stays with its vCPU.
        expect_eq!(bind_vcpu(port, 0), EINVAL);
    }
    expect_eq!(bind_ipi(count), Err(ENOENT));
    let before = upcalls(0);
    everywhere(count, |_| {
        shared::set_upcall_mask(false);
        let count = COUNT.load(Ordering::SeqCst);
        let batch = if count <= FEW { 1 } else { count };
        for _ in 0..INTERRUPTS {
            for first in (0..count).step_by(batch as usize) {
                let mut seen = [0; MAX];
                for (to, seen) in (first..first + batch).zip(&mut seen) {
                    let port = PORTS[to as usize].load(Ordering::SeqCst);
                    *seen = hits(port);
                    check!(send(port) == 0);
                }
                // Several may become one, but not one before it was sent.
                for (to, seen) in (first..first + batch).zip(seen) {
                    let port = PORTS[to as usize].load(Ordering::SeqCst);
                    check!(wait_until(PATIENCE, || hits(port) > seen));
                }
            }
        }
        // Not deaf before the others are done.
        BARRIER.wait(count);
        shared::set_upcall_mask(true);
    });
    expect!(upcalls(0) > before);
    for id in 0..count {
        let port = PORTS[id as usize].load(Ordering::SeqCst);
        expect!(hits(port) >= INTERRUPTS);
        disown(port);
        expect_eq!(close(port), 0);
    }
}

static ROUNDS: AtomicU64 = AtomicU64::new(0);
/// How often the turn goes around.
const TURNS: u64 = 20;

/// A turn goes from vCPU to vCPU; all but one sleep.
pub(crate) fn round(count: u32) {
    ROUNDS.store(0, Ordering::SeqCst);
    for id in 0..count {
        let port = bind_ipi(id).unwrap_or(0);
        check!(port != 0);
        own(port, id);
        PORTS[id as usize].store(port, Ordering::SeqCst);
    }
    everywhere(count, |id| {
        let count = u64::from(COUNT.load(Ordering::SeqCst));
        let end = TURNS * count;
        loop {
            shared::set_upcall_mask(true);
            let turn = ROUNDS.load(Ordering::SeqCst);
            if turn >= end {
                break;
            }
            if turn % count == u64::from(id) {
                ROUNDS.store(turn + 1, Ordering::SeqCst);
                let next = (turn + 1) % count;
                check!(send(PORTS[next as usize].load(Ordering::SeqCst)) == 0);
            } else {
                check!(block() == 0);
            }
        }
        // Those that sleep have to hear of the end.
        for to in 0..count {
            check!(send(PORTS[to as usize].load(Ordering::SeqCst)) == 0);
        }
    });
    expect_eq!(ROUNDS.load(Ordering::SeqCst), TURNS * u64::from(count));
    for id in 0..count {
        let port = PORTS[id as usize].load(Ordering::SeqCst);
        disown(port);
        expect_eq!(close(port), 0);
    }
}

/// A port that is given to one vCPU after the other.
pub(crate) fn moving(count: u32) {
    let one = alloc_unbound(domid::DOMID_SELF).unwrap_or(0);
    let two = bind_interdomain(domid::DOMID_SELF, one).unwrap_or(0);
    check!(one != 0 && two != 0);
    expect_eq!(bind_vcpu(one, count), ENOENT);
    shared::set_upcall_mask(true);
    for id in 0..count {
        expect_eq!(bind_vcpu(one, id), 0);
        own(one, id);
        expect_eq!(status(one).map(|(_, vcpu, _)| vcpu), Ok(id));
        let before = upcalls(id);
        expect_eq!(send(two), 0);
        if id == 0 {
            check!(block() == 0);
            shared::set_upcall_mask(true);
        }
        check!(wait_until(PATIENCE, || hits(one) == 1));
        expect!(upcalls(id) > before);
    }
    disown(one);
    expect_eq!(close(one), 0);
    expect_eq!(close(two), 0);
}

static POLLED: AtomicU32 = AtomicU32::new(0);
static HELD: AtomicU32 = AtomicU32::new(0);
const KICKS: u32 = 30;

/// A vCPU polls for a masked port that another kicks, as kernels wait for locks.
pub(crate) fn polling(count: u32) {
    if count < 2 {
        return;
    }
    let port = bind_ipi(1).unwrap_or(0);
    check!(port != 0);
    shared::set_masked(port, true);
    POLLED.store(port, Ordering::SeqCst);
    HELD.store(0, Ordering::SeqCst);
    give(1, |_| {
        let port = POLLED.load(Ordering::SeqCst);
        for kick in 0..KICKS {
            // The kick may come before the poll, and other events end a poll too.
            while !shared::take_pending(port) {
                check!(poll(&mut [port], 0) == 0);
            }
            HELD.store(kick + 1, Ordering::SeqCst);
        }
    });
    for kick in 0..KICKS {
        expect_eq!(send(port), 0);
        check!(wait_until(PATIENCE, || HELD.load(Ordering::SeqCst) > kick));
    }
    finish(1);
    // A time ends it too, on every vCPU.
    everywhere(count, |id| {
        let end = shared::now() + 3 * crate::MILLISECOND;
        let mut polls = 0;
        while shared::now() < end {
            check!(poll(&mut [], end) == 0);
            polls += 1;
        }
        // It waits for the time, and not for a while at most; any event of the domain wakes it meanwhile, as those do by
        // which the others are told to begin.
        expect!(polls < 10 + COUNT.load(Ordering::SeqCst));
        check!(vcpus::id() == id);
    });
    expect_eq!(close(port), 0);
}
