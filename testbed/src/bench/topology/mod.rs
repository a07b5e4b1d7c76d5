//! `bench topology`: in how many racks gangs end up on a real map of a training cluster, at two loads.

mod churn;
mod map;
mod rules;

use std::path::PathBuf;

use anyhow::Result;

use super::table::{Output, Table};
use crate::replay::told::Draws;
use churn::{Sizes, Spans, churn};
use map::Map;
use rules::{Ours, Placer, Rule, Simple};

/// What is run.
#[derive(Debug, Clone, clap::Args)]
pub struct TopologyArgs {
    /// Folder of the traces.
    #[arg(long, default_value = "../shared/traces", value_name = "DIR")]
    traces: PathBuf,
    /// Runs per load and rule.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Gangs placed in each run, after it has warmed up.
    #[arg(long, default_value_t = 3000)]
    gangs: usize,
    /// Output: a table, or one JSON document.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// Loads in percent, and the mean span to reach.
const LOADS: [(i64, f64); 2] = [(85, 1.05), (95, 1.15)];

pub(super) fn run(args: &TopologyArgs) -> Result<()> {
    let map = Map::read(&args.traces.join("lingjun-2023/topo.csv"))?;
    let sizes = args
        .traces
        .join("spot-gpu-2026/derived/worker_count_distribution.csv");
    let sizes = Sizes::read(&sizes)?;
    let mut table = Table::new("topology");
    table.note(format!(
        "{} hosts of 8 GPUs in {} racks; gangs of 1 to 128 hosts and run times drawn from spot-gpu-2026; the next gang comes when the load with it is not above the bound",
        map.hosts(),
        map.racks.len()
    ));
    table.note("span: racks of a gang of two and more hosts by the fewest that hold it in the empty fleet; fewest free: by the fewest with what is free just then");
    table.note("published: nothing; the bound is 1 (exact by tree)");
    for (load, to_reach) in LOADS {
        let input = format!("{load} % load");
        let mut others = Vec::new();
        for rule in Rule::ALL {
            let make = |seed| -> Box<dyn Placer> {
                Box::new(Simple {
                    map: &map,
                    rule,
                    draws: Draws::new(seed),
                })
            };
            let spans = measure(&map, &sizes, load, args, &make)?;
            table.figures(&input, rule.name(), spans.figures());
            others.push(format!("{} {:.2}", rule.name(), spans.mean()));
        }
        let make = |_| -> Box<dyn Placer> { Box::new(Ours::new(&map)) };
        let spans = measure(&map, &sizes, load, args, &make)?;
        table.figures(&input, "ours, live planner", spans.figures());
        table.at_most(
            format!("{input}: span of gangs / minimum"),
            spans.mean(),
            to_reach,
            others.join(", "),
        );
    }
    table.print(args.output)
}

fn measure<'a>(
    map: &Map,
    sizes: &Sizes,
    load: i64,
    args: &TopologyArgs,
    make: &dyn Fn(u64) -> Box<dyn Placer + 'a>,
) -> Result<Spans> {
    let mut spans = Spans::default();
    for seed in 1..=args.seeds {
        churn(
            map,
            sizes,
            load,
            args.gangs,
            seed,
            &mut *make(seed),
            &mut spans,
        )?;
    }
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small fleet, and the means of ours and of a rule.
    fn means(load: i64, rule: Rule) -> (f64, f64) {
        let map = map::small(&[&[8, 8, 8, 7], &[8, 8, 6, 5]]);
        let sizes = Sizes::of(&[(1, 60), (2, 20), (4, 10), (6, 5), (12, 5)]);
        let (mut ours, mut other) = (Spans::default(), Spans::default());
        for seed in 1..=3 {
            churn(
                &map,
                &sizes,
                load,
                150,
                seed,
                &mut Ours::new(&map),
                &mut ours,
            )
            .expect("ours");
            let draws = Draws::new(seed);
            let mut simple = Simple {
                map: &map,
                rule,
                draws,
            };
            churn(&map, &sizes, load, 150, seed, &mut simple, &mut other).expect("rule");
        }
        (ours.mean(), other.mean())
    }

    #[test]
    fn gangs_are_closer_than_by_any_simple_rule() {
        for rule in [Rule::FirstFit, Rule::Emptiest, Rule::Fullest, Rule::Random] {
            let (ours, other) = means(85, rule);
            assert!(ours < other, "{}: {ours} against {other}", rule.name());
        }
        let (ours, kueue) = means(85, Rule::SmallestDomain);
        assert!(ours <= kueue + 0.02, "{ours} against {kueue}");
    }
}
