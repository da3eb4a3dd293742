//! `null` and ARINC 653: who has the CPU is fixed.

mod simulator;

use std::sync::Arc;

use scheduler::{
    Affinity, BadSchedule, CpuMask, DEFAULT_POOL, DEFAULT_WINDOW, Kind, MAX_WINDOWS, Schedule,
    Share, Window,
};
use simulator::{Behaviour, Machine, Settings};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

fn machine(kind: Kind, cpus: usize) -> Machine {
    Machine::new(Settings {
        cpus,
        kind,
        ..Settings::default()
    })
}

fn add(machine: &mut Machine, domain: u32, behaviour: Behaviour) -> usize {
    machine.add_vcpu(
        domain,
        &Arc::new(Share::new(domain as u16)),
        behaviour,
        Affinity::ANY,
    )
}

#[test]
fn null_gives_each_vcpu_a_cpu_and_lets_the_rest_wait() {
    let mut machine = machine(Kind::Null, 3);
    let sleepy = Behaviour::Interactive {
        run: MILLISECOND,
        sleep: 9 * MILLISECOND,
    };
    let first = add(&mut machine, 0, sleepy);
    machine.run_until(100 * MILLISECOND);
    let owners: Vec<usize> = (1..5)
        .map(|domain| add(&mut machine, domain, Behaviour::Hog))
        .collect();
    machine.run_until(SECOND);
    assert!(machine.ran(owners[0]) > 890 * MILLISECOND);
    assert!(machine.ran(owners[1]) > 890 * MILLISECOND);
    assert_eq!(
        machine.ran(owners[2]) + machine.ran(owners[3]),
        0,
        "no CPU is left, though one idles"
    );
    let slept = machine.ran(first);
    assert!(slept > 50 * MILLISECOND);
    assert_eq!(machine.migrations(), 0);

    // A CPU that becomes free is the first waiting one's.
    machine.remove_vcpu(owners[0]);
    machine.run_until(2 * SECOND);
    let taken: Vec<u64> = owners[2..].iter().map(|id| machine.ran(*id)).collect();
    assert!(
        taken.iter().any(|ran| *ran > 990 * MILLISECOND) && taken.contains(&0),
        "{taken:?}"
    );
    // So is one that comes, and one whose owner goes elsewhere.
    machine.set_affinity(
        first,
        Affinity {
            hard: CpuMask::only(9),
            soft: CpuMask::ALL,
        },
    );
    machine.check_nothing_lost(4);
    machine.remove_vcpu(first);
    machine.run_until(3 * SECOND);
    assert!(
        machine.ran(owners[2]) > 990 * MILLISECOND && machine.ran(owners[3]) > 990 * MILLISECOND
    );
    machine.check_accounts();
}

#[test]
fn null_survives_cpus_that_go() {
    let mut machine = machine(Kind::Null, 3);
    let ids: Vec<usize> = (0..3)
        .map(|domain| add(&mut machine, domain, Behaviour::Hog))
        .collect();
    machine.run_until(SECOND);
    machine.remove_cpu(DEFAULT_POOL, 1);
    machine.run_until(2 * SECOND);
    machine.check_nothing_lost(3);
    machine.check_places();
    let before: Vec<u64> = ids.iter().map(|id| machine.ran(*id)).collect();
    machine.run_until(3 * SECOND);
    let running = ids
        .iter()
        .zip(&before)
        .filter(|(id, before)| machine.ran(**id) > **before)
        .count();
    assert_eq!(running, 2);
    machine.add_cpu(DEFAULT_POOL, 1);
    machine.run_until(4 * SECOND);
    assert!(ids.iter().all(|id| machine.ran(*id) > SECOND * 19 / 10));
}

fn window(domain: u32, vcpu: u32, length: u64) -> Window {
    Window {
        domain: u128::from(domain).to_le_bytes(),
        vcpu,
        length,
    }
}

#[test]
fn a_schedule_is_followed_to_the_letter() {
    let mut machine = machine(Kind::Arinc653, 2);
    let hogs: Vec<usize> = (1..4)
        .map(|domain| add(&mut machine, domain, Behaviour::Hog))
        .collect();
    machine.run_until(100 * MILLISECOND);
    assert!(
        hogs.iter().all(|id| machine.ran(*id) == 0),
        "they are in no window"
    );
    let schedule = Schedule::new(
        20 * MILLISECOND,
        [
            window(1, 0, 2 * MILLISECOND),
            window(2, 0, 5 * MILLISECOND),
            window(1, 0, MILLISECOND),
        ],
    )
    .unwrap();
    let kicks = machine
        .pools
        .set_schedule(&machine.scheduler, DEFAULT_POOL, schedule)
        .unwrap();
    machine.kick_all(kicks);
    machine.run_until(100 * MILLISECOND + 2 * SECOND);
    // 100 frames; each window costs a switch.
    let close = |machine: &Machine, id: usize, expected: u64| {
        let ran = machine.ran(id);
        assert!(
            ran <= expected && ran >= expected - expected / 100,
            "{ran} of {expected}"
        );
    };
    close(&machine, hogs[0], 300 * MILLISECOND);
    close(&machine, hogs[1], 500 * MILLISECOND);
    close(&machine, hogs[2], 0);
    assert_eq!(machine.busy(1), 0, "one timeline, one CPU");
    machine.check_accounts();

    // The other CPU takes over.
    machine.remove_cpu(DEFAULT_POOL, 0);
    machine.run_until(100 * MILLISECOND + 4 * SECOND);
    close(&machine, hogs[0], 600 * MILLISECOND);
    close(&machine, hogs[1], 1_000 * MILLISECOND);
    machine.check_nothing_lost(3);
    let set = machine
        .pools
        .schedule(&machine.scheduler, DEFAULT_POOL)
        .unwrap();
    assert_eq!(
        (set.major_frame(), set.windows().len()),
        (20 * MILLISECOND, 3)
    );
}

#[test]
fn domain_0_has_windows_until_a_schedule_is_set() {
    let mut machine = machine(Kind::Arinc653, 1);
    let first = add(&mut machine, 0, Behaviour::Hog);
    machine.run_until(SECOND);
    assert!(machine.ran(first) > SECOND * 99 / 100);
    let second = add(&mut machine, 0, Behaviour::Hog);
    machine.run_until(3 * SECOND);
    assert!(
        machine.ran(second) > SECOND * 98 / 100,
        "{}",
        machine.ran(second)
    );
    let default = machine
        .pools
        .schedule(&machine.scheduler, DEFAULT_POOL)
        .unwrap();
    assert_eq!(default.major_frame(), 2 * DEFAULT_WINDOW);
}

#[test]
fn bad_schedules_are_refused() {
    let one = window(1, 0, MILLISECOND);
    assert_eq!(Schedule::new(MILLISECOND, []), Err(BadSchedule::Invalid));
    assert_eq!(
        Schedule::new(MILLISECOND - 1, [one]),
        Err(BadSchedule::Invalid)
    );
    assert_eq!(
        Schedule::new(SECOND, [window(1, 0, 0)]),
        Err(BadSchedule::Invalid)
    );
    assert_eq!(
        Schedule::new(u64::MAX, [window(1, 0, u64::MAX), one]),
        Err(BadSchedule::Invalid)
    );
    assert!(Schedule::new(SECOND, [one; MAX_WINDOWS]).is_ok());
    assert_eq!(
        Schedule::new(SECOND, [one; MAX_WINDOWS + 1]),
        Err(BadSchedule::Invalid)
    );
}
