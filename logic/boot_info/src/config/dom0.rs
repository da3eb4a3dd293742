//! `dom0_mem=`, `dom0_max_vcpus=`: how large domain 0 is.

use super::Expected;
use super::values::{leading_number, leading_size, number};
use addr::PAGE_SIZE;
use core::fmt;

/// An amount of memory: `[-]<size>`, `[-]<percent>%`, or their sum. A minus means all but that.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Amount {
    /// Count from the top.
    pub all_but: bool,
    /// Bytes.
    pub bytes: u64,
    /// Percents of what is available.
    pub percent: u8,
}

impl Amount {
    /// In frames, of `available` ones.
    pub fn frames(&self, available: u64) -> u64 {
        let part = u128::from(available) * u128::from(self.percent) / 100;
        // A percentage is below 100, so the part is below `available`.
        let frames = (self.bytes / PAGE_SIZE).saturating_add(part as u64);
        if self.all_but {
            available.saturating_sub(frames)
        } else {
            frames
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut amount = Self::default();
        let mut rest = text;
        if let Some(positive) = rest.strip_prefix(b"-") {
            amount.all_but = true;
            rest = positive;
        }
        let (mut has_bytes, mut has_percent) = (false, false);
        loop {
            match leading_number(rest)? {
                (percent, [b'%', tail @ ..]) if percent < 100 && !has_percent => {
                    has_percent = true;
                    amount.percent = percent as u8;
                    rest = tail;
                }
                _ if has_bytes => return None,
                _ => {
                    has_bytes = true;
                    (amount.bytes, rest) = leading_size(rest)?;
                }
            }
            match rest {
                [] => return Some(amount),
                [b'+', tail @ ..] => rest = tail,
                _ => return None,
            }
        }
    }
}

/// Domain 0's memory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Dom0Memory {
    /// What it starts with.
    pub size: Option<Amount>,
    /// With how little it would start.
    pub min: Option<Amount>,
    /// To what it could grow.
    pub max: Option<Amount>,
}

/// [`Dom0Memory`] of one machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dom0Frames {
    /// What it starts with.
    pub initial: u64,
    /// To what it could grow.
    pub max: u64,
}

/// `dom0_mem` asks for memory that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dom0MemoryError {
    /// Frames that are asked for.
    pub wanted: u64,
    /// Frames that there are.
    pub available: u64,
}

impl fmt::Display for Dom0MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |frames: u64| frames.saturating_mul(PAGE_SIZE / 1024);
        let (wanted, available) = (kib(self.wanted), kib(self.available));
        write!(
            f,
            "dom0_mem: {wanted} KiB asked for, {available} KiB available"
        )
    }
}

impl Dom0Memory {
    /// Memory for the hypervisor's own use where the user says nothing: a sixteenth, at most 128 MiB.
    fn default_reserve(available: u64) -> u64 {
        (available / 16).min((128 << 20) / PAGE_SIZE)
    }

    /// How many frames domain 0 gets when `available` ones are free.
    pub fn frames(&self, available: u64) -> Result<Dom0Frames, Dom0MemoryError> {
        let frames = |amount: &Option<Amount>| amount.map(|amount| amount.frames(available));
        let (size, min) = (frames(&self.size), frames(&self.min).unwrap_or(0));
        let max = frames(&self.max).unwrap_or(u64::MAX);
        let wanted = size
            .unwrap_or(available - Self::default_reserve(available))
            .max(min)
            .min(max);
        // COMPAT: Xen silently takes less. Here that needs a `min:`, as a typing error is more probable.
        let acceptable = if self.min.is_some() {
            min.min(max)
        } else {
            wanted
        };
        if acceptable > available || wanted == 0 {
            return Err(Dom0MemoryError {
                wanted: acceptable,
                available,
            });
        }
        let initial = wanted.min(available);
        Ok(Dom0Frames { initial, max })
    }

    /// These values, changed by those of the option: `<amount>`, `min:<amount>`, `max:<amount>`, with commas.
    pub(super) fn parse(mut self, text: &[u8]) -> Result<Self, Expected> {
        const EXPECTED: Expected =
            "<size>[,min:<size>][,max:<size>] (a size is like 512M, -1G, 25% or 256M+10%)";
        for item in text.split(|&byte| byte == b',') {
            let (field, amount) = if let Some(amount) = item.strip_prefix(b"min:") {
                (&mut self.min, amount)
            } else if let Some(amount) = item.strip_prefix(b"max:") {
                (&mut self.max, amount)
            } else {
                (&mut self.size, item)
            };
            *field = Some(Amount::parse(amount).ok_or(EXPECTED)?);
        }
        Ok(self)
    }
}

/// Limits of domain 0's number of virtual CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct VcpuRange {
    /// At least, even with fewer CPUs.
    pub min: Option<u32>,
    /// At most, even with more CPUs.
    pub max: Option<u32>,
}

impl VcpuRange {
    /// How many virtual CPUs, with `cpus` real ones: at least 1.
    pub fn vcpus(&self, cpus: u32) -> u32 {
        cpus.max(self.min.unwrap_or(1))
            .min(self.max.unwrap_or(u32::MAX))
            .max(1)
    }

    /// `<number>` for exactly that many, or `<min>-<max>`, either of which may be missing.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Expected> {
        Self::parse_range(text).ok_or("a number above 0, or <min>-<max>")
    }

    fn parse_range(text: &[u8]) -> Option<Self> {
        let limit = |text: &[u8]| match text {
            [] => Some(None),
            digits => number::<u32>(digits).filter(|&count| count > 0).map(Some),
        };
        let mut parts = text.splitn(2, |&byte| byte == b'-');
        let first = limit(parts.next()?)?;
        let range = match parts.next() {
            None => Self {
                min: first,
                max: first,
            },
            Some(second) => Self {
                min: first,
                max: limit(second)?,
            },
        };
        match (range.min, range.max) {
            (None, None) => None,
            (Some(min), Some(max)) if min > max => None,
            _ => Some(range),
        }
    }
}
