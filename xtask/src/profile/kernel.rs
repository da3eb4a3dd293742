//! The functions of Debian's kernel. A paravirtual kernel runs where it is linked, so they are the same each time, and a
//! domain 0 needs to tell them only once.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::debian;
use crate::dom0;
use crate::test::dom0_options;
use crate::workspace::{self, RunDirectory};

/// The kernel's functions by their addresses.
pub(super) fn functions(series: &str) -> Result<BTreeMap<u64, String>> {
    let image = debian::kernel(series)?.image;
    let name = image
        .file_name()
        .context("a kernel's image has a name")?
        .to_string_lossy();
    let directory = debian::cached(&format!("functions-{name}"), |directory| {
        eprintln!("the functions of {name}…");
        let run_directory = RunDirectory::new()?;
        let script = workspace::root().join("bench/kernel_functions.sh");
        let script = script.display().to_string();
        let words: Vec<String> = ["--net", "none", "--timeout", "1800", "--kernel", series]
            .iter()
            .chain(&["--kernel-args", "harness.nomodules", "--script", &script])
            .map(|word| (*word).to_owned())
            .collect();
        let outcome = dom0::run_script(&dom0_options(&words)?, &run_directory, false)?;
        if dom0::exit_status(&outcome) != 0 {
            bail!("no list of functions\n{}", outcome.console_tail(30));
        }
        Ok(fs::write(directory.join("list"), outcome.script_output)?)
    })?;
    Ok(parse(&fs::read_to_string(directory.join("list"))?))
}

/// Lines of `/proc/kallsyms`: address, kind, name. Of names for the same place the first counts.
fn parse(text: &str) -> BTreeMap<u64, String> {
    let mut functions = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let address = words
            .next()
            .and_then(|word| u64::from_str_radix(word, 16).ok());
        if let (Some(address), Some(_kind), Some(name)) = (address, words.next(), words.next()) {
            functions.entry(address).or_insert_with(|| name.to_owned());
        }
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn functions_of_a_kernel() {
        let text = "ffffffff81000000 T startup_64\nffffffff81000000 T _stext\r\nffffffff81000040 t next\nx\n";
        let functions: Vec<_> = parse(text).into_iter().collect();
        let expected = [
            (0xffff_ffff_8100_0000, "startup_64"),
            (0xffff_ffff_8100_0040, "next"),
        ];
        assert_eq!(
            functions,
            expected.map(|(address, name)| (address, name.to_owned()))
        );
    }
}
