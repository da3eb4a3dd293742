//! The host tests: `cargo test` of the workspace's default members.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result};

use super::Count;
use crate::command::cargo;

/// Runs them, passing on what is said of failures; counts them.
pub(crate) fn run() -> Result<Count> {
    let mut child = cargo()
        .args(["test", "--quiet", "--no-fail-fast"])
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo's output is piped")?;
    let mut count = Count::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        match results(&line) {
            Some(here) => {
                count.passed += here.passed;
                count.failed += here.failed;
            }
            None if is_noise(&line) => {}
            None => println!("{line}"),
        }
    }
    let status = child.wait()?;
    // Tests that do not build, or that kill their process, have no result line.
    if !status.success() && count.failed == 0 {
        count.failed = 1;
    }
    let word = if count.failed == 0 { "ok   " } else { "FAIL " };
    println!(
        "{word} host: {} passed, {} failed",
        count.passed, count.failed
    );
    if count.failed > 0 {
        println!("      run them alone: cargo test");
    }
    Ok(count)
}

fn is_noise(line: &str) -> bool {
    let dots = line.split(' ').next().unwrap_or_default();
    line.is_empty() || line.starts_with("running ") || dots.bytes().all(|byte| byte == b'.')
}

/// `test result: ok. 8 passed; 0 failed; …`
fn results(line: &str) -> Option<Count> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |what: &str| -> Option<usize> {
        rest.split([';', '.'])
            .find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    Some(Count {
        passed: number("passed")?,
        failed: number("failed")?,
    })
}

#[cfg(test)]
mod tests {
    use super::results;

    #[test]
    fn counts() {
        let line = "test result: FAILED. 8 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(
            results(line).map(|count| (count.passed, count.failed)),
            Some((8, 2))
        );
        assert!(results("running 8 tests").is_none());
    }
}
