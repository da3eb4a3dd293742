//! The test guests under `guests/`, each booted as domain 0.
//!
//! A guest ends with `GUEST PASS` or `GUEST FAIL` on the console, and leaves by QEMU's debug exit device.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{Case, Verdict};
use crate::dom0::Hypervisor;
use crate::machine::{self, Boot, Chipset, MachineOptions, Net};
use crate::session::{self, End, Plan};
use crate::workspace::RunDirectory;
use crate::{debian, image};

/// The cases: one for each guest, and one of somebody else's.
pub(crate) fn cases(hypervisor: Option<&str>) -> Result<Vec<Case>> {
    let mut cases = own_cases(hypervisor)?;
    let hypervisor = hypervisor.map(str::to_owned);
    cases.push(Case {
        group: "guests",
        name: "grub".to_owned(),
        command: "cargo xtask test guests/grub".to_owned(),
        run: Box::new(move || grub(hypervisor.as_deref())),
    });
    Ok(cases)
}

/// Debian's GRUB for paravirtual guests: linked at 0, with VIRT_BASE 0. As domain 0 it has no console to say
/// anything on; that its image is taken and started is what there is to see.
fn grub(hypervisor: Option<&str>) -> Result<Verdict> {
    let package = debian::cached("grub-xen", |directory| {
        debian::unpack("grub-xen-host", None, directory)
    })?;
    let kernel = package.join("usr/lib/grub-xen/grub-x86_64-xen.bin");
    let directory = RunDirectory::new()?;
    let boot = boot(hypervisor, &kernel, "words  for GRUB", &directory)?;
    let plan = Plan {
        timeout: Some(Duration::from_secs(240)),
        until: Some("Serial input to DOM0".to_owned()),
        linger: Duration::from_secs(2),
        ..Plan::default()
    };
    let qemu = machine::qemu(&machine("max"), &boot, &directory)?;
    let outcome = session::unattended(qemu, &directory, &plan)?;
    let entered = outcome.console.lines().any(|line| {
        line.contains("ENTRY ADDRESS") && line.trim_end().ends_with("0000000000000000")
    });
    if entered && outcome.end == End::Reached {
        return Ok(Verdict::passed(&outcome));
    }
    Ok(Verdict::failed(
        "GRUB was not started at its entry",
        &outcome,
    ))
}

fn own_cases(hypervisor: Option<&str>) -> Result<Vec<Case>> {
    Ok(image::guest_names()?
        .into_iter()
        .map(|program| {
            let name = program.trim_start_matches("guest_").to_owned();
            let option = hypervisor.map_or(String::new(), |name| format!(" --hypervisor {name}"));
            let hypervisor = hypervisor.map(str::to_owned);
            Case {
                group: "guests",
                command: format!("cargo xtask test 'guests/{name}'{option}"),
                run: Box::new({
                    let program = program.clone();
                    move || run(&program, hypervisor.as_deref())
                }),
                name,
            }
        })
        .collect())
}

/// A small machine.
pub(crate) fn machine(cpu: &str) -> MachineOptions {
    MachineOptions {
        cpu: cpu.to_owned(),
        smp: 1,
        memory: 256,
        machine: Chipset::Pc,
        disk: Vec::new(),
        net: Net::None,
        icount: false,
        qemu_args: "-device isa-debug-exit,iobase=0xf4,iosize=4".to_owned(),
    }
}

fn run(name: &str, hypervisor: Option<&str>) -> Result<Verdict> {
    let image = image::build_guests()?
        .into_iter()
        .find(|image| image.file_name().is_some_and(|file| file == name))
        .ok_or_else(|| anyhow::anyhow!("the guest {name} was not built"))?;
    let directory = RunDirectory::new()?;
    let boot = boot(hypervisor, &image, &format!("guest={name}"), &directory)?;
    let plan = Plan {
        timeout: Some(Duration::from_secs(240)),
        until: Some("GUEST ".to_owned()),
        linger: Duration::from_millis(200),
        ..Plan::default()
    };
    let outcome = session::unattended(
        machine::qemu(&machine("max"), &boot, &directory)?,
        &directory,
        &plan,
    )?;
    let passed = outcome.console.contains("GUEST PASS");
    // The machine may end before we have looked.
    if passed && matches!(outcome.end, End::Reached | End::PowerOff | End::Qemu(_)) {
        return Ok(Verdict::passed(&outcome));
    }
    Ok(Verdict::failed("the guest did not pass", &outcome))
}

/// A kernel as domain 0, without initrd.
pub(crate) fn boot(
    hypervisor: Option<&str>,
    kernel: &Path,
    arguments: &str,
    directory: &RunDirectory,
) -> Result<Boot> {
    let Hypervisor::Image { path, .. } = Hypervisor::find(hypervisor, directory)? else {
        anyhow::bail!("a guest needs a hypervisor");
    };
    Ok(Boot::Kernel {
        image: path,
        command_line:
            "console=com1 com1=115200,8n1 dom0_mem=64M,max:64M loglvl=all guest_loglvl=all noreboot"
                .to_owned(),
        initrd: Some(machine::multiboot_module(kernel, arguments)),
    })
}
