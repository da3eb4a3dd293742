//! What commands make the whole machine execute, in whichever domain they run: `bench/measured.c` sets a mark before and after
//! one, and a plugin of QEMU's (`bench/marks_plugin.c`) writes down how many instructions were executed until then, the
//! hypervisor's, kernels' and programs' each.
//!
//! The virtual clock would not do: it goes on while all wait.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::command::run_quietly;
use crate::dom0;
use crate::test::dom0_options;
use crate::workspace::{self, RunDirectory};

/// What is taken of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// Instructions that are executed; with QEMU's `-icount` and these options of it.
    Executed { icount: &'static str },
    /// Nanoseconds.
    Wall,
}

/// A command that was measured.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    amount: Option<f64>,
    /// Instructions or nanoseconds.
    total: f64,
    /// Of that, the hypervisor's instructions.
    hypervisor: f64,
}

/// What a run's commands cost, each for one of what it was measured with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// (name, instructions or nanoseconds, of that the hypervisor's)
    all: Vec<(String, f64, f64)>,
    /// Lines `VALUE name number`.
    values: Vec<(String, f64)>,
}

impl Figures {
    /// A figure.
    pub(super) fn of(&self, name: &str) -> Option<f64> {
        let found = self.all.iter().find(|(figure, ..)| figure == name);
        found.map(|(_, total, _)| *total)
    }

    /// The hypervisor's part of a figure.
    pub(super) fn hypervisors(&self, name: &str) -> Option<f64> {
        let found = self.all.iter().find(|(figure, ..)| figure == name);
        found.map(|(.., hypervisor)| *hypervisor)
    }

    /// What a script says itself.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        let found = self.values.iter().find(|(value, _)| value == name);
        found.map(|(_, number)| *number)
    }

    /// All, without the hypervisor's parts.
    pub(super) fn list(&self) -> Vec<(String, f64)> {
        let pairs = self
            .all
            .iter()
            .map(|(name, total, _)| (name.clone(), *total));
        pairs.collect()
    }
}

/// Runs domain 0 with these words of `cargo xtask dom0`; its script finds `/bench`, with `settings` as a file for a shell.
pub(super) fn run(mut words: Vec<String>, settings: &str, clock: Clock) -> Result<Figures> {
    let directory = RunDirectory::new()?;
    let bench = directory.join("bench");
    fs::create_dir(&bench)?;
    let source = workspace::root().join("bench");
    for entry in fs::read_dir(&source)? {
        let path = entry?.path();
        let extension = path.extension().unwrap_or_default();
        if extension == "sh" || extension == "awk" {
            fs::copy(&path, bench.join(path.file_name().unwrap_or_default()))?;
        }
    }
    let measured = bench.join("measured");
    compile(&["-O2", "-static"], "measured.c", &measured)?;
    fs::write(bench.join("settings"), settings)?;
    words.extend(["--file".to_owned(), format!("{}:/bench", bench.display())]);
    let marks = directory.join("marks");
    if let Clock::Executed { icount } = clock {
        let plugin = directory.join("plugin.so");
        compile(&["-O2", "-shared", "-fPIC"], "marks_plugin.c", &plugin)?;
        let arguments = format!(
            "-icount {icount} -plugin {},out={}",
            plugin.display(),
            marks.display()
        );
        words.extend(["--qemu-args".to_owned(), arguments]);
    }
    let outcome = dom0::run_script(&dom0_options(&words)?, &directory, false)?;
    let text = String::from_utf8_lossy(&outcome.script_output);
    let status = dom0::exit_status(&outcome);
    if status != 0 {
        bail!("status {status}\n{text}\n{}", outcome.console_tail(30));
    }
    // QEMU writes the rest when the machine has been powered off.
    let marks = match clock {
        Clock::Executed { .. } => {
            Some(fs::read_to_string(&marks).context("the plugin wrote nothing")?)
        }
        Clock::Wall => None,
    };
    let samples = samples(&text, marks.as_deref())?;
    ensure!(!samples.is_empty(), "nothing was measured:\n{text}");
    Ok(Figures {
        all: for_one(&samples),
        values: values(&text)?,
    })
}

fn compile(options: &[&str], source: &str, target: &std::path::Path) -> Result<()> {
    let source = workspace::root().join("bench").join(source);
    run_quietly(
        Command::new("cc")
            .args(options)
            .arg("-o")
            .arg(target)
            .arg(source),
    )
}

/// Reads lines `MEASURED NAME[:AMOUNT] NANOSECONDS STATUS`, and the marks, a pair for each in the same order.
fn samples(text: &str, marks: Option<&str>) -> Result<Vec<Sample>> {
    let mut pairs = marks.map(pairs).transpose()?.map(Vec::into_iter);
    let mut samples = Vec::new();
    for line in text.lines() {
        let Some((_, line)) = line.split_once("MEASURED ") else {
            continue;
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[name, nanoseconds, "0"] = words.as_slice() else {
            bail!("it failed: {line}\n{text}");
        };
        let (name, amount) = match name.split_once(':') {
            Some((name, amount)) => (name, Some(amount.parse().context(line.to_owned())?)),
            None => (name, None),
        };
        let (total, hypervisor) = match &mut pairs {
            Some(pairs) => pairs.next().with_context(|| format!("no marks: {line}"))?,
            None => (nanoseconds.parse().context(line.to_owned())?, 0.0),
        };
        samples.push(Sample {
            name: name.to_owned(),
            amount,
            total,
            hypervisor,
        });
    }
    let left = pairs.map_or(0, |pairs| pairs.len());
    ensure!(left == 0, "{left} pairs of marks more than lines:\n{text}");
    Ok(samples)
}

/// Lines `begin HYPERVISOR KERNEL PROGRAM` and `end …` in turn: what was executed between, and the hypervisor's part.
fn pairs(marks: &str) -> Result<Vec<(f64, f64)>> {
    let mut pairs = Vec::new();
    let mut lines = marks.lines();
    while let Some(begin) = lines.next() {
        let end = lines.next().context("a mark has no other")?;
        let counts = |line: &str, kind: &str| -> Result<Vec<f64>> {
            let rest = line
                .strip_prefix(kind)
                .with_context(|| format!("not “{kind}”: {line}"))?;
            let numbers = rest.split_whitespace().map(|word| Ok(word.parse()?));
            numbers.collect()
        };
        let (before, after) = (counts(begin, "begin ")?, counts(end, "end ")?);
        let parts: Vec<f64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
        let hypervisor = *parts.first().context("a mark has counts")?;
        pairs.push((parts.iter().sum(), hypervisor));
    }
    Ok(pairs)
}

/// One of what was measured: a part of a single sample, or what the larger of two amounts took more, for each.
fn for_one(samples: &[Sample]) -> Vec<(String, f64, f64)> {
    let mut figures: Vec<(String, f64, f64)> = Vec::new();
    for sample in samples {
        if figures.iter().any(|(name, ..)| *name == sample.name) {
            continue;
        }
        let other = samples
            .iter()
            .filter(|other| other.name == sample.name)
            .nth(1);
        let (amount, total, hypervisor) = match (sample.amount, other) {
            (Some(first), Some(other)) => (
                other.amount.unwrap_or(first) - first,
                other.total - sample.total,
                other.hypervisor - sample.hypervisor,
            ),
            (amount, _) => (amount.unwrap_or(1.0), sample.total, sample.hypervisor),
        };
        figures.push((sample.name.clone(), total / amount, hypervisor / amount));
    }
    figures
}

/// Reads lines `VALUE name number`.
fn values(text: &str) -> Result<Vec<(String, f64)>> {
    text.lines()
        .filter_map(|line| line.strip_prefix("VALUE "))
        .map(|line| {
            let (name, number) = line.trim().split_once(' ').context(line.to_owned())?;
            Ok((name.to_owned(), number.parse().context(line.to_owned())?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{for_one, samples, values};

    const MARKS: &str = "begin 10 100 1000\nend 20 150 1300\nbegin 20 150 1300\nend 70 250 1300\n";

    #[test]
    fn marks_go_with_their_lines() {
        let text = "noise\nMEASURED a.b:5 77 0\n\u{1b}MEASURED c 88 0\n";
        let read = samples(text, Some(MARKS)).unwrap();
        assert_eq!((read[0].total, read[0].hypervisor), (360.0, 10.0));
        assert_eq!((read[1].total, read[1].hypervisor), (150.0, 50.0));
        assert_eq!(
            for_one(&read),
            [("a.b".to_owned(), 72.0, 2.0), ("c".to_owned(), 150.0, 50.0)]
        );
        assert_eq!(samples(text, None).unwrap()[1].total, 88.0);
    }

    #[test]
    fn what_does_not_fit_together_is_an_error() {
        assert!(samples("MEASURED a 1 0\n", Some(MARKS)).is_err());
        assert!(samples("MEASURED a 1 0\n", Some("begin 1 1 1\n")).is_err());
        assert!(samples("MEASURED a 1 0\n", Some("")).is_err());
        assert!(samples("MEASURED a 1 3\n", None).is_err());
        let nested = "begin 1 1 1\nbegin 2 2 2\n";
        assert!(samples("MEASURED a 1 0\n", Some(nested)).is_err());
    }

    #[test]
    fn starts_are_taken_off() {
        let text = "MEASURED a:10 150 0\nMEASURED a:30 250 0\n";
        let read = samples(text, None).unwrap();
        assert_eq!(for_one(&read), [("a".to_owned(), 5.0, 0.0)]);
        assert_eq!(values("VALUE x 4.5\n").unwrap(), [("x".to_owned(), 4.5)]);
    }
}
