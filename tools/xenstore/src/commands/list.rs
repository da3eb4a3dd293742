//! `xenstore-ls` and `xenstore-list`.

use std::io::Write;
use std::process::ExitCode;

use super::{Failure, connect, escaped, failed};
use crate::arguments::Parsed;
use crate::client::Client;

/// The tree below a path, with values.
pub(super) fn ls(arguments: &Parsed, output: &mut dyn Write) -> Result<ExitCode, Failure> {
    let path = match arguments.words.as_slice() {
        [] => "/",
        [path] => path,
        _ => return Err(Failure::Usage("one path at most".to_owned())),
    };
    let mut client = connect(arguments)?;
    // With the path itself unreadable nothing is; below it, what has gone meanwhile is left out.
    client
        .directory(path)
        .map_err(failed(format!("could not list path {path}")))?;
    let mut tree = Tree {
        client: &mut client,
        output,
        full: arguments.has('f'),
        permissions: arguments.has('p'),
    };
    tree.children(path, 0)?;
    Ok(ExitCode::SUCCESS)
}

struct Tree<'a> {
    client: &'a mut Client,
    output: &'a mut dyn Write,
    full: bool,
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
            if self.full {
                write!(self.output, "{child}")?;
            } else {
                write!(self.output, "{:depth$}{name}", "")?;
            }
            match self.client.read(&child) {
                Ok(value) => write!(self.output, " = \"{}\"", escaped(&value))?,
                Err(error) if error.is_not_found() => write!(self.output, ":")?,
                Err(error) if error.errno().is_some() => write!(self.output, ":")?,
                Err(error) => return Err(failed("could not read")(error)),
            }
            if self.permissions
                && let Ok(permissions) = self.client.permissions(&child)
            {
                let list: Vec<String> = permissions.iter().map(ToString::to_string).collect();
                write!(self.output, "   ({})", list.join(","))?;
            }
            writeln!(self.output)?;
            self.children(&child, depth + 1)?;
        }
        Ok(())
    }
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
