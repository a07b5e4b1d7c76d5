//! One situation after another, each with what must come out.

mod divide;
mod gangs;
mod obstacles;
mod targets;
mod waiting;

use placement_api::reason::Reason;

use super::build::*;
use crate::fleet::Fleet;
use crate::plan::{Decision, Request, plan};

const HOUR: i64 = 3_600_000;

fn one(fleet: &mut Fleet, request: &Request) -> Decision {
    at(fleet, request, HOUR)
}

fn at(fleet: &mut Fleet, request: &Request, now_ms: i64) -> Decision {
    let (mut decisions, _) = plan(fleet, std::slice::from_ref(request), now_ms);
    decisions.remove(0)
}

fn reason(decision: &Decision) -> Option<Reason> {
    decision.explanation.reason
}

fn verdict(decision: &Decision, target: &str) -> String {
    let found = decision
        .explanation
        .verdicts
        .iter()
        .find(|verdict| verdict.target == target);
    found
        .map(|verdict| format!("{} {}", verdict.reason, verdict.message))
        .unwrap_or_default()
}

/// Two racks in each of two zones, two nodes of 4 GPUs in each rack; rack names repeat.
fn racks() -> Fleet {
    let mut fleet = fleet();
    let mut all = Vec::new();
    for zone in ["z1", "z2"] {
        for rack in ["r1", "r2"] {
            all.extend((0..2).map(|n| {
                node(
                    &format!("{zone}-{rack}-{n}"),
                    &format!("zone={zone} rack={rack}"),
                    "gpu=4 cpu=32 pods=110",
                )
            }));
        }
    }
    add(&mut fleet, "east", "region=eu", &all);
    fleet
}

fn fleet_of_two() -> Fleet {
    let mut fleet = fleet();
    add(
        &mut fleet,
        "t",
        "",
        &[
            node("a", "", "cpu=12 gpu=1 pods=9"),
            node("b", "", "cpu=7 pods=9"),
        ],
    );
    fleet
}
