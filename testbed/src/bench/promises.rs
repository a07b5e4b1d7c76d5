//! `bench promises`: starts that are promised while run times are estimated wrongly, on Muri's testbed trace.

use std::collections::BTreeMap;

use anyhow::Result;
use placement_api::kinds::QueueOrder;

use super::table::{ReplayArgs, Table};
use crate::replay::baseline::{Backfill, Depth};
use crate::replay::drive::{Outcome, Setting, drive};
use crate::replay::live::Live;
use crate::replay::measure::Figures;
use crate::replay::place::Shape;
use crate::replay::promised::Promised;
use crate::replay::read::{Format, read};
use crate::replay::told::Told;

const ESTIMATES: [(&str, Told); 7] = [
    ("exact", Told::Exact),
    ("× U(1,3)", Told::Uniform(3.0)),
    ("× U(1,10)", Told::Uniform(10.0)),
    ("σ 0.7", Told::Lognormal(0.7)),
    ("σ 1.5", Told::Lognormal(1.5)),
    ("history's median", Told::History(50)),
    ("history's p90", Told::History(90)),
];

pub(super) fn run(args: &ReplayArgs) -> Result<()> {
    let mut table = Table::new("promises");
    table.note("late: started after the first start that was promised; promises to the oldest head (EASY, ours) or to all (conservative)");
    let path = args.traces.join("muri/cluster_trace.csv");
    let mut trace = read(Format::Muri, &path)?;
    let shape = Shape::uniform(8, 8);
    let setting = Setting {
        shape: shape.clone(),
        restart_ms: 60_000,
    };
    for (words, told) in ESTIMATES {
        told.tell(&mut trace, 1);
        for (name, depth) in [
            ("EASY, planned anew", Depth::Easy),
            ("conservative, planned anew", Depth::Conservative),
        ] {
            let mut policy = Backfill::new(depth);
            let outcome = drive(&trace, &setting, &mut policy)?;
            let late = Late::of(&outcome, &policy.promised_ms);
            table.run(
                words,
                &format!("{name}: {late}"),
                &Figures::of(&trace, &outcome, shape.total(), None),
            );
        }
        let mut live = Live::new(&shape, QueueOrder::Age, false, 0, 60_000);
        let outcome = drive(&trace, &setting, &mut live)?;
        let late = Late::of(&outcome, &live.promised_ms());
        let figures = Figures::of(&trace, &outcome, shape.total(), None);
        table.run(words, &format!("ours, live planner: {late}"), &figures);
        let others = format!(
            "{} promises, worst {:.0} s late",
            late.promises, late.worst_s
        );
        table.at_most(
            format!("{words}, live planner: promises that were broken"),
            late.late as f64,
            0.0,
            others,
        );
        table.at_most(
            format!("{words}, live planner: lost, % of the work"),
            figures.lost_percent,
            0.5,
            "",
        );
        for yields in [false, true] {
            let mut policy = Promised::new(yields);
            let outcome = drive(&trace, &setting, &mut policy)?;
            let late = Late::of(&outcome, &policy.promised_ms);
            let figures = Figures::of(&trace, &outcome, shape.total(), None);
            let name = if yields {
                "ours, module alone"
            } else {
                "module alone, nobody yields"
            };
            table.run(words, &format!("{name}: {late}"), &figures);
            if yields {
                let others = format!("{} promises", late.promises);
                table.at_most(
                    format!("{words}: promises that were broken"),
                    late.late as f64,
                    0.0,
                    others,
                );
                table.at_most(
                    format!("{words}: lost, % of the work"),
                    figures.lost_percent,
                    0.5,
                    "",
                );
                if matches!(told, Told::Exact | Told::Uniform(_)) {
                    table.at_most(
                        format!("{words}: evictions"),
                        figures.preemptions as f64,
                        0.0,
                        "",
                    );
                }
            }
        }
    }
    table.print(args.output)
}

/// Promises and what became of them.
struct Late {
    promises: usize,
    late: usize,
    worst_s: f64,
}

impl Late {
    fn of(outcome: &Outcome, promised: &BTreeMap<usize, i64>) -> Self {
        let slips: Vec<i64> = promised
            .iter()
            .filter_map(|(job, start)| Some(outcome.starts_ms.get(*job).copied()?? - start))
            .collect();
        Self {
            promises: slips.len(),
            late: slips.iter().filter(|slip| **slip > 0).count(),
            worst_s: slips.iter().copied().max().unwrap_or(0).max(0) as f64 / 1000.0,
        }
    }
}

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{} late, {:.0} s",
            self.late, self.promises, self.worst_s
        )
    }
}
