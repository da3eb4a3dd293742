//! `gnttab=`: what grant tables may be.

use super::Expected;
use super::values::{boolean, number};

/// What grant tables may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grants {
    /// `max-ver:`: the latest version that a domain's table may have, 1 or 2.
    pub max_version: u32,
    /// `transitive`: whether a domain may pass on what another granted to it.
    pub transitive: bool,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            max_version: 2,
            transitive: true,
        }
    }
}

impl Grants {
    /// These with the changes that `text` lists.
    pub(super) fn parse(mut self, text: &[u8]) -> Result<Self, Expected> {
        const EXPECTED: Expected = "a list of max-ver:1, max-ver:2, transitive, no-transitive";
        for item in text.split(|&byte| byte == b',') {
            let version = item
                .strip_prefix(b"max-ver:")
                .or_else(|| item.strip_prefix(b"max_ver:"));
            if let Some(version) = version {
                self.max_version = number(version)
                    .filter(|version| matches!(version, 1 | 2))
                    .ok_or(EXPECTED)?;
            } else {
                self.transitive = match item {
                    b"transitive" => true,
                    b"no-transitive" => false,
                    item => {
                        let value = item.strip_prefix(b"transitive=").ok_or(EXPECTED)?;
                        boolean(value).ok_or(EXPECTED)?
                    }
                };
            }
        }
        Ok(self)
    }
}
