//! `cargo xtask profile`: where Xenolith's instructions go while domain 0's programs do something.
//!
//! A plugin of QEMU's TCG (`bench/profile_plugin.c`) counts how often each instruction of the hypervisor and of domain 0's
//! kernel is executed: no samples, all of them. A run with many batches of a measurement less a run with one is what the operation takes; the bench's own
//! figure for it, spread over these counts, gives instructions for one operation. The graph's stacks are functions and
//! what the compiler put into them, from the image's debug information (of the kernel functions alone): who called a
//! function is not known.

mod flame;
mod kernel;
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
use crate::symbols::IMAGE_BASE;
use crate::workspace::{self, RunDirectory};

/// The options of `cargo xtask profile`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// A figure of `bench programs`: null, fork, fault_cow…
    measurement: String,
    /// Batches in the long run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..))]
    batches: u32,
    /// Functions in each table
    #[arg(long, default_value_t = 30)]
    lines: usize,
    /// Debian's kernel
    #[arg(long, default_value = "6.1")]
    kernel: String,
}

/// Where guests' kernels have their code.
const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// More than the image is long.
const IMAGE_END: u64 = IMAGE_BASE + (1 << 30);

/// Executions of each instruction.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counts {
    /// By the instruction's offset from the image's base.
    image: BTreeMap<u64, i64>,
    /// By its address.
    kernel: BTreeMap<u64, i64>,
    /// Of the kernel, elsewhere: programs for packets, or what the plugin had no room for.
    other: i64,
    user: i64,
}

impl Counts {
    fn parse(text: &str) -> Result<Counts> {
        let mut counts = Counts::default();
        for line in text.lines() {
            let (place, count) = line.split_once(' ').context("a line has two words")?;
            let count: i64 = count.parse()?;
            match place {
                "other" => counts.other += count,
                "user" => counts.user = count,
                _ => match u64::from_str_radix(place, 16)? {
                    address @ KERNEL_BASE.. => {
                        counts.kernel.insert(address, count);
                    }
                    address if (IMAGE_BASE..IMAGE_END).contains(&address) => {
                        counts.image.insert(address - IMAGE_BASE, count);
                    }
                    _ => counts.other += count,
                },
            }
        }
        Ok(counts)
    }

    fn less(mut self, base: &Counts) -> Counts {
        subtract(&mut self.image, &base.image);
        subtract(&mut self.kernel, &base.kernel);
        self.other -= base.other;
        self.user -= base.user;
        self
    }

    fn of_kernel(&self) -> i64 {
        self.kernel.values().sum::<i64>() + self.other
    }

    fn total(&self) -> i64 {
        self.image.values().sum::<i64>() + self.of_kernel() + self.user
    }
}

fn subtract(counts: &mut BTreeMap<u64, i64>, base: &BTreeMap<u64, i64>) {
    for (place, count) in base {
        *counts.entry(*place).or_default() -= count;
    }
    counts.retain(|_, count| *count > 0);
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

/// Instructions and calls of each function.
type Functions<'a> = BTreeMap<&'a str, (i64, i64)>;

fn add<'a>(functions: &mut Functions<'a>, name: &'a str, count: i64, is_first: bool) {
    let entry = functions.entry(name).or_default();
    entry.0 += count;
    if is_first {
        entry.1 += count;
    }
}

/// Prints the tables and writes the graph.
fn show(options: &Options, linked: &Path, counts: &Counts, name: &str, figure: f64) -> Result<i32> {
    let scale = figure / counts.total() as f64;
    let stacks = stacks::of(linked, &counts.image)?;
    let mut functions = Functions::new();
    let mut folded: BTreeMap<String, i64> = BTreeMap::new();
    for (offset, count) in &counts.image {
        let stack = stacks
            .get(offset)
            .context("an instruction has a function")?;
        add(&mut functions, &stack.function, *count, stack.is_first);
        let line = format!("hypervisor;{}", stack.frames.join(";"));
        *folded.entry(line).or_default() += count;
    }
    let names = kernel::functions(&options.kernel)?;
    let mut of_kernel = Functions::new();
    for (address, count) in &counts.kernel {
        let (start, name) = names
            .range(..=*address)
            .next_back()
            .map_or((0, "?"), |(start, name)| (*start, name.as_str()));
        add(&mut of_kernel, name, *count, start == *address);
        *folded.entry(format!("kernel;{name}")).or_default() += count;
    }
    folded.insert("kernel".to_owned(), counts.other.max(0));
    folded.insert("program".to_owned(), counts.user.max(0));
    let hypervisor: i64 = counts.image.values().sum();
    println!("{name}: {figure:.0} instructions");
    for (what, count) in [
        ("hypervisor", hypervisor),
        ("kernel", counts.of_kernel()),
        ("program", counts.user),
    ] {
        println!("{:>10.1}            {what}", count as f64 * scale);
    }
    for (what, functions) in [("hypervisor", functions), ("kernel", of_kernel)] {
        println!("\n     instr.      calls  function of the {what}");
        let mut sorted: Vec<_> = functions.into_iter().collect();
        sorted.sort_by_key(|(_, (count, _))| -count);
        for (function, (count, calls)) in sorted.iter().take(options.lines) {
            println!(
                "{:>10.1} {:>10.2}  {function}",
                *count as f64 * scale,
                *calls as f64 * scale
            );
        }
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
    let figures = bench::programs_with(&options.measurement, batches, &options.kernel, &arguments)?;
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
        let many = "ffff82d040000010 5\nffff82d04000001f 7\nffffffff81000000 100\nffffc90000000000 3\nother 2\nuser 20\n";
        let base =
            "ffff82d040000010 5\nffff82d04000001f 3\nffffffff81000000 40\nother 1\nuser 10\n";
        let base = Counts::parse(base).unwrap();
        let left = Counts::parse(many).unwrap().less(&base);
        assert_eq!(left.total(), 4 + 60 + 4 + 10);
        assert_eq!(left.of_kernel(), 60 + 4);
        assert_eq!(left.image.into_iter().collect::<Vec<_>>(), [(0x1f, 4)]);
        assert!(Counts::parse("x 5\n").is_err());
    }
}
