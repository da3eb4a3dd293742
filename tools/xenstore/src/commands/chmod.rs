//! `xenstore-chmod`.

use std::io::Write;
use std::process::ExitCode;

use super::{Failure, connect, failed};
use crate::Transaction;
use crate::arguments::Parsed;
use crate::error::ClientError;
use crate::permission::Permission;

/// Sets permissions.
pub(super) fn chmod(arguments: &Parsed, _: &mut dyn Write) -> Result<ExitCode, Failure> {
    let [key, modes @ ..] = arguments.words.as_slice() else {
        return Err(Failure::Usage("a key is missing".to_owned()));
    };
    if modes.is_empty() {
        return Err(Failure::Usage("a mode is missing".to_owned()));
    }
    let mut permissions = Vec::new();
    for mode in modes {
        let permission: Permission = mode
            .parse()
            .map_err(|error| Failure::Usage(format!("{mode}: {error}")))?;
        permissions.push(permission);
    }
    connect(arguments)?
        .transaction(|transaction| {
            if arguments.has('r') {
                recurse(transaction, key, &permissions)?;
            } else {
                transaction.set_permissions(key, &permissions)?;
            }
            // Not the root's.
            let mut path = key.as_str();
            while let Some((parent, _)) = path.rsplit_once('/')
                && arguments.has('u')
                && !parent.is_empty()
            {
                transaction.set_permissions(parent, &permissions)?;
                path = parent;
            }
            Ok(())
        })
        .map_err(failed(format!("could not set the permissions of {key}")))?;
    Ok(ExitCode::SUCCESS)
}

fn recurse(
    transaction: &mut Transaction<'_>,
    path: &str,
    permissions: &[Permission],
) -> Result<(), ClientError> {
    transaction.set_permissions(path, permissions)?;
    for name in transaction.directory(path)? {
        let child = format!("{}/{name}", path.trim_end_matches('/'));
        recurse(transaction, &child, permissions)?;
    }
    Ok(())
}
