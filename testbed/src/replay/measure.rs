//! What a replay came to.

use serde::Serialize;

use super::drive::Outcome;
use super::{Job, Trace};

/// Figures of one run, in seconds and GPU-seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Jobs that ended.
    pub jobs: usize,
    /// From the first arrival to the last end.
    pub makespan: f64,
    /// Completion times: from arrival to end.
    pub jct: Spread,
    /// Completion time less run time: parking a started job does not hide a wait.
    pub wait: Spread,
    /// Mean of max(1, completion / max(run, 10 s)).
    pub bounded_slowdown: f64,
    /// Times that a running job was stopped.
    pub preemptions: u64,
    /// GPU-seconds that did no work: restarts.
    pub lost_gpu_seconds: f64,
    /// The same in percent of all work.
    pub lost_percent: f64,
    /// Share of the GPUs that did work, from the first arrival to the last end.
    pub utilisation: f64,
    /// Completion time against what a fair share alone would give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness: Option<Fairness>,
}

/// Mean, percentiles and maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// Finish-time fairness: rho is the completion time divided by what the job would have taken on its share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fairness {
    /// Largest rho.
    pub worst: f64,
    /// Share of jobs above 1.05, in percent.
    pub unfair_percent: f64,
}

impl Figures {
    /// Measures a run. `rho` gives the factor by which a fair share is slower than the whole job alone.
    pub fn of(trace: &Trace, outcome: &Outcome, gpus: i64, rho: Option<f64>) -> Self {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let ended: Vec<(&Job, i64)> = trace
            .jobs
            .iter()
            .zip(&outcome.ends_ms)
            .filter_map(|(job, end)| end.map(|end| (job, end)))
            .collect();
        let jct: Vec<i64> = ended.iter().map(|(job, end)| end - job.submit_ms).collect();
        let wait: Vec<i64> = ended
            .iter()
            .map(|(job, end)| end - job.submit_ms - job.run_ms)
            .collect();
        let slowdown = |(job, end): &(&Job, i64)| {
            let floor = job.run_ms.max(10_000);
            ((end - job.submit_ms) as f64 / floor as f64).max(1.0)
        };
        let first = trace.jobs.first().map_or(0, |job| job.submit_ms);
        let last = ended.iter().map(|(_, end)| *end).max().unwrap_or(first);
        let work: i64 = ended.iter().map(|(job, _)| job.work()).sum();
        let count = ended.len().max(1) as f64;
        let fairness = rho.map(|factor| {
            let each: Vec<f64> = ended
                .iter()
                .map(|(job, end)| (end - job.submit_ms) as f64 / (job.run_ms as f64 * factor))
                .collect();
            let unfair = each.iter().filter(|rho| **rho > 1.05).count();
            Fairness {
                worst: each.iter().copied().fold(0.0, f64::max),
                unfair_percent: 100.0 * unfair as f64 / count,
            }
        });
        Self {
            jobs: ended.len(),
            makespan: seconds(last - first),
            jct: Spread::of(jct),
            wait: Spread::of(wait),
            bounded_slowdown: ended.iter().map(slowdown).sum::<f64>() / count,
            preemptions: outcome.preemptions,
            lost_gpu_seconds: seconds(outcome.lost_gpu_ms),
            lost_percent: 100.0 * outcome.lost_gpu_ms as f64 / work.max(1) as f64,
            utilisation: work as f64 / ((last - first).max(1) * gpus.max(1)) as f64,
            fairness,
        }
    }
}

impl Spread {
    /// Of milliseconds, in seconds. Percentiles are the smallest value that so many percent do not exceed.
    fn of(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().map_or(0.0, seconds)
        };
        let sum: i64 = values.iter().sum();
        Self {
            mean: seconds(sum) / values.len().max(1) as f64,
            p50: at(50),
            p95: at(95),
            p99: at(99),
            max: values.last().copied().map_or(0.0, seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let spread = Spread::of((1..=200).map(|n| n * 1000).collect());
        assert_eq!((spread.p50, spread.p95, spread.p99), (100.0, 190.0, 198.0));
        assert_eq!((spread.mean, spread.max), (100.5, 200.0));
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
