//! The table of permissions, row by row: an operation that is not for everybody is refused to this domain, whatever
//! its arguments say.

use guest_runtime::xen_abi::domctl::Domctl;
use guest_runtime::xen_abi::platform::PlatformOp;
use guest_runtime::xen_abi::sysctl::Sysctl;
use guest_runtime::xen_abi::{domctl, errno::Errno, hypercall as number, platform, sysctl};
use guest_runtime::{expect, hypercalls::call, println};
use hypercall::{CALLS, ROWS, Row, SubOpPlace, Who};

/// Domains that a request names: the owner of the machine, nobody, and one that is likely this one.
const TARGETS: [u16; 3] = [0, 0x7000, 1];

/// An argument of zeros, or with the target at a place where arguments have a domain's number.
#[repr(C, align(4096))]
struct Argument([u8; 4096]);

fn refused(row: &Row, what: &str, result: i64) {
    let ok = [
        Errno::EPERM,
        Errno::ESRCH,
        Errno::ENOSYS,
        Errno::EOPNOTSUPP,
        Errno::EACCES,
        // What the arguments lack comes first for some.
        Errno::EINVAL,
        Errno::EFAULT,
    ]
    .iter()
    .any(|errno| result == -i64::from(errno.0));
    if !ok {
        println!("call {} {} ({what}) gives {result}", row.call, row.name);
    }
    expect!(ok);
}

/// Requests that name their operation in memory: with everything right but the caller.
fn in_memory(row: &Row, sub_op: u32) {
    match row.call {
        number::DOMCTL => {
            for version in [domctl::INTERFACE_VERSION, 0x17] {
                for domain in TARGETS {
                    let mut request = Domctl {
                        cmd: sub_op,
                        interface_version: version,
                        domain,
                        _pad: [0; 3],
                        u: domctl::DomctlUnion::ZERO,
                    };
                    let at = (&raw mut request) as u64;
                    let result = call(number::DOMCTL, &[at]);
                    // Nothing but the permission can be missing here.
                    let expected = [Errno::EPERM, Errno::ESRCH, Errno::ENOSYS];
                    let ok = expected.iter().any(|errno| result == -i64::from(errno.0));
                    if !ok {
                        println!("domctl {} on d{domain} gives {result}", row.name);
                    }
                    expect!(ok);
                }
            }
        }
        number::SYSCTL => {
            let mut request = Sysctl {
                cmd: sub_op,
                interface_version: sysctl::INTERFACE_VERSION,
                u: sysctl::SysctlUnion::ZERO,
            };
            refused(
                row,
                "sysctl",
                call(number::SYSCTL, &[(&raw mut request) as u64]),
            );
        }
        number::PLATFORM_OP => {
            let mut request = PlatformOp {
                cmd: sub_op,
                interface_version: platform::INTERFACE_VERSION,
                u: platform::PlatformOpUnion::ZERO,
            };
            let at = (&raw mut request) as u64;
            refused(row, "platform", call(number::PLATFORM_OP, &[at]));
        }
        _ => {}
    }
}

/// Requests that name their operation in the first argument, with an argument in memory that names `domain` wherever
/// one may be named.
fn by_argument(row: &Row, sub_op: u32, domain: u16) {
    let mut argument = Argument([0; 4096]);
    // `memory_op` has the number behind the list of extents or in front, the others in front.
    for place in [0, 4, 24, 28] {
        let bytes = domain.to_le_bytes();
        if let Some(to) = argument.0.get_mut(place..place + 2) {
            to.copy_from_slice(&bytes);
        }
    }
    let at = (&raw mut argument) as u64;
    let result = match row.call {
        // A list of one.
        number::GRANT_TABLE_OP => call(row.call, &[u64::from(sub_op), at, 1]),
        // It says how many extents were done.
        number::MEMORY_OP if matches!(sub_op, 0 | 1 | 6) => {
            let done = call(row.call, &[u64::from(sub_op), at]);
            if done == 0 { -1 } else { done }
        }
        // Count, then buffer.
        number::CONSOLE_IO => call(row.call, &[u64::from(sub_op), 1, at]),
        _ => call(row.call, &[u64::from(sub_op), at, at, at]),
    };
    if (row.call, row.name) == (number::XEN_VERSION, "commandline") {
        // The refusal is a text.
        expect!(result == 0 && argument.0.starts_with(b"<denied>\0"));
        return;
    }
    refused(row, "by argument", result);
}

/// Goes through the table.
pub(crate) fn check_all() {
    let mut rows = 0;
    for row in ROWS {
        let Some(entry) = CALLS.iter().find(|entry| entry.nr == row.call) else {
            continue;
        };
        if matches!(row.who, Who::Any | Who::SelfOrController) {
            continue;
        }
        rows += 1;
        match (entry.sub_op_place, row.sub_op) {
            (SubOpPlace::InMemory, Some(sub_op)) => in_memory(row, sub_op),
            (SubOpPlace::Argument | SubOpPlace::ArgumentLow6, Some(sub_op)) => {
                for domain in TARGETS {
                    by_argument(row, sub_op, domain);
                }
            }
            _ => {}
        }
    }
    println!("{rows} operations that are not this domain's are refused");
}
