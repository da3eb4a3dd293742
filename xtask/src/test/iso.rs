//! The ISO: GRUB loads the compressed image by multiboot2, and domain 0 runs as with QEMU's loader.

use std::fs;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Case, Verdict};
use crate::dom0;
use crate::machine::{self, Boot, Chipset};
use crate::session::{self, Plan};
use crate::workspace::RunDirectory;
use crate::{image, install, iso};

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, run: fn() -> Result<Verdict>| Case {
        group: "iso",
        name: name.to_owned(),
        command: format!("cargo xtask test 'iso/{name}'"),
        run: Box::new(run),
    };
    vec![
        case("grub-file", || {
            image::check_multiboot2(&image::build()?.multiboot)?;
            Ok(Verdict::Passed(String::new(), String::new()))
        }),
        case("install", installs),
        case("boot pc", || boots(Chipset::Pc)),
        case("boot q35", || boots(Chipset::Q35)),
    ]
}

/// What is installed is where `update-grub` looks for it (`/boot/xen*`), and what GRUB boots.
fn installs() -> Result<Verdict> {
    let directory = RunDirectory::new()?;
    let destination = directory.join("destination");
    install::install(&destination.display().to_string())?;
    let names: Vec<_> = fs::read_dir(destination.join("boot"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let [name] = &names[..] else {
        bail!("installed {names:?}");
    };
    if !(name.starts_with("xenolith-") && name.ends_with("-amd64.gz")) {
        bail!("installed {name}");
    }
    image::check_multiboot2(&destination.join("boot").join(name))?;
    Ok(Verdict::Passed(name.clone(), String::new()))
}

fn boots(chipset: Chipset) -> Result<Verdict> {
    let directory = RunDirectory::new()?;
    let script = directory.join("script");
    fs::write(
        &script,
        "#!/bin/sh\ncat /sys/hypervisor/type /proc/xen/capabilities\n",
    )?;
    let mut options = super::system::dom0_options(&[])?;
    options.script = Some(script);
    options.machine.machine = chipset;
    let parts = dom0::Parts::gather(&options, &directory)?;
    let path = directory.join("xenolith.iso");
    iso::build(&options, &parts, &path)?;
    let plan = Plan {
        timeout: Some(Duration::from_secs(400)),
        ..Plan::default()
    };
    let qemu = machine::qemu(&options.machine, &Boot::Iso(path), &directory)?;
    let outcome = session::unattended(qemu, &directory, &plan)?;
    if let Some(complaint) = dom0::complaint(&outcome) {
        return Ok(Verdict::failed(&complaint, &outcome));
    }
    if outcome.script_output == b"xen\ncontrol_d\n" {
        return Ok(Verdict::passed(&outcome));
    }
    Ok(Verdict::failed("domain 0 is none", &outcome))
}
