//! Shares follow weights, caps hold, nobody starves, no CPU idles for nothing: on simulated machines.

mod cases;
mod simulator;

use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use scheduler::{Affinity, Share};
use simulator::{Behaviour, Machine, Settings};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// What each of `weights` should get of `cpus` CPUs for `time`: in proportion, but no more than a CPU.
fn ideal(weights: &[u32], cpus: usize, time: u64) -> Vec<f64> {
    let mut result = vec![0.0; weights.len()];
    let mut by_weight: Vec<usize> = (0..weights.len()).collect();
    by_weight.sort_by_key(|index| std::cmp::Reverse(weights[*index]));
    let mut cpus = cpus as f64;
    let mut total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    for index in by_weight {
        let weight = f64::from(weights[index]);
        let share = (weight / total * cpus).min(1.0);
        result[index] = share * time as f64;
        cpus -= share;
        total -= weight;
    }
    result
}

fn hogs(settings: Settings, weights: &[u32]) -> Machine {
    let mut machine = Machine::new(settings);
    for (domain, weight) in weights.iter().enumerate() {
        let share = Arc::new(Share::new(domain as u16));
        share.set_weight(*weight);
        machine.add_vcpu(domain as u32, &share, Behaviour::Hog, Affinity::ANY);
    }
    machine
}

/// What one slice more or less makes.
const SLICE: f64 = 5.0 * MILLISECOND as f64;
/// An idle CPU takes what waits within this: an interrupt, a switch, and a lock that another CPU held.
const MOST_WASTE: u64 = 200_000;

fn check_shares(machine: &Machine, weights: &[u32], cpus: usize) -> Result<(), TestCaseError> {
    let ideal = ideal(weights, cpus, machine.now);
    for (id, ideal) in ideal.iter().enumerate() {
        let ran = machine.ran(id) as f64;
        prop_assert!(
            (ran - ideal).abs() <= ideal * 0.02 + SLICE,
            "vCPU {} of weight {} ran {} us of {} us",
            id,
            weights[id],
            ran / 1e3,
            ideal / 1e3
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(48))]

    /// 1–64 vCPUs that never sleep, on 1–16 CPUs, for 10 s: each gets its share within 2 %, at no time one waits for long
    /// or a CPU idles, and the accounts agree.
    #[test]
    fn shares_follow_weights(
        cpus in 1usize..=16,
        weights in proptest::collection::vec(64u32..=1024, 1..=64),
        threads in 1usize..=2,
        lock_failures in 0u64..20,
        seed: u64,
    ) {
        let settings = Settings { cpus, threads, lock_failures, seed, ..Settings::default() };
        let mut machine = hogs(settings, &weights);
        machine.run_until(10 * SECOND);
        check_shares(&machine, &weights, cpus)?;
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        for (id, weight) in weights.iter().enumerate() {
            // Its turn comes once in a round, in which everybody has a slice for each share of the least weight.
            let round = 50 * MILLISECOND + 10 * MILLISECOND * total / u64::from(*weight);
            prop_assert!(machine.longest_wait(id) < round, "vCPU {} waited {}", id, machine.longest_wait(id));
        }
        prop_assert!(machine.longest_waste <= MOST_WASTE, "{}", machine.longest_waste);
        machine.check_accounts();
        machine.check_nothing_lost(weights.len());
    }

    /// Any weights: one that is worth more than a CPU has a CPU, and no one starves.
    #[test]
    fn no_weight_starves_another(
        cpus in 1usize..=8,
        exponents in proptest::collection::vec(0u32..16, 2..=24),
        seed: u64,
    ) {
        let weights: Vec<u32> = exponents.iter().map(|exponent| 1 << exponent).collect();
        let mut machine = hogs(Settings { cpus, seed, ..Settings::default() }, &weights);
        machine.run_until(10 * SECOND);
        let ideal = ideal(&weights, cpus, 10 * SECOND);
        for (id, ideal) in ideal.iter().enumerate() {
            let ran = machine.ran(id) as f64;
            prop_assert!(ran >= ideal * 0.7 - SLICE, "vCPU {id} of {weights:?} on {cpus}: {ran} of {ideal}");
        }
        prop_assert!(machine.longest_waste <= MOST_WASTE);
        machine.check_accounts();
    }

    /// Weights that change, and others that stop or start: shares are those of the present, also after a time in which
    /// one weight was worth more than a CPU.
    #[test]
    fn the_past_is_forgotten(
        cpus in 1usize..=4,
        count in 2usize..=12,
        heavy in 1u32..=65_535,
        seed: u64,
    ) {
        let mut machine = Machine::new(Settings { cpus, seed, ..Settings::default() });
        let shares: Vec<Arc<Share>> = (0..count).map(|domain| Arc::new(Share::new(domain as u16))).collect();
        for (domain, share) in shares.iter().enumerate() {
            share.set_weight(if domain % 2 == 0 { heavy } else { 1 });
            let behaviour = if domain < 3 { Behaviour::Hog } else { Behaviour::Off };
            machine.add_vcpu(domain as u32, share, behaviour, Affinity::ANY);
        }
        machine.run_until(5 * SECOND);
        for domain in 0..count {
            machine.set_weight(domain as u32, 256);
            if domain >= 3 {
                machine.set_behaviour(domain, Behaviour::Hog);
            }
        }
        // Old debts are paid within this.
        machine.run_until(7 * SECOND);
        let before: Vec<u64> = (0..count).map(|id| machine.ran(id)).collect();
        machine.run_until(17 * SECOND);
        let ideal = ideal(&vec![256; count], cpus, 10 * SECOND);
        for id in 0..count {
            let ran = (machine.ran(id) - before[id]) as f64;
            prop_assert!(
                (ran - ideal[id]).abs() <= ideal[id] * 0.02 + SLICE,
                "vCPU {} of {}, {} CPUs: {} of {}", id, count, cpus, ran, ideal[id]
            );
        }
    }

    /// A domain with a cap gets no more than it, and that much if it wants it and nobody else does.
    #[test]
    fn caps_hold(
        cpus in 1usize..=8,
        domains in proptest::collection::vec((1u32..=300, 1usize..=6), 1..=4),
        seed: u64,
    ) {
        let mut machine = Machine::new(Settings { cpus, seed, ..Settings::default() });
        let mut members = Vec::new();
        for (domain, (cap, vcpus)) in domains.iter().enumerate() {
            let share = Arc::new(Share::new(domain as u16));
            share.set_cap(*cap);
            let ids: Vec<usize> = (0..*vcpus)
                .map(|_| machine.add_vcpu(domain as u32, &share, Behaviour::Hog, Affinity::ANY))
                .collect();
            members.push(ids);
        }
        machine.run_until(10 * SECOND);
        // More of them than CPUs may have to wait, and lose budget meanwhile.
        let contenders: usize = domains.iter().map(|(_, vcpus)| vcpus).sum();
        // With small caps, vCPUs take turns at the start and in the middle of a period.
        for ((cap, vcpus), ids) in domains.iter().zip(&members) {
            let ran: u64 = ids.iter().map(|id| machine.ran(*id)).sum();
            let most = u64::from(*cap) * SECOND / 10;
            prop_assert!(ran <= most + most / 100, "cap {cap}: {ran}");
            if contenders <= cpus {
                let least = u64::from(*cap).min(*vcpus as u64 * 100) * SECOND / 10;
                prop_assert!(ran >= least - least / 20, "cap {cap}, {vcpus} vCPUs on {cpus}: {ran} of {least}");
            }
            // Whoever asks first gets more, but not everything.
            for id in ids {
                let part = machine.ran(*id) as f64 / ran as f64 * *vcpus as f64;
                prop_assert!(part > 0.25, "cap {cap}, {vcpus} vCPUs on {cpus}: {ran}, a part of {part}");
            }
        }
        machine.check_accounts();
    }

    /// vCPUs that want less than their share get it soon, whatever the others do.
    #[test]
    fn the_modest_are_served_soon(
        cpus in 1usize..=8,
        hogs in 1usize..=24,
        run in 50_000u64..=1_000_000,
        seed: u64,
    ) {
        let mut machine = Machine::new(Settings { cpus, seed, ..Settings::default() });
        for domain in 0..hogs {
            machine.add_vcpu(domain as u32, &Arc::new(Share::new(domain as u16)), Behaviour::Hog, Affinity::ANY);
        }
        machine.run_until(SECOND);
        let share = Arc::new(Share::new(100));
        // A tenth of its share.
        let sleep = run * 10 * (hogs / cpus + 1) as u64;
        let id = machine.add_vcpu(100, &share, Behaviour::Interactive { run, sleep }, Affinity::ANY);
        machine.run_until(6 * SECOND);
        let wanted = (5 * SECOND) as f64 * run as f64 / (run + sleep) as f64;
        let ran = machine.ran(id) as f64;
        prop_assert!(ran > wanted * 0.6, "{ran} of {wanted}");
        prop_assert!(machine.longest_wait(id) < 8 * MILLISECOND, "waited {}", machine.longest_wait(id));
        machine.check_accounts();
    }

    /// Mixed loads: no CPU idles while something waits, accounts agree.
    #[test]
    fn work_is_conserved(
        cpus in 1usize..=12,
        vcpus in proptest::collection::vec((50_000u64..5_000_000, 10_000u64..20_000_000), 1..=32),
        threads in 1usize..=2,
        lock_failures in 0u64..30,
        seed: u64,
    ) {
        let mut machine = Machine::new(Settings { cpus, threads, lock_failures, seed, ..Settings::default() });
        for (domain, (run, sleep)) in vcpus.iter().enumerate() {
            let behaviour = match domain % 5 {
                0 => Behaviour::Hog,
                1 => Behaviour::Yields { every: *run },
                _ => Behaviour::Interactive { run: *run, sleep: *sleep },
            };
            machine.add_vcpu(domain as u32, &Arc::new(Share::new(domain as u16)), behaviour, Affinity::ANY);
        }
        machine.run_until(2 * SECOND);
        prop_assert!(machine.longest_waste <= MOST_WASTE, "{} at {}", machine.longest_waste, machine.longest_waste_at);
        machine.check_accounts();
        machine.check_nothing_lost(vcpus.len());
    }
}

#[test]
fn yielding_lets_the_others_go_first() {
    let mut machine = Machine::new(Settings::default());
    let shares = [Arc::new(Share::new(0)), Arc::new(Share::new(1))];
    let polite = machine.add_vcpu(
        0,
        &shares[0],
        Behaviour::Yields { every: 100_000 },
        Affinity::ANY,
    );
    let hog = machine.add_vcpu(1, &shares[1], Behaviour::Hog, Affinity::ANY);
    machine.run_until(SECOND);
    assert!(
        machine.ran(polite) < machine.ran(hog),
        "who yields runs less"
    );
    assert!(machine.ran(polite) > SECOND / 100);
    assert!(machine.longest_wait(polite) < 10 * MILLISECOND);
}

#[test]
fn the_rate_limit_keeps_wake_ups_from_preempting() {
    for (rate_limit, at_most) in [(1_000_000, 1_050), (10_000_000, 110)] {
        let mut machine = Machine::new(Settings::default());
        machine
            .pools
            .set_rate_limit(&machine.scheduler, scheduler::DEFAULT_POOL, rate_limit)
            .unwrap();
        let shares = [Arc::new(Share::new(0)), Arc::new(Share::new(1))];
        machine.add_vcpu(0, &shares[0], Behaviour::Hog, Affinity::ANY);
        let busy = Behaviour::Interactive {
            run: 1_000,
            sleep: 1_000,
        };
        machine.add_vcpu(1, &shares[1], busy, Affinity::ANY);
        machine.run_until(SECOND);
        // Each time that the busy one has the CPU costs two switches.
        assert!(
            machine.switches() <= 2 * at_most,
            "{rate_limit}: {}",
            machine.switches()
        );
        assert!(machine.switches() >= at_most / 2);
    }
}
