//! `bench pooling`: eleven virtual clusters pinned to their own nodes against one pool of the same nodes.

use anyhow::Result;

use super::jct::{CLUSTERS, measure, ours};
use super::table::{ReplayArgs, Table};
use crate::replay::Trace;
use crate::replay::baseline::{Backfill, Depth, Order, Ordered};
use crate::replay::drive::Policy;
use crate::replay::place::Shape;
use crate::replay::read::gavel_jobs;

/// A policy for so large a fleet, and what a restart costs it.
struct Kind {
    name: &'static str,
    restart_ms: i64,
    make: fn(&Shape) -> Box<dyn Policy>,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "EASY",
        restart_ms: 0,
        make: |_| Box::new(Backfill::new(Depth::Easy)),
    },
    Kind {
        name: "SRSF",
        restart_ms: 0,
        make: |_| Box::new(Ordered::new(Order::Srsf, false)),
    },
    Kind {
        name: "SRSF, with moves",
        restart_ms: 0,
        make: |_| Box::new(Ordered::new(Order::Srsf, true)),
    },
    Kind {
        name: "ours, thin placement, no moves",
        restart_ms: 60_000,
        make: |shape| Box::new(ours(shape, true).with(600_000, 60_000, false)),
    },
    Kind {
        name: "ours, thin placement",
        restart_ms: 60_000,
        make: |shape| Box::new(ours(shape, true)),
    },
];

pub(super) fn run(args: &ReplayArgs) -> Result<()> {
    let mut table = Table::new("pooling");
    table.note("pinned: each virtual cluster on its own nodes; pool: all jobs on all nodes, no gang across clusters; ideal: one cluster");
    easy_set(args, &mut table)?;
    hard_set(args, &mut table)?;
    table.print(args.output)
}

/// 304 GPUs, no gang larger than a node.
fn easy_set(args: &ReplayArgs, table: &mut Table) -> Result<()> {
    let (parts, sizes) = load(args, false)?;
    let pool = Shape::clusters(&sizes);
    for kind in &KINDS {
        let (pinned, pooled) = (pinned(&parts, &sizes, kind)?, pooled(&parts, &pool, kind)?);
        table.note(format!(
            "304 GPUs, {}: mean wait pinned {pinned:.0} s, pooled {pooled:.0} s",
            kind.name
        ));
        let gain = 100.0 * (1.0 - pooled / pinned);
        let what = format!("304 GPUs, gain in mean wait, %: {}", kind.name);
        match kind.name {
            "EASY" => table.at_least(what, gain, 60.0, "published 66 (a check of the harness)"),
            "SRSF" => table.at_least(what, gain, 70.0, "published 72 (a check of the harness)"),
            "ours, thin placement" => table.at_least(what, gain, 78.0, "EASY 66, SRSF 72"),
            _ => {}
        }
    }
    Ok(())
}

/// 48 nodes and gangs of up to 64 GPUs: what of the gain stays where no gang runs across clusters.
fn hard_set(args: &ReplayArgs, table: &mut Table) -> Result<()> {
    let (parts, sizes) = load(args, true)?;
    let (pool, ideal) = (
        Shape::clusters(&sizes),
        Shape::uniform(sizes.iter().sum(), 8),
    );
    for kind in KINDS.iter().filter(|kind| kind.name.starts_with("ours")) {
        let pinned = pinned(&parts, &sizes, kind)?;
        let (pooled, ideal) = (pooled(&parts, &pool, kind)?, pooled(&parts, &ideal, kind)?);
        table.note(format!("384 GPUs with gangs, {}: mean wait pinned {pinned:.0}, pool {pooled:.0}, ideal {ideal:.0} s", kind.name));
        let bound = if kind.name.ends_with("no moves") {
            96.0
        } else {
            98.0
        };
        table.at_least(
            format!(
                "384 GPUs with gangs, share of the gain that stays, %: {}",
                kind.name
            ),
            100.0 * (pinned - pooled) / (pinned - ideal),
            bound,
            "emptiest node first 29",
        );
    }
    Ok(())
}

fn load(args: &ReplayArgs, gangs: bool) -> Result<(Vec<Trace>, Vec<usize>)> {
    let mut parts = Vec::new();
    let mut sizes = Vec::new();
    for (name, nodes, more) in CLUSTERS {
        let size = if gangs { more } else { nodes };
        let path = args.traces.join(format!("gavel-msr/seed0/{name}.trace"));
        let mut trace = gavel_jobs(&path, !gangs)?;
        for job in &mut trace.jobs {
            name.clone_into(&mut job.queue);
            job.gpus = job.gpus.min(8 * i64::try_from(size)?);
        }
        parts.push(trace);
        sizes.push(size);
    }
    Ok((parts, sizes))
}

/// Mean wait over all jobs where each part has its own nodes.
fn pinned(parts: &[Trace], sizes: &[usize], kind: &Kind) -> Result<f64> {
    let (mut wait, mut jobs) = (0.0, 0);
    for (trace, size) in parts.iter().zip(sizes) {
        let shape = Shape::uniform(*size, 8);
        let figures = measure(trace, &shape, kind.restart_ms, &mut *(kind.make)(&shape))?;
        wait += figures.wait.mean * figures.jobs as f64;
        jobs += figures.jobs;
    }
    Ok(wait / jobs.max(1) as f64)
}

fn pooled(parts: &[Trace], shape: &Shape, kind: &Kind) -> Result<f64> {
    let all = Trace::new(parts.iter().flat_map(|part| part.jobs.clone()).collect());
    Ok(
        measure(&all, shape, kind.restart_ms, &mut *(kind.make)(shape))?
            .wait
            .mean,
    )
}
