//! Two domains that send each other events, each asleep until the other's comes: on one CPU every event is a switch.

use guest_runtime::event_channels::{alloc_unbound, bind_interdomain, poll, send};
use guest_runtime::xen_abi::domid::DOMID_SELF;
use guest_runtime::{check, println, shared};

use crate::{BATCHES, TIMES, figure, grants, ticks};

/// Ports among which the other domain's is looked for.
const PORTS: u32 = 64;
const SECOND: u64 = 1_000_000_000;

/// Waits for a port, and takes its event.
fn receive(port: u32) {
    while !shared::take_pending(port) {
        check!(poll(&mut [port], 0) == 0);
    }
}

/// The side that is there first: answers as often as the other asks.
pub(crate) fn follow(peer: u16) {
    let port = alloc_unbound(peer).unwrap_or(0);
    check!(port != 0);
    grants::offer(peer);
    println!("waiting for domain {peer}");
    // The other side asks once for each measurement, and once to say that it is there.
    for _ in 0..BATCHES * TIMES + 1 {
        receive(port);
        check!(send(port) == 0);
    }
    println!("answered");
}

/// The side that measures.
pub(crate) fn lead(peer: u16) {
    // What an event costs without a switch: one to oneself is there before it is waited for.
    let own = alloc_unbound(DOMID_SELF).unwrap_or(0);
    let other_end = bind_interdomain(DOMID_SELF, own).unwrap_or(0);
    check!(own != 0 && other_end != 0);
    shared::take_pending(own);
    shared::take_pending(other_end);
    let alone = ticks(|| {
        check!(send(own) == 0);
        check!(poll(&mut [other_end], 0) == 0);
        check!(shared::take_pending(other_end));
    });
    let Some(port) = (1..PORTS).find_map(|port| bind_interdomain(peer, port).ok()) else {
        println!("domain {peer} has no port for this one");
        guest_runtime::fail();
    };
    // Binding may have made it pending.
    shared::take_pending(port);
    // The other side waits for the first event; its page is there.
    let [map_unmap, copy] = grants::measure(peer);
    let exchange = || {
        check!(send(port) == 0);
        receive(port);
    };
    exchange();
    let both = ticks(exchange);
    // What is printed would wake domain 0, and be measured.
    figure("event", alone);
    figure("exchange", both);
    figure("peer_map_unmap", map_unmap);
    figure("peer_copy", copy);
    figure("switch", (both / 2).saturating_sub(alone));
    // The console's reader gets its time.
    poll(&mut [], shared::now() + SECOND);
}
