//! What a domain may have of the machine: its weight, and its cap with the budget that enforces it.
//!
//! The vCPUs of a domain are in many queues, so this is the one part that CPUs share without a lock. A cap
//! is a budget of run time for each period of 10 ms. A vCPU takes a grant out of it before it runs, and gives
//! back what it did not use; what it used beyond (a timer was late) is a debt of the periods that follow. So in
//! any stretch of time the domain runs for its cap of it, one period's budget and the lateness of timers, at most.
//!
//! Invariant: within a period, grants given out less what came back is at most the budget.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Weight of a domain that has not been given one.
pub const DEFAULT_WEIGHT: u32 = 256;
/// Highest weight.
pub const MAX_WEIGHT: u32 = 65_535;
/// Length of a cap's period in nanoseconds.
pub const CAP_PERIOD: u64 = 10_000_000;
/// A grant is at least this many nanoseconds, while there is budget: many vCPUs do not cut it into crumbs.
const LEAST_GRANT: u64 = 250_000;
/// A rest of this many nanoseconds is not worth switching to a vCPU.
const CRUMB: i64 = 20_000;

/// In the word of the budget: 24 bits of the period's number, 40 bits of signed nanoseconds that are left.
const LEFT_BITS: u32 = 40;
const PERIOD_MASK: u64 = (1 << 24) - 1;
/// Most debt that is remembered.
const MAX_DEBT: i64 = 1_000_000_000;

/// What a domain may have of the machine. All its vCPUs refer to one.
#[derive(Debug)]
pub struct Share {
    weight: AtomicU32,
    /// Percent of a CPU; 0 for no cap.
    cap: AtomicU32,
    /// vCPUs that are awake.
    awake: AtomicU32,
    /// Shifts the periods of domains against each other.
    phase: u64,
    budget: AtomicU64,
}

/// Run time that a vCPU took out of its domain's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Nanoseconds left; negative for time that was used beyond.
    pub(crate) left: i64,
    period: u64,
}

/// What a vCPU has been granted in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Taken {
    period: u64,
    nanoseconds: i64,
}

impl Share {
    /// The default weight and no cap. `seed` (the domain's number) shifts its periods against others'.
    pub const fn new(seed: u16) -> Self {
        Self {
            weight: AtomicU32::new(DEFAULT_WEIGHT),
            cap: AtomicU32::new(0),
            awake: AtomicU32::new(0),
            phase: seed as u64 * 1_618_034 % CAP_PERIOD,
            // No period has this number next to any that has, so that the first is a new one.
            budget: AtomicU64::new(0),
        }
    }

    /// Weight: a vCPU with twice the weight of another gets twice as much of a contended CPU.
    #[inline]
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Sets the weight, within 1 and [`MAX_WEIGHT`], of a domain whose vCPUs have not run yet; else it is
    /// [`crate::Scheduler::set_weight`] that does.
    pub fn set_weight(&self, weight: u32) {
        self.weight
            .store(weight.clamp(1, MAX_WEIGHT), Ordering::Relaxed);
    }

    /// Most that the domain's vCPUs may use together, in percent of one CPU; 0 if there is no limit.
    #[inline]
    pub fn cap(&self) -> u32 {
        self.cap.load(Ordering::Relaxed)
    }

    /// Sets the cap, 0 for none, from the next period on at the latest. At most 65535.
    pub fn set_cap(&self, cap: u32) {
        self.cap.store(cap.min(65_535), Ordering::Relaxed);
    }

    pub(crate) fn note_awake(&self) {
        self.awake.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_asleep(&self) {
        self.awake.fetch_sub(1, Ordering::Relaxed);
    }

    fn period(&self, now: u64) -> u64 {
        (now.saturating_add(self.phase) / CAP_PERIOD + 1) & PERIOD_MASK
    }

    /// When the period after the one of `now` begins.
    fn next_period(&self, now: u64) -> u64 {
        let into = now.saturating_add(self.phase) % CAP_PERIOD;
        now.saturating_add(CAP_PERIOD - into)
    }

    /// Budget of a period in nanoseconds.
    fn full(cap: u32) -> i64 {
        (u64::from(cap) * (CAP_PERIOD / 100)) as i64
    }

    /// The budget that is left at `now`, from the word `state`.
    fn left(&self, state: u64, now: u64, cap: u32) -> (u64, i64) {
        let (then, left) = unpack(state);
        let period = self.period(now);
        if then == period {
            return (period, left);
        }
        // Debts are paid by the budgets of all periods since; what was left of them is lost.
        let passed = (period.wrapping_sub(then) & PERIOD_MASK).min(1 << 16) as i64;
        let full = Self::full(cap);
        (
            period,
            left.min(0)
                .saturating_add(full.saturating_mul(passed))
                .min(full),
        )
    }

    /// Takes a part of the budget for vCPU `number` of the domain, which had `taken` before; when there is none for it,
    /// says when to ask again. Without a cap there is nothing to ask for: see [`Share::cap`].
    ///
    /// In the first half of a period each vCPU that is awake gets its equal part and no more, so that those that ask first
    /// (they may be on CPUs with nothing else to do) leave something for the others; then what is left is anyone's.
    pub(crate) fn take(&self, now: u64, number: u32, taken: &mut Taken) -> Result<Grant, u64> {
        let cap = self.cap();
        let full = Self::full(cap);
        let period = self.period(now);
        if taken.period != period {
            *taken = Taken {
                period,
                nanoseconds: 0,
            };
        }
        let into = now.saturating_add(self.phase) % CAP_PERIOD;
        let is_early = into < CAP_PERIOD / 2;
        let later = Err(now.saturating_add(CAP_PERIOD / 2 - into.min(CAP_PERIOD / 2)));
        let awake = u64::from(self.awake.load(Ordering::Relaxed)).max(1);
        let mut part = full as u64 / awake;
        if part < LEAST_GRANT {
            part = LEAST_GRANT;
            // Not enough for all: they take turns.
            let turns = (full as u64 / LEAST_GRANT).max(1);
            let turn = period.wrapping_mul(turns) + u64::from(number);
            if turn % awake >= turns && is_early {
                return later;
            }
        }
        let mut part = part as i64;
        if is_early {
            part -= taken.nanoseconds;
            if part < CRUMB {
                return later;
            }
        }
        let mut state = self.budget.load(Ordering::Relaxed);
        loop {
            let (period, left) = self.left(state, now, cap);
            if left < CRUMB {
                return Err(self.next_period(now));
            }
            let grant = if left - part < CRUMB { left } else { part };
            let next = pack(period, left - grant);
            // Relaxed: the word guards nothing but itself.
            match self.budget.compare_exchange_weak(
                state,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    taken.nanoseconds = taken.nanoseconds.saturating_add(grant);
                    return Ok(Grant {
                        left: grant,
                        period,
                    });
                }
                Err(changed) => state = changed,
            }
        }
    }

    /// Gives back what is left of a grant, or owns up to what was used beyond it.
    pub(crate) fn give_back(&self, grant: Grant, taken: &mut Taken) {
        if grant.left == 0 {
            return;
        }
        if grant.period == taken.period {
            taken.nanoseconds = taken.nanoseconds.saturating_sub(grant.left);
        }
        let mut state = self.budget.load(Ordering::Relaxed);
        loop {
            let (period, left) = unpack(state);
            if grant.left > 0 && grant.period != period {
                // That period's budget is gone.
                return;
            }
            let next = pack(period, left.saturating_add(grant.left).max(-MAX_DEBT));
            match self.budget.compare_exchange_weak(
                state,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(changed) => state = changed,
            }
        }
    }
}

fn pack(period: u64, left: i64) -> u64 {
    period << LEFT_BITS | left as u64 & ((1 << LEFT_BITS) - 1)
}

fn unpack(state: u64) -> (u64, i64) {
    let shift = 64 - LEFT_BITS;
    (state >> LEFT_BITS, (state << shift) as i64 >> shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_what_is_packed() {
        for (period, left) in [(0, 0), (1, -1), (PERIOD_MASK, MAX_DEBT), (7, -MAX_DEBT)] {
            assert_eq!(unpack(pack(period, left)), (period, left));
        }
        assert!(
            Share::full(65_535) < 1 << (LEFT_BITS - 1),
            "the largest budget fits"
        );
    }

    /// Asks for a vCPU that has had nothing.
    fn take(share: &Share, now: u64) -> Result<Grant, u64> {
        share.take(now, 0, &mut Taken::default())
    }

    #[test]
    fn a_period_grants_its_budget_and_no_more() {
        let share = Share::new(0);
        share.set_cap(50);
        share.note_awake();
        share.note_awake();
        let mut total = 0;
        while let Ok(grant) = take(&share, 0) {
            assert!(grant.left <= 2_500_000, "two awake: each asks for a half");
            total += grant.left;
        }
        assert_eq!(total, 5_000_000);
        assert_eq!(take(&share, CAP_PERIOD - 1), Err(CAP_PERIOD));
        assert!(take(&share, CAP_PERIOD).is_ok(), "a new period");
    }

    #[test]
    fn who_asks_first_leaves_the_others_their_parts() {
        let share = Share::new(0);
        share.set_cap(50);
        share.note_awake();
        share.note_awake();
        let mut first = Taken::default();
        assert_eq!(share.take(0, 0, &mut first).unwrap().left, 2_500_000);
        assert_eq!(share.take(0, 0, &mut first), Err(CAP_PERIOD / 2));
        let mut other = Taken::default();
        let grant = share.take(1, 1, &mut other).unwrap();
        assert_eq!(grant.left, 2_500_000);
        share.give_back(grant, &mut other);
        assert!(share.take(2, 1, &mut other).is_ok(), "it had none of it");
        let late = CAP_PERIOD + CAP_PERIOD / 2;
        assert!(share.take(late, 0, &mut first).is_ok());
        assert!(
            share.take(late, 0, &mut first).is_ok(),
            "nobody else wanted it"
        );
    }

    #[test]
    fn debts_are_paid_and_rests_expire() {
        let share = Share::new(0);
        share.set_cap(10);
        share.note_awake();
        let mut taken = Taken::default();
        let mut grant = share.take(0, 0, &mut taken).unwrap();
        grant.left -= 4_000_000; // a timer 3 ms late: 3 periods' worth
        share.give_back(grant, &mut taken);
        for period in 1..=3 {
            assert!(take(&share, period * CAP_PERIOD).is_err());
        }
        let grant = take(&share, 4 * CAP_PERIOD).unwrap();
        assert_eq!(grant.left, 1_000_000);
        // What comes back in its own period can be taken again, and later not.
        share.give_back(grant, &mut taken);
        let grant = take(&share, 5 * CAP_PERIOD - 1).unwrap();
        assert_eq!(grant.left, 1_000_000);
        assert!(take(&share, 5 * CAP_PERIOD).is_ok());
        share.give_back(grant, &mut taken);
        assert!(take(&share, 5 * CAP_PERIOD).is_err());
    }

    #[test]
    fn what_is_not_enough_for_all_goes_round() {
        let share = Share::new(0);
        share.set_cap(1);
        for _ in 0..3 {
            share.note_awake();
        }
        let mut turns = [0; 3];
        for period in 0..30 {
            for number in 0..3 {
                match share.take(period * CAP_PERIOD, number, &mut Taken::default()) {
                    Ok(_) => turns[number as usize] += 1,
                    Err(when) => assert!(when > period * CAP_PERIOD),
                }
            }
            // Late in a period nothing is left, or anyone may have it.
            let half = period * CAP_PERIOD + CAP_PERIOD / 2;
            assert!(take(&share, half).is_err());
        }
        assert_eq!(turns, [10; 3]);
    }

    #[test]
    fn the_largest_cap_is_granted_too() {
        let share = Share::new(9);
        share.set_cap(u32::MAX);
        assert_eq!(share.cap(), 65_535);
        share.note_awake();
        assert_eq!(take(&share, 0).unwrap().left, 6_553_500_000);
    }
}
