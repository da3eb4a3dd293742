//! What vCPUs share: locks, translations, and each other's being up.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use guest_runtime::event_channels::{bind_ipi, close, send};
use guest_runtime::hypercalls::call;
use guest_runtime::memory::{self, PAGE, Page, address_of, mmuext, pte, read};
use guest_runtime::vcpus::{self, Barrier, SpinLock, vcpu_op, wait_until};
use guest_runtime::xen_abi::mmu::{
    MMUEXT_INVLPG_ALL, MMUEXT_INVLPG_MULTI, MMUEXT_TLB_FLUSH_ALL, MMUEXT_TLB_FLUSH_MULTI, UVMF_ALL,
    UVMF_INVLPG, UVMF_MULTI, UVMF_TLB_FLUSH,
};
use guest_runtime::xen_abi::{hypercall as number, vcpu};
use guest_runtime::{check, expect, expect_eq, shared};

use crate::{PATIENCE, disown, everywhere, finish, give, hits, own};

static COUNTER: SpinLock<(u64, u64)> = SpinLock::new((0, 0));
static COUNT: AtomicU32 = AtomicU32::new(0);
static BARRIER: Barrier = Barrier::new();
/// How often each vCPU takes the lock.
const TAKES: u64 = 500;

/// A lock that all want.
pub(crate) fn locks(count: u32) {
    COUNT.store(count, Ordering::SeqCst);
    *COUNTER.lock() = (0, 0);
    everywhere(count, |_| {
        for _ in 0..TAKES {
            let mut counter = COUNTER.lock();
            // Two words that a second holder would tear apart.
            check!(counter.0 == counter.1);
            counter.0 += 1;
            core::hint::spin_loop();
            counter.1 += 1;
        }
        BARRIER.wait(COUNT.load(Ordering::SeqCst));
        check!(COUNTER.lock().0 == TAKES * u64::from(COUNT.load(Ordering::SeqCst)));
    });
}

/// The page whose mapping changes.
static WINDOW: AtomicU64 = AtomicU64::new(0);
static WANTED: AtomicU64 = AtomicU64::new(0);
static SEEN: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

/// A page's mapping changes under vCPUs that use it all the time: after the flush they see the new page.
pub(crate) fn translations(count: u32) {
    let window = Page::take();
    let frames = [Page::take(), Page::take()];
    for (value, frame) in (1..).zip(frames) {
        frame.set(0, value);
    }
    expect_eq!(
        memory::update_va_mapping(window.address, frames[0].maddr() | pte::PAGE_RO),
        0
    );
    WINDOW.store(window.address, Ordering::SeqCst);
    WANTED.store(0, Ordering::SeqCst);
    STOP.store(false, Ordering::SeqCst);
    for id in 1..count {
        give(id, |_| {
            let mut last = 0;
            while !STOP.load(Ordering::SeqCst) {
                // Keeps the translation in use.
                let _ = read::<u64>(WINDOW.load(Ordering::SeqCst));
                let wanted = WANTED.load(Ordering::SeqCst);
                if wanted != last {
                    // The flush was before this was said: an old translation would be a mistake.
                    let value = read::<u64>(WINDOW.load(Ordering::SeqCst));
                    expect_eq!(value, wanted & 3, "turn {}", wanted >> 2);
                    last = wanted;
                    SEEN.fetch_add(1, Ordering::SeqCst);
                }
                let mut spins = 999;
                vcpus::spin(&mut spins);
            }
        });
    }
    // Which vCPUs to flush, as a mask; more than 64 of them need more words.
    let mut mask = [u64::MAX; 2];
    let mask_at = mask.as_mut_ptr().expose_provenance() as u64;
    // In each turn every vCPU has to run. Each kind of flush comes once at least.
    let turns: u64 = if count <= 32 { 24 } else { 6 };
    for turn in 0..turns {
        let which = (turn + 1) % 2;
        let entry = frames[which as usize].maddr() | pte::PAGE_RO;
        let plain = |flags: u64| call(number::UPDATE_VA_MAPPING, &[window.address, entry, flags]);
        let result = match turn % 6 {
            0 => plain(UVMF_INVLPG | UVMF_ALL),
            1 => plain(UVMF_TLB_FLUSH | UVMF_ALL),
            2 => plain(UVMF_INVLPG | UVMF_MULTI | mask_at),
            3 => plain(0) | mmuext(MMUEXT_INVLPG_ALL, window.address, 0),
            4 => plain(0) | mmuext(MMUEXT_TLB_FLUSH_MULTI, 0, mask_at),
            _ => {
                if turn % 12 == 5 {
                    plain(0) | mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0)
                } else {
                    plain(0) | mmuext(MMUEXT_INVLPG_MULTI, window.address, mask_at)
                }
            }
        };
        expect_eq!(result, 0, "turn {turn}");
        SEEN.store(0, Ordering::SeqCst);
        WANTED.store((turn + 1) << 2 | (which + 1), Ordering::SeqCst);
        expect_eq!(read::<u64>(window.address), which + 1);
        check!(wait_until(PATIENCE, || SEEN.load(Ordering::SeqCst) == count - 1));
    }
    STOP.store(true, Ordering::SeqCst);
    for id in 1..count {
        finish(id);
    }
    expect_eq!(window.map_rw(), 0);
    let _ = (address_of(&mut mask), PAGE);
}

static DOWNS: AtomicU32 = AtomicU32::new(0);
/// How often a vCPU takes itself down.
const TIMES: u32 = 20;

/// vCPUs that go down, by themselves and by others, and come up where they were.
pub(crate) fn down_and_up(count: u32) {
    if count < 2 {
        return;
    }
    DOWNS.store(0, Ordering::SeqCst);
    give(1, |id| {
        for turn in 0..TIMES {
            DOWNS.store(turn + 1, Ordering::SeqCst);
            // Returns when it is up again.
            check!(vcpus::down(id) == 0);
        }
    });
    for turn in 0..TIMES {
        check!(wait_until(PATIENCE, || DOWNS.load(Ordering::SeqCst)
            == turn + 1
            && vcpus::is_up(1) == 0));
        check!(DOWNS.load(Ordering::SeqCst) == turn + 1);
        expect_eq!(vcpus::up(1), 0);
    }
    finish(1);
    // By another, while it computes.
    STOP.store(false, Ordering::SeqCst);
    WANTED.store(0, Ordering::SeqCst);
    give(1, |_| {
        while !STOP.load(Ordering::SeqCst) {
            WANTED.fetch_add(1, Ordering::SeqCst);
        }
    });
    for _ in 0..TIMES {
        let seen = WANTED.load(Ordering::SeqCst);
        check!(wait_until(PATIENCE, || WANTED.load(Ordering::SeqCst) != seen));
        expect_eq!(vcpus::down(1), 0);
        expect_eq!(vcpus::is_up(1), 0);
        // It may be on its way out still, but not for long.
        let mut info = vcpu::RunstateInfo {
            state: 0,
            _hole0: [0; 4],
            state_entry_time: 0,
            time: [0; 4],
        };
        let start = shared::now();
        while info.state != vcpu::RUNSTATE_OFFLINE {
            check!(vcpu_op(vcpu::GET_RUNSTATE_INFO, 1, &mut info) == 0);
            check!(shared::now() - start < PATIENCE * 1_000_000_000);
        }
        let stopped = WANTED.load(Ordering::SeqCst);
        let start = shared::now();
        while shared::now() - start < crate::MILLISECOND {}
        expect!(WANTED.load(Ordering::SeqCst) == stopped);
        expect_eq!(vcpus::up(1), 0);
    }
    STOP.store(true, Ordering::SeqCst);
    finish(1);
    // Down twice is down.
    expect_eq!(vcpus::down(1), 0);
    expect_eq!(vcpus::down(1), 0);
    expect_eq!(vcpus::up(1), 0);
    info_moves();
}

static PORT: AtomicU32 = AtomicU32::new(0);

/// The info of a vCPU that ran already moves while it is down: it hears of its events where that is now.
fn info_moves() {
    let port = bind_ipi(1).unwrap_or(0);
    check!(port != 0);
    own(port, 1);
    PORT.store(port, Ordering::SeqCst);
    DOWNS.store(0, Ordering::SeqCst);
    give(1, |id| {
        DOWNS.store(1, Ordering::SeqCst);
        check!(vcpus::down(id) == 0);
        shared::set_upcall_mask(false);
        let port = PORT.load(Ordering::SeqCst);
        let seen = hits(port);
        check!(send(port) == 0);
        check!(wait_until(PATIENCE, || hits(port) > seen));
        shared::set_upcall_mask(true);
    });
    check!(wait_until(PATIENCE, || DOWNS.load(Ordering::SeqCst) == 1
        && vcpus::is_up(1) == 0));
    expect_eq!(vcpus::register_info(1, Page::take(), 64), 0);
    expect_eq!(vcpus::up(1), 0);
    finish(1);
    disown(port);
    expect_eq!(close(port), 0);
}
