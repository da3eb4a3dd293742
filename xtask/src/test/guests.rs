//! The test guests under `guests/`, each booted as domain 0.
//!
//! A guest ends with `GUEST PASS` or `GUEST FAIL` on the console, and leaves by QEMU's debug exit device.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{Case, Verdict};
use crate::dom0::{CHECKED, Hypervisor};
use crate::machine::{self, Boot, Chipset, MachineOptions, Net};
use crate::session::{self, End, Outcome, Plan};
use crate::workspace::RunDirectory;
use crate::{debian, image};

/// The cases: one for each guest, and one of somebody else's.
pub(crate) fn cases(full: bool, hypervisor: Option<&str>) -> Result<Vec<Case>> {
    let mut cases = own_cases(full, hypervisor)?;
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
    let kernel = debian::grub_xen()?;
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

/// Numbers of fighters and CPUs; seconds that they fight, in short and with `--full`.
const FIGHTS: [(u32, u32); 2] = [(4, 2), (4, 4)];
const FIGHT_SECONDS: u64 = 12;
const FULL_FIGHT_SECONDS: u64 = 300;

/// A run of one of our own guests.
#[derive(Clone, Debug)]
struct Run {
    program: String,
    cpu: &'static str,
    arguments: String,
    has_initrd: bool,
    /// Instructions are counted in place of time.
    icount: bool,
    /// The guest's vCPUs, and the machine's CPUs.
    vcpus: u32,
    cpus: u32,
    /// The guest asks the hypervisor for audits, which have to find everything balanced.
    is_audited: bool,
}

/// Numbers of vCPUs and CPUs for guests that use several.
const VCPUS_AND_CPUS: [(u32, u32); 7] =
    [(1, 1), (4, 1), (4, 4), (4, 2), (32, 2), (128, 2), (128, 4)];
/// With more vCPUs than this, instructions are counted in place of time: on a busy host, what a CPU loses by not running
/// is waited for by each vCPU.
const MOST_BY_TIME: u32 = 32;
/// The model for counting instructions.
const COUNTING_CPU: &str = "EPYC,-svm,-monitor";

fn own_cases(full: bool, hypervisor: Option<&str>) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let is_ours = hypervisor.is_none_or(|name| name == CHECKED);
    for program in image::guest_names()? {
        let name = program.trim_start_matches("guest_").to_owned();
        let is_start_info = program.starts_with("guest_start_info");
        let run = Run {
            cpu: "max",
            arguments: if is_start_info {
                START_INFO_ARGUMENTS.to_owned()
            } else if is_ours {
                String::new()
            } else {
                // Xen itself does not outlive all that Xenolith has to.
                "careful=1".to_owned()
            },
            has_initrd: false,
            icount: false,
            program,
            vcpus: 1,
            cpus: 1,
            is_audited: false,
        };
        if run.program.starts_with("guest_vcpus") {
            for (vcpus, cpus) in VCPUS_AND_CPUS {
                if vcpus > MOST_BY_TIME && cpus > 2 && !full {
                    continue;
                }
                let icount = vcpus > MOST_BY_TIME;
                let several = Run {
                    cpu: if icount { COUNTING_CPU } else { run.cpu },
                    icount,
                    vcpus,
                    cpus,
                    arguments: format!("{} vcpus={vcpus}", run.arguments),
                    ..run.clone()
                };
                let name = format!("{name} {vcpus} on {cpus}");
                cases.push(own_case(name, several, hypervisor));
            }
            continue;
        }
        if run.program.starts_with("guest_fight") {
            let seconds = if full {
                FULL_FIGHT_SECONDS
            } else {
                FIGHT_SECONDS
            };
            for (vcpus, cpus) in FIGHTS {
                let fight = Run {
                    // One more, which nobody ever starts.
                    vcpus: vcpus + 1,
                    cpus,
                    arguments: format!("{} seconds={seconds}", run.arguments),
                    is_audited: is_ours,
                    ..run.clone()
                };
                let name = format!("{name} {vcpus} on {cpus}");
                cases.push(own_case(name, fight, hypervisor));
            }
            continue;
        }
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
    let mut options = format!("dom0_max_vcpus={}", run.vcpus);
    if run.is_audited {
        // A hang says where. (On a busy host a CPU may have to wait long.)
        options += " watchdog_timeout=60";
    }
    let mut boot = boot_with(hypervisor, &image, &run.arguments, &options, &directory)?;
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
        timeout: Some(Duration::from_secs(if run.is_audited { 900 } else { 240 })),
        until: Some("GUEST ".to_owned()),
        linger: Duration::from_millis(200),
        ..Plan::default()
    };
    let outcome = session::unattended(
        machine::qemu(
            &MachineOptions {
                smp: run.cpus,
                icount: run.icount,
                ..machine(run.cpu)
            },
            &boot,
            &directory,
        )?,
        &directory,
        &plan,
    )?;
    // A guest's end by the debug exit device comes a moment later: meanwhile it goes on, and halts the machine.
    let ended_well = match &outcome.end {
        End::Reached | End::PowerOff | End::Qemu(_) => true,
        End::Fatal(line) => line.contains("Hardware Dom0 halted"),
        _ => false,
    };
    if run.is_audited {
        let count = |verdict: &str| {
            let lines = outcome.console.lines();
            lines
                .filter(|line| line.contains("audit: ") && line.ends_with(verdict))
                .count()
        };
        if count(": balanced") < 2 || outcome.console.contains("unbalanced") {
            return Ok(Verdict::failed("the audits", &outcome));
        }
    }
    if ended_well && outcome.console.contains("GUEST PASS") {
        return Ok(Verdict::passed(&outcome));
    }
    Ok(Verdict::failed(&reason(&outcome), &outcome))
}

/// What a guest that did not pass said of it, wherever on its console: what follows may be long.
fn reason(outcome: &Outcome) -> String {
    let failures = outcome
        .console
        .lines()
        .filter(|line| line.starts_with("not so at") || line.starts_with("check failed at"))
        .take(10);
    let mut reason = vec!["the guest did not pass"];
    reason.extend(failures);
    reason.join("\n")
}

/// A kernel as domain 0, without initrd.
pub(crate) fn boot(
    hypervisor: Option<&str>,
    kernel: &Path,
    arguments: &str,
    directory: &RunDirectory,
) -> Result<Boot> {
    boot_with(hypervisor, kernel, arguments, "", directory)
}

/// A kernel as domain 0, without initrd, with more options of the hypervisor.
pub(crate) fn boot_with(
    hypervisor: Option<&str>,
    kernel: &Path,
    arguments: &str,
    options: &str,
    directory: &RunDirectory,
) -> Result<Boot> {
    let Hypervisor::Image { path, .. } = Hypervisor::find(hypervisor, directory)? else {
        anyhow::bail!("a guest needs a hypervisor");
    };
    Ok(Boot::Kernel {
        image: path,
        command_line: format!(
            "console=com1 com1=115200,8n1 dom0_mem=64M,max:64M loglvl=all guest_loglvl=all noreboot {options}"
        ),
        initrd: Some(machine::multiboot_module(kernel, arguments)),
    })
}
