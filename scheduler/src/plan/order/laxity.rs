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
    pub(super) fn measure<'a>(
        &mut self,
        jobs: impl Iterator<Item = &'a Job>,
        capacity: i64,
        now: i64,
    ) {
        let (mut work, mut longest) = (0_i128, 0_i64);
        for job in jobs {
            let left = job.left_ms(now).unwrap_or(0);
            work += i128::from(left) * i128::from(job.facts.size);
            longest = longest.max(left);
        }
        let spread = i64::try_from(work / i128::from(capacity)).unwrap_or(i64::MAX);
        self.all_ms = spread.max(longest);
    }

    pub(super) fn laxity(&self, job: &Job, capacity: i64, now: i64) -> i64 {
        let attained = job.attained_ms(now);
        let waited = now - job.facts.submitted_ms;
        let runs = job.useful_ms.is_some();
        let Some(left) = job.left_ms(now) else {
            // K = active / devices, so dividing by K multiplies with devices.
            let share = self.shared(capacity);
            let lag = i128::from(waited) * share.1 / share.0 - i128::from(attained);
            let sticky = if runs { STICKY_UNKNOWN_MS } else { 0 };
            return narrow(-lag) - sticky;
        };
        let (active, devices) = self.shared(capacity);
        let (real, told) = self.honest;
        let whole = i128::from(attained) + i128::from(left) * real / told.max(1);
        let due = whole * active / devices - i128::from(waited + left);
        let end = i128::from(self.all_ms) * SLACK_PERCENT / 100 - i128::from(left);
        narrow(due.min(end)) - if runs { STICKY_MS } else { 0 }
    }

    /// `K` as a fraction of at least 1.
    fn shared(&self, capacity: i64) -> (i128, i128) {
        let active = i128::try_from(self.most_active).unwrap_or(i128::MAX / 2) * i128::from(DEVICE);
        let devices = i128::from(capacity);
        (active.max(devices), devices)
    }
}

fn narrow(value: i128) -> i64 {
    i64::try_from(value.clamp(i128::from(i64::MIN / 4), i128::from(i64::MAX / 4))).unwrap_or(0)
}
