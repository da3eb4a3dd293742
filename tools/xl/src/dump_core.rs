//! `xl dump-core`: a domain's memory in a file.

use std::path::{Path, PathBuf};

use clap::Args;
use xen_control::DomId;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome};

/// Options of `xl dump-core`.
#[derive(Args, Debug)]
pub(crate) struct DumpCore {
    /// The domain, by name or number
    domain: String,
    /// The file
    file: PathBuf,
}

impl Run for DumpCore {
    const NAME: &'static str = "dump-core";
    const ABOUT: &'static str = "Core dump a domain";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        dump(context, info.domain, &self.file)
    }
}

/// Where the memory of a domain that crashed goes.
pub(crate) fn automatic_path(name: &str) -> PathBuf {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    PathBuf::from(format!("/var/lib/xen/dump/{name}-{seconds}"))
}

/// Writes a domain's memory.
pub(crate) fn dump(_context: &Context, _domain: DomId, _path: &Path) -> Outcome {
    Err(Failure::new("memory dumps cannot be written yet"))
}
