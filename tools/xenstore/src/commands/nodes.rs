//! `xenstore-read`, `-write`, `-rm` and `-exists`. What changes several nodes does it in a transaction.

use std::io::Write;
use std::process::ExitCode;

use super::{Failure, connect, escaped, failed, unescaped};
use crate::Transaction;
use crate::arguments::Parsed;
use crate::error::ClientError;

fn keys(arguments: &Parsed) -> Result<&[String], Failure> {
    if arguments.words.is_empty() {
        return Err(Failure::Usage("a key is missing".to_owned()));
    }
    Ok(&arguments.words)
}

/// Prints values.
pub(super) fn read(arguments: &Parsed, output: &mut dyn Write) -> Result<ExitCode, Failure> {
    let keys = keys(arguments)?;
    let mut client = connect(arguments)?;
    let mut current = String::new();
    let values = client.transaction(|transaction| {
        keys.iter()
            .map(|key| {
                current.clone_from(key);
                transaction.read(key)
            })
            .collect::<Result<Vec<_>, _>>()
    });
    let values = values.map_err(failed(format!("couldn't read path {current}")))?;
    for (key, value) in keys.iter().zip(values) {
        if arguments.has('p') {
            write!(output, "{key}: ")?;
        }
        if arguments.has('R') {
            output.write_all(&value)?;
        } else {
            writeln!(output, "{}", escaped(&value))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Sets values.
pub(super) fn write(arguments: &Parsed, _: &mut dyn Write) -> Result<ExitCode, Failure> {
    let words = keys(arguments)?;
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Failure::Usage("a value is missing".to_owned()));
    }
    let mut nodes = Vec::new();
    for [key, value] in pairs {
        let value = if arguments.has('R') {
            value.clone().into_bytes()
        } else {
            unescaped(value)?
        };
        nodes.push((key, value));
    }
    let mut current = String::new();
    connect(arguments)?
        .transaction(|transaction| {
            nodes.iter().try_for_each(|(key, value)| {
                current.clone_from(key);
                transaction.write(key, value)
            })
        })
        .map_err(failed(format!("could not write path {current}")))?;
    Ok(ExitCode::SUCCESS)
}

/// Removes nodes.
pub(super) fn remove(arguments: &Parsed, _: &mut dyn Write) -> Result<ExitCode, Failure> {
    let keys = keys(arguments)?;
    let mut current = String::new();
    connect(arguments)?
        .transaction(|transaction| {
            for key in keys {
                current.clone_from(key);
                transaction.remove(key)?;
                if arguments.has('t') {
                    tidy(transaction, key)?;
                }
            }
            Ok(())
        })
        .map_err(failed(format!("could not remove path {current}")))?;
    Ok(ExitCode::SUCCESS)
}

/// Removes the directories above a node that have neither value nor children.
fn tidy(transaction: &mut Transaction<'_>, key: &str) -> Result<(), ClientError> {
    let mut path = key.trim_end_matches('/');
    while let Some((parent, _)) = path.rsplit_once('/') {
        path = parent;
        if path.is_empty() {
            break;
        }
        match transaction.read(path) {
            Ok(value) if value.is_empty() && transaction.directory(path)?.is_empty() => {}
            Ok(_) | Err(ClientError::Store(_)) => break,
            Err(error) => return Err(error),
        }
        transaction.remove(path)?;
    }
    Ok(())
}

/// Tells whether all nodes are there.
pub(super) fn exists(arguments: &Parsed, _: &mut dyn Write) -> Result<ExitCode, Failure> {
    let keys = keys(arguments)?;
    let all = connect(arguments)?
        .transaction(|transaction| {
            for key in keys {
                if !transaction.exists(key)? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .map_err(failed("could not look"))?;
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
