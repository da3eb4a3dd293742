//! Several vCPUs fight over the same page tables, grants, ports, memory and vCPUs, at random, with no lock between
//! them: whatever they do, the hypervisor stays up, and its counts stay balanced.
//!
//! The arena is a few pages that all vCPUs use at the same time as page tables of all levels, as writable pages, as
//! pages of descriptors, as granted pages, and as pages that are given back. In the midst of it and at the end the
//! hypervisor is asked to audit its counts (debug key `B`); that the audits find everything balanced is for the harness
//! to see. At the end everything is released, and every page must be good for everything again.
//!
//! Options: `seed=N` to repeat a fight (as far as CPUs repeat themselves), `seconds=N`, `careful=1` for Xen itself.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod arena;
mod grants;
mod memory;
mod ports;
mod processors;
mod tables;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use guest_runtime::memory::address_of;
use guest_runtime::random::Random;
use guest_runtime::traps::{EVENT, Frame, NMI, Next};
use guest_runtime::vcpus::{self, wait_until};
use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::xen_abi::sysctl::{self, DebugKeys, Sysctl, SysctlUnion};
use guest_runtime::xen_abi::{GuestHandle, hypercall as number};
use guest_runtime::{
    check, event_channels, expect, guest, hypercalls, option, println, shared, traps,
};

guest!(main);

/// Most vCPUs that fight.
pub(crate) const FIGHTERS: u32 = 4;
const SECOND: u64 = 1_000_000_000;
/// How long vCPUs may take to come to an end, in seconds.
const PATIENCE: u64 = 120;

static STOP: AtomicBool = AtomicBool::new(false);
static SEED: AtomicU64 = AtomicU64::new(0);
static COUNT: AtomicU32 = AtomicU32::new(1);
static ENDED: AtomicU32 = AtomicU32::new(0);

/// How many vCPUs fight.
pub(crate) fn fighters() -> u32 {
    COUNT.load(Ordering::Relaxed)
}

/// A kind of operation: how often it was tried, and how often it was done.
pub(crate) struct Kind {
    name: &'static str,
    run: fn(&mut Random) -> bool,
    tried: AtomicU64,
    done: AtomicU64,
}

impl Kind {
    pub(crate) const fn new(name: &'static str, run: fn(&mut Random) -> bool) -> Self {
        Self {
            name,
            run,
            tried: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }

    fn attempt(&self, random: &mut Random) {
        let done = (self.run)(random);
        self.tried.fetch_add(1, Ordering::Relaxed);
        self.done.fetch_add(u64::from(done), Ordering::Relaxed);
    }
}

/// All groups of operations, each with the share of all operations that it gets.
static GROUPS: [(u64, &[Kind]); 5] = [
    (60, &tables::KINDS),
    (15, &grants::KINDS),
    (15, &ports::KINDS),
    (6, &memory::KINDS),
    (4, &processors::KINDS),
];

fn one_operation(random: &mut Random) {
    let mut rest = random.below(100);
    for (share, kinds) in &GROUPS {
        if rest < *share {
            kinds[random.below(kinds.len() as u64) as usize].attempt(random);
            return;
        }
        rest -= share;
    }
}

fn on_trap(frame: &mut Frame) -> Next {
    match frame.vector {
        EVENT => {
            shared::clear_upcall_pending();
            shared::take_pending_selector();
            Next::Resume
        }
        NMI => Next::Resume,
        _ => Next::Unwind,
    }
}

fn fight(id: u32) {
    let mut random = Random(SEED.load(Ordering::Relaxed) ^ (u64::from(id) << 56));
    while !STOP.load(Ordering::Relaxed) {
        for _ in 0..64 {
            one_operation(&mut random);
        }
        if id == 0 {
            // Somebody has to be there to bring the others up.
            processors::bring_all_up();
        }
    }
    tables::release_own();
}

extern "sysv64" fn fighter(_: u64) -> ! {
    fight(vcpus::id());
    ENDED.fetch_add(1, Ordering::SeqCst);
    loop {
        shared::set_upcall_mask(true);
        event_channels::poll(&mut [], shared::now() + SECOND);
    }
}

/// Asks the hypervisor to audit its counts.
fn audit() {
    let mut key = b'B';
    let keys = DebugKeys {
        keys: GuestHandle::new(address_of(&mut key)),
        nr_keys: 1,
        _hole0: [0; 4],
    };
    let mut request = Sysctl {
        cmd: sysctl::DEBUG_KEYS,
        interface_version: sysctl::INTERFACE_VERSION,
        u: SysctlUnion { words: [0; 16] },
    };
    request.u.set(keys);
    check!(hypercalls::call(number::SYSCTL, &[address_of(&mut request)]) == 0);
}

fn main(info: &'static StartInfo) {
    shared::map(info);
    traps::init();
    traps::set_hook(Some(on_trap));
    shared::set_upcall_mask(true);
    let seed = option(info, "seed=").unwrap_or_else(shared::tsc);
    let seconds = option(info, "seconds=").unwrap_or(20);
    let count = vcpus::count().min(FIGHTERS);
    println!("{count} vCPUs fight for {seconds} s, seed={seed}");
    SEED.store(seed, Ordering::Relaxed);
    COUNT.store(count, Ordering::Relaxed);
    arena::init();
    grants::init();
    memory::init();
    processors::init(count);
    // The console would stop every vCPU for every line: hypercalls that are not there are logged once.
    for id in 1..count {
        check!(vcpus::start(id, fighter, 0) == 0);
    }
    let end = shared::now() + seconds * SECOND;
    let mut random = Random(seed);
    let mut next_audit = shared::now() + 2 * SECOND;
    let mut audits = 0;
    while shared::now() < end {
        for _ in 0..64 {
            one_operation(&mut random);
        }
        processors::bring_all_up();
        if shared::now() > next_audit {
            audit();
            audits += 1;
            next_audit = shared::now() + 2 * SECOND;
        }
    }
    STOP.store(true, Ordering::SeqCst);
    let all_ended = wait_until(PATIENCE, || {
        processors::bring_all_up();
        ENDED.load(Ordering::SeqCst) == count - 1
    });
    check!(all_ended);
    tables::release_own();
    println!("{audits} audits on the way; the end");
    ports::release();
    memory::unpin_all();
    tables::release();
    // Entries of mappings are put back for this, which needs pages that can be mapped.
    grants::release();
    tables::release();
    memory::release();
    tables::try_all();
    audit();
    for (_, kinds) in &GROUPS {
        for kind in *kinds {
            let (tried, done) = (
                kind.tried.load(Ordering::Relaxed),
                kind.done.load(Ordering::Relaxed),
            );
            println!("{:28} {tried:8} tried, {done:8} done", kind.name);
            expect!(tried > 0);
            // An operation that never succeeds tests nothing.
            expect!(done > 0 || tried < 1000);
        }
    }
}
