//! Shares follow weights, caps hold, nobody starves, no CPU idles for nothing: on simulated machines.

mod simulator;

use std::sync::Arc;

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

#[test]
fn smoke() {
    for (cpus, weights) in [
        (1, vec![256, 512, 1024]),
        (2, vec![256; 3]),
        (2, vec![256, 512, 1024]),
        (16, vec![256; 64]),
        (4, vec![256; 7]),
        (3, vec![100, 200, 300, 400, 500]),
        (1, vec![256; 64]),
        (2, vec![65535, 65535, 65535, 1]),
        (2, vec![65535, 1, 1, 1]),
        (16, (1..64).map(|i| i * 37).collect()),
    ] {
        let mut machine = hogs(
            Settings {
                cpus,
                ..Settings::default()
            },
            &weights,
        );
        let start = std::time::Instant::now();
        machine.run_until(10 * SECOND);
        let ideal = ideal(&weights, cpus, 10 * SECOND);
        let worst = (0..weights.len())
            .map(|id| ((machine.ran(id) as f64 / ideal[id] - 1.0) * 100.0, id))
            .max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))
            .unwrap();
        let wait = (0..weights.len())
            .map(|id| machine.longest_wait(id))
            .max()
            .unwrap();
        println!(
            "{cpus} CPUs, {} vCPUs: worst {:.2} % (vCPU {} of weight {}: {} of {:.0} us), waits {} us, waste {} ns, {} switches, {} migrations, {:?}",
            weights.len(),
            worst.0,
            worst.1,
            weights[worst.1],
            machine.ran(worst.1) / 1000,
            ideal[worst.1] / 1000.0,
            wait / 1000,
            machine.longest_waste,
            machine.switches(),
            machine.migrations(),
            start.elapsed(),
        );
        machine.check_accounts();
        machine.check_nothing_lost(weights.len());
    }
}
