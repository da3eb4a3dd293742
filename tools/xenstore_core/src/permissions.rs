//! Who may read and write a node. Source: `docs/misc/xenstore.txt`, SET_PERMS.
//!
//! The first entry names the owner, who may do everything, and what domains may that no later entry names. An entry
//! belongs to the domain that had the number when it was written, not to a later one with the same number (XSA-322).

use std::fmt::Write;
use std::sync::Arc;

use crate::event::{DOMAIN_0, DomainId};
use crate::{Error, wire};

/// What a domain may do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access(u8);

impl Access {
    /// Nothing.
    pub const NONE: Access = Access(0);
    /// Read value, children and permissions.
    pub const READ: Access = Access(1);
    /// Write the value, create children, remove the node.
    pub const WRITE: Access = Access(2);
    /// Both.
    pub const BOTH: Access = Access(3);
    /// Everything, with setting permissions.
    pub const OWNER: Access = Access(7);

    /// Whether all of `other` is allowed.
    pub fn allows(self, other: Access) -> bool {
        self.0 & other.0 == other.0
    }

    fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'n' => Some(Access::NONE),
            b'r' => Some(Access::READ),
            b'w' => Some(Access::WRITE),
            b'b' => Some(Access::BOTH),
            _ => None,
        }
    }

    fn letter(self) -> char {
        match self {
            Access::NONE => 'n',
            Access::READ => 'r',
            Access::WRITE => 'w',
            _ => 'b',
        }
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        (bits <= 3).then_some(Access(bits))
    }
}

/// An entry: a domain and what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The domain.
    pub domain: DomainId,
    /// What it may. Never [`Access::OWNER`].
    pub access: Access,
}

/// A node's permissions, shared between nodes that inherited them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permissions {
    /// When they were written: domains that came later are not meant by them.
    pub(crate) generation: u64,
    /// Never empty: the first is the owner's.
    pub(crate) entries: Vec<Permission>,
}

/// Who asks: a domain, and the domain that it acts for (SET_TARGET).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) domain: DomainId,
    pub(crate) target: Option<DomainId>,
    pub(crate) privileged: bool,
}

impl Permissions {
    /// Domain 0's, and nobody else's.
    pub(crate) fn private() -> Arc<Self> {
        Arc::new(Permissions {
            generation: 0,
            entries: vec![Permission {
                domain: DOMAIN_0,
                access: Access::NONE,
            }],
        })
    }

    /// The owner as written.
    pub(crate) fn owner(&self) -> DomainId {
        self.entries.first().map_or(DOMAIN_0, |entry| entry.domain)
    }

    /// What `subject` may do. `since` tells when the domain that now has a number came, if there is one.
    pub(crate) fn access(
        &self,
        subject: Subject,
        since: impl Fn(DomainId) -> Option<u64>,
    ) -> Access {
        let means = |domain: DomainId| {
            (subject.domain == domain || subject.target == Some(domain))
                && since(domain).is_some_and(|since| since <= self.generation)
        };
        if subject.privileged || means(self.owner()) {
            return Access::OWNER;
        }
        self.entries
            .iter()
            .skip(1)
            .find(|entry| means(entry.domain))
            .or(self.entries.first())
            .map_or(Access::NONE, |entry| entry.access)
    }

    /// The same without entries of domains that are gone; `None` if there are no such entries.
    pub(crate) fn without_stale(
        &self,
        since: impl Fn(DomainId) -> Option<u64>,
    ) -> Option<Vec<Permission>> {
        let fresh = |domain: DomainId| since(domain).is_some_and(|since| since <= self.generation);
        if self.entries.iter().skip(1).all(|entry| fresh(entry.domain)) {
            return None;
        }
        let mut entries = self.entries.clone();
        let mut first = true;
        entries.retain(|entry| std::mem::take(&mut first) || fresh(entry.domain));
        Some(entries)
    }

    /// What a node that `creator` makes below has: the same, but that an unprivileged creator owns it.
    pub(crate) fn inherited(
        self: &Arc<Self>,
        creator: Subject,
        generation: u64,
        since: impl Fn(DomainId) -> Option<u64>,
    ) -> Arc<Self> {
        let stale = self.without_stale(&since);
        if stale.is_none() && (creator.privileged || self.owner() == creator.domain) {
            return self.clone();
        }
        let mut entries = stale.unwrap_or_else(|| self.entries.clone());
        if let Some(owner) = entries.first_mut().filter(|_| !creator.privileged) {
            owner.domain = creator.domain;
        }
        Arc::new(Permissions {
            generation,
            entries,
        })
    }

    /// The strings of GET_PERMS.
    pub(crate) fn to_wire(entries: &[Permission]) -> Vec<u8> {
        let mut text = String::new();
        for entry in entries {
            // Writing to a String does not fail.
            let _ = write!(text, "{}{}\0", entry.access.letter(), entry.domain);
        }
        text.into_bytes()
    }
}

/// An entry of SET_PERMS: `r5`. The number may be one that no domain can have.
pub(crate) fn parse(text: &[u8]) -> Result<(u64, Access), Error> {
    let (letter, digits) = text.split_first().ok_or(Error::Einval)?;
    let access = Access::from_letter(*letter).ok_or(Error::Einval)?;
    let domain = wire::number(digits).ok_or(Error::Einval)?;
    Ok((domain, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(domain: DomainId) -> Subject {
        Subject {
            domain,
            target: None,
            privileged: domain == 0,
        }
    }

    fn permissions(generation: u64) -> Permissions {
        let entry = |domain, access| Permission { domain, access };
        Permissions {
            generation,
            entries: vec![
                entry(1, Access::NONE),
                entry(2, Access::READ),
                entry(3, Access::BOTH),
            ],
        }
    }

    #[test]
    fn who_may_what() {
        let permissions = permissions(10);
        let since = |domain: DomainId| (domain < 5).then_some(4);
        let access = |domain| permissions.access(subject(domain), since);
        assert_eq!(access(0), Access::OWNER);
        assert_eq!(access(1), Access::OWNER);
        assert_eq!(access(2), Access::READ);
        assert_eq!(access(3), Access::BOTH);
        assert_eq!(access(4), Access::NONE);
        let stub = Subject {
            domain: 4,
            target: Some(3),
            privileged: false,
        };
        assert_eq!(permissions.access(stub, since), Access::BOTH);
    }

    #[test]
    fn a_reused_number_means_nobody() {
        let permissions = permissions(10);
        let since = |domain: DomainId| (domain < 5).then_some(if domain == 2 { 4 } else { 11 });
        assert_eq!(permissions.access(subject(1), since), Access::NONE);
        assert_eq!(permissions.access(subject(2), since), Access::READ);
        assert_eq!(permissions.access(subject(3), since), Access::NONE);
        let left = permissions.without_stale(since);
        assert_eq!(
            left.map(|entries| Permissions::to_wire(&entries)),
            Some(b"n1\0r2\0".to_vec())
        );
    }

    #[test]
    fn wire_format() {
        assert_eq!(
            Permissions::to_wire(&permissions(0).entries),
            b"n1\0r2\0b3\0"
        );
        assert_eq!(parse(b"w17"), Ok((17, Access::WRITE)));
        for bad in [&b""[..], b"r", b"x1", b"r-1", b"r1 ", b"1"] {
            assert_eq!(parse(bad), Err(Error::Einval));
        }
    }
}
