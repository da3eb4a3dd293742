//! Where an interface's packets go: into a bridge, over routes of domain 0, over routes and behind domain 0's address,
//! or wherever one of Xen's hotplug scripts takes them.
//!
//! Routes and addresses are the interface's and go with it. Which guests are behind domain 0's address is a set of the
//! kernel's packet filter, table `xenolith`.
//!
//! Source: Xen's `vif-bridge`, `vif-route`, `vif-nat`; `rtnetlink(7)`, `nft(8)`; Linux's `ip-sysctl.rst`.

use std::fs;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use domain_config::Vif;
use xen_control::DomId;

use crate::context::{Context, Failure, Outcome};
use crate::devices::backend::Device;
use crate::devices::netlink::{self, Change};
use crate::devices::script_path;

/// The bridge, if none is told, as with Xen's `xl`.
const DEFAULT_BRIDGE: &str = "xenbr0";
/// The address of the host's end, as Xen's scripts set it: it is never the lowest, which bridges take as theirs.
const HOST_END: [u8; 6] = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff];
/// The size of packets that needs no telling.
const USUAL_MTU: u32 = 1500;
/// The node of an interface's record with the guest's address, if domain 0's stands for it.
pub(super) const NODE: &str = "masqueraded";
/// The metric of routes to guests, as with Xen's scripts.
const METRIC: u32 = 2;

/// An IPv4 network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) address: Ipv4Addr,
    pub(super) length: u8,
}

/// Where an interface's packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Bridge(String),
    /// To these networks by routes, and from them as far as domain 0's routes reach.
    Routed(Vec<Network>),
    /// The same for one address (told, or following from the interface's number), which the outside sees as
    /// domain 0's.
    Nat(Option<Ipv4Addr>),
    /// Where this script says.
    Script(String),
}

fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(text).with_code(3)
}

fn is_there(interface: &str) -> bool {
    !interface.contains('/') && Path::new("/sys/class/net").join(interface).exists()
}

impl Way {
    /// What the configuration says. Xen's scripts go before what we have of the same name.
    pub(super) fn of(vif: &Vif) -> Result<Self, Failure> {
        let Some(script) = &vif.script else {
            return Ok(Self::bridge(vif));
        };
        let path = script_path(script);
        let is_script = Path::new(&path).exists();
        match script.as_str() {
            "vif-bridge" if !is_script => Ok(Self::bridge(vif)),
            "xl-route" => Self::routed(vif),
            "vif-route" if !is_script => Self::routed(vif),
            "xl-nat" => Self::nat(vif),
            "vif-nat" if !is_script => Self::nat(vif),
            _ if is_script => Ok(Self::Script(path)),
            _ => Err(invalid(format!("there is no script {path}"))),
        }
    }

    fn bridge(vif: &Vif) -> Self {
        let bridge = vif.bridge.as_deref().unwrap_or(DEFAULT_BRIDGE);
        Self::Bridge(bridge.to_owned())
    }

    fn routed(vif: &Vif) -> Result<Self, Failure> {
        let text = vif.ip.as_deref().unwrap_or_default();
        let networks: Result<Vec<_>, _> = text.split_whitespace().map(parse).collect();
        let networks = networks?;
        if networks.is_empty() {
            return Err(invalid(
                "a routed network interface needs its addresses: ip=ADDRESS",
            ));
        }
        Ok(Self::Routed(networks))
    }

    fn nat(vif: &Vif) -> Result<Self, Failure> {
        let address = vif.ip.as_deref().map(parse).transpose()?;
        Ok(Self::Nat(address.map(|network| network.address)))
    }

    /// Finds out what cannot work.
    pub(super) fn check(&self, vif: &Vif) -> Outcome {
        if let Self::Bridge(bridge) = self
            && !(is_there(bridge) && Path::new(&format!("/sys/class/net/{bridge}/bridge")).exists())
        {
            return Err(invalid(format!("there is no bridge {bridge}")));
        }
        if let Some(gateway) = &vif.gateway_device
            && !is_there(gateway)
        {
            return Err(invalid(format!("there is no interface {gateway}")));
        }
        Ok(())
    }

    /// The guest's address, where there is exactly one that we choose.
    pub(super) fn guest_address(&self, domain: DomId, number: u32) -> Option<Ipv4Addr> {
        match self {
            Self::Nat(address) => Some(address.unwrap_or_else(|| default_address(domain, number))),
            _ => None,
        }
    }

    /// The size of packets that the guest has to be told.
    pub(super) fn mtu(&self, vif: &Vif) -> Option<u32> {
        let Self::Bridge(bridge) = self else {
            return vif.mtu;
        };
        vif.mtu.or_else(|| {
            let text = fs::read_to_string(format!("/sys/class/net/{bridge}/mtu")).ok()?;
            let mtu = text.trim().parse().ok();
            mtu.filter(|mtu| *mtu != USUAL_MTU)
        })
    }

    /// Connects an interface that the kernel has just made.
    pub(super) fn connect(
        &self,
        vif: &Vif,
        interface: &str,
        address: Option<Ipv4Addr>,
    ) -> io::Result<()> {
        let bridge = match self {
            Self::Bridge(bridge) => Some(bridge.as_str()),
            _ => None,
        };
        let change = Change {
            address: Some(HOST_END),
            name: vif.name.as_deref(),
            mtu: self.mtu(vif),
            bridge,
            up: true,
        };
        netlink::change(interface, &change)?;
        let interface = vif.name.as_deref().unwrap_or(interface);
        let gateway = vif.gateway_device.clone().or_else(default_device);
        match (self, address) {
            (Self::Routed(networks), _) => {
                forward(interface, gateway.as_deref())?;
                // The others of the network that the guest has its address from find it here.
                if let Some(gateway) = &gateway {
                    set(gateway, "proxy_arp")?;
                }
                for network in networks {
                    netlink::add_route(interface, *network, None, METRIC)?;
                }
                Ok(())
            }
            (Self::Nat(_), Some(address)) => {
                forward(interface, gateway.as_deref())?;
                let router = router_of(address);
                netlink::add_address(interface, router)?;
                let network = Network {
                    address,
                    length: 32,
                };
                netlink::add_route(interface, network, Some(router), METRIC)?;
                masquerade(address)
            }
            _ => Ok(()),
        }
    }
}

/// Addresses, each with the length of its network or alone.
fn parse(word: &str) -> Result<Network, Failure> {
    let error = || invalid(format!("`{word}` is no IPv4 address or network"));
    let (address, length) = word.split_once('/').unwrap_or((word, "32"));
    let address = address.parse().map_err(|_| error())?;
    let length = length.parse().ok().filter(|length| *length <= 32);
    Ok(Network {
        address,
        length: length.ok_or_else(error)?,
    })
}

/// A guest's address behind domain 0's if none is told, as `vif-nat` has it.
fn default_address(domain: DomId, number: u32) -> Ipv4Addr {
    let [high, low] = domain.to_be_bytes();
    let last = u8::try_from(number.saturating_add(1)).unwrap_or(126);
    Ipv4Addr::new(10, high, low, last.min(126))
}

/// Domain 0's address on the interface of a guest behind its own: as `vif-nat` has it where that is an address.
fn router_of(guest: Ipv4Addr) -> Ipv4Addr {
    let [first, second, third, last] = guest.octets();
    let last = if last < 128 { last + 127 } else { last - 127 };
    Ipv4Addr::new(first, second, third, last)
}

/// The interface of the default route (`proc_net(5)`, `/proc/net/route`).
fn default_device() -> Option<String> {
    let text = fs::read_to_string("/proc/net/route").ok()?;
    let routes = text.lines().skip(1).map(|line| {
        let mut words = line.split_whitespace();
        (words.next(), words.next(), words.nth(5))
    });
    let mut defaults = routes.filter_map(|(device, destination, mask)| {
        (destination == Some("00000000") && mask == Some("00000000")).then_some(device?)
    });
    defaults.next().map(str::to_owned)
}

/// Switches on an option of an interface.
fn set(interface: &str, option: &str) -> io::Result<()> {
    fs::write(
        format!("/proc/sys/net/ipv4/conf/{interface}/{option}"),
        b"1",
    )
}

/// Lets packets through between the guest and its gateway, and only these.
fn forward(interface: &str, gateway: Option<&str>) -> io::Result<()> {
    // The guest may take any address beyond domain 0 as its gateway.
    set(interface, "proxy_arp")?;
    set(interface, "forwarding")?;
    gateway.map_or(Ok(()), |gateway| set(gateway, "forwarding"))
}

/// Hides a guest's address behind domain 0's from everybody but other such guests.
fn masquerade(address: Ipv4Addr) -> io::Result<()> {
    filter(&format!(
        "add table ip xenolith
         add set ip xenolith guests {{ type ipv4_addr; }}
         add chain ip xenolith postrouting {{ type nat hook postrouting priority 100; }}
         flush chain ip xenolith postrouting
         add rule ip xenolith postrouting ip saddr @guests ip daddr != @guests masquerade
         add element ip xenolith guests {{ {address} }}\n"
    ))
}

/// Undoes what is not the interface's and does not go with it. That there is nothing to undo is no error.
pub(super) fn disconnect(context: &Context, device: &Device) -> Outcome {
    let address = context.read(&format!("{}/{NODE}", device.record()))?;
    if let Some(address) = address.and_then(|text| text.parse::<Ipv4Addr>().ok()) {
        let _ = filter(&format!(
            "delete element ip xenolith guests {{ {address} }}\n"
        ));
    }
    Ok(())
}

/// Changes the kernel's packet filter, all at once.
fn filter(commands: &str) -> io::Result<()> {
    let cannot =
        |error: io::Error| io::Error::new(error.kind(), format!("nft cannot be run: {error}"));
    let mut program = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    if let Some(mut input) = program.stdin.take() {
        input.write_all(commands.as_bytes())?;
    }
    let output = program.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("it does not say why");
    Err(io::Error::other(format!("nft: {first}")))
}

#[cfg(test)]
mod tests {
    use super::{Network, Way, default_address, router_of};
    use domain_config::Vif;
    use std::net::Ipv4Addr;

    fn way(text: &str) -> Result<Way, String> {
        let vif: Vif = text.parse().map_err(|error| format!("{error}"))?;
        Way::of(&vif).map_err(|failure| failure.message)
    }

    #[test]
    fn ways() {
        assert_eq!(way(""), Ok(Way::Bridge("xenbr0".to_owned())));
        let network = |address: [u8; 4], length| Network {
            address: address.into(),
            length,
        };
        assert_eq!(
            way("script=xl-route,ip=10.1.2.3 192.168.7.0/24"),
            Ok(Way::Routed(vec![
                network([10, 1, 2, 3], 32),
                network([192, 168, 7, 0], 24)
            ]))
        );
        assert_eq!(way("script=xl-nat"), Ok(Way::Nat(None)));
        assert!(way("script=xl-route").is_err());
        for bad in ["10.1.2", "10.1.2.3/33", "10.1.2.3/", "fe80::1"] {
            assert!(way(&format!("script=xl-route,ip={bad}")).is_err(), "{bad}");
        }
        assert!(way("script=/no/such/script").is_err());
    }

    /// The pairs that `vif-nat` makes; and no address is a router's own guest.
    #[test]
    fn addresses_behind_domain_0() {
        assert_eq!(default_address(259, 0), Ipv4Addr::new(10, 1, 3, 1));
        assert_eq!(
            router_of(Ipv4Addr::new(10, 1, 3, 1)),
            Ipv4Addr::new(10, 1, 3, 128)
        );
        for last in 1..=254 {
            let router = router_of(Ipv4Addr::new(10, 0, 0, last)).octets()[3];
            assert!(router != last && (1..=254).contains(&router));
        }
    }
}
