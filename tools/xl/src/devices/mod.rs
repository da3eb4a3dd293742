//! Disks and network interfaces: their nodes in xenstore, as libxl writes them, and what domain 0 does for them.
//!
//! The kernel's back ends serve them. A disk's file becomes a loop device, which the back end opens; from then on it
//! is in use, and it is let go of when the back end closes it. A network interface is put into its bridge by netlink. If
//! the configuration names one of Xen's scripts, that does these instead.
//!
//! So nothing is kept here: what a killed command leaves are nodes in xenstore, and removing these ends the rest.

pub(crate) mod backend;
pub(crate) mod disk;
mod netlink;
mod network;
mod script;
pub(crate) mod serve;
pub(crate) mod vif;

use std::path::Path;

use domain_config::DomainConfig;
use xen_control::DomId;
use xenstore::TransactionId;

use crate::context::{Context, Failure, Outcome};
use crate::nodes;
use backend::Device;

/// Finds out what cannot work, before anything is made.
pub(crate) fn check(context: &Context, config: &DomainConfig) -> Outcome {
    for disk in &config.disks {
        disk::check(disk)?;
    }
    for vif in &config.vifs {
        vif::check(vif)?;
    }
    if !config.disks.is_empty() {
        backend::need_driver(context, "vbd", "xen-blkback");
    }
    if !config.vifs.is_empty() {
        backend::need_driver(context, "vif", "xen-netback");
    }
    Ok(())
}

/// Gives a new domain its devices.
pub(crate) fn attach_all(context: &Context, domain: DomId, config: &DomainConfig) -> Outcome {
    // All back ends begin at once; then each is waited for.
    let mut disks = Vec::new();
    for disk in &config.disks {
        disks.push(disk::begin(context, domain, disk)?);
    }
    let mut vifs = Vec::new();
    for vif in &config.vifs {
        vifs.push(vif::begin(context, domain, vif)?);
    }
    for disk in disks {
        disk.finish(context)?;
    }
    for vif in vifs {
        vif.finish(context)?;
    }
    Ok(())
}

/// The devices that a domain has in xenstore, but for its console.
pub(crate) fn of_domain(context: &Context, domain: DomId) -> Result<Vec<Device>, Failure> {
    let mut devices = Vec::new();
    let parent = format!("/libxl/{domain}/device");
    for kind in context.children(&parent)? {
        let Some(kind) = backend::Kind::named(&kind) else {
            continue;
        };
        for child in context.children(&format!("{parent}/{}", kind.name()))? {
            if let Ok(number) = child.parse() {
                devices.push(Device {
                    kind,
                    domain,
                    number,
                });
            }
        }
    }
    Ok(devices)
}

/// Removes all devices of a domain that is gone.
pub(crate) fn detach_all(context: &Context, domain: DomId) -> Outcome {
    let devices = of_domain(context, domain)?;
    if devices.is_empty() {
        return Ok(());
    }
    for device in &devices {
        let_go(context, device)?;
    }
    let mut requests = nodes::Requests::new();
    for device in &devices {
        nodes::remove(&mut requests, &device.backend());
        nodes::remove(&mut requests, &device.frontend());
        nodes::remove(&mut requests, &device.record());
    }
    for kind in [backend::Kind::Disk, backend::Kind::Vif] {
        // Only the domain's own; the back ends' other domains are beside it.
        nodes::remove(
            &mut requests,
            &format!("/local/domain/0/backend/{}/{domain}", kind.name()),
        );
    }
    context.store()?.batch(TransactionId::NONE, &requests)?;
    // Until the kernel has let go of files and devices, they cannot be given to the next domain.
    for device in &devices {
        device.wait_until_gone(context);
    }
    Ok(())
}

/// Undoes what was done for a device and does not end with it.
fn let_go(context: &Context, device: &Device) -> Outcome {
    script::remove(context, device)?;
    if device.kind == backend::Kind::Vif {
        network::disconnect(context, device)?;
    }
    Ok(())
}

/// The path of a script: relative ones are Xen's.
fn script_path(script: &str) -> String {
    if Path::new(script).is_absolute() {
        script.to_owned()
    } else {
        format!("/etc/xen/scripts/{script}")
    }
}
