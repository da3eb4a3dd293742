//! `cargo xtask bench boot`: instructions from the hypervisor's (or kernel's) entry to domain 0's /init, on the
//! bare machine, on Debian's Xen and on Xenolith, side by side.
//!
//! With QEMU's icount and `shift=0` a virtual nanosecond is an instruction (or a nanosecond of idling), and the
//! time-stamp counter counts them from power-on. /init reads it. What the firmware and the loader need before
//! is measured by an image that does nothing but read the counter at its entry, and taken off.
//!
//! The second figure is the kernel's own clock at that moment, from its log: on the bare machine it starts after
//! the kernel's decompression and early set-up, under a hypervisor with the hypervisor's.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::report::{Row, Table};
use super::{CPU, Measured};
use crate::command::run_quietly;
use crate::cpio::Archive;
use crate::debian;
use crate::dom0::Hypervisor;
use crate::elf32::{Container, Segment};
use crate::machine::{self, Boot, Chipset, MachineOptions, Net};
use crate::session::{self, Plan};
use crate::workspace::{self, RunDirectory};

/// The options of `cargo xtask bench boot`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Debian's kernel
    #[arg(long, default_value = "6.1")]
    kernel: String,
    /// Only this one: none, debian-xen, or an image
    #[arg(long)]
    hypervisor: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            kernel: "6.1".to_owned(),
            hypervisor: None,
        }
    }
}

/// What the kernel's start is to take at most, on its own clock.
const GOAL: f64 = 2.5e9;

/// (name, `--hypervisor`)
const CANDIDATES: &[(&str, Option<&str>)] = &[
    ("bare machine", Some("none")),
    ("Debian's Xen", Some("debian-xen")),
    ("Xenolith", None),
];

/// Runs the bench; the status is not 0 if Xenolith takes no fewer instructions than Debian's Xen.
pub(crate) fn run(options: &Options) -> Result<Measured> {
    let directory = RunDirectory::new()?;
    let init = directory.join("init");
    run_quietly(
        Command::new("cc")
            .args([
                "-O2",
                "-static",
                "-nostdlib",
                "-ffreestanding",
                "-fno-stack-protector",
                "-o",
            ])
            .arg(&init)
            .arg(workspace::root().join("bench/boot_mark.c")),
    )?;
    let mut archive = Archive::default();
    archive.directory("dev");
    archive.device("dev/console", 0o600, 5, 1);
    archive.file("init", 0o755, &fs::read(&init)?);
    let initrd = directory.join("initramfs");
    fs::write(&initrd, archive.finish())?;
    let kernel = debian::kernel(&options.kernel)?.image;

    let firmware = firmware(&kernel, &initrd)?;
    let mut columns = Vec::new();
    let mut marks = Vec::new();
    for &(name, hypervisor) in CANDIDATES {
        if options.hypervisor.is_some() && options.hypervisor.as_deref() != hypervisor {
            continue;
        }
        eprintln!("{name}…");
        marks.push(measure(hypervisor, &kernel, &initrd).with_context(|| name.to_owned())?);
        columns.push(name.to_owned());
    }
    let values = |of: &dyn Fn(&Mark) -> f64| marks.iter().map(|mark| Some(of(mark))).collect();
    let net = |mark: &Mark| (mark.counter - firmware) as f64;
    let rows = vec![
        Row {
            name: "boot".to_owned(),
            about: "from the loader's jump to /init".to_owned(),
            values: values(&net),
            goal: None,
        },
        Row {
            name: "boot_clock".to_owned(),
            about: "the kernel's own clock then, ns".to_owned(),
            values: values(&|mark| mark.kernel_clock * 1e9),
            goal: Some(GOAL),
        },
    ];
    let of = |wanted: &str| {
        let position = columns.iter().position(|name| name == wanted)?;
        marks.get(position).map(net)
    };
    let status = match (of("Debian's Xen"), of("Xenolith")) {
        (Some(peer), Some(ours)) if ours >= peer => {
            eprintln!("Xenolith takes no fewer instructions than Debian's Xen");
            1
        }
        _ => 0,
    };
    let table = Table {
        name: "boot".to_owned(),
        title: format!(
            "To /init of a small initramfs, Linux {}, {CPU}, 1 CPU, 1024 MiB (without the firmware's {:.2} G)",
            options.kernel,
            firmware as f64 / 1e9
        ),
        unit: "instructions".to_owned(),
        columns,
        rows,
    };
    Ok((vec![table], status))
}

fn options() -> MachineOptions {
    MachineOptions {
        cpu: CPU.to_owned(),
        smp: 1,
        memory: 1024,
        machine: Chipset::Pc,
        disk: Vec::new(),
        net: Net::None,
        icount: true,
        qemu_args: String::new(),
    }
}

/// What was found at /init.
struct Mark {
    /// The time-stamp counter.
    counter: u64,
    /// Seconds of the kernel's log.
    kernel_clock: f64,
}

/// Boots to /init.
fn measure(hypervisor: Option<&str>, kernel: &Path, initrd: &Path) -> Result<Mark> {
    let directory = RunDirectory::new()?;
    let boot = match Hypervisor::find(hypervisor, &directory)? {
        Hypervisor::Bare => Boot::Kernel {
            image: kernel.to_owned(),
            command_line: "console=ttyS0 panic=-1".to_owned(),
            initrd: Some(machine::multiboot_module(initrd, "")),
        },
        Hypervisor::Image { path, .. } => Boot::Kernel {
            image: path,
            command_line: "console=com1 com1=115200,8n1 dom0_mem=768M,max:768M noreboot".to_owned(),
            initrd: Some(modules(kernel, initrd)),
        },
    };
    let plan = Plan {
        timeout: Some(Duration::from_secs(600)),
        until: Some("boot mark ".to_owned()),
        ..Plan::default()
    };
    let outcome = session::unattended(
        machine::qemu(&options(), &boot, &directory)?,
        &directory,
        &plan,
    )?;
    let counter = outcome
        .console
        .lines()
        .find_map(|line| u64::from_str_radix(line.split("boot mark ").nth(1)?.trim(), 16).ok());
    // [    1.709209] Run /init as init process
    let kernel_clock = outcome
        .console
        .lines()
        .find(|line| line.contains("Run /init"))
        .and_then(|line| line.split(['[', ']']).nth(1)?.trim().parse().ok());
    match (counter, kernel_clock) {
        (Some(counter), Some(kernel_clock)) => Ok(Mark {
            counter,
            kernel_clock,
        }),
        _ => bail!(
            "/init was not reached ({:?}):\n{}",
            outcome.end,
            outcome.console_tail(40)
        ),
    }
}

fn modules(kernel: &Path, initrd: &Path) -> String {
    format!(
        "{},{}",
        machine::multiboot_module(kernel, "console=hvc0 panic=-1"),
        machine::multiboot_module(initrd, "")
    )
}

/// What the counter is when the loader jumps to an image's entry.
fn firmware(kernel: &Path, initrd: &Path) -> Result<u64> {
    const BASE: u32 = 0x20_0000;
    let mut content = Vec::new();
    // A multiboot header, then the code.
    for word in [0x1bad_b002_u32, 3, 0u32.wrapping_sub(0x1bad_b002 + 3)] {
        content.extend_from_slice(&word.to_le_bytes());
    }
    let entry = BASE + u32::try_from(content.len())?;
    content.extend_from_slice(&[
        0x0f, 0x31, // rdtsc
        0x89, 0xd6, // mov esi, edx
        0x89, 0xc3, // mov ebx, eax
        0xb9, 4, 0, 0, 0, // mov ecx, 4
        0x88, 0xd8, // again: mov al, bl
        0xe6, 0xe9, // out 0xe9, al
        0xc1, 0xeb, 8, // shr ebx, 8
        0xe2, 0xf7, // loop again
        0xb9, 4, 0, 0, 0, // mov ecx, 4
        0x89, 0xf0, // again: mov eax, esi
        0xe6, 0xe9, // out 0xe9, al
        0xc1, 0xee, 8, // shr esi, 8
        0xe2, 0xf7, // loop again
        0xe6, 0xf4, // out 0xf4, al
        0xf4, // hlt
    ]);
    let segment = Segment {
        physical: BASE,
        memory_size: u32::try_from(content.len())?,
        flags: 7,
        content,
    };
    let directory = RunDirectory::new()?;
    let image = directory.join("stopwatch");
    fs::write(
        &image,
        Container {
            entry,
            segments: vec![segment],
        }
        .write()?,
    )?;
    let boot = Boot::Kernel {
        image,
        command_line: String::new(),
        initrd: Some(modules(kernel, initrd)),
    };
    let written = directory.join("count");
    let mut qemu = machine::qemu(&options(), &boot, &directory)?;
    qemu.args([
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=1",
        "-debugcon",
    ]);
    qemu.arg(format!("file:{}", written.display()));
    let plan = Plan {
        timeout: Some(Duration::from_secs(120)),
        ..Plan::default()
    };
    session::unattended(qemu, &directory, &plan)?;
    let bytes = fs::read(&written)?;
    // SeaBIOS may write to the port, too: ours are the last.
    let count = bytes
        .last_chunk::<8>()
        .context("the stopwatch did not run")?;
    Ok(u64::from_le_bytes(*count))
}
