//! What a domain may do with a node.

use std::fmt;
use std::str::FromStr;

use xen_abi::DomId;

/// What is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// Neither.
    #[default]
    None,
    /// To read.
    Read,
    /// To write.
    Write,
    /// To read and to write.
    Both,
}

/// An entry of a node's list. The first is the owner's, who may do anything; its access is that of all domains
/// that have no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// What the domain may do.
    pub access: Access,
    /// Whom it is about.
    pub domain: DomId,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.access {
            Access::None => 'n',
            Access::Read => 'r',
            Access::Write => 'w',
            Access::Both => 'b',
        };
        write!(f, "{letter}{}", self.domain)
    }
}

/// A permission is not of the form `r7`: one of `nrwb`, and a domain's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPermission;

impl fmt::Display for NotAPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a permission is n, r, w or b, and a domain's number, as in r7")
    }
}

impl std::error::Error for NotAPermission {}

impl FromStr for Permission {
    type Err = NotAPermission;

    fn from_str(text: &str) -> Result<Self, NotAPermission> {
        let mut letters = text.chars();
        let access = match letters.next() {
            Some('n') => Access::None,
            Some('r') => Access::Read,
            Some('w') => Access::Write,
            Some('b') => Access::Both,
            _ => return Err(NotAPermission),
        };
        let number = letters.as_str();
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotAPermission);
        }
        let domain = number.parse().map_err(|_| NotAPermission)?;
        Ok(Self { access, domain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["n0", "r7", "w32751", "b1"] {
            assert_eq!(text.parse::<Permission>().unwrap().to_string(), text);
        }
        for text in ["", "r", "x0", "r-1", "r+1", "r70000", "r1 "] {
            assert_eq!(text.parse::<Permission>(), Err(NotAPermission), "{text}");
        }
    }
}
