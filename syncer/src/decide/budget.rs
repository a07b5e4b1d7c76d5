//! The breaker for deletions: beyond it deleting waits.

use std::collections::VecDeque;

use placement_api::kinds::DeleteBudget;

/// From so many applied objects on the percentage counts; below, it would forbid single deletions.
const PERCENT_FROM: usize = 20;
/// Milliseconds of the window.
const WINDOW: u64 = 60_000;

/// Deletions of the last minute. Time is milliseconds of any clock that never goes back.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    spent: VecDeque<u64>,
}

impl Budget {
    /// How many more objects may be deleted now, of `applied` that there are.
    pub fn left(&mut self, limits: Option<&DeleteBudget>, applied: usize, now: u64) -> usize {
        while self.spent.front().is_some_and(|at| at + WINDOW <= now) {
            self.spent.pop_front();
        }
        let Some(limits) = limits else {
            return usize::MAX;
        };
        let mut allowed = limits.per_minute as usize;
        if applied >= PERCENT_FROM {
            allowed = allowed.min(applied.saturating_mul(limits.percent as usize) / 100);
        }
        allowed.saturating_sub(self.spent.len())
    }

    /// Counts deletions that were ordered.
    pub fn spend(&mut self, count: usize, now: u64) {
        self.spent.extend(std::iter::repeat_n(now, count));
    }

    /// When the next deletion is allowed again, if any is waiting for it.
    pub fn next(&self) -> Option<u64> {
        self.spent.front().map(|at| at + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_the_minute_and_the_share() {
        let limits = DeleteBudget {
            per_minute: 10,
            percent: 20,
        };
        let mut budget = Budget::default();
        assert_eq!(budget.left(None, 5, 0), usize::MAX);
        assert_eq!(
            budget.left(Some(&limits), 5, 0),
            10,
            "few objects: no percentage"
        );
        assert_eq!(budget.left(Some(&limits), 20, 0), 4);
        budget.spend(4, 1_000);
        assert_eq!(budget.left(Some(&limits), 20, 2_000), 0);
        assert_eq!(budget.next(), Some(61_000));
        assert_eq!(budget.left(Some(&limits), 20, 60_999), 0);
        assert_eq!(budget.left(Some(&limits), 20, 61_000), 4);
    }
}
