//! What must hold after every cycle, checked without the planner's own arithmetic.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{QueueOrder, Strategy, TopologyMode};
use placement_api::reason::Reason;
use placement_api::selector::has_all;
use placement_api::toleration::{BLOCKING, Toleration, tolerates};

use super::metrics::use_by_node;
use super::outcome::{Placed, Round};
use super::rounds::{Decisions, World};
use super::{NodeSpec, PodSpec, Scenario, TargetSpec, WorkloadSpec};
use crate::fleet::{TargetState, WorkloadId};
use crate::plan::{Current, Decision, Outcome, Request};

/// The same inputs in another order give the same.
pub(super) fn deterministic(before: &World, decisions: &Decisions) -> Result<(), String> {
    let again = before.clone().cycle();
    if let Some((id, _)) = again
        .iter()
        .find(|(id, one)| decisions.get(*id) != Some(*one))
    {
        return Err(format!(
            "planning the same again decides otherwise about {id}"
        ));
    }
    let asked: Vec<Request> = before.requests.values().cloned().collect();
    let turned: Vec<Request> = asked.iter().rev().cloned().collect();
    let once = |requests: &[Request]| -> Decisions {
        let (made, _) = before.clone().core.plan(requests, before.now_ms);
        made.into_iter().map(|one| (one.id.clone(), one)).collect()
    };
    let (forwards, backwards) = (once(&asked), once(&turned));
    match forwards.iter().find(|(id, one)| {
        backwards
            .get(*id)
            .map(|other| (&other.outcome, &other.parts))
            != Some((&one.outcome, &one.parts))
    }) {
        Some((id, _)) => Err(format!(
            "the order in which workloads are asked decides about {id}"
        )),
        None => Ok(()),
    }
}

/// Planning again without a cause changes nothing.
pub(super) fn sticks(settled: &World) -> Result<(), String> {
    let mut world = settled.clone();
    let decisions = world.cycle();
    // A promise of the cycle before that has fallen due is a cause.
    let due = |one: &Decision| {
        let mut leaving = one.leaving.iter();
        leaving.any(|part| part.reason == Reason::OverranEstimate)
    };
    // So is who has just started and is in the way of another queue, or would rather be elsewhere for somebody: what a cycle has decided it does
    // not take back itself, neither whole nor in part.
    let new = |one: &Decision| {
        let for_others = |reason: &Reason| {
            let reasons = [Reason::ReclaimedByEntitledQueue, Reason::Defragmented];
            reasons.contains(reason)
        };
        let shrinks = one.explanation.reason.as_ref().is_some_and(for_others);
        let gives_way = shrinks || one.leaving.iter().any(|part| for_others(&part.reason));
        let parts = settled
            .requests
            .get(&one.id)
            .into_iter()
            .flat_map(|one| &one.current);
        gives_way && { parts }.any(|part| part.started_ms == Some(settled.now_ms))
    };
    if decisions.values().any(|one| due(one) || new(one)) {
        return Ok(());
    }
    let moved = decisions.values().find(|one| one.outcome == Outcome::Place);
    moved.map_or(Ok(()), |one| {
        Err(format!("planning again without a cause changes {}", one.id))
    })
}

/// Defragmentation moves at most what it is allowed; no time passes between rounds. Inside a queue that takes turns there is no budget.
pub(super) fn budget(scenario: &Scenario, rounds: &[Round]) -> Result<(), String> {
    let takes_turns = |name: &str| {
        let queue = scenario.workload(name).and_then(|one| one.queue.as_ref());
        let mut queues = scenario.queues.iter();
        let spec = queues.find(|spec| Some(&spec.name) == queue);
        spec.is_some_and(|spec| spec.time_slicing && spec.order != QueueOrder::Age)
    };
    let evicted = rounds.iter().flat_map(|round| &round.evicted);
    let moves = evicted
        .filter(|(name, one)| one.reason == Reason::Defragmented && !takes_turns(name.as_str()));
    let count = i64::try_from(moves.count()).unwrap_or(i64::MAX);
    if count > scenario.config.defragment {
        let most = scenario.config.defragment;
        return Err(format!("{count} moves were made and {most} are allowed"));
    }
    Ok(())
}

/// Everybody once, room, gangs, and places that may be used.
pub(super) fn sound(scenario: &Scenario, before: &World, round: &Round) -> Result<(), String> {
    once(scenario, round)?;
    room(scenario, round)?;
    for (name, places) in &round.placed {
        let Some(workload) = scenario.workload(name) else {
            return Err(format!("{name} is not in the file"));
        };
        let earlier = before
            .requests
            .get(&WorkloadId::from(name))
            .ok_or_else(|| format!("{name} runs before it has arrived"))?;
        whole(scenario, workload, earlier, places)?;
        together(scenario, workload, earlier, before.now_ms, places)?;
        allowed(scenario, workload, earlier, before.now_ms, places)?;
    }
    Ok(())
}

fn once(scenario: &Scenario, round: &Round) -> Result<(), String> {
    for workload in &scenario.workloads {
        let name = &workload.name;
        let times = usize::from(round.placed.contains_key(name))
            + usize::from(round.evicted.contains_key(name))
            + usize::from(round.pending.contains_key(name));
        if times != 1 {
            return Err(format!(
                "{name} is in {times} of placed, evicted and pending"
            ));
        }
    }
    Ok(())
}

fn room(scenario: &Scenario, round: &Round) -> Result<(), String> {
    for ((target, node), there) in use_by_node(scenario, round) {
        for (resource, used) in &there.used {
            let devices = there.spec.devices.get(*resource).copied().unwrap_or(0);
            let has = there.spec.capacity.get(resource).max(devices);
            if *used > has {
                return Err(format!(
                    "{target}/{node} has {has} {resource} and {used} are used"
                ));
            }
        }
    }
    Ok(())
}

/// Pods of a role, over these places.
fn pods<'a>(places: impl IntoIterator<Item = &'a Placed>, set: &str) -> i64 {
    places
        .into_iter()
        .filter(|place| place.pods == set)
        .map(|place| place.count)
        .sum()
}

/// Pods of a role that ran before and can be seen.
fn ran(scenario: &Scenario, earlier: &Request, set: &str) -> i64 {
    let lost = |part: &Current| {
        let target = scenario.target(part.target.as_str());
        target.is_none_or(|target| target.state == TargetState::Lost)
    };
    earlier
        .current
        .iter()
        .filter(|part| !part.evicting && !lost(part))
        .map(|part| part.counts.get(set).copied().unwrap_or(0))
        .sum()
}

/// A gang has all of its pods or, elastic, its minimum. What ran with fewer may go on.
fn whole(
    scenario: &Scenario,
    workload: &WorkloadSpec,
    earlier: &Request,
    places: &[Placed],
) -> Result<(), String> {
    let targets: BTreeSet<&str> = places.iter().map(|place| place.target.as_str()).collect();
    for set in &workload.pods {
        let least = match workload.strategy {
            Strategy::Divide => set.min_count.unwrap_or(1).min(set.count),
            Strategy::Gang | Strategy::Duplicate => set.min_count.unwrap_or(set.count),
        };
        let least = if earlier.current.is_empty() {
            least
        } else {
            least.min(ran(scenario, earlier, &set.name))
        };
        let copies = if workload.strategy == Strategy::Duplicate && earlier.current.is_empty() {
            i64::try_from(targets.len()).unwrap_or(i64::MAX)
        } else {
            1
        };
        let found = pods(places, &set.name);
        if found < least.saturating_mul(copies) {
            return Err(format!(
                "{} has {found} pods of {} and needs {least}",
                workload.name, set.name
            ));
        }
    }
    if workload.strategy != Strategy::Gang || !earlier.current.is_empty() {
        return Ok(());
    }
    match workload.gang_per_target {
        None if targets.len() > 1 => {
            Err(format!("the gang {} is on several targets", workload.name))
        }
        Some(least) if targets.len() > 1 => {
            let few = targets.iter().find(|target| {
                let here = places.iter().filter(|place| place.target == **target);
                here.map(|place| place.count).sum::<i64>() < least
            });
            few.map_or(Ok(()), |target| {
                Err(format!(
                    "{} has less than {least} pods on {target}",
                    workload.name
                ))
            })
        }
        _ => Ok(()),
    }
}

/// A required topology is kept.
fn together(
    scenario: &Scenario,
    workload: &WorkloadSpec,
    earlier: &Request,
    now_ms: i64,
    places: &[Placed],
) -> Result<(), String> {
    let Some((level, TopologyMode::Required, relax)) = &workload.topology else {
        return Ok(());
    };
    let relaxed = relax.is_some_and(|after| now_ms >= earlier.waits_since_ms.saturating_add(after));
    let single = workload.strategy == Strategy::Gang && workload.gang_per_target.is_none();
    if relaxed || !single || !earlier.current.is_empty() {
        return Ok(());
    }
    let mut domains = BTreeSet::new();
    for place in places.iter().filter(|place| place.count > 0) {
        let (Some(name), Some(target)) = (&place.node, scenario.target(&place.target)) else {
            return Err(format!("{} has pods without a node", workload.name));
        };
        let Some((_, node)) = target.all_nodes().find(|(one, _)| one == name) else {
            return Err(format!(
                "{} runs on {name}, which is not there",
                workload.name
            ));
        };
        let domain: Vec<Option<&String>> = if level == "node" {
            vec![Some(name)]
        } else {
            let depth = scenario.config.levels.iter().position(|one| one == level);
            let keys = &scenario.config.levels[..=depth.unwrap_or(0)];
            keys.iter().map(|key| node.labels.get(key)).collect()
        };
        domains.insert(
            domain
                .into_iter()
                .map(Option::<&String>::cloned)
                .collect::<Vec<_>>(),
        );
    }
    if domains.len() > 1 {
        return Err(format!(
            "{} must be in one {level} and is in {}",
            workload.name,
            domains.len()
        ));
    }
    Ok(())
}

/// What is new is where it may be.
fn allowed(
    scenario: &Scenario,
    workload: &WorkloadSpec,
    earlier: &Request,
    now_ms: i64,
    places: &[Placed],
) -> Result<(), String> {
    let mut had: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for part in earlier.current.iter().filter(|part| !part.evicting) {
        for (set, count) in &part.counts {
            *had.entry((part.target.as_str(), set.as_str())).or_default() += count;
        }
    }
    for place in places {
        let here = places.iter().filter(|one| one.target == place.target);
        let before = had.get(&(place.target.as_str(), place.pods.as_str()));
        if pods(here, &place.pods) <= before.copied().unwrap_or(0) && before.is_some() {
            continue;
        }
        let wrong = |what: &str| {
            Err(format!(
                "{} was put on {}, {what}",
                workload.name, place.target
            ))
        };
        let Some(target) = scenario.target(&place.target) else {
            return wrong("which is not in the file");
        };
        if let Some(what) = barred(workload, target, now_ms) {
            return wrong(what);
        }
        // Where some pods ran before, nobody can say which are the new ones.
        let (Some(name), Some(set), None) = (&place.node, workload.pod_set(&place.pods), before)
        else {
            continue;
        };
        let Some((_, node)) = target.all_nodes().find(|(one, _)| one == name) else {
            return wrong("on a node that it does not have");
        };
        if !takes(workload, set, node) {
            return wrong(&format!("node {name}, where its pods may not run"));
        }
    }
    Ok(())
}

/// Why a workload may not start on a target.
pub(super) fn barred(
    workload: &WorkloadSpec,
    target: &TargetSpec,
    now_ms: i64,
) -> Option<&'static str> {
    if target.state != TargetState::Ready {
        return Some("which is not Ready");
    }
    if tolerates(&workload.tolerations, &target.taints, BLOCKING).is_err() {
        return Some("whose taint it does not tolerate");
    }
    if let (Some(kinds), Some(kind)) = (&target.kinds, &workload.kind)
        && !kinds.contains(kind)
    {
        return Some("which does not serve its kind");
    }
    let mut tiers = workload.locations.iter();
    if !workload.locations.is_empty() && !tiers.any(|tier| has_all(tier, &target.labels)) {
        return Some("which is in none of its locations");
    }
    let mut refused = workload.refused.iter();
    let refused = refused.any(|(name, _, until)| *name == target.name && *until > now_ms);
    refused.then_some("which refused it")
}

/// Whether pods of a role may run on a node.
pub(super) fn takes(workload: &WorkloadSpec, set: &PodSpec, node: &NodeSpec) -> bool {
    let tolerations: Vec<Toleration> = set
        .tolerations
        .iter()
        .chain(&workload.tolerations)
        .cloned()
        .collect();
    let mut selector = set.selector.iter();
    node.healthy
        && selector.all(|(key, value)| node.labels.get(key) == Some(value))
        && tolerates(&tolerations, &node.taints, BLOCKING).is_ok()
}
