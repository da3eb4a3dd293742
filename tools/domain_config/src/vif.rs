//! Network interfaces, `xl-network-configuration(5)`: `key=value` words, separated by commas.

use std::fmt;
use std::str::FromStr;

use crate::mac::Mac;

/// The most that an interface may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes in an interval.
    pub bytes: u64,
    /// The interval's length.
    pub interval_microseconds: u32,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vif {
    /// Its address; none is a random one.
    pub mac: Option<Mac>,
    /// The bridge that it is attached to.
    pub bridge: Option<String>,
    /// Its gateway's device, for routing scripts.
    pub gateway_device: Option<String>,
    /// Its name in the domain that serves it.
    pub name: Option<String>,
    /// The script that connects it.
    pub script: Option<String>,
    /// Addresses that it may use, for scripts.
    pub ip: Option<String>,
    /// The domain that serves it; none is domain 0.
    pub backend: Option<String>,
    /// The most that it may send.
    pub rate: Option<Rate>,
    /// Its number; none is the next free one.
    pub number: Option<u32>,
    /// Its largest packet.
    pub mtu: Option<u32>,
}

/// What is wrong with an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidVif(pub String);

impl fmt::Display for InvalidVif {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidVif {}

impl FromStr for Rate {
    type Err = InvalidVif;

    /// `10Mb/s`, `250KB/s`, `1MB/s@20ms`: bits (`b`) or bytes (`B`), in an interval of 50 ms if none is told.
    fn from_str(text: &str) -> Result<Self, InvalidVif> {
        let error = || {
            InvalidVif(format!(
                "`{text}` is not a rate, such as 10Mb/s or 250KB/s@20ms"
            ))
        };
        let (rate, interval) = match text.split_once('@') {
            Some((rate, interval)) => (rate, interval),
            None => (text, "50ms"),
        };
        let split = |word: &str| {
            let digits = word.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, unit) = word.split_at_checked(digits)?;
            Some((digits.parse::<u64>().ok()?, unit.to_owned()))
        };
        let (number, unit) = split(interval).ok_or_else(error)?;
        let interval_microseconds = match unit.as_str() {
            "us" => Some(number),
            "ms" => number.checked_mul(1000),
            "s" => number.checked_mul(1_000_000),
            _ => None,
        }
        .and_then(|number| u32::try_from(number).ok())
        .filter(|&number| number > 0)
        .ok_or_else(error)?;
        let (number, unit) = split(rate).ok_or_else(error)?;
        let factor = match unit.strip_suffix("/s").ok_or_else(error)? {
            "b" => 1,
            "Kb" => 1000,
            "Mb" => 1_000_000,
            "Gb" => 1_000_000_000,
            "B" => 8,
            "KB" => 8_000,
            "MB" => 8_000_000,
            "GB" => 8_000_000_000,
            _ => return Err(error()),
        };
        let bits = u128::from(number) * factor;
        let bytes = bits / 8 * u128::from(interval_microseconds) / 1_000_000;
        let bytes = u64::try_from(bytes).ok().filter(|&bytes| bytes > 0);
        Ok(Self {
            bytes: bytes.ok_or_else(error)?,
            interval_microseconds,
        })
    }
}

impl fmt::Display for Rate {
    /// In the way that gives the same bytes and interval again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interval = u128::from(self.interval_microseconds);
        let per_second = (u128::from(self.bytes) * 1_000_000).div_ceil(interval);
        write!(f, "{per_second}B/s@{interval}us")
    }
}

impl FromStr for Vif {
    type Err = InvalidVif;

    fn from_str(text: &str) -> Result<Self, InvalidVif> {
        let mut vif = Self::default();
        for word in text.split(',') {
            let word = word.trim();
            if word.is_empty() {
                continue;
            }
            let (key, value) = word.split_once('=').ok_or_else(|| {
                InvalidVif(format!(
                    "`{word}` is not `key=value`, as an interface's words are"
                ))
            })?;
            let (key, value) = (key.trim(), value.trim());
            let owned = || Some(value.to_owned());
            let number = |what| {
                let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
                let number = value.parse().ok().filter(|_| is_number);
                number.ok_or_else(|| InvalidVif(format!("`{value}` is not {what}")))
            };
            match key {
                "mac" => {
                    let mac = value.parse();
                    vif.mac = Some(mac.map_err(|error| InvalidVif(format!("`{value}`: {error}")))?);
                }
                "bridge" => vif.bridge = owned(),
                "gatewaydev" | "netdev" => vif.gateway_device = owned(),
                "vifname" => vif.name = owned(),
                "script" => vif.script = owned(),
                "ip" => vif.ip = owned(),
                "backend" => vif.backend = owned(),
                "rate" => vif.rate = Some(value.parse()?),
                "devid" => vif.number = Some(number("an interface's number")?),
                "mtu" => vif.mtu = Some(number("a size of packets")?),
                // Of emulated cards, which paravirtual guests do not have; as in Xen's `xl`, no error.
                "model" | "accel" => {}
                "type" if value == "vif" || value == "ioemu" => {}
                _ => {
                    return Err(InvalidVif(format!("an interface has no `{key}={value}`")));
                }
            }
        }
        Ok(vif)
    }
}

impl fmt::Display for Vif {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if let Some(mac) = self.mac {
            words.push(format!("mac={mac}"));
        }
        for (key, value) in [
            ("bridge", &self.bridge),
            ("gatewaydev", &self.gateway_device),
            ("vifname", &self.name),
            ("script", &self.script),
            ("ip", &self.ip),
            ("backend", &self.backend),
        ] {
            if let Some(value) = value {
                words.push(format!("{key}={value}"));
            }
        }
        if let Some(rate) = self.rate {
            words.push(format!("rate={rate}"));
        }
        if let Some(number) = self.number {
            words.push(format!("devid={number}"));
        }
        if let Some(mtu) = self.mtu {
            words.push(format!("mtu={mtu}"));
        }
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, Vif};

    #[test]
    fn words() {
        let vif: Vif =
            "mac=00:16:3e:01:02:03, bridge=xenbr0 ,ip=10.0.0.1 10.0.0.2,rate=10Mb/s,mtu=9000"
                .parse()
                .unwrap();
        assert_eq!(vif.bridge.as_deref(), Some("xenbr0"));
        assert_eq!(vif.ip.as_deref(), Some("10.0.0.1 10.0.0.2"));
        assert_eq!(vif.mtu, Some(9000));
        assert_eq!(vif.to_string().parse(), Ok(vif));
        assert_eq!("".parse(), Ok(Vif::default()));
        for bad in [
            "bridge",
            "mac=1",
            "colour=red",
            "devid=x",
            "type=wifi",
            "mtu=+1",
        ] {
            assert!(bad.parse::<Vif>().is_err(), "{bad}");
        }
    }

    /// The examples of xl-network-configuration(5).
    #[test]
    fn rates() {
        for (text, bytes, interval_microseconds) in [
            ("1MB/s", 50_000, 50_000),
            ("10Mb/s", 62_500, 50_000),
            ("250KB/s@20ms", 5000, 20_000),
            ("1MB/s@20ms", 20_000, 20_000),
        ] {
            let rate = Rate {
                bytes,
                interval_microseconds,
            };
            assert_eq!(text.parse(), Ok(rate), "{text}");
            assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
        }
        for bad in [
            "",
            "1",
            "1MB",
            "MB/s",
            "1XB/s",
            "1MB/s@0s",
            "1MB/s@1h",
            "0b/s",
            "99999999999999GB/s@99999s",
        ] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
