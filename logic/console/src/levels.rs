//! Which messages are printed, and how often those that guests cause.

use boot_info::config::{LogLevel, Thresholds};
use log::Level;

/// Nanoseconds that one message of a limited kind costs, and how many may come at once.
const COST: u64 = 500_000_000;
const BURST: u64 = 10;

/// What to do with a message.
pub enum Verdict {
    /// Print it; before it, that `suppressed` others were not.
    Print {
        /// Messages left out since the last one that was printed.
        suppressed: u32,
    },
    /// Leave it out.
    Drop,
}

/// Thresholds of one kind of message, and the allowance of its limited part.
pub struct Filter {
    thresholds: Thresholds,
    /// Time up to which the allowance is used.
    used_until: u64,
    suppressed: u32,
}

impl Filter {
    /// A filter with a full allowance.
    pub const fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            used_until: 0,
            suppressed: 0,
        }
    }

    /// Changes the thresholds.
    pub fn set(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
    }

    /// Decides on a message of `level` at time `now`.
    pub fn judge(&mut self, level: Level, now: u64) -> Verdict {
        let level = match level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warning,
            Level::Info => LogLevel::Info,
            Level::Debug | Level::Trace => LogLevel::Debug,
        };
        if level <= self.thresholds.always {
            return Verdict::Print { suppressed: 0 };
        }
        if level > self.thresholds.limited {
            return Verdict::Drop;
        }
        let earliest = now.saturating_sub(COST * BURST);
        let after = self.used_until.max(earliest).saturating_add(COST);
        if after > now {
            self.suppressed = self.suppressed.saturating_add(1);
            return Verdict::Drop;
        }
        self.used_until = after;
        Verdict::Print {
            suppressed: core::mem::take(&mut self.suppressed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(filter: &mut Filter, level: Level, now: u64) -> Option<u32> {
        match filter.judge(level, now) {
            Verdict::Print { suppressed } => Some(suppressed),
            Verdict::Drop => None,
        }
    }

    #[test]
    fn thresholds() {
        let mut filter = Filter::new(Thresholds {
            always: LogLevel::Warning,
            limited: LogLevel::Warning,
        });
        assert_eq!(printed(&mut filter, Level::Error, 0), Some(0));
        assert_eq!(printed(&mut filter, Level::Warn, 0), Some(0));
        assert_eq!(printed(&mut filter, Level::Info, 0), None);
        let mut nothing = Filter::new(Thresholds {
            always: LogLevel::None,
            limited: LogLevel::None,
        });
        assert_eq!(printed(&mut nothing, Level::Error, u64::MAX), None);
    }

    #[test]
    fn a_flood_is_limited_and_counted() {
        let mut filter = Filter::new(Thresholds {
            always: LogLevel::None,
            limited: LogLevel::Warning,
        });
        let start = 1_000 * COST;
        let through = (0..100)
            .filter(|_| printed(&mut filter, Level::Warn, start).is_some())
            .count();
        assert_eq!(through as u64, BURST);
        assert_eq!(printed(&mut filter, Level::Warn, start + COST), Some(90));
        assert_eq!(printed(&mut filter, Level::Warn, start + COST), None);
        assert_eq!(printed(&mut filter, Level::Debug, start + 100 * COST), None);
    }
}
