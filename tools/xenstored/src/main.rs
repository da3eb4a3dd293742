//! `xenstored`: see `--help`.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use xenstore_core::{Config, Store};
use xenstored::options::{self, HELP, Options, Task};
use xenstored::{Daemon, state};

/// The static library's own allocator takes a quarter of all instructions.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// In the environment of a process that was started to be the daemon: it reports to who started it.
const REPORT: &str = "XENSTORED_REPORT";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let result = match options::parse(&words) {
        Ok(Task::Help) => {
            print!("{HELP}");
            Ok(())
        }
        Ok(Task::Version) => {
            println!("xenstored {} (Xenolith)", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Ok(Task::Check(path)) => check(&path),
        Ok(Task::Serve(options)) if options.no_fork || options.resume.is_some() => serve(*options),
        Ok(Task::Serve(options)) if std::env::var_os(REPORT).is_some() => serve(*options),
        Ok(Task::Serve(options)) => launch(&options),
        Err(message) => Err(format!("{message}\nxenstored --help lists the options")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xenstored: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Verifies a snapshot.
fn check(path: &Path) -> Result<(), String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let snapshot = state::read_snapshot(path).map_err(|error| named(&error))?;
    // Recounts everything, too.
    let store = Store::restore(Config::default(), &snapshot).map_err(|problem| named(&problem))?;
    println!("{}: in order\n{}", path.display(), store.memory_report());
    Ok(())
}

/// Starts the daemon in the background; returns when it serves.
fn launch(options: &Options) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(&options.words)
        .env(REPORT, "1")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        // Without a line it has ended, and said why itself.
        let _ = io::BufReader::new(output).read_line(&mut line);
    }
    if line.trim() != "serving" {
        return Err("could not be started".to_owned());
    }
    if options.output_pid {
        println!("{}", child.id());
    }
    Ok(())
}

fn serve(options: Options) -> Result<(), String> {
    let in_background = std::env::var_os(REPORT).is_some() && options.resume.is_none();
    if in_background {
        // Fails if it leads a session already.
        let _ = rustix::process::setsid();
    }
    allow_many_files();
    if options.simulate.is_none() {
        // Without the store no domain gets far: others are to end before it. Only root may ask for that.
        let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
    }
    let (pid_file, output_pid) = (options.pid_file.clone(), options.output_pid);
    let mut daemon = Daemon::start(options).map_err(|error| error.to_string())?;
    if let Some(path) = pid_file {
        std::fs::write(&path, format!("{}\n", std::process::id()))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if in_background {
        let mut output = io::stdout();
        // Whoever started it may have gone; nothing is ever written there again.
        let _ = output.write_all(b"serving\n").and_then(|()| output.flush());
        if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdout(&null);
        }
    } else if output_pid {
        println!("{}", std::process::id());
    }
    daemon.run().map_err(|error| error.to_string())
}

/// As many clients as the system lets this process have.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // With fewer it serves fewer.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}
