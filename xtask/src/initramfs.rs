//! The `tiny` root: busybox, the kernel's modules, our static tools; and, appended to it, what one run brings.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{capture, find_program};
use crate::cpio::Archive;
use crate::debian::Kernel;
use crate::image;
use crate::modules;

/// What one run adds.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// `NAME=value` settings that /init reads.
    pub(crate) settings: Vec<(String, String)>,
    /// The script to run; without one, a shell.
    pub(crate) script: Option<PathBuf>,
    /// Files to put into domain 0: (on the host, in domain 0).
    pub(crate) files: Vec<(PathBuf, String)>,
    /// Files of our own making to put into domain 0: (in domain 0, content).
    pub(crate) made: Vec<(String, Vec<u8>)>,
}

/// Builds the archives.
pub(crate) fn build(kernel: &Kernel, tools: &[PathBuf], extras: &Extras) -> Result<Vec<u8>> {
    let mut bytes = base(kernel, tools)?;
    bytes.extend_from_slice(&run_archive(extras)?);
    Ok(bytes)
}

fn base(kernel: &Kernel, tools: &[PathBuf]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in [
        "dev",
        "proc",
        "sys",
        "run",
        "tmp",
        "root",
        "etc",
        "mnt",
        "usr/bin",
        "usr/sbin",
        "newroot",
        "var/log",
        "var/lib/xen",
    ] {
        archive.directory(directory);
    }
    // The kernel calls /sbin/modprobe.
    archive.link("sbin", "bin");
    archive.device("dev/console", 0o600, 5, 1);
    archive.device("dev/null", 0o666, 1, 3);
    archive.file("init", 0o755, include_bytes!("../dom0/init"));
    archive.file(
        "harness/xen-daemons",
        0o755,
        include_bytes!("../dom0/xen-daemons"),
    );
    archive.file("etc/passwd", 0o644, b"root::0:0:root:/root:/bin/sh\n");
    archive.file("etc/group", 0o644, b"root:x:0:\n");
    archive.file("etc/hostname", 0o644, b"dom0\n");

    let busybox = find_program("busybox").context("there is no busybox: cargo xtask setup")?;
    archive.file("bin/busybox", 0o755, &read(&busybox)?);
    for applet in capture(Command::new(&busybox).arg("--list"))?.lines() {
        if applet != "busybox" {
            archive.link(&format!("bin/{applet}"), "busybox");
        }
    }
    for tool in tools {
        let name = tool
            .file_name()
            .context("a tool has a name")?
            .to_string_lossy();
        archive.file(&format!("usr/bin/{name}"), 0o755, &read(tool)?);
        for link in image::tool_links(&name) {
            archive.link(&format!("usr/bin/{link}"), &name);
        }
    }
    if let Some(directory) = &kernel.modules {
        let release = directory
            .file_name()
            .context("a module directory has a name")?
            .to_string_lossy();
        let selection = modules::select(directory)?;
        let target = format!("lib/modules/{release}");
        for module in &selection.all {
            archive.file(
                &format!("{target}/{module}"),
                0o644,
                &read(&directory.join(module))?,
            );
        }
        // For modprobe: busybox's reads the text, kmod's the index. Lines of modules that are not there do no harm.
        for name in ["modules.dep", "modules.dep.bin"] {
            archive.file(
                &format!("{target}/{name}"),
                0o644,
                &read(&directory.join(name))?,
            );
        }
        let list: String = selection
            .loaded
            .iter()
            .map(|module| format!("/{target}/{module}\n"))
            .collect();
        archive.file("harness/modules", 0o644, list.as_bytes());
    }
    Ok(archive.finish())
}

fn run_archive(extras: &Extras) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    let settings: String = extras
        .settings
        .iter()
        .map(|(name, value)| format!("{name}={}\n", crate::command::quote(value)))
        .collect();
    archive.file("harness/settings", 0o644, settings.as_bytes());
    if let Some(script) = &extras.script {
        archive.file("harness/script", 0o755, &read(script)?);
    }
    for (target, content) in &extras.made {
        archive.file(&format!("harness/files/{target}"), 0o644, content);
    }
    for (source, target) in &extras.files {
        add_tree(
            &mut archive,
            source,
            &format!("harness/files/{}", target.trim_start_matches('/')),
        )?;
    }
    Ok(archive.finish())
}

fn add_tree(archive: &mut Archive, source: &Path, target: &str) -> Result<()> {
    let metadata =
        fs::metadata(source).with_context(|| format!("cannot read {}", source.display()))?;
    if !metadata.is_dir() {
        archive.file(target, metadata.permissions().mode(), &read(source)?);
        return Ok(());
    }
    archive.directory(target);
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        add_tree(
            archive,
            &entry.path(),
            &format!("{target}/{}", entry.file_name().to_string_lossy()),
        )?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
