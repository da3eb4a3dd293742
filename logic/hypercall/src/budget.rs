//! How much work a call may do before it lets others run.

/// Units of work that a long call may still do. A unit is about one page-table entry or one small
/// item of a batch; a loop over a guest-chosen count spends at least one for each round.
#[derive(Debug)]
pub struct Budget {
    remaining: u32,
    consumed: u64,
}

impl Budget {
    /// A budget of this many units; at least one, so that every restart makes progress.
    pub const fn new(units: u32) -> Self {
        let remaining = if units == 0 { 1 } else { units };
        Self {
            remaining,
            consumed: 0,
        }
    }

    /// A budget that is never used up, for work that must not stop half way: construction of a domain
    /// at boot.
    pub const fn unlimited() -> Self {
        Self {
            remaining: u32::MAX,
            consumed: 0,
        }
    }

    /// Takes `units`; false when nothing is left, and the caller has to stop before the work. The last
    /// piece of work may overdraw, so that one piece dearer than the whole budget still gets done.
    #[must_use]
    pub fn spend(&mut self, units: u32) -> bool {
        if self.remaining == 0 {
            return false;
        }
        if self.remaining != u32::MAX {
            self.remaining = self.remaining.saturating_sub(units);
        }
        self.consumed = self.consumed.saturating_add(u64::from(units));
        true
    }

    /// Whether the next [`spend`](Self::spend) will say no.
    pub const fn is_exhausted(&self) -> bool {
        self.remaining == 0
    }

    /// The units that are left.
    pub const fn remaining(&self) -> u32 {
        self.remaining
    }

    /// The units spent so far.
    pub const fn consumed(&self) -> u64 {
        self.consumed
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn spends_to_the_end_and_then_refuses() {
        let mut budget = Budget::new(3);
        assert!(budget.spend(2));
        assert!(budget.spend(2), "the last piece may overdraw");
        assert!(budget.is_exhausted());
        assert!(!budget.spend(0));
        assert_eq!(budget.consumed(), 4);
    }

    #[test]
    fn an_empty_budget_still_makes_progress() {
        let mut budget = Budget::new(0);
        assert!(budget.spend(1000));
        assert!(!budget.spend(1));
    }

    #[test]
    fn unlimited_does_not_end() {
        let mut budget = Budget::unlimited();
        assert!(budget.spend(u32::MAX));
        assert!(budget.spend(u32::MAX));
        assert!(!budget.is_exhausted());
    }
}
