//! `cargo xtask install DESTDIR`: the image where Debian's `update-grub` finds it (`/boot/xen*`), the tools.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{image, workspace};

/// Installs below `destination`, which is empty or `/` for this machine itself.
pub(crate) fn install(destination: &str) -> Result<()> {
    let destination = if destination.is_empty() {
        Path::new("/")
    } else {
        Path::new(destination)
    };
    let compressed = image::build_compressed()?;
    put(
        &compressed,
        &destination.join(format!("boot/xenolith-{}-amd64.gz", workspace::VERSION)),
    )?;
    for tool in image::build_tools()? {
        let name = tool.file_name().context("a tool has a name")?;
        put(&tool, &destination.join("usr/local/bin").join(name))?;
    }
    Ok(())
}

fn put(source: &Path, target: &Path) -> Result<()> {
    if let Some(directory) = target.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::copy(source, target).with_context(|| format!("cannot write {}", target.display()))?;
    println!("installed {}", target.display());
    Ok(())
}
