//! Flushes of translations, on more and more vCPUs that run all the time.

use core::sync::atomic::{AtomicU32, Ordering};

use guest_runtime::hypercalls::call;
use guest_runtime::memory::{Page, mmuext, pte, read};
use guest_runtime::vcpus::{self, wait_until};
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::xen_abi::mmu::{
    MMUEXT_INVLPG_ALL, MMUEXT_INVLPG_LOCAL, MMUEXT_TLB_FLUSH_ALL, UVMF_ALL, UVMF_INVLPG,
};
use guest_runtime::{check, println};

use crate::ticks;

/// Seconds within which a vCPU starts.
const PATIENCE: u64 = 60;

static RUNNING: AtomicU32 = AtomicU32::new(1);

/// Runs all the time, with the translations that are flushed in use, at next to no instructions: each `pause` hands an
/// emulated CPU's turn on.
extern "sysv64" fn spin(page: u64) -> ! {
    RUNNING.fetch_add(1, Ordering::SeqCst);
    loop {
        let _ = read::<u64>(page);
        core::hint::spin_loop();
    }
}

/// Measures with one vCPU that runs, and with one more each time.
pub(crate) fn measure() {
    let page = Page::take();
    page.set(0, 1);
    let count = vcpus::count();
    for running in 1..=count {
        if running > 1 {
            check!(vcpus::start(running - 1, spin, page.address) == 0);
            check!(wait_until(PATIENCE, || RUNNING.load(Ordering::SeqCst) == running));
        }
        let show = |name: &str, ticks: u64| println!("FIGURE {name}_{running} {ticks}");
        let local = ticks(|| check!(mmuext(MMUEXT_INVLPG_LOCAL, page.address, 0) == 0));
        let one = ticks(|| check!(mmuext(MMUEXT_INVLPG_ALL, page.address, 0) == 0));
        let all = ticks(|| check!(mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0) == 0));
        let mapping = ticks(|| {
            let arguments = [
                page.address,
                page.maddr() | pte::PAGE_RW,
                UVMF_INVLPG | UVMF_ALL,
            ];
            check!(call(number::UPDATE_VA_MAPPING, &arguments) == 0);
            let _ = read::<u64>(page.address);
        });
        show("local", local);
        show("one", one);
        show("all", all);
        show("mapping", mapping);
    }
}
