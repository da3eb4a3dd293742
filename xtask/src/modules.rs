//! Which kernel modules go into domain 0's initramfs, in which order: from depmod's `modules.dep`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What /init loads: Xen's interfaces, and drivers for all disks and network cards that the harness attaches.
const LOADED: &[&str] = &[
    "xenfs",
    "xen-privcmd",
    "xen-evtchn",
    "xen-gntdev",
    "xen-gntalloc",
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "ata_piix",
    "ahci",
    "sd_mod",
    "e1000",
];

/// What is there to be loaded by scripts, and by /init for a root file system.
const AVAILABLE: &[&str] = &[
    // ext4 asks for crc32c by name.
    "crc32c_generic",
    "ext4",
    "xen-blkback",
    "xen-netback",
    "loop",
    "nbd",
    "dm_mod",
    "nf_tables",
    "nft_chain_nat",
    "nft_masq",
    "bridge",
    "tun",
    "virtio_rng",
    "virtio_console",
    "sr_mod",
    "xen-acpi-processor",
    "msr",
];

/// What a guest loads.
const FRONT_ENDS: &[&str] = &["xen-blkfront", "xen-netfront"];

/// What a guest loads besides, whose root file system is on a disk.
const ROOT_ON_DISK: &[&str] = &["crc32c_generic", "ext4"];

/// The modules of a kernel that domain 0 needs.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Paths below the module directory, each after those that it needs.
    pub(crate) all: Vec<String>,
    /// Those of them that /init loads.
    pub(crate) loaded: Vec<String>,
}

/// The modules that a paravirtual guest needs, and those for a root file system on a disk; each after those that it
/// needs.
pub(crate) fn for_guests(directory: &Path) -> Result<[Vec<String>; 2]> {
    let text = dependency_file(directory)?;
    let dependencies = parse(&text);
    Ok([FRONT_ENDS, ROOT_ON_DISK].map(|names| in_order(&dependencies, names.iter())))
}

fn dependency_file(directory: &Path) -> Result<String> {
    let path = directory.join("modules.dep");
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Selects from the module directory of a kernel.
pub(crate) fn select(directory: &Path) -> Result<Selection> {
    let text = dependency_file(directory)?;
    let dependencies = parse(&text);
    Ok(Selection {
        all: in_order(&dependencies, LOADED.iter().chain(AVAILABLE)),
        loaded: in_order(&dependencies, LOADED.iter()),
    })
}

/// Module name to its path and the paths of what it needs, the first to be loaded last (`modules.dep(5)`).
type Dependencies<'a> = BTreeMap<String, (&'a str, Vec<&'a str>)>;

fn parse(text: &str) -> Dependencies<'_> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| {
            (
                module_name(path),
                (path, needs.split_whitespace().collect()),
            )
        })
        .collect()
}

fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// A name that is not there is built into this kernel, or not in this version.
fn in_order<'a>(
    dependencies: &Dependencies<'_>,
    names: impl Iterator<Item = &'a &'a str>,
) -> Vec<String> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for name in names {
        let Some((path, needs)) = dependencies.get(&name.replace('-', "_")) else {
            continue;
        };
        for module in needs.iter().rev().chain([path]) {
            if seen.insert(*module) {
                order.push((*module).to_owned());
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::{in_order, parse};

    #[test]
    fn dependencies_come_first_and_once() {
        let dependencies =
            parse("k/a.ko: k/b-x.ko k/c.ko\nk/b-x.ko: k/c.ko\nk/c.ko:\nk/d.ko: k/c.ko\n");
        assert_eq!(
            in_order(&dependencies, ["a", "missing", "d"].iter()),
            ["k/c.ko", "k/b-x.ko", "k/a.ko", "k/d.ko"]
        );
        assert_eq!(
            in_order(&dependencies, ["b_x"].iter()),
            ["k/c.ko", "k/b-x.ko"]
        );
    }
}
