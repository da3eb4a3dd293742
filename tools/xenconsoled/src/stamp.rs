//! Times at the beginning of a log's lines: `[2026-11-23 19:00:00] `, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Puts a time before each line of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamper {
    within_line: bool,
}

impl Stamper {
    /// Adds `input` to `output`, and the time where lines begin.
    pub fn push(&mut self, input: &[u8], now: SystemTime, output: &mut Vec<u8>) {
        let stamp = stamp(now);
        for line in input.split_inclusive(|&byte| byte == b'\n') {
            if !self.within_line {
                output.extend_from_slice(stamp.as_bytes());
            }
            output.extend_from_slice(line);
            self.within_line = !line.ends_with(b"\n");
        }
    }
}

/// A time as logs have it.
pub fn stamp(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let second = seconds % 86_400;
    format!(
        "[{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}] ",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Year, month and day of a day since 1970, in the Gregorian calendar. Years are counted from March, so that a leap
/// day is a year's last.
fn date(days: u64) -> (u64, u64, u64) {
    // 0000-03-01 is 719,468 days before 1970-01-01; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March have 31, 30, 31, 30, 31 days, and so on: 153 in five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(stamp(at(0)), "[1970-01-01 00:00:00] ");
        assert_eq!(stamp(at(951_782_400)), "[2000-02-29 00:00:00] ");
        assert_eq!(stamp(at(1_795_547_693)), "[2026-11-24 19:14:53] ");
        assert_eq!(stamp(at(4_107_542_399)), "[2100-02-28 23:59:59] ");
        assert_eq!(stamp(at(4_107_542_400)), "[2100-03-01 00:00:00] ");
    }

    #[test]
    fn each_line_has_one() {
        let mut stamper = Stamper::default();
        let mut output = Vec::new();
        for piece in ["a", "b\n", "\nc\nd"] {
            stamper.push(piece.as_bytes(), at(0), &mut output);
        }
        let text = String::from_utf8(output)
            .unwrap()
            .replace("[1970-01-01 00:00:00] ", "@");
        assert_eq!(text, "@ab\n@\n@c\n@d");
    }
}
