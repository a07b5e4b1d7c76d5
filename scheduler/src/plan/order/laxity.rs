//! Laxity: how long a job may still wait and yet finish when its fair share alone would have finished it.
//!
//! `due = submitted + K · T`, `T` its whole run time (estimates that were too long for others are taken to be so here), `K = max(1, most jobs ever active / devices)`. `H = max(remaining work / devices,
//! longest remaining)` is the shortest time in which all can be done; who is longer than what is left of `1.05 · H` is urgent too, or the end of
//! the last is late. `laxity = min(due − now − left, 1.05 · H − left) − (600 s if it runs)`. Without run times the
//! largest lag behind the fair share goes first.

use super::{DEVICE, Job};

/// How much later than `H` the last may be done, in percent.
const SLACK_PERCENT: i128 = 105;
/// Who runs keeps running unless another is more urgent by so much: fewer restarts.
const STICKY_MS: i64 = 600_000;
/// The same where run times are unknown.
const STICKY_UNKNOWN_MS: i64 = 300_000;

/// What laxities are measured against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizon {
    /// Most jobs that were ever active at once.
    pub(super) most_active: usize,
    /// `H`, ms.
    all_ms: i64,
    /// Real by estimated work of jobs that have ended, at most 1: estimates may have been too long.
    pub(super) honest: (i128, i128),
}

impl Default for Horizon {
    fn default() -> Self {
        Self {
            most_active: 0,
            all_ms: 0,
            honest: (1, 1),
        }
    }
}

impl Horizon {
    /// `H`, from the work of those who wait, the longest of them, and those who run.
    pub(super) fn measure<'a>(
        &mut self,
        waiting: (i128, i64),
        running: impl Iterator<Item = &'a Job>,
        capacity: i64,
        now: i64,
    ) {
        let (mut work, mut longest) = waiting;
        for job in running {
            let left = job.left_ms(now).unwrap_or(0);
            work += i128::from(left) * i128::from(job.facts.size);
            longest = longest.max(left);
        }
        let spread = i64::try_from(work / i128::from(capacity)).unwrap_or(i64::MAX);
        self.all_ms = spread.max(longest);
    }

    pub(super) fn laxity(&self, job: &Job, capacity: i64, now: i64) -> i64 {
        let laxity = self
            .pace(capacity, now)
            .laxity(job.times(now), job.facts.submitted_ms);
        let sticky = match (job.useful_ms, job.facts.runtime_ms) {
            (None, _) => 0,
            (Some(_), Some(_)) => STICKY_MS,
            (Some(_), None) => STICKY_UNKNOWN_MS,
        };
        laxity - sticky
    }

    pub(super) fn pace(&self, capacity: i64, now_ms: i64) -> Pace {
        let active = i128::try_from(self.most_active).unwrap_or(i128::MAX / 2) * i128::from(DEVICE);
        let devices = i128::from(capacity);
        Pace {
            active: active.max(devices),
            devices,
            honest: self.honest,
            all_ms: self.all_ms,
            now_ms,
        }
    }
}

/// What the laxity of a job is computed from, beside when it was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Times {
    /// What is left of its run time, as far as is known.
    pub(crate) left_ms: Option<i64>,
    /// Useful work done.
    pub(crate) attained_ms: i64,
}

/// What laxities are computed with at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// `K` as a fraction of at least 1.
    pub(super) active: i128,
    pub(super) devices: i128,
    pub(super) honest: (i128, i128),
    /// `H`.
    pub(super) all_ms: i64,
    pub(super) now_ms: i64,
}

impl Pace {
    /// The laxity of a job that waits.
    pub(super) fn laxity(&self, times: Times, submitted_ms: i64) -> i64 {
        let due = self.due(times, submitted_ms);
        narrow(self.end(times).map_or(due, |end| due.min(end)))
    }

    /// The laxity but for the end of all.
    pub(super) fn due(&self, times: Times, submitted_ms: i64) -> i128 {
        let waited = i128::from(self.now_ms - submitted_ms);
        let attained = i128::from(times.attained_ms);
        let Some(left) = times.left_ms.map(i128::from) else {
            // K = active / devices, so dividing by K multiplies with devices.
            return attained - waited * self.devices / self.active;
        };
        let (real, told) = self.honest;
        let whole = attained + left * real / told.max(1);
        whole * self.active / self.devices - (waited + left)
    }

    /// More than by how much a due time is rounded.
    pub(super) fn rounding(&self) -> i128 {
        self.active / self.devices + 3
    }

    /// Whether jobs that wait are due in the same order.
    pub(super) fn orders_like(&self, other: &Self) -> bool {
        let by = |pace: &Self| (pace.active, pace.devices, pace.honest);
        by(self) == by(other)
    }

    /// The laxity against the end of all, where that is known.
    pub(super) fn end(&self, times: Times) -> Option<i128> {
        let left = times.left_ms?;
        Some(i128::from(self.all_ms) * SLACK_PERCENT / 100 - i128::from(left))
    }
}

pub(super) fn narrow(value: i128) -> i64 {
    i64::try_from(value.clamp(i128::from(i64::MIN / 4), i128::from(i64::MAX / 4))).unwrap_or(0)
}
