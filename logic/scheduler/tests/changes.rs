//! CPUs, vCPUs, affinities and pools change while everything runs: nothing is lost, nothing runs where it may not.

mod cases;
mod simulator;

use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use scheduler::{Affinity, CpuMask, DEFAULT_POOL, Kind, PoolError, Share};
use simulator::{Behaviour, Machine, Random, Settings};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
const MOST_WASTE: u64 = 200_000;

fn only(cpus: impl IntoIterator<Item = usize>) -> Affinity {
    Affinity {
        hard: cpus.into_iter().collect(),
        soft: CpuMask::ALL,
    }
}

fn behaviour(random: &mut Random) -> Behaviour {
    let run = 20_000 + random.below(4_000_000);
    match random.below(4) {
        0 | 1 => Behaviour::Hog,
        2 => Behaviour::Yields { every: run },
        _ => Behaviour::Interactive {
            run,
            sleep: 20_000 + random.below(10_000_000),
        },
    }
}

fn some_cpus(random: &mut Random, cpus: usize) -> CpuMask {
    let mut mask = CpuMask::only(random.below(cpus as u64) as usize);
    for cpu in 0..cpus {
        if random.below(3) == 0 {
            mask.insert(cpu);
        }
    }
    mask
}

proptest! {
    #![proptest_config(cases(40))]

    /// Everything at once, on a machine whose CPUs stop now and then, and where locks are mostly taken by others.
    #[test]
    fn nothing_is_lost(
        cpus in 2usize..=12,
        threads in 1usize..=2,
        stalls: bool,
        seed: u64,
    ) {
        let settings = Settings {
            cpus,
            threads,
            lock_failures: 50,
            stall_every: if stalls { 20 * MILLISECOND } else { 0 },
            stall: 3 * MILLISECOND,
            seed,
            ..Settings::default()
        };
        let mut random = Random::new(seed);
        let mut machine = Machine::new(settings);
        let mut online: CpuMask = (0..cpus).collect();
        let mut alive = Vec::new();
        let mut domains = 0;
        for step in 0..150u64 {
            match random.below(9) {
                0 | 1 if alive.len() < 24 => {
                    let share = Arc::new(Share::new(domains));
                    share.set_weight(1 + random.below(2_000) as u32);
                    if random.below(3) == 0 {
                        share.set_cap(5 + random.below(200) as u32);
                    }
                    for _ in 0..=random.below(2) {
                        let what = behaviour(&mut random);
                        alive.push(machine.add_vcpu(u32::from(domains), &share, what, Affinity::ANY));
                    }
                    domains += 1;
                }
                2 if alive.len() > 4 => {
                    let index = random.below(alive.len() as u64) as usize;
                    machine.remove_vcpu(alive.swap_remove(index));
                }
                3 if online.len() > 1 => {
                    let cpu = some_cpus(&mut random, cpus).and(online).first();
                    if let Some(cpu) = cpu {
                        match machine.try_remove_cpu(DEFAULT_POOL, cpu) {
                            Ok(()) => online.remove(cpu),
                            Err(error) => prop_assert_eq!(error, PoolError::Pinned),
                        }
                    }
                }
                4 => {
                    let cpu = random.below(cpus as u64) as usize;
                    if !online.contains(cpu) {
                        machine.add_cpu(DEFAULT_POOL, cpu);
                        online.insert(cpu);
                    }
                }
                5 if !alive.is_empty() => {
                    let id = alive[random.below(alive.len() as u64) as usize];
                    let hard = some_cpus(&mut random, cpus);
                    let soft = some_cpus(&mut random, cpus);
                    machine.set_affinity(id, Affinity { hard, soft });
                }
                6 if !alive.is_empty() => {
                    let id = alive[random.below(alive.len() as u64) as usize];
                    let pin = (random.below(2) == 0).then(|| random.below(cpus as u64) as usize);
                    machine.set_pin(id, pin);
                }
                7 if !alive.is_empty() => {
                    let id = alive[random.below(alive.len() as u64) as usize];
                    let what = if random.below(4) == 0 { Behaviour::Off } else { behaviour(&mut random) };
                    machine.set_behaviour(id, what);
                }
                8 if domains > 0 => {
                    machine.set_weight(random.below(u64::from(domains)) as u32, 1 + random.below(65_535) as u32);
                }
                _ => {}
            }
            machine.run_until((step + 1) * 3 * MILLISECOND);
            machine.check_nothing_lost(alive.len());
        }
        // Interrupts arrive within this.
        machine.run_until(machine.now + 10 * MILLISECOND);
        machine.check_places();
        machine.check_accounts();
        if !stalls {
            // The locks alone make a CPU wait for a few tries.
            prop_assert!(machine.longest_waste <= 4 * MOST_WASTE, "{} at {}", machine.longest_waste, machine.longest_waste_at);
        }
        // And everyone still runs.
        let before: Vec<u64> = alive.iter().map(|id| machine.ran(*id)).collect();
        for id in &alive {
            machine.set_pin(*id, None);
            machine.set_affinity(*id, Affinity::ANY);
            machine.set_behaviour(*id, Behaviour::Hog);
        }
        for domain in 0..u32::from(domains) {
            machine.set_weight(domain, 256);
        }
        machine.run_until(machine.now + 2 * SECOND);
        for (id, before) in alive.iter().zip(before) {
            prop_assert!(machine.ran(*id) > before, "vCPU {} does not run any more", id);
        }
    }

    /// Hard affinity is law, soft affinity is a wish, and neither wastes a CPU.
    #[test]
    fn affinity_is_respected(cpus in 2usize..=8, count in 1usize..=16, seed: u64) {
        let mut random = Random::new(seed);
        let mut machine = Machine::new(Settings { cpus, seed, ..Settings::default() });
        for id in 0..count {
            let share = Arc::new(Share::new(id as u16));
            let hard = some_cpus(&mut random, cpus);
            let soft = some_cpus(&mut random, cpus);
            let what = behaviour(&mut random);
            machine.add_vcpu(id as u32, &share, what, Affinity { hard, soft });
        }
        for _ in 0..200 {
            let next = machine.now + random.below(5 * MILLISECOND);
            machine.run_until(next);
            machine.check_places();
        }
        prop_assert!(machine.longest_waste <= MOST_WASTE, "{}", machine.longest_waste);
        machine.check_accounts();
    }
}

#[test]
fn a_wish_for_a_cpu_is_granted_while_it_idles() {
    let mut machine = Machine::new(Settings {
        cpus: 4,
        ..Settings::default()
    });
    let wish = Affinity {
        hard: CpuMask::ALL,
        soft: CpuMask::only(2),
    };
    let busy = Behaviour::Interactive {
        run: MILLISECOND,
        sleep: MILLISECOND,
    };
    machine.add_vcpu(0, &Arc::new(Share::new(0)), busy, wish);
    machine.run_until(SECOND);
    assert_eq!(machine.busy(0) + machine.busy(1) + machine.busy(3), 0);
}

#[test]
fn pinned_neighbours_share_by_weight() {
    let mut machine = Machine::new(Settings {
        cpus: 4,
        ..Settings::default()
    });
    // Two on CPU 0 by weight; elsewhere, light ones whose time runs fast.
    let weights = [200, 600, 1, 1, 1, 1];
    for (id, weight) in weights.into_iter().enumerate() {
        let share = Arc::new(Share::new(id as u16));
        share.set_weight(weight);
        let affinity = if id < 2 { only([0]) } else { only([1, 2, 3]) };
        machine.add_vcpu(id as u32, &share, Behaviour::Hog, affinity);
    }
    machine.run_until(10 * SECOND);
    let close = |id, expected: u64| {
        let ran = machine.ran(id);
        assert!(
            ran.abs_diff(expected) < expected / 50,
            "vCPU {id}: {ran} of {expected}"
        );
    };
    close(0, 5 * SECOND / 2);
    close(1, 15 * SECOND / 2);
    for id in 2..6 {
        close(id, 15 * SECOND / 2);
    }
}

#[test]
fn cpus_go_and_come_a_hundred_times() {
    let mut machine = Machine::new(Settings {
        cpus: 4,
        ..Settings::default()
    });
    for id in 0..6 {
        machine.add_vcpu(
            id,
            &Arc::new(Share::new(id as u16)),
            Behaviour::Hog,
            Affinity::ANY,
        );
    }
    for round in 0..100 {
        let cpu = 1 + round % 3;
        machine.remove_cpu(DEFAULT_POOL, cpu);
        machine.run_until(machine.now + 7 * MILLISECOND);
        machine.check_nothing_lost(6);
        machine.check_places();
        machine.add_cpu(DEFAULT_POOL, cpu);
        machine.run_until(machine.now + 7 * MILLISECOND);
    }
    assert!(
        machine.longest_waste <= MOST_WASTE,
        "{}",
        machine.longest_waste
    );
    let total: u64 = (0..6).map(|id| machine.ran(id)).sum();
    // 3.5 CPUs on average; and each had as much as the others.
    assert!(total > machine.now * 34 / 10, "{total} of {}", machine.now);
    for id in 0..6 {
        assert!((machine.ran(id) * 6).abs_diff(total) < total / 10);
    }
}

#[test]
fn pools_keep_their_domains_apart() {
    let mut machine = Machine::new(Settings {
        cpus: 4,
        ..Settings::default()
    });
    for domain in 0..4 {
        machine.pools.add_domain(DEFAULT_POOL).unwrap();
        machine.add_vcpu(
            domain,
            &Arc::new(Share::new(domain as u16)),
            Behaviour::Hog,
            Affinity::ANY,
        );
    }
    let pool = machine.pools.create(None, Kind::Credit2).unwrap();
    assert_eq!(pool, 1);
    assert_eq!(
        machine.pools.create(Some(1), Kind::Null),
        Err(PoolError::Exists)
    );
    assert_eq!(machine.try_remove_cpu(1, 3), Err(PoolError::Elsewhere));
    assert_eq!(machine.try_remove_cpu(7, 3), Err(PoolError::NoPool));
    assert_eq!(machine.pools.add_domain(1), Err(PoolError::NoCpuInPool));
    machine.remove_cpu(DEFAULT_POOL, 3);
    machine.add_cpu(pool, 3);
    machine.move_domain(3, DEFAULT_POOL, pool);
    machine.run_until(SECOND);
    machine.check_places();
    assert!(machine.ran(3) > SECOND * 9 / 10, "a CPU of its own");
    assert_eq!(
        machine.try_remove_cpu(pool, 3),
        Err(PoolError::Busy),
        "the last one"
    );
    assert_eq!(machine.pools.destroy(pool), Err(PoolError::Busy));
    assert_eq!(machine.pools.destroy(DEFAULT_POOL), Err(PoolError::Busy));
    let info = machine.pools.get(pool).unwrap();
    assert_eq!((info.domains, info.cpus), (1, CpuMask::only(3)));

    // And back.
    machine.move_domain(3, pool, DEFAULT_POOL);
    machine.remove_cpu(pool, 3);
    machine.pools.destroy(pool).unwrap();
    assert_eq!(machine.pools.at_or_after(1), None);
    machine.add_cpu(DEFAULT_POOL, 3);
    machine.run_until(2 * SECOND);
    machine.check_nothing_lost(4);
    assert_eq!(machine.pools.get(DEFAULT_POOL).unwrap().domains, 4);
    assert!(machine.longest_waste <= MOST_WASTE);
}

#[test]
fn a_pinned_vcpu_keeps_its_cpu() {
    let mut machine = Machine::new(Settings {
        cpus: 2,
        ..Settings::default()
    });
    let id = machine.add_vcpu(0, &Arc::new(Share::new(0)), Behaviour::Hog, only([0]));
    machine.set_pin(id, Some(1));
    machine.run_until(SECOND);
    machine.check_places();
    assert_eq!(
        machine.try_remove_cpu(DEFAULT_POOL, 1),
        Err(PoolError::Pinned)
    );
    machine.set_pin(id, None);
    machine.run_until(2 * SECOND);
    machine.check_places();
    machine.remove_cpu(DEFAULT_POOL, 1);
    assert_eq!(
        machine.try_remove_cpu(DEFAULT_POOL, 9),
        Err(PoolError::NoCpu)
    );
}
