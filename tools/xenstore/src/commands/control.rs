//! `xenstore-control`.

use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use super::{Failure, connect, failed};
use crate::arguments::{self, Parsed};
use crate::client::Client;

/// Gives xenstored a command.
pub(super) fn control(arguments: &Parsed, output: &mut dyn Write) -> Result<ExitCode, Failure> {
    let Some((command, rest)) = arguments.words.split_first() else {
        return Err(Failure::Usage("a command is missing".to_owned()));
    };
    let steps = if command == "live-update" {
        live_update(rest)?
    } else {
        vec![arguments.words.clone()]
    };
    let mut client = connect(arguments)?;
    for step in steps {
        let answer = ask(&mut client, &step)?;
        let line_end = if answer.ends_with('\n') { "" } else { "\n" };
        write!(output, "{answer}{line_end}")?;
        if command == "live-update" && answer != "OK" {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends a command, again while xenstored is busy with what has to be done before.
fn ask(client: &mut Client, words: &[String]) -> Result<String, Failure> {
    loop {
        let answer = client
            .control(words)
            .map_err(failed(format!("command {}", words.join(" "))))?;
        if answer != "BUSY" {
            return Ok(answer);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The requests that make up a live update: the file, the arguments, the start.
fn live_update(words: &[String]) -> Result<Vec<Vec<String>>, Failure> {
    const OPTIONS: &[(char, &str, bool)] = &[
        ('c', "cmdline", true),
        ('t', "timeout", true),
        ('F', "force", false),
    ];
    let parsed = arguments::parse(words, OPTIONS, false).map_err(Failure::Usage)?;
    let [file] = parsed.words.as_slice() else {
        return Err(Failure::Usage("live-update needs a file".to_owned()));
    };
    let request = |words: &[&str]| -> Vec<String> {
        std::iter::once("live-update")
            .chain(words.iter().copied())
            .map(str::to_owned)
            .collect()
    };
    let mut steps = vec![request(&["-f", file])];
    if let Some(arguments) = parsed.value('c') {
        steps.push(request(&["-c", arguments]));
    }
    let mut start = vec!["-s"];
    if let Some(timeout) = parsed.value('t') {
        start.extend(["-t", timeout]);
    }
    if parsed.has('F') {
        start.push("-F");
    }
    steps.push(request(&start));
    Ok(steps)
}
