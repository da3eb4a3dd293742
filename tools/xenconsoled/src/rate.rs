//! How much a console may cost: a bucket of tokens that fills with time. A guest whose bucket is empty has its event channel
//! left masked until there are tokens again: it waits, and loses nothing.
//!
//! An event costs at least [`EVENT_COST`], so that one that says nothing is not for free.

use std::time::Duration;

/// What an event costs at least, in bytes.
pub const EVENT_COST: u64 = 64;

/// A bucket of tokens, each for a byte.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Tokens a second; 0 for no limit.
    rate: u64,
    /// The most tokens that are kept.
    burst: u64,
    tokens: u64,
    /// What the last event cost beyond the tokens that were there.
    debt: u64,
    /// When tokens were last added, since some beginning.
    filled: Duration,
}

impl Bucket {
    /// A full bucket. `rate` is in bytes a second, 0 for no limit.
    pub fn new(rate: u64, burst: u64, now: Duration) -> Bucket {
        let burst = burst.max(1);
        Bucket {
            rate,
            burst,
            tokens: burst,
            debt: 0,
            filled: now,
        }
    }

    /// Pays for an event that brought `bytes`. Gives when to look at the console again, if not at once.
    pub fn pay(&mut self, bytes: u64, now: Duration) -> Option<Duration> {
        if self.rate == 0 {
            return None;
        }
        self.fill(now);
        let cost = bytes.max(EVENT_COST);
        self.debt = self.debt.saturating_add(cost.saturating_sub(self.tokens));
        self.tokens = self.tokens.saturating_sub(cost);
        if self.tokens > 0 {
            return None;
        }
        // Not again for each few bytes: for a tenth of a second's worth, or what the bucket holds.
        let enough = (self.rate / 10).clamp(1, self.burst);
        Some(now.saturating_add(time_for(enough.saturating_add(self.debt), self.rate)))
    }

    fn fill(&mut self, now: Duration) {
        let since = now.saturating_sub(self.filled);
        let added = since.as_nanos().saturating_mul(u128::from(self.rate)) / 1_000_000_000;
        if added == 0 {
            return;
        }
        let added = u64::try_from(added).unwrap_or(u64::MAX);
        let left = added.saturating_sub(self.debt);
        self.debt = self.debt.saturating_sub(added);
        self.tokens = self.tokens.saturating_add(left).min(self.burst);
        self.filled = now;
    }
}

fn time_for(tokens: u64, rate: u64) -> Duration {
    let nanoseconds = u128::from(tokens) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_free_and_then_time_has_to_pass() {
        let mut bucket = Bucket::new(1000, 2000, SECOND);
        assert_eq!(bucket.pay(1900, SECOND), None);
        let again = bucket.pay(100, SECOND).unwrap();
        assert_eq!(again, SECOND + Duration::from_millis(100));
        assert_eq!(bucket.pay(90, again), None);
    }

    #[test]
    fn empty_events_cost() {
        let mut bucket = Bucket::new(1000, EVENT_COST * 3, SECOND);
        assert_eq!(bucket.pay(0, SECOND), None);
        assert_eq!(bucket.pay(0, SECOND), None);
        assert!(bucket.pay(0, SECOND).is_some());
    }

    #[test]
    fn no_rate_is_no_limit() {
        assert_eq!(Bucket::new(0, 0, SECOND).pay(u64::MAX, SECOND), None);
    }

    proptest! {
        /// Over any time, no more passes than the rate allows, the burst, and one event.
        #[test]
        fn the_rate_holds(
            rate in 1_u64..1_000_000,
            burst in 1_u64..100_000,
            events in proptest::collection::vec((0_u64..4096, 0_u64..100_000_000), 1..200),
        ) {
            let mut bucket = Bucket::new(rate, burst, Duration::ZERO);
            let (mut now, mut open_at, mut passed) = (Duration::ZERO, Duration::ZERO, 0_u128);
            for (bytes, pause) in events {
                now = (now + Duration::from_nanos(pause)).max(open_at);
                passed += u128::from(bytes);
                if let Some(again) = bucket.pay(bytes, now) {
                    prop_assert!(again >= now);
                    open_at = again;
                }
                let allowed = u128::from(rate) * now.as_nanos() / 1_000_000_000 + u128::from(burst);
                prop_assert!(passed <= allowed + 4096, "{passed} of {allowed}");
            }
        }
    }
}
