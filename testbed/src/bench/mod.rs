//! Benches: each prints our figure and what to compare it with, taken in the same run.

mod cost;
mod fairness;
mod jct;
mod place;
mod pooling;
mod promises;
mod table;

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
}

/// Runs a bench.
pub fn run(bench: Bench) -> Result<()> {
    match &bench {
        Bench::Jct(args) => return jct::run(args),
        Bench::Fairness(args) => return fairness::run(args),
        Bench::Pooling(args) => return pooling::run(args),
        Bench::Promises(args) => return promises::run(args),
        Bench::Place(_) => {}
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match bench {
        Bench::Place(args) => runtime.block_on(place::run(args)),
        _ => Ok(()),
    }
}
