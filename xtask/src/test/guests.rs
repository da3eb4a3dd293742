//! The test guests under `guests/`, each booted as domain 0.
//!
//! A guest ends with `GUEST PASS` or `GUEST FAIL` on the console, and leaves by QEMU's debug exit device.

use std::fs;
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

/// What `guests/start_info` expects, to the byte.
const START_INFO_ARGUMENTS: &str = "test  \"x  y\" z=1 'q' -- tail ";
/// Guests that look at what differs between processors.
const EVERY_CPU: [&str; 2] = ["guest_traps", "guest_privileged"];

/// A run of one of our own guests.
#[derive(Clone, Debug)]
struct Run {
    program: String,
    cpu: &'static str,
    arguments: &'static str,
    has_initrd: bool,
}

fn own_cases(hypervisor: Option<&str>) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for program in image::guest_names()? {
        let name = program.trim_start_matches("guest_").to_owned();
        let is_start_info = program.starts_with("guest_start_info");
        let run = Run {
            cpu: "max",
            arguments: match hypervisor {
                _ if is_start_info => START_INFO_ARGUMENTS,
                // Xen itself does not outlive all that Xenolith has to.
                Some(_) => "careful=1",
                None => "",
            },
            has_initrd: false,
            program,
        };
        if is_start_info {
            let with_initrd = Run {
                has_initrd: true,
                ..run.clone()
            };
            cases.push(own_case(format!("{name} initrd"), with_initrd, hypervisor));
        }
        if EVERY_CPU.contains(&run.program.as_str()) {
            for cpu in ["qemu64", "EPYC,-monitor"] {
                let on_cpu = Run { cpu, ..run.clone() };
                cases.push(own_case(format!("{name} {cpu}"), on_cpu, hypervisor));
            }
        }
        cases.push(own_case(name, run, hypervisor));
    }
    Ok(cases)
}

fn own_case(name: String, own: Run, hypervisor: Option<&str>) -> Case {
    let option = hypervisor.map_or(String::new(), |name| format!(" --hypervisor {name}"));
    let hypervisor = hypervisor.map(str::to_owned);
    Case {
        group: "guests",
        command: format!("cargo xtask test 'guests/{name}'{option}"),
        run: Box::new(move || run(&own, hypervisor.as_deref())),
        name,
    }
}

/// The initrd that `guests/start_info` knows.
fn known_initrd() -> Vec<u8> {
    (0..3 * 4096 + 123_usize)
        .map(|position| (position * 7 + (position >> 8)) as u8)
        .collect()
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

fn run(run: &Run, hypervisor: Option<&str>) -> Result<Verdict> {
    let image = image::build_guests()?
        .into_iter()
        .find(|image| {
            image
                .file_name()
                .is_some_and(|file| file == run.program.as_str())
        })
        .ok_or_else(|| anyhow::anyhow!("the guest {} was not built", run.program))?;
    let directory = RunDirectory::new()?;
    let mut boot = boot(hypervisor, &image, run.arguments, &directory)?;
    if run.has_initrd
        && let Boot::Kernel {
            initrd: Some(modules),
            ..
        } = &mut boot
    {
        let path = directory.join("initrd");
        fs::write(&path, known_initrd())?;
        *modules = format!("{modules},{}", machine::multiboot_module(&path, ""));
    }
    let plan = Plan {
        timeout: Some(Duration::from_secs(240)),
        until: Some("GUEST ".to_owned()),
        linger: Duration::from_millis(200),
        ..Plan::default()
    };
    let outcome = session::unattended(
        machine::qemu(&machine(run.cpu), &boot, &directory)?,
        &directory,
        &plan,
    )?;
    // A guest's end by the debug exit device comes a moment later: meanwhile it goes on, and halts the machine.
    let ended_well = match &outcome.end {
        End::Reached | End::PowerOff | End::Qemu(_) => true,
        End::Fatal(line) => line.contains("Hardware Dom0 halted"),
        _ => false,
    };
    if ended_well && outcome.console.contains("GUEST PASS") {
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
