//! UUIDs, by which a domain is the same over reboots.

use std::fmt;
use std::str::FromStr;

/// A UUID, its bytes in the order in which it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// All zero: domain 0's.
    pub const NIL: Self = Self([0; 16]);

    /// A random UUID (version 4) of 16 random bytes.
    pub fn random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if [4, 6, 8, 10].contains(&index) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUuid;

impl fmt::Display for InvalidUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a UUID is 32 hexadecimal digits, as in 7cd2be44-9d36-426f-aca0-80874230b342")
    }
}

impl std::error::Error for InvalidUuid {}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Self, InvalidUuid> {
        let mut value = 0_u128;
        let mut digits = 0;
        for byte in text.bytes() {
            let digit = match byte {
                b'-' => continue,
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                _ => return Err(InvalidUuid),
            };
            value = value << 4 | u128::from(digit);
            digits += 1;
        }
        if digits != 32 {
            return Err(InvalidUuid);
        }
        Ok(Self(value.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidUuid, Uuid};

    #[test]
    fn text() {
        let text = "7cd2be44-9d36-426f-aca0-80874230b342";
        assert_eq!(text.parse::<Uuid>().unwrap().to_string(), text);
        assert_eq!(
            text.replace('-', "").parse::<Uuid>().unwrap().to_string(),
            text
        );
        for bad in ["", "7cd2be44", "7cd2be44-9d36-426f-aca0-80874230b3421", "x"] {
            assert_eq!(bad.parse::<Uuid>(), Err(InvalidUuid));
        }
        assert_eq!(
            Uuid::random([0xff; 16]).to_string(),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
    }
}
