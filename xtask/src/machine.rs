//! QEMU's command line for a machine, whatever it boots.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::workspace::RunDirectory;

/// QEMU's chipsets: i440FX with PIIX, or Q35 with ICH9.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum Chipset {
    Pc,
    Q35,
}

/// Which network cards the machine has.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum Net {
    Virtio,
    E1000,
    Both,
    None,
}

/// The machine's make.
#[derive(Args, Clone, Debug)]
pub(crate) struct MachineOptions {
    /// QEMU's CPU model, with its options
    #[arg(long, default_value = "max")]
    pub(crate) cpu: String,
    /// Number of CPUs
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) smp: u32,
    /// The machine's memory
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) memory: u32,
    #[arg(long, value_enum, default_value_t = Chipset::Pc)]
    pub(crate) machine: Chipset,
    /// A raw or qcow2 disk image, or `@80M`: an empty one for this run. Its bus: virtio, ahci, ide [default: virtio]
    #[arg(long, value_name = "PATH[:BUS]")]
    pub(crate) disk: Vec<String>,
    /// Network cards, each on a network of its own with the host
    #[arg(long, value_enum, default_value_t = Net::Both)]
    pub(crate) net: Net,
    /// One virtual nanosecond is one instruction, all CPUs take turns on one host thread: figures that repeat
    #[arg(long)]
    pub(crate) icount: bool,
    /// More arguments of QEMU, split at spaces
    #[arg(long, value_name = "S", default_value = "", allow_hyphen_values = true)]
    pub(crate) qemu_args: String,
}

/// What the machine starts.
#[derive(Clone, Debug)]
pub(crate) enum Boot {
    /// A kernel (Linux's, or multiboot), its command line, and QEMU's `-initrd` where there is one.
    Kernel {
        image: PathBuf,
        command_line: String,
        initrd: Option<String>,
    },
    /// A CD.
    Iso(PathBuf),
}

/// A multiboot module for QEMU's `-initrd`: file and arguments, its commas doubled.
pub(crate) fn multiboot_module(file: &Path, arguments: &str) -> String {
    let word = if arguments.is_empty() {
        file.display().to_string()
    } else {
        format!("{} {arguments}", file.display())
    };
    word.replace(',', ",,")
}

/// QEMU with everything but its serial ports and monitor. It dies with this process.
pub(crate) fn qemu(
    options: &MachineOptions,
    boot: &Boot,
    directory: &RunDirectory,
) -> Result<Command> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-vga",
        "std",
    ]);
    if options.icount {
        command.args(["-accel", "tcg", "-icount", "shift=0,sleep=off"]);
    } else if options.smp > 1 {
        command.args(["-accel", "tcg,thread=multi"]);
    } else {
        command.args(["-accel", "tcg"]);
    }
    command.args([
        "-machine",
        match options.machine {
            Chipset::Pc => "pc",
            Chipset::Q35 => "q35",
        },
    ]);
    command.args(["-cpu", &options.cpu]);
    command.args(["-smp", &options.smp.to_string()]);
    command.args(["-m", &options.memory.to_string()]);
    disks(&mut command, options, directory)?;
    network(&mut command, options.net);
    match boot {
        Boot::Kernel {
            image,
            command_line,
            initrd,
        } => {
            command.arg("-kernel").arg(image);
            command.args(["-append", command_line]);
            if let Some(initrd) = initrd {
                command.args(["-initrd", initrd]);
            }
        }
        Boot::Iso(path) => {
            command.arg("-cdrom").arg(path).args(["-boot", "d"]);
        }
    }
    command.args(options.qemu_args.split_whitespace());
    Ok(command)
}

fn disks(command: &mut Command, options: &MachineOptions, directory: &RunDirectory) -> Result<()> {
    let mut ahci_ports = 0;
    for (number, disk) in options.disk.iter().enumerate() {
        let (path, bus) = match disk.rsplit_once(':') {
            Some((path, bus @ ("virtio" | "ahci" | "ide"))) => (path, bus),
            _ => (disk.as_str(), "virtio"),
        };
        let format = if path.ends_with(".qcow2") {
            "qcow2"
        } else {
            "raw"
        };
        let path = match path.strip_prefix('@') {
            Some(size) => scratch_disk(directory, number, size)?,
            None => path.to_owned(),
        };
        let escaped = path.replace(',', ",,");
        command.args([
            "-drive",
            &format!("if=none,id=disk{number},file={escaped},format={format},discard=unmap"),
        ]);
        let device = match bus {
            "virtio" => format!("virtio-blk-pci,drive=disk{number}"),
            "ahci" => {
                // Q35 has an AHCI controller of its own, the buses `ide.0` to `ide.5`.
                let controller = match options.machine {
                    Chipset::Q35 => "ide".to_owned(),
                    Chipset::Pc => {
                        if ahci_ports == 0 {
                            command.args(["-device", "ich9-ahci,id=ahci"]);
                        }
                        "ahci".to_owned()
                    }
                };
                ahci_ports += 1;
                format!(
                    "ide-hd,bus={controller}.{},drive=disk{number}",
                    ahci_ports - 1
                )
            }
            _ => format!("ide-hd,drive=disk{number}"),
        };
        command.args(["-device", &device]);
    }
    Ok(())
}

/// An empty raw disk of a size such as `80M`.
fn scratch_disk(directory: &RunDirectory, number: usize, size: &str) -> Result<String> {
    let mebibytes: u64 = size
        .strip_suffix('M')
        .and_then(|digits| digits.parse().ok())
        .with_context(|| format!("--disk @{size}: expected a size in MiB, such as @80M"))?;
    let path = directory.join(&format!("disk{number}"));
    File::create(&path)?.set_len(mebibytes << 20)?;
    Ok(path.display().to_string())
}

fn network(command: &mut Command, net: Net) {
    // No boot ROMs: they cost seconds of emulation.
    if matches!(net, Net::Virtio | Net::Both) {
        command.args(["-netdev", "user,id=net0,net=10.0.2.0/24,ipv6=off"]);
        command.args([
            "-device",
            "virtio-net-pci,netdev=net0,romfile=,mac=52:54:00:00:00:01",
        ]);
    }
    if matches!(net, Net::E1000 | Net::Both) {
        command.args(["-netdev", "user,id=net1,net=10.0.3.0/24,ipv6=off"]);
        command.args([
            "-device",
            "e1000,netdev=net1,romfile=,mac=52:54:00:00:00:02",
        ]);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::multiboot_module;

    #[test]
    fn commas_do_not_split_modules() {
        assert_eq!(
            multiboot_module(Path::new("/k"), "console=hvc0,a b"),
            "/k console=hvc0,,a b"
        );
        assert_eq!(multiboot_module(Path::new("/i,x"), ""), "/i,,x");
    }
}
