//! The lock-free parts under every interleaving that the C11 memory model allows (loom): references and limbo, types
//! and their flushes, the lock of a table.
//!
//! This builds the crate's own sources once more, with loom's atomics in the place of the core's.

#![allow(dead_code, missing_docs, unused_imports, unreachable_pub)]

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

    macro_rules! const_fn {
        ($(#[$attribute:meta])* pub const fn $($function:tt)*) => {
            $(#[$attribute])*
            pub fn $($function)*
        };
    }

    pub(crate) use const_fn;
}

#[path = "../src/allocator.rs"]
mod allocator;
#[path = "../src/check.rs"]
mod check;
#[path = "../src/clock.rs"]
mod clock;
#[path = "../src/descriptor.rs"]
mod descriptor;
#[path = "../src/entry.rs"]
mod entry;
#[path = "../src/environment.rs"]
mod environment;
#[path = "../src/info.rs"]
mod info;
#[path = "../src/linear.rs"]
mod linear;
#[path = "../src/mapping.rs"]
mod mapping;
#[path = "../src/modify.rs"]
mod modify;
#[path = "../src/table.rs"]
mod table;
#[path = "../src/types.rs"]
mod types;
#[path = "../src/validate.rs"]
mod validate;

use addr::Mfn;
use atomic::Ordering::{Relaxed, SeqCst};
use atomic::{AtomicU32, AtomicU64};
use clock::{Epoch, Stamp};
use entry::Entry;
use environment::{Environment, IoAccess, TableMemory, TableView};
use hypercall::Budget;
use info::{FrameInfo, count};
use loom::sync::Mutex;
use loom::sync::atomic::fence;
use loom::thread;
use modify::{AccessBits, Owners};
use table::{FrameTable, owner_bits};
use types::{PageType, Pending, TypeError, Work};
use validate::Validator;

const ENTRIES: usize = 512;
const HYPERVISOR_SLOTS: core::ops::RangeInclusive<usize> = 256..=271;
const DOMAIN: u16 = 1;

const fn is_hypervisor_slot(slot: usize) -> bool {
    slot >= 256 && slot <= 271
}

/// A machine with one entry in each table, and another CPU.
struct Machine {
    table: &'static FrameTable<'static>,
    entries: [AtomicU64; 2],
    /// What the other CPU does is one thing after another.
    other: Mutex<OtherCpu>,
}

struct OtherCpu {
    /// When it last flushed.
    epoch: Epoch,
    /// Whether it holds the translation that table 1 has had.
    holds: bool,
}

impl Machine {
    /// The other CPU flushes, by itself or because it is asked to.
    fn flush(&self, cpu: &mut OtherCpu) {
        cpu.epoch = self.table.clock().tick();
        // The tick is a locked instruction.
        fence(SeqCst);
        cpu.holds = false;
    }

    /// The other CPU changes its address space, which flushes: the clock is only looked at.
    fn cross(&self, cpu: &mut OtherCpu) {
        let epoch = self.table.clock().epoch();
        // A write to CR3 is a serializing instruction.
        fence(SeqCst);
        cpu.holds = false;
        cpu.epoch = epoch;
    }

    /// The other CPU walks the tables.
    fn walk(&self) {
        let mut cpu = self.other.lock().unwrap();
        if self.entries[1].load(Relaxed) & Entry::PRESENT != 0 {
            cpu.holds = true;
        }
    }
}

impl TableView for &AtomicU64 {
    fn read(self, index: usize) -> u64 {
        match index {
            0 => self.load(Relaxed),
            _ => 0,
        }
    }
    fn write(self, index: usize, value: u64) {
        if index == 0 {
            self.store(value, Relaxed);
        }
    }
    fn compare_exchange(self, index: usize, current: u64, new: u64) -> Result<(), u64> {
        assert_eq!(index, 0);
        AtomicU64::compare_exchange(self, current, new, SeqCst, Relaxed).map(|_| ())
    }
    fn any_present(self, first: usize) -> bool {
        first == 0
    }
}

impl TableMemory for Machine {
    type View<'m> = &'m AtomicU64;
    fn view(&self, table: Mfn) -> &AtomicU64 {
        &self.entries[table.raw() as usize]
    }
}

impl Environment for Machine {
    fn flush_stale(&self, _owner: u16, since: Stamp) {
        let mut cpu = self.other.lock().unwrap();
        if self.table.clock().is_stale(cpu.epoch, since) {
            self.flush(&mut cpu);
        }
    }
    fn relax(&self) {
        thread::yield_now();
    }
    fn io_access(&self, _domain: u16, _frame: Mfn) -> IoAccess {
        IoAccess::Denied
    }
    fn may_set_cache_attributes(&self, _domain: u16) -> bool {
        false
    }
    fn reserved_bits(&self) -> u64 {
        0
    }
    fn hypervisor_entry(&self, _domain: u16, _slot: usize) -> u64 {
        0
    }
    fn descriptor_page_unmapped(&self, _domain: u16) {}
}

/// Two frames of one domain. What a model leaks is little, and the test ends soon.
fn machine() -> &'static Machine {
    let infos: &'static [FrameInfo] = Box::leak(Box::new([FrameInfo::new(), FrameInfo::new()]));
    for info in infos {
        let word = count::RAM | count::ALLOCATED | owner_bits(DOMAIN) | 1;
        info.count.store(word, Relaxed);
    }
    let table = Box::leak(Box::new(FrameTable::new(infos)));
    Box::leak(Box::new(Machine {
        table,
        entries: [AtomicU64::new(0), AtomicU64::new(0)],
        other: Mutex::new(OtherCpu {
            epoch: Epoch::START,
            holds: false,
        }),
    }))
}

fn whole<R>(operation: impl FnOnce(&mut Work<'_>) -> R) -> R {
    let mut budget = Budget::unlimited();
    let mut pending = Pending::new();
    operation(&mut Work::new(&mut budget, &mut pending))
}

const FRAME: Mfn = Mfn::new(0);
const TABLE: Mfn = Mfn::new(1);

fn explore(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(test);
}

#[test]
fn the_last_reference_frees_a_frame_once() {
    explore(|| {
        let machine = machine();
        let getter = thread::spawn(|| {
            let Some(page) = machine.table.get(FRAME, DOMAIN) else {
                return false;
            };
            drop(page);
            true
        });
        let releaser = thread::spawn(|| {
            assert!(machine.table.release(FRAME, DOMAIN));
            machine.table.take_limbo().fold(0, |count, frame| {
                frame.into_number();
                count + 1
            })
        });
        let freed = releaser.join().unwrap();
        let _ = getter.join().unwrap();
        let later = machine.table.take_limbo().fold(0, |count, frame| {
            frame.into_number();
            count + 1
        });
        assert_eq!(freed + later, 1);
        assert!(machine.table.get(FRAME, DOMAIN).is_none());
    });
}

#[test]
fn limbo_loses_no_frame() {
    explore(|| {
        let machine = machine();
        let releasers = [FRAME, TABLE]
            .map(|frame| thread::spawn(move || assert!(machine.table.release(frame, DOMAIN))));
        let mut frames: Vec<u32> = machine
            .table
            .take_limbo()
            .map(|frame| frame.into_number())
            .collect();
        for releaser in releasers {
            releaser.join().unwrap();
        }
        frames.extend(machine.table.take_limbo().map(|frame| frame.into_number()));
        frames.sort_unstable();
        assert_eq!(frames, [0, 1]);
    });
}

/// XSA-401: one CPU maps a frame writable and unmaps it, another walks there and flushes now and then, and a third
/// makes a page table of the frame.
fn check_walker(flush: fn(&Machine, &mut OtherCpu)) {
    explore(move || {
        let machine = machine();
        let validator = Validator::new(machine.table, machine);
        // It was mapped writable before, so that its type is one to be changed.
        let info = machine.table.info(FRAME).unwrap();
        assert!(validator.take_writable(FRAME, info, DOMAIN).is_ok());
        validator.put_writable_type(info);
        let mapper = thread::spawn(move || {
            let info = machine.table.info(FRAME).unwrap();
            let page = machine.table.get(FRAME, DOMAIN).unwrap();
            if validator.take_writable(FRAME, info, DOMAIN).is_err() {
                return;
            }
            machine.write_entry(TABLE, 0, Entry::new(FRAME, Entry::PRESENT).0);
            TableView::swap(machine.view(TABLE), 0, 0);
            // The swap is a locked instruction.
            fence(SeqCst);
            validator.put_writable_type(info);
            drop(page);
        });
        let walker = thread::spawn(move || {
            machine.walk();
            flush(machine, &mut machine.other.lock().unwrap());
            machine.walk();
        });
        let taken = whole(|work| validator.take(FRAME, PageType::L1, DOMAIN, work));
        match taken {
            Ok(_table) => {
                let cpu = machine.other.lock().unwrap();
                assert!(!cpu.holds, "a table is writable through a TLB");
            }
            Err(error) => assert_eq!(error, TypeError::Conflict),
        }
        mapper.join().unwrap();
        walker.join().unwrap();
    });
}

#[test]
fn no_writable_translation_outlives_the_type() {
    check_walker(Machine::flush);
}

#[test]
fn nor_does_it_where_flushes_are_changes_of_address_space() {
    check_walker(Machine::cross);
}

#[test]
fn a_frame_has_one_type_at_a_time() {
    explore(|| {
        let machine = machine();
        let validator = Validator::new(machine.table, machine);
        // Which types are in use, as bits.
        let uses: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
        let threads = [(PageType::L1, 1), (PageType::Writable, 2)].map(|(page_type, bit)| {
            thread::spawn(move || {
                let taken = whole(|work| validator.take(FRAME, page_type, DOMAIN, work));
                if let Ok(held) = taken {
                    assert_eq!(uses.fetch_or(bit, SeqCst) & !bit, 0, "two types");
                    uses.fetch_and(!bit, SeqCst);
                    whole(|work| validator.release(held, work));
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let report = machine.table.report(FRAME).unwrap();
        assert_eq!((report.references, report.type_references), (1, 0));
    });
}

/// XSA-242: an entry of a table changes while the table's last use goes.
#[test]
fn a_locked_table_keeps_its_type() {
    explore(|| {
        let machine = machine();
        let validator = Validator::new(machine.table, machine);
        whole(|work| validator.pin(TABLE, PageType::L1, DOMAIN, work)).unwrap();
        let writer = thread::spawn(move || {
            let new = Entry::new(FRAME, Entry::PRESENT | Entry::WRITABLE);
            whole(|work| {
                validator.modify(
                    TABLE,
                    0,
                    new,
                    AccessBits::Replace,
                    Owners::same(DOMAIN),
                    work,
                )
            })
        });
        whole(|work| validator.unpin(TABLE, DOMAIN, work)).unwrap();
        match writer.join().unwrap() {
            Ok(()) | Err(TypeError::NotATable) => {}
            Err(error) => panic!("{error:?}"),
        }
        // Whichever came first, no reference is left behind.
        for frame in [FRAME, TABLE] {
            let report = machine.table.report(frame).unwrap();
            assert_eq!((report.references, report.type_references), (1, 0));
        }
    });
}
