//! Network interfaces, and their commands.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use domain_config::{Mac, Vif};
use serde_json::json;
use xen_control::DomId;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome, print_json};
use crate::devices::backend::{Device, Kind};
use crate::devices::network::{self, Way};
use crate::devices::{backend, script, script_path};

/// What libxl says by default; our code does what it would.
const BRIDGE_SCRIPT: &str = "vif-bridge";
/// How long the kernel may take to make the interface.
const PATIENCE: Duration = Duration::from_secs(10);

fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(text).with_code(3)
}

/// Finds out what cannot work.
pub(crate) fn check(vif: &Vif) -> Outcome {
    if vif.backend.is_some() {
        return Err(invalid(
            "network interfaces served by other domains cannot be had yet",
        ));
    }
    Way::of(vif)?.check(vif)
}

/// An interface whose back end was told to begin.
#[derive(Debug)]
pub(crate) struct Beginning {
    device: Device,
    vif: Vif,
    way: Way,
    /// The guest's address, if it has exactly one.
    address: Option<Ipv4Addr>,
}

/// Writes the nodes.
pub(crate) fn begin(context: &Context, domain: DomId, vif: &Vif) -> Result<Beginning, Failure> {
    let device = Device {
        kind: Kind::Vif,
        domain,
        number: vif.number.unwrap_or(0),
    };
    let mac = vif.mac.map(|mac| mac.to_string()).unwrap_or_default();
    let number = device.number.to_string();
    let way = Way::of(vif)?;
    let address = way.guest_address(domain, device.number);
    let script = script_path(vif.script.as_deref().unwrap_or(BRIDGE_SCRIPT));
    let rate = vif
        .rate
        .map(|rate| format!("{},{}", rate.bytes, rate.interval_microseconds));
    let mtu = way.mtu(vif).map(|mtu| mtu.to_string());
    let ip = address
        .map(|address| address.to_string())
        .or_else(|| vif.ip.clone());
    let mut backend = vec![
        ("script", script.as_str()),
        ("mac", &mac),
        ("handle", &number),
        ("type", "vif"),
    ];
    match (&way, &vif.bridge) {
        (Way::Bridge(bridge), _) | (_, Some(bridge)) => backend.push(("bridge", bridge)),
        _ => {}
    }
    let optional = |name: &'static str, value: &Option<String>| {
        value.as_ref().map(|value| (name, value.clone()))
    };
    let more: Vec<(&str, String)> = [
        optional("ip", &ip),
        optional("vifname", &vif.name),
        optional("gatewaydev", &vif.gateway_device),
        optional("rate", &rate),
        optional("mtu", &mtu),
    ]
    .into_iter()
    .flatten()
    .collect();
    backend.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
    let mut frontend = vec![("handle", number.as_str()), ("mac", &mac)];
    if let Some(mtu) = &mtu {
        frontend.push(("mtu", mtu));
    }
    device.write(context, &backend, &frontend)?;
    let kept = match (&way, address) {
        (Way::Script(path), _) => Some((script::NODE, path.clone())),
        (Way::Nat(_), Some(address)) => Some((network::NODE, address.to_string())),
        _ => None,
    };
    if let Some((name, value)) = kept {
        let path = format!("{}/{name}", device.record());
        context.store()?.write(&path, &value)?;
    }
    Ok(Beginning {
        device,
        vif: vif.clone(),
        way,
        address,
    })
}

impl Beginning {
    /// Connects the host's end.
    pub(crate) fn finish(self, context: &Context) -> Outcome {
        let Self {
            device,
            vif,
            way,
            address,
        } = self;
        device.wait_until_ready(context, "xen-netback")?;
        let interface = format!("vif{}.{}", device.domain, device.number);
        let deadline = Instant::now() + PATIENCE;
        while !Path::new("/sys/class/net").join(&interface).exists() {
            if Instant::now() >= deadline {
                return Err(invalid(format!(
                    "{device}: the kernel makes no {interface}"
                )));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if let Way::Script(script) = &way {
            return script::add(context, &device, script);
        }
        way.connect(&vif, &interface, address).map_err(|error| {
            invalid(format!(
                "{device}: {interface} cannot be connected: {error}"
            ))
        })?;
        let path = format!("{}/hotplug-status", device.backend());
        context.store()?.write(&path, "connected")?;
        Ok(())
    }
}

/// Options of `xl network-attach`.
#[derive(Args, Debug)]
pub(crate) struct NetworkAttach {
    /// The domain, by name or number
    domain: String,
    /// The interface, as in a configuration: `bridge=xenbr0 mac=…`
    specification: Vec<String>,
}

impl Run for NetworkAttach {
    const NAME: &'static str = "network-attach";
    const ABOUT: &'static str = "Create a new virtual network device";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let text = self.specification.join(",");
        let mut vif: Vif = text
            .parse()
            .map_err(|error| Failure::new(format!("{error}")))?;
        check(&vif)?;
        backend::need_driver(context, "vif", "xen-netback");
        if vif.number.is_none() {
            let taken = super::of_domain(context, info.domain)?;
            vif.number = (0..).find(|number| {
                let has_it = |device: &Device| device.kind == Kind::Vif && device.number == *number;
                !taken.iter().any(has_it)
            });
        }
        if vif.mac.is_none() {
            vif.mac = Some(crate::create::random_mac()?);
        }
        let _working = context.working("waiting for the back end");
        let beginning = begin(context, info.domain, &vif)?;
        let device = beginning.device;
        beginning.finish(context).inspect_err(|_| {
            // It is told that attaching failed; what cannot be removed is found by `xl reconcile`.
            let _ = super::let_go(context, &device).and_then(|()| device.remove_nodes(context));
        })?;
        crate::record::change(info.handle, |config| config.vifs.push(vif))?;
        Ok(())
    }
}

/// Options of `xl network-list`.
#[derive(Args, Debug)]
pub(crate) struct NetworkList {
    /// Domains, by name or number
    #[arg(required = true)]
    domains: Vec<String>,
}

impl Run for NetworkList {
    const NAME: &'static str = "network-list";
    const ABOUT: &'static str = "List virtual network interfaces for a domain";

    fn run(self, context: &Context) -> Outcome {
        let mut all = Vec::new();
        if !context.json {
            println!(
                "Idx BE Mac Addr.         handle state evt-ch   tx-/rx-ring-ref BE-path                       "
            );
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
                if device.kind != Kind::Vif {
                    continue;
                }
                let front = |name: &str| context.read(&format!("{}/{name}", device.frontend()));
                let number = |text: Option<String>| {
                    text.and_then(|text| text.parse::<i64>().ok()).unwrap_or(-1)
                };
                let mac = device.read(context, "mac")?.unwrap_or_default();
                let state = number(front("state")?);
                let port = number(front("event-channel")?);
                let (tx, rx) = (number(front("tx-ring-ref")?), number(front("rx-ring-ref")?));
                if context.json {
                    all.push(json!({
                        "domid": info.domain, "index": device.number, "backend": 0, "mac": mac,
                        "state": state, "event_channel": port, "tx_ring_ref": tx, "rx_ring_ref": rx,
                        "backend_path": device.backend(),
                    }));
                } else {
                    println!(
                        "{:<3} {:<2} {mac:<17}{:>6} {state:>5} {port:>6} {tx:>5}/{rx:<11} {:<30}",
                        device.number,
                        0,
                        device.number,
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

/// Options of `xl network-detach`.
#[derive(Args, Debug)]
pub(crate) struct NetworkDetach {
    /// The domain, by name or number
    domain: String,
    /// The interface, by number or address
    device: String,
}

impl Run for NetworkDetach {
    const NAME: &'static str = "network-detach";
    const ABOUT: &'static str = "Destroy a domain's virtual network device";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let mac: Option<Mac> = self.device.parse().ok();
        let mut found = None;
        for device in super::of_domain(context, info.domain)? {
            if device.kind != Kind::Vif {
                continue;
            }
            let is_it = match mac {
                Some(mac) => {
                    device
                        .read(context, "mac")?
                        .and_then(|text| text.parse().ok())
                        == Some(mac)
                }
                None => self.device.parse() == Ok(device.number),
            };
            if is_it {
                found = Some(device);
            }
        }
        let device =
            found.ok_or_else(|| Failure::new(format!("Unknown device {}.", self.device)))?;
        device.detach(context, context.force)?;
        crate::record::change(info.handle, |config| {
            config.vifs.retain(|vif| vif.number != Some(device.number));
        })?;
        Ok(())
    }
}
