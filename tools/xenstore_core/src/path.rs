//! Paths: which are valid, and what a relative one means. Source: `docs/misc/xenstore.txt`.
//!
//! A canonical path is `/`, or `/`-separated names after a leading `/`, or a special name that begins with `@`.

use xen_abi::io::xs_wire;

use crate::Error;
use crate::event::DomainId;

/// Most bytes of any path.
pub(crate) const ABSOLUTE_MAX: usize = xs_wire::XENSTORE_ABS_PATH_MAX as usize;
/// Most bytes of a path that is given relative to the domain's own.
pub(crate) const RELATIVE_MAX: usize = xs_wire::XENSTORE_REL_PATH_MAX as usize;

/// What a relative path of the domain is relative to.
pub fn domain_path(domain: DomainId) -> String {
    format!("/local/domain/{domain}")
}

/// Makes a path canonical. Answers whether it was relative. `limit` is the domain's quota of path length (0: none).
pub(crate) fn canonical(
    path: &[u8],
    domain: DomainId,
    allow_special: bool,
    limit: u32,
) -> Result<(String, bool), Error> {
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-/_@".contains(byte);
    let first = *path.first().ok_or(Error::Einval)?;
    if path.len() > ABSOLUTE_MAX || !path.iter().all(valid) || (first == b'@' && !allow_special) {
        return Err(Error::Einval);
    }
    let text = std::str::from_utf8(path).map_err(|_| Error::Einval)?;
    let relative = first != b'/' && first != b'@';
    let full = if relative {
        if path.len() > RELATIVE_MAX {
            return Err(Error::Einval);
        }
        let mut full = domain_path(domain);
        full.push('/');
        full.push_str(text);
        full
    } else {
        text.to_string()
    };
    let ends_badly = full.len() > 1 && full.ends_with('/');
    let counted = full.len() - own_prefix(&full);
    if ends_badly
        || full.contains("//")
        || full.len() > ABSOLUTE_MAX
        || (limit != 0 && counted > limit as usize)
    {
        return Err(Error::Einval);
    }
    Ok((full, relative))
}

/// Bytes of a leading `/local/domain/<number>/`, which do not count against the quota.
fn own_prefix(path: &str) -> usize {
    const START: &str = "/local/domain/";
    let Some(rest) = path.strip_prefix(START) else {
        return 0;
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    match rest.as_bytes().get(digits) {
        Some(b'/') if (1..=5).contains(&digits) => START.len() + digits + 1,
        _ => 0,
    }
}

/// The path above; that of `/` and of special names is `/`.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(slash) if slash > 0 => &path[..slash],
        _ => "/",
    }
}

/// The path of the level below `above` on the way to `path`, which is below it.
pub(crate) fn level_below<'a>(above: &str, path: &'a str) -> &'a str {
    let start = if above == "/" { 1 } else { above.len() + 1 };
    let rest = path.get(start..).unwrap_or_default();
    let end = rest.find('/').map_or(path.len(), |slash| start + slash);
    path.get(..end).unwrap_or(path)
}

/// The last name of a path.
pub(crate) fn last_name(path: &str) -> &str {
    path.rfind('/').map_or(path, |slash| &path[slash + 1..])
}

/// The names on the way from the root of roots: an empty one for `/`, or the special name, then one for each level.
pub(crate) fn names(path: &str) -> impl Iterator<Item = &str> {
    // "/a/b" is split into "", "a", "b", as wanted; "/" would give two.
    path.strip_suffix('/').unwrap_or(path).split('/')
}

/// A path and a name below it.
pub(crate) fn child(path: &str, name: &str) -> String {
    let mut child = String::with_capacity(path.len() + 1 + name.len());
    if path != "/" {
        child.push_str(path);
    }
    child.push('/');
    child.push_str(name);
    child
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absolute(path: &str) -> Result<String, Error> {
        canonical(path.as_bytes(), 3, false, 2048).map(|(path, _)| path)
    }

    #[test]
    fn valid_and_invalid() {
        for path in ["/", "/a", "/a/b-_@9", "/local/domain/5/x"] {
            assert_eq!(absolute(path).as_deref(), Ok(path));
        }
        for path in [
            "", "//", "/a/", "/a//b", "/a b", "/a\u{e4}", "@x", "a/", "/a\n", "/+",
        ] {
            assert_eq!(absolute(path), Err(Error::Einval), "{path:?}");
        }
        assert_eq!(absolute("a/b").as_deref(), Ok("/local/domain/3/a/b"));
        assert_eq!(
            canonical(b"@releaseDomain", 0, true, 0),
            Ok(("@releaseDomain".into(), false))
        );
    }

    #[test]
    fn lengths() {
        let own = |length: usize| format!("/local/domain/3/{}", "x".repeat(length));
        assert!(absolute(&own(2048)).is_ok());
        assert!(absolute(&own(2049)).is_err());
        assert!(absolute(&"x".repeat(2048)).is_ok());
        assert!(absolute(&"x".repeat(2049)).is_err());
        let other = |length: usize| format!("/{}", "x".repeat(length - 1));
        assert!(absolute(&other(2048)).is_ok());
        assert!(absolute(&other(2049)).is_err());
        assert!(canonical(other(3072).as_bytes(), 0, false, 0).is_ok());
        assert!(canonical(other(3073).as_bytes(), 0, false, 0).is_err());
        assert!(canonical("x".repeat(2049).as_bytes(), 0, false, 0).is_err());
    }

    #[test]
    fn parts() {
        assert_eq!(names("/").collect::<Vec<_>>(), [""]);
        assert_eq!(names("/a/b").collect::<Vec<_>>(), ["", "a", "b"]);
        assert_eq!(names("@x").collect::<Vec<_>>(), ["@x"]);
        assert_eq!(
            (parent("/a/b"), parent("/a"), parent("@x")),
            ("/a", "/", "/")
        );
        assert_eq!((last_name("/a/b"), last_name("/a")), ("b", "a"));
        assert_eq!(
            (child("/", "a"), child("/a", "b")),
            ("/a".into(), "/a/b".into())
        );
    }
}
