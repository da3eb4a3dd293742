//! `xenstore-watch`.

use std::io::Write;
use std::process::ExitCode;

use super::{Failure, connect, failed};
use crate::arguments::Parsed;

/// Prints changes.
pub(super) fn watch(arguments: &Parsed, output: &mut dyn Write) -> Result<ExitCode, Failure> {
    let most: Option<u64> = number(arguments, 'n')?;
    let depth: Option<u32> = number(arguments, 'd')?;
    if arguments.words.is_empty() {
        return Err(Failure::Usage("a key is missing".to_owned()));
    }
    let mut client = connect(arguments)?;
    for key in &arguments.words {
        let set = match depth {
            None => client.watch(key, key),
            Some(depth) => client.watch_depth(key, key, depth),
        };
        set.map_err(failed(format!("could not watch {key}")))?;
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

/// The value of an option, if it was given.
fn number<N: std::str::FromStr>(arguments: &Parsed, letter: char) -> Result<Option<N>, Failure> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| Failure::Usage(format!("-{letter} {text}: not a number")))
    };
    arguments.value(letter).map(parse).transpose()
}
