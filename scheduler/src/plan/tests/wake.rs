//! Of workloads that are alike the first is woken and the others follow it: the outcome is that of waking everybody, the cost is not.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::Strategy as Drawn;

use super::build::*;
use crate::fleet::{Fleet, WorkloadId};
use crate::plan::{Decision, Outcome, Planner, Request};

const NOW: i64 = 1_000_000;

/// Pods, GPUs and priority: few sorts, so that many are alike.
fn a_sort() -> impl Drawn<Value = (i64, i64, i32)> {
    let gpus = prop_oneof![Just(1_i64), Just(2), Just(4)];
    (1_i64..3, gpus, 0_i32..2)
}

fn job(number: usize, (pods, gpus, priority): (i64, i64, i32)) -> Request {
    Request {
        // Not in the order of the names.
        submitted_ms: i64::try_from(number * 7 % 50).unwrap(),
        preemptible: false,
        priority,
        ..gang(&format!("w{number:02}"), pods, &format!("gpu={gpus}"))
    }
}

fn full(sorts: &[(i64, i64, i32)]) -> (Planner, Fleet, Vec<Request>, Vec<Decision>) {
    let mut fleet = fleet();
    add(
        &mut fleet,
        "t",
        "",
        &[node("a", "", "gpu=4"), node("b", "", "gpu=3")],
    );
    let mut planner = Planner::new();
    let jobs: Vec<Request> = sorts
        .iter()
        .enumerate()
        .map(|(number, sort)| job(number, *sort))
        .collect();
    let (decisions, _) = planner.plan(&mut fleet, &jobs, NOW);
    (planner, fleet, jobs, decisions)
}

fn placed(decisions: &[Decision]) -> BTreeMap<WorkloadId, String> {
    let starts = decisions.iter().filter(|one| one.outcome == Outcome::Place);
    starts.map(|one| (one.id.clone(), nodes(one))).collect()
}

proptest! {
    #[test]
    fn waking_the_first_of_equals_is_waking_all(sorts in prop::collection::vec(a_sort(), 1..30), gone in prop::collection::vec(0_usize..30, 1..4)) {
        let (mut planner, mut fleet, jobs, decisions) = full(&sorts);
        let waits: Vec<&Request> = jobs.iter().zip(&decisions).filter(|(_, made)| made.parts.is_empty()).map(|(job, _)| job).collect();
        let end: Vec<Request> = jobs
            .iter()
            .zip(&decisions)
            .enumerate()
            .filter(|(number, (_, made))| gone.contains(number) && !made.parts.is_empty())
            .map(|(_, (job, made))| Request { finished: true, ..settled(job, made) })
            .collect();
        let (_, report) = planner.plan(&mut fleet, &end, NOW);
        let (mut other, mut same) = (planner.clone(), fleet.clone());
        let all: Vec<Request> = waits.iter().map(|job| (*job).clone()).collect();
        let expected = placed(&other.plan(&mut same, &all, NOW).0);
        let woken = planner.wake(&report.freed);
        let sorts: BTreeSet<(i64, i64, i32)> = waits.iter().map(|job| (job.pod_sets[0].count, job.pod_sets[0].requests.get(GPU), job.priority)).collect();
        prop_assert!(woken.len() <= sorts.len());
        let first: Vec<Request> = waits.iter().filter(|job| woken.contains(&job.id)).map(|job| (*job).clone()).collect();
        let (made, _) = planner.plan(&mut fleet, &first, NOW);
        prop_assert_eq!(placed(&made), expected);
        // Each that was placed brought one more with it, and each sort ended with one that was not.
        prop_assert!(made.len() <= woken.len() + placed(&made).len());
    }
}

#[test]
fn who_has_changed_leaves_its_line() {
    let (mut planner, mut fleet, jobs, _) = full(&[(1, 4, 0), (1, 3, 0), (1, 2, 0), (1, 2, 0)]);
    let freed = fleet.release_all(&jobs[0].id);
    let first = |planner: &Planner| planner.wake(&freed).into_iter().map(|id| id.to_string());
    assert_eq!(first(&planner).collect::<Vec<_>>(), ["w02"]);
    // The first of the two asks for more now, and there is no room for that.
    let mut larger = jobs[2].clone();
    larger.pod_sets[0].count = 3;
    planner.plan(&mut fleet, &[larger], NOW);
    assert_eq!(first(&planner).collect::<Vec<_>>(), ["w02", "w03"]);
    planner.forget(&jobs[2].id);
    assert_eq!(first(&planner).collect::<Vec<_>>(), ["w03"]);
}
