//! `bench kueue`: the shapes of Kueue's performance tests under the live planner in virtual time, no API server.

mod engines;
mod run;
mod shape;

use anyhow::Result;
use scheduler::plan::DEFAULT_MIN_RUNTIME_MS;

use super::table::{Output, Table};
use engines::{Greedy, Ours, Rules};
use run::{Outcome, run as replay};
use shape::{BASELINE, Class, LARGE_SCALE, Shape, TAS};

/// What is run.
#[derive(Debug, Clone, clap::Args)]
pub struct KueueArgs {
    /// Only these shapes: baseline, large-scale, tas.
    #[arg(long, value_delimiter = ',')]
    shapes: Vec<String>,
    /// Output: a table, or one JSON document.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// What ours is told and allowed; the first is what a user gets who says nothing.
const VARIANTS: [(&str, Rules); 4] = [
    (
        "unknown times, min run time 10 min",
        Rules {
            known: false,
            min_runtime_ms: DEFAULT_MIN_RUNTIME_MS,
        },
    ),
    (
        "known times, min run time 10 min",
        Rules {
            known: true,
            min_runtime_ms: DEFAULT_MIN_RUNTIME_MS,
        },
    ),
    (
        "unknown times, min run time 0",
        Rules {
            known: false,
            min_runtime_ms: 0,
        },
    ),
    (
        "known times, min run time 0",
        Rules {
            known: true,
            min_runtime_ms: 0,
        },
    ),
];

pub(super) fn run(args: &KueueArgs) -> Result<()> {
    let mut table = Table::new("kueue");
    table.note("quota as Kueue's (20 CPUs a queue, 100 borrowed, cohorts closed); decisions/s: starts per second of planning, requests built and decisions taken over included; no API server");
    table.note("Kueue: its own engine in virtual time (gpu-batch-schedulers.md, Annex B.2); bound: no schedule ends earlier, since work arrives over time");
    table.note("min run time 10 min is the default of the product: nobody of these workloads is evicted; 0 allows what Kueue does");
    for shape in [BASELINE, LARGE_SCALE, TAS] {
        if args.shapes.is_empty() || args.shapes.iter().any(|name| name == shape.name) {
            one(&shape, &mut table)?;
        }
    }
    table.print(args.output)
}

fn one(shape: &Shape, table: &mut Table) -> Result<()> {
    let works = shape.works();
    let published = shape.published;
    table.figures(
        shape.name,
        "Kueue's engine (published)",
        [
            ("makespan s", published.makespan_s),
            ("evicted", published.preemptions as f64),
            ("lost %", published.lost_percent),
            ("decisions/s", published.per_second),
        ],
    );
    let greedy = replay(shape, &works, &mut Greedy::new(*shape, &works))?;
    row(table, shape, "priority order, nobody evicted", &greedy);
    for (words, rules) in VARIANTS {
        let outcome = replay(shape, &works, &mut Ours::new(shape, &works, rules))?;
        row(table, shape, &format!("ours, {words}"), &outcome);
        targets(table, shape, words, &outcome);
    }
    Ok(())
}

fn row(table: &mut Table, shape: &Shape, policy: &str, outcome: &Outcome) {
    let mut figures = vec![
        ("makespan s", outcome.makespan_ms as f64 / 1e3),
        ("evicted", outcome.stops as f64),
        ("of one", outcome.most_stops as f64),
        ("lost %", outcome.lost_percent),
        ("decisions/s", outcome.per_second()),
        ("cycle p50 ms", outcome.cycle_ms(500)),
        ("p99 ms", outcome.cycle_ms(990)),
    ];
    for (class, (mean, longest)) in &outcome.waits {
        let (mean_name, longest_name) = match class {
            Class::Small => ("wait small s", "longest small s"),
            Class::Medium => ("wait medium s", "longest medium s"),
            Class::Large => ("wait large s", "longest large s"),
        };
        figures.push((mean_name, *mean));
        figures.push((longest_name, *longest));
    }
    table.figures(shape.name, policy, figures);
}

fn targets(table: &mut Table, shape: &Shape, words: &str, outcome: &Outcome) {
    let Shape {
        name, published, ..
    } = shape;
    let bound = shape.bound_ms() as f64 / 1e3;
    table.at_most(
        format!("{name}, {words}: makespan, s"),
        outcome.makespan_ms as f64 / 1e3,
        published.makespan_to_reach_s,
        format!("Kueue {}, bound {bound:.2}", published.makespan_s),
    );
    table.at_most(
        format!("{name}, {words}: lost work, %"),
        outcome.lost_percent,
        0.5,
        format!("Kueue {}", published.lost_percent),
    );
    table.at_most(
        format!("{name}, {words}: evictions of one workload"),
        outcome.most_stops as f64,
        1.0,
        format!(
            "{} evictions, Kueue {}",
            outcome.stops, published.preemptions
        ),
    );
    table.at_least(
        format!("{name}, {words}: decisions/s"),
        outcome.per_second(),
        20.0 * published.per_second,
        format!("Kueue {}", published.per_second),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One cohort of two queues for six seconds.
    const TINY: Shape = Shape {
        name: "tiny",
        cohorts: 1,
        queues: 2,
        sets: &[
            shape::Set {
                count: 20,
                ..BASELINE.sets[0]
            },
            shape::Set {
                count: 8,
                ..BASELINE.sets[1]
            },
            shape::Set {
                count: 4,
                ..BASELINE.sets[2]
            },
        ],
        ..BASELINE
    };

    #[test]
    fn all_run_within_the_quota_and_none_is_evicted_in_its_minimum_run_time() {
        let works = TINY.works();
        // Of one queue: each of higher priority may ask somebody once.
        let above: u64 = TINY.sets[1..]
            .iter()
            .map(|set| set.count.cast_unsigned())
            .sum();
        for (words, rules) in VARIANTS {
            let outcome = replay(&TINY, &works, &mut Ours::new(&TINY, &works, rules)).expect(words);
            assert!(outcome.makespan_ms >= TINY.bound_ms(), "{words}");
            assert!(
                outcome.makespan_ms <= 8_000,
                "{words}: {}",
                outcome.makespan_ms
            );
            assert!(
                outcome.most_stops <= above,
                "{words}: {}",
                outcome.most_stops
            );
            assert!(rules.min_runtime_ms == 0 || outcome.stops == 0, "{words}");
        }
        let greedy = replay(&TINY, &works, &mut Greedy::new(TINY, &works)).expect("greedy");
        assert_eq!((greedy.starts, greedy.stops), (64, 0));
    }

    /// Gangs in two racks.
    const TINY_TAS: Shape = Shape {
        name: "tiny tas",
        cohorts: 1,
        queues: 2,
        sets: &[
            shape::Set {
                count: 6,
                ..TAS.sets[0]
            },
            shape::Set {
                count: 3,
                ..TAS.sets[7]
            },
        ],
        racks: Some((2, 2)),
        ..TAS
    };

    #[test]
    fn gangs_in_racks_run_too() {
        let works = TINY_TAS.works();
        let mut ours = Ours::new(&TINY_TAS, &works, VARIANTS[0].1);
        let outcome = replay(&TINY_TAS, &works, &mut ours).expect("tas");
        assert_eq!(outcome.starts, 18);
    }
}
