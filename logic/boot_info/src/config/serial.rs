//! `com1=`, `com2=`: `<baud>[/<base baud>][,<data bits><parity><stop bits>[,<port>[,<interrupt>]]]`, each part
//! may be empty, or `name=value` parts instead.

use super::Expected;
use super::values::{leading_number, number};

/// Speed of the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Baud {
    /// As the firmware set it.
    Auto,
    /// Bits in a second.
    Rate(u32),
}

/// Parity bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Parity {
    None,
    Odd,
    Even,
    Mark,
    Space,
}

/// A 16550's parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SerialPort {
    /// Speed.
    pub baud: Baud,
    /// Speed at divisor 1.
    pub base_baud: u32,
    /// 5 to 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// First I/O port.
    pub io_base: u16,
    /// Interrupt; 0: polled.
    pub irq: u8,
}

const EXPECTED: Expected =
    "<baud or auto>[/<base baud>][,<5-8><n,o,e,m,s><1,2>[,<I/O port>[,<interrupt>]]]";

impl SerialPort {
    /// A PC's first port.
    pub const COM1: Self = Self {
        baud: Baud::Auto,
        base_baud: 115_200,
        data_bits: 8,
        parity: Parity::None,
        stop_bits: 1,
        io_base: 0x3f8,
        irq: 4,
    };
    /// A PC's second port.
    pub const COM2: Self = Self {
        io_base: 0x2f8,
        irq: 3,
        ..Self::COM1
    };

    /// These parameters, changed by the option's value.
    pub(super) fn parse(mut self, text: &[u8]) -> Result<Self, Expected> {
        for (place, item) in text.split(|&byte| byte == b',').enumerate() {
            let mut parts = item.splitn(2, |&byte| byte == b'=');
            let first = parts.next().unwrap_or(item);
            match parts.next() {
                Some(value) => self.set_named(first, value),
                None if item.is_empty() => Some(()),
                None => self.set_positional(place, item),
            }
            .ok_or(EXPECTED)?;
        }
        Ok(self)
    }

    fn set_positional(&mut self, place: usize, item: &[u8]) -> Option<()> {
        match place {
            0 => self.set_baud(item),
            1 => match *item {
                [data_bits, parity, stop_bits] => {
                    self.set_data_bits(&[data_bits])?;
                    self.set_parity(&[parity])?;
                    self.set_stop_bits(&[stop_bits])
                }
                _ => None,
            },
            2 => self.set_io_base(item),
            3 => self.set_irq(item),
            _ => None,
        }
    }

    fn set_named(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        match name {
            b"baud" => self.set_baud(value),
            b"clock-hz" => {
                self.base_baud = number::<u32>(value).filter(|&hz| hz >= 16)? / 16;
                Some(())
            }
            b"data-bits" => self.set_data_bits(value),
            b"parity" => self.set_parity(value),
            b"stop-bits" => self.set_stop_bits(value),
            b"io-base" => self.set_io_base(value),
            b"irq" => self.set_irq(value),
            _ => None,
        }
    }

    fn set_baud(&mut self, text: &[u8]) -> Option<()> {
        if text == b"auto" {
            self.baud = Baud::Auto;
            return Some(());
        }
        let (rate, rest) = leading_number(text)?;
        let rate = u32::try_from(rate).ok().filter(|&rate| rate > 0)?;
        if let Some(base) = rest.strip_prefix(b"/") {
            self.base_baud = number(base).filter(|&base| base > 0)?;
        } else if !rest.is_empty() {
            return None;
        }
        // Anything faster than the clock has no divisor.
        self.baud = (rate <= self.base_baud).then_some(Baud::Rate(rate))?;
        Some(())
    }

    fn set_data_bits(&mut self, text: &[u8]) -> Option<()> {
        self.data_bits = number(text).filter(|bits| (5..=8).contains(bits))?;
        Some(())
    }

    fn set_parity(&mut self, text: &[u8]) -> Option<()> {
        self.parity = match text {
            b"n" => Parity::None,
            b"o" => Parity::Odd,
            b"e" => Parity::Even,
            b"m" => Parity::Mark,
            b"s" => Parity::Space,
            _ => return None,
        };
        Some(())
    }

    fn set_stop_bits(&mut self, text: &[u8]) -> Option<()> {
        self.stop_bits = number(text).filter(|bits| (1..=2).contains(bits))?;
        Some(())
    }

    fn set_io_base(&mut self, text: &[u8]) -> Option<()> {
        // The port's 8 registers have to fit below 64 Ki.
        self.io_base = number(text).filter(|&base| (1..=0xfff8).contains(&base))?;
        Some(())
    }

    fn set_irq(&mut self, text: &[u8]) -> Option<()> {
        self.irq = number(text).filter(|&irq| irq < 16)?;
        Some(())
    }
}
