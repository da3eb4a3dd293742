//! Paths that the documents name exist.

use std::fs;

use anyhow::Result;

use super::{none_of, source_files};
use crate::workspace;

/// Checks all Markdown files.
pub(crate) fn check() -> Result<()> {
    let mut problems = Vec::new();
    for file in source_files(".md")? {
        let text = fs::read_to_string(workspace::root().join(&file))?;
        let directory = workspace::root().join(&file);
        for path in paths(&text) {
            let below_file = directory
                .parent()
                .is_some_and(|parent| parent.join(path).exists());
            if !below_file && !workspace::root().join(path).exists() {
                problems.push(format!("{file}: there is no {path}"));
            }
        }
    }
    none_of(problems)
}

/// Words between backticks, and links, that look like paths in the source tree.
fn paths(text: &str) -> Vec<&str> {
    let quoted = text
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next());
    quoted
        .chain(links)
        .map(|path| path.trim_end_matches('/'))
        .filter(|path| {
            let first = path.split('/').next().unwrap_or_default();
            let is_source = workspace::root().join(first).exists() && first != "target";
            let is_plain = path
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte));
            is_plain && path.contains('/') && is_source && !first.is_empty()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::paths;

    #[test]
    fn finds_what_looks_like_a_path() {
        let text = "See `xtask/src/main.rs`, [it](tests/system/list), `cargo xtask`, `/dev/null`, `logic/*`.";
        assert_eq!(paths(text), ["xtask/src/main.rs", "tests/system/list"]);
    }
}
