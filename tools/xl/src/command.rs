//! The command line: global options, the command, its arguments.
//!
//! Only the command that is wanted is built for parsing; all of them only for help, completions and manual pages.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command};

use crate::commands;
use crate::context::{Context, Failure, Outcome};

/// Exit code for arguments that a command does not take, as with Xen's `xl`.
const USAGE: u8 = 2;

/// A command.
pub(crate) trait Run: Args {
    /// Its name.
    const NAME: &'static str;
    /// What it does, in a line.
    const ABOUT: &'static str;

    /// Does it.
    fn run(self, context: &Context) -> Outcome;
}

/// An entry of the list of commands.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) command: fn() -> Command,
    run: fn(&ArgMatches, &Context) -> Outcome,
}

/// The entry of a command.
pub(crate) const fn entry<T: Run>() -> Entry {
    Entry {
        name: T::NAME,
        about: T::ABOUT,
        command: || {
            T::augment_args(Command::new(T::NAME).about(T::ABOUT))
                .bin_name(format!("xl {}", T::NAME))
        },
        run: |matches, context| {
            let arguments =
                T::from_arg_matches(matches).map_err(|error| Failure::new(error.to_string()))?;
            arguments.run(context)
        },
    }
}

/// All of `xl`, for help, completions and manual pages.
pub(crate) fn whole() -> Command {
    let flag = |name: &'static str, letter: char, about: &'static str| {
        clap::Arg::new(name)
            .short(letter)
            .action(clap::ArgAction::SetTrue)
            .help(about)
    };
    Command::new("xl")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Creates, watches, configures and ends domains")
        .arg(flag("verbose", 'v', "Tell more on the way"))
        .arg(flag("force", 'f', "Do it even if it is not wise"))
        .arg(flag("dry-run", 'N', "Only tell what would be done"))
        .arg(
            clap::Arg::new("json")
                .long("json")
                .global(true)
                .action(clap::ArgAction::SetTrue)
                .help("Tell in JSON"),
        )
        .subcommands(commands::ALL.iter().map(|entry| (entry.command)()))
}

/// Runs what the arguments say.
pub(crate) fn main(mut arguments: Vec<String>) -> ExitCode {
    let mut context = Context::default();
    // JSON can be asked for anywhere but behind `--`.
    let end = arguments.iter().position(|word| word == "--");
    let mut index = 0;
    arguments.retain(|word| {
        let is_json = word == "--json" && end.is_none_or(|end| index < end);
        index += 1;
        context.json |= is_json;
        !is_json
    });
    let mut rest = arguments.as_slice();
    while let Some((word, after)) = rest.split_first()
        && let Some(flags) = word.strip_prefix('-')
    {
        for flag in flags.chars() {
            match flag {
                'v' => context.verbose = true,
                'f' => context.force = true,
                'N' => context.dry_run = true,
                // Of Xen's `xl`: how progress is shown.
                't' | 'T' => {}
                'h' => return help(&[]),
                _ => {
                    eprintln!("xl: there is no option -{flag}; xl help lists all");
                    return ExitCode::from(USAGE);
                }
            }
        }
        rest = after;
    }
    let Some((name, rest)) = rest.split_first() else {
        help(&[]);
        return ExitCode::FAILURE;
    };
    if name == "help" {
        return help(rest);
    }
    let Some(entry) = find(name) else {
        eprintln!("command not implemented");
        return ExitCode::FAILURE;
    };
    let words = std::iter::once(name.as_str()).chain(rest.iter().map(String::as_str));
    let matches = match (entry.command)().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            // Nothing to be done if there is nobody to tell.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(USAGE),
            };
        }
    };
    match (entry.run)(&matches, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                if context.json {
                    eprintln!("{:#}", serde_json::json!({ "error": failure.message }));
                } else {
                    eprintln!("{failure}");
                }
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Names may be shortened where that is clear, as with Xen's `xl`.
fn find(name: &str) -> Option<&'static Entry> {
    let exact = commands::ALL.iter().find(|entry| entry.name == name);
    exact.or_else(|| {
        let mut candidates = commands::ALL
            .iter()
            .filter(|entry| entry.name.starts_with(name));
        let first = candidates.next();
        first.filter(|_| candidates.next().is_none())
    })
}

fn help(words: &[String]) -> ExitCode {
    if let Some(word) = words.first().filter(|word| !word.starts_with('-')) {
        match find(word) {
            Some(entry) => print!("{}", (entry.command)().render_help()),
            None => println!("command \"{word}\" not implemented"),
        }
        return ExitCode::SUCCESS;
    }
    println!("Usage xl [-vfNtT] [--json] <subcommand> [args]\n\nxl full list of subcommands:\n");
    for entry in commands::ALL {
        println!(" {:<19} {}", entry.name, entry.about);
    }
    ExitCode::SUCCESS
}
