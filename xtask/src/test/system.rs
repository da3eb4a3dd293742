//! The system tests: scripts that run in domain 0, listed in `tests/system/list`, on combinations of kernel,
//! machine, CPU model and memory.

use std::fs;

use anyhow::{Context, Result, bail};
use clap::Parser;

use super::{Case, Verdict, covering};
use crate::dom0;
use crate::workspace::{self, RunDirectory};

const KERNELS: &[&str] = &["6.1", "6.12"];
const MACHINES: &[&str] = &["pc", "q35"];
const CPUS: &[&str] = &["max", "EPYC,-monitor", "qemu64"];
const MEMORIES: &[&str] = &["512", "1024", "3072"];

/// `dom0`'s options, parsed from words as on the command line.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Words {
    #[command(flatten)]
    options: dom0::Options,
}

/// Parses words as `cargo xtask dom0` does.
pub(crate) fn dom0_options(words: &[String]) -> Result<dom0::Options> {
    Ok(Words::try_parse_from(words)?.options)
}

/// A line of the list: `SCRIPT once|kernels|matrix FLAGS…`
struct Listed {
    script: String,
    how: String,
    flags: Vec<String>,
}

/// The cases, with all combinations or those that cover each pair of values.
pub(crate) fn cases(full: bool, hypervisor: Option<&str>) -> Result<Vec<Case>> {
    let path = workspace::root().join("tests/system/list");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut cases = Vec::new();
    for line in text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let mut listed = parse(line).with_context(|| format!("{}: {line}", path.display()))?;
        if full {
            add_kernel_argument(&mut listed.flags, "FULL=1");
        }
        for combination in combinations(&listed.how, full)? {
            cases.push(case(&listed, &combination, hypervisor)?);
        }
    }
    Ok(cases)
}

fn parse(line: &str) -> Result<Listed> {
    let mut words = words(line)?.into_iter();
    match (words.next(), words.next()) {
        (Some(script), Some(how)) => Ok(Listed {
            script,
            how,
            flags: words.collect(),
        }),
        _ => bail!("expected SCRIPT HOW FLAGS…"),
    }
}

/// Words separated by spaces; in single quotes a space is no end.
fn words(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        match number % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    if line.matches('\'').count() % 2 == 1 {
        bail!("a quote has no end");
    }
    Ok(words)
}

/// Linux puts an argument that it does not know into the first process's environment.
fn add_kernel_argument(flags: &mut Vec<String>, argument: &str) {
    let value = flags.iter().position(|flag| flag == "--kernel-args");
    match value.and_then(|position| flags.get_mut(position + 1)) {
        Some(value) => {
            value.push(' ');
            value.push_str(argument);
        }
        None => flags.extend(["--kernel-args".to_owned(), argument.to_owned()]),
    }
}

/// What the flags say of the test, for its name.
fn telling(flags: &[String]) -> Vec<&str> {
    flags
        .windows(2)
        .filter(|pair| pair[0] == "--smp" || pair[0] == "--xen-args")
        .map(|pair| pair[1].as_str())
        .collect()
}

/// (option, value) of the dimensions.
type Combination = Vec<(&'static str, &'static str)>;

fn combinations(how: &str, full: bool) -> Result<Vec<Combination>> {
    let dimensions: &[(&str, &[&str])] = match how {
        "once" => &[],
        "full" | "full-kernels" if !full => return Ok(Vec::new()),
        "full" => &[],
        "kernels" | "full-kernels" => &[("--kernel", KERNELS)],
        "matrix" => &[
            ("--kernel", KERNELS),
            ("--machine", MACHINES),
            ("--cpu", CPUS),
            ("--memory", MEMORIES),
        ],
        _ => bail!("expected once, kernels, full, full-kernels or matrix, not {how}"),
    };
    let sizes: Vec<usize> = dimensions.iter().map(|(_, values)| values.len()).collect();
    let chosen = if full || sizes.len() < 2 {
        covering::all(&sizes)
    } else {
        covering::pairs(&sizes)
    };
    Ok(chosen
        .iter()
        .map(|combination| {
            dimensions
                .iter()
                .zip(combination)
                .filter_map(|((option, values), &value)| Some((*option, *values.get(value)?)))
                .collect()
        })
        .collect())
}

fn case(listed: &Listed, combination: &Combination, hypervisor: Option<&str>) -> Result<Case> {
    let script = format!("tests/system/{}", listed.script);
    let mut words = vec!["--script".to_owned(), script];
    // A test that is about one hypervisor keeps it.
    let own = listed.flags.iter().any(|flag| flag == "--hypervisor");
    words.extend(
        hypervisor
            .filter(|_| !own)
            .into_iter()
            .flat_map(|name| ["--hypervisor".to_owned(), name.to_owned()]),
    );
    words.extend(
        combination
            .iter()
            .flat_map(|&(option, value)| [option.to_owned(), value.to_owned()]),
    );
    words.extend(listed.flags.iter().cloned());
    let command = format!(
        "cargo xtask dom0 {}",
        words
            .iter()
            .map(crate::command::quote)
            .collect::<Vec<_>>()
            .join(" ")
    );
    let mut options = dom0_options(&words).with_context(|| command.clone())?;
    let fixed = listed
        .flags
        .iter()
        .skip_while(|flag| *flag != "--hypervisor")
        .nth(1);
    let values: Vec<&str> = fixed
        .map(String::as_str)
        .into_iter()
        .chain(combination.iter().map(|&(_, value)| value))
        .collect();
    options.script = options.script.map(|script| workspace::root().join(script));
    Ok(Case {
        group: "system",
        name: [
            &[listed.script.trim_end_matches(".sh")],
            &values[..],
            &telling(&listed.flags),
        ]
        .concat()
        .join(" "),
        command,
        run: Box::new(move || run(&options)),
    })
}

/// What a script's comments ask of its run.
struct Expectations {
    /// `# expect-status: N`, else 0: of `cargo xtask dom0`.
    status: i32,
    /// `# expect-console: TEXT`: each stands on the console, after the one before.
    console: Vec<String>,
}

fn expectations(script: &str) -> Result<Expectations> {
    let all = |key: &str| -> Vec<String> {
        script
            .lines()
            .filter_map(|line| {
                line.strip_prefix("# expect-")?
                    .strip_prefix(key)?
                    .strip_prefix(": ")
            })
            .map(str::to_owned)
            .collect()
    };
    let status = match all("status").first() {
        Some(status) => status.parse().context("# expect-status")?,
        None => 0,
    };
    Ok(Expectations {
        status,
        console: all("console"),
    })
}

/// Runs a script, which has to end as it says itself.
fn run(options: &dom0::Options) -> Result<Verdict> {
    let directory = RunDirectory::new()?;
    let path = options
        .script
        .as_ref()
        .context("a system test has a script")?;
    let expected = expectations(&fs::read_to_string(path)?)?;
    let outcome = dom0::run_script(options, &directory, false)?;
    let status = dom0::exit_status(&outcome);
    if status != expected.status {
        let complaint = dom0::complaint(&outcome);
        let reason = format!(
            "the status is {status}, not {}{}",
            expected.status,
            complaint.map_or(String::new(), |complaint| format!(": {complaint}"))
        );
        return Ok(Verdict::failed(&reason, &outcome));
    }
    let mut rest = outcome.console.as_str();
    for text in &expected.console {
        match rest.split_once(text.as_str()) {
            Some((_, after)) => rest = after,
            None => {
                let reason = format!("the console lacks “{text}”");
                return Ok(Verdict::failed(&reason, &outcome));
            }
        }
    }
    Ok(Verdict::passed(&outcome))
}

#[cfg(test)]
mod tests {
    use super::{add_kernel_argument, cases, combinations, expectations, parse, telling};

    #[test]
    fn a_script_says_what_it_expects() {
        let text = "#!/bin/sh\n# expect-status: 125\n# expect-console: a: b\n# expect-console: c\n";
        let expected = expectations(text).unwrap();
        assert_eq!(
            (expected.status, expected.console),
            (125, vec!["a: b".to_owned(), "c".to_owned()])
        );
        assert_eq!(expectations("exit 1\n").unwrap().status, 0);
        assert!(expectations("# expect-status: x\n").is_err());
    }

    #[test]
    fn the_list_parses() {
        assert!(!cases(true, None).unwrap().is_empty());
    }

    #[test]
    fn a_line_has_quotes() {
        let line = "s.sh once --smp 2 --xen-args 'a b'";
        let listed = parse(line).unwrap();
        assert_eq!(listed.flags, ["--smp", "2", "--xen-args", "a b"]);
        assert_eq!(telling(&listed.flags), ["2", "a b"]);
        let mut flags = listed.flags;
        add_kernel_argument(&mut flags, "X=1");
        add_kernel_argument(&mut flags, "Y=1");
        assert_eq!(flags[4..], ["--kernel-args", "X=1 Y=1"]);
        assert!(parse("s.sh once 'a").is_err());
    }

    #[test]
    fn names_are_different() {
        let mut names: Vec<String> = cases(true, None)
            .unwrap()
            .into_iter()
            .map(|case| case.name)
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn full_is_all() {
        assert_eq!(combinations("matrix", true).unwrap().len(), 36);
        assert!(combinations("matrix", false).unwrap().len() < 12);
        assert_eq!(combinations("kernels", false).unwrap().len(), 2);
        assert_eq!(combinations("once", false).unwrap(), [Vec::new()]);
        assert!(combinations("full", false).unwrap().is_empty());
        assert_eq!(combinations("full", true).unwrap().len(), 1);
        assert_eq!(combinations("full-kernels", true).unwrap().len(), 2);
        assert!(combinations("twice", false).is_err());
    }
}
