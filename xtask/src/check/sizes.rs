//! A file holds one concept: 600 lines at most. The hypervisor as a whole has a budget, too.

use std::fs;

use anyhow::Result;

use super::{none_of, source_files};
use crate::workspace;

const MOST_LINES: usize = 600;
/// Lines of code in tiers 1 to 4: neither blank, nor comments, nor tests. ARCHITECTURE.md says why this many.
const BUDGET: usize = 41_000;

/// Longer files, and why they are.
const LONGER: &[(&str, &str)] = &[
    ("abi/xen_abi/src/domctl.rs", "one public header, one module"),
    ("abi/xen_abi/src/sysctl.rs", "one public header, one module"),
    (
        "abi/xen_abi/src/platform.rs",
        "one public header, one module",
    ),
];

/// Checks all files of Rust.
pub(crate) fn check() -> Result<()> {
    let mut problems = Vec::new();
    let mut hypervisor = 0;
    for file in source_files(".rs")? {
        let text = fs::read_to_string(workspace::root().join(&file))?;
        let lines = text.lines().count();
        if ["logic/", "platform/", "hypervisor/", "image/"]
            .iter()
            .any(|part| file.starts_with(part))
        {
            hypervisor += code_lines(&file, &text);
        }
        if lines > MOST_LINES && !LONGER.iter().any(|(longer, _)| *longer == file) {
            problems.push(format!("{file} has {lines} lines: {MOST_LINES} at most"));
        }
    }
    println!("      {hypervisor} lines of code in tiers 1 to 4, of a budget of {BUDGET}");
    if hypervisor > BUDGET {
        problems.push(format!(
            "tiers 1 to 4 have {hypervisor} lines of code: {BUDGET} at most"
        ));
    }
    none_of(problems)
}

/// Lines of code that are not in a test module at the file's end, nor in files of tests.
fn code_lines(file: &str, text: &str) -> usize {
    let is_test =
        file.contains("/tests/") || file.ends_with("/tests.rs") || file.ends_with("/model.rs");
    if is_test {
        return 0;
    }
    let mut count = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]"
            && lines
                .peek()
                .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
        {
            break;
        }
        let line = line.trim();
        if !line.is_empty() && !line.starts_with("//") {
            let line = line.trim();
            count += usize::from(!line.is_empty() && !line.starts_with("//"));
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::code_lines;

    #[test]
    fn tests_do_not_count() {
        let text = "a\n\n// why\nb\n#[cfg(test)]\nmod model;\n#[cfg(test)]\nmod tests {\nc\n}\n";
        assert_eq!(code_lines("logic/x/src/lib.rs", text), 4);
        assert_eq!(code_lines("logic/x/src/tests.rs", text), 0);
    }
}
