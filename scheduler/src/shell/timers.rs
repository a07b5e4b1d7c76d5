//! Everything that is to happen at a certain time, in one ordered queue.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

/// Times by key: one for each key, the earliest first.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            by_time: BTreeSet::new(),
            by_key: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets the time of a key, in place of the one it had.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        self.cancel(&key);
        self.by_time.insert((at, key.clone()));
        self.by_key.insert(key, at);
    }

    /// Sets the time of a key unless it has an earlier one.
    pub(crate) fn set_earlier(&mut self, key: K, at: Instant) {
        if self.by_key.get(&key).is_none_or(|have| *have > at) {
            self.set(key, at);
        }
    }

    /// Forgets a key.
    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// When something is to happen next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<K> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_comes_first_and_a_key_has_one_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.set("b", at(2));
        timers.set("a", at(3));
        timers.set("a", at(1));
        timers.set_earlier("b", at(5));
        timers.set("c", at(1));
        timers.cancel(&"c");
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.due(at(0)), None);
        assert_eq!(timers.due(at(4)), Some("a"));
        assert_eq!(timers.due(at(4)), Some("b"));
        assert_eq!(timers.due(at(9)), None);
        assert_eq!(timers.next(), None);
    }
}
