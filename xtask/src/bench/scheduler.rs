//! `cargo xtask bench sched`: what the scheduler does with a few loads, on a simulated machine (the one of its own tests):
//! a table, and a picture of the shares over time for each.
//!
//! The simulation counts what vCPUs run, and takes time for interrupts and switches; it knows nothing of caches.

#[path = "../../../logic/scheduler/tests/simulator/mod.rs"]
mod simulator;

use std::fmt::Write;
use std::fs;
use std::sync::Arc;

use anyhow::Result;
use scheduler::{Affinity, CpuMask, DEFAULT_POOL, Share};
use simulator::{Behaviour, Machine, Settings};

use crate::workspace;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
/// Length of a simulation, and of a step in its picture.
const LENGTH: u64 = 10 * SECOND;
const STEP: u64 = 100 * MILLISECOND;

/// vCPUs that are drawn as one.
struct Group {
    name: String,
    members: Vec<usize>,
    /// What it should get of one CPU, on average over the whole time, if that is known.
    expected: Option<f64>,
    /// That is a limit, which whoever has to wait for a CPU stays below.
    is_capped: bool,
}

struct Scenario {
    name: &'static str,
    title: &'static str,
    machine: Machine,
    groups: Vec<Group>,
    /// At each step, what changes.
    changes: fn(&mut Machine, u64),
}

fn machine(cpus: usize) -> Machine {
    Machine::new(Settings {
        cpus,
        ..Settings::default()
    })
}

impl Scenario {
    fn new(name: &'static str, title: &'static str, cpus: usize) -> Self {
        Self {
            name,
            title,
            machine: machine(cpus),
            groups: Vec::new(),
            changes: |_, _| {},
        }
    }

    /// Adds a domain of `count` vCPUs.
    fn domain(
        &mut self,
        name: &str,
        (weight, cap): (u32, u32),
        count: usize,
        behaviour: Behaviour,
        expected: Option<f64>,
    ) {
        let domain = self.groups.len() as u32;
        let share = Arc::new(Share::new(domain as u16));
        share.set_weight(weight);
        share.set_cap(cap);
        let members = (0..count)
            .map(|_| {
                self.machine
                    .add_vcpu(domain, &share, behaviour, Affinity::ANY)
            })
            .collect();
        self.groups.push(Group {
            name: name.to_owned(),
            members,
            expected,
            is_capped: cap != 0,
        });
    }
}

fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();

    let mut weights = Scenario::new("weights", "weights 1:2:4 on one CPU", 1);
    for weight in [256, 512, 1024] {
        let name = format!("weight {weight}");
        let expected = f64::from(weight) / 1792.0;
        weights.domain(&name, (weight, 0), 1, Behaviour::Hog, Some(expected));
    }
    all.push(weights);

    let mut thirds = Scenario::new("thirds", "three equal vCPUs on two CPUs", 2);
    for id in 0..3 {
        let name = format!("d{id}");
        thirds.domain(&name, (256, 0), 1, Behaviour::Hog, Some(2.0 / 3.0));
    }
    all.push(thirds);

    let mut caps = Scenario::new(
        "caps",
        "caps of 30 %, 150 % (4 vCPUs) and none, on four CPUs",
        4,
    );
    caps.domain("cap 30", (256, 30), 1, Behaviour::Hog, Some(0.3));
    caps.domain("cap 150", (256, 150), 4, Behaviour::Hog, Some(1.5));
    caps.domain("no cap", (256, 0), 3, Behaviour::Hog, Some(2.2));
    all.push(caps);

    let mut many = Scenario::new("many", "64 vCPUs on 16 CPUs, a weight for each 16", 16);
    for weight in [128, 256, 512, 1024] {
        let name = format!("16 of weight {weight}");
        let expected = 16.0 * f64::from(weight) / 1920.0;
        many.domain(&name, (weight, 0), 16, Behaviour::Hog, Some(expected));
    }
    all.push(many);

    let mut mixed = Scenario::new(
        "interactive",
        "interactive vCPUs among hogs, on two CPUs",
        2,
    );
    let busy = Behaviour::Interactive {
        run: 300_000,
        sleep: 5 * MILLISECOND,
    };
    mixed.domain("interactive", (256, 0), 1, busy, None);
    mixed.domain("interactive too", (256, 0), 1, busy, None);
    mixed.domain("hogs", (256, 0), 6, Behaviour::Hog, None);
    all.push(mixed);

    let mut hotplug = Scenario::new(
        "hotplug",
        "six equal vCPUs on four CPUs, of which three go and come",
        4,
    );
    for id in 0..6 {
        hotplug.domain(&format!("d{id}"), (256, 0), 1, Behaviour::Hog, None);
    }
    hotplug.changes = |machine, now| {
        // One by one off from 2 s on, and back from 6 s on.
        match now / MILLISECOND {
            2_000 => machine.remove_cpu(DEFAULT_POOL, 3),
            3_000 => machine.remove_cpu(DEFAULT_POOL, 2),
            4_000 => machine.remove_cpu(DEFAULT_POOL, 1),
            6_000 => machine.add_cpu(DEFAULT_POOL, 1),
            7_000 => machine.add_cpu(DEFAULT_POOL, 2),
            8_000 => machine.add_cpu(DEFAULT_POOL, 3),
            _ => {}
        }
    };
    all.push(hotplug);

    let mut pinned = Scenario::new(
        "pinned",
        "four vCPUs on two CPUs, all on the first from 4 s to 6 s",
        2,
    );
    for (id, weight) in [256, 256, 512, 1024].into_iter().enumerate() {
        pinned.domain(
            &format!("d{id} of weight {weight}"),
            (weight, 0),
            1,
            Behaviour::Hog,
            None,
        );
    }
    pinned.changes = |machine, now| {
        let hard = match now / MILLISECOND {
            4_000 => CpuMask::only(0),
            6_000 => CpuMask::ALL,
            _ => return,
        };
        for id in 0..4 {
            machine.set_affinity(
                id,
                Affinity {
                    hard,
                    soft: CpuMask::ALL,
                },
            );
        }
    };
    all.push(pinned);
    all
}

/// Runs a scenario; the run time of each group in each step, in CPUs.
fn run(scenario: &mut Scenario) -> Vec<Vec<f64>> {
    let machine = &mut scenario.machine;
    let mut before = vec![0; scenario.groups.len()];
    let mut series = vec![Vec::new(); scenario.groups.len()];
    while machine.now < LENGTH {
        (scenario.changes)(machine, machine.now);
        machine.run_until(machine.now + STEP);
        for (index, group) in scenario.groups.iter().enumerate() {
            let ran: u64 = group.members.iter().map(|id| machine.ran(*id)).sum();
            if let (Some(before), Some(series)) = (before.get_mut(index), series.get_mut(index)) {
                series.push((ran - *before) as f64 / STEP as f64);
                *before = ran;
            }
        }
    }
    series
}

/// Runs all scenarios, prints the table, writes it and the pictures.
pub(crate) fn run_all() -> Result<i32> {
    let directory = workspace::root().join("target/bench");
    fs::create_dir_all(&directory)?;
    let mut table = String::new();
    let mut worst = 0.0f64;
    for mut scenario in scenarios() {
        let started = std::time::Instant::now();
        let series = run(&mut scenario);
        let machine = &scenario.machine;
        writeln!(table, "{}", scenario.title)?;
        writeln!(
            table,
            "    {:<22} {:>8} {:>9} {:>8} {:>14}",
            "vCPUs", "CPUs", "expected", "off by", "longest wait"
        )?;
        for (group, values) in scenario.groups.iter().zip(&series) {
            let got = values.iter().sum::<f64>() / values.len() as f64;
            let wait = group
                .members
                .iter()
                .map(|id| machine.longest_wait(*id))
                .max();
            let (expected, off) = match group.expected {
                Some(expected) => {
                    let off = (got / expected - 1.0) * 100.0;
                    worst = worst.max(if group.is_capped { off } else { off.abs() });
                    (format!("{expected:.3}"), format!("{off:.2} %"))
                }
                None => ("-".to_owned(), "-".to_owned()),
            };
            writeln!(
                table,
                "    {:<22} {got:>8.3} {expected:>9} {off:>8} {:>11.1} ms",
                group.name,
                wait.unwrap_or(0) as f64 / 1e6
            )?;
        }
        writeln!(
            table,
            "    {} switches/s, {} moves between CPUs/s, a CPU idled for {} us at most while something waited\n",
            machine.switches() * SECOND / LENGTH,
            machine.migrations() * SECOND / LENGTH,
            machine.longest_waste / 1000
        )?;
        let file = directory.join(format!("sched-{}.svg", scenario.name));
        fs::write(&file, picture(&scenario, &series))?;
        eprintln!(
            "{} in {:.1} s",
            file.display(),
            started.elapsed().as_secs_f64()
        );
    }
    print!("{table}");
    fs::write(directory.join("sched.txt"), &table)?;
    println!("shares are within {worst:.2} % of what weights say, and no cap is exceeded by more");
    Ok(i32::from(worst > 2.0))
}

const COLOURS: [&str; 8] = [
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#9c755f",
];

/// Shares over time, stacked: the top is what the CPUs did together.
fn picture(scenario: &Scenario, series: &[Vec<f64>]) -> String {
    const WIDTH: f64 = 760.0;
    const HEIGHT: f64 = 300.0;
    const LEFT: f64 = 50.0;
    const TOP: f64 = 40.0;
    let steps = series.first().map_or(0, Vec::len);
    let total = |step: usize| -> f64 { series.iter().filter_map(|values| values.get(step)).sum() };
    let top = (0..steps).map(total).fold(1.0, f64::max).ceil();
    let x = |step: usize| LEFT + WIDTH * step as f64 / steps.max(1) as f64;
    let y = |value: f64| TOP + HEIGHT * (1.0 - value / top);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1020\" height=\"400\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"1020\" height=\"400\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
        scenario.title
    );
    let mut base = vec![0.0; steps];
    for (index, (group, values)) in scenario.groups.iter().zip(series).enumerate() {
        let colour = COLOURS
            .get(index % COLOURS.len())
            .copied()
            .unwrap_or("black");
        let mut upper = String::new();
        let mut lower = Vec::new();
        for (step, (value, base)) in values.iter().zip(&mut base).enumerate() {
            for edge in [step, step + 1] {
                let _ = write!(upper, "{:.1},{:.1} ", x(edge), y(*base + value));
                lower.push(format!("{:.1},{:.1} ", x(edge), y(*base)));
            }
            *base += value;
        }
        lower.reverse();
        let _ = writeln!(
            svg,
            "<polygon points=\"{upper}{}\" fill=\"{colour}\"/>",
            lower.concat()
        );
        let line = TOP + 20.0 * index as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"825\" y=\"{line}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"843\" y=\"{}\">{}</text>",
            line + 11.0,
            group.name
        );
    }
    for tick in 0..=4 {
        let value = top * f64::from(tick) / 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            LEFT - 6.0,
            y(value) + 4.0
        );
    }
    for second in 0..=10 {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{second}</text>",
            LEFT + WIDTH * f64::from(second) / 10.0,
            TOP + HEIGHT + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\">seconds; CPUs used, stacked</text>\n</svg>",
        LEFT + WIDTH / 2.0 - 70.0,
        TOP + HEIGHT + 40.0
    );
    svg
}
