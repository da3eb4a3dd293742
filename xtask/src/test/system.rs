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
        let listed = parse(line).with_context(|| format!("{}: {line}", path.display()))?;
        for combination in combinations(&listed.how, full)? {
            cases.push(case(&listed, &combination, hypervisor)?);
        }
    }
    Ok(cases)
}

fn parse(line: &str) -> Result<Listed> {
    let mut words = line.split_whitespace().map(str::to_owned);
    match (words.next(), words.next()) {
        (Some(script), Some(how)) => Ok(Listed {
            script,
            how,
            flags: words.collect(),
        }),
        _ => bail!("expected SCRIPT HOW FLAGS…"),
    }
}

/// (option, value) of the dimensions.
type Combination = Vec<(&'static str, &'static str)>;

fn combinations(how: &str, full: bool) -> Result<Vec<Combination>> {
    let dimensions: &[(&str, &[&str])] = match how {
        "once" => &[],
        "kernels" => &[("--kernel", KERNELS)],
        "matrix" => &[
            ("--kernel", KERNELS),
            ("--machine", MACHINES),
            ("--cpu", CPUS),
            ("--memory", MEMORIES),
        ],
        _ => bail!("expected once, kernels or matrix, not {how}"),
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
    words.extend(
        hypervisor
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
    let values: Vec<&str> = combination.iter().map(|&(_, value)| value).collect();
    let mut options = dom0_options(&words).with_context(|| command.clone())?;
    options.script = options.script.map(|script| workspace::root().join(script));
    Ok(Case {
        group: "system",
        name: [&[listed.script.trim_end_matches(".sh")], &values[..]]
            .concat()
            .join(" "),
        command,
        run: Box::new(move || run(&options)),
    })
}

/// Runs a script to success.
fn run(options: &dom0::Options) -> Result<Verdict> {
    let directory = RunDirectory::new()?;
    let outcome = dom0::run_script(options, &directory, false)?;
    if let Some(complaint) = dom0::complaint(&outcome) {
        return Ok(Verdict::failed(&complaint, &outcome));
    }
    match outcome.status {
        Some(0) => Ok(Verdict::passed(&outcome)),
        status => Ok(Verdict::failed(
            &format!("the script's status is {status:?}"),
            &outcome,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{cases, combinations};

    #[test]
    fn the_list_parses() {
        assert!(!cases(true, None).unwrap().is_empty());
    }

    #[test]
    fn full_is_all() {
        assert_eq!(combinations("matrix", true).unwrap().len(), 36);
        assert!(combinations("matrix", false).unwrap().len() < 12);
        assert_eq!(combinations("kernels", false).unwrap().len(), 2);
        assert_eq!(combinations("once", false).unwrap(), [Vec::new()]);
        assert!(combinations("twice", false).is_err());
    }
}
