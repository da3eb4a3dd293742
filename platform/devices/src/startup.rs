//! Starting another processor: INIT, then STARTUP twice (SDM 3A §9.4.4.1, MultiProcessor Specification §B.4).

use crate::access::Registers;
use crate::lapic::Lapic;

/// Sends the sequence that makes the processor with `apic_id` begin in real mode at `page` × 4 KiB.
///
/// `page` has to be below 1 MiB and not in 0xa0000–0xbffff. `delay_ns` waits; `started` is asked between
/// the two STARTUP messages, as the second would restart a processor that is slow to say so.
/// Returns false if a message was not delivered.
pub fn start_cpu<R: Registers>(
    lapic: &Lapic<R>,
    apic_id: u32,
    page: u8,
    mut delay_ns: impl FnMut(u64),
    mut started: impl FnMut() -> bool,
) -> bool {
    if !lapic.send_init(apic_id) {
        return false;
    }
    delay_ns(10_000_000);
    for _ in 0..2 {
        if started() {
            break;
        }
        if !lapic.send_startup(apic_id, page) {
            return false;
        }
        for _ in 0..10 {
            delay_ns(20_000);
            if started() {
                break;
            }
        }
    }
    true
}
