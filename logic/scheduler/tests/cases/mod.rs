//! How property tests of the scheduler run.

use proptest::test_runner::{Config, RngSeed};

/// With as many cases, the same ones each time; or, to look for machines that miss a bound, with as many new ones as
/// `PROPTEST_CASES` says.
pub(crate) fn cases(cases: u32) -> Config {
    let default = Config {
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return default;
    }
    Config {
        cases,
        rng_seed: RngSeed::Fixed(2),
        ..default
    }
}
