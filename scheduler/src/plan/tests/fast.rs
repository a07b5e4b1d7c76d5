//! The fast path, which asks the index for a node or a target, and the slow path, which looks at everything, agree: on whether a workload fits at all
//! and on how gladly it goes there; what is remembered of targets that do not hold it is what they say now. Where a rule is asked for that the index does not know, the fast path stands aside.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{InventoryStatus, Packing, SpreadConstraint, Strategy, TopologyMode};
use placement_api::quantity::Quantity;
use placement_api::reason::Reason;
use placement_api::selector::{
    NodeOperator, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
};
use placement_api::toleration::{TaintEffect, Toleration};
use proptest::prelude::*;
use proptest::strategy::Strategy as Drawn;

use super::build::*;
use crate::fleet::{Fleet, HOSTNAME, NodeName, Rates, TargetName, TargetState, WorkloadId};
use crate::plan::draft::{self, Draft};
use crate::plan::needs::{Needs, soft_taints};
use crate::plan::occupancy::Occupancy;
use crate::plan::verdicts::Verdicts;
use crate::plan::why::findings;
use crate::plan::{Avoid, Current, Request, eligible, reserve};

/// Later than the end of every refusal but the long ones.
const NOW: i64 = 1_000_000;

/// State, region, taint, whether the kind is served, nodes.
type OneTarget = (TargetState, bool, Option<TaintEffect>, bool, Vec<OneNode>);
/// GPUs, CPUs, taint, zone, unusable.
type OneNode = (i64, i64, Option<TaintEffect>, bool, bool);

#[derive(Clone, Debug)]
enum Op {
    Ask(Box<Request>, Rule),
    /// The workload that was asked so many steps ago is gone.
    Gone(usize),
    /// A target and a node of it are in trouble; 0: not any more.
    Trouble(usize, usize, i64),
    State(usize, TargetState),
    /// All Locations are named the other way round.
    Locations(bool),
    /// A target reports again; so many CPUs of a node are used by others.
    Report(usize, usize, i64),
    /// What a target costs by the GPU, how dirty it is, and whether the data is there.
    Rates(usize, i64, i64, bool),
    /// Room on nodes of a target is held for a promise, or is not any more.
    Promise(usize, i64),
}

/// What the index does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    None,
    Refused,
    Topology,
    Spread,
    Suspended,
    Blocked,
    Divided,
    TwoRoles,
    Named,
    Runs,
    NoPods,
}

fn a_taint() -> impl Drawn<Value = Option<TaintEffect>> {
    prop_oneof![
        6 => Just(None),
        1 => Just(Some(TaintEffect::NoSchedule)),
        1 => Just(Some(TaintEffect::PreferNoSchedule)),
    ]
}

fn a_state() -> impl Drawn<Value = TargetState> {
    prop_oneof![
        8 => Just(TargetState::Ready),
        1 => Just(TargetState::Cordoned),
        1 => Just(TargetState::Lost),
        1 => Just(TargetState::Pending),
    ]
}

fn a_target() -> impl Drawn<Value = OneTarget> {
    let node = (
        prop_oneof![Just(0_i64), Just(2), Just(8)],
        2_i64..9,
        a_taint(),
        any::<bool>(),
        prop::bool::weighted(0.1),
    );
    (
        a_state(),
        any::<bool>(),
        a_taint(),
        prop::bool::weighted(0.9),
        prop::collection::vec(node, 0..5),
    )
}

fn a_request() -> impl Drawn<Value = (Request, Rule)> {
    let rule = prop_oneof![
        20 => Just(Rule::None),
        1 => Just(Rule::Refused),
        1 => Just(Rule::Topology),
        1 => Just(Rule::Spread),
        1 => Just(Rule::Suspended),
        1 => Just(Rule::Blocked),
        1 => Just(Rule::Divided),
        1 => Just(Rule::TwoRoles),
        1 => Just(Rule::Named),
        1 => Just(Rule::Runs),
        1 => Just(Rule::NoPods),
    ];
    (
        prop_oneof![4 => Just(1_i64), 1 => 2_i64..5],
        prop_oneof![Just(0_i64), Just(1), Just(2), Just(4)],
        0_i64..5,
        any::<bool>(),
        prop::option::weighted(0.3, any::<bool>()),
        prop::option::weighted(0.3, any::<bool>()),
        prop::option::of(prop_oneof![Just(Packing::Pack), Just(Packing::Spread)]),
        rule,
    )
        .prop_map(|(count, gpu, cpu, tolerant, zone, tiers, packing, rule)| {
            let mut request = gang("", count, &format!("gpu={gpu} cpu={cpu}"));
            request.kinds = ["batch/v1/Job".to_owned()].into();
            request.packing = packing;
            if tolerant {
                request.tolerations = vec![Toleration::exists("t")];
            }
            if let Some(zone) = zone {
                request.pod_sets[0].node_selector = pairs(&format!("zone={zone}"));
            }
            if let Some(first) = tiers {
                let other = if first { "far" } else { "near" };
                let first = if first { "near" } else { "far" };
                request.tiers = vec![first.to_owned(), other.to_owned()];
            }
            if cpu % 2 == 0 {
                request.data = ["images".to_owned()].into();
            }
            bend(&mut request, rule);
            (request, rule)
        })
}

/// Asks for something that only the slow path knows.
fn bend(request: &mut Request, rule: Rule) {
    match rule {
        Rule::None => {}
        Rule::Refused => {
            let avoid = Avoid {
                until_ms: 2 * NOW,
                message: "no".to_owned(),
            };
            request.avoid.insert(name("t0"), avoid);
        }
        Rule::Topology => request.topology = in_one("zone", TopologyMode::Preferred),
        Rule::Spread => request.spread.push(SpreadConstraint {
            topology_key: "zone".to_owned(),
            min_groups: None,
            max_groups: None,
            max_skew: Some(1),
        }),
        Rule::Suspended => request.suspended = true,
        Rule::Blocked => request.blocked = Some((Reason::Suspended, "held".to_owned())),
        Rule::Divided => request.strategy = Strategy::Divide,
        Rule::TwoRoles => request.pod_sets.push(set("other", 1, "cpu=1")),
        Rule::Named => {
            request.pod_sets[0].affinity = Some(NodeSelector {
                node_selector_terms: vec![NodeSelectorTerm {
                    match_expressions: vec![NodeSelectorRequirement {
                        key: HOSTNAME.to_owned(),
                        operator: NodeOperator::NotIn,
                        values: vec!["n0".to_owned()],
                    }],
                    ..NodeSelectorTerm::default()
                }],
            });
        }
        Rule::Runs => request.current.push(Current {
            target: name("t0"),
            epoch: 1,
            counts: [("main".to_owned(), 1)].into(),
            nodes: Vec::new(),
            domain: BTreeMap::default(),
            evicting: true,
            started: true,
            healthy: true,
            started_ms: None,
        }),
        Rule::NoPods => request.pod_sets[0].count = 0,
    }
}

fn an_op() -> impl Drawn<Value = Op> {
    prop_oneof![
        12 => a_request().prop_map(|(request, rule)| Op::Ask(Box::new(request), rule)),
        3 => (1_usize..8).prop_map(Op::Gone),
        2 => (0_usize..4, 0_usize..5, 0_i64..8).prop_map(|(target, node, level)| Op::Trouble(target, node, level)),
        1 => (0_usize..4, a_state()).prop_map(|(target, state)| Op::State(target, state)),
        1 => any::<bool>().prop_map(Op::Locations),
        3 => (0_usize..4, 0_usize..5, 0_i64..4).prop_map(|(target, node, cpus)| Op::Report(target, node, cpus)),
        3 => (0_usize..4, 0_i64..3, 0_i64..2, any::<bool>()).prop_map(|(target, cost, carbon, data)| Op::Rates(target, cost, carbon, data)),
        2 => (0_usize..4, 0_i64..5).prop_map(|(target, gpus)| Op::Promise(target, gpus)),
    ]
}

fn locations(fleet: &mut Fleet, swapped: bool) {
    let (near, far) = if swapped { ("b", "a") } else { ("a", "b") };
    let labels = |region: &str| format!("region={region}");
    location(fleet, &[("near", &labels(near)), ("far", &labels(far))]);
}

fn rates(cost: i64, carbon: i64, data: bool) -> Rates {
    Rates {
        cost: [(GPU.to_owned(), cost)]
            .into_iter()
            .filter(|(_, cost)| *cost > 0)
            .collect(),
        carbon: Some(carbon).filter(|carbon| *carbon > 0),
        data: data.then(|| "images".to_owned()).into_iter().collect(),
    }
}

/// What a target reports; of one node so many CPUs are used.
fn report(all: &[OneNode], served: bool, used: Option<(usize, i64)>) -> InventoryStatus {
    let nodes: Vec<N> = all
        .iter()
        .enumerate()
        .map(|(number, (gpu, cpu, tainted, zone, unusable))| N {
            taints: tainted.iter().map(|effect| taint("t", *effect)).collect(),
            unusable: *unusable,
            ..node(
                &format!("n{number}"),
                &format!("zone={zone}"),
                &format!("gpu={gpu} cpu={cpu}"),
            )
        })
        .collect();
    let mut status = inventory(&nodes, &[]);
    if !served {
        status.served = vec!["v1/Pod".to_owned()];
    }
    if let Some((node, cpus)) = used
        && let (Some(there), Some(one)) = (status.nodes.get_mut(node), all.get(node))
    {
        let left = (one.1 - cpus).max(0);
        there
            .free
            .insert("cpu".to_owned(), Quantity::from_units(left));
    }
    status
}

fn build(targets: &[OneTarget]) -> Fleet {
    let mut fleet = fleet();
    locations(&mut fleet, false);
    for (number, (at, region, tainted, served, nodes)) in targets.iter().enumerate() {
        fleet.set_inventory(&name(&format!("t{number}")), &report(nodes, *served, None));
        let target = format!("t{number}");
        let labels = pairs(if *region { "region=a" } else { "region=b" });
        let taints = tainted.iter().map(|effect| taint("t", *effect)).collect();
        fleet.set_target(&name(&target), labels, taints, *at, 0);
    }
    fleet
}

/// Tier, soft taints and trouble of the target.
fn gladness(fleet: &Fleet, request: &Request, target: &TargetName) -> (usize, i64, i64) {
    let there = fleet.target(target.as_str()).expect("a target");
    (
        eligible::tier_of(fleet, request, there).expect("a tier"),
        soft_taints(&request.tolerations, &there.taints),
        there.trouble,
    )
}

/// Both drafts say the same as far as they must.
fn agree(
    fleet: &Fleet,
    needs: &Needs<'_>,
    fast: Option<&Draft>,
    slow: &Draft,
) -> Result<(), TestCaseError> {
    let request = needs.request;
    let need = &needs.sets[0];
    let Some(fast) = fast else {
        return Err(TestCaseError::fail("the fast path stands aside"));
    };
    prop_assert_eq!(&fast.missing, &slow.missing);
    prop_assert_eq!((&fast.asked, &fast.levels), (&slow.asked, &slow.levels));
    if slow.added.is_empty() {
        prop_assert_eq!(format!("{fast:?}"), format!("{slow:?}"));
        return Ok(());
    }
    let (Some(one), Some(other)) = (fast.added.first(), slow.added.first()) else {
        return Err(TestCaseError::fail(format!("{fast:?} {slow:?}")));
    };
    prop_assert_eq!(fast.added.len(), 1);
    prop_assert_eq!(&one.counts, &[need.set.count]);
    let there = fleet.target(one.target.as_str()).expect("a target");
    let against = eligible::obstacle(fleet, request, &one.target, there, NOW);
    prop_assert!(against.is_none(), "{against:?}");
    prop_assert_eq!(
        gladness(fleet, request, &one.target),
        gladness(fleet, request, &other.target)
    );
    if one.picks.len() > 1 {
        prop_assert_eq!(&fast.added, &slow.added);
        return Ok(());
    }
    let node = &there.node_list()[one.picks[0].node];
    prop_assert!(need.copies(node) >= need.set.count, "{node:?}");
    if need.set.count == 1 {
        let node_of = |added: &crate::plan::gang::Added| {
            let there = fleet.target(added.target.as_str()).expect("a target");
            need.avoidance(&there.node_list()[added.picks[0].node], fleet)
        };
        let (mine, its) = (node_of(one), node_of(other));
        prop_assert!(mine <= its, "{mine} {its}");
        prop_assert_eq!(mine == 0, its == 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn fast_and_slow_agree(targets in prop::collection::vec(a_target(), 1..5), ops in prop::collection::vec(an_op(), 1..40)) {
        let mut fleet = build(&targets);
        let (mut occupancy, mut verdicts) = (Occupancy::default(), Verdicts::default());
        for (number, op) in ops.into_iter().enumerate() {
            match op {
                Op::Ask(request, rule) => {
                    let request = Request { id: WorkloadId::from(format!("w{number:03}")), ..*request };
                    let needs = Needs::new(&mut fleet, &request);
                    occupancy.learn(&needs);
                    let fast = occupancy.draft(&mut fleet, &needs);
                    let slow = draft::draft(&fleet, &needs, false, NOW);
                    let nobody = BTreeSet::new();
                    let said = verdicts.findings(&mut fleet, &needs, &slow, &nobody, NOW);
                    prop_assert_eq!(said, findings(&fleet, &needs, &slow, &nobody, NOW));
                    if rule == Rule::None {
                        agree(&fleet, &needs, fast.as_ref(), &slow)?;
                    } else {
                        prop_assert!(fast.is_none(), "{:?}", rule);
                    }
                    for added in &fast.unwrap_or(slow).added {
                        reserve::reserve(&mut fleet, &needs, &added.target, 1, added, needs.named);
                    }
                }
                Op::Gone(steps) => {
                    let id = WorkloadId::from(format!("w{:03}", number.saturating_sub(steps)));
                    fleet.release_all(&id);
                }
                Op::Trouble(target, node, level) => {
                    let nodes = [(NodeName::from(format!("n{node}")), level)].into();
                    fleet.set_trouble(&name(&format!("t{target}")), (7 - level) / 3, nodes);
                }
                Op::State(target, at) if target < targets.len() => state(&mut fleet, &format!("t{target}"), at, 0),
                Op::State(..) => {}
                Op::Report(target, node, cpus) => {
                    if let Some((_, _, _, served, nodes)) = targets.get(target) {
                        fleet.set_inventory(&name(&format!("t{target}")), &report(nodes, *served, Some((node, cpus))));
                    }
                }
                Op::Rates(target, cost, carbon, data) => fleet.set_rates(&name(&format!("t{target}")), rates(cost, carbon, data)),
                Op::Locations(swapped) => locations(&mut fleet, swapped),
                Op::Promise(target, gpus) => {
                    let target = name(&format!("t{target}"));
                    let held = gang("promise", 1, &format!("gpu={gpus} cpu=1"));
                    let needs = Needs::new(&mut fleet, &held);
                    fleet.release_all(&held.id);
                    if gpus > 0 && fleet.target(target.as_str()).is_some_and(|there| !there.node_list().is_empty()) {
                        let picks = vec![crate::plan::fill::Pick { set: 0, node: 0, pods: 1 }];
                        let added = crate::plan::gang::Added { target: target.clone(), counts: vec![1], picks, level: crate::plan::tree::Level::Target, device: None };
                        reserve::reserve(&mut fleet, &needs, &target, 0, &added, false);
                    }
                }
            }
        }
    }
}

#[test]
fn of_equal_nodes_the_cheaper_is_taken_and_nobody_looks_at_all_of_them() {
    let mut fleet = fleet();
    for target in ["a", "b", "c"] {
        add(
            &mut fleet,
            target,
            "",
            &[node("n", "", "gpu=8"), node("m", "", "gpu=8")],
        );
    }
    let mut occupancy = Occupancy::default();
    let mut taken = |fleet: &mut Fleet, pods: i64, gpus: i64| -> String {
        let request = gang("w", pods, &format!("gpu={gpus}"));
        let needs = Needs::new(fleet, &request);
        let draft = occupancy.draft(fleet, &needs).expect("the fast path");
        draft.added[0].target.to_string()
    };
    for (target, cost, carbon) in [("a", 3, 0), ("b", 2, 9), ("c", 2, 8)] {
        fleet.set_rates(&name(target), rates(cost, carbon, false));
    }
    // One on a node, two on a node, and two on two nodes.
    for (pods, gpus) in [(1, 8), (2, 4), (2, 8)] {
        assert_eq!(taken(&mut fleet, pods, gpus), "c", "{pods} {gpus}");
    }
    fleet.set_rates(&name("a"), rates(1, 9, false));
    for (pods, gpus) in [(1, 8), (2, 4), (2, 8)] {
        assert_eq!(taken(&mut fleet, pods, gpus), "a", "{pods} {gpus}");
    }
}
