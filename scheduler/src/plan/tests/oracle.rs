//! A naive second implementation: it tries every way, on names and vectors, and shares no code with the planner.

use placement_api::kinds::{Strategy, TopologyMode};
use placement_api::quantity::ResourceVector;
use placement_api::toleration::{BLOCKING, tolerates};

use crate::fleet::{Fleet, HOSTNAME, Node, TargetState};
use crate::plan::{PodSetRequest, Request};

/// A node with what is free there.
struct Box_<'a> {
    node: &'a Node,
    free: ResourceVector,
}

/// Pods that a gang of so many per role could get at most in one target and domain: `true` if all of them.
pub(super) fn gang_fits(fleet: &Fleet, request: &Request, counts: &[i64]) -> bool {
    let mut domains = Vec::new();
    for (name, target) in fleet.targets() {
        if target.state != TargetState::Ready
            || tolerates(&request.tolerations, &target.taints, BLOCKING).is_err()
        {
            continue;
        }
        let boxes = || {
            target
                .nodes()
                .filter(|node| node.unusable.is_none())
                .map(|node| free(fleet, name.as_str(), node))
        };
        let required = request
            .topology
            .as_ref()
            .filter(|topology| topology.mode == TopologyMode::Required);
        let Some(topology) = required else {
            domains.push(boxes().collect::<Vec<_>>());
            continue;
        };
        // Every pair of nodes in one domain agrees in the level and in all wider ones.
        let wider: Vec<&str> = ["zone", "rack", HOSTNAME]
            .into_iter()
            .take_while(|level| *level != topology.level)
            .collect();
        let key = |node: &Node| -> Option<Vec<String>> {
            let mut key: Vec<String> = wider
                .iter()
                .map(|level| node.label(level).unwrap_or_default().to_owned())
                .collect();
            key.push(node.label(&topology.level)?.to_owned());
            Some(key)
        };
        let mut keys: Vec<Vec<String>> = target.nodes().filter_map(key).collect();
        keys.sort();
        keys.dedup();
        domains.extend(keys.iter().map(|one| {
            boxes()
                .filter(|have| key(have.node).as_ref() == Some(one))
                .collect::<Vec<_>>()
        }));
    }
    let pods: Vec<&PodSetRequest> = request
        .pod_sets
        .iter()
        .zip(counts)
        .flat_map(|(set, count)| (0..*count).map(move |_| set))
        .collect();
    let ready = |request: &Request| {
        fleet.targets().any(|(_, target)| {
            target.state == TargetState::Ready
                && tolerates(&request.tolerations, &target.taints, BLOCKING).is_ok()
        })
    };
    if pods.is_empty() {
        return ready(request);
    }
    domains
        .iter_mut()
        .any(|boxes| every_way(boxes, request, &pods))
}

/// Replicas that all targets together hold.
pub(super) fn replicas(fleet: &Fleet, request: &Request) -> i64 {
    assert_eq!(request.strategy, Strategy::Divide);
    let mut total = 0;
    for (name, target) in fleet.targets() {
        if target.state != TargetState::Ready
            || tolerates(&request.tolerations, &target.taints, BLOCKING).is_err()
        {
            continue;
        }
        for node in target.nodes().filter(|node| node.unusable.is_none()) {
            let mut there = free(fleet, name.as_str(), node);
            while allowed(&there, request, &request.pod_sets[0]) {
                take(&mut there, &request.pod_sets[0], true);
                total += 1;
            }
        }
    }
    total
}

fn free<'a>(fleet: &Fleet, target: &str, node: &'a Node) -> Box_<'a> {
    Box_ {
        node,
        free: fleet.free_on(target, node.name().as_str()).expect("node"),
    }
}

fn allowed(there: &Box_<'_>, request: &Request, set: &PodSetRequest) -> bool {
    let tolerations: Vec<_> = request
        .tolerations
        .iter()
        .chain(&set.tolerations)
        .cloned()
        .collect();
    tolerates(&tolerations, &there.node.taints, BLOCKING).is_ok()
        && set
            .node_selector
            .iter()
            .all(|(key, value)| there.node.label(key) == Some(value.as_str()))
        && set.requests.fits(&there.free)
        && there.free.get("pods") > 0
}

fn take(there: &mut Box_<'_>, set: &PodSetRequest, away: bool) {
    let mut pod = set.requests.clone();
    pod.set("pods", 1);
    if away {
        there.free.sub(&pod);
    } else {
        there.free.add(&pod);
    }
}

fn every_way(boxes: &mut [Box_<'_>], request: &Request, pods: &[&PodSetRequest]) -> bool {
    let Some((pod, rest)) = pods.split_first() else {
        return true;
    };
    for index in 0..boxes.len() {
        if allowed(&boxes[index], request, pod) {
            take(&mut boxes[index], pod, true);
            let found = every_way(boxes, request, rest);
            take(&mut boxes[index], pod, false);
            if found {
                return true;
            }
        }
    }
    false
}

/// Pods and GPUs of each of a gang.
pub(super) type Gang = (usize, i64);

/// Which gangs can run together, in their turn: each one that leaves room for all that were taken before it. `targets` has the free GPUs of the
/// nodes of each target; a gang is in one target. All ways are tried, so this is the best that any placement can do for this order.
pub(super) fn best_in_turn(targets: &[Vec<i64>], gangs: &[Gang]) -> Vec<bool> {
    let mut taken: Vec<Gang> = Vec::new();
    gangs
        .iter()
        .map(|gang| {
            taken.push(*gang);
            let fits = together(&mut targets.to_vec(), &taken);
            if !fits {
                taken.pop();
            }
            fits
        })
        .collect()
}

/// Whether all of them have room at once.
fn together(targets: &mut [Vec<i64>], gangs: &[Gang]) -> bool {
    let Some((first, rest)) = gangs.split_first() else {
        return true;
    };
    (0..targets.len()).any(|target| pod_by_pod(targets, target, 0, *first, rest))
}

/// Pods are alike: each one is on the node of the one before or on a later one.
fn pod_by_pod(
    targets: &mut [Vec<i64>],
    target: usize,
    from: usize,
    (pods, gpus): Gang,
    rest: &[Gang],
) -> bool {
    if pods == 0 {
        return together(targets, rest);
    }
    for node in from..targets[target].len() {
        if targets[target][node] >= gpus {
            targets[target][node] -= gpus;
            let found = pod_by_pod(targets, target, node, (pods - 1, gpus), rest);
            targets[target][node] += gpus;
            if found {
                return true;
            }
        }
    }
    false
}
