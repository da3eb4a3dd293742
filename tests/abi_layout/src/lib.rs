//! Compares `xen_abi` with the C headers of Debian's `libxen-dev`: sizes, alignments, offsets and values.
//!
//! `build.rs` reads `xen_abi`'s source, so that nothing in it can be left out of the comparison, and generates a C
//! program and a Rust table; `tests/layout.rs` compiles and runs the program and compares what both say.

#[expect(
    dead_code,
    reason = "the build script reads it; here it is documentation"
)]
mod exceptions;

include!(concat!(env!("OUT_DIR"), "/table.rs"));

/// The C program that prints [`EXPECTATIONS`] as C has them, in the same format.
pub const C_PROGRAM: &str = concat!(env!("OUT_DIR"), "/layout.c");

/// Where two lists of `key value` lines differ: lines for people, none if they agree.
pub fn differences(rust: &str, c: &str) -> Vec<String> {
    use std::collections::BTreeMap;

    fn parse(lines: &str) -> BTreeMap<&str, &str> {
        lines
            .lines()
            .filter_map(|line| line.split_once(": "))
            .collect()
    }
    let (rust, c) = (parse(rust), parse(c));
    let mut differences = Vec::new();
    for (key, rust_value) in &rust {
        match c.get(key) {
            Some(c_value) if c_value == rust_value => {}
            Some(c_value) => {
                differences.push(format!("{key}: Rust has {rust_value}, C has {c_value}"));
            }
            None => differences.push(format!("{key}: C's program did not print it")),
        }
    }
    for key in c.keys().filter(|key| !rust.contains_key(*key)) {
        differences.push(format!("{key}: only C's program printed it"));
    }
    differences
}
