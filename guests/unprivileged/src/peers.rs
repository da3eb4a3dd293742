//! Other domains' grants and event channels.

use guest_runtime::grants::{grant_table, setup_table};
use guest_runtime::xen_abi::domid::DOMID_SELF;
use guest_runtime::xen_abi::event_channel as events;
use guest_runtime::xen_abi::grant_table as grants;
use guest_runtime::xen_abi::hypercall as number;
use guest_runtime::{expect, hypercalls::call, println};

/// Grants of domain 0, which has granted this domain nothing.
fn grants_of_others() {
    let mut tried = 0;
    for reference in (0..2048).chain([u32::MAX, 1 << 31]) {
        for dom in [0u16, 0x7000] {
            let mut map = grants::MapGrantRef {
                host_addr: 0x1000,
                flags: grants::GNTMAP_HOST_MAP | grants::GNTMAP_DEVICE_MAP,
                reference,
                dom,
                // SAFETY: a structure of numbers.
                ..unsafe { core::mem::zeroed() }
            };
            let result = grant_table(grants::MAP_GRANT_REF, &mut map);
            expect!(result == 0 && map.status < 0);
            tried += 1;
        }
    }
    // Handles that stand for nothing.
    for handle in [0, 1, 255, 1 << 20, u32::MAX] {
        let mut unmap = grants::UnmapGrantRef {
            host_addr: 0x1000,
            dev_bus_addr: 0,
            handle,
            status: 0,
            // SAFETY: a structure of numbers.
            ..unsafe { core::mem::zeroed() }
        };
        let result = grant_table(grants::UNMAP_GRANT_REF, &mut unmap);
        expect!(result == 0 && unmap.status < 0);
    }
    // Others' tables.
    let (status, _) = setup_table(0, 1);
    expect!(status < 0);
    println!("{tried} grants of others are out of reach");
}

/// Event channels of domain 0.
fn channels_of_others() {
    let operation = |command: u32, at: u64| call(number::EVENT_CHANNEL_OP, &[command.into(), at]);
    let mut bound = 0;
    for remote_port in 0..4096 {
        let mut bind = events::BindInterdomain {
            remote_dom: 0,
            _hole0: [0; 2],
            remote_port,
            local_port: 0,
        };
        if operation(events::BIND_INTERDOMAIN, (&raw mut bind) as u64) == 0 {
            bound += 1;
        }
    }
    expect!(bound == 0);
    for dom in [0u16, 0x7000] {
        let mut unbound = events::AllocUnbound {
            dom,
            remote_dom: DOMID_SELF,
            port: 0,
        };
        expect!(operation(events::ALLOC_UNBOUND, (&raw mut unbound) as u64) < 0);
        for port in 0..64 {
            let mut status = events::Status {
                dom,
                port,
                // SAFETY: a structure of numbers.
                ..unsafe { core::mem::zeroed() }
            };
            expect!(operation(events::STATUS, (&raw mut status) as u64) < 0);
        }
        let mut reset = events::Reset { dom };
        expect!(operation(events::RESET, (&raw mut reset) as u64) < 0);
        // The hypervisor's own number, for calls that it restarts.
        expect!(operation(14, (&raw mut reset) as u64) < 0);
    }
    // No devices, no physical interrupts.
    for pirq in 0..64 {
        let mut bind = events::BindPirq {
            pirq,
            flags: 0,
            port: 0,
        };
        expect!(operation(events::BIND_PIRQ, (&raw mut bind) as u64) < 0);
    }
    println!("others' event channels are out of reach");
}

/// Goes through both.
pub(crate) fn check_all() {
    grants_of_others();
    channels_of_others();
}
