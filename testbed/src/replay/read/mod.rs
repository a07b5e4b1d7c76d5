//! Readers of traces. An error names the line and what would be right.

mod columns;
mod gavel;
mod shockwave;
mod table;

use std::path::Path;

use anyhow::{Context as _, Result};

use super::Trace;

/// The traces that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Format {
    /// job,submit,duration,gpus,queue,priority in seconds; only job, submit, duration and gpus must be there.
    Csv,
    /// jobid,vc,submit,duration,gpus in seconds (one line per finished job).
    Philly,
    /// Tab separated lines of the Gavel artifact; needs `simulation_throughputs.json` in the folder above.
    Gavel,
    /// Milliseconds.
    Muri,
    /// Seconds, jobs without GPUs left out.
    Chronus,
    /// Seconds.
    Tiresias,
    /// Tab separated lines of the Shockwave artifact with static run times.
    Shockwave,
}

/// Reads a trace.
pub fn read(format: Format, path: &Path) -> Result<Trace> {
    let text = load(path)?;
    let trace = match format {
        Format::Gavel => return gavel_jobs(path, false),
        Format::Shockwave => shockwave::parse(&text),
        other => table::parse(other, &text),
    };
    trace.with_context(|| path.display().to_string())
}

/// The text of a file, or an error that names it.
pub fn load(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Gavel's jobs; only those of which the throughput was measured, if `measured`: that is the set that published figures are about.
pub fn gavel_jobs(path: &Path, measured: bool) -> Result<Trace> {
    let folder = path.parent().and_then(Path::parent);
    let table = folder
        .unwrap_or_else(|| Path::new("."))
        .join("simulation_throughputs.json");
    let speeds = gavel::speeds(&load(&table)?).with_context(|| table.display().to_string())?;
    gavel::parse(&load(path)?, &speeds, measured).with_context(|| path.display().to_string())
}

/// Shockwave's jobs with the run times that they really have once their batch sizes grow, and told the static ones.
pub fn shockwave_dynamic(path: &Path, per_job: &Path, run_set: &str, share: f64) -> Result<Trace> {
    let mut trace = read(Format::Shockwave, path)?;
    let isolated = shockwave::isolated(&load(per_job)?, run_set, share)
        .with_context(|| per_job.display().to_string())?;
    for job in &mut trace.jobs {
        let index: usize = job.name.parse()?;
        job.run_ms = *isolated
            .get(&index)
            .with_context(|| format!("{}: nothing about job {index}", per_job.display()))?;
    }
    Ok(trace)
}
