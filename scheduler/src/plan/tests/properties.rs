//! Properties on small random fleets.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{Packing, Strategy, TopologyMode};
use placement_api::toleration::{TaintEffect, Toleration};
use proptest::prelude::*;

use super::build::*;
use super::oracle;
use crate::fleet::{Fleet, TargetState, WorkloadId};
use crate::plan::{Decision, Outcome, Request, Waiting, adopt, plan};

const NOW: i64 = 1_000_000;

#[derive(Clone, Debug)]
struct Case {
    targets: Vec<(TargetState, bool, Vec<N>)>,
    requests: Vec<Request>,
}

fn a_node() -> impl Strategy_<Value = N> {
    (
        0_i64..5,
        1_i64..9,
        1_i64..7,
        prop::option::of(1..3),
        prop::option::of(1..3),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(gpu, cpu, pods, zone, rack, tainted, unusable)| {
            let label = |key: &str, value: Option<i32>| {
                value
                    .map(|value| format!("{key}={key}{value} "))
                    .unwrap_or_default()
            };
            let mut one = node(
                "",
                &format!("{}{}", label("zone", zone), label("rack", rack)),
                &format!("gpu={gpu} cpu={cpu} pods={pods}"),
            );
            one.unusable = unusable;
            if tainted {
                one.taints = vec![taint("t", TaintEffect::NoSchedule)];
            }
            one
        })
}

use proptest::strategy::Strategy as Strategy_;

fn a_target() -> impl Strategy_<Value = (TargetState, bool, Vec<N>)> {
    let state = prop_oneof![8 => Just(TargetState::Ready), 1 => Just(TargetState::Cordoned), 1 => Just(TargetState::Lost)];
    (
        state,
        prop::bool::weighted(0.1),
        prop::collection::vec(a_node(), 0..4),
    )
        .prop_map(|(state, tainted, mut nodes)| {
            for (index, node) in nodes.iter_mut().enumerate() {
                node.name = format!("n{index}");
            }
            (state, tainted, nodes)
        })
}

fn a_request() -> impl Strategy_<Value = Request> {
    let set = (
        0_i64..5,
        0_i64..3,
        0_i64..3,
        prop::bool::weighted(0.2),
        prop::option::weighted(0.2, 1_i64..3),
    );
    let topology = prop::option::weighted(
        0.4,
        (
            prop_oneof![Just("zone"), Just("rack"), Just("kubernetes.io/hostname")],
            prop_oneof![3 => Just(TopologyMode::Required), 1 => Just(TopologyMode::Preferred)],
        ),
    );
    (
        prop::collection::vec(set, 1..3),
        topology,
        prop_oneof![4 => Just(Strategy::Gang), 2 => Just(Strategy::Divide), 1 => Just(Strategy::Duplicate)],
        prop::bool::weighted(0.2),
        0_i32..3,
        0_i64..3,
        prop::option::of(prop_oneof![Just(Packing::Pack), Just(Packing::Spread)]),
    )
        .prop_map(|(sets, topology, strategy, tolerant, priority, submitted_ms, packing)| {
            let mut request = gang("", 0, "");
            request.pod_sets = sets
                .into_iter()
                .enumerate()
                .map(|(index, (count, gpu, cpu, selects, min_count))| {
                    let mut one = self::set(&format!("s{index}"), count, &format!("gpu={gpu} cpu={cpu}"));
                    one.min_count = min_count;
                    if selects {
                        one.node_selector = pairs("zone=zone1");
                    }
                    one
                })
                .collect();
            if strategy == Strategy::Divide {
                request.pod_sets.truncate(1);
            } else {
                request.topology = topology.and_then(|(level, mode)| in_one(level, mode));
            }
            if tolerant {
                request.tolerations = vec![Toleration::exists("t")];
            }
            Request { strategy, packing, priority, submitted_ms, ..request }
        })
}

fn a_case() -> impl Strategy_<Value = Case> {
    (
        prop::collection::vec(a_target(), 1..4),
        prop::collection::vec(a_request(), 1..6),
    )
        .prop_map(|(targets, mut requests)| {
            for (index, request) in requests.iter_mut().enumerate() {
                request.id = WorkloadId::from(format!("w{index}"));
            }
            Case { targets, requests }
        })
}

fn build(case: &Case) -> Fleet {
    let mut fleet = fleet();
    for (index, (state_, tainted, nodes)) in case.targets.iter().enumerate() {
        let target = format!("t{index}");
        add(&mut fleet, &target, "", nodes);
        let taints = if *tainted {
            vec![taint("t", TaintEffect::NoSchedule)]
        } else {
            Vec::new()
        };
        fleet.set_target(&name(&target), pairs(""), taints, *state_, 0);
    }
    fleet
}

/// What is used on each node by the decisions themselves, where they name nodes, and per target by all of them.
fn within_capacity(fleet: &Fleet, requests: &[Request], decisions: &[Decision]) {
    for (name, target) in fleet.targets() {
        for node in target.nodes() {
            let free = fleet
                .free_on(name.as_str(), node.name().as_str())
                .expect("node");
            assert!(!free.has_negative(), "{name}/{}: {free:?}", node.name());
        }
    }
    let mut used: BTreeMap<(&str, &str), placement_api::quantity::ResourceVector> = BTreeMap::new();
    for (request, decision) in requests.iter().zip(decisions) {
        for part in &decision.parts {
            for node in &part.nodes {
                let mut pod = request
                    .pod_set(&node.pod_set)
                    .expect("role")
                    .requests
                    .clone();
                pod.set("pods", 1);
                used.entry((part.target.as_str(), &node.name))
                    .or_default()
                    .add(&pod.times(u32::try_from(node.pods).expect("count")));
            }
            if !part.nodes.is_empty() {
                for (set, count) in &part.counts {
                    let named: i64 = part
                        .nodes
                        .iter()
                        .filter(|node| node.pod_set == *set)
                        .map(|node| node.pods)
                        .sum();
                    assert_eq!(
                        named, *count,
                        "{} {set}: every pod has its node",
                        request.id
                    );
                }
            }
        }
    }
    let mut fresh = fleet.clone();
    for request in requests {
        fresh.release_all(&request.id);
    }
    for ((target, node), used) in used {
        assert!(
            used.fits(&fresh.free_on(target, node).expect("node")),
            "{target}/{node}: {used:?}"
        );
    }
}

fn counts(request: &Request, decision: &Decision) -> Vec<i64> {
    request
        .pod_sets
        .iter()
        .map(|set| {
            decision
                .parts
                .iter()
                .filter_map(|part| part.counts.get(&set.name))
                .sum()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn capacity_is_never_exceeded_and_gangs_are_whole(case in a_case()) {
        let mut fleet = build(&case);
        let (decisions, _) = plan(&mut fleet, &case.requests, NOW);
        within_capacity(&fleet, &case.requests, &decisions);
        for (request, decision) in case.requests.iter().zip(&decisions) {
            prop_assert_eq!(&request.id, &decision.id);
            if decision.outcome == Outcome::Wait {
                prop_assert!(decision.parts.is_empty());
                continue;
            }
            match request.strategy {
                Strategy::Gang => {
                    prop_assert_eq!(decision.parts.len(), 1);
                    for (set, count) in request.pod_sets.iter().zip(counts(request, decision)) {
                        prop_assert!(count <= set.count && count >= set.gang_minimum(), "{} of {:?}", count, set);
                    }
                }
                Strategy::Divide => {
                    let count = counts(request, decision)[0];
                    prop_assert!(count <= request.pod_sets[0].count);
                    prop_assert!(count >= request.pod_sets[0].min_count.unwrap_or(1).min(request.pod_sets[0].count));
                }
                Strategy::Duplicate => {}
            }
            if let (Some(topology), Strategy::Gang) = (&request.topology, request.strategy)
                && topology.mode == TopologyMode::Required
            {
                let part = &decision.parts[0];
                let target = fleet.target(part.target.as_str()).expect("target");
                let mut domains: Vec<_> = part.nodes.iter().map(|share| {
                    let node = target.node(&share.name).expect("node");
                    prop_assert!(part.domain.iter().all(|(key, value)| node.label(key) == Some(value.as_str())), "{:?}", part);
                    Ok((node.label("zone").map(str::to_owned).filter(|_| topology.level != "kubernetes.io/hostname"), node.label(&topology.level).map(str::to_owned)))
                }).collect::<Result<_, TestCaseError>>()?;
                domains.sort();
                domains.dedup();
                prop_assert!(domains.len() <= 1, "{:?}", domains);
            }
        }
    }

    #[test]
    fn placed_if_and_only_if_there_is_a_way(case in a_case()) {
        let mut fleet = build(&case);
        for request in &case.requests {
            let before = fleet.clone();
            let (decisions, _) = plan(&mut fleet, std::slice::from_ref(request), NOW);
            let (placed, got) = (decisions[0].outcome == Outcome::Place, counts(request, &decisions[0]));
            let wants: Vec<i64> = request.pod_sets.iter().map(|set| set.count).collect();
            let minimums: Vec<i64> = request.pod_sets.iter().map(crate::plan::PodSetRequest::gang_minimum).collect();
            match request.strategy {
                Strategy::Gang => {
                    let whole = oracle::gang_fits(&before, request, &wants);
                    prop_assert_eq!(got == wants && placed, whole, "{:?}", request);
                    // An elastic gang runs with its minimum, if that is any pod at all.
                    if wants != minimums && minimums.iter().sum::<i64>() > 0 {
                        prop_assert_eq!(placed, oracle::gang_fits(&before, request, &minimums), "{:?}", request);
                    }
                }
                Strategy::Divide if wants[0] > 0 => {
                    let room = oracle::replicas(&before, request).min(wants[0]);
                    let least = request.pod_sets[0].min_count.unwrap_or(1).min(wants[0]);
                    prop_assert_eq!(got[0], if room >= least { room } else { 0 }, "{:?}", request);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn planning_again_changes_nothing(case in a_case()) {
        let mut fleet = build(&case);
        let (first, _) = plan(&mut fleet, &case.requests, NOW);
        let again: Vec<Request> = case.requests.iter().zip(&first).map(|(request, decision)| settled(request, decision)).collect();
        let before = fleet.clone();
        let (second, _) = plan(&mut fleet, &again, NOW + 1);
        for (one, two) in first.iter().zip(&second) {
            prop_assert_ne!(two.outcome, Outcome::Place, "{:?} then {:?}", one, two);
            prop_assert_eq!(one.epoch, two.epoch);
            prop_assert_eq!(place(one), place(two));
            prop_assert_eq!(one.explanation.reason.is_some(), two.explanation.reason.is_some());
        }
        for (name, _) in before.targets() {
            prop_assert_eq!(before.free_of(name.as_str()), fleet.free_of(name.as_str()));
        }
        // A new leader that knows only what was written reserves the same where nodes are named.
        if first.iter().flat_map(|one| &one.parts).any(|part| part.nodes.is_empty()) {
            return Ok(());
        }
        let mut fresh = build(&case);
        for request in &again {
            adopt(&mut fresh, request);
        }
        for (name, _) in before.targets() {
            prop_assert_eq!(before.free_of(name.as_str()), fresh.free_of(name.as_str()));
        }
    }

    #[test]
    fn the_order_of_the_requests_does_not_matter(case in a_case(), turn in 0_usize..6) {
        let (mut fleet, mut other) = (build(&case), build(&case));
        let mut turned = case.requests.clone();
        turned.rotate_left(turn % case.requests.len());
        turned.reverse();
        let (mut one, report) = plan(&mut fleet, &case.requests, NOW);
        let (mut two, same) = plan(&mut other, &turned, NOW);
        one.sort_by(|a, b| a.id.cmp(&b.id));
        two.sort_by(|a, b| a.id.cmp(&b.id));
        prop_assert_eq!(one, two);
        prop_assert_eq!(report, same);
    }

    #[test]
    fn who_waits_knows_why_and_nothing_that_fits_waits(case in a_case()) {
        let mut fleet = build(&case);
        let (decisions, _) = plan(&mut fleet, &case.requests, NOW);
        let targets: BTreeSet<String> = fleet.targets().map(|(name, _)| name.to_string()).collect();
        for (request, decision) in case.requests.iter().zip(&decisions) {
            if decision.outcome != Outcome::Wait {
                continue;
            }
            prop_assert!(decision.explanation.reason.is_some() && !decision.explanation.message.is_empty());
            let explained: BTreeSet<String> = decision.explanation.verdicts.iter().map(|verdict| verdict.target.clone()).collect();
            prop_assert_eq!(&explained, &targets, "{:?} {:?}", request, decision);
            prop_assert!(decision.explanation.verdicts.iter().all(|verdict| !verdict.message.is_empty()));
            let again = plan(&mut fleet.clone(), std::slice::from_ref(request), NOW).0;
            prop_assert_eq!(again[0].outcome, Outcome::Wait, "it fits: {:?}", request);
        }
    }

    #[test]
    fn whoever_can_start_is_woken(case in a_case(), gone in 0_usize..6) {
        let mut fleet = build(&case);
        let (decisions, _) = plan(&mut fleet, &case.requests, NOW);
        let mut waiting = Waiting::new();
        case.requests.iter().zip(&decisions).for_each(|(request, decision)| waiting.note(request, decision));
        let event = fleet.release_all(&case.requests[gone % case.requests.len()].id);
        let woken = waiting.wake(&event);
        for (index, (request, decision)) in case.requests.iter().zip(&decisions).enumerate() {
            if index == gone % case.requests.len() {
                continue;
            }
            let settled = settled(request, decision);
            let now = plan(&mut fleet.clone(), std::slice::from_ref(&settled), NOW).0;
            if now[0].outcome == Outcome::Place {
                let like = |other: &&Request| woken.contains(&other.id) && other.nameless(false) == request.nameless(false);
                let stands_for = case.requests.iter().find(like);
                prop_assert!(stands_for.is_some(), "{:?} lacks {:?}, freed {:?}", request.id, decision.lacks, event.freed);
            }
        }
    }

    /// The member starts, counts and finishes things at any time, its reports are late: no device is given twice.
    #[test]
    fn late_reports_never_give_a_device_twice(ops in prop::collection::vec((0_u8..5, 0_usize..8, 1_i64..5), 1..40)) {
        let mut fleet = fleet();
        let nodes = [node("n0", "", "gpu=4"), node("n1", "", "gpu=3")];
        add(&mut fleet, "t", "", &nodes);
        let mut live: Vec<(Request, bool)> = Vec::new();
        let (mut submitted, mut report) = (0, None);
        for (kind, which, count) in ops {
            match kind {
                0 | 1 => {
                    submitted += 1;
                    let request = gang(&format!("w{submitted}"), count, "gpu=1");
                    let (decisions, _) = plan(&mut fleet, std::slice::from_ref(&request), NOW);
                    if decisions[0].outcome == Outcome::Place {
                        live.push((settled(&request, &decisions[0]), false));
                    }
                }
                2 => if let Some(one) = live.get_mut(which) { one.1 = true },
                3 => if which < live.len() {
                    let (request, _) = live.remove(which);
                    plan(&mut fleet, &[Request { finished: true, ..request }], NOW);
                },
                _ => {
                    // What was seen last time arrives now.
                    if let Some(status) = report.take() {
                        fleet.set_inventory(&name("t"), &status);
                    }
                    let used = |node: &str| live.iter().filter(|one| one.1).flat_map(|one| &one.0.current[0].nodes)
                        .filter(|share| share.name == node).map(|share| share.pods).sum::<i64>();
                    let counted: Vec<(&str, i64)> = live.iter().filter(|one| one.1).map(|one| (one.0.id.as_str(), one.0.epoch)).collect();
                    let mut status = inventory(&nodes, &counted);
                    for (node, has) in status.nodes.iter_mut().zip([4, 3]) {
                        node.free = amounts(&format!("gpu={}", has - used(&node.name)));
                    }
                    report = Some(status);
                }
            }
            for (node, has) in [("n0", 4), ("n1", 3)] {
                let given: i64 = live.iter().flat_map(|one| &one.0.current[0].nodes).filter(|share| share.name == node).map(|share| share.pods).sum();
                prop_assert!(given <= has, "{node} is given {given} times");
            }
        }
    }
}
