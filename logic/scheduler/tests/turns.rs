//! When turns end, call by call.

mod simulator;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use scheduler::{
    Affinity, CpuMask, DEFAULT_POOL, DEFAULT_RATE_LIMIT, Kind, NEVER, Next, Notice, Pools,
    Scheduler, Share, TurnEnd, Unit,
};
use simulator::{Handle, SimulatedLock, Vcpu};

/// When the first of two vCPUs begins its turn.
const START: u64 = 1_000_000_000;
/// When the other wakes.
const WOKEN: u64 = START + 10_000;

#[test]
fn who_may_not_preempt_yet_ends_the_turn_sooner_and_costs_no_pick() {
    static TURN_END: TurnEnd = TurnEnd::new();
    let held = Rc::new(Cell::new(0));
    let scheduler = Scheduler::new(
        1,
        |queue| SimulatedLock::new(queue, held.clone(), 0, 1),
        |_| &TURN_END,
    )
    .unwrap();
    Pools::new(Kind::Credit2)
        .unwrap()
        .add_cpu(&scheduler, DEFAULT_POOL, 0, 0, 0)
        .unwrap();
    let [first, other] = [0, 1].map(|id| {
        let vcpu = Handle(Arc::new(Vcpu {
            unit: Unit::new(),
            share: Arc::new(Share::new(0)),
            domain: id,
            id: id as usize,
            number: 0,
        }));
        scheduler
            .insert(vcpu.clone(), Affinity::ANY, CpuMask::only(0))
            .unwrap();
        vcpu
    });

    // One CPU, whose registers are saved in no time.
    let pick = |loaded: Option<&Handle>, now| {
        let next = scheduler.pick(0, loaded.map(|vcpu| &vcpu.0.unit), now).next;
        if let (Next::Switch(_), Some(loaded)) = (&next, loaded) {
            assert_eq!(scheduler.release(&loaded.0.unit, || now), None);
        }
        next
    };
    let is = |next: Next<Handle>, id| matches!(next, Next::Switch(vcpu) if vcpu.0.id == id);

    assert!(matches!(pick(None, 0), Next::Idle));
    assert_eq!(TURN_END.get(), NEVER);
    let notice = scheduler.update(&first.0.unit, START, || true);
    assert_eq!(notice, Some(Notice::Pick(0)), "the CPU idles");
    assert!(is(pick(None, START), 0));
    let alone = TURN_END.get();

    let notice = scheduler.update(&other.0.unit, WOKEN, || true);
    assert_eq!(notice, Some(Notice::Sooner(0)));
    let end = TURN_END.get();
    assert!(end < alone && end >= START + DEFAULT_RATE_LIMIT);
    assert_eq!(scheduler.update(&other.0.unit, WOKEN, || false), None);
    let notice = scheduler.update(&other.0.unit, WOKEN + 1, || true);
    assert_eq!(notice, None, "the turn ends soon enough");
    assert_eq!(TURN_END.get(), end);

    assert!(is(pick(Some(&first), end), 1));
    assert!(TURN_END.get() > end);

    // Asleep for longer than the rate limit, it may preempt at once: it has had less than the first one.
    let notice = scheduler.update(&other.0.unit, end + 1, || false);
    assert_eq!(notice, Some(Notice::Pick(0)));
    assert!(is(pick(Some(&other), end + 1), 0));
    let woken = end + 2 * DEFAULT_RATE_LIMIT;
    let notice = scheduler.update(&other.0.unit, woken, || true);
    assert_eq!(notice, Some(Notice::Pick(0)));
    assert!(is(pick(Some(&first), woken), 1));
}
