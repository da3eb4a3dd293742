//! `cargo xtask dom0`: boots a hypervisor with a domain 0 and runs a script there, or gives a shell.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::command::run_quietly;
use crate::debian::Kernel;
use crate::initramfs::{self, Extras};
use crate::machine::{self, Boot, MachineOptions};
use crate::session::{self, End, Outcome, Plan};
use crate::setup::{Need, setup};
use crate::workspace::{RunDirectory, VERSION};
use crate::{debian, debian_guest, debian_root, host_server, image};

/// Exit statuses of our own, where the script has none to give.
pub(crate) const STATUS_TIMEOUT: i32 = 124;
pub(crate) const STATUS_NO_END: i32 = 125;

/// The hypervisor that is Xenolith with the checks of debug builds.
pub(crate) const CHECKED: &str = "checked";

/// Domain 0's userland.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum Rootfs {
    /// An initramfs of busybox, kernel modules and our static tools
    Tiny,
    /// A Debian 12 userland with xen-utils-4.17
    Debian,
}

/// Whose store and console daemons domain 0 runs: words of `xen-daemons`.
#[derive(Clone, Debug)]
pub(crate) struct Daemons {
    store: &'static str,
    console: &'static str,
}

impl FromStr for Daemons {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Daemons, String> {
        let (store, console) = text.split_once('+').unwrap_or((text, text));
        let known = |whose: &str| match whose {
            "debian" => Ok("debian"),
            "debian-c" => Ok("debian-c"),
            "ours" => Ok("ours"),
            _ => Err(format!("{whose} is none of debian, debian-c, ours")),
        };
        Ok(Daemons {
            store: known(store)?,
            console: known(console)?,
        })
    }
}

/// The options of `cargo xtask dom0`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Run FILE as root in domain 0, print its output, exit with its status; without it, a shell
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,
    /// Put a file or a directory into domain 0
    #[arg(long, value_name = "SRC:DST")]
    pub(crate) file: Vec<String>,
    /// Put the test guests into domain 0, at /guests
    #[arg(long)]
    pub(crate) guests: bool,
    #[arg(long, value_enum, default_value_t = Rootfs::Tiny)]
    pub(crate) rootfs: Rootfs,
    /// Start the store and the console daemon before the script: debian, debian-c (the store in C), ours, or two
    /// of these joined by a plus: the store's and the console's [default: none]
    #[arg(long, value_name = "WHOSE")]
    pub(crate) daemons: Option<Daemons>,
    /// Put a small paravirtual guest of the same kernel into domain 0's /guest
    #[arg(long)]
    pub(crate) guest: bool,
    /// Attach two disks with Debian userlands after domain 0's own: roots for guests
    #[arg(long)]
    pub(crate) guest_disks: bool,
    /// Without a script: make two Debian domains before the shell (`cargo xtask run` does)
    #[arg(long, requires_all = ["guest", "guest_disks"])]
    pub(crate) two_domains: bool,
    /// A multiboot image; `debian-xen`; `none` for the bare machine; or `checked` for Xenolith with the checks of debug
    /// builds [default: the built Xenolith]
    #[arg(long, value_name = "PATH")]
    pub(crate) hypervisor: Option<String>,
    /// A kernel image, or a series of Debian's kernels: 6.1, 6.12
    #[arg(long, default_value = "6.1")]
    pub(crate) kernel: String,
    /// More arguments of the hypervisor
    #[arg(long, value_name = "S", default_value = "", allow_hyphen_values = true)]
    pub(crate) xen_args: String,
    /// More arguments of domain 0's kernel
    #[arg(long, value_name = "S", default_value = "", allow_hyphen_values = true)]
    pub(crate) kernel_args: String,
    /// Domain 0's memory [default: the machine's less an eighth and 64 MiB]
    #[arg(long, value_name = "MIB")]
    pub(crate) dom0_memory: Option<u32>,
    #[command(flatten)]
    pub(crate) machine: MachineOptions,
    /// Give up after S seconds [default: 600 with a script]
    #[arg(long, value_name = "S")]
    pub(crate) timeout: Option<u64>,
    /// Keep the console's output
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}

/// `cargo xtask run`: a shell in a Debian domain 0 that has made two Debian domains. Whoever asks for a script, or for
/// the bare machine, gets that alone.
pub(crate) fn run(mut options: Options) -> Result<i32> {
    if options.script.is_none() && options.hypervisor.as_deref() != Some("none") {
        options.rootfs = Rootfs::Debian;
        options.guest = true;
        options.guest_disks = true;
        options.two_domains = true;
        options.machine.memory = options.machine.memory.max(1536);
        options.dom0_memory.get_or_insert(768);
        if options.daemons.is_none() {
            options.daemons = Some("ours".parse().map_err(anyhow::Error::msg)?);
        }
    }
    command(&options)
}

/// Runs the command; gives the exit status.
pub(crate) fn command(options: &Options) -> Result<i32> {
    setup(Need::Run)?;
    let directory = RunDirectory::new()?;
    if options.script.is_none() {
        let qemu = prepare(options, &directory)?;
        session::interactive(qemu, options.log.as_deref())?;
        return Ok(0);
    }
    let outcome = run_script(options, &directory, true)?;
    if let Some(complaint) = complaint(&outcome) {
        eprintln!("{}", outcome.console_tail(60));
        eprintln!("dom0: {complaint}");
    }
    Ok(exit_status(&outcome))
}

/// Boots domain 0 with the script and waits for the machine's end.
pub(crate) fn run_script(
    options: &Options,
    directory: &RunDirectory,
    echo_script: bool,
) -> Result<Outcome> {
    let qemu = prepare(options, directory)?;
    let plan = Plan {
        log: options.log.clone(),
        timeout: Some(Duration::from_secs(options.timeout.unwrap_or(600))),
        echo_script,
        until: None,
        linger: Duration::ZERO,
    };
    session::unattended(qemu, directory, &plan)
}

/// What went wrong with a run, other than the script's own failure.
pub(crate) fn complaint(outcome: &Outcome) -> Option<String> {
    match (&outcome.end, outcome.status) {
        (End::PowerOff, Some(_)) => None,
        (End::PowerOff, None) => Some("the machine powered off before the script ended".to_owned()),
        (End::Reset, _) => Some("the machine reset itself".to_owned()),
        (End::Fatal(line), _) => Some(format!("it crashed: {line}")),
        (End::Qemu(what), _) => Some(what.clone()),
        (End::Timeout, _) => Some(format!("no end after {} s", outcome.elapsed.as_secs())),
        (End::NoPowerOff, _) => {
            Some("the script ended, but the machine did not power off".to_owned())
        }
        (End::Interrupted, _) => Some("interrupted".to_owned()),
        (End::Reached, _) => None,
    }
}

/// The status that stands for a run: the script's if all went well.
pub(crate) fn exit_status(outcome: &Outcome) -> i32 {
    match (&outcome.end, outcome.status) {
        (End::PowerOff, Some(status)) => status,
        (End::Timeout, _) => STATUS_TIMEOUT,
        (_, Some(status)) if status != 0 => status,
        _ => STATUS_NO_END,
    }
}

/// Which hypervisor an option names.
#[derive(Clone, Debug)]
pub(crate) enum Hypervisor {
    Bare,
    Image { path: PathBuf, name: String },
}

impl Hypervisor {
    /// Finds, fetches or builds it.
    pub(crate) fn find(option: Option<&str>, directory: &RunDirectory) -> Result<Hypervisor> {
        Ok(match option {
            None => Hypervisor::Image {
                path: image::build()?.multiboot,
                name: format!("xenolith {VERSION}"),
            },
            Some(CHECKED) => Hypervisor::Image {
                path: image::build_checked()?.multiboot,
                name: format!("xenolith {VERSION}, checked"),
            },
            Some("none") => Hypervisor::Bare,
            Some("debian-xen") => Hypervisor::Image {
                path: debian::xen()?,
                name: "Debian's Xen".to_owned(),
            },
            Some(path) => Hypervisor::Image {
                path: uncompressed(Path::new(path), directory)?,
                name: path.to_owned(),
            },
        })
    }
}

/// QEMU's `-kernel` wants an image that is not compressed.
fn uncompressed(path: &Path, directory: &RunDirectory) -> Result<PathBuf> {
    let content = fs::read(path).with_context(|| format!("--hypervisor {}", path.display()))?;
    if !content.starts_with(&[0x1f, 0x8b]) {
        return Ok(path.to_owned());
    }
    let copy = directory.join("hypervisor.gz");
    fs::write(&copy, content)?;
    run_quietly(Command::new("gunzip").arg(&copy))?;
    Ok(directory.join("hypervisor"))
}

/// What a domain 0 is booted from.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) hypervisor: Hypervisor,
    pub(crate) kernel: Kernel,
    pub(crate) initrd: PathBuf,
}

impl Parts {
    /// Builds or fetches all; the server that domain 0 fetches from runs from now on.
    pub(crate) fn gather(options: &Options, directory: &RunDirectory) -> Result<Parts> {
        let hypervisor = Hypervisor::find(options.hypervisor.as_deref(), directory)?;
        let kernel = debian::kernel(&options.kernel)?;
        let tools = image::build_tools()?;
        let initrd = directory.join("initramfs");
        let mut extras = extras(options, &hypervisor, &tools)?;
        if options.guest {
            extras.made = debian_guest::files(&kernel)?;
        }
        fs::write(&initrd, initramfs::build(&kernel, &tools, &extras)?)?;
        Ok(Parts {
            hypervisor,
            kernel,
            initrd,
        })
    }
}

fn extras(options: &Options, hypervisor: &Hypervisor, tools: &[PathBuf]) -> Result<Extras> {
    let port = host_server::start()?;
    let mut tool_names: Vec<String> = tools
        .iter()
        .filter_map(|tool| Some(tool.file_name()?.to_string_lossy().into_owned()))
        .collect();
    let links: Vec<&str> = tool_names
        .iter()
        .flat_map(|name| image::tool_links(name))
        .copied()
        .collect();
    tool_names.extend(links.into_iter().map(str::to_owned));
    let hypervisor_name = match hypervisor {
        Hypervisor::Bare => "none",
        Hypervisor::Image { name, .. } => name,
    };
    let setting = |name: &str, value: String| (name.to_owned(), value);
    let mut files: Vec<_> = options
        .file
        .iter()
        .map(|word| source_and_target(word))
        .collect::<Result<_>>()?;
    if options.guests {
        for guest in image::build_guests()? {
            let name = guest.file_name().unwrap_or_default().to_string_lossy();
            let target = format!("/guests/{name}");
            files.push((guest, target));
        }
    }
    let mut settings = vec![
        setting("ROOT", format!("{:?}", options.rootfs).to_lowercase()),
        setting("HOST", format!("10.0.2.2:{port}")),
        setting("HOST_E1000", format!("10.0.3.2:{port}")),
        setting("OUR_TOOLS", tool_names.join(" ")),
        setting("HYPERVISOR", hypervisor_name.to_owned()),
    ];
    if options.two_domains {
        settings.push(setting("WELCOME", "/guest/two-domains".to_owned()));
    }
    if let Some(daemons) = &options.daemons {
        settings.push(setting("STORE_DAEMON", daemons.store.to_owned()));
        settings.push(setting("CONSOLE_DAEMON", daemons.console.to_owned()));
    }
    Ok(Extras {
        settings,
        made: Vec::new(),
        script: options.script.clone(),
        files,
    })
}

/// Gathers all parts; gives QEMU's command without its channels.
fn prepare(options: &Options, directory: &RunDirectory) -> Result<Command> {
    let parts = Parts::gather(options, directory)?;
    let mut machine = options.machine.clone();
    if options.rootfs == Rootfs::Debian {
        machine.disk.insert(0, root_disk(directory, "root")?);
    }
    if options.guest_disks {
        let place = machine.disk.len().min(1);
        for name in ["beta", "alpha"] {
            machine.disk.insert(place, root_disk(directory, name)?);
        }
    }
    machine::qemu(&machine, &boot(options, &parts), directory)
}

fn root_disk(directory: &RunDirectory, name: &str) -> Result<String> {
    Ok(debian_root::overlay(directory, name)?.display().to_string())
}

fn boot(options: &Options, parts: &Parts) -> Boot {
    let Parts {
        hypervisor,
        kernel,
        initrd,
    } = parts;
    match hypervisor {
        Hypervisor::Bare => Boot::Kernel {
            image: kernel.image.clone(),
            command_line: join(&["console=ttyS0 panic=-1", &options.kernel_args]),
            initrd: Some(initrd.display().to_string().replace(',', ",,")),
        },
        Hypervisor::Image { path, .. } => Boot::Kernel {
            image: path.clone(),
            command_line: hypervisor_arguments(options),
            initrd: Some(
                [
                    machine::multiboot_module(&kernel.image, &kernel_arguments(options)),
                    machine::multiboot_module(initrd, ""),
                ]
                .join(","),
            ),
        },
    }
}

/// Domain 0's kernel's arguments under a hypervisor.
pub(crate) fn kernel_arguments(options: &Options) -> String {
    join(&[
        "console=hvc0 earlyprintk=xen panic=-1",
        &options.kernel_args,
    ])
}

/// The hypervisor's arguments.
pub(crate) fn hypervisor_arguments(options: &Options) -> String {
    let memory = options.machine.memory;
    let dom0_memory = options
        .dom0_memory
        .unwrap_or(memory - memory / 8 - memory.min(64));
    join(&[
        &format!("console=com1 com1=115200,8n1 dom0_mem={dom0_memory}M,max:{dom0_memory}M"),
        "loglvl=all guest_loglvl=all noreboot",
        &options.xen_args,
    ])
}

fn join(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(" ")
}

fn source_and_target(word: &str) -> Result<(PathBuf, String)> {
    match word.rsplit_once(':') {
        Some((source, target)) if target.starts_with('/') => {
            Ok((PathBuf::from(source), target.to_owned()))
        }
        _ => bail!("--file {word}: expected SRC:/PATH/IN/DOMAIN/0"),
    }
}
