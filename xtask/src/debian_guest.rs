//! A small paravirtual guest for domain 0's toolstack: Debian's kernel, and an initramfs of busybox with a login
//! on the console and the front ends of disks and network cards.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{capture, find_program};
use crate::cpio::Archive;
use crate::debian::Kernel;
use crate::modules;

/// A file for domain 0: its path there, and its content.
pub(crate) type File = (String, Vec<u8>);

/// The guest's kernel, initramfs and configuration, which domain 0 finds in `/guest`.
pub(crate) fn files(kernel: &Kernel) -> Result<Vec<File>> {
    let image = fs::read(&kernel.image)
        .with_context(|| format!("cannot read {}", kernel.image.display()))?;
    // The smallest test guest, for what only needs a domain: it says hello and powers off.
    let hello = crate::image::build_guests()?
        .into_iter()
        .find(|guest| guest.ends_with("guest_hello"))
        .context("there is no test guest guest_hello")?;
    let hello = fs::read(&hello).with_context(|| format!("cannot read {}", hello.display()))?;
    let grub = crate::debian::grub_xen()?;
    let grub = fs::read(&grub).with_context(|| format!("cannot read {}", grub.display()))?;
    Ok(vec![
        ("guest/hello".to_owned(), hello),
        ("guest/grub-xen".to_owned(), grub),
        ("guest/vmlinuz".to_owned(), image),
        ("guest/initrd".to_owned(), initramfs(kernel)?),
        (
            "guest/guest.cfg".to_owned(),
            include_bytes!("../guest/guest.cfg").to_vec(),
        ),
        (
            "guest/two-domains".to_owned(),
            include_bytes!("../guest/two-domains").to_vec(),
        ),
    ])
}

fn initramfs(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["dev", "proc", "sys", "run", "tmp", "root", "mnt"] {
        archive.directory(directory);
    }
    archive.device("dev/console", 0o600, 5, 1);
    archive.device("dev/null", 0o666, 1, 3);
    archive.link("sbin", "bin");
    archive.file("init", 0o755, include_bytes!("../guest/init"));
    archive.file("etc/passwd", 0o644, b"root::0:0:root:/root:/bin/sh\n");
    archive.file("etc/group", 0o644, b"root:x:0:\n");
    archive.file("etc/issue", 0o644, b"Xenolith's Debian guest \\n \\l\n");
    let busybox = find_program("busybox").context("there is no busybox: cargo xtask setup")?;
    archive.file("bin/busybox", 0o755, &fs::read(&busybox)?);
    for applet in capture(Command::new(&busybox).arg("--list"))?.lines() {
        if applet != "busybox" {
            archive.link(&format!("bin/{applet}"), "busybox");
        }
    }
    let selected = match &kernel.modules {
        Some(directory) => modules::for_guests(directory)?,
        None => Default::default(),
    };
    for (list_name, selected) in ["modules", "modules.root"].iter().zip(selected) {
        let mut list = String::new();
        for module in selected {
            let name = module.rsplit('/').next().unwrap_or(&module).to_owned();
            let directory = kernel.modules.as_deref().unwrap_or(Path::new("/"));
            let path = directory.join(&module);
            let content =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            archive.file(&format!("lib/modules/{name}"), 0o644, &content);
            list += &format!("/lib/modules/{name}\n");
        }
        archive.file(list_name, 0o644, list.as_bytes());
    }
    Ok(archive.finish())
}
