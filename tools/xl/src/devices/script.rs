//! Xen's hotplug scripts, for devices whose configuration names one.
//!
//! Source: the scripts in `/etc/xen/scripts`; `xl-network-configuration(5)`.

use std::process::{Command, Stdio};

use crate::context::{Context, Failure, Outcome};
use crate::devices::backend::{Device, Kind};

/// The node of a device's record that names its script.
pub(super) const NODE: &str = "own-script";

/// Runs a device's script and waits for what it says in xenstore.
pub(crate) fn add(context: &Context, device: &Device, script: &str) -> Outcome {
    run(context, device, script, true)?;
    let status = device.wait_for(context, "hotplug-status", |status| status.is_some())?;
    if status.as_deref() == Some("connected") {
        return Ok(());
    }
    let why = device.read(context, "hotplug-error")?;
    let why = why.unwrap_or_else(|| "it does not say why".to_owned());
    Err(Failure::new(format!("{device}: {script} failed: {why}")).with_code(3))
}

/// Runs a device's script for its end, if it had one.
pub(crate) fn remove(context: &Context, device: &Device) -> Outcome {
    let path = format!("{}/{NODE}", device.record());
    let Some(script) = context.read(&path)? else {
        return Ok(());
    };
    if let Err(failure) = run(context, device, &script, false) {
        // What the script leaves is not ours to know; the device goes all the same.
        eprintln!("xl: {failure}");
    }
    Ok(())
}

fn run(context: &Context, device: &Device, script: &str, adding: bool) -> Outcome {
    let mut command = Command::new(script);
    let backend = device.backend();
    let path = backend
        .strip_prefix("/local/domain/0/")
        .unwrap_or(&backend)
        .to_owned();
    match device.kind {
        Kind::Disk => {
            command.arg(if adding { "add" } else { "remove" });
        }
        Kind::Vif => {
            let name = format!("vif{}.{}", device.domain, device.number);
            command
                .arg(if adding { "online" } else { "offline" })
                .arg("type_if=vif")
                .env("vif", name);
            if let Some(gateway) = device.read(context, "gatewaydev")? {
                command.env("netdev", gateway);
            }
        }
    }
    let status = command
        .env("XENBUS_PATH", path)
        .env("XENBUS_TYPE", device.kind.name())
        .env("XENBUS_BASE_PATH", "backend")
        .env("script", script)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| {
            Failure::new(format!("{device}: {script} cannot be run: {error}")).with_code(3)
        })?;
    if status.success() || adding {
        // When adding, it tells more in xenstore.
        return Ok(());
    }
    Err(Failure::new(format!("{device}: {script}: {status}")).with_code(3))
}
