//! Settings of network interfaces, through the kernel's route socket.
//!
//! Source: `rtnetlink(7)`, `netlink(7)`.

use std::fs;
use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};

const NEW_LINK: u16 = 16;
const ERROR: u16 = 2;
/// It is a request, and wants an answer.
const REQUEST_ACKNOWLEDGED: u16 = 1 | 4;
const ATTRIBUTE_ADDRESS: u16 = 1;
const ATTRIBUTE_NAME: u16 = 3;
const ATTRIBUTE_MTU: u16 = 4;
const ATTRIBUTE_MASTER: u16 = 10;
const FLAG_UP: u32 = 1;
/// Bytes of the headers of a message.
const HEADERS: usize = 16 + 16;

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
    let mut message = vec![0; HEADERS];
    if let Some(address) = change.address {
        attribute(&mut message, ATTRIBUTE_ADDRESS, &address);
    }
    if let Some(name) = change.name {
        attribute(
            &mut message,
            ATTRIBUTE_NAME,
            &[name.as_bytes(), b"\0"].concat(),
        );
    }
    if let Some(mtu) = change.mtu {
        attribute(&mut message, ATTRIBUTE_MTU, &mtu.to_ne_bytes());
    }
    if let Some(master) = master {
        attribute(&mut message, ATTRIBUTE_MASTER, &master.to_ne_bytes());
    }
    let flags = if change.up { FLAG_UP } else { 0 };
    let mut headers = Vec::with_capacity(HEADERS);
    headers.extend_from_slice(&(message.len() as u32).to_ne_bytes());
    headers.extend_from_slice(&NEW_LINK.to_ne_bytes());
    headers.extend_from_slice(&REQUEST_ACKNOWLEDGED.to_ne_bytes());
    headers.extend_from_slice(&[0; 8]);
    // Any family, any type of hardware.
    headers.extend_from_slice(&[0; 4]);
    headers.extend_from_slice(&index.to_ne_bytes());
    headers.extend_from_slice(&flags.to_ne_bytes());
    headers.extend_from_slice(&flags.to_ne_bytes());
    message.splice(..HEADERS, headers);
    message
}

/// Changes an interface.
pub(super) fn change(name: &str, change: &Change<'_>) -> io::Result<()> {
    let index = index(name)?;
    let master = change.bridge.map(self::index).transpose()?;
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let message = message(index, master, change);
    rustix::net::send(&socket, &message, SendFlags::empty())?;
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
    use super::{Change, HEADERS, message};

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
}
