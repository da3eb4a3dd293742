//! The `debian` root: a Debian 12 userland with xen-utils, in an ext4 image made once and never written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{find_program, run_quietly};
use crate::debian;
use crate::setup::{self, Need, root_command};
use crate::workspace::RunDirectory;

const PACKAGES: &[&str] = &[
    "xen-utils-4.17",
    "xen-utils-common",
    "xenstore-utils",
    "iproute2",
    "iputils-ping",
    "bridge-utils",
    "kmod",
    "procps",
    "wget",
    "util-linux",
    "e2fsprogs",
    "python3-minimal",
    "less",
    "strace",
    "stress-ng",
    "lvm2",
    "nftables",
    "net-tools",
    // What `cargo xtask bench loads` runs.
    "tcc",
    "xz-utils",
    "sqlite3",
    "fio",
    "iperf3",
];

/// A writable image for one run, on top of the cached one; `name` is its own in this run.
pub(crate) fn overlay(directory: &RunDirectory, name: &str) -> Result<PathBuf> {
    let base = debian::cached(&cache_name(), build)?.join("root.ext4");
    let overlay = directory.join(&format!("{name}.qcow2"));
    let program = find_program("qemu-img").context("there is no qemu-img: cargo xtask setup")?;
    run_quietly(
        Command::new(program)
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .arg(base)
            .arg(&overlay),
    )?;
    Ok(overlay)
}

/// The image's name in the cache, which follows from what is in it.
fn cache_name() -> String {
    let hash = PACKAGES
        .iter()
        .flat_map(|package| package.bytes().chain([b' ']))
        .fold(0xcbf2_9ce4_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
    format!("debian-root-{hash:08x}")
}

fn build(directory: &Path) -> Result<()> {
    setup::setup(Need::Test)?;
    let source = setup::configured_sources()
        .into_iter()
        .find(|source| source.suites.iter().any(|suite| suite == "bookworm"))
        .context("apt has no source for bookworm")?;
    let root = directory.join("root");
    eprintln!("making the debian root file system (some minutes, once)");
    let debootstrap = find_program("debootstrap").context("there is no debootstrap")?;
    run_quietly(
        root_command(&debootstrap.display().to_string())
            .args([
                "--variant=minbase",
                &format!("--include={}", PACKAGES.join(",")),
                "bookworm",
            ])
            .arg(&root)
            .arg(&source.uri),
    )?;
    let archives = root.join("var/cache/apt/archives");
    run_quietly(
        root_command("find")
            .arg(&archives)
            .args(["-name", "*.deb", "-delete"]),
    )?;
    let image = directory.join("root.ext4");
    let mke2fs = find_program("mke2fs").context("there is no mke2fs")?;
    run_quietly(
        root_command(&mke2fs.display().to_string())
            .args(["-q", "-t", "ext4", "-E", "lazy_itable_init=0", "-d"])
            .arg(&root)
            .arg(&image)
            .arg("2G"),
    )?;
    run_quietly(root_command("rm").arg("-rf").arg(&root))?;
    fs::metadata(&image).context("mke2fs made no image")?;
    Ok(())
}
