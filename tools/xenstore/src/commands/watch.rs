//! `xenstore-watch`.

use std::io::Write;
use std::process::ExitCode;

use super::{Failure, connect, failed};
use crate::arguments::Parsed;

/// Prints changes.
pub(super) fn watch(arguments: &Parsed, output: &mut dyn Write) -> Result<ExitCode, Failure> {
    let most: Option<u64> = match arguments.value('n') {
        None => None,
        Some(text) => match text.parse() {
            Ok(most) => Some(most),
            Err(_) => return Err(Failure::Usage(format!("-n {text}: not a number"))),
        },
    };
    if arguments.words.is_empty() {
        return Err(Failure::Usage("a key is missing".to_owned()));
    }
    let mut client = connect(arguments)?;
    for key in &arguments.words {
        client
            .watch(key, key)
            .map_err(failed(format!("could not watch {key}")))?;
    }
    let mut printed = 0;
    while most.is_none_or(|most| printed < most) {
        if let Some(event) = client
            .next_event(None)
            .map_err(failed("waiting for changes"))?
        {
            writeln!(output, "{}", event.path)?;
            output.flush()?;
            printed += 1;
        }
    }
    Ok(ExitCode::SUCCESS)
}
