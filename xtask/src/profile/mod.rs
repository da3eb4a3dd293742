//! `cargo xtask profile`: where Xenolith's instructions go while domain 0's programs do something.
//!
//! A plugin of QEMU's TCG (`bench/profile_plugin.c`) counts how often each instruction is executed: no samples, all of
//! them. A run with many batches of a measurement less a run with one is what the operation takes; the bench's own
//! figure for it, spread over these counts, gives instructions for one operation. The graph's stacks are functions and
//! what the compiler put into them, from the image's debug information: who called a function is not known.

mod flame;
mod stacks;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::bench;
use crate::command::run_quietly;
use crate::image;
use crate::setup::{Need, setup};
use crate::workspace::{self, RunDirectory};

/// The options of `cargo xtask profile`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// A figure of `bench programs`: null, fork, fault_cow…
    measurement: String,
    /// Batches in the long run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..))]
    batches: u32,
    /// Functions in the table
    #[arg(long, default_value_t = 30)]
    lines: usize,
}

/// Executions of each instruction.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counts {
    /// By the instruction's offset from the image's base.
    image: BTreeMap<u64, i64>,
    kernel: i64,
    user: i64,
}

impl Counts {
    fn parse(text: &str) -> Result<Counts> {
        let mut counts = Counts::default();
        for line in text.lines() {
            let (place, count) = line.split_once(' ').context("a line has two words")?;
            let count = count.parse()?;
            match place {
                "kernel" => counts.kernel = count,
                "user" => counts.user = count,
                _ => {
                    counts.image.insert(u64::from_str_radix(place, 16)?, count);
                }
            }
        }
        Ok(counts)
    }

    fn less(mut self, base: &Counts) -> Counts {
        for (offset, count) in &base.image {
            *self.image.entry(*offset).or_default() -= count;
        }
        self.image.retain(|_, count| *count > 0);
        self.kernel -= base.kernel;
        self.user -= base.user;
        self
    }

    fn total(&self) -> i64 {
        self.image.values().sum::<i64>() + self.kernel + self.user
    }
}

/// Runs the command.
pub(crate) fn command(options: &Options) -> Result<i32> {
    setup(Need::Run)?;
    let directory = RunDirectory::new()?;
    let plugin = directory.join("plugin.so");
    run_quietly(
        Command::new("cc")
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .arg(&plugin)
            .arg(workspace::root().join("bench/profile_plugin.c")),
    )?;
    let image = image::build()?;
    let (base, _) = run(options, &plugin, 1, &directory.join("one"))?;
    let (many, figures) = run(options, &plugin, options.batches, &directory.join("many"))?;
    let counts = many.less(&base);
    let total = counts.total();
    ensure!(total > 0, "the longer run executed no more than the other");
    let [(name, figure)] = figures.as_slice() else {
        let sum: f64 = figures.iter().map(|(_, figure)| figure).sum();
        ensure!(sum > 0.0, "no figure");
        println!("several figures: shares of all of them, in thousandths of the whole");
        return show(
            options,
            &image.linked,
            &counts,
            &options.measurement,
            1000.0,
        );
    };
    show(options, &image.linked, &counts, name, *figure)
}

/// Prints the table and writes the graph.
fn show(options: &Options, linked: &Path, counts: &Counts, name: &str, figure: f64) -> Result<i32> {
    let scale = figure / counts.total() as f64;
    let stacks = stacks::of(linked, &counts.image)?;
    let mut functions: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    let mut folded: BTreeMap<String, i64> = BTreeMap::new();
    for (offset, count) in &counts.image {
        let stack = stacks
            .get(offset)
            .context("an instruction has a function")?;
        let entry = functions.entry(&stack.function).or_default();
        entry.0 += count;
        if stack.is_first {
            entry.1 += count;
        }
        let line = format!("hypervisor;{}", stack.frames.join(";"));
        *folded.entry(line).or_default() += count;
    }
    folded.insert("kernel".to_owned(), counts.kernel.max(0));
    folded.insert("program".to_owned(), counts.user.max(0));
    let hypervisor: i64 = counts.image.values().sum();
    println!("{name}: {figure:.0} instructions");
    for (what, count) in [
        ("hypervisor", hypervisor),
        ("kernel", counts.kernel),
        ("program", counts.user),
    ] {
        println!("{:>10.1}            {what}", count as f64 * scale);
    }
    println!("\n     instr.      calls  function");
    let mut sorted: Vec<_> = functions.into_iter().collect();
    sorted.sort_by_key(|(_, (count, _))| -count);
    for (function, (count, calls)) in sorted.iter().take(options.lines) {
        println!(
            "{:>10.1} {:>10.2}  {function}",
            *count as f64 * scale,
            *calls as f64 * scale
        );
    }
    let output = workspace::root().join("target/bench");
    fs::create_dir_all(&output)?;
    let lines: Vec<(String, f64)> = folded
        .into_iter()
        .map(|(stack, count)| (stack, count as f64 * scale))
        .collect();
    let text: String = lines
        .iter()
        .map(|(stack, count)| format!("{stack} {count:.2}\n"))
        .collect();
    fs::write(output.join(format!("profile-{name}.folded")), text)?;
    let path = output.join(format!("profile-{name}.svg"));
    let title = format!("{name}: {figure:.0} instructions");
    fs::write(&path, flame::draw(&title, &lines))?;
    println!("{}", path.display());
    Ok(0)
}

/// A run of the measurement: counts of all of it, from power-on, and the figures.
fn run(
    options: &Options,
    plugin: &Path,
    batches: u32,
    output: &Path,
) -> Result<(Counts, Vec<(String, f64)>)> {
    eprintln!("{} with {batches} batches…", options.measurement);
    let arguments = format!("-plugin {},out={}", plugin.display(), output.display());
    let figures = bench::programs_with(&options.measurement, batches, &arguments)?;
    // QEMU writes when the machine has been powered off.
    let text = fs::read_to_string(output).context("the plugin wrote nothing")?;
    if !text.contains("user ") {
        bail!("the plugin did not come to its end");
    }
    Ok((Counts::parse(&text)?, figures))
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn counts_are_read_and_subtracted() {
        let many = Counts::parse("10 5\n1f 7\nkernel 100\nuser 20\n").unwrap();
        let base = Counts::parse("10 5\n1f 3\nkernel 40\nuser 10\n").unwrap();
        let left = many.less(&base);
        assert_eq!(left.image.into_iter().collect::<Vec<_>>(), [(0x1f, 4)]);
        assert_eq!((left.kernel, left.user), (60, 10));
        assert!(Counts::parse("x 5\n").is_err());
    }
}
