//! What must hold of queues after every cycle, counted without the planner's own arithmetic: limits, nothing idle that somebody waits for, and
//! that a higher priority never harms.

use std::collections::BTreeMap;

use placement_api::kinds::Strategy;
use placement_api::reason::Reason;
use placement_api::resources::PODS;

use super::invariants::{barred, takes};
use super::metrics::{NodeUse, use_by_node};
use super::outcome::Round;
use super::rounds::{Decisions, World};
use super::{QueueSpec, Scenario, TargetSpec, WorkloadSpec};
use crate::fleet::WorkloadId;
use crate::plan::{Decision, Outcome};

/// Workloads of a round whose priority is raised.
const RAISED: usize = 2;

/// No queue uses more than its limit, unless it did so before. What is shared counts for less than one and is left out.
pub(super) fn limits(scenario: &Scenario, before: &World, round: &Round) -> Result<(), String> {
    for queue in scenario.queues.iter().filter(|one| !one.limit.is_empty()) {
        let inside = scenario
            .workloads
            .iter()
            .filter(|one| is_in(scenario, one, queue));
        for (resource, limit) in &queue.limit {
            let (mut was, mut is) = (0_i64, 0_i64);
            for workload in inside.clone() {
                for set in &workload.pods {
                    let each = set.requests.get(resource);
                    let request = before.requests.get(&WorkloadId::from(&workload.name));
                    let parts = request.into_iter().flat_map(|one| &one.current);
                    let ran: i64 = parts.filter_map(|part| part.counts.get(&set.name)).sum();
                    was = was.saturating_add(each.saturating_mul(ran));
                    let places = round.placed.get(&workload.name).into_iter().flatten();
                    let places = places.filter(|place| place.pods == set.name);
                    let runs: i64 = places.map(|place| place.count).sum();
                    is = is.saturating_add(each.saturating_mul(runs));
                }
            }
            if is > *limit && is > was && !is_shared(scenario) {
                return Err(format!(
                    "queue {} has a limit of {limit} {resource} and uses {is}",
                    queue.name
                ));
            }
        }
    }
    Ok(())
}

/// Whether a workload is in a queue or below it.
fn is_in(scenario: &Scenario, workload: &WorkloadSpec, queue: &QueueSpec) -> bool {
    let mut name = workload.queue.as_deref();
    for _ in 0..=scenario.queues.len() {
        let Some(one) = name else { return false };
        if one == queue.name {
            return true;
        }
        let spec = scenario.queues.iter().find(|spec| spec.name == one);
        name = spec.and_then(|spec| spec.parent.as_deref());
    }
    false
}

/// Whether devices are shared anywhere: then a name of one is less than one.
fn is_shared(scenario: &Scenario) -> bool {
    let mut nodes = scenario.fleet.iter().flat_map(|target| &target.nodes);
    nodes.any(|node| {
        let mut names = node.labels.keys();
        names.any(|name| name.contains("replicas") || name.contains("sharing"))
    })
}

/// Who waits for want of room finds none: of what is simple enough to be counted here. Only where nobody is about to leave.
pub(super) fn conserves(scenario: &Scenario, now_ms: i64, round: &Round) -> Result<(), String> {
    let waiting = round.pending.iter();
    let waiting = waiting.filter(|(_, one)| one.reason == Reason::InsufficientCapacity);
    let nodes = use_by_node(scenario, round);
    for workload in waiting.filter_map(|(name, _)| scenario.workload(name)) {
        let ([set], Strategy::Gang, None, None) = (
            &workload.pods[..],
            workload.strategy,
            workload.gang_per_target,
            &workload.topology,
        ) else {
            continue;
        };
        if !set.claims.is_empty() || !workload.spread.is_empty() || set.count == 0 {
            continue;
        }
        let open = scenario.fleet.iter();
        let open = open.filter(|target| barred(workload, target, now_ms).is_none());
        for target in open.filter(|target| is_known(round, target)) {
            let of_it = nodes.iter().filter(|((name, _), _)| *name == target.name);
            let rooms = of_it.filter(|(_, there)| takes(workload, set, there.spec));
            let copies: i64 = rooms
                .map(|(place, there)| copies(there, set).min(slots(round, place, there)))
                .sum();
            if copies >= set.min_count.unwrap_or(set.count) {
                return Err(format!(
                    "{} waits for room and {} has room for {copies} of its pods",
                    workload.name, target.name
                ));
            }
        }
    }
    Ok(())
}

/// Whether it can be told where everybody on a target is.
fn is_known(round: &Round, target: &TargetSpec) -> bool {
    let mut places = round.placed.values().flatten();
    !places.any(|place| place.target == target.name && place.node.is_none())
}

/// Pods that a node takes beside those that it has.
fn slots(round: &Round, (target, node): &(String, String), there: &NodeUse<'_>) -> i64 {
    let most = there.spec.capacity.get(PODS);
    if most == 0 {
        return i64::MAX;
    }
    let here = round.placed.values().flatten();
    let here = here.filter(|place| place.target == *target && place.node.as_ref() == Some(node));
    most - here.map(|place| place.count).sum::<i64>()
}

fn copies(there: &NodeUse<'_>, set: &super::PodSpec) -> i64 {
    let asks = set.requests.iter().filter(|(_, amount)| *amount > 0);
    let rooms = asks.map(|(name, amount)| {
        let used = there.used.get(name).copied().unwrap_or(0);
        (there.spec.capacity.get(name) - used).max(0) / amount
    });
    rooms.min().unwrap_or(i64::MAX).min(set.count)
}

/// Whoever starts would start with a higher priority too, and with as many pods.
pub(super) fn priority(before: &World, decisions: &Decisions) -> Result<(), String> {
    let starts = decisions.values().filter(|one| {
        let request = before.requests.get(&one.id);
        one.outcome == Outcome::Place && request.is_some_and(|one| one.current.is_empty())
    });
    for one in starts.filter(|one| one.pods() > 0).take(RAISED) {
        let mut raised = before.clone();
        let Some(request) = raised.requests.get_mut(&one.id) else {
            continue;
        };
        request.priority = request.priority.saturating_add(1_000_000);
        let again: BTreeMap<WorkloadId, _> = raised.cycle();
        let pods = again.get(&one.id).map_or(0, Decision::pods);
        if pods < one.pods() {
            return Err(format!(
                "{} starts with {} pods and would, with a higher priority, with {pods}",
                one.id,
                one.pods()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Core;
    use crate::scenario::outcome::Placed;
    use crate::scenario::{parse, rounds};

    const FILE: &str = "
fleet: [{target: east, nodes: [{name: e, capacity: {gpu: 8, cpu: 64, pods: 2}}]}]
queues: [{name: top, limit: {gpu: 4}}, {name: a, parent: top}]
workloads:
- {name: w, queue: a, pods: [{count: 3, requests: {gpu: 2}}]}
";

    #[test]
    fn what_breaks_a_law_is_found() {
        let scenario = parse("x.yaml", FILE).expect("a scenario");
        let before = World::begin(&scenario, Core::new());
        let runs = |count: i64| Round {
            placed: [(
                "w".to_owned(),
                vec![Placed {
                    target: "east".to_owned(),
                    node: Some("e-0".to_owned()),
                    pods: "main".to_owned(),
                    count,
                }],
            )]
            .into(),
            ..Round::default()
        };
        assert_eq!(limits(&scenario, &before, &runs(2)), Ok(()));
        let broken = limits(&scenario, &before, &runs(3)).expect_err("6 of 4");
        assert!(broken.contains("queue top"), "{broken}");
        let waits = |file: &str| {
            let scenario = parse("x.yaml", file).expect("a scenario");
            let waits = rounds::pending(Reason::InsufficientCapacity, String::new());
            let round = Round {
                pending: [("w".to_owned(), waits)].into(),
                ..Round::default()
            };
            conserves(&scenario, 0, &round)
        };
        assert_eq!(waits(FILE), Ok(()), "two pods at most");
        assert!(waits(&FILE.replace("pods: 2}", "pods: 3}")).is_err());
        assert_eq!(waits(&FILE.replace("gpu: 8", "gpu: 5")), Ok(()));
    }
}
