//! A bootable CD: GRUB with a multiboot2 entry, the compressed image, a kernel and an initramfs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::run_quietly;
use crate::dom0::{self, Hypervisor, Parts};
use crate::setup::{Need, setup};
use crate::workspace::{self, RunDirectory};

/// Makes the ISO of a system with a shell; gives its path.
pub(crate) fn command(options: &dom0::Options) -> Result<PathBuf> {
    setup(Need::Test)?;
    let directory = RunDirectory::new()?;
    let parts = Parts::gather(options, &directory)?;
    let path = workspace::cargo_target().join("image/xenolith.iso");
    build(options, &parts, &path)?;
    Ok(path)
}

/// Makes an ISO that boots these parts.
pub(crate) fn build(options: &dom0::Options, parts: &Parts, path: &Path) -> Result<()> {
    let tree = RunDirectory::new()?;
    let boot = tree.join("iso/boot");
    fs::create_dir_all(boot.join("grub"))?;
    let Hypervisor::Image { path: image, .. } = &parts.hypervisor else {
        anyhow::bail!("an ISO needs a hypervisor");
    };
    let compressed = Command::new("gzip")
        .args(["--no-name", "--stdout"])
        .arg(image)
        .output()
        .context("gzip")?;
    fs::write(boot.join("hypervisor.gz"), compressed.stdout)?;
    fs::copy(&parts.kernel.image, boot.join("vmlinuz"))?;
    fs::copy(&parts.initrd, boot.join("initramfs"))?;
    let menu = format!(
        "set timeout=0\nserial --unit=0 --speed=115200\nterminal_output serial\n\
         menuentry Xenolith {{\n  multiboot2 /boot/hypervisor.gz {}\n  module2 /boot/vmlinuz {}\n  module2 /boot/initramfs\n}}\n",
        dom0::hypervisor_arguments(options),
        dom0::kernel_arguments(options),
    );
    fs::write(boot.join("grub/grub.cfg"), menu)?;
    run_quietly(
        Command::new("grub-mkrescue")
            .args(["--compress=no", "-o"])
            .arg(path)
            .arg(tree.join("iso")),
    )
}
