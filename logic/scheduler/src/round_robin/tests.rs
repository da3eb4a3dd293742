//! Turns, slices and wake-ups by hand; then fairness under any behaviour of the others, on a simulated clock.

extern crate std;

use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const MS: u64 = 1_000_000;

fn with_units(count: u32) -> (RoundRobin<u32>, Vec<UnitId>) {
    let mut policy = RoundRobin::with_times(30 * MS, MS);
    let units = (0..count).map(|n| policy.insert(n).unwrap()).collect();
    (policy, units)
}

#[test]
fn nothing_runnable_is_idle() {
    let (mut policy, units) = with_units(1);
    let idle = Pick {
        unit: None,
        until: None,
    };
    assert_eq!(policy.pick(5), idle);
    assert!(policy.wake(units[0], 6));
    assert!(!policy.wake(units[0], 6));
    // Alone, it needs no timer.
    assert_eq!(
        policy.pick(6),
        Pick {
            unit: Some(units[0]),
            until: None
        }
    );
    policy.sleep(units[0], 7);
    assert_eq!(policy.pick(7), idle);
    assert_eq!(policy.run_time(units[0], 100), 1);
}

#[test]
fn hogs_take_turns_of_a_slice() {
    let (mut policy, units) = with_units(3);
    let mut now = 0;
    for unit in &units {
        assert!(policy.wake(*unit, now));
    }
    for turn in 0..9 {
        let pick = policy.pick(now);
        assert_eq!(pick.unit, Some(units[turn % 3]));
        assert_eq!(pick.until, Some(now + 30 * MS));
        // Picking early, say for an interrupt, changes nothing.
        assert_eq!(policy.pick(now + 10 * MS), pick);
        now += 30 * MS;
    }
    for unit in units {
        assert_eq!(policy.run_time(unit, now), 90 * MS);
    }
}

#[test]
fn a_woken_unit_preempts_after_the_rate_limit_and_the_preempted_one_resumes() {
    let (mut policy, units) = with_units(3);
    let [hog, other, sleeper] = units[..] else {
        unreachable!()
    };
    // Everybody has had a first turn.
    assert!(policy.wake(sleeper, 0));
    assert_eq!(policy.pick(0).unit, Some(sleeper));
    policy.sleep(sleeper, 0);
    assert!(policy.wake(hog, 0));
    assert!(policy.wake(other, 0));
    assert_eq!(policy.pick(0).unit, Some(hog));

    assert!(policy.wake(sleeper, MS / 2));
    assert_eq!(
        policy.pick(MS / 2),
        Pick {
            unit: Some(hog),
            until: Some(MS)
        }
    );
    assert_eq!(
        policy.pick(MS),
        Pick {
            unit: Some(sleeper),
            until: Some(31 * MS)
        }
    );
    policy.sleep(sleeper, 2 * MS);
    // The hog goes on where it was: before `other`, with 29 ms left.
    assert_eq!(
        policy.pick(2 * MS),
        Pick {
            unit: Some(hog),
            until: Some(31 * MS)
        }
    );
    assert_eq!(policy.pick(31 * MS).unit, Some(other));
}

#[test]
fn yielding_lets_everybody_else_go_first() {
    let (mut policy, units) = with_units(3);
    for unit in &units {
        assert!(policy.wake(*unit, 0));
    }
    let order: Vec<_> = (1..=6)
        .map(|now| {
            let unit = policy.pick(now).unit.unwrap();
            policy.yield_now(unit, now);
            unit
        })
        .collect();
    assert_eq!(order, [units.clone(), units].concat());
}

#[test]
fn a_removed_unit_is_gone_and_its_handle_stale() {
    let (mut policy, units) = with_units(2);
    assert!(policy.wake(units[0], 0));
    assert!(policy.wake(units[1], 0));
    assert_eq!(policy.pick(0).unit, Some(units[0]));
    assert_eq!(policy.remove(units[0], 1), Some(0));
    assert_eq!(policy.running(), None);
    assert_eq!(policy.pick(1).unit, Some(units[1]));
    let again = policy.insert(7).unwrap();
    assert_ne!(again, units[0]);
    assert!(!policy.wake(units[0], 2));
    assert_eq!(policy.get(units[0]), None);
    assert_eq!(policy.remove(units[0], 2), None);
    assert!(policy.wake(again, 3));
    assert_eq!(policy.queued().copied().collect::<Vec<_>>(), vec![7]);
}

#[derive(Clone, Debug)]
enum Step {
    Wake(usize),
    Sleep(usize),
    Yield(usize),
    /// The running unit runs on for this long, or until its time is up, then the CPU picks.
    Run(u64),
}

fn steps(units: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..units).prop_map(Step::Wake),
        3 => (1..units).prop_map(Step::Sleep),
        1 => (1..units).prop_map(Step::Yield),
        4 => prop_oneof![0..2 * MS, 0..60 * MS].prop_map(Step::Run),
    ];
    proptest::collection::vec(step, 50..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Unit 0 always wants to run; the others do anything at all.
    #[test]
    fn work_is_conserved_and_nobody_starves(steps in steps(4)) {
        let (mut policy, units) = with_units(4);
        let mut runnable = [false; 4];
        let mut ran = [0u64; 4];
        let mut now = 0u64;
        // What had run when unit 0 last completed a slice's worth. That window overlaps two of its slices.
        let mut base = [0u64; 4];
        let _ = policy.wake(units[0], 0);
        runnable[0] = true;
        for step in steps {
            match step {
                Step::Wake(n) => {
                    let woke = policy.wake(units[n], now);
                    prop_assert_eq!(woke, !runnable[n]);
                    runnable[n] = true;
                }
                Step::Sleep(n) => { policy.sleep(units[n], now); runnable[n] = false; }
                Step::Yield(n) => policy.yield_now(units[n], now),
                Step::Run(time) => {
                    let pick = policy.pick(now);
                    // Unit 0 is runnable, so the CPU is never idle.
                    let unit = pick.unit.unwrap();
                    let n = *policy.get(unit).unwrap() as usize;
                    prop_assert!(runnable[n], "runs unit {} that sleeps", n);
                    if pick.until.is_none() {
                        prop_assert_eq!(runnable.iter().filter(|runnable| **runnable).count(), 1);
                    }
                    let end = pick.until.map_or(now + time, |until| until.min(now + time));
                    prop_assert!(end >= now);
                    ran[n] += end - now;
                    now = end;
                }
            }
            if ran[0] - base[0] >= 30 * MS {
                base = ran;
            }
            for other in 1..4 {
                prop_assert!(
                    ran[other] - base[other] <= 60 * MS,
                    "unit {} ran for {} ns while unit 0 waited for a slice", other, ran[other] - base[other]
                );
            }
        }
        for (n, unit) in units.iter().enumerate() {
            prop_assert_eq!(policy.run_time(*unit, now), ran[n]);
        }
        prop_assert_eq!(ran.iter().sum::<u64>(), now);
    }

    /// Units that always want to run get equal time, to within a slice.
    #[test]
    fn hogs_share_equally(count in 1u32..8, picks in proptest::collection::vec(0..50 * MS, 1..300)) {
        let (mut policy, units) = with_units(count);
        let mut now = 0;
        for unit in &units {
            let _ = policy.wake(*unit, now);
        }
        for time in picks {
            let pick = policy.pick(now);
            now = pick.until.map_or(now + time, |until| until.min(now + time));
        }
        let times: Vec<_> = units.iter().map(|unit| policy.run_time(*unit, now)).collect();
        prop_assert!(times.iter().max().unwrap() - times.iter().min().unwrap() <= 30 * MS);
    }
}
