//! When a log is rotated, and what is renamed then.

use std::path::{Path, PathBuf};

/// How large logs may get and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The size in bytes beyond which a new file is begun; 0 for never.
    pub limit: u64,
    /// How many old files are kept beside the current one.
    pub keep: u32,
}

impl Rotation {
    /// Whether a file of `size` bytes is to be rotated before `more` are added. An empty file never is.
    pub fn is_due(&self, size: u64, more: u64) -> bool {
        self.limit != 0 && size != 0 && size.saturating_add(more) > self.limit
    }

    /// What is to be renamed to what, in this order. The last old file is replaced; with none to be kept the
    /// current file is to be emptied instead.
    pub fn renames(&self, path: &Path) -> Vec<(PathBuf, PathBuf)> {
        (0..self.keep)
            .rev()
            .map(|number| (numbered(path, number), numbered(path, number + 1)))
            .collect()
    }
}

/// `guest-a.log`, `guest-a.log.1` and so on.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// The part of a log's name that stands for a domain: its name, without what a path would make of it.
pub fn file_name(domain_name: &str, domid: u16) -> String {
    let plain: String = domain_name
        .chars()
        .map(|character| match character {
            '/' | '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => '_',
            other => other,
        })
        .collect();
    // A file name has 255 bytes at most, of which we add some.
    let end = (0..=plain.len().min(200))
        .rev()
        .find(|&end| plain.is_char_boundary(end))
        .unwrap_or(0);
    match plain.get(..end) {
        Some(name) if !name.is_empty() && name != "." && name != ".." => name.to_owned(),
        _ => format!("domain-{domid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_rotated_before_it_is_too_large() {
        let rotation = Rotation {
            limit: 100,
            keep: 2,
        };
        assert!(!rotation.is_due(60, 40));
        assert!(rotation.is_due(60, 41));
        assert!(!rotation.is_due(0, 1000));
        assert!(!Rotation { limit: 0, keep: 2 }.is_due(u64::MAX, 1));
    }

    #[test]
    fn the_oldest_goes_first() {
        let pair = |from: &str, to: &str| (PathBuf::from(from), PathBuf::from(to));
        let rotation = Rotation { limit: 1, keep: 2 };
        assert_eq!(
            rotation.renames(Path::new("/l/a.log")),
            [
                pair("/l/a.log.1", "/l/a.log.2"),
                pair("/l/a.log", "/l/a.log.1")
            ]
        );
        assert!(
            Rotation { limit: 1, keep: 0 }
                .renames(Path::new("a"))
                .is_empty()
        );
    }

    #[test]
    fn names_stay_in_their_directory() {
        assert_eq!(file_name("web", 3), "web");
        assert_eq!(file_name("../../etc/x", 3), ".._.._etc_x");
        assert_eq!(file_name("..", 3), "domain-3");
        assert_eq!(file_name("", 3), "domain-3");
        assert_eq!(file_name(&"ü".repeat(300), 3).len(), 200);
    }
}
