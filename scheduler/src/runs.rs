//! How long work runs of which nobody says it: as its earlier runs did.
//!
//! ```text
//! Finished, in one go -> how long -> the last 20 of its series -> nine of ten were done by then -> the next of the series
//! ```
//!
//! Nine of ten, and not the mean: who is thought to run too long loses a little room to others, who is thought to run too short
//! may have to yield to a promise.

use std::collections::BTreeMap;

/// Runs of a series that count: the latest.
const MOST_RUNS: usize = 20;
/// Fewer runs say nothing.
const LEAST_RUNS: usize = 3;
/// Series that are remembered; beyond it those go that have not run for longest.
const MOST_SERIES: usize = 20_000;

/// How long the earlier runs of each series took.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// By when it ended and name, ms since 1970; how long it ran, ms.
    series: BTreeMap<String, BTreeMap<(i64, String), i64>>,
}

/// What earlier runs tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Nine of ten took no longer, ms.
    pub runtime_ms: i64,
    /// Runs that it is made of; 3 to 20.
    pub runs: u32,
}

impl Runs {
    /// A run has ended well. Said again it counts once. Returns whether the series can be told now and could not before.
    pub fn ended(&mut self, series: &str, name: &str, ended_ms: i64, ran_ms: i64) -> bool {
        let runs = self.series.entry(series.to_owned()).or_default();
        let before = runs.len();
        runs.insert((ended_ms, name.to_owned()), ran_ms);
        while runs.len() > MOST_RUNS {
            runs.pop_first();
        }
        let told = before < LEAST_RUNS && runs.len() >= LEAST_RUNS;
        if self.series.len() > MOST_SERIES {
            self.drop_old();
        }
        told
    }

    /// How long the next run of a series takes.
    pub fn estimate(&self, series: &str) -> Option<Estimate> {
        estimate(self.series.get(series)?.values().copied())
    }

    /// Half of them, so that it is not done for each new one.
    fn drop_old(&mut self) {
        let last =
            |runs: &BTreeMap<(i64, String), i64>| runs.last_key_value().map(|(key, _)| key.0);
        let mut ends: Vec<Option<i64>> = self.series.values().map(last).collect();
        ends.sort_unstable();
        let middle = ends.get(ends.len() / 2).copied().flatten();
        self.series.retain(|_, runs| last(runs) > middle);
    }
}

/// What these run times (ms) tell of the next.
pub fn estimate(runs: impl IntoIterator<Item = i64>) -> Option<Estimate> {
    let mut runs: Vec<i64> = runs.into_iter().collect();
    if runs.len() < LEAST_RUNS {
        return None;
    }
    runs.sort_unstable();
    let runtime_ms = *runs.get((runs.len() * 9).div_ceil(10) - 1)?;
    let runs = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    Some(Estimate { runtime_ms, runs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_of_ten_were_done_by_then() {
        assert_eq!(estimate([1, 2]), None);
        let told = |runs: Vec<i64>| estimate(runs).map(|one| one.runtime_ms);
        assert_eq!(told(vec![30, 10, 20]), Some(30));
        assert_eq!(told((1..=10).collect()), Some(9));
        assert_eq!(told((1..=20).rev().collect()), Some(18));
    }

    #[test]
    fn only_the_latest_runs_count_whatever_the_order_of_hearing() {
        let mut runs = Runs::default();
        for end in (0..40).rev() {
            runs.ended("train-", &format!("train-{end}"), end, end);
        }
        let one = runs.estimate("train-").expect("told");
        assert_eq!((one.runtime_ms, one.runs), (37, 20));
        assert_eq!(runs.estimate("other-"), None);
    }

    #[test]
    fn a_run_counts_once_and_the_third_tells() {
        let mut runs = Runs::default();
        assert!(!runs.ended("s", "a", 1, 10));
        assert!(!runs.ended("s", "b", 2, 10));
        assert!(!runs.ended("s", "b", 2, 10));
        assert!(runs.estimate("s").is_none());
        assert!(runs.ended("s", "c", 3, 10));
        assert!(!runs.ended("s", "d", 4, 10));
    }

    #[test]
    fn series_that_have_not_run_for_long_are_forgotten() {
        let mut runs = Runs::default();
        for number in 0..=MOST_SERIES {
            let end = i64::try_from(number).expect("small");
            runs.ended(&format!("s{number}"), "a", end, 1);
        }
        assert!(runs.series.len() <= MOST_SERIES / 2 + 1);
        assert!(runs.series.contains_key(&format!("s{MOST_SERIES}")));
        assert!(!runs.series.contains_key("s0"));
    }
}
