//! `bench fairness`: finish-time fairness on Shockwave's 120 jobs and 32 GPUs.

use anyhow::Result;
use placement_api::kinds::QueueOrder;
use scheduler::plan::order::{Rule, Settings};

use super::table::{ReplayArgs, Table};
use crate::replay::baseline::{Order, Ordered};
use crate::replay::drive::{Setting, drive};
use crate::replay::live::Live;
use crate::replay::measure::{Fairness, Figures};
use crate::replay::place::Shape;
use crate::replay::read::shockwave_dynamic;
use crate::replay::sliced::Sliced;
use crate::replay::told::Told;

const TRACE: &str =
    "shockwave/120_0.2_5_100_40_25_0,0.5,0.5_0.6,0.3,0.09,0.01_multigpu_dynamic.trace";
const GPUS: i64 = 32;
/// Jobs by GPUs: the authors' fair share.
const SHARE: f64 = 120.0 / 32.0;
/// As published: rounds of two minutes, ten seconds for a restart.
const ROUND_MS: i64 = 120_000;
const RESTART_MS: i64 = 10_000;

pub(super) fn run(args: &ReplayArgs) -> Result<()> {
    let mut table = Table::new("fairness");
    table.note("rho = JCT / (time alone × 120 / 32); GPUs counted, not placed (one node of 32); ours: scheduler::plan::Planner; order alone: its order module under a placement of the bench; rounds of 120 s, restarts 10 s");
    table.note("published worst rho, > 1.05, makespan: Shockwave 1.50, 4.2 %, 23,399; Themis 3.44, 21.7 %, 31,449; Gavel 2.92, 25 %, 33,068");
    table.note("bound of the makespan 20,518 s; Themis' published row suffers from its predictor of run times");
    let mut trace = shockwave_dynamic(
        &args.traces.join(TRACE),
        &args.traces.join("shockwave/expected/per_job.csv"),
        "tacc_32gpus",
        SHARE,
    )?;
    let fixed = trace.clone();
    let shape = Shape::uniform(1, GPUS);
    let setting = Setting {
        shape: shape.clone(),
        restart_ms: RESTART_MS,
    };
    Told::Exact.tell(&mut trace, 1);
    for (name, order) in [
        (
            "Themis, greedy, known times",
            Order::Themis {
                factor: SHARE,
                lease_ms: ROUND_MS,
            },
        ),
        ("SRTF, known times", Order::Srtf),
        (
            "LAS (Tiresias' queues)",
            Order::Las(vec![3_600_000, 36_000_000]),
        ),
    ] {
        let outcome = drive(&trace, &setting, &mut Ordered::new(order, false))?;
        table.run(
            "shockwave 120",
            name,
            &Figures::of(&trace, &outcome, GPUS, Some(SHARE)),
        );
    }
    for (told, words, most) in [
        (Some(Told::Exact), "known times", (0.8, 0.0, Some(22_000.0))),
        (None, "wrong (static) times", (1.02, 0.0, Some(23_400.0))),
        (Some(Told::Nothing), "unknown times", (1.15, 6.0, None)),
    ] {
        let mut told_trace = fixed.clone();
        if let Some(told) = told {
            told.tell(&mut told_trace, 1);
        }
        let mut live = Live::new(&shape, QueueOrder::FinishTime, true, ROUND_MS, RESTART_MS);
        let outcome = drive(&told_trace, &setting, &mut live)?;
        let figures = Figures::of(&told_trace, &outcome, GPUS, Some(SHARE));
        table.run("shockwave 120", &format!("ours, {words}"), &figures);
        targets(&mut table, words, &figures, most);
        let settings = Settings {
            rule: Rule::FinishTime,
            time_slicing: true,
            age_limit_ms: None,
        };
        let by_event = Sliced::new(settings, GPUS).with(ROUND_MS, RESTART_MS, false);
        for (how, mut policy) in [
            ("", by_event.clone()),
            (", in rounds", by_event.in_rounds(ROUND_MS)),
        ] {
            let outcome = drive(&told_trace, &setting, &mut policy)?;
            table.run(
                "shockwave 120",
                &format!("order alone, {words}{how}"),
                &Figures::of(&told_trace, &outcome, GPUS, Some(SHARE)),
            );
        }
    }
    table.print(args.output)
}

fn targets(table: &mut Table, words: &str, figures: &Figures, most: (f64, f64, Option<f64>)) {
    let Fairness {
        worst,
        unfair_percent,
    } = figures.fairness.unwrap_or_default();
    table.at_most(
        format!("{words}: worst rho"),
        worst,
        most.0,
        "Shockwave 1.50, Themis 3.44",
    );
    table.at_most(
        format!("{words}: jobs with rho above 1.05, %"),
        unfair_percent,
        most.1,
        "Shockwave 4.2, Themis 21.7",
    );
    if let Some(most) = most.2 {
        table.at_most(
            format!("{words}: makespan, s"),
            figures.makespan,
            most,
            "Shockwave 23,399; bound 20,518",
        );
    }
}
