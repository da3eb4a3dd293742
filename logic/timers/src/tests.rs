//! The queue against a naive model, and its edges.

extern crate std;

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

#[test]
fn fires_in_order_of_deadline_then_of_arming() {
    let mut queue = TimerQueue::new();
    let ids: Vec<_> = (0..5).map(|n| queue.register(n).unwrap()).collect();
    assert!(queue.arm(ids[3], 20));
    assert!(queue.arm(ids[0], 10));
    assert!(!queue.arm(ids[4], 10));
    assert!(!queue.arm(ids[1], 30));
    assert_eq!(queue.next_deadline(), Some(10));
    assert_eq!(queue.pop_expired(9), None);
    assert_eq!(queue.pop_expired(25), Some((ids[0], 10, 0)));
    assert_eq!(queue.pop_expired(25), Some((ids[4], 10, 4)));
    assert_eq!(queue.pop_expired(25), Some((ids[3], 20, 3)));
    assert_eq!(queue.pop_expired(25), None);
    assert_eq!(queue.next_deadline(), Some(30));
    assert_eq!(queue.armed(), 1);
}

#[test]
fn stale_handles_do_nothing() {
    let mut queue = TimerQueue::new();
    let old = queue.register('a').unwrap();
    queue.arm(old, 5);
    assert_eq!(queue.unregister(old), Some('a'));
    assert_eq!(queue.next_deadline(), None);
    let new = queue.register('b').unwrap();
    assert_ne!(old, new);
    queue.arm(new, 7);
    assert!(!queue.arm(old, 1));
    assert!(!queue.disarm(old));
    assert_eq!(queue.deadline(old), None);
    assert_eq!(queue.unregister(old), None);
    assert_eq!(queue.pop_expired(u64::MAX), Some((new, 7, 'b')));
}

#[test]
fn arming_never_allocates() {
    let mut queue = TimerQueue::new();
    let ids: Vec<_> = (0..100).map(|n| queue.register(n).unwrap()).collect();
    let room = (queue.heap.capacity(), queue.free.capacity());
    for (n, id) in ids.iter().enumerate() {
        queue.arm(*id, n as u64);
    }
    for id in &ids {
        queue.unregister(*id);
    }
    assert_eq!(room, (queue.heap.capacity(), queue.free.capacity()));
    // The slots are used again, not leaked.
    for n in 0..100 {
        queue.register(n).unwrap();
    }
    assert_eq!(queue.slots.len(), 100);
}

#[derive(Clone, Debug)]
enum Step {
    Register,
    Unregister(usize),
    Arm(usize, u64),
    Disarm(usize),
    Advance(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Register),
        1 => (0..40usize).prop_map(Step::Unregister),
        6 => (0..40usize, 0..50u64).prop_map(|(n, ahead)| Step::Arm(n, ahead)),
        2 => (0..40usize).prop_map(Step::Disarm),
        2 => (0..20u64).prop_map(Step::Advance),
    ];
    proptest::collection::vec(step, 1..400)
}

/// Id, payload, what it is armed for (deadline, order of arming), and whether it is registered.
type Modelled = (TimerId, usize, Option<(u64, u64)>, bool);

proptest! {
    #[test]
    fn agrees_with_a_sorted_list(steps in steps()) {
        let mut queue = TimerQueue::new();
        let mut model: Vec<Modelled> = Vec::new();
        let (mut now, mut order) = (0u64, 0u64);
        for step in steps {
            match step {
                Step::Register => {
                    let payload = model.len();
                    model.push((queue.register(payload).unwrap(), payload, None, true));
                }
                Step::Unregister(n) => if let Some(timer) = model.get_mut(n) {
                    prop_assert_eq!(queue.unregister(timer.0), timer.3.then_some(timer.1));
                    (timer.2, timer.3) = (None, false);
                },
                Step::Arm(n, ahead) => if let Some(timer) = model.get_mut(n) {
                    queue.arm(timer.0, now + ahead);
                    if timer.3 {
                        timer.2 = Some((now + ahead, order));
                        order += 1;
                    }
                },
                Step::Disarm(n) => if let Some(timer) = model.get_mut(n) {
                    prop_assert_eq!(queue.disarm(timer.0), timer.2.is_some());
                    timer.2 = None;
                },
                Step::Advance(by) => {
                    now += by;
                    loop {
                        let due = model.iter_mut()
                            .filter(|timer| timer.2.is_some_and(|(deadline, _)| deadline <= now))
                            .min_by_key(|timer| timer.2);
                        let fired = queue.pop_expired(now);
                        match due {
                            None => { prop_assert_eq!(fired, None); break; }
                            Some(timer) => {
                                let (deadline, _) = timer.2.take().unwrap();
                                prop_assert_eq!(fired, Some((timer.0, deadline, timer.1)));
                            }
                        }
                    }
                }
            }
            let earliest = model.iter().filter_map(|timer| timer.2).map(|(deadline, _)| deadline).min();
            prop_assert_eq!(queue.next_deadline(), earliest);
            prop_assert_eq!(queue.armed(), model.iter().filter(|timer| timer.2.is_some()).count());
            for timer in &model {
                prop_assert_eq!(queue.deadline(timer.0), timer.2.map(|(deadline, _)| deadline));
            }
        }
    }
}
