//! The CMOS real-time clock (MC146818 and what chipsets made of it): registers 0–13 behind ports 0x70
//! and 0x71, the century where the FADT says.
//!
//! A reading is taken twice outside the update cycle and has to agree, so a rollover between two
//! registers cannot tear it. All waits are bounded: a machine without an RTC gives `None`.

use platform_cpu::ports;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;

const UPDATE_IN_PROGRESS: u8 = 1 << 7;
const HOURS_24: u8 = 1 << 1;
const BINARY: u8 = 1 << 2;
const AFTERNOON: u8 = 1 << 7;

/// An update cycle takes 2 ms at most; a port access takes about 1 µs on real chipsets.
const UPDATE_POLLS: u32 = 10_000;

/// The clock's registers as they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtcRegisters {
    /// Seconds.
    pub second: u8,
    /// Minutes.
    pub minute: u8,
    /// Hours; bit 7 says afternoon in 12-hour mode.
    pub hour: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Month, from 1.
    pub month: u8,
    /// Year of the century.
    pub year: u8,
    /// Century register, where the machine has one.
    pub century: Option<u8>,
    /// Status register B: the format of the others.
    pub status_b: u8,
}

impl RtcRegisters {
    /// Seconds since 1970-01-01 00:00:00 UTC, taking the clock as UTC; `None` for values that are no date.
    pub fn to_unix_time(&self) -> Option<u64> {
        let binary = self.status_b & BINARY != 0;
        let decode = |raw: u8| -> Option<u64> {
            if binary {
                Some(raw.into())
            } else if raw & 0xf < 10 && raw >> 4 < 10 {
                Some(u64::from(raw >> 4) * 10 + u64::from(raw & 0xf))
            } else {
                None
            }
        };
        let second = decode(self.second).filter(|&v| v < 61)?;
        let minute = decode(self.minute).filter(|&v| v < 60)?;
        let hour = if self.status_b & HOURS_24 != 0 {
            decode(self.hour).filter(|&v| v < 24)?
        } else {
            let hour = decode(self.hour & !AFTERNOON).filter(|v| (1..=12).contains(v))?;
            hour % 12 + if self.hour & AFTERNOON != 0 { 12 } else { 0 }
        };
        let day = decode(self.day).filter(|v| (1..=31).contains(v))?;
        let month = decode(self.month).filter(|v| (1..=12).contains(v))?;
        let year = decode(self.year).filter(|&v| v < 100)?;
        // A century register that holds nonsense counts as absent; two digits alone mean 1970 to 2069.
        let year = match self.century.and_then(decode) {
            Some(century @ 19..=29) => century * 100 + year,
            _ if year < 70 => 2000 + year,
            _ => 1900 + year,
        };
        if year < 1970 {
            return None;
        }
        Some(((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, `year` ≥ 1970.
const fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Years begin in March here, so that the leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // 1969-12-31 counted the same way, plus one.
    days - 719_468
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct CmosRtc {
    century: Option<u8>,
}

impl CmosRtc {
    /// The clock, with the index of its century register as the FADT has it (0: none).
    pub const fn new(century_register: u8) -> Self {
        Self {
            century: match century_register {
                // The index has to lie within the 128 bytes and beyond the clock's own registers.
                0x0e..=0x7f => Some(century_register),
                _ => None,
            },
        }
    }

    /// Seconds since 1970 by the machine's clock; `None` if there is no clock that answers sensibly.
    pub fn read(&self) -> Option<u64> {
        let mut previous = None;
        for _ in 0..8 {
            let mut polls = UPDATE_POLLS;
            while read_register(STATUS_A) & UPDATE_IN_PROGRESS != 0 {
                polls = polls.checked_sub(1)?;
                core::hint::spin_loop();
            }
            let now = self.read_registers();
            if previous == Some(now) {
                return now.to_unix_time();
            }
            previous = Some(now);
        }
        None
    }

    fn read_registers(&self) -> RtcRegisters {
        RtcRegisters {
            second: read_register(SECONDS),
            minute: read_register(MINUTES),
            hour: read_register(HOURS),
            day: read_register(DAY),
            month: read_register(MONTH),
            year: read_register(YEAR),
            century: self.century.map(read_register),
            status_b: read_register(STATUS_B),
        }
    }
}

/// Reads one CMOS byte. Bit 7 of the index port gates NMIs on old chipsets: left clear, NMIs enabled.
pub fn read_register(index: u8) -> u8 {
    ports::outb(INDEX, index & 0x7f);
    ports::inb(DATA)
}

/// Writes one CMOS byte.
pub fn write_register(index: u8, value: u8) {
    ports::outb(INDEX, index & 0x7f);
    ports::outb(DATA, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCD_24: RtcRegisters = RtcRegisters {
        second: 0x59,
        minute: 0x30,
        hour: 0x23,
        day: 0x29,
        month: 0x02,
        year: 0x24,
        century: Some(0x20),
        status_b: HOURS_24,
    };

    #[test]
    fn bcd_leap_day() {
        // 2024-02-29 23:30:59 UTC
        assert_eq!(BCD_24.to_unix_time(), Some(1_709_249_459));
    }

    #[test]
    fn binary_with_twelve_hours() {
        let mut registers = RtcRegisters {
            second: 0,
            minute: 0,
            hour: 12,
            day: 1,
            month: 1,
            year: 70,
            century: Some(19),
            status_b: BINARY,
        };
        assert_eq!(registers.to_unix_time(), Some(0), "12 am is midnight");
        registers.hour = 12 | AFTERNOON;
        assert_eq!(registers.to_unix_time(), Some(12 * 3600), "12 pm is noon");
        registers.hour = 11 | AFTERNOON;
        assert_eq!(registers.to_unix_time(), Some(23 * 3600));
    }

    #[test]
    fn century_is_guessed() {
        let with = |year, century| {
            RtcRegisters {
                year,
                century,
                ..BCD_24
            }
            .to_unix_time()
        };
        assert_eq!(with(0x24, None), BCD_24.to_unix_time());
        assert_eq!(with(0x24, Some(0)), BCD_24.to_unix_time());
        assert_eq!(with(0x24, Some(0xff)), BCD_24.to_unix_time());
    }

    #[test]
    fn nonsense_is_refused() {
        for broken in [
            RtcRegisters {
                second: 0x7a,
                ..BCD_24
            },
            RtcRegisters {
                month: 0x13,
                ..BCD_24
            },
            RtcRegisters { day: 0, ..BCD_24 },
            RtcRegisters {
                hour: 0x24,
                ..BCD_24
            },
            RtcRegisters {
                minute: 0xff,
                ..BCD_24
            },
        ] {
            assert_eq!(broken.to_unix_time(), None, "{broken:?}");
        }
    }

    #[test]
    fn every_day_of_a_century_follows_the_one_before() {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut expected = 0;
        for year in 1970..2101u64 {
            let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
            for month in 1..=12 {
                let length = lengths[month as usize - 1] + u64::from(leap && month == 2);
                for day in 1..=length {
                    assert_eq!(
                        days_since_1970(year, month, day),
                        expected,
                        "{year}-{month}-{day}"
                    );
                    expected += 1;
                }
            }
        }
    }
}
