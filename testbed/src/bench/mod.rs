//! Benches: each prints our figure and what to compare it with, taken in the same run.

mod cost;
mod openb;
mod place;

use anyhow::Result;

/// Which bench.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Bench {
    /// A burst of Deployments to two members: throughput, writes, CPU, latency, memory, against the floor.
    Place(place::PlaceArgs),
    /// Occupancy: the openb lists of a production fleet, against FGD and other packers.
    Openb(openb::OpenbArgs),
}

/// Runs a bench.
pub fn run(bench: Bench) -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match bench {
        Bench::Place(args) => runtime.block_on(place::run(args)),
        Bench::Openb(args) => openb::run(&args),
    }
}
