//! Several vCPUs: brought up and down, interrupted by each other, each with timers and run-state times of its own,
//! with locks and translations that they share.
//!
//! Options: `careful=1` for Xen itself, `vcpus=N` for the number that must be there.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod errors;
mod interrupts;
mod times;
mod together;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use guest_runtime::event_channels::block;
use guest_runtime::traps::{EVENT, Frame, Next};
use guest_runtime::vcpus::{self, MAX, wait_until};
use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::{check, expect, expect_eq, guest, option, println, shared, traps};

guest!(main);

pub(crate) const EEXIST: i64 = -17;
pub(crate) const EINVAL: i64 = -22;
pub(crate) const ENOENT: i64 = -2;
pub(crate) const EFAULT: i64 = -14;
pub(crate) const MILLISECOND: u64 = 1_000_000;
/// How long anything may take on an emulated machine that others use too, in seconds.
pub(crate) const PATIENCE: u64 = 60;

/// What a vCPU is to do next.
static JOBS: [AtomicUsize; MAX] = [const { AtomicUsize::new(0) }; MAX];
/// Ports by which vCPUs are woken.
static WAKERS: [AtomicU32; MAX] = [const { AtomicU32::new(0) }; MAX];
/// Which vCPU a port belongs to, plus one.
static OWNERS: [AtomicU32; 4096] = [const { AtomicU32::new(0) }; 4096];
/// How often a port came.
static HITS: [AtomicU64; 4096] = [const { AtomicU64::new(0) }; 4096];
/// Upcalls of each vCPU.
static UPCALLS: [AtomicU64; MAX] = [const { AtomicU64::new(0) }; MAX];
static STARTED: [AtomicBool; MAX] = [const { AtomicBool::new(false) }; MAX];

/// Nanoseconds by which the clocks of two vCPUs may differ: none, but on Xen itself on emulated CPUs.
static SKEW: AtomicU64 = AtomicU64::new(0);

/// Whether a time is not before another, as well as clocks agree.
pub(crate) fn is_after(time: u64, other: u64) -> bool {
    time.wrapping_add(SKEW.load(Ordering::Relaxed))
        .wrapping_sub(other) as i64
        >= 0
}

/// Makes a port one that the upcall of this vCPU takes note of.
pub(crate) fn own(port: u32, vcpu: u32) {
    HITS[port as usize].store(0, Ordering::SeqCst);
    OWNERS[port as usize].store(vcpu + 1, Ordering::SeqCst);
    shared::set_masked(port, false);
}

/// Makes a port nobody's.
pub(crate) fn disown(port: u32) {
    shared::set_masked(port, true);
    OWNERS[port as usize].store(0, Ordering::SeqCst);
}

/// How often a port came since it was owned.
pub(crate) fn hits(port: u32) -> u64 {
    HITS[port as usize].load(Ordering::SeqCst)
}

/// Upcalls of a vCPU.
pub(crate) fn upcalls(vcpu: u32) -> u64 {
    UPCALLS[vcpu as usize].load(Ordering::SeqCst)
}

fn on_trap(frame: &mut Frame) -> Next {
    if frame.vector != EVENT {
        return Next::Unwind;
    }
    let id = vcpus::id();
    UPCALLS[id as usize].fetch_add(1, Ordering::SeqCst);
    shared::clear_upcall_pending();
    let mut words = shared::take_pending_selector();
    while words != 0 {
        let word = words.trailing_zeros();
        words &= words - 1;
        let mut ports = shared::due(u64::from(word));
        while ports != 0 {
            let port = word * 64 + ports.trailing_zeros();
            ports &= ports - 1;
            let is_mine = OWNERS[port as usize].load(Ordering::SeqCst) == id + 1;
            if is_mine && shared::take_pending(port) {
                HITS[port as usize].fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    Next::Resume
}

/// What all vCPUs but the first do: a job, again and again, asleep in between.
extern "sysv64" fn worker(argument: u64) -> ! {
    let id = vcpus::id();
    check!(argument == u64::from(id) * 3 + 1);
    check!(shared::upcall_mask());
    STARTED[id as usize].store(true, Ordering::SeqCst);
    loop {
        let job = JOBS[id as usize].load(Ordering::Acquire);
        if job == 0 {
            // Blocking unmasks, and handlers leave the mask as they found it.
            block();
            shared::set_upcall_mask(true);
            continue;
        }
        // SAFETY: `give` stored a function of this type.
        let job: fn(u32) = unsafe { core::mem::transmute(job) };
        job(id);
        // Release: what the job did is seen by who waits for its end.
        JOBS[id as usize].store(0, Ordering::Release);
    }
}

/// Has a vCPU do a job.
pub(crate) fn give(id: u32, job: fn(u32)) {
    check!(JOBS[id as usize].load(Ordering::SeqCst) == 0);
    JOBS[id as usize].store(job as usize, Ordering::Release);
    check!(guest_runtime::event_channels::send(WAKERS[id as usize].load(Ordering::SeqCst)) == 0);
}

/// Waits until a vCPU is done with its job.
pub(crate) fn finish(id: u32) {
    if !wait_until(PATIENCE, || JOBS[id as usize].load(Ordering::Acquire) == 0) {
        println!("vCPU {id} does not end its job");
        guest_runtime::fail();
    }
}

/// Has all vCPUs do a job, this one too.
pub(crate) fn everywhere(count: u32, job: fn(u32)) {
    for id in 1..count {
        give(id, job);
    }
    job(0);
    for id in 1..count {
        finish(id);
    }
}

fn start_all(count: u32) {
    for id in 1..count {
        expect_eq!(vcpus::is_up(id), 0, "vCPU {id}");
        check!(vcpus::place_info(id) == 0);
        // Not before it has a context.
        expect_eq!(vcpus::up(id), EINVAL, "vCPU {id}");
        if id == 1 {
            errors::initialise(id);
        }
        check!(vcpus::initialise(id, worker, u64::from(id) * 3 + 1) == 0);
        expect_eq!(vcpus::is_up(id), 0, "vCPU {id}");
        expect_eq!(
            vcpus::initialise(id, worker, 0),
            EEXIST,
            "vCPU {id} a second time"
        );
        let port = guest_runtime::event_channels::bind_ipi(id).unwrap_or(0);
        check!(port != 0);
        own(port, id);
        WAKERS[id as usize].store(port, Ordering::SeqCst);
        expect_eq!(vcpus::up(id), 0, "vCPU {id}");
        expect_eq!(vcpus::is_up(id), 1, "vCPU {id}");
        // That is no mistake.
        expect_eq!(vcpus::up(id), 0, "vCPU {id} again");
    }
    for id in 1..count {
        check!(wait_until(PATIENCE, || STARTED[id as usize].load(Ordering::SeqCst)));
    }
}

fn main(info: &'static StartInfo) {
    shared::map(info);
    traps::init();
    traps::set_hook(Some(on_trap));
    shared::set_upcall_mask(true);
    if option(info, "careful=").is_some() {
        SKEW.store(2_000 * MILLISECOND, Ordering::Relaxed);
    }
    let count = vcpus::count();
    println!("{count} vCPUs");
    if let Some(wanted) = option(info, "vcpus=") {
        check!(u64::from(count) == wanted);
    }
    errors::numbers(count);
    start_all(count);
    println!("all are up");
    /// Takes the number of vCPUs.
    type Phase = fn(u32);
    let phases: [(&str, Phase); 9] = [
        ("interrupts", interrupts::each_to_each),
        ("a round", interrupts::round),
        ("ports that move", interrupts::moving),
        ("timers", times::timers),
        ("run states", times::runstates),
        ("polling", interrupts::polling),
        ("locks", together::locks),
        ("translations", together::translations),
        ("down and up", together::down_and_up),
    ];
    for (name, phase) in phases {
        let start = shared::now();
        phase(count);
        println!("{name}: {} ms", (shared::now() - start) / MILLISECOND);
    }
    expect!(traps::count() > 0 || count == 1);
}
