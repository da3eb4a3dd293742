//! A crate depends on crates of lower tiers, or of its own (`ARCHITECTURE.md`). Cargo forbids cycles.

use anyhow::Result;

use super::{members, none_of};

/// A directory's tier, and the highest that its crates may depend on.
const TIERS: &[(&str, u32, u32)] = &[
    ("abi/", 0, 0),
    ("logic/", 1, 1),
    ("platform/", 2, 2),
    ("hypervisor/", 3, 3),
    ("image/", 4, 4),
    // Programs, which take the interface and the logic.
    ("tools/", 5, 1),
    ("guests/", 5, 1),
    ("bench/", 5, 1),
    ("xtask/", 5, 1),
    // Programs that test, with the tools' crates.
    ("tests/", 6, 5),
];

/// Checks every dependency between crates of the workspace.
pub(crate) fn check() -> Result<()> {
    let mut problems = Vec::new();
    for member in members()? {
        let Some((_, _, highest)) = tier(&member.directory) else {
            problems.push(format!(
                "{} ({}) lies in no tier",
                member.name, member.directory
            ));
            continue;
        };
        for dependency in &member.dependencies {
            // tools/ and guests/ have crates of their own for each other.
            let same = dependency.split('/').next() == member.directory.split('/').next();
            let allowed = same || tier(dependency).is_some_and(|(_, tier, _)| tier <= highest);
            if !allowed {
                problems.push(format!(
                    "{} may not depend on {dependency}",
                    member.directory
                ));
            }
        }
    }
    none_of(problems)
}

fn tier(directory: &str) -> Option<(&'static str, u32, u32)> {
    TIERS
        .iter()
        .find(|(prefix, ..)| directory.starts_with(prefix))
        .copied()
}
