//! Settings of network interfaces, through the kernel's route socket.
//!
//! Source: `rtnetlink(7)`, `netlink(7)`.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};

use super::network::Network;

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const ERROR: u16 = 2;
/// It is a request, and wants an answer.
const REQUEST_ACKNOWLEDGED: u16 = 1 | 4;
/// It is made, or takes the place of what is there.
const REPLACE_OR_CREATE: u16 = 0x100 | 0x400;
const FAMILY_IPV4: u8 = 2;
const ADDRESS_OF_PEER: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_INTERFACE: u16 = 4;
const ROUTE_METRIC: u16 = 6;
const ROUTE_SOURCE: u16 = 7;
const TABLE_MAIN: u8 = 254;
/// A person's, not the kernel's.
const PROTOCOL_STATIC: u8 = 4;
/// To neighbours on the interface.
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;
const ATTRIBUTE_ADDRESS: u16 = 1;
const ATTRIBUTE_NAME: u16 = 3;
const ATTRIBUTE_MTU: u16 = 4;
const ATTRIBUTE_MASTER: u16 = 10;
const FLAG_UP: u32 = 1;
/// Bytes of the header of a message.
const HEADER: usize = 16;

/// What of an interface is to change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change<'a> {
    pub(super) address: Option<[u8; 6]>,
    pub(super) name: Option<&'a str>,
    pub(super) mtu: Option<u32>,
    /// The bridge that it is to be in.
    pub(super) bridge: Option<&'a str>,
    pub(super) up: bool,
}

/// The kernel's number of an interface.
fn index(name: &str) -> io::Result<u32> {
    let path = format!("/sys/class/net/{name}/ifindex");
    let text = fs::read_to_string(path).map_err(|_| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no interface {name}"),
        )
    })?;
    text.trim()
        .parse()
        .map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Adds an attribute.
pub(super) fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = 4 + value.len() as u16;
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// The message for a change.
fn message(index: u32, master: Option<u32>, change: &Change<'_>) -> Vec<u8> {
    let mut attributes = Vec::new();
    if let Some(address) = change.address {
        attribute(&mut attributes, ATTRIBUTE_ADDRESS, &address);
    }
    if let Some(name) = change.name {
        attribute(
            &mut attributes,
            ATTRIBUTE_NAME,
            &[name.as_bytes(), b"\0"].concat(),
        );
    }
    if let Some(mtu) = change.mtu {
        attribute(&mut attributes, ATTRIBUTE_MTU, &mtu.to_ne_bytes());
    }
    if let Some(master) = master {
        attribute(&mut attributes, ATTRIBUTE_MASTER, &master.to_ne_bytes());
    }
    let flags = if change.up { FLAG_UP } else { 0 };
    // Any family, any type of hardware.
    let mut body = vec![0; 4];
    body.extend_from_slice(&index.to_ne_bytes());
    body.extend_from_slice(&flags.to_ne_bytes());
    body.extend_from_slice(&flags.to_ne_bytes());
    body.extend_from_slice(&attributes);
    request(NEW_LINK, 0, &body)
}

/// A request: the header that all have, and what is its own.
fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&(REQUEST_ACKNOWLEDGED | flags).to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    message
}

/// Changes an interface.
pub(super) fn change(name: &str, change: &Change<'_>) -> io::Result<()> {
    let index = index(name)?;
    let master = change.bridge.map(self::index).transpose()?;
    ask(&message(index, master, change))
}

/// The message for an address of an interface, which is alone in its network.
fn address_message(index: u32, address: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![FAMILY_IPV4, 32, 0, 0];
    body.extend_from_slice(&index.to_ne_bytes());
    attribute(&mut body, ADDRESS_LOCAL, &address.octets());
    attribute(&mut body, ADDRESS_OF_PEER, &address.octets());
    request(NEW_ADDRESS, REPLACE_OR_CREATE, &body)
}

/// Gives an interface an address.
pub(super) fn add_address(name: &str, address: Ipv4Addr) -> io::Result<()> {
    ask(&address_message(index(name)?, address))
}

/// The message for a route.
fn route_message(index: u32, to: Network, source: Option<Ipv4Addr>, metric: u32) -> Vec<u8> {
    let mut body = vec![FAMILY_IPV4, to.length, 0, 0];
    body.extend_from_slice(&[TABLE_MAIN, PROTOCOL_STATIC, SCOPE_LINK, UNICAST]);
    body.extend_from_slice(&[0; 4]);
    attribute(&mut body, ROUTE_DESTINATION, &to.address.octets());
    attribute(&mut body, ROUTE_INTERFACE, &index.to_ne_bytes());
    attribute(&mut body, ROUTE_METRIC, &metric.to_ne_bytes());
    if let Some(source) = source {
        attribute(&mut body, ROUTE_SOURCE, &source.octets());
    }
    request(NEW_ROUTE, REPLACE_OR_CREATE, &body)
}

/// Adds a route to a network on an interface; domain 0's own packets there are from `source`.
pub(super) fn add_route(
    name: &str,
    to: Network,
    source: Option<Ipv4Addr>,
    metric: u32,
) -> io::Result<()> {
    ask(&route_message(index(name)?, to, source, metric))
}

/// Sends the kernel a request and waits for its answer.
fn ask(message: &[u8]) -> io::Result<()> {
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    rustix::net::send(&socket, message, SendFlags::empty())?;
    let mut answer = [0_u8; 4096];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    let answer = answer.get(..length).unwrap_or_default();
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(code)) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel's answer makes no sense",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Network, address_message, message, route_message};

    /// Bytes of the two headers of a message about an interface.
    const HEADERS: usize = 16 + 16;

    #[test]
    fn messages_are_aligned_and_have_their_length() {
        let change = Change {
            address: Some([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]),
            name: Some("web1"),
            mtu: Some(9000),
            bridge: None,
            up: true,
        };
        let bytes = message(7, Some(3), &change);
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(bytes[..4], (bytes.len() as u32).to_ne_bytes());
        assert_eq!(bytes[20..24], 7_u32.to_ne_bytes());
        assert_eq!(bytes[24..32], [1, 0, 0, 0, 1, 0, 0, 0]);
        // Attributes: address (10, padded to 12), name (9, padded to 12), MTU, master.
        assert_eq!(bytes.len(), HEADERS + 12 + 12 + 8 + 8);
        assert_eq!(bytes[HEADERS + 12..HEADERS + 16], [9, 0, 3, 0]);
    }
    /// As `strace ip address add 10.0.3.128/32 dev …` and `ip route add 10.0.3.1 dev … src 10.0.3.128 metric 2` show them.
    #[test]
    fn addresses_and_routes() {
        let bytes = address_message(7, [10, 0, 3, 128].into());
        assert_eq!(bytes.len(), 16 + 8 + 8 + 8);
        assert_eq!(bytes[4..8], [20, 0, 5, 5]);
        assert_eq!(bytes[16..24], [2, 32, 0, 0, 7, 0, 0, 0]);
        assert_eq!(bytes[24..32], [8, 0, 2, 0, 10, 0, 3, 128]);
        let network = Network {
            address: [10, 0, 3, 1].into(),
            length: 32,
        };
        let bytes = route_message(7, network, Some([10, 0, 3, 128].into()), 2);
        assert_eq!(bytes.len(), 16 + 12 + 4 * 8);
        assert_eq!(bytes[16..28], [2, 32, 0, 0, 254, 4, 253, 1, 0, 0, 0, 0]);
        assert_eq!(bytes[52..60], [8, 0, 7, 0, 10, 0, 3, 128]);
    }
}
