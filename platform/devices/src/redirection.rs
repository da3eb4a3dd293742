//! The two encodings that carry an interrupt to a local APIC: IO-APIC redirection entries (82093AA §3.2.4)
//! and message-signalled interrupts (SDM 3A §11.11). Pure: no hardware here.
//!
//! Destinations are physical APIC identifiers. Without interrupt remapping both encodings hold 8 bits of
//! them; a larger one cannot be targeted and is refused here rather than truncated.

/// How the message is delivered (SDM 3A §11.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Delivery {
    /// To the vector.
    Fixed = 0,
    /// To the vector, on the CPU with the lowest priority.
    LowestPriority = 1,
    /// System management interrupt.
    Smi = 2,
    /// Non-maskable interrupt.
    Nmi = 4,
    /// INIT.
    Init = 5,
    /// The vector comes from the 8259.
    ExtInt = 7,
}

impl Delivery {
    const fn decode(raw: u64) -> Option<Self> {
        Some(match raw & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            7 => Self::ExtInt,
            _ => return None,
        })
    }
}

/// What level of the line means "asserted".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// High: ISA.
    High,
    /// Low: PCI.
    Low,
}

/// How the line is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// On its edges: ISA.
    Edge,
    /// By level: PCI.
    Level,
}

/// A redirection entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectionEntry {
    /// Vector delivered.
    pub vector: u8,
    /// Delivery mode.
    pub delivery: Delivery,
    /// Destination is a logical one; the hypervisor writes physical ones only.
    pub logical: bool,
    /// Active level.
    pub polarity: Polarity,
    /// Trigger mode.
    pub trigger: Trigger,
    /// Held back.
    pub masked: bool,
    /// Destination APIC identifier.
    pub destination: u8,
}

const REDIRECTION_LOGICAL: u64 = 1 << 11;
/// Delivery status: message pending (read-only).
pub const REDIRECTION_PENDING: u64 = 1 << 12;
const REDIRECTION_LOW: u64 = 1 << 13;
/// Remote IRR: a level interrupt was accepted and not yet ended (read-only).
pub const REDIRECTION_REMOTE_IRR: u64 = 1 << 14;
const REDIRECTION_LEVEL: u64 = 1 << 15;
/// Mask.
pub const REDIRECTION_MASKED: u64 = 1 << 16;

impl RedirectionEntry {
    /// An entry that delivers nothing.
    pub const MASKED: Self = Self {
        vector: 0,
        delivery: Delivery::Fixed,
        logical: false,
        polarity: Polarity::High,
        trigger: Trigger::Edge,
        masked: true,
        destination: 0,
    };

    /// The 64 bits of the register pair.
    pub const fn encode(self) -> u64 {
        self.vector as u64
            | (self.delivery as u64) << 8
            | if self.logical { REDIRECTION_LOGICAL } else { 0 }
            | if matches!(self.polarity, Polarity::Low) {
                REDIRECTION_LOW
            } else {
                0
            }
            | if matches!(self.trigger, Trigger::Level) {
                REDIRECTION_LEVEL
            } else {
                0
            }
            | if self.masked { REDIRECTION_MASKED } else { 0 }
            | (self.destination as u64) << 56
    }

    /// Reads a register pair; `None` for a reserved delivery mode. Read-only bits are dropped.
    pub const fn decode(raw: u64) -> Option<Self> {
        let Some(delivery) = Delivery::decode(raw >> 8) else {
            return None;
        };
        Some(Self {
            vector: raw as u8,
            delivery,
            logical: raw & REDIRECTION_LOGICAL != 0,
            polarity: if raw & REDIRECTION_LOW != 0 {
                Polarity::Low
            } else {
                Polarity::High
            },
            trigger: if raw & REDIRECTION_LEVEL != 0 {
                Trigger::Level
            } else {
                Trigger::Edge
            },
            masked: raw & REDIRECTION_MASKED != 0,
            destination: (raw >> 56) as u8,
        })
    }
}

/// Address and data of a message-signalled interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiMessage {
    /// Address the device writes to.
    pub address: u64,
    /// Value it writes; of a multi-message block the device changes the low bits.
    pub data: u32,
}

impl MsiMessage {
    /// A fixed, edge-triggered interrupt for one CPU; `None` if its identifier needs more than 8 bits.
    pub const fn fixed(vector: u8, destination: u32) -> Option<Self> {
        if destination > 0xff {
            return None;
        }
        Some(Self {
            address: 0xfee0_0000 | (destination as u64) << 12,
            data: vector as u32,
        })
    }

    /// Vector in the data.
    pub const fn vector(self) -> u8 {
        self.data as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirection_bits() {
        let entry = RedirectionEntry {
            vector: 0x31,
            delivery: Delivery::Fixed,
            logical: false,
            polarity: Polarity::Low,
            trigger: Trigger::Level,
            masked: false,
            destination: 3,
        };
        assert_eq!(entry.encode(), 0x0300_0000_0000_a031);
        assert_eq!(RedirectionEntry::MASKED.encode(), 0x1_0000);
    }

    #[test]
    fn redirection_round_trip() {
        for raw in (0..0x20000u64).map(|low| low | 0xa5 << 56) {
            let writable = raw & !(REDIRECTION_PENDING | REDIRECTION_REMOTE_IRR);
            match RedirectionEntry::decode(raw) {
                Some(entry) => assert_eq!(entry.encode(), writable),
                None => assert!(matches!(raw >> 8 & 7, 3 | 6)),
            }
        }
    }

    #[test]
    fn message_bits() {
        let message = MsiMessage::fixed(0x42, 5).unwrap();
        assert_eq!((message.address, message.data), (0xfee0_5000, 0x42));
        assert_eq!(message.vector(), 0x42);
        assert_eq!(MsiMessage::fixed(0x42, 256), None);
    }
}
