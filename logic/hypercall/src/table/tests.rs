//! The table against the public headers' numbers, and each row's class against callers of every kind.

use std::collections::HashSet;
use std::vec::Vec;

use super::{CALLS, ROWS, SubOpPlace, call, find, granted, operation_name};
use crate::{Caller, Who};

#[test]
fn rows_and_names_are_unique() {
    let mut keys = HashSet::new();
    let mut types = HashSet::new();
    for row in ROWS {
        assert!(
            keys.insert((row.call, row.sub_op)),
            "{row:?} is there twice"
        );
        assert!(types.insert(row.op), "{row:?}: the type is there twice");
    }
    let mut numbers: Vec<_> = CALLS.iter().map(|call| call.nr).collect();
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "calls are in order, each once"
    );
    numbers.retain(|nr| !ROWS.iter().any(|row| row.call == *nr));
    assert!(numbers.is_empty(), "calls without a row: {numbers:?}");
}

#[test]
fn a_call_without_sub_operations_has_one_row() {
    for call in CALLS {
        let rows: Vec<_> = ROWS.iter().filter(|row| row.call == call.nr).collect();
        if call.sub_op_place == SubOpPlace::None {
            assert_eq!(rows.len(), 1, "{call:?}");
            assert_eq!(rows[0].sub_op, None, "{call:?}");
        } else {
            assert!(rows.iter().any(|row| row.sub_op.is_some()), "{call:?}");
        }
    }
}

/// What each kind of caller may do to itself (1) and to another domain (2), written down apart from
/// the code that decides it.
fn expected(who: Who) -> [[bool; 2]; 5] {
    let (yes, no) = (true, false);
    // unprivileged, control, hardware, xenstore, device model of domain 2
    match who {
        Who::Any => [[yes, yes]; 5],
        Who::SelfOrController => [[yes, no], [yes, yes], [yes, no], [yes, no], [yes, yes]],
        Who::DeviceModel => [[no, no], [yes, yes], [no, no], [no, no], [no, yes]],
        Who::XenstoreOrControl => [[no, no], [yes, yes], [no, no], [yes, yes], [no, no]],
        Who::Control => [[no, no], [yes, yes], [no, no], [no, no], [no, no]],
        Who::Hardware => [[no, no], [no, no], [yes, yes], [no, no], [no, no]],
    }
}

#[test]
fn every_row_grants_to_its_class_alone() {
    let plain = Caller::unprivileged(1);
    let callers = [
        plain,
        Caller {
            is_control: true,
            ..plain
        },
        Caller {
            is_hardware: true,
            ..plain
        },
        Caller {
            is_xenstore: true,
            ..plain
        },
        Caller {
            device_model_for: Some(2),
            ..plain
        },
    ];
    for (kind, caller) in callers.iter().enumerate() {
        for (place, target) in [1, 2].into_iter().enumerate() {
            for (row, granted) in ROWS.iter().zip(granted(caller, target)) {
                assert_eq!(
                    granted,
                    expected(row.who)[kind][place],
                    "{row:?} for {caller:?} on domain {target}"
                );
            }
        }
    }
}

#[test]
fn domain_0_may_do_everything() {
    assert!(granted(&Caller::domain0(), 1).into_iter().all(|yes| yes));
}

#[test]
fn calls_that_reach_other_domains_are_not_for_anyone() {
    for nr in [7, 35, 36, 37, 42, 48] {
        for row in ROWS.iter().filter(|row| row.call == nr) {
            assert!(
                !matches!(row.who, Who::Any | Who::SelfOrController),
                "{row:?}"
            );
        }
    }
}

#[test]
fn lookups() {
    assert_eq!(call(1).map(|call| call.name), Some("mmu_update"));
    assert_eq!(call(11), None);
    assert_eq!(call(u64::MAX), None);
    assert_eq!(find(32, Some(4)).map(|row| row.op), Some("EventSend"));
    assert_eq!(find(32, Some(99)), None);
    assert_eq!(find(1, Some(99)).map(|row| row.op), Some("MmuUpdate"));
    assert_eq!(find(24, None).map(|row| row.op), Some("VcpuOp"));
    // memory_op: a continuation's progress is no part of the sub-operation.
    assert_eq!(operation_name(12, (77 << 6) | 6), "populate_physmap");
    assert_eq!(operation_name(29, 1), "block");
    assert_eq!(operation_name(29, 1 << 32), "sched_op");
    assert_eq!(operation_name(999, 0), "unknown");
}
