//! The destruction of a domain: everything that it has goes back, in pieces that each take a bounded time.
//!
//! The order is what makes it safe: its vCPUs run no more; then no event, grant or page can be added; its page tables
//! are undone before the pins of what they mapped are given back, with a flush between. What others have mapped of it
//! stays theirs: while a grant of it is pinned the domain itself stays, and its account (with its number) until
//! the last frame is free.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use ::hypercall::Budget;
use addr::Mfn;
use event_channels::Closer;
use frames::{PageRef, Pending, Work};
use platform_memory::m2p;
use xen_abi::virq;

use crate::domain::{Domain, Life};
use crate::mm::{self, validator};
use crate::vcpu::Vcpu;
use crate::{domains, events, schedule};

/// Units of work before others may run.
const BUDGET: u32 = 1024;

/// Whether a destruction is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// It is, but for what others use.
    Done,
    /// The same call goes on.
    More,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Begin,
    Ports,
    Vcpus,
    Pages,
    Flush,
    Mappings,
    Done,
}

/// How far a domain's destruction has come.
#[derive(Default)]
pub struct Teardown {
    phase: Phase,
    /// The next port, vCPU or mapping.
    next: u32,
    /// The next page, kept in its place on the domain's list by the reference.
    page: Option<PageRef<'static>>,
    /// Tables that are half undone.
    pending: Pending,
}

/// Numbers of domains that are gone but for pages that others use.
static REMAINS: AtomicUsize = AtomicUsize::new(0);

/// Destroys a domain, or goes on with that. The caller is not a vCPU of it, and holds no lock but its own state.
pub fn destroy(domain: &Arc<Domain>) -> Progress {
    let is_new = domain
        .teardown
        .try_lock()
        .is_some_and(|teardown| teardown.phase == Phase::Begin);
    if is_new {
        domain.set_life(Life::Dying);
        schedule::pause_and_wait(domain);
    }
    // Another CPU is at it, or still waits for the vCPUs to stop: it will be this one's turn.
    let Some(mut teardown) = domain.teardown.try_lock() else {
        return Progress::More;
    };
    let mut budget = Budget::new(BUDGET);
    while teardown.phase != Phase::Done {
        if teardown.step(domain, &mut budget) == Progress::More {
            drop(teardown);
            mm::collect_limbo();
            return Progress::More;
        }
    }
    drop(teardown);
    if domain.life() != Life::Dead {
        domain.set_life(Life::Dead);
        log::info!("d{}: destroyed", domain.id());
        events::send_global_virq(virq::DOM_EXC);
    }
    bury(domain);
    Progress::Done
}

impl Teardown {
    /// Does a phase, or as much of it as the budget allows.
    fn step(&mut self, domain: &Arc<Domain>, budget: &mut Budget) -> Progress {
        let (done, next_phase) = match self.phase {
            Phase::Begin => (self.begin(domain), Phase::Ports),
            Phase::Ports => (self.close_ports(domain, budget), Phase::Vcpus),
            Phase::Vcpus => (self.release_vcpus(domain, budget), Phase::Pages),
            Phase::Pages => (self.release_pages(domain, budget), Phase::Flush),
            Phase::Flush => {
                // From here on no CPU has a translation that a page table of the domain's made.
                mm::flush_all_cpus();
                (Progress::Done, Phase::Mappings)
            }
            Phase::Mappings => (self.release_mappings(domain, budget), Phase::Done),
            Phase::Done => (Progress::Done, Phase::Done),
        };
        if done == Progress::Done {
            self.phase = next_phase;
            self.next = 0;
        }
        done
    }

    fn begin(&self, domain: &Domain) -> Progress {
        // Ends a claim: that cannot fail.
        let _ = domain.memory.claim(0);
        events::forget_virq_handler(domain.id());
        domain.watchdogs.lock().unregister();
        domain.event_channels.lock().set_dying();
        domain.grants.lock().set_dying();
        Progress::Done
    }

    fn close_ports(&mut self, domain: &Arc<Domain>, budget: &mut Budget) -> Progress {
        let (ports, active) = {
            let channels = domain.event_channels.lock();
            (channels.valid_ports(), channels.active_ports())
        };
        if active != 0 {
            while self.next < ports {
                if !budget.spend(1) {
                    return Progress::More;
                }
                // A port that is not in use cannot be closed.
                let _ = events::close(domain, self.next, Closer::Hypervisor);
                self.next += 1;
            }
        }
        let pages = domain.event_channels.lock().take_fifo();
        // After the lock: the pages may be freed.
        drop(pages);
        Progress::Done
    }

    fn release_vcpus(&mut self, domain: &Arc<Domain>, budget: &mut Budget) -> Progress {
        while self.next < domain.max_vcpus() {
            if let Some(vcpu) = domain.vcpu(self.next) {
                let mut work = Work::new(budget, &mut self.pending);
                if !release_vcpu(domain, vcpu, &mut work) {
                    return Progress::More;
                }
            }
            self.next += 1;
        }
        Progress::Done
    }

    /// Gives up the pages on the domain's list, one after the other.
    fn release_pages(&mut self, domain: &Domain, budget: &mut Budget) -> Progress {
        let table = mm::frame_table();
        let id = domain.id();
        let reference = |frame: Mfn| table.get(frame, id);
        loop {
            let page = match self.page.take() {
                Some(page) => page,
                None => {
                    if self.next != 0 {
                        return Progress::Done;
                    }
                    // No page is added to a dying domain: the list is walked once.
                    let first = domain.memory.pages.lock().first();
                    match first.map(reference) {
                        None => return Progress::Done,
                        Some(Some(page)) => page,
                        Some(None) => {
                            // On its way out already.
                            mm::collect_limbo();
                            if !budget.spend(1) {
                                return Progress::More;
                            }
                            continue;
                        }
                    }
                }
            };
            let frame = page.frame();
            let mut work = Work::new(budget, &mut self.pending);
            if validator().relinquish(frame, id, &mut work).is_err() || budget.is_exhausted() {
                self.page = Some(page);
                return Progress::More;
            }
            m2p::clear(frame);
            self.next = 1;
            self.page = loop {
                let next = domain.memory.pages.lock().next(table, frame);
                match next.map(reference) {
                    None => break None,
                    Some(Some(next)) => break Some(next),
                    // One that is on its way out leaves the list when limbo is collected.
                    Some(None) => mm::collect_limbo(),
                }
            };
        }
    }

    /// Gives back what the domain had mapped of others' grants.
    fn release_mappings(&mut self, domain: &Domain, budget: &mut Budget) -> Progress {
        loop {
            let mut maptrack = domain.maptrack.lock();
            let Some((handle, taken)) = maptrack.take_next(self.next) else {
                return Progress::Done;
            };
            let granting = taken.domid;
            let released = maptrack.finish(taken);
            drop(maptrack);
            self.next = handle;
            if let Some((pin, guard)) = released {
                drop(guard);
                // A domain whose grants are in use is not gone.
                if let Some(granting) = domains::find(granting) {
                    unpin(&granting, pin);
                }
            }
            if !budget.spend(1) {
                return Progress::More;
            }
        }
    }
}

/// Gives up what a vCPU that runs no more keeps of its domain. False if there is more to do.
fn release_vcpu(domain: &Domain, vcpu: &Vcpu, work: &mut Work<'_>) -> bool {
    if validator().resume(work).is_err() {
        return false;
    }
    let Some(mut state) = vcpu.state.try_lock() else {
        // Another vCPU of the controller's looks at it.
        return false;
    };
    let state = &mut *state;
    schedule::remove(vcpu);
    mm::forget_ldt(domain, vcpu);
    domain.area.set_gdt_frames(vcpu.id() as usize, &[]);
    state.gdt_frames.clear();
    let roots = [
        state.roots.replace_kernel(None),
        state.roots.replace_user(None),
    ];
    for root in roots.into_iter().flatten() {
        validator().release_root(root, work);
    }
    // What a call of the vCPU's left half undone is found again page by page.
    state.pending = Pending::new();
    !work.has_pending()
}

/// Gives a pin back to the domain that granted it. If that was the last of a dead one, it is gone with the caller's
/// reference to it; then [`reap`] is due.
#[inline]
pub fn unpin(granting: &Arc<Domain>, pin: grants::Pin) {
    let page = granting.grants.lock().unpin(pin);
    drop(page);
    if granting.is_dying() {
        bury(granting);
    }
}

/// Leaves nothing but the account of a dead domain whose grants nobody uses any more.
fn bury(domain: &Arc<Domain>) {
    if domain.life() == Life::Dead
        && domain.grants.lock().pinned() == 0
        && domains::retire(domain.id()).is_some()
    {
        REMAINS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Frees the numbers of domains of which nothing is left any more, and tells who waits for that.
pub fn reap() {
    if REMAINS.load(Ordering::Relaxed) == 0 {
        return;
    }
    mm::collect_limbo();
    let gone = domains::forget_remains();
    if gone != 0 {
        REMAINS.fetch_sub(gone, Ordering::Relaxed);
        events::send_global_virq(virq::DOM_EXC);
    }
}
