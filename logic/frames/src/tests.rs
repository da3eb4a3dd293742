//! Unit tests, on a machine in a vector.

mod allocator;
mod ownership;

use core::cell::RefCell;
use std::vec::Vec;

use addr::Mfn;
use hypercall::Budget;

use crate::*;

pub(crate) const DOMAIN: u16 = 1;
pub(crate) const OTHER: u16 = 2;
const P: u64 = Entry::PRESENT;
const RW: u64 = Entry::PRESENT | Entry::WRITABLE;
const RESERVED: u64 = 0x000f_f000_0000_0000;

pub(crate) struct Machine {
    pub(crate) memory: RefCell<Vec<[u64; ENTRIES]>>,
    pub(crate) flushes: RefCell<Vec<Stamp>>,
    pub(crate) lost_descriptors: RefCell<u32>,
}

/// A table of the machine in a vector.
#[derive(Clone, Copy)]
pub(crate) struct View<'m>(&'m Machine, usize);

impl TableView for View<'_> {
    fn read(self, index: usize) -> u64 {
        self.0.memory.borrow()[self.1][index]
    }
    fn write(self, index: usize, value: u64) {
        self.0.memory.borrow_mut()[self.1][index] = value;
    }
    fn compare_exchange(self, index: usize, current: u64, new: u64) -> Result<(), u64> {
        let found = self.read(index);
        if found != current {
            return Err(found);
        }
        self.write(index, new);
        Ok(())
    }
}

impl TableMemory for Machine {
    type View<'m> = View<'m>;
    fn view(&self, table: Mfn) -> View<'_> {
        View(self, table.raw() as usize)
    }
}

impl Environment for Machine {
    fn flush_stale(&self, _owner: u16, since: Stamp) {
        self.flushes.borrow_mut().push(since);
    }
    fn relax(&self) {
        panic!("a single thread waits for itself");
    }
    fn io_access(&self, domain: u16, frame: Mfn) -> IoAccess {
        match (domain, frame.raw()) {
            (DOMAIN, 0xfee00) => IoAccess::ReadOnly,
            (DOMAIN, 0xf0000..) => IoAccess::Full,
            _ => IoAccess::Denied,
        }
    }
    fn may_set_cache_attributes(&self, domain: u16) -> bool {
        domain == DOMAIN
    }
    fn reserved_bits(&self) -> u64 {
        RESERVED
    }
    fn hypervisor_entry(&self, _domain: u16, slot: usize) -> u64 {
        0x8000_0000 | slot as u64
    }
    fn descriptor_page_unmapped(&self, _domain: u16) {
        *self.lost_descriptors.borrow_mut() += 1;
    }
}

/// Frames 16 to 31 are `DOMAIN`'s, 32 and 33 `OTHER`'s.
fn with_machine(test: impl FnOnce(&Validator<'_, '_, Machine>, &Machine)) {
    let infos: Vec<FrameInfo> = (0..64).map(|_| FrameInfo::new()).collect();
    let table = FrameTable::new(&infos);
    let machine = Machine {
        memory: RefCell::new(std::vec![[0; ENTRIES]; 64]),
        flushes: RefCell::default(),
        lost_descriptors: RefCell::default(),
    };
    let mut allocator = Allocator::new(&table);
    for frame in 16..34 {
        allocator.add(Mfn::new(frame), 1, OldContent::Cleared);
        let chunk = allocator.allocate(0, 64).unwrap();
        assert_eq!(chunk.first(), Mfn::new(frame));
        let owner = if frame < 32 { DOMAIN } else { OTHER };
        chunk
            .prepare(OldContent::Cleared, |_| {}, |_| {})
            .assign(owner);
    }
    test(&Validator::new(&table, &machine), &machine);
}

fn mfn(number: u64) -> Mfn {
    Mfn::new(number)
}

fn entry(frame: u64, flags: u64) -> Entry {
    Entry::new(mfn(frame), flags)
}

/// Runs with all the budget there is, and expects nothing to be left.
fn whole<R>(operation: impl FnOnce(&mut Work<'_>) -> R) -> R {
    let mut budget = Budget::unlimited();
    let mut pending = Pending::new();
    let result = operation(&mut Work::new(&mut budget, &mut pending));
    assert!(pending.is_empty());
    result
}

fn set(
    validator: &Validator<'_, '_, Machine>,
    table: u64,
    index: usize,
    new: Entry,
) -> Result<(), TypeError> {
    whole(|work| {
        validator.modify(
            mfn(table),
            index,
            new,
            AccessBits::Replace,
            Owners::same(DOMAIN),
            work,
        )
    })
}

fn pin(validator: &Validator<'_, '_, Machine>, frame: u64, level: u32) -> Result<(), TypeError> {
    let page_type = PageType::table(level).unwrap();
    whole(|work| validator.pin(mfn(frame), page_type, DOMAIN, work))
}

fn unpin(validator: &Validator<'_, '_, Machine>, frame: u64) -> Result<(), TypeError> {
    whole(|work| validator.unpin(mfn(frame), DOMAIN, work))
}

fn counts(validator: &Validator<'_, '_, Machine>, frame: u64) -> (u32, PageType, u32) {
    let report = validator.table().report(mfn(frame)).unwrap();
    (report.references, report.page_type, report.type_references)
}

/// 16 → 17 → 18 → 19 → 20, the last mapped writable.
fn build_tree(machine: &Machine) {
    machine.write_entry(mfn(16), 0, entry(17, RW).0);
    machine.write_entry(mfn(17), 1, entry(18, RW).0);
    machine.write_entry(mfn(18), 2, entry(19, RW).0);
    machine.write_entry(mfn(19), 3, entry(20, RW).0);
}

#[test]
fn a_tree_is_checked_counted_and_undone() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        for (frame, level) in [(16, 4), (17, 3), (18, 2), (19, 1)] {
            assert_eq!(
                counts(validator, frame),
                (2, PageType::table(level).unwrap(), 1)
            );
        }
        assert_eq!(counts(validator, 20), (2, PageType::Writable, 1));
        // Entries are reachable from ring 3; the guest kernel's leaf is marked as such.
        assert_eq!(machine.read_entry(mfn(16), 0) & Entry::USER, Entry::USER);
        let leaf = machine.read_entry(mfn(19), 3);
        assert_eq!(
            leaf & (Entry::USER | Entry::GUEST_KERNEL),
            Entry::USER | Entry::GUEST_KERNEL
        );
        assert_eq!(leaf & Entry::GLOBAL, 0);
        assert_eq!(machine.read_entry(mfn(16), 256), 0x8000_0000 | 256);
        assert_eq!(pin(validator, 16, 4), Err(TypeError::Pin));
        assert_eq!(pin(validator, 17, 2), Err(TypeError::Conflict));
        unpin(validator, 16).unwrap();
        assert_eq!(unpin(validator, 16), Err(TypeError::Pin));
        for frame in 16..21 {
            let (references, _, types) = counts(validator, frame);
            assert_eq!((references, types), (1, 0), "frame {frame}");
        }
    });
}

#[test]
fn tables_cannot_be_mapped_writable_nor_writable_pages_become_tables() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        for frame in 16..20 {
            assert_eq!(
                set(validator, 19, 5, entry(frame, RW)),
                Err(TypeError::Conflict)
            );
            set(validator, 19, 5, entry(frame, P)).unwrap();
            // XSA-182: by the flags alone, neither.
            assert_eq!(
                set(validator, 19, 5, entry(frame, RW)),
                Err(TypeError::Conflict)
            );
        }
        assert_eq!(pin(validator, 20, 1), Err(TypeError::Conflict));
        let held = whole(|work| validator.take(mfn(20), PageType::Descriptors, DOMAIN, work));
        assert_eq!(held.err(), Some(TypeError::Conflict));
        set(validator, 19, 3, Entry(0)).unwrap();
        pin(validator, 20, 1).unwrap();
    });
}

#[test]
fn forbidden_bits_are_refused_on_every_path() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        for bits in [Entry::LARGE, Entry::GLOBAL, Entry::CACHE_DISABLED, 1 << 51] {
            // XSA-148: also where only flags change.
            for (table, index, below) in [(18, 2, 19), (17, 1, 18), (16, 0, 17)] {
                let before = machine.read_entry(mfn(table), index);
                for new in [entry(below, RW), Entry(before)] {
                    assert_eq!(
                        set(validator, table, index, Entry(new.0 | bits)),
                        Err(TypeError::ForbiddenBits)
                    );
                }
                assert_eq!(machine.read_entry(mfn(table), index), before);
            }
        }
        let before = machine.read_entry(mfn(19), 3);
        for (bits, error) in [
            (Entry::GRANT, TypeError::ForbiddenBits),
            (1 << 51, TypeError::IoDenied),
        ] {
            assert_eq!(set(validator, 19, 3, Entry(before | bits)), Err(error));
        }
        for slot in HYPERVISOR_SLOTS {
            assert_eq!(
                set(validator, 16, slot, entry(17, RW)),
                Err(TypeError::HypervisorSlot)
            );
        }
        unpin(validator, 16).unwrap();
        machine.write_entry(mfn(18), 2, entry(19, RW | Entry::LARGE).0);
        assert_eq!(pin(validator, 16, 4), Err(TypeError::ForbiddenBits));
        for frame in 16..21 {
            assert_eq!(counts(validator, frame).0, 1);
        }
    });
}

#[test]
fn ram_is_write_back_and_device_memory_is_policy() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        set(
            validator,
            19,
            4,
            entry(21, RW | Entry::CACHE_DISABLED | Entry::LARGE),
        )
        .unwrap();
        assert_eq!(machine.read_entry(mfn(19), 4) & Entry::CACHE, 0);
        set(validator, 19, 4, entry(0xfed00, RW | Entry::CACHE_DISABLED)).unwrap();
        assert_ne!(machine.read_entry(mfn(19), 4) & Entry::CACHE_DISABLED, 0);
        assert_eq!(counts(validator, 21).0, 1);
        set(validator, 19, 4, entry(0xfee00, RW)).unwrap();
        assert!(!Entry(machine.read_entry(mfn(19), 4)).is_writable());
        // By the flags alone, neither.
        set(validator, 19, 4, entry(0xfee00, RW)).unwrap();
        assert!(!Entry(machine.read_entry(mfn(19), 4)).is_writable());
        assert_eq!(
            set(validator, 19, 4, entry(40, P)),
            Err(TypeError::IoDenied)
        );
        assert_eq!(
            set(validator, 19, 4, entry(32, P)),
            Err(TypeError::NotOwned)
        );
    });
}

#[test]
fn another_domains_frames_need_to_be_named() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        let owners = Owners {
            table: DOMAIN,
            page: OTHER,
        };
        let map = |new| {
            whole(|work| validator.modify(mfn(19), 6, new, AccessBits::Replace, owners, work))
        };
        assert_eq!(map(entry(20, P)), Err(TypeError::NotOwned));
        map(entry(32, P)).unwrap();
        assert_eq!(counts(validator, 32), (2, PageType::None, 0));
        // More rights than before, but as one's own frame: no.
        assert_eq!(
            set(validator, 19, 6, entry(32, RW)),
            Err(TypeError::NotOwned)
        );
        map(entry(32, RW)).unwrap();
        assert_eq!(counts(validator, 32), (2, PageType::Writable, 1));
        // A table with it does not pass as the domain's own any more once it is undone.
        unpin(validator, 16).unwrap();
        assert_eq!(counts(validator, 32), (1, PageType::Writable, 0));
        assert_eq!(pin(validator, 16, 4), Err(TypeError::MappedPage));
    });
}

#[test]
fn linear_entries_are_read_only_and_do_not_chain() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        for (frame, level) in [(22, 4), (23, 4), (24, 3)] {
            pin(validator, frame, level).unwrap();
        }
        assert_eq!(
            set(validator, 16, 9, entry(16, RW)),
            Err(TypeError::Conflict)
        );
        set(validator, 16, 9, entry(16, P)).unwrap();
        assert_eq!(counts(validator, 16), (2, PageType::L4, 1));
        set(validator, 16, 10, entry(22, P)).unwrap();
        assert_eq!(counts(validator, 22), (3, PageType::L4, 2));
        // 22 is mapped, so it may map no other; 16 maps, so it may not be mapped.
        assert_eq!(
            set(validator, 22, 0, entry(23, P)),
            Err(TypeError::Conflict)
        );
        assert_eq!(
            set(validator, 23, 0, entry(16, P)),
            Err(TypeError::Conflict)
        );
        set(validator, 22, 0, entry(22, P)).unwrap();
        // XSA-182.
        assert_eq!(
            set(validator, 16, 10, entry(22, RW)),
            Err(TypeError::Conflict)
        );
        // An L3 in an L4 is no linear entry.
        set(validator, 16, 11, entry(24, P)).unwrap();
        unpin(validator, 22).unwrap();
        assert_eq!(counts(validator, 22), (2, PageType::L4, 1));
        unpin(validator, 16).unwrap();
        assert_eq!(counts(validator, 22), (1, PageType::L4, 0));
        // The counts of both sides are back where they were.
        pin(validator, 22, 4).unwrap();
        set(validator, 22, 0, entry(23, P)).unwrap();
    });
}

#[test]
fn accessed_and_dirty_bits_are_kept_on_demand() {
    with_machine(|validator, machine| {
        const AD: u64 = Entry::ACCESSED | Entry::DIRTY;
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        let leaf = machine.read_entry(mfn(19), 3);
        for access in [AccessBits::Preserve, AccessBits::Replace] {
            for new in [entry(20, P), entry(20, RW), entry(21, RW), Entry(0)] {
                set(validator, 19, 3, Entry(0)).unwrap();
                set(validator, 19, 3, entry(20, RW)).unwrap();
                machine.write_entry(mfn(19), 3, leaf | AD);
                whole(|work| validator.modify(mfn(19), 3, new, access, Owners::same(DOMAIN), work))
                    .unwrap();
                let expected = if access == AccessBits::Preserve {
                    AD
                } else {
                    0
                };
                assert_eq!(machine.read_entry(mfn(19), 3) & AD, expected);
            }
        }
    });
}

#[test]
fn a_change_of_type_flushes_what_may_be_stale() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        assert!(
            machine.flushes.borrow().is_empty(),
            "fresh frames have no past"
        );
        let _ = validator.table().clock().tick();
        set(validator, 19, 3, Entry(0)).unwrap();
        let unmapped = validator.table().clock().now();
        let _ = validator.table().clock().tick();
        set(validator, 19, 3, entry(20, RW)).unwrap();
        assert!(
            machine.flushes.borrow().is_empty(),
            "writable again is no change"
        );
        set(validator, 19, 3, Entry(0)).unwrap();
        pin(validator, 20, 1).unwrap();
        let flushes = machine.flushes.borrow().clone();
        assert_eq!(flushes.len(), 1);
        assert_eq!(flushes[0].0, unmapped.0 + 1);
        unpin(validator, 20).unwrap();
        pin(validator, 20, 1).unwrap();
        assert_eq!(
            machine.flushes.borrow().len(),
            1,
            "a table again is no change"
        );
    });
}

#[test]
fn descriptor_pages_are_checked_and_watched() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        machine.write_entry(mfn(21), 7, 0x00af_9b00_0000_ffff);
        set(validator, 19, 8, entry(21, P)).unwrap();
        let held =
            whole(|work| validator.take(mfn(21), PageType::Descriptors, DOMAIN, work)).unwrap();
        assert_eq!(machine.read_entry(mfn(21), 7), 0x00af_fb00_0000_ffff);
        assert_eq!(
            set(validator, 19, 9, entry(21, RW)),
            Err(TypeError::Conflict)
        );
        set(validator, 19, 8, Entry(0)).unwrap();
        assert_eq!(*machine.lost_descriptors.borrow(), 1);
        drop(held);
        set(validator, 19, 9, entry(21, RW)).unwrap();
        machine.write_entry(mfn(22), 0, 0x0000_8900_0000_0067);
        let refused = whole(|work| validator.take(mfn(22), PageType::Descriptors, DOMAIN, work));
        assert_eq!(refused.err(), Some(TypeError::BadDescriptor));
        assert_eq!(counts(validator, 22).0, 1);
    });
}

#[test]
fn small_budgets_end_where_large_ones_do() {
    with_machine(|validator, machine| {
        build_tree(machine);
        for (table, below) in [(18, 27), (18, 28), (17, 29), (29, 30), (29, 31)] {
            machine.write_entry(mfn(table), below as usize, entry(below, RW).0);
        }
        let mut calls = 0;
        let mut run = |operation: &mut dyn FnMut(&mut Work<'_>) -> Result<(), TypeError>| {
            let mut pending = Pending::new();
            let mut done = None;
            for _ in 0..100 {
                calls += 1;
                let mut budget = Budget::new(1);
                let mut work = Work::new(&mut budget, &mut pending);
                if validator.resume(&mut work).is_err() {
                    continue;
                }
                if done.is_some() {
                    break;
                }
                match operation(&mut work) {
                    Err(TypeError::Preempted) => {}
                    result => done = Some(result),
                }
            }
            assert!(pending.is_empty());
            done.unwrap()
        };
        run(&mut |work| validator.pin(mfn(16), PageType::L4, DOMAIN, work)).unwrap();
        assert_eq!(counts(validator, 20), (2, PageType::Writable, 1));
        run(&mut |work| validator.unpin(mfn(16), DOMAIN, work)).unwrap();
        for frame in 16..32 {
            let report = validator.table().report(mfn(frame)).unwrap();
            assert_eq!((report.references, report.type_references), (1, 0));
            assert_eq!(report.partial_entries, None);
        }
        // One that fails half way: 18's second entry maps 16, which is being checked as an L4.
        machine.write_entry(mfn(18), 9, entry(16, P).0);
        let failed = run(&mut |work| validator.pin(mfn(16), PageType::L4, DOMAIN, work));
        assert_eq!(failed, Err(TypeError::Conflict));
        for frame in 16..32 {
            let report = validator.table().report(mfn(frame)).unwrap();
            assert_eq!((report.references, report.type_references), (1, 0));
            assert_eq!(report.partial_entries, None);
        }
        assert!(calls > 10, "budgets of one unit did stop: {calls} calls");
    });
}
