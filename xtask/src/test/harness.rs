//! Tests of the harness itself, on the bare machine: what others build on has to tell the truth.

use std::fs;

use anyhow::{Context, Result, bail};

use super::system::dom0_options;
use super::{Case, Verdict};
use crate::dom0;
use crate::workspace::RunDirectory;

/// A script, flags, and the status that `dom0` has to end with.
const CASES: &[(&str, &str, &[&str], i32)] = &[
    ("status", "printf 'no newline'; exit 3", &[], 3),
    (
        "timeout",
        "sleep 1000",
        &["--timeout", "30"],
        dom0::STATUS_TIMEOUT,
    ),
    (
        "crash",
        "echo c > /proc/sysrq-trigger; sleep 60",
        &[],
        dom0::STATUS_NO_END,
    ),
    ("reset", "reboot -f; sleep 60", &[], dom0::STATUS_NO_END),
    (
        "early power-off",
        "poweroff -f; sleep 60",
        &[],
        dom0::STATUS_NO_END,
    ),
    (
        "no init",
        "exit 0",
        &["--kernel-args", "rdinit=/missing root=/dev/none"],
        dom0::STATUS_NO_END,
    ),
];

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = CASES
        .iter()
        .map(|&(name, script, flags, status)| {
            case(name, move || {
                let directory = RunDirectory::new()?;
                let outcome = run(&directory, script, flags)?;
                let got = dom0::exit_status(&outcome);
                if got == status {
                    return Ok(Verdict::passed(&outcome));
                }
                Ok(Verdict::failed(
                    &format!("expected the status {status}, got {got}"),
                    &outcome,
                ))
            })
        })
        .collect();
    cases.push(case("files and output", files));
    cases
}

fn case(name: &str, run: impl Fn() -> Result<Verdict> + Send + Sync + 'static) -> Case {
    Case {
        group: "harness",
        name: name.to_owned(),
        command: format!("cargo xtask test 'harness/{name}'"),
        run: Box::new(run),
    }
}

fn run(directory: &RunDirectory, script: &str, flags: &[&str]) -> Result<crate::session::Outcome> {
    let path = directory.join("test.sh");
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    let mut words = ["--hypervisor", "none", "--memory", "512", "--script"]
        .map(str::to_owned)
        .to_vec();
    words.push(path.display().to_string());
    words.extend(flags.iter().map(|&flag| flag.to_owned()));
    dom0::run_script(&dom0_options(&words)?, directory, false)
}

/// A file goes in with its mode; output comes out byte for byte; what is printed is no status.
fn files() -> Result<Verdict> {
    let directory = RunDirectory::new()?;
    let file = directory.join("data,with comma");
    let content: Vec<u8> = (0..=255)
        .filter(|&byte| byte != 0x1e)
        .cycle()
        .take(100_000)
        .collect();
    fs::write(&file, &content)?;
    let target = format!("{}:/some/where/data", file.display());
    let script = "cat /some/where/data; echo exit 9 > /dev/console; exit 0";
    let outcome = run(&directory, script, &["--file", &target])?;
    if outcome.status != Some(0) {
        return Ok(Verdict::failed("the script failed", &outcome));
    }
    if outcome.script_output != content {
        bail!(
            "{} bytes came out as {} others",
            content.len(),
            outcome.script_output.len()
        );
    }
    fs::metadata(&file).context("the file is still there")?;
    Ok(Verdict::passed(&outcome))
}
