//! Bad input: whatever it is given, the hypervisor says in one line what is wrong, and stops. It never resets
//! the machine (which is how a triple fault looks).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::broken_boot::LIES;
use super::guests::machine as small_machine;
use super::{Case, Verdict};
use crate::elf32::Container;
use crate::machine::{self, Boot};
use crate::session::{self, End, Plan};
use crate::workspace::RunDirectory;
use crate::{debian, image, symbols};

const ARGUMENTS: &str = "console=com1 com1=115200,8n1 loglvl=all noreboot";
/// The hypervisor's last line.
const STOPPED: &str = "stopped";

/// What is wrong with the module that is to be domain 0's kernel.
type Spoil = fn(&RunDirectory) -> Result<Option<PathBuf>>;

struct Bad {
    name: &'static str,
    /// What the hypervisor has to say in one line: all of these.
    says: &'static [&'static str],
    arguments: &'static str,
    cpu: &'static str,
    kernel: Spoil,
}

const BAD: Bad = Bad {
    name: "",
    says: &[],
    arguments: "",
    cpu: "max",
    kernel: good_kernel,
};

const CASES: &[Bad] = &[
    Bad {
        name: "no module",
        says: &["module"],
        kernel: |_| Ok(None),
        ..BAD
    },
    Bad {
        name: "no kernel",
        says: &["not a kernel"],
        kernel: text,
        ..BAD
    },
    Bad {
        name: "empty module",
        says: &["not a kernel"],
        kernel: |directory| file(directory, b"\n"),
        ..BAD
    },
    Bad {
        name: "32-bit kernel",
        says: &["32-bit"],
        kernel: |directory| file(directory, &elf(1, &[])),
        ..BAD
    },
    Bad {
        name: "kernel without notes",
        says: &["no Xen ELF notes"],
        kernel: |directory| file(directory, &elf(2, &[])),
        ..BAD
    },
    Bad {
        name: "kernel for PVH only",
        says: &["PVH"],
        kernel: |directory| file(directory, &elf(2, &pvh_note())),
        ..BAD
    },
    Bad {
        name: "truncated ELF",
        says: &["truncated"],
        kernel: |directory| file(directory, elf(2, &[]).get(..200).unwrap_or_default()),
        ..BAD
    },
    Bad {
        name: "truncated bzImage",
        says: &["truncated"],
        kernel: half,
        ..BAD
    },
    Bad {
        name: "corrupt compressed data",
        says: &["corrupt"],
        kernel: corrupt,
        ..BAD
    },
    Bad {
        name: "domain 0 larger than memory",
        says: &["dom0_mem"],
        arguments: "dom0_mem=64G",
        ..BAD
    },
    Bad {
        name: "domain 0 larger than memory, by its least",
        says: &["dom0_mem"],
        arguments: "dom0_mem=min:64G",
        ..BAD
    },
    Bad {
        name: "domain 0 smaller than its kernel",
        says: &["the domain has"],
        arguments: "dom0_mem=8M",
        ..BAD
    },
    Bad {
        name: "CPU without NX",
        says: &["NX"],
        cpu: "qemu64,-nx",
        ..BAD
    },
    Bad {
        name: "CPU without SYSCALL",
        says: &["SYSCALL"],
        cpu: "qemu64,-syscall",
        ..BAD
    },
    Bad {
        name: "CPU without long mode",
        says: &["64-bit"],
        cpu: "qemu32",
        ..BAD
    },
];

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    let inputs = CASES.iter().map(|bad| case(bad.name, move || input(bad)));
    let lies = LIES.iter().map(|lie| {
        case(lie.name, move || {
            let directory = RunDirectory::new()?;
            let built = image::build()?;
            let container = Container::from_elf64(&symbols::fill(fs::read(&built.linked)?)?)?;
            let kernel = fs::read(debian::kernel("6.1")?.image)?;
            let image = directory.join("image");
            fs::write(&image, lie.image(&container, &kernel)?)?;
            let boot = Boot::Kernel {
                image,
                command_line: ARGUMENTS.to_owned(),
                initrd: None,
            };
            judge("max", &boot, &[lie.says], &directory)
        })
    });
    inputs.chain(lies).collect()
}

fn case(name: &str, run: impl Fn() -> Result<Verdict> + Send + Sync + 'static) -> Case {
    Case {
        group: "bad-input",
        name: name.to_owned(),
        command: format!("cargo xtask test 'bad-input/{name}'"),
        run: Box::new(run),
    }
}

fn input(bad: &Bad) -> Result<Verdict> {
    let directory = RunDirectory::new()?;
    let boot = Boot::Kernel {
        image: image::build()?.multiboot,
        command_line: format!("{ARGUMENTS} {}", bad.arguments),
        initrd: (bad.kernel)(&directory)?
            .map(|kernel| machine::multiboot_module(&kernel, "console=hvc0")),
    };
    judge(bad.cpu, &boot, bad.says, &directory)
}

fn judge(cpu: &str, boot: &Boot, says: &[&str], directory: &RunDirectory) -> Result<Verdict> {
    let plan = Plan {
        timeout: Some(Duration::from_secs(120)),
        until: Some(STOPPED.to_owned()),
        // It has to stay stopped.
        linger: Duration::from_secs(2),
        ..Plan::default()
    };
    let qemu = machine::qemu(&small_machine(cpu), boot, directory)?;
    let outcome = session::unattended(qemu, directory, &plan)?;
    if outcome.end != End::Reached {
        return Ok(Verdict::failed("it did not stop with a word", &outcome));
    }
    // Its last words, not what it says of its command line before.
    let last_words = |line: &&str| line.starts_with("Xenolith: ") || line.contains("Panic on CPU");
    match outcome
        .console
        .lines()
        .filter(last_words)
        .find(|line| says.iter().all(|part| line.contains(part)))
    {
        Some(line) => Ok(Verdict::Passed(
            format!("“{}”", line.trim()),
            outcome.console.clone(),
        )),
        None => Ok(Verdict::failed(&format!("no line says {says:?}"), &outcome)),
    }
}

fn good_kernel(_: &RunDirectory) -> Result<Option<PathBuf>> {
    Ok(Some(debian::kernel("6.1")?.image))
}

fn file(directory: &RunDirectory, content: &[u8]) -> Result<Option<PathBuf>> {
    let path = directory.join("kernel");
    fs::write(&path, content)?;
    Ok(Some(path))
}

fn text(directory: &RunDirectory) -> Result<Option<PathBuf>> {
    file(
        directory,
        "This is a text, not a kernel.\n".repeat(1000).as_bytes(),
    )
}

fn debian_kernel() -> Result<Vec<u8>> {
    let path = debian::kernel("6.1")?.image;
    fs::read(&path).with_context(|| format!("cannot read {}", Path::new(&path).display()))
}

fn half(directory: &RunDirectory) -> Result<Option<PathBuf>> {
    let kernel = debian_kernel()?;
    file(
        directory,
        kernel.get(..kernel.len() / 2).unwrap_or_default(),
    )
}

fn corrupt(directory: &RunDirectory) -> Result<Option<PathBuf>> {
    let mut kernel = debian_kernel()?;
    let middle = kernel.len() / 2;
    kernel
        .iter_mut()
        .skip(middle)
        .take(4096)
        .for_each(|byte| *byte = 0xff);
    file(directory, &kernel)
}

/// A tiny executable of class 1 (32-bit) or 2, with one load segment and, where there is one, a note segment.
fn elf(class: u8, note: &[u8]) -> Vec<u8> {
    let mut out = vec![
        0x7f, b'E', b'L', b'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    put(&2_u16.to_le_bytes());
    put(&if class == 1 { 3_u16 } else { 62 }.to_le_bytes());
    put(&1_u32.to_le_bytes());
    if class == 1 {
        for value in [0x10_0000_u32, 0, 0, 0] {
            put(&value.to_le_bytes());
        }
        for value in [52_u16, 32, 0, 40, 0, 0] {
            put(&value.to_le_bytes());
        }
        return out;
    }
    for value in [0x10_0000_u64, 64, 0] {
        put(&value.to_le_bytes());
    }
    put(&0_u32.to_le_bytes());
    let count = if note.is_empty() { 1_u16 } else { 2 };
    for value in [64_u16, 56, count, 64, 0, 0] {
        put(&value.to_le_bytes());
    }
    // (type, flags, offset, address, size)
    let note_size = note.len() as u64;
    for (kind, flags, offset, address, size) in [
        (1_u32, 5_u32, 0x1000_u64, 0x10_0000_u64, 0x1000_u64),
        (4, 4, 0x800, 0x20_0000, note_size),
    ] {
        put(&kind.to_le_bytes());
        put(&flags.to_le_bytes());
        for value in [offset, address, address, size, size, 0x1000] {
            put(&value.to_le_bytes());
        }
    }
    out.resize(0x800, 0);
    out.extend_from_slice(note);
    out.resize(0x1000, 0);
    out.resize(0x2000, 0xf4);
    out
}

/// XEN_ELFNOTE_PHYS32_ENTRY.
fn pvh_note() -> Vec<u8> {
    let mut note: Vec<u8> = [4_u32, 4, 18]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    note.extend_from_slice(b"Xen\0");
    note.extend_from_slice(&0x10_0000_u32.to_le_bytes());
    note
}
