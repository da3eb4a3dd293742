//! Clocks and timers.

use guest_runtime::memory::address_of;
use guest_runtime::xen_abi::event_channel as op;
use guest_runtime::xen_abi::{GuestHandle, domid, hypercall as number, sched, vcpu, virq};
use guest_runtime::{check, expect, expect_eq, hypercalls, shared};

use crate::{EINVAL, bind_ipi, bind_virq, channel, close, schedule, send};

const MILLISECOND: u64 = 1_000_000;
const ETIME: i64 = -62;

/// System time: monotonic, at the pace that the parameters say, and the same by call and by page.
pub(crate) fn clock() {
    let info = shared::time_info();
    expect!(info.version & 1 == 0);
    expect!(info.tsc_to_system_mul != 0);
    let mut last = shared::now();
    // Whoever runs the machine may stop it between any two instructions: bounds from both sides.
    let tsc = || (shared::tsc(), shared::now(), shared::tsc());
    let (first, start, second) = tsc();
    let mut changes = 0;
    let mut version = info.version;
    for _ in 0..200_000 {
        let now = shared::now();
        check!(now >= last);
        check!(now - last < 20_000 * MILLISECOND);
        last = now;
        let new = shared::time_info().version;
        changes += u32::from(new != version);
        version = new;
    }
    let (third, end, fourth) = tsc();
    let elapsed = end - start;
    let least = shared::scale(&info, third - second);
    let most = shared::scale(&info, fourth - first);
    expect!(elapsed > MILLISECOND);
    // Within a part in a hundred.
    let slack = elapsed / 100 + MILLISECOND;
    expect!((least.saturating_sub(slack)..=most + slack).contains(&elapsed));
    let _ = changes;
    let (seconds, nanoseconds) = shared::wall_clock();
    expect!(nanoseconds < 1_000_000_000);
    // Of this century.
    expect!((1_700_000_000..4_000_000_000).contains(&seconds));
}

fn vcpu_op<T>(operation: u32, argument: &mut T) -> i64 {
    hypercalls::call(
        number::VCPU_OP,
        &[u64::from(operation), 0, address_of(argument)],
    )
}

/// Waits for one of the ports, or a time; the result and how long it took.
fn poll(ports: &mut [u32], until: u64) -> (i64, u64) {
    let start = shared::now();
    let mut poll = sched::Poll {
        ports: GuestHandle::new(ports.as_mut_ptr().expose_provenance() as u64),
        nr_ports: ports.len() as u32,
        _hole0: [0; 4],
        timeout: until,
    };
    let result = schedule(sched::POLL, &mut poll);
    (result, shared::now() - start)
}

fn clear(port: u32) {
    shared::take_pending(port);
    shared::clear_upcall_pending();
    shared::set_pending_selector(0);
}

/// Sleeps until an event is pending.
fn block() {
    // Blocking unmasks upcalls: the handler takes note of one.
    guest_runtime::traps::set_hook(Some(|frame| {
        if frame.vector != guest_runtime::traps::EVENT {
            return guest_runtime::traps::Next::Unwind;
        }
        shared::clear_upcall_pending();
        shared::set_pending_selector(0);
        guest_runtime::traps::Next::Resume
    }));
    expect_eq!(
        hypercalls::call(number::SCHED_OP, &[u64::from(sched::BLOCK), 0]),
        0
    );
    expect!(!shared::upcall_mask());
    shared::set_upcall_mask(true);
    guest_runtime::traps::set_hook(None);
}

pub(crate) fn run(is_careful: bool) {
    shared::set_upcall_mask(true);
    let timer = bind_virq(virq::TIMER).unwrap_or(0);
    expect!(timer != 0);
    shared::set_masked(timer, false);
    clear(timer);
    stop_periodic();
    single_shot(timer);
    old_timer(timer);
    periodic(timer, is_careful);
    polling(timer);
    runstate();
    expect_eq!(close(timer), 0);
}

fn stop_periodic() {
    expect_eq!(vcpu_op(vcpu::STOP_PERIODIC_TIMER, &mut 0_u64), 0);
}

fn single_shot(timer: u32) {
    let set = |at, flags| {
        vcpu_op(
            vcpu::SET_SINGLESHOT_TIMER,
            &mut vcpu::SetSingleshotTimer {
                timeout_abs_ns: at,
                flags,
                _hole0: [0; 4],
            },
        )
    };
    // Not early, and not very late (the machine is emulated, and not alone).
    for delay in [1, 5, 20] {
        clear(timer);
        let start = shared::now();
        expect_eq!(set(start + delay * MILLISECOND, 0), 0);
        expect!(!shared::is_pending(timer) || delay == 1);
        block();
        let elapsed = shared::now() - start;
        expect!(shared::is_pending(timer));
        expect!(elapsed >= delay * MILLISECOND);
        expect!(elapsed < (delay + 20_000) * MILLISECOND);
    }
    // In the past: at once, or refused if so asked (which later versions of Xen do not do any more).
    clear(timer);
    expect_eq!(set(shared::now() - MILLISECOND, 0), 0);
    block();
    expect!(shared::is_pending(timer));
    clear(timer);
    let result = set(1, vcpu::SSHOTTMR_FUTURE);
    expect!(result == 0 || result == ETIME);
    if result == 0 {
        block();
    }
    clear(timer);
    // Stopped, it does not come.
    expect_eq!(set(shared::now() + 5 * MILLISECOND, 0), 0);
    expect_eq!(vcpu_op(vcpu::STOP_SINGLESHOT_TIMER, &mut 0_u64), 0);
    let start = shared::now();
    while shared::now() - start < 15 * MILLISECOND {
        hypercalls::call(number::SCHED_OP, &[u64::from(sched::YIELD), 0]);
    }
    expect!(!shared::is_pending(timer));
    // In running code too.
    expect_eq!(set(shared::now() + 2 * MILLISECOND, 0), 0);
    let start = shared::now();
    while !shared::is_pending(timer) && shared::now() - start < 5000 * MILLISECOND {}
    expect!(shared::is_pending(timer));
    clear(timer);
}

fn old_timer(timer: u32) {
    let set = |at| hypercalls::call(number::SET_TIMER_OP, &[at]);
    let start = shared::now();
    expect_eq!(set(start + 3 * MILLISECOND), 0);
    block();
    expect!(shared::is_pending(timer));
    expect!(shared::now() - start >= 3 * MILLISECOND);
    clear(timer);
    // 0 stops it.
    expect_eq!(set(shared::now() + 3 * MILLISECOND), 0);
    expect_eq!(set(0), 0);
    let start = shared::now();
    while shared::now() - start < 10 * MILLISECOND {}
    expect!(!shared::is_pending(timer));
}

fn periodic(timer: u32, is_careful: bool) {
    let set = |period_ns| {
        vcpu_op(
            vcpu::SET_PERIODIC_TIMER,
            &mut vcpu::SetPeriodicTimer { period_ns },
        )
    };
    // Faster than a thousandth of a second is refused.
    expect_eq!(set(999_999), EINVAL);
    expect_eq!(set(0), EINVAL);
    expect_eq!(set(u64::MAX), EINVAL);
    expect_eq!(set(10 * MILLISECOND), 0);
    clear(timer);
    let (start, mut count) = (shared::now(), 0);
    while shared::now() - start < 200 * MILLISECOND {
        poll(&mut [timer], shared::now() + 30 * MILLISECOND);
        count += u32::from(shared::take_pending(timer));
        clear(timer);
    }
    // (Xen 4.17 as an emulated machine's only load has none.)
    expect!((5..=25).contains(&count) || is_careful);
    stop_periodic();
    clear(timer);
    let start = shared::now();
    while shared::now() - start < 30 * MILLISECOND {}
    expect!(!shared::is_pending(timer));
}

fn polling(timer: u32) {
    let port = bind_ipi(0).unwrap_or(0);
    shared::set_masked(port, true);
    clear(port);
    // A time that passes, one that has passed, a port that is pending.
    let (result, elapsed) = poll(&mut [port], shared::now() + 4 * MILLISECOND);
    expect_eq!(result, 0);
    expect!((3 * MILLISECOND..20_000 * MILLISECOND).contains(&elapsed));
    let (result, elapsed) = poll(&mut [port], 1);
    expect_eq!(result, 0);
    expect!(elapsed < 20_000 * MILLISECOND);
    expect_eq!(send(port), 0);
    for list in [
        &mut [port][..],
        &mut [timer, port][..],
        &mut [port, timer][..],
    ] {
        let (result, elapsed) = poll(list, 0);
        expect_eq!(result, 0);
        expect!(elapsed < 20_000 * MILLISECOND);
    }
    shared::take_pending(port);
    // Without ports, a sleep.
    let (result, elapsed) = poll(&mut [], shared::now() + 2 * MILLISECOND);
    expect_eq!(result, 0);
    expect!((MILLISECOND..20_000 * MILLISECOND).contains(&elapsed));
    // The timer's own port, which is raised meanwhile, though masked.
    shared::set_masked(timer, true);
    clear(timer);
    expect_eq!(
        hypercalls::call(number::SET_TIMER_OP, &[shared::now() + 2 * MILLISECOND]),
        0
    );
    let (result, _) = poll(&mut [timer], 0);
    expect_eq!(result, 0);
    expect!(shared::take_pending(timer));
    shared::set_masked(timer, false);
    // Lists that are none.
    expect_eq!(poll(&mut [u32::MAX], 1).0, EINVAL);
    expect_eq!(poll(&mut [port, 1 << 20], 1).0, EINVAL);
    let mut long = sched::Poll {
        ports: GuestHandle::new(0x4000_0000_0000),
        nr_ports: 129,
        _hole0: [0; 4],
        timeout: 1,
    };
    expect_eq!(schedule(sched::POLL, &mut long), EINVAL);
    long.nr_ports = 128;
    expect_eq!(schedule(sched::POLL, &mut long), -14);
    expect_eq!(close(port), 0);
    let _ = (op::STATUS, domid::DOMID_SELF, channel::<u32>);
}

/// Time in each state adds up to time.
fn runstate() {
    use guest_runtime::xen_abi::vcpu::RunstateInfo;
    let mut info = RunstateInfo {
        state: 9,
        _hole0: [0; 4],
        state_entry_time: 0,
        time: [0; 4],
    };
    expect_eq!(vcpu_op(vcpu::GET_RUNSTATE_INFO, &mut info), 0);
    expect_eq!(info.state, vcpu::RUNSTATE_RUNNING);
    let now = shared::now();
    expect!(info.state_entry_time <= now);
    let [running, runnable, blocked, offline] = info.time;
    expect!(running > 0 && blocked > 0);
    let sum = running + runnable + blocked + offline;
    expect!(sum <= now + 20_000 * MILLISECOND);
    let (_, _) = poll(&mut [], shared::now() + 5 * MILLISECOND);
    let before = blocked;
    expect_eq!(vcpu_op(vcpu::GET_RUNSTATE_INFO, &mut info), 0);
    let [_, _, blocked, _] = info.time;
    expect!(blocked - before >= 3 * MILLISECOND);
}
