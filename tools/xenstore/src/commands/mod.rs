//! The programs `xenstore-ls`, `-read`, `-write`, `-rm`, `-list`, `-exists`, `-chmod`, `-watch` and `-control`, with the options
//! that Xen's have.

mod chmod;
mod control;
mod list;
mod nodes;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::arguments::{self, Parsed};
use crate::client::Client;
use crate::error::ClientError;

/// A program: its name after `xenstore-`, its option letters, its usage, and what it does.
struct Command {
    name: &'static str,
    /// Each with its long name, and whether a value follows.
    options: &'static [(char, &'static str, bool)],
    usage: &'static str,
    help: &'static str,
    run: fn(&Parsed, &mut dyn Write) -> Result<ExitCode, Failure>,
}

const SOCKET: (char, &str, bool) = ('s', "socket", false);
const HELP: (char, &str, bool) = ('h', "help", false);

const COMMANDS: &[Command] = &[
    Command {
        name: "ls",
        options: &[
            HELP,
            ('f', "flat", false),
            ('p', "prefix", false),
            SOCKET,
        ],
        usage: "[-h] [-f] [-p] [-s] [path ...]",
        help: "Prints all below a path with values, indented and cut to the terminal's width (or 80 columns).
  -f  full paths instead, and nothing is cut
  -p  permissions too",
        run: list::ls,
    },
    Command {
        name: "read",
        options: &[HELP, ('p', "prefix", false), SOCKET, ('R', "raw", false)],
        usage: "[-h] [-p] [-s] [-R] key [...]",
        help: "Prints the values of keys.
  -p  each with its key in front
  -R  as they are, instead of with escapes",
        run: nodes::read,
    },
    Command {
        name: "write",
        options: &[HELP, SOCKET, ('R', "raw", false)],
        usage: "[-h] [-s] [-R] key value [...]",
        help: "Sets the values of keys, of all or of none.
  -R  values are as they are; otherwise \\n, \\t, \\r, \\\\, \\xHH and \\OOO stand for bytes",
        run: nodes::write,
    },
    Command {
        name: "rm",
        options: &[HELP, SOCKET, ('t', "tidy", false)],
        usage: "[-h] [-s] [-t] key [...]",
        help: "Removes keys and all below them.
  -t  and the directories above that are empty then",
        run: nodes::remove,
    },
    Command {
        name: "list",
        options: &[HELP, ('p', "prefix", false), SOCKET],
        usage: "[-h] [-p] [-s] key [...]",
        help: "Prints the names below keys.
  -p  with the key in front",
        run: list::list,
    },
    Command {
        name: "exists",
        options: &[HELP, SOCKET],
        usage: "[-h] [-s] key [...]",
        help: "Tells by its status (0: yes) whether all keys are there.",
        run: nodes::exists,
    },
    Command {
        name: "chmod",
        options: &[HELP, ('u', "upto", false), ('r', "recurse", false), SOCKET],
        usage: "[-h] [-u] [-r] [-s] key mode [modes...]",
        help: "Sets a key's permissions: n, r, w or b, and a domain's number, the owner's first.
  -r  and of all below it
  -u  and of all above it but the root",
        run: chmod::chmod,
    },
    Command {
        name: "watch",
        options: &[HELP, ('n', "number", true), ('d', "depth", true), SOCKET],
        usage: "[-h] [-n NR] [-d DEPTH] [-s] key [...]",
        help: "Prints the path of each change at or below keys; first the keys themselves.
  -n  ends after NR lines
  -d  only changes so many levels below a key; 0: of the key alone",
        run: watch::watch,
    },
    Command {
        name: "control",
        options: &[HELP, SOCKET],
        usage: "[-h] [-s] command [args...]",
        help: "Gives xenstored a command, and prints its answer; `help` lists them.
  live-update [-c CMDLINE] [-t TIMEOUT] [-F] FILE
      has xenstored continue as the program FILE, with the arguments CMDLINE, when no transaction is
      open; after TIMEOUT seconds, with -F, even so",
        run: control::control,
    },
];

/// Why a program fails.
enum Failure {
    /// Used wrongly.
    Usage(String),
    /// What it wanted to do, and why not.
    Error(String, ClientError),
    /// There is no connection.
    Connect(ClientError),
    /// A command of xenstored's was refused, or failed.
    Command(String),
    /// Where its output goes is closed, or full.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn failed(what: impl Into<String>) -> impl FnOnce(ClientError) -> Failure {
    let what = what.into();
    move |error| Failure::Error(what, error)
}

fn connect(arguments: &Parsed) -> Result<Client, Failure> {
    if arguments.has('s') {
        Client::connect_to_socket()
    } else {
        Client::connect()
    }
    .map_err(Failure::Connect)
}

/// Runs the program that the first argument's file name says, or, for plain `xenstore`, the second argument.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut words: Vec<String> = Vec::new();
    for argument in arguments {
        words.push(argument.to_string_lossy().into_owned());
    }
    let called = words.first().cloned().unwrap_or_default();
    let base = called.rsplit('/').next().unwrap_or_default();
    let (name, rest) = match base.strip_prefix("xenstore-") {
        Some(name) => (name.to_owned(), words.get(1..).unwrap_or_default()),
        None => {
            let name = words.get(1).cloned().unwrap_or_default();
            let name = name.strip_prefix("xenstore-").unwrap_or(&name).to_owned();
            (name, words.get(2..).unwrap_or_default())
        }
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        eprintln!(
            "Usage: xenstore COMMAND [options], or xenstore-COMMAND; commands: {}",
            names.join(" ")
        );
        return ExitCode::FAILURE;
    };
    run(command, rest)
}

fn run(command: &Command, words: &[String]) -> ExitCode {
    let program = format!("xenstore-{}", command.name);
    let usage = format!("Usage: {program} {}", command.usage);
    let parsed = match arguments::parse(words, command.options, command.name == "control") {
        Ok(parsed) => parsed,
        Err(message) => {
            eprintln!("{program}: {message}\n{usage}");
            return used_wrongly(command);
        }
    };
    if parsed.has('h') {
        println!(
            "{usage}\n\n{}\n  -s  through xenstored's socket only, not the kernel's device",
            command.help
        );
        return ExitCode::SUCCESS;
    }
    let mut output = io::BufWriter::new(io::stdout().lock());
    let result = (command.run)(&parsed, &mut output).and_then(|status| {
        output.flush()?;
        Ok(status)
    });
    match result {
        Ok(status) => status,
        Err(failure) => {
            let (message, status) = match failure {
                Failure::Usage(message) => (format!("{message}\n{usage}"), used_wrongly(command)),
                Failure::Error(what, error) => (format!("{what}: {error}"), ExitCode::FAILURE),
                Failure::Connect(error) => (error.to_string(), ExitCode::FAILURE),
                Failure::Command(message) => (message, ExitCode::from(3)),
                // As any program ends whose reader has gone.
                Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return ExitCode::FAILURE;
                }
                Failure::Output(error) => (format!("output: {error}"), ExitCode::FAILURE),
            };
            // Nothing can be done where this cannot be written either.
            let _ = output.flush();
            eprintln!("{program}: {message}");
            status
        }
    }
}

/// The status of a program that was used wrongly: Xen's `xenstore-control` has one of its own for that.
fn used_wrongly(command: &Command) -> ExitCode {
    match command.name {
        "control" => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}

/// A value as it is printed: what is no printable ASCII is escaped, as Xen's programs do it.
fn escaped(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(*byte)),
            0..=7 => text.push_str(&format!("\\{byte:03o}")),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// The bytes that a value with escapes stands for.
fn unescaped(text: &str) -> Result<Vec<u8>, Failure> {
    let bad = || Failure::Usage(format!("bad escape in {text:?}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let [kind, after @ ..] = rest else {
            return Err(bad());
        };
        rest = after;
        let (radix, most) = match kind {
            b'n' | b'r' | b't' | b'\\' => {
                bytes.push(match kind {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => b'\\',
                });
                continue;
            }
            b'x' => (16, 2),
            b'0'..=b'7' => {
                rest = text
                    .as_bytes()
                    .get(text.len() - rest.len() - 1..)
                    .unwrap_or_default();
                (8, 3)
            }
            _ => return Err(bad()),
        };
        let digits = rest
            .iter()
            .take(most)
            .take_while(|byte| char::from(**byte).is_digit(radix))
            .count();
        let (number, after) = rest.split_at(digits);
        rest = after;
        let number = str::from_utf8(number).map_err(|_| bad())?;
        bytes.push(u8::from_str_radix(number, radix).map_err(|_| bad())?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(
            escaped(b"a\\\n\x01\x017\x08\xff"),
            "a\\\\\\n\\001\\0017\\x08\\xff"
        );
        for bad in ["\\", "\\q", "\\x", "\\777"] {
            assert!(unescaped(bad).is_err(), "{bad}");
        }
        assert_eq!(unescaped("a\\x41\\101\\0").ok(), Some(b"aAA\0".to_vec()));
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(unescaped(&escaped(&bytes)).ok(), Some(bytes));
        }
    }
}
