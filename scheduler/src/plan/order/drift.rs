//! Waiting jobs in the order of their laxity, though that changes with time.
//!
//! Of two jobs with the same times the older is always first, so they stand in one file, and only the heads of files race. Files are kept in
//! the order in which their heads were due at an earlier pace. What has changed since then is nearly the same for all, and what it is at least is
//! told by the extremes among them: so only those are looked at whom that may have brought to the front. When they become many the order is
//! made anew. The end of all limits the longest first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::Turn;
use super::laxity::{Pace, Times, narrow};

/// Waiting jobs of one queue.
#[derive(Clone, Debug)]
pub(in crate::plan) struct Drift<I> {
    now: Pace,
    files: BTreeMap<File, BTreeSet<(i64, I)>>,
    /// Files by when their heads were due at `then`.
    order: BTreeSet<(i64, i128, File)>,
    then: Pace,
    /// The extremes of all who came since then.
    extremes: Extremes,
}

/// Jobs with the same times, of which the order never changes: by promotion, the longest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    promoted_ms: i64,
    left_ms: Reverse<Option<i64>>,
    attained_ms: i64,
}

impl File {
    fn times(self) -> Times {
        Times {
            left_ms: self.left_ms.0,
            attained_ms: self.attained_ms,
        }
    }
}

impl<I: Ord + Clone> Drift<I> {
    /// Nobody, at a pace.
    pub(in crate::plan) fn new(now: Pace) -> Self {
        Self {
            now,
            files: BTreeMap::new(),
            order: BTreeSet::new(),
            then: now,
            extremes: Extremes::default(),
        }
    }

    /// Whether nobody is in it.
    pub(in crate::plan) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Puts a job in. Of the turn it matters when it was promoted and submitted.
    pub(in crate::plan) fn insert(&mut self, turn: Turn, times: Times, id: I) {
        self.extremes.take_in(times, turn.submitted_ms);
        self.change(turn, times, |jobs| jobs.insert((turn.submitted_ms, id)));
    }

    /// Takes out a job that was put in so.
    pub(in crate::plan) fn remove(&mut self, turn: Turn, times: Times, id: &I) {
        self.change(turn, times, |jobs| {
            jobs.remove(&(turn.submitted_ms, id.clone()))
        });
    }

    /// Whose turn it is at present, but for one of them.
    pub(in crate::plan) fn first_but(&self, except: Option<&I>) -> Option<&I> {
        self.look(except).0
    }

    /// Sets the pace for all questions that follow.
    pub(in crate::plan) fn set(&mut self, now: Pace) {
        self.now = now;
        let (_, looked) = self.look(None);
        if looked > 8 + 2 * self.files.len().isqrt() && !self.then.orders_like(&now) {
            self.then = now;
            self.order.clear();
            self.extremes = Extremes::default();
            for (file, jobs) in &self.files {
                let times = file.times();
                for (submitted_ms, _) in jobs.first().into_iter().chain(jobs.last()) {
                    self.extremes.take_in(times, *submitted_ms);
                }
                self.order.extend(place(&now, *file, jobs));
            }
        }
    }

    /// The same, with how many files were looked at.
    fn look(&self, except: Option<&I>) -> (Option<&I>, usize) {
        let mut looked = 0;
        let mut best: Option<(Turn, &I)> = None;
        let mut look_at = |file: &File, least: i128| {
            let least = (file.promoted_ms, narrow(least));
            if best.is_some_and(|(best, _)| (best.promoted_ms, best.rank) < least) {
                return false;
            }
            looked += 1;
            let mut jobs = self.files.get(file).into_iter().flatten();
            if let Some((submitted_ms, id)) = jobs.find(|(_, id)| Some(id) != except) {
                let turn = Turn {
                    promoted_ms: file.promoted_ms,
                    rank: self.now.laxity(file.times(), *submitted_ms),
                    submitted_ms: *submitted_ms,
                };
                if best.is_none_or(|best| (turn, id) < best) {
                    best = Some((turn, id));
                }
            }
            true
        };
        let change = self.extremes.least_change(&self.then, &self.now);
        for (_, due, file) in &self.order {
            if !look_at(file, due + change) {
                break;
            }
        }
        for file in self.files.keys() {
            let end = self.now.end(file.times());
            if !look_at(file, end.unwrap_or(i128::MAX)) {
                break;
            }
        }
        (best.map(|(_, id)| id), looked)
    }

    fn change<T>(
        &mut self,
        turn: Turn,
        times: Times,
        change: impl FnOnce(&mut BTreeSet<(i64, I)>) -> T,
    ) {
        let file = File {
            promoted_ms: turn.promoted_ms,
            left_ms: Reverse(times.left_ms),
            attained_ms: times.attained_ms,
        };
        let jobs = self.files.entry(file).or_default();
        let before = place(&self.then, file, jobs);
        change(jobs);
        let after = place(&self.then, file, jobs);
        if jobs.is_empty() {
            self.files.remove(&file);
        }
        if before != after {
            if let Some(before) = before {
                self.order.remove(&before);
            }
            self.order.extend(after);
        }
    }
}

/// Where a file stands among others.
fn place<I: Ord>(pace: &Pace, file: File, jobs: &BTreeSet<(i64, I)>) -> Option<(i64, i128, File)> {
    let (submitted_ms, _) = jobs.first()?;
    let due = pace.due(file.times(), *submitted_ms);
    Some((file.promoted_ms, due, file))
}

/// The least and the most of what laxities are computed from.
#[derive(Clone, Debug, Default)]
struct Extremes {
    /// Of those with known run times: what is left, and what is done.
    known: Option<[(i64, i64); 2]>,
    /// When those with unknown run times were submitted.
    unknown: Option<(i64, i64)>,
}

impl Extremes {
    fn take_in(&mut self, times: Times, submitted_ms: i64) {
        let widen = |(least, most): (i64, i64), value: i64| (least.min(value), most.max(value));
        if let Some(left) = times.left_ms {
            let attained = times.attained_ms;
            let [lefts, done] = self.known.unwrap_or([(left, left), (attained, attained)]);
            self.known = Some([widen(lefts, left), widen(done, attained)]);
        } else {
            let all = self.unknown.unwrap_or((submitted_ms, submitted_ms));
            self.unknown = Some(widen(all, submitted_ms));
        }
    }

    /// By how much anybody is due later at one pace than at another, at least: it is linear, but for rounding.
    fn least_change(&self, then: &Pace, now: &Pace) -> i128 {
        let mut corners = Vec::new();
        if let Some([lefts, done]) = self.known {
            for left in [lefts.0, lefts.1] {
                corners.extend([(Some(left), done.0, 0), (Some(left), done.1, 0)]);
            }
        }
        if let Some((first, last)) = self.unknown {
            corners.extend([(None, 0, first), (None, 0, last)]);
        }
        let changes = corners
            .into_iter()
            .map(|(left_ms, attained_ms, submitted_ms)| {
                let times = Times {
                    left_ms,
                    attained_ms,
                };
                now.due(times, submitted_ms) - then.due(times, submitted_ms)
            });
        changes.min().unwrap_or(0) - 2 * (then.rounding() + now.rounding())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn pace(active: i64, devices: i64, real: i64, now_ms: i64) -> Pace {
        Pace {
            active: i128::from(active.max(devices)),
            devices: i128::from(devices),
            honest: (real.into(), 1_000_000),
            all_ms: 20 * HOUR,
            now_ms,
        }
    }

    fn turn(submitted_ms: i64, promoted: Option<i64>) -> Turn {
        Turn {
            promoted_ms: promoted.unwrap_or(i64::MAX),
            rank: 0,
            submitted_ms,
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Submitted, promoted, left, done.
        Insert(i64, Option<i64>, Option<i64>, i64),
        /// Of those who are there.
        Remove(usize),
        /// Active, devices, real, later.
        Pace(i64, i64, i64, i64),
    }

    fn a_step() -> impl Strategy<Value = Step> {
        let done = prop_oneof![3 => Just(0_i64), 1 => 1..5 * HOUR];
        let left = prop_oneof![
            2 => (1..4_i64).prop_map(|hours| Some(hours * HOUR)),
            2 => (1..40 * HOUR).prop_map(Some),
            1 => Just(None),
        ];
        let promoted = prop::option::weighted(0.1, 0..3_i64);
        prop_oneof![
            6 => (0..9 * HOUR, promoted, left, done).prop_map(|(at, promoted, left, done)| Step::Insert(at, promoted, left, done)),
            2 => any::<usize>().prop_map(Step::Remove),
            2 => (1..100_i64, 1..9_i64, 100_000..=1_000_000_i64, 0..HOUR).prop_map(|(active, devices, real, later)| Step::Pace(active, devices, real, later)),
        ]
    }

    proptest! {
        /// Who is first is who is first by the laxity of everybody, and so is who is first without him.
        #[test]
        fn first_by_laxity(steps in prop::collection::vec(a_step(), 1..200)) {
            let mut now = pace(8, 8, 1_000_000, 0);
            let mut drift = Drift::new(now);
            let mut all: Vec<(Turn, Times, usize)> = Vec::new();
            for (id, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(submitted_ms, promoted, left_ms, attained_ms) => {
                        let times = Times { left_ms, attained_ms };
                        let turn = turn(submitted_ms, promoted);
                        drift.insert(turn, times, id);
                        all.push((turn, times, id));
                    }
                    Step::Remove(at) if !all.is_empty() => {
                        let (turn, times, id) = all.remove(at % all.len());
                        drift.remove(turn, times, &id);
                    }
                    Step::Remove(_) => {}
                    Step::Pace(active, devices, real, later) => {
                        now = pace(active, devices, real, now.now_ms + later);
                        drift.set(now);
                    }
                }
                let mut order: Vec<(Turn, usize)> = all
                    .iter()
                    .map(|(turn, times, id)| (Turn { rank: now.laxity(*times, turn.submitted_ms), ..*turn }, *id))
                    .collect();
                order.sort();
                let first = order.first().map(|(_, id)| id);
                prop_assert_eq!(drift.first_but(None), first);
                prop_assert_eq!(drift.first_but(first), order.get(1).map(|(_, id)| id));
                prop_assert_eq!(drift.is_empty(), all.is_empty());
            }
        }
    }

    /// Files that are looked at for a thousand questions, with so many of different run times.
    fn looked(jobs: i64) -> usize {
        let mut now = pace(jobs * 1000, 8_000, 900_000, 0);
        let mut drift = Drift::new(now);
        let times = |id: i64| Times {
            left_ms: Some(60_000 + id * 7_919 % (10 * HOUR)),
            attained_ms: 0,
        };
        for id in 0..jobs {
            drift.insert(turn(id * 104_729 % (100 * HOUR), None), times(id), id);
        }
        let mut sum = 0;
        for step in 1..=1000 {
            // Each minute a job ends, and what is known of estimates changes a little.
            now = pace(jobs * 1000, 8_000, 900_000 + step % 10, step * 60_000);
            drift.set(now);
            let (first, looked) = drift.look(None);
            let id = *first.expect("somebody");
            drift.remove(turn(id * 104_729 % (100 * HOUR), None), times(id), &id);
            sum += looked;
        }
        sum
    }

    #[test]
    fn what_is_looked_at_does_not_grow_with_those_who_wait() {
        let (few, many) = (looked(2_000), looked(100_000));
        assert!(few < 20_000 && many < 20_000, "{few} {many}");
    }
}
