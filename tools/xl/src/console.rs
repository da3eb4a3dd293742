//! `xl console`: the program `xenconsole` is connected.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use clap::Args;
use xen_control::DomId;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome};

/// Options of `xl console`.
#[derive(Args, Debug)]
pub(crate) struct Console {
    /// The domain, by name or number
    domain: String,
    /// The kind of console: pv or serial
    #[arg(short = 't', value_name = "TYPE", default_value = "pv")]
    kind: String,
    /// The console's number
    #[arg(short = 'n', value_name = "NUMBER", default_value_t = 0)]
    number: u32,
}

impl Run for Console {
    const NAME: &'static str = "console";
    const ABOUT: &'static str = "Attach to domain's console";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        if self.kind != "pv" {
            return Err(Failure::new(format!(
                "a paravirtual domain has no console of type {}",
                self.kind
            )));
        }
        let mut command = program(info.domain)?;
        if self.number != 0 {
            command.args(["--num", &self.number.to_string()]);
        }
        // Only comes back if it could not be started.
        let error = command.exec();
        Err(failed(&error))
    }
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::new(format!("xenconsole cannot be started: {error}"))
}

/// The program: beside this one, in the path, or Xen's.
fn program(domain: DomId) -> Result<Command, Failure> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.parent()?.join("xenconsole")));
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let found = beside
        .into_iter()
        .chain(std::env::split_paths(&in_path).map(|path| path.join("xenconsole")))
        .chain([PathBuf::from("/usr/lib/xen-4.17/bin/xenconsole")])
        .find(|path| Path::is_file(path));
    let found = found.ok_or_else(|| Failure::new("there is no program xenconsole"))?;
    let mut command = Command::new(found);
    command.arg(domain.to_string());
    Ok(command)
}

/// Starts a viewer of a domain's console.
pub(crate) fn spawn(domain: DomId) -> Result<Child, Failure> {
    program(domain)?.spawn().map_err(|error| failed(&error))
}

/// Waits until the viewer ends.
pub(crate) fn wait(mut viewer: Child) -> Outcome {
    let status = viewer.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("xenconsole: {status}")))
    }
}
