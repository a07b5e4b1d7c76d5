//! What is free on a node, now and later.

use std::collections::BTreeMap;

use crate::fleet::Amounts;

/// Nodes and their lines.
pub type Lines<N> = BTreeMap<N, Line>;

/// What is free on one node now, and what becomes free when. Who has no known end frees nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    free: Amounts,
    /// By time; equal times are separate.
    ends: Vec<(i64, Amounts)>,
}

impl Line {
    /// A node with so much free now, and these ends in any order.
    pub fn new(free: Amounts, mut ends: Vec<(i64, Amounts)>) -> Self {
        ends.sort_by_key(|(time, _)| *time);
        Self { free, ends }
    }

    /// Free now; negative where promises hold what others still have.
    pub fn free(&self) -> &Amounts {
        &self.free
    }

    /// Times at which something becomes free, and what.
    pub fn ends(&self) -> impl Iterator<Item = (i64, &Amounts)> {
        self.ends.iter().map(|(time, amounts)| (*time, amounts))
    }

    /// Free at a time: what ends exactly then is free.
    pub fn free_at(&self, time_ms: i64) -> Amounts {
        let mut free = self.free.clone();
        for (_, amounts) in self.ends.iter().take_while(|(end, _)| *end <= time_ms) {
            free.add_all(amounts);
        }
        free
    }

    /// Somebody runs here from now on, until an end.
    pub fn occupy(&mut self, amounts: &Amounts, end_ms: Option<i64>) {
        self.free = self.free.less(amounts);
        if let Some(end) = end_ms {
            let at = self.ends.partition_point(|(time, _)| *time <= end);
            self.ends.insert(at, (end, amounts.clone()));
        }
    }
}
