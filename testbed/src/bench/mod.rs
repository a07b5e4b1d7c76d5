//! Benches: each prints our figure and what to compare it with, taken in the same run.

mod cost;
mod fairness;
mod jct;
mod kueue;
mod openb;
mod place;
mod plan;
mod pooling;
mod preempt;
mod promises;
mod table;
mod topology;

use std::time::Duration;

use anyhow::Result;

/// Which bench.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Bench {
    /// A burst of Deployments to two members: throughput, writes, CPU, latency, memory, against the floor.
    Place(place::PlaceArgs),
    /// Completion times and the longest wait in virtual time, against FIFO, SRSF, EASY, Tiresias.
    Jct(table::ReplayArgs),
    /// Finish-time fairness in virtual time, against Shockwave and Themis.
    Fairness(table::ReplayArgs),
    /// One pool against pinned clusters, in virtual time.
    Pooling(table::ReplayArgs),
    /// Starts that are promised while estimates are wrong, in virtual time.
    Promises(table::ReplayArgs),
    /// Span of gangs on a real map of racks, against other rules, in virtual time.
    Topology(topology::TopologyArgs),
    /// What preemption costs, against the exact minimum on small cuts.
    Preempt(preempt::PreemptArgs),
    /// The shapes of Kueue's performance tests, planner only, in virtual time.
    Kueue(kueue::KueueArgs),
    /// Occupancy: the openb lists of a production fleet, against FGD and other packers.
    Openb(openb::OpenbArgs),
    /// Decisions per second on large fleets, without any writing.
    Plan(plan::PlanArgs),
}

/// Runs a bench.
pub fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Jct(args) => jct::run(&args),
        Bench::Fairness(args) => fairness::run(&args),
        Bench::Pooling(args) => pooling::run(&args),
        Bench::Promises(args) => promises::run(&args),
        Bench::Topology(args) => topology::run(&args),
        Bench::Preempt(args) => preempt::run(&args),
        Bench::Kueue(args) => kueue::run(&args),
        Bench::Openb(args) => openb::run(&args),
        Bench::Plan(args) => plan::run(&args),
        Bench::Place(args) => on_clusters(place::run(args)),
    }
}

/// How long this thread has been on a core: what decisions are timed by, so that what else the machine does does not count.
fn busy() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds)
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Runs a bench that needs real API servers.
fn on_clusters(bench: impl Future<Output = Result<()>>) -> Result<()> {
    // Somebody else of this process may have installed it already.
    drop(rustls::crypto::ring::default_provider().install_default());
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(bench)
}
