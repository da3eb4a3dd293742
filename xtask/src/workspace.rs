//! Where things are: the source tree, what cargo builds, the cache of fetched things, a run's own directory.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// The project's version, the same for all its crates.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The root of the source tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}

/// Where cargo puts what it builds.
pub(crate) fn cargo_target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// Where fetched packages and what is made of them are kept between runs.
pub(crate) fn cache() -> PathBuf {
    root().join("target/cache")
}

/// A directory for one run's sockets and archives, removed with all its content on drop.
#[derive(Debug)]
pub(crate) struct RunDirectory(PathBuf);

impl RunDirectory {
    /// Makes a directory of our own, and removes those that killed runs left.
    pub(crate) fn new() -> Result<RunDirectory> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let parent = env::temp_dir();
        remove_stale(&parent);
        // Not under the source tree: a socket's path has 107 bytes at most.
        let path = parent.join(format!(
            "xenolith-run-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(RunDirectory(path))
    }

    /// The path of `name` inside.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name
            .to_str()
            .and_then(|name| name.strip_prefix("xenolith-run-"))
        else {
            continue;
        };
        let process = rest.split('-').next().unwrap_or("");
        if process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
