//! Replay of traces in virtual time: the same jobs under the live scheduler's planner and under the policies of others.
//!
//! ```text
//! read (philly, gavel, muri, chronus, tiresias, shockwave, csv) -> Trace -> told (what the policy is told of run times)
//!                                                                             |
//!             measure <- Outcome <- drive (events: arrival, end, timer) <-> Policy: baseline | sliced | live
//! ```
//!
//! Times are milliseconds from the start of the trace. GPUs are whole; a gang that fits one node is on one node, a larger one takes
//! whole nodes and one more for the rest. Nothing here reads a clock, and equal seeds give equal results.

pub mod arrange;
pub mod baseline;
pub mod drive;
pub mod live;
pub mod measure;
pub mod place;
pub mod promised;
pub mod read;
pub mod shell;
pub mod sliced;
pub mod told;

/// One job of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name in the trace.
    pub name: String,
    /// When it arrives, ms from the start.
    pub submit_ms: i64,
    /// How long it runs on its GPUs, ms.
    pub run_ms: i64,
    /// GPUs, all at once.
    pub gpus: i64,
    /// Who pays: user, virtual cluster, queue. Empty where the trace does not say.
    pub queue: String,
    /// Higher goes first; 0 where the trace has none that counts.
    pub priority: i32,
    /// What the policy is told of `run_ms`; absent: nothing.
    pub told_ms: Option<i64>,
}

/// Jobs in the order in which they arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// By arrival, then as in the file.
    pub jobs: Vec<Job>,
}

impl Trace {
    /// Orders the jobs by arrival.
    pub fn new(mut jobs: Vec<Job>) -> Self {
        jobs.sort_by_key(|job| job.submit_ms);
        Self { jobs }
    }

    /// GPU-milliseconds of all jobs.
    pub fn work(&self) -> i64 {
        self.jobs.iter().map(Job::work).sum()
    }
}

impl Job {
    /// GPU-milliseconds.
    pub fn work(&self) -> i64 {
        self.run_ms * self.gpus
    }
}
