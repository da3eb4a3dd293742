//! Frames that change hands: teardown, stealing, loans, and those that are the hypervisor's own.

use std::vec::Vec;

use hypercall::Budget;

use super::{DOMAIN, OTHER, P, RW, build_tree, entry, mfn, pin, set, unpin, whole, with_machine};
use crate::*;

#[test]
fn teardown_gets_every_frame_back() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        set(validator, 16, 10, entry(16, P)).unwrap();
        set(validator, 19, 6, entry(19, P)).unwrap();
        let root = whole(|work| validator.take_root(mfn(16), DOMAIN, work)).unwrap();
        // Dropped without a budget, half of another tree stranded, and then the end.
        unpin(validator, 16).unwrap();
        drop(root);
        machine.write_entry(mfn(25), 0, entry(26, P).0);
        machine.write_entry(mfn(25), 1, entry(27, P).0);
        let mut pending = Pending::new();
        let preempted = validator.pin(
            mfn(25),
            PageType::L2,
            DOMAIN,
            &mut Work::new(&mut Budget::new(1), &mut pending),
        );
        assert_eq!(preempted, Err(TypeError::Preempted));
        for frame in 16..32 {
            loop {
                let mut budget = Budget::new(1);
                let mut work = Work::new(&mut budget, &mut pending);
                match validator.relinquish(mfn(frame), DOMAIN, &mut work) {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error, TypeError::Preempted),
                }
            }
        }
        assert!(pending.is_empty());
        let mut freed: Vec<u64> = validator
            .table()
            .take_limbo()
            .map(|f| {
                assert_eq!(f.owner(), DOMAIN);
                f.into_number().into()
            })
            .collect();
        freed.sort_unstable();
        assert_eq!(freed, (16..32).collect::<Vec<_>>());
    });
}

#[test]
fn writable_frames_change_hands_only_when_nothing_refers_to_them() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        let table = validator.table();
        assert_eq!(table.steal(mfn(20), DOMAIN), None, "mapped");
        assert_eq!(table.steal(mfn(21), OTHER), None, "not theirs");
        assert!(table.steal(mfn(21), DOMAIN).is_some());
        assert!(table.get(mfn(21), DOMAIN).is_none());
        assert!(table.bestow(mfn(21), OTHER));
        assert!(table.get(mfn(21), OTHER).is_some());
        // Given up while mapped: it is gone with the mapping.
        assert!(table.release(mfn(20), DOMAIN));
        assert!(!table.release(mfn(20), DOMAIN));
        assert!(!table.has_limbo());
        set(validator, 19, 3, Entry(0)).unwrap();
        assert_eq!(
            table.take_limbo().next().map(|frame| frame.frame()),
            Some(mfn(20))
        );
        drop(table.take_limbo());
    });
}

#[test]
fn a_frame_that_was_stolen_and_comes_back_is_flushed_before_it_is_a_table() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        // Mapped writable, used, unmapped: a TLB may still have it.
        set(validator, 19, 3, entry(21, RW)).unwrap();
        set(validator, 19, 3, Entry(0)).unwrap();
        let table = validator.table();
        let stamp = table.steal(mfn(21), DOMAIN).unwrap();
        assert!(table.bestow(mfn(21), DOMAIN));
        machine.flushes.borrow_mut().clear();
        pin(validator, 21, 1).unwrap();
        let flushes = machine.flushes.borrow();
        assert!(
            flushes
                .iter()
                .any(|flushed| table.clock().later(*flushed, stamp) == *flushed),
            "a writable translation is left: {flushes:?}"
        );
    });
}

#[test]
fn lent_frames_keep_their_type() {
    with_machine(|validator, machine| {
        build_tree(machine);
        pin(validator, 16, 4).unwrap();
        let table = validator.table();
        for frame in [40, 41] {
            table.reserve(mfn(frame));
            // What is the hypervisor's own has no name, not even the one for what it shares (DOMID_XEN).
            assert!(table.get(mfn(frame), 0x7ff2).is_none());
            assert_eq!(
                set(validator, 19, 5, entry(frame, P)),
                Err(TypeError::NotOwned)
            );
        }
        assert!(table.lend(mfn(40), DOMAIN, Lent::Writable));
        assert!(table.lend(mfn(41), DOMAIN, Lent::ReadOnly));
        assert!(
            !table.lend(mfn(21), DOMAIN, Lent::Writable),
            "the guest's own"
        );
        set(validator, 19, 5, entry(40, RW)).unwrap();
        set(validator, 19, 5, entry(41, P)).unwrap();
        assert_eq!(
            set(validator, 19, 5, entry(41, RW)),
            Err(TypeError::Conflict)
        );
        assert_eq!(pin(validator, 40, 1), Err(TypeError::Conflict));
        assert_eq!(pin(validator, 41, 1), Err(TypeError::Conflict));
        assert!(table.release(mfn(41), DOMAIN));
        assert!(!table.has_limbo());
        set(validator, 19, 5, Entry(0)).unwrap();
        assert!(table.has_limbo());
    });
}
