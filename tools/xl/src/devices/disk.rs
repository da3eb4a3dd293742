//! Disks, and their commands.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use clap::Args;
use domain_config::{Access, BackendType, Disk, Format, VirtualDevice};
use qcow2::Image;
use serde_json::json;
use xen_control::DomId;
use xen_sys::LoopDevice;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome, print_json};
use crate::devices::backend::{self, Device, Kind};
use crate::devices::serve::Served;
use crate::devices::{script, script_path};

/// What libxl says by default; our code does what it would.
const BLOCK_SCRIPT: &str = "block";

fn invalid(disk: &Disk, text: impl std::fmt::Display) -> Failure {
    Failure::new(format!("disk {}: {text}", disk.device.name)).with_code(3)
}

/// What a disk's target is.
enum Target {
    /// A block device, by its number.
    Device(u64),
    File,
}

fn target(disk: &Disk) -> Result<(String, Target), Failure> {
    let Some(path) = &disk.target else {
        return Err(invalid(
            disk,
            "empty drives cannot be had by paravirtual guests",
        ));
    };
    // Relative names of the form phy: took are below /dev.
    let path = if disk.backend_type == Some(BackendType::Phy) && !path.starts_with('/') {
        format!("/dev/{path}")
    } else {
        path.clone()
    };
    let metadata =
        fs::metadata(&path).map_err(|error| invalid(disk, format_args!("{path}: {error}")))?;
    let kind = metadata.file_type();
    if kind.is_block_device() {
        Ok((path, Target::Device(metadata.rdev())))
    } else if kind.is_file() {
        Ok((path, Target::File))
    } else {
        Err(invalid(
            disk,
            format_args!("{path} is neither a file nor a block device"),
        ))
    }
}

/// Finds out what cannot work.
pub(crate) fn check(disk: &Disk) -> Outcome {
    if disk.backend.is_some() {
        return Err(invalid(
            disk,
            "disks served by other domains cannot be had yet",
        ));
    }
    if let Some(script) = &disk.script {
        let path = script_path(script);
        if Path::new(&path).exists() {
            return Ok(());
        }
        return Err(invalid(disk, format_args!("there is no script {path}")));
    }
    let is_served = match disk.format {
        Format::Raw => false,
        Format::Qcow2 => true,
        other => {
            return Err(invalid(
                disk,
                format_args!(
                    "the format {} cannot be served, only raw and qcow2",
                    other.name()
                ),
            ));
        }
    };
    match disk.backend_type {
        None => {}
        Some(BackendType::Phy) if !is_served => {}
        Some(BackendType::Qdisk) if is_served => {}
        Some(_) => {
            return Err(invalid(
                disk,
                "raw disks are served by the back end type phy, qcow2 by qdisk",
            ));
        }
    }
    let (path, kind) = target(disk)?;
    if !is_served {
        return Ok(());
    }
    if !matches!(kind, Target::File) {
        return Err(invalid(disk, format_args!("{path} is not a file")));
    }
    // As it is, whoever has it open; the process that serves it waits until it can have it for itself.
    Image::open(Path::new(&path), false)
        .map(drop)
        .map_err(|error| invalid(disk, error))
}

/// A disk whose back end was told to begin.
#[derive(Debug)]
pub(crate) struct Beginning {
    device: Device,
    script: Option<String>,
    /// Until the back end has it open, this keeps it from being let go of.
    loop_device: Option<LoopDevice>,
    served: Option<Served>,
}

/// Sets the disk up and writes its nodes.
pub(crate) fn begin(context: &Context, domain: DomId, disk: &Disk) -> Result<Beginning, Failure> {
    let device = Device {
        kind: Kind::Disk,
        domain,
        number: disk.device.number,
    };
    let read_only = disk.access == Access::ReadOnly;
    let mut loop_device = None;
    let mut served = None;
    let mut number = None;
    let params = if disk.script.is_some() {
        disk.target.clone().unwrap_or_default()
    } else {
        let (path, kind) = target(disk)?;
        number = Some(match kind {
            Target::Device(number) => number,
            Target::File if disk.format == Format::Qcow2 => {
                let started = Served::start(context, Path::new(&path), read_only)
                    .map_err(|error| invalid(disk, format_args!("{path}: {error}")))?;
                context.detail(format_args!("{path} is {}", started.path()));
                let metadata = fs::metadata(started.path())?;
                served = Some(started);
                metadata.rdev()
            }
            Target::File => {
                let file = File::options().read(true).write(!read_only).open(&path);
                let file = file.map_err(|error| invalid(disk, format_args!("{path}: {error}")))?;
                if !Path::new("/dev/loop-control").exists() {
                    backend::need_driver(context, "loop", "loop");
                }
                let device = LoopDevice::new(&file, read_only)
                    .map_err(|error| invalid(disk, format_args!("{path}: {error}")))?;
                context.detail(format_args!("{path} is {}", device.path()));
                let metadata = fs::metadata(device.path())?;
                loop_device = Some(device);
                metadata.rdev()
            }
        });
        path
    };
    let script = disk.script.as_deref().map(script_path);
    let shown_script = script.clone().unwrap_or_else(|| script_path(BLOCK_SCRIPT));
    let (mode, kind) = (
        if read_only { "r" } else { "w" },
        if disk.is_cdrom { "cdrom" } else { "disk" },
    );
    let mut backend = vec![
        ("params", params.as_str()),
        ("script", &shown_script),
        ("removable", if disk.is_cdrom { "1" } else { "0" }),
        ("bootable", "1"),
        ("dev", &disk.device.name),
        ("type", "phy"),
        ("mode", mode),
        ("device-type", kind),
        (
            "discard-enable",
            if disk.discard == Some(false) {
                "0"
            } else {
                "1"
            },
        ),
    ];
    if disk.direct_io_safe {
        backend.push(("direct-io-safe", "1"));
    }
    let physical = number.map(|number| {
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        format!("{major:x}:{minor:x}")
    });
    if let Some(physical) = &physical {
        backend.push(("physical-device", physical));
        backend.push(("hotplug-status", "connected"));
    }
    let virtual_device = device.number.to_string();
    let frontend = [
        ("virtual-device", virtual_device.as_str()),
        ("device-type", kind),
    ];
    device.write(context, &backend, &frontend)?;
    if let Some(script) = &script {
        let path = format!("{}/{}", device.record(), script::NODE);
        context.store()?.write(&path, script)?;
    }
    Ok(Beginning {
        device,
        script,
        loop_device,
        served,
    })
}

impl Beginning {
    /// Waits until the back end has the disk.
    pub(crate) fn finish(self, context: &Context) -> Outcome {
        self.device.wait_until_ready(context, "xen-blkback")?;
        if let Some(script) = &self.script {
            script::add(context, &self.device, script)?;
        }
        self.device.wait_until_open(context)?;
        drop(self.loop_device);
        drop(self.served);
        Ok(())
    }
}

/// Options of `xl block-attach`.
#[derive(Args, Debug)]
pub(crate) struct BlockAttach {
    /// The domain, by name or number
    domain: String,
    /// The disk, as in a configuration, in one word or several
    #[arg(required = true)]
    specification: Vec<String>,
}

impl Run for BlockAttach {
    const NAME: &'static str = "block-attach";
    const ABOUT: &'static str = "Create a new virtual block device";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let text = self.specification.join(",");
        let disk: Disk = text
            .parse()
            .map_err(|error| Failure::new(format!("{error}")))?;
        if context.dry_run {
            println!("{disk}");
            return Ok(());
        }
        check(&disk)?;
        backend::need_driver(context, "vbd", "xen-blkback");
        let taken = super::of_domain(context, info.domain)?;
        let has_it =
            |device: &Device| device.kind == Kind::Disk && device.number == disk.device.number;
        if taken.iter().any(has_it) {
            return Err(Failure::new(format!(
                "domain {} has a disk {} already",
                info.domain, disk.device.name
            )));
        }
        let _working = context.working("waiting for the back end");
        let beginning = begin(context, info.domain, &disk)?;
        let device = beginning.device;
        beginning.finish(context).inspect_err(|_| {
            let _ = super::let_go(context, &device).and_then(|()| device.remove_nodes(context));
        })?;
        crate::record::change(info.handle, |config| config.disks.push(disk))?;
        Ok(())
    }
}

/// Options of `xl block-list`.
#[derive(Args, Debug)]
pub(crate) struct BlockList {
    /// Domains, by name or number
    #[arg(required = true)]
    domains: Vec<String>,
}

impl Run for BlockList {
    const NAME: &'static str = "block-list";
    const ABOUT: &'static str = "List virtual block devices for a domain";

    fn run(self, context: &Context) -> Outcome {
        let mut all = Vec::new();
        if !context.json {
            println!("Vdev  BE  handle state evt-ch ring-ref BE-path                       ");
        }
        for word in &self.domains {
            // As with Xen's `xl`, the others are listed all the same.
            let info = match context.find_domain(word) {
                Ok(info) => info,
                Err(failure) => {
                    eprintln!("{failure}");
                    continue;
                }
            };
            for device in super::of_domain(context, info.domain)? {
                if device.kind != Kind::Disk {
                    continue;
                }
                let front = |name: &str| context.read(&format!("{}/{name}", device.frontend()));
                let number = |text: Option<String>| {
                    text.and_then(|text| text.parse::<i64>().ok()).unwrap_or(-1)
                };
                let state = number(front("state")?);
                let port = number(front("event-channel")?);
                let ring = number(front("ring-ref")?);
                if context.json {
                    all.push(json!({
                        "domid": info.domain, "vdev": device.number, "backend": 0, "state": state,
                        "event_channel": port, "ring_ref": ring,
                        "target": device.read(context, "params")?, "backend_path": device.backend(),
                    }));
                } else {
                    println!(
                        "{:<5} {:<3} {:<6} {state:<5} {port:<6} {ring:<8} {:<30}",
                        device.number,
                        0,
                        info.domain,
                        device.backend()
                    );
                }
            }
        }
        if context.json {
            print_json(&json!(all));
        }
        Ok(())
    }
}

/// Options of `xl block-detach`.
#[derive(Args, Debug)]
pub(crate) struct BlockDetach {
    /// The domain, by name or number
    domain: String,
    /// The disk, by its name in the guest or its number
    device: String,
    /// Even if the guest does not let go of it
    #[arg(long)]
    force: bool,
}

impl Run for BlockDetach {
    const NAME: &'static str = "block-detach";
    const ABOUT: &'static str = "Destroy a domain's virtual block device";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let missing = || Failure::new(format!("Error: Device {} not connected.", self.device));
        let wanted: VirtualDevice = self.device.parse().map_err(|_| missing())?;
        let device = super::of_domain(context, info.domain)?
            .into_iter()
            .find(|device| device.kind == Kind::Disk && device.number == wanted.number)
            .ok_or_else(missing)?;
        device.detach(context, self.force || context.force)?;
        crate::record::change(info.handle, |config| {
            config
                .disks
                .retain(|disk| disk.device.number != device.number);
        })?;
        Ok(())
    }
}
