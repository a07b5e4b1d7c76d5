//! What fields say of each other: names that must exist, queues without cycles, sizes, and room for what runs.

use std::collections::{BTreeMap, BTreeSet};

use super::read::{Reader, near, way_out};
use super::{Scenario, WorkloadSpec};

/// Most nodes of a file.
const MOST_NODES: i64 = 2_000_000;
/// Most pods of a file.
const MOST_PODS: i64 = 5_000_000;

pub(super) fn check(scenario: &Scenario, r: &mut Reader) {
    sizes(scenario, r);
    if !r.problems.is_empty() {
        return;
    }
    node_names(scenario, r);
    queues(scenario, r);
    for (index, workload) in scenario.workloads.iter().enumerate() {
        references(scenario, workload, &format!("workloads[{index}]"), r);
    }
    if r.problems.is_empty() {
        room(scenario, r);
    }
    expected(scenario, r);
}

fn sizes(scenario: &Scenario, r: &mut Reader) {
    let nodes: i64 = scenario
        .fleet
        .iter()
        .flat_map(|target| &target.nodes)
        .map(|node| node.count)
        .sum();
    if nodes > MOST_NODES {
        r.wrong_at(
            1,
            "fleet",
            format!("has {nodes} nodes; write at most {MOST_NODES}"),
        );
    }
    let pods: i64 = scenario
        .workloads
        .iter()
        .flat_map(|one| &one.pods)
        .map(|set| set.count)
        .sum();
    if pods > MOST_PODS {
        r.wrong_at(
            1,
            "workloads",
            format!("have {pods} pods; write at most {MOST_PODS}"),
        );
    }
}

/// `a` makes `a-0`; two lines may still make one name, such as `a-0-0`.
fn node_names(scenario: &Scenario, r: &mut Reader) {
    for (index, target) in scenario.fleet.iter().enumerate() {
        let mut seen = BTreeSet::new();
        for (name, _) in target.all_nodes() {
            if let Some(twice) = seen.replace(name) {
                r.wrong_at(
                    target.line,
                    &format!("fleet[{index}].nodes"),
                    format!("two nodes would be called {twice:?}; begin their names differently"),
                );
                break;
            }
        }
    }
}

fn queues(scenario: &Scenario, r: &mut Reader) {
    let parents: BTreeMap<&str, Option<&str>> = scenario
        .queues
        .iter()
        .map(|queue| (queue.name.as_str(), queue.parent.as_deref()))
        .collect();
    let names: Vec<&str> = parents.keys().copied().collect();
    for (index, queue) in scenario.queues.iter().enumerate() {
        let path = format!("queues[{index}].parent");
        let Some(parent) = queue.parent.as_deref() else {
            continue;
        };
        if !parents.contains_key(parent) {
            r.wrong_at(queue.line, &path, unknown("queue", parent, &names));
            continue;
        }
        let mut way = vec![queue.name.as_str()];
        let mut at = Some(parent);
        while let Some(name) = at {
            if name == queue.name {
                way.push(name);
                r.wrong_at(
                    queue.line,
                    &path,
                    format!(
                        "queues go in a circle ({}); leave `parent` out of one of them",
                        way.join(" -> ")
                    ),
                );
                break;
            }
            if way.contains(&name) {
                break;
            }
            way.push(name);
            at = parents.get(name).copied().flatten();
        }
    }
}

fn references(scenario: &Scenario, workload: &WorkloadSpec, path: &str, r: &mut Reader) {
    let targets: Vec<&str> = scenario
        .fleet
        .iter()
        .map(|target| target.name.as_str())
        .collect();
    if let Some((level, _, _)) = &workload.topology
        && level != "node"
        && !scenario.config.levels.contains(level)
    {
        let mut known: Vec<&str> = scenario.config.levels.iter().map(String::as_str).collect();
        known.push("node");
        r.wrong_at(
            workload.line,
            &format!("{path}.topology.level"),
            format!(
                "{} (levels are listed in config.levels)",
                unknown("level", level, &known)
            ),
        );
    }
    for target in workload
        .weights
        .keys()
        .filter(|name| !targets.contains(&name.as_str()))
    {
        r.wrong_at(
            workload.line,
            &format!("{path}.divide.weights.{target}"),
            unknown("target", target, &targets),
        );
    }
    for (index, (target, _, _)) in workload.refused.iter().enumerate() {
        if !targets.contains(&target.as_str()) {
            r.wrong_at(
                workload.line,
                &format!("{path}.refused[{index}].target"),
                unknown("target", target, &targets),
            );
        }
    }
    for part in &workload.runs_on {
        if workload.pod_set(&part.pods).is_none() {
            let known: Vec<&str> = workload.pods.iter().map(|set| set.name.as_str()).collect();
            r.wrong_at(
                part.line,
                &format!("{}.pods", part.path),
                unknown("pod set", &part.pods, &known),
            );
        }
        if part.started_ms > scenario.now_ms {
            r.wrong_at(
                part.line,
                &format!("{}.started", part.path),
                "is later than now; write a time before the first cycle, such as -5m",
            );
        }
        let Some(target) = scenario.target(&part.target) else {
            r.wrong_at(
                part.line,
                &format!("{}.target", part.path),
                unknown("target", &part.target, &targets),
            );
            continue;
        };
        if let Some(node) = &part.node
            && !target.all_nodes().any(|(name, _)| name == *node)
        {
            let nodes: Vec<String> = target
                .all_nodes()
                .take(1000)
                .map(|(name, _)| name)
                .collect();
            let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
            r.wrong_at(
                part.line,
                &format!("{}.node", part.path),
                unknown(&format!("node of {}", target.name), node, &nodes),
            );
        }
    }
}

/// What runs fits on the nodes that it runs on.
fn room(scenario: &Scenario, r: &mut Reader) {
    let mut used: BTreeMap<(&str, &str), BTreeMap<&str, i64>> = BTreeMap::new();
    let mut together = BTreeSet::new();
    for workload in &scenario.workloads {
        for part in &workload.runs_on {
            let (Some(node), Some(set), Some(target)) = (
                &part.node,
                workload.pod_set(&part.pods),
                scenario.target(&part.target),
            ) else {
                continue;
            };
            let Some((_, spec)) = target.all_nodes().find(|(name, _)| name == node) else {
                continue;
            };
            let here = used.entry((&part.target, node)).or_default();
            let mut asks: Vec<(&str, i64)> = set
                .requests
                .iter()
                .map(|(resource, amount)| (resource, amount.saturating_mul(part.count)))
                .collect();
            for claim in &set.claims {
                // What all have together who name it is there once.
                let times = match &claim.shared {
                    None => part.count,
                    Some(shared) => {
                        let key = (&part.target, &workload.namespace, shared);
                        i64::from(part.count > 0 && together.insert(key))
                    }
                };
                let devices = claim.devices.iter();
                asks.extend(devices.map(|(class, count)| {
                    let amount = count.saturating_mul(times);
                    (class.as_str(), amount)
                }));
            }
            for (resource, amount) in asks {
                let sum = here.entry(resource).or_default();
                *sum = sum.saturating_add(amount);
                let devices = spec.devices.get(resource).copied().unwrap_or(0);
                let has = spec.capacity.get(resource).max(devices);
                if *sum > has {
                    r.wrong_at(part.line, &part.path, format!("more {resource} would run on {node} ({sum}) than it has ({has}); run fewer pods there"));
                }
            }
        }
    }
}

fn expected(scenario: &Scenario, r: &mut Reader) {
    let Some(expect) = &scenario.expect else {
        return;
    };
    let names: Vec<&str> = scenario
        .workloads
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let targets: Vec<&str> = scenario
        .fleet
        .iter()
        .map(|target| target.name.as_str())
        .collect();
    for (name, (line, places)) in &expect.placed {
        let path = format!("expect.placed.{name}");
        if !names.contains(&name.as_str()) {
            r.wrong_at(*line, &path, unknown("workload", name, &names));
        }
        for place in places {
            let Some(target) = scenario.target(&place.target) else {
                r.wrong_at(*line, &path, unknown("target", &place.target, &targets));
                continue;
            };
            if let Some(node) = &place.node
                && !target.all_nodes().any(|(name, _)| name == *node)
            {
                r.wrong_at(
                    *line,
                    &path,
                    unknown(&format!("node of {}", target.name), node, &[]),
                );
            }
        }
        if expect.pending.contains_key(name) {
            r.wrong_at(
                *line,
                &path,
                format!("{name} cannot be placed and pending after the last round; write it once"),
            );
        }
    }
    for (name, (line, _)) in &expect.pending {
        if !names.contains(&name.as_str()) {
            r.wrong_at(
                *line,
                &format!("expect.pending.{name}"),
                unknown("workload", name, &names),
            );
        }
    }
    if let Some((line, evicted)) = &expect.evicted {
        for name in evicted
            .iter()
            .filter(|name| !names.contains(&name.as_str()))
        {
            r.wrong_at(*line, "expect.evicted", unknown("workload", name, &names));
        }
    }
}

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let list = match known {
        [] => "there is none".to_owned(),
        _ if known.len() > 12 => {
            let some = known[..12].join(", ");
            format!("there are {some}, … ({} in all)", known.len())
        }
        _ => format!("write one of {}", known.join(", ")),
    };
    format!(
        "{name:?} is no {what}; {}",
        way_out(near(name, known), &list)
    )
}
