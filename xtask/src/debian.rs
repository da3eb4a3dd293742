//! Debian's kernels and Debian's Xen, fetched by apt and unpacked into the cache; nothing is installed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{capture, find_program, run, run_quietly};
use crate::{setup, workspace};

/// A kernel to boot, with its modules where it is one of Debian's.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) image: PathBuf,
    /// `/lib/modules/<version>` of the unpacked package: uncompressed modules and `modules.dep`.
    pub(crate) modules: Option<PathBuf>,
}

/// The kernel that `--kernel` names: a series of Debian's (`6.1`, `6.12`), or a file.
pub(crate) fn kernel(name: &str) -> Result<Kernel> {
    let is_series = name.split('.').all(|part| part.parse::<u32>().is_ok());
    if !is_series {
        let image = PathBuf::from(name);
        if !image.is_file() {
            bail!("--kernel {name}: no such file, and no series such as 6.1");
        }
        return Ok(Kernel {
            image,
            modules: None,
        });
    }
    let directory = cached(&format!("kernel-{name}"), |directory| {
        fetch_kernel(name, directory)
    })?;
    let image = only_entry(&directory.join("boot"), "vmlinuz-")?;
    let modules = only_entry(&directory.join("lib/modules"), "")?;
    Ok(Kernel {
        image,
        modules: Some(modules),
    })
}

/// Debian's Xen 4.17, as the ELF image that QEMU loads.
pub(crate) fn xen() -> Result<PathBuf> {
    let directory = cached("debian-xen", |directory| {
        eprintln!("fetching Debian's Xen 4.17");
        unpack("xen-hypervisor-4.17-amd64", None, directory)?;
        let compressed = directory.join("boot/xen-4.17-amd64.gz");
        run_quietly(Command::new("gunzip").arg("--keep").arg(&compressed))
    })?;
    Ok(directory.join("boot/xen-4.17-amd64"))
}

/// Debian's GRUB for paravirtual guests.
pub(crate) fn grub_xen() -> Result<PathBuf> {
    let directory = cached("grub-xen", |directory| {
        unpack("grub-xen-host", None, directory)
    })?;
    Ok(directory.join("usr/lib/grub-xen/grub-x86_64-xen.bin"))
}

/// A directory of the cache, filled by `fill` the first time. Others that want it meanwhile wait.
pub(crate) fn cached(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let directory = workspace::cache().join(name);
    if directory.is_dir() {
        return Ok(directory);
    }
    fs::create_dir_all(workspace::cache())?;
    let lock = File::create(workspace::cache().join(format!("{name}.lock")))?;
    lock.lock()?;
    if !directory.is_dir() {
        let partial = workspace::cache().join(format!("{name}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir_all(&partial)?;
        fill(&partial)?;
        fs::rename(&partial, &directory)?;
    }
    Ok(directory)
}

fn fetch_kernel(series: &str, directory: &Path) -> Result<()> {
    eprintln!("fetching Debian's kernel {series}");
    setup::backports_source()?;
    let (package, version) = match newest_kernel(series) {
        Ok(found) => found,
        Err(_) => {
            setup::update()?;
            newest_kernel(series)?
        }
    };
    unpack(&package, Some(&version), directory)?;
    let modules = only_entry(&directory.join("lib/modules"), "")?;
    let release = modules
        .file_name()
        .context("a module directory has a name")?;
    // Uncompressed, so that domain 0 does not spend its time on that.
    run(Command::new("find").arg(&modules).args([
        "-name",
        "*.ko.xz",
        "-exec",
        "xz",
        "--decompress",
        "--quiet",
        "{}",
        "+",
    ]))?;
    let depmod = find_program("depmod").context("there is no depmod")?;
    run_quietly(Command::new(depmod).arg("-b").arg(directory).arg(release))
}

/// The newest kernel package of a series, and its version, by way of the `linux-image-amd64` metapackage.
fn newest_kernel(series: &str) -> Result<(String, String)> {
    // madison: ` linux-image-amd64 | 6.1.192-2 | <archive>`, newest first.
    let madison = capture(Command::new("apt-cache").args(["madison", "linux-image-amd64"]))?;
    let meta = madison
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|version| version.starts_with(&format!("{series}.")))
        .with_context(|| format!("apt knows no linux-image-amd64 of version {series}"))?;
    let shown =
        capture(Command::new("apt-cache").args(["show", &format!("linux-image-amd64={meta}")]))?;
    // Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)
    let depends = shown
        .lines()
        .find_map(|line| line.strip_prefix("Depends: "))
        .context("linux-image-amd64 depends on nothing")?;
    let package = depends
        .split([',', ' '])
        .find(|word| word.starts_with("linux-image-"))
        .context("linux-image-amd64 depends on no kernel")?;
    let version = depends
        .split_once("(= ")
        .and_then(|(_, rest)| rest.split(')').next())
        .unwrap_or(meta);
    Ok((package.to_owned(), version.to_owned()))
}

/// Fetches a package and unpacks it into `directory`.
pub(crate) fn unpack(package: &str, version: Option<&str>, directory: &Path) -> Result<()> {
    let downloads = directory.join("download");
    fs::create_dir_all(&downloads)?;
    let wanted = match version {
        Some(version) => format!("{package}={version}"),
        None => package.to_owned(),
    };
    let download = || {
        run_quietly(
            Command::new("apt-get")
                .current_dir(&downloads)
                // The directory may be root's alone: apt would warn that its own user cannot write there.
                .args([
                    "download",
                    "--quiet",
                    "-o",
                    "APT::Sandbox::User=root",
                    &wanted,
                ]),
        )
    };
    download().or_else(|_| setup::update().and_then(|()| download()))?;
    let file = only_entry(&downloads, package)?;
    run_quietly(Command::new("dpkg-deb").arg("-x").arg(&file).arg(directory))?;
    fs::remove_dir_all(&downloads)?;
    Ok(())
}

fn only_entry(directory: &Path, prefix: &str) -> Result<PathBuf> {
    fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .with_context(|| format!("there is no {prefix}* in {}", directory.display()))
}
