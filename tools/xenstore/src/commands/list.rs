//! `xenstore-ls` and `xenstore-list`.

use std::io::Write;
use std::process::ExitCode;

use super::{Failure, connect, escaped, failed};
use crate::arguments::Parsed;
use crate::client::Client;

/// The columns of a line unless the terminal says otherwise, and the column of permissions.
const WIDTH: usize = 80;
const PERMISSIONS_AT: usize = 60;
/// What a value that is cut to nothing takes of a line: ` = "..."`.
const LEAST_VALUE: usize = 8;

/// The trees below paths, with values.
pub(super) fn ls(arguments: &Parsed, output: &mut dyn Write) -> Result<ExitCode, Failure> {
    let root = ["/".to_owned()];
    let paths = match arguments.words.as_slice() {
        [] => &root,
        paths => paths,
    };
    let mut client = connect(arguments)?;
    for path in paths {
        // With the path itself unreadable nothing is; below it, what has gone meanwhile is left out.
        client
            .directory(path)
            .map_err(failed(format!("could not list path {path}")))?;
        let mut tree = Tree {
            client: &mut client,
            output,
            width: (!arguments.has('f')).then(terminal_width),
            permissions: arguments.has('p'),
        };
        tree.children(path, 0)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout()).map_or(WIDTH, |size| {
        usize::from(size.ws_col).saturating_sub(2).max(20)
    })
}

struct Tree<'a> {
    client: &'a mut Client,
    output: &'a mut dyn Write,
    /// Columns of a line; without them, whole paths are printed, and all of values.
    width: Option<usize>,
    permissions: bool,
}

impl Tree<'_> {
    fn children(&mut self, path: &str, depth: usize) -> Result<(), Failure> {
        let names = match self.client.directory(path) {
            Ok(names) => names,
            Err(error) if error.errno().is_some() => return Ok(()),
            Err(error) => return Err(failed("could not list")(error)),
        };
        for name in names {
            let child = format!("{}/{name}", path.trim_end_matches('/'));
            let value = match self.client.read(&child) {
                Ok(value) => Some(value),
                Err(error) if error.errno().is_some() => None,
                Err(error) => return Err(failed("could not read")(error)),
            };
            let permissions = match self.permissions.then(|| self.client.permissions(&child)) {
                Some(Ok(permissions)) => {
                    let list: Vec<String> = permissions.iter().map(ToString::to_string).collect();
                    Some(list.join(","))
                }
                _ => None,
            };
            let line = match self.width {
                None => whole_line(&child, value.as_deref(), permissions.as_deref()),
                Some(width) => line(
                    width,
                    depth,
                    &name,
                    value.as_deref(),
                    permissions.as_deref(),
                ),
            };
            writeln!(self.output, "{line}")?;
            self.children(&child, depth + 1)?;
        }
        Ok(())
    }
}

/// A node's line with its whole path.
fn whole_line(path: &str, value: Option<&[u8]>, permissions: Option<&str>) -> String {
    let value = value.map_or(":".to_owned(), |value| format!(" = \"{}\"", escaped(value)));
    let permissions = permissions.map_or(String::new(), |list| format!("   ({list})"));
    format!("{path}{value}{permissions}")
}

/// A node's line, indented, cut to `width` columns and filled with dots up to the permissions, as Xen's program does it.
fn line(
    width: usize,
    depth: usize,
    name: &str,
    value: Option<&[u8]>,
    permissions: Option<&str>,
) -> String {
    // Where there is no room at all nothing is cut.
    let room = |used: usize| match width.saturating_sub(LEAST_VALUE + used) {
        0 => usize::MAX,
        room => room,
    };
    let name: String = name.chars().take(room(depth)).collect();
    let mut line = format!("{:depth$}{name}", "");
    match value {
        None => line.push(':'),
        Some(value) if width < line.len() + value.len() + LEAST_VALUE => {
            let value: String = escaped(value).chars().take(room(line.len())).collect();
            line.push_str(&format!(" = \"{value}\\...\""));
        }
        Some(value) => {
            line.push_str(&format!(" = \"{}\"", escaped(value)));
            if permissions.is_some() {
                line.push(' ');
                while line.len() < PERMISSIONS_AT.min(width) {
                    line.push(if line.len() % 2 == 1 { '.' } else { ' ' });
                }
            }
        }
    }
    if let Some(permissions) = permissions {
        line.push_str(&format!("  ({permissions})"));
    }
    line
}

/// The names below each key.
pub(super) fn list(arguments: &Parsed, output: &mut dyn Write) -> Result<ExitCode, Failure> {
    if arguments.words.is_empty() {
        return Err(Failure::Usage("a key is missing".to_owned()));
    }
    let mut client = connect(arguments)?;
    let mut lines = Vec::new();
    client
        .transaction(|transaction| {
            lines.clear();
            for key in &arguments.words {
                for name in transaction.directory(key)? {
                    lines.push(if arguments.has('p') {
                        format!("{}/{name}", key.trim_end_matches('/'))
                    } else {
                        name
                    });
                }
            }
            Ok(())
        })
        .map_err(failed("could not list path"))?;
    for line in lines {
        writeln!(output, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_filled() {
        let long = [b'v'; 100];
        let cut = line(40, 2, "name", Some(&long), None);
        assert_eq!(cut, format!("  name = \"{}\\...\"", "v".repeat(26)));
        assert_eq!(line(80, 1, "a", None, None), " a:");
        let filled = line(80, 0, "a", Some(b"1"), Some("n0"));
        assert_eq!(filled.find("  ("), Some(60));
        assert!(filled.starts_with("a = \"1\"  . . ."), "{filled}");
        assert_eq!(whole_line("/a", Some(&long), Some("n0")).len(), 2 + 105 + 7);
        // More indentation than the line has columns.
        assert_eq!(
            line(40, 50, "deep", Some(b"1"), None).trim(),
            "deep = \"1\\...\""
        );
    }
}
