//! `cargo xtask bench store`: instructions for an operation of the store with our daemon, Debian's in C, and Debian's in
//! OCaml, side by side on Debian's Xen.
//!
//! Debian's own `test-xenstore` is the client. With QEMU's icount a nanosecond of domain 0's clock is an instruction; the
//! client's and the kernel's count as well.

use anyhow::{Result, bail};

use super::Measured;
use super::report::{Row, Table};
use crate::dom0;
use crate::test::dom0_options;
use crate::workspace::{self, RunDirectory};

/// A daemon, and what each operation took, in thousands.
type Column = (String, Vec<(String, f64)>);

/// Runs the bench; the status is not 0 if one of Debian's is better at anything.
pub(crate) fn run() -> Result<Measured> {
    let directory = RunDirectory::new()?;
    let script = workspace::root().join("bench/store.sh");
    let mut words: Vec<String> = "--hypervisor debian-xen --rootfs debian --icount \
         --cpu EPYC,-svm,-monitor --memory 1024 --timeout 3600 --script"
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    words.push(script.display().to_string());
    let outcome = dom0::run_script(&dom0_options(&words)?, &directory, false)?;
    let text = String::from_utf8_lossy(&outcome.script_output);
    let columns = columns(&text);
    if dom0::exit_status(&outcome) != 0 || columns.len() != 3 {
        bail!("{text}\n{}", outcome.console_tail(30));
    }
    Ok(table(&columns))
}

/// The table, and whether the first column is worse than another anywhere.
fn table(columns: &[Column]) -> Measured {
    let operations = columns.first().map_or(&[][..], |(_, ours)| ours.as_slice());
    let mut worse = false;
    let mut rows = Vec::new();
    for (operation, mine) in operations {
        let values: Vec<Option<f64>> = columns
            .iter()
            .map(|(_, figures)| {
                figures
                    .iter()
                    .find(|(name, _)| name == operation)
                    .map(|found| found.1)
            })
            .collect();
        worse |= values.iter().flatten().any(|figure| figure < mine);
        rows.push(Row {
            name: operation.replace(' ', "_"),
            about: operation.clone(),
            values,
            goal: None,
        });
    }
    let table = Table {
        name: "store".to_owned(),
        title:
            "Operations of the store on Debian's Xen: our daemon, Debian's in C, Debian's in OCaml"
                .to_owned(),
        unit: "thousands of instructions".to_owned(),
        columns: columns.iter().map(|(name, _)| name.clone()).collect(),
        rows,
    };
    (vec![table], i32::from(worse))
}

/// Reads lines such as `read 1    : avg: 67048 ns (…)` below `DAEMON name`.
fn columns(text: &str) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("DAEMON ") {
            columns.push((name.to_owned(), Vec::new()));
            continue;
        }
        let figure = line
            .split_once(": avg: ")
            .and_then(|(name, rest)| Some((name.trim(), rest.split_once(" ns")?.0)))
            .and_then(|(name, number)| Some((name.to_owned(), number.parse::<f64>().ok()?)));
        match (figure, columns.last_mut()) {
            (Some((name, figure)), Some((_, figures))) => figures.push((name, figure / 1000.0)),
            _ => eprintln!("  {line}"),
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::{columns, table};

    #[test]
    fn lines_of_the_test_program_are_read() {
        let text =
            "DAEMON ours\nread 1    : avg: 67048 ns (67021 ns .. 67235 ns)\nnoise\nDAEMON C\n";
        let read = columns(text);
        assert_eq!(read[0].1, [("read 1".to_owned(), 67.048)]);
        assert_eq!(read[1], ("C".to_owned(), Vec::new()));
        assert_eq!(table(&read).1, 0);
        let better = columns("DAEMON ours\nread: avg: 2 ns (x)\nDAEMON C\nread: avg: 1 ns (x)\n");
        assert_eq!(table(&better).1, 1);
    }
}
