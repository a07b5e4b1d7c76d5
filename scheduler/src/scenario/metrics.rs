//! Figures of a fleet after a round.

use std::collections::{BTreeMap, BTreeSet};

use super::read::GPU;
use super::{Metrics, Round, Scenario, words};
use crate::fleet::TargetState;

/// What each node has and uses.
pub(super) struct NodeUse<'a> {
    pub(super) spec: &'a super::NodeSpec,
    pub(super) used: BTreeMap<&'a str, i64>,
    pub(super) counts: bool,
}

pub(super) fn use_by_node<'a>(
    scenario: &'a Scenario,
    round: &Round,
) -> BTreeMap<(String, String), NodeUse<'a>> {
    let mut nodes = BTreeMap::new();
    for target in &scenario.fleet {
        for (name, spec) in target.all_nodes() {
            let node = NodeUse {
                spec,
                used: BTreeMap::new(),
                counts: target.state != TargetState::Lost && spec.healthy,
            };
            nodes.insert((target.name.clone(), name), node);
        }
    }
    let mut together = BTreeSet::new();
    for (name, places) in &round.placed {
        let Some(workload) = scenario.workload(name) else {
            continue;
        };
        for place in places {
            let (Some(node), Some(set)) = (&place.node, workload.pod_set(&place.pods)) else {
                continue;
            };
            let Some(there) = nodes.get_mut(&(place.target.clone(), node.clone())) else {
                continue;
            };
            for (resource, amount) in set.requests.iter() {
                let sum: &mut i64 = there.used.entry(resource).or_default();
                *sum = sum.saturating_add(amount.saturating_mul(place.count));
            }
            for claim in &set.claims {
                // What all have together who name it is there once.
                let times = match &claim.shared {
                    None => place.count,
                    Some(shared) => {
                        let key = (&place.target, &workload.namespace, shared);
                        i64::from(place.count > 0 && together.insert(key))
                    }
                };
                for (class, count) in &claim.devices {
                    let sum: &mut i64 = there.used.entry(class).or_default();
                    *sum = sum.saturating_add(count.saturating_mul(times));
                }
            }
        }
    }
    nodes
}

pub(super) fn metrics(scenario: &Scenario, round: &Round) -> Metrics {
    let nodes = use_by_node(scenario, round);
    let mut has: BTreeMap<&str, i64> = BTreeMap::new();
    let mut uses: BTreeMap<&str, i64> = BTreeMap::new();
    let mut stranded = 0;
    for node in nodes.values().filter(|node| node.counts) {
        for (resource, amount) in node.spec.capacity.iter() {
            *has.entry(resource).or_default() += amount;
            let used = node.used.get(resource).copied().unwrap_or(0);
            *uses.entry(resource).or_default() += used;
        }
        let free = |resource: &str| {
            node.spec.capacity.get(resource) - node.used.get(resource).copied().unwrap_or(0)
        };
        let mut gpu_sets = scenario
            .workloads
            .iter()
            .flat_map(|workload| &workload.pods)
            .filter(|set| set.requests.get(GPU) > 0);
        if !gpu_sets.any(|set| {
            set.requests
                .iter()
                .all(|(name, amount)| amount <= free(name))
        }) {
            stranded += free(GPU);
        }
    }
    let share = |part: i64, whole: i64| {
        if whole > 0 {
            (part as f64 / whole as f64 * 1e6).round() / 1e6
        } else {
            0.0
        }
    };
    Metrics {
        allocated: has
            .iter()
            .map(|(resource, whole)| {
                let used = uses.get(resource).copied().unwrap_or(0);
                (words::short(resource).to_owned(), share(used, *whole))
            })
            .collect(),
        fragmented_gpu: share(stranded, has.get(GPU).copied().unwrap_or(0)),
        ..Metrics::default()
    }
}
