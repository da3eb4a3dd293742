//! The table against the public headers' numbers, and each row's class against callers of every kind.

use std::collections::HashSet;
use std::path::Path;
use std::string::String;
use std::vec::Vec;
use std::{format, fs};

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

/// The constants of `xen_abi` by their C names, read from its source: whatever it declares is checked against the
/// C headers by the layout check.
fn abi_constants() -> Vec<(String, u64)> {
    fn read(directory: &Path, found: &mut Vec<(String, u64)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, found);
                continue;
            }
            for line in fs::read_to_string(&path).unwrap().lines() {
                // NAME = value, "C_name"; or NAME = value;
                let Some((name, rest)) = line.trim().split_once(" = ") else {
                    continue;
                };
                let Some(rest) = rest.strip_suffix(';') else {
                    continue;
                };
                let (value, c_name) = match rest.split_once(", ") {
                    Some((value, c_name)) => (value, c_name.trim_matches('"')),
                    None => (rest, name),
                };
                if let Ok(value) = value.parse() {
                    found.push((c_name.into(), value));
                }
            }
        }
    }
    let mut found = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../abi/xen_abi/src");
    read(&source, &mut found);
    found
}

/// What the C names of a call's sub-operations begin with.
fn prefix(call: u32) -> Option<&'static str> {
    Some(match call {
        1 => "MMU_",
        7 => "XENPF_",
        12 => "XENMEM_",
        17 => "XENVER_",
        18 => "CONSOLEIO_",
        20 => "GNTTABOP_",
        21 => "VMASST_CMD_",
        24 => "VCPUOP_",
        25 => "SEGBASE_",
        26 => "MMUEXT_",
        28 => "XENNMI_",
        29 => "SCHEDOP_",
        30 => "CALLBACKOP_",
        32 => "EVTCHNOP_",
        33 => "PHYSDEVOP_",
        34 => "HVMOP_",
        35 => "XEN_SYSCTL_",
        36 => "XEN_DOMCTL_",
        37 => "KEXEC_CMD_",
        39 => "XEN_ARGO_OP_",
        40 => "XENPMU_",
        41 => "XEN_DMOP_",
        42 => "XEN_HYPFS_OP_",
        48 => "XEN_MC_",
        _ => return None,
    })
}

#[test]
fn numbers_are_those_of_the_interface() {
    let constants = abi_constants();
    let number = |name: &str| {
        let found = constants.iter().find(|(c_name, _)| c_name == name);
        found.map(|(_, number)| *number)
    };
    let mut missing = Vec::new();
    for call in CALLS.iter().filter(|call| call.nr < 48) {
        let name = format!("__HYPERVISOR_{}", call.name);
        assert_eq!(number(&name), Some(u64::from(call.nr)), "{name}");
    }
    for row in ROWS {
        if let (Some(prefix), Some(sub_op)) = (prefix(row.call), row.sub_op) {
            let name = format!("{prefix}{}", row.name);
            match number(&name) {
                Some(number) => assert_eq!(number, u64::from(sub_op), "{name}"),
                None => missing.push(name),
            }
        }
    }
    // Numbers that only continuations and interfaces before 4.0 have.
    assert_eq!(
        missing,
        [
            "EVTCHNOP_reset_cont",
            "HVMOP_set_pci_intx_level",
            "HVMOP_set_isa_irq_level",
            "HVMOP_set_pci_link_route",
            "XEN_DOMCTL_soft_reset_cont",
        ],
    );
}
