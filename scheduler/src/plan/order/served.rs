//! Work served by a queue up to now, kept by rate so that an event costs no walk over what runs.

use std::collections::{BTreeMap, BTreeSet};

/// Size × milliseconds served so far.
#[derive(Clone, Debug)]
pub(super) struct Served<I> {
    total: i128,
    /// Size of everybody who does useful work since `at_ms`.
    rate: i128,
    at_ms: i64,
    /// Those who do useful work from a later time on.
    later: BTreeSet<(i64, I)>,
    /// Size, and since when useful, of everybody who runs.
    running: BTreeMap<I, (i64, i64)>,
}

impl<I> Default for Served<I> {
    fn default() -> Self {
        Self {
            total: 0,
            rate: 0,
            at_ms: i64::MIN / 2,
            later: BTreeSet::new(),
            running: BTreeMap::new(),
        }
    }
}

impl<I: Ord + Clone> Served<I> {
    pub(super) fn start(&mut self, id: &I, size: i64, useful_ms: i64) {
        self.stop(id, self.at_ms);
        self.running.insert(id.clone(), (size, useful_ms));
        if useful_ms > self.at_ms {
            self.later.insert((useful_ms, id.clone()));
        } else {
            self.total += i128::from(size) * i128::from(self.at_ms - useful_ms);
            self.rate += i128::from(size);
        }
    }

    pub(super) fn stop(&mut self, id: &I, now_ms: i64) {
        self.until(now_ms);
        let Some((size, useful_ms)) = self.running.remove(id) else {
            return;
        };
        if !self.later.remove(&(useful_ms, id.clone())) {
            self.rate -= i128::from(size);
        }
    }

    /// Work served up to a time; never goes back.
    pub(super) fn until(&mut self, now_ms: i64) -> i128 {
        if now_ms <= self.at_ms {
            return self.total;
        }
        self.total += self.rate * (i128::from(now_ms) - i128::from(self.at_ms));
        self.at_ms = now_ms;
        while let Some((useful_ms, id)) = self.later.first().cloned()
            && useful_ms <= now_ms
        {
            self.later.pop_first();
            if let Some((size, _)) = self.running.get(&id) {
                self.total += i128::from(*size) * i128::from(now_ms - useful_ms);
                self.rate += i128::from(*size);
            }
        }
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_useful_time_counts() {
        let mut served = Served::default();
        served.start(&"a", 2, 100);
        assert_eq!(served.until(50), 0);
        assert_eq!(served.until(110), 20);
        served.start(&"b", 5, 130);
        served.stop(&"a", 120);
        assert_eq!(served.until(140), 40 + 50);
        served.stop(&"b", 141);
        assert_eq!(served.until(900), 95);
        served.start(&"c", 1, 890);
        assert_eq!(served.until(900), 105, "told late");
    }
}
