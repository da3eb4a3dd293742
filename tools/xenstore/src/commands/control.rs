//! `xenstore-control`.

use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use xen_abi::Errno;

use super::{Failure, connect};
use crate::arguments::{self, Parsed};
use crate::client::Client;

/// How long a store that is busy is asked again to begin a live update, unless `-t` says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives xenstored a command.
pub(super) fn control(arguments: &Parsed, output: &mut dyn Write) -> Result<ExitCode, Failure> {
    let Some((command, rest)) = arguments.words.split_first() else {
        return Err(Failure::Usage("a command is missing".to_owned()));
    };
    if command == "live-update" {
        return live_update(arguments, rest);
    }
    let mut client = connect(arguments)?;
    match client.control(&arguments.words) {
        Ok(answer) => {
            let line_end = if answer.ends_with('\n') { "" } else { "\n" };
            write!(output, "{answer}{line_end}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.errno() == Some(Errno::EINVAL) => {
            let known = client.control(&["help"]).unwrap_or_default();
            Err(Failure::Command(format!(
                "no such command, or not with these arguments; there are:\n{}",
                known.trim_end()
            )))
        }
        Err(error) => Err(Failure::Command(format!("{command}: {error}"))),
    }
}

/// Has xenstored continue as another program. What it was told is taken back if that fails.
fn live_update(arguments: &Parsed, words: &[String]) -> Result<ExitCode, Failure> {
    let (steps, patience) = requests(words)?;
    let mut client = connect(arguments)?;
    for step in steps {
        if let Err(problem) = ask(&mut client, &step, patience) {
            // It may be the connection that failed.
            let _ = client.control(&["live-update", "-a"]);
            return Err(Failure::Command(format!("live update failed: {problem}")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends a command, again while xenstored is busy with what has to be done before.
fn ask(client: &mut Client, words: &[String], patience: Duration) -> Result<(), String> {
    let end = Instant::now() + patience;
    loop {
        match client.control(words) {
            Ok(answer) if answer == "OK" => return Ok(()),
            Ok(answer) if answer == "BUSY" && Instant::now() < end => {
                thread::sleep(Duration::from_millis(20));
            }
            Ok(answer) => return Err(answer),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// The requests that make up a live update: the file, the arguments, the start. And how long to wait for it.
fn requests(words: &[String]) -> Result<(Vec<Vec<String>>, Duration), Failure> {
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
    let patience = match parsed.value('t') {
        None => PATIENCE,
        Some(text) => text
            .parse()
            .map(Duration::from_secs)
            .map_err(|_| Failure::Usage(format!("-t {text}: not a number")))?,
    };
    let seconds = patience.as_secs().to_string();
    let mut start = vec!["-s", "-t", &seconds];
    if parsed.has('F') {
        start.push("-F");
    }
    steps.push(request(&start));
    Ok((steps, patience))
}
