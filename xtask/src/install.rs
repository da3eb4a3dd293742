//! `cargo xtask install DESTDIR`: the image where Debian's `update-grub` finds it (`/boot/xen*`), the tools.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{image, workspace};

/// Installs below `destination`, which is empty or `/` for this machine itself; gives what it installed.
pub(crate) fn install(destination: &str) -> Result<Vec<PathBuf>> {
    let destination = if destination.is_empty() {
        Path::new("/")
    } else {
        Path::new(destination)
    };
    let compressed = image::build_compressed()?;
    let mut installed = vec![put(
        &compressed,
        destination.join(format!("boot/xenolith-{}-amd64.gz", workspace::VERSION)),
    )?];
    for tool in image::build_tools()? {
        let name = tool.file_name().context("a tool has a name")?;
        let programs = destination.join("usr/local/bin");
        installed.push(put(&tool, programs.join(name))?);
        for link in image::tool_links(&name.to_string_lossy()) {
            let link = programs.join(link);
            if link.symlink_metadata().is_ok() {
                fs::remove_file(&link)?;
            }
            std::os::unix::fs::symlink(name, &link)
                .with_context(|| format!("cannot make {}", link.display()))?;
            installed.push(link);
        }
    }
    Ok(installed)
}

fn put(source: &Path, target: PathBuf) -> Result<PathBuf> {
    if let Some(directory) = target.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::copy(source, &target).with_context(|| format!("cannot write {}", target.display()))?;
    Ok(target)
}
