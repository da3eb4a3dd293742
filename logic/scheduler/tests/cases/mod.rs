//! How property tests of the scheduler run.

use proptest::test_runner::Config;

/// With as many cases, or as `PROPTEST_CASES` says.
pub(crate) fn cases(cases: u32) -> Config {
    let default = Config::default();
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    Config {
        cases: if is_set { default.cases } else { cases },
        failure_persistence: None,
        ..default
    }
}
