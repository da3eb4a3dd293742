//! Unsafe code exists in `platform/`, `tools/xen_sys`, and the entries of `image/` and `guests/`, and in the one test
//! that executes on the processor what it compares emulation with. Elsewhere every crate forbids it, or takes the
//! workspace's lints, which deny it, and allows it nowhere. (Crates whose derives expand to unsafe implementations
//! cannot forbid it.)

use std::fs;

use anyhow::Result;

use super::{members, none_of, source_files};
use crate::workspace;

const RING: &[&str] = &[
    "platform/",
    "tools/xen_sys/",
    "image/",
    "guests/",
    "logic/privileged_ops/tests/processor.rs",
];

/// Tests elsewhere that need it, and why.
const TESTS: &[(&str, &str)] = &[(
    "logic/privileged_ops/tests/processor.rs",
    "runs instructions on the real CPU, to compare the emulation with",
)];

/// Checks every crate's root files for the attribute, and all its files for the word.
pub(crate) fn check() -> Result<()> {
    let mut problems = Vec::new();
    for member in members()?
        .iter()
        .filter(|member| !in_ring(&member.directory))
    {
        let manifest =
            fs::read_to_string(workspace::root().join(&member.directory).join("Cargo.toml"))?;
        if manifest.contains("[lints]\nworkspace = true") {
            continue;
        }
        for root in &member.roots {
            if !fs::read_to_string(root)?.contains("#![forbid(unsafe_code)]") {
                problems.push(format!("{} lacks #![forbid(unsafe_code)]", root.display()));
            }
        }
    }
    let is_test = |file: &str| TESTS.iter().any(|(test, _)| *test == file);
    for file in source_files(".rs")?
        .iter()
        .filter(|file| !in_ring(file) && !is_test(file))
    {
        let text = fs::read_to_string(workspace::root().join(file))?;
        for (number, line) in text.lines().enumerate() {
            if has_unsafe(line) {
                problems.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none_of(problems)
}

fn in_ring(path: &str) -> bool {
    RING.iter().any(|part| path.starts_with(part))
}

/// Whether code, not a comment, has an unsafe block, function, implementation or attribute.
fn has_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let trimmed = code.trim_start();
    let is_attribute = trimmed.starts_with("#[") || trimmed.starts_with("#![");
    if is_attribute
        && code.contains("unsafe_code")
        && !code.contains("forbid(")
        && !code.contains("deny(")
    {
        return true;
    }
    code.split_whitespace()
        .collect::<Vec<_>>()
        .windows(2)
        .any(|words| {
            words[0].ends_with("unsafe")
                && !words[0].contains(['"', '`'])
                && ["{", "fn", "impl", "extern", "trait"]
                    .iter()
                    .any(|word| words[1].starts_with(word))
        })
}

#[cfg(test)]
mod tests {
    use super::has_unsafe;

    #[test]
    fn tells_code_from_talk() {
        assert!(has_unsafe(&["    let x = uns", "afe { f() };"].concat()));
        assert!(has_unsafe(&["pub uns", "afe fn f() {}"].concat()));
        assert!(has_unsafe(&["#![allow(uns", "afe_code)]"].concat()));
        assert!(!has_unsafe("// an unsafe { block }"));
        assert!(!has_unsafe("#![forbid(unsafe_code)]"));
        assert!(!has_unsafe("let name = \"unsafe ring\";"));
    }
}
