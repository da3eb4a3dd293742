//! Sets of CPUs as configurations write them: `all`, `2,4-6`, `0-7,^3`.

use std::fmt;
use std::str::FromStr;

/// No machine has more CPUs; so that a set of all is finite.
const MOST: u32 = 4095;

/// Some consecutive CPUs that are put in a set, or taken out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuRange {
    /// Out instead of in.
    pub excluded: bool,
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

/// A set of CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpuSet {
    /// Every CPU.
    All,
    /// Those of the ranges, in their order.
    Ranges(Vec<CpuRange>),
}

impl CpuSet {
    /// Only this one.
    pub fn one(cpu: u32) -> Self {
        Self::Ranges(vec![CpuRange {
            excluded: false,
            first: cpu,
            last: cpu,
        }])
    }

    /// Whether the set has this CPU.
    pub fn contains(&self, cpu: u32) -> bool {
        let Self::Ranges(ranges) = self else {
            return true;
        };
        // A set that begins with what it does not have, begins with all.
        let mut contains = ranges.first().is_some_and(|range| range.excluded);
        for range in ranges {
            if (range.first..=range.last).contains(&cpu) {
                contains = !range.excluded;
            }
        }
        contains
    }

    /// The set as bits, the first CPU lowest, of as many bytes as `cpus` CPUs need.
    pub fn to_bitmap(&self, cpus: u32) -> Vec<u8> {
        let mut bitmap = vec![0_u8; cpus.div_ceil(8) as usize];
        for (index, byte) in bitmap.iter_mut().enumerate() {
            for bit in 0..8 {
                let cpu = index as u32 * 8 + bit;
                if cpu < cpus && self.contains(cpu) {
                    *byte |= 1 << bit;
                }
            }
        }
        bitmap
    }
}

/// Prints the CPUs of a bitmap as ranges; `all` if those are all `cpus`, `none` if there are none.
pub fn bitmap_to_text(bitmap: &[u8], cpus: u32) -> String {
    let contains = |cpu: u32| {
        bitmap
            .get(cpu as usize / 8)
            .is_some_and(|byte| byte >> (cpu % 8) & 1 != 0)
    };
    if cpus > 0 && (0..cpus).all(contains) {
        return "all".to_owned();
    }
    let mut parts = Vec::new();
    let mut cpu = 0;
    while cpu < cpus {
        if !contains(cpu) {
            cpu += 1;
            continue;
        }
        let first = cpu;
        while cpu < cpus && contains(cpu) {
            cpu += 1;
        }
        parts.push(if cpu - 1 == first {
            first.to_string()
        } else {
            format!("{first}-{}", cpu - 1)
        });
    }
    if parts.is_empty() {
        return "none".to_owned();
    }
    parts.join(",")
}

/// Not a set of CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuSetError {
    /// What was written.
    pub text: String,
}

impl fmt::Display for CpuSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a set of CPUs, such as `all`, `3`, `0-3,6` or `0-7,^3`",
            self.text
        )
    }
}

impl std::error::Error for CpuSetError {}

impl FromStr for CpuSet {
    type Err = CpuSetError;

    fn from_str(text: &str) -> Result<Self, CpuSetError> {
        let error = || CpuSetError {
            text: text.to_owned(),
        };
        if text.trim() == "all" {
            return Ok(Self::All);
        }
        let number = |word: &str| {
            let word = word.trim();
            let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
            word.parse()
                .ok()
                .filter(|&cpu: &u32| is_number && cpu <= MOST)
        };
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let part = part.trim();
            let (excluded, part) = match part.strip_prefix('^') {
                Some(part) => (true, part),
                None => (false, part),
            };
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (
                number(first).ok_or_else(error)?,
                number(last).ok_or_else(error)?,
            );
            if first > last {
                return Err(error());
            }
            ranges.push(CpuRange {
                excluded,
                first,
                last,
            });
        }
        Ok(Self::Ranges(ranges))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ranges(ranges) = self else {
            return f.write_str("all");
        };
        for (index, range) in ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            if range.excluded {
                f.write_str("^")?;
            }
            write!(f, "{}", range.first)?;
            if range.last != range.first {
                write!(f, "-{}", range.last)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{CpuSet, bitmap_to_text};

    #[test]
    fn sets() {
        let bitmap = |text: &str| text.parse::<CpuSet>().map(|set| set.to_bitmap(12));
        assert_eq!(bitmap("all"), Ok(vec![0xff, 0x0f]));
        assert_eq!(bitmap("0-3,^2, 9"), Ok(vec![0b1011, 2]));
        assert_eq!(bitmap("^0"), Ok(vec![0xfe, 0x0f]));
        assert_eq!(bitmap("4000"), Ok(vec![0, 0]));
        for bad in ["", "a", "1-", "3-1", "1,,2", "+1", "99999", "^"] {
            assert!(bad.parse::<CpuSet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn bitmaps() {
        assert_eq!(bitmap_to_text(&[0xff], 8), "all");
        assert_eq!(bitmap_to_text(&[0b1011], 8), "0-1,3");
        assert_eq!(bitmap_to_text(&[], 8), "none");
        assert_eq!(bitmap_to_text(&[1], 1), "all");
    }
}
