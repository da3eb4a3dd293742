//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// An address of Xen's range (00:16:3e), its last three bytes from a random number.
    pub fn of_xen(random: u32) -> Self {
        let [_, a, b, c] = random.to_be_bytes();
        Self([0x00, 0x16, 0x3e, a & 0x7f, b, c])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Not an Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidMac;

impl fmt::Display for InvalidMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an Ethernet address looks like 00:16:3e:12:34:56 and is no group's")
    }
}

impl std::error::Error for InvalidMac {}

impl FromStr for Mac {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(InvalidMac)?;
            if part.is_empty() || part.len() > 2 || part.starts_with('+') {
                return Err(InvalidMac);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| InvalidMac)?;
        }
        // The lowest bit of the first byte marks a group of stations.
        if parts.next().is_some() || bytes[0] & 1 != 0 {
            return Err(InvalidMac);
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidMac, Mac};

    #[test]
    fn text() {
        let mac: Mac = "00:16:3E:1:02:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "00:16:3e:01:02:ff");
        for bad in [
            "",
            "00:16:3e:1:02",
            "00:16:3e:1:02:3:4",
            "00:16:3e:1:02:+f",
            "01:0:0:0:0:0",
            "00:16:3e:1:02:123",
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(InvalidMac), "{bad}");
        }
        assert_eq!(Mac::of_xen(u32::MAX).to_string(), "00:16:3e:7f:ff:ff");
    }
}
