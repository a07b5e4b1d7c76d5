//! Which assignments are to be looked at: each at most once at a time, with a wait of its own after a failure.
//! Time is milliseconds of any clock that never goes back.

use std::collections::{BTreeMap, BTreeSet};

/// Keys that wait, keys at work, keys that sleep.
#[derive(Debug, Default)]
pub struct Queue {
    ready: BTreeSet<String>,
    running: BTreeSet<String>,
    /// Changed while they were at work.
    again: BTreeSet<String>,
    sleeping: BTreeMap<String, u64>,
    by_time: BTreeSet<(u64, String)>,
}

impl Queue {
    /// Something about this key has changed: look at it now, whatever it was waiting for.
    pub fn push(&mut self, key: &str) {
        self.wake(key);
        if self.running.contains(key) {
            self.again.insert(key.to_owned());
        } else {
            self.ready.insert(key.to_owned());
        }
    }

    /// Look at this key at that time at the latest.
    pub fn push_at(&mut self, key: &str, at: u64) {
        if self.sleeping.get(key).is_some_and(|have| *have <= at) {
            return;
        }
        self.wake(key);
        self.sleeping.insert(key.to_owned(), at);
        self.by_time.insert((at, key.to_owned()));
    }

    /// The next key to work on, which is then at work until [`done`](Self::done).
    pub fn pop(&mut self, now: u64) -> Option<String> {
        while let Some((at, key)) = self.by_time.first().cloned() {
            if at > now {
                break;
            }
            self.push(&key);
        }
        let key = self.ready.pop_first()?;
        self.running.insert(key.clone());
        Some(key)
    }

    /// The work on a key has ended.
    pub fn done(&mut self, key: &str) {
        self.running.remove(key);
        if self.again.remove(key) {
            self.ready.insert(key.to_owned());
        }
    }

    /// Keys at work.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Keys ready to be worked on.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// When the next sleeper wakes.
    pub fn next_wake(&self) -> Option<u64> {
        self.by_time.first().map(|(at, _)| *at)
    }

    fn wake(&mut self, key: &str) {
        if let Some(at) = self.sleeping.remove(key) {
            self.by_time.remove(&(at, key.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_nothing_is_lost() {
        let mut queue = Queue::default();
        queue.push("a");
        queue.push("a");
        assert_eq!(queue.pop(0).as_deref(), Some("a"));
        assert_eq!(queue.pop(0), None);
        queue.push("a");
        assert_eq!(queue.pop(0), None, "at work");
        queue.done("a");
        assert_eq!(queue.pop(0).as_deref(), Some("a"));
        queue.done("a");
        assert_eq!(queue.pop(0), None);
    }

    #[test]
    fn sleepers_wake_in_time_or_by_an_event() {
        let mut queue = Queue::default();
        queue.push_at("a", 100);
        queue.push_at("a", 200);
        queue.push_at("b", 50);
        assert_eq!(queue.next_wake(), Some(50));
        assert_eq!(queue.pop(49), None);
        assert_eq!(queue.pop(50).as_deref(), Some("b"));
        queue.push("a");
        assert_eq!(queue.pop(51).as_deref(), Some("a"));
        assert_eq!(queue.next_wake(), None);
    }

    #[test]
    fn a_sleeper_that_wakes_while_it_works_comes_again() {
        let mut queue = Queue::default();
        queue.push("a");
        assert!(queue.pop(0).is_some());
        queue.push_at("a", 5);
        assert_eq!(queue.pop(10), None);
        queue.done("a");
        assert_eq!(queue.pop(10).as_deref(), Some("a"));
    }
}
