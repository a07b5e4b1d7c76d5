//! Nodes of a running gang are lost, and others take their place.

use placement_api::kinds::{NodeShare, TopologyMode};
use placement_api::reason::Reason;
use placement_api::toleration::TaintEffect;
use proptest::prelude::*;

use super::build::*;
use crate::fleet::{Fleet, TargetState};
use crate::plan::{Change, Decision, Outcome, Planner, Request};

/// One target, rack `r1` with the first nodes and `r2` with the others, eight GPUs each.
fn nodes_of(first: usize, others: usize) -> Vec<N> {
    let mut all: Vec<N> = (0..first)
        .map(|n| node(&format!("a{n}"), "zone=z1 rack=r1", "gpu=8 cpu=64 pods=110"))
        .collect();
    all.extend(
        (0..others).map(|n| node(&format!("b{n}"), "zone=z1 rack=r2", "gpu=8 cpu=64 pods=110")),
    );
    all
}

struct Case {
    fleet: Fleet,
    nodes: Vec<N>,
    planner: Planner,
    request: Request,
}

impl Case {
    /// A gang that runs on the first nodes of rack r1.
    fn new(first: usize, others: usize, request: Request) -> Self {
        let nodes = nodes_of(first, others);
        let mut fleet = fleet();
        add(&mut fleet, "east", "region=eu", &nodes);
        let mut case = Self {
            fleet,
            nodes,
            planner: Planner::new(),
            request,
        };
        let placed = case.plan();
        assert_eq!(placed.outcome, Outcome::Place, "{placed:?}");
        case.accept(&placed);
        case
    }

    fn plan(&mut self) -> Decision {
        let requests = [self.request.clone()];
        let (mut decisions, _) = self.planner.plan(&mut self.fleet, &requests, 0);
        decisions.remove(0)
    }

    fn accept(&mut self, decision: &Decision) {
        self.request = settled(&self.request, decision);
        self.report();
    }

    fn report(&mut self) {
        let (id, epoch) = (self.request.id.to_string(), self.request.epoch);
        let mut nodes = inventory(&self.nodes, &[(id.as_str(), epoch)]);
        // What runs is taken off, as the agent does.
        for share in self.request.current.iter().flat_map(|part| &part.nodes) {
            let there = nodes.nodes.iter_mut().find(|node| node.name == share.name);
            if let Some(node) = there {
                let class = nodes.classes.iter().find(|class| class.id == node.class);
                let has = class.and_then(|class| class.allocatable.get(GPU).copied());
                let free = has.map_or(0, placement_api::quantity::Quantity::value)
                    - share.pods * self.gpus();
                node.free = amounts(&format!("gpu={}", free.max(0)));
            }
        }
        self.fleet.set_inventory(&name("east"), &nodes);
    }

    fn gpus(&self) -> i64 {
        self.request.pod_sets[0].requests.get(GPU)
    }

    fn find(&mut self, name: &str) -> &mut N {
        self.nodes
            .iter_mut()
            .find(|node| node.name == name)
            .expect("node")
    }
}

fn racked(pods: i64) -> Request {
    Request {
        topology: in_one("rack", TopologyMode::Required),
        ..gang("w", pods, "gpu=8")
    }
}

#[test]
fn lost_nodes_are_replaced_in_the_domain_and_the_rest_is_pinned() {
    type Lose = fn(&mut Case);
    let ways: [(&str, Lose); 5] = [
        ("NotReady", |case| case.find("a0").unusable = true),
        ("taint bad:NoExecute", |case| {
            case.find("a0").taints = vec![taint("bad", TaintEffect::NoExecute)];
        }),
        ("devices are unhealthy", |case| {
            case.find("a0").has = "gpu=7 cpu=64 pods=110".to_owned();
        }),
        ("gone", |case| case.nodes.retain(|node| node.name != "a0")),
        ("NotReady", |case| {
            case.find("a0").unusable = true;
            case.find("b0").unusable = true;
        }),
    ];
    for (why, lose) in ways {
        let mut case = Case::new(3, 1, racked(2));
        assert_eq!(case.request.current[0].nodes.len(), 2);
        assert_eq!(
            case.request.current[0].nodes[0].name, "a0",
            "the test loses a node that it has"
        );
        let before = case.request.clone();
        lose(&mut case);
        case.report();
        let decision = case.plan();
        assert_eq!(decision.outcome, Outcome::Place, "{why}");
        assert_eq!(decision.parts[0].change, Change::Swapped);
        assert_eq!(nodes(&decision), "a1 1 · a2 1", "{why}");
        assert_eq!(decision.parts[0].counts, before.current[0].counts);
        assert_eq!(decision.parts[0].domain, before.current[0].domain);
        assert_eq!(decision.parts[0].epoch, before.epoch + 1);
        let verdict = &decision.explanation.verdicts[0].message;
        assert_eq!(*verdict, format!("1 pod of a0 ({why}): now on a2"));
        assert_eq!(decision.explanation.reason, None);
        // Its room is reserved on the new node, and nothing on the old one.
        let free = |node: &str| case.fleet.free_on("east", node).map(|free| free.get(GPU));
        assert_eq!((free("a1"), free("a2")), (Some(0), Some(0)));
        // Deciding again changes nothing.
        case.accept(&decision);
        let again = case.plan();
        assert_eq!(
            (again.outcome, again.epoch),
            (Outcome::Keep, decision.epoch)
        );
        assert_eq!(nodes(&again), "a1 1 · a2 1");
    }
}

#[test]
fn several_at_once_or_none() {
    // Two of three are lost; rack r1 has one node to spare, then two.
    for (spare, expected) in [(4, "a0 1 · a1 1 · a2 1"), (5, "a2 1 · a3 1 · a4 1")] {
        let mut case = Case::new(spare, 2, racked(3));
        for lost in ["a0", "a1"] {
            case.find(lost).unusable = true;
        }
        case.report();
        let decision = case.plan();
        assert_eq!(nodes(&decision), expected);
        assert_eq!(decision.explanation.reason.is_some(), spare == 4);
    }
}

#[test]
fn without_room_it_keeps_what_it_has_says_so_and_swaps_when_there_is_room() {
    let mut case = Case::new(2, 1, racked(2));
    case.find("a1").unusable = true;
    case.report();
    let stays = case.plan();
    assert_eq!(stays.outcome, Outcome::Keep);
    assert_eq!(
        nodes(&stays),
        "a0 1 · a1 1",
        "r2 has room, but it is another rack"
    );
    assert_eq!(stays.explanation.reason, Some(Reason::TopologyTooSmall));
    assert_eq!(
        stays.explanation.message,
        "1 pod lost its place on a1 (NotReady) and cannot go elsewhere on east: r1/z1 has no room for 1 pod more"
    );
    // It is woken by a node that comes.
    case.nodes
        .push(node("a9", "zone=z1 rack=r1", "gpu=8 cpu=64 pods=110"));
    let (id, epoch) = (case.request.id.to_string(), case.request.epoch);
    let event = case.fleet.set_inventory(
        &name("east"),
        &inventory(&case.nodes, &[(id.as_str(), epoch)]),
    );
    assert!(case.planner.wake(&event).contains(&case.request.id));
    case.report();
    let swapped = case.plan();
    assert_eq!(nodes(&swapped), "a0 1 · a9 1");
    assert_eq!(swapped.explanation.reason, None);
}

#[test]
fn room_that_somebody_gives_back_is_taken() {
    let mut case = Case::new(3, 1, racked(2));
    let other = Request {
        submitted_ms: 5,
        topology: in_one("rack", TopologyMode::Required),
        ..gang("other", 1, "gpu=8")
    };
    case.find("b0").unusable = true;
    case.report();
    let (placed, _) = case
        .planner
        .plan(&mut case.fleet, std::slice::from_ref(&other), 0);
    assert_eq!(nodes(&placed[0]), "a2 1");
    case.find("a0").unusable = true;
    case.report();
    let stays = case.plan();
    assert_eq!(stays.outcome, Outcome::Keep);
    assert!(stays.lacks.contains(GPU), "{:?}", stays.lacks);
    let event = case.fleet.release_all(&other.id);
    case.planner.forget(&other.id);
    assert!(case.planner.wake(&event).contains(&case.request.id));
    assert_eq!(nodes(&case.plan()), "a1 1 · a2 1");
}

#[test]
fn a_node_that_is_back_in_time_changes_nothing() {
    let mut case = Case::new(2, 1, racked(2));
    case.find("a1").unusable = true;
    case.report();
    assert!(case.plan().explanation.reason.is_some());
    case.find("a1").unusable = false;
    case.report();
    let back = case.plan();
    assert_eq!(
        (back.outcome, back.explanation.reason),
        (Outcome::Keep, None)
    );
    assert_eq!(back.epoch, case.request.epoch);
    assert_eq!(nodes(&back), "a0 1 · a1 1");
}

#[test]
fn a_swap_goes_before_pending_work() {
    let mut case = Case::new(3, 1, racked(2));
    case.find("a0").unusable = true;
    case.find("b0").unusable = true;
    case.report();
    let first = Request {
        priority: 1000,
        ..gang("first", 1, "gpu=8")
    };
    let requests = [first, case.request.clone()];
    let (decisions, _) = case.planner.plan(&mut case.fleet, &requests, 0);
    assert_eq!(decisions[0].outcome, Outcome::Wait);
    assert_eq!(nodes(&decisions[1]), "a1 1 · a2 1");
}

#[test]
fn a_wish_for_closeness_is_left_where_it_must_be_and_the_nearest_is_taken() {
    let request = Request {
        topology: in_one("rack", TopologyMode::Preferred),
        ..gang("w", 2, "gpu=8")
    };
    let mut case = Case::new(3, 2, request.clone());
    let at = case.request.current[0].nodes[0].name.clone();
    let mut near = Case::new(3, 2, request);
    // Tightest fit takes r2 with its two nodes; nothing else is in there.
    assert_eq!(at, "b0");
    case.find("b0").unusable = true;
    case.report();
    let decision = case.plan();
    assert_eq!(nodes(&decision), "a0 1 · b1 1");
    assert!(
        !decision.parts[0].domain.contains_key("rack"),
        "the domain is as wide as it has become"
    );
    near.nodes
        .push(node("b9", "zone=z1 rack=r2", "gpu=8 cpu=64 pods=110"));
    near.find("b1").unusable = true;
    near.report();
    assert_eq!(nodes(&near.plan()), "b0 1 · b9 1");
}

#[test]
fn only_so_many_pods_move_as_devices_are_missing() {
    let request = gang("w", 8, "gpu=1");
    let mut case = Case::new(1, 2, request);
    let at = case.request.current[0].nodes[0].name.clone();
    assert_eq!(case.request.current[0].nodes.len(), 1);
    case.find(&at).has = "gpu=6 cpu=64 pods=110".to_owned();
    case.report();
    let decision = case.plan();
    let shares = &decision.parts[0].nodes;
    let on = |node: &str| -> i64 {
        shares
            .iter()
            .filter(|share| share.name == node)
            .map(|share: &NodeShare| share.pods)
            .sum()
    };
    assert_eq!((on(&at), decision.pods()), (6, 8), "{shares:?}");
    assert_eq!(shares.len(), 2);
}

#[test]
fn what_is_elastic_takes_what_there_is() {
    let mut request = racked(3);
    request.pod_sets[0].min_count = Some(1);
    let mut case = Case::new(4, 2, request);
    for lost in ["a0", "a1"] {
        case.find(lost).unusable = true;
    }
    case.report();
    let decision = case.plan();
    assert_eq!(nodes(&decision), "a1 1 · a2 1 · a3 1");
    assert!(
        decision
            .explanation
            .message
            .starts_with("1 pod lost its place"),
        "{}",
        decision.explanation.message
    );
}

#[test]
fn nothing_is_swapped_where_nothing_is_known_or_everything_leaves() {
    for (target_state, outcome) in [
        (TargetState::Lost, Outcome::Keep),
        (TargetState::Cordoned, Outcome::Place),
        (TargetState::Draining, Outcome::Keep),
    ] {
        let mut case = Case::new(3, 1, racked(2));
        case.find("a0").unusable = true;
        case.report();
        state(&mut case.fleet, "east", target_state, 0);
        assert_eq!(case.plan().outcome, outcome, "{target_state:?}");
    }
}

#[test]
fn what_failed_lately_is_avoided_for_some_hours_where_there_is_a_choice() {
    const HOUR: i64 = 3_600_000;
    let nodes = |down: bool| {
        let mut all = [
            node("n0", "", "gpu=8 cpu=64 pods=110"),
            node("n1", "", "gpu=8 cpu=64 pods=110"),
        ];
        all[0].unusable = down;
        all
    };
    let mut fleet = fleet();
    add(&mut fleet, "east", "", &nodes(false));
    let mut planner = Planner::new();
    let place = |fleet: &mut Fleet, planner: &mut Planner, pods: i64, now_ms: i64| {
        let (decisions, _) = planner.plan(fleet, &[gang("w", pods, "gpu=8")], now_ms);
        let name = super::build::nodes(&decisions[0]);
        fleet.release_all(&decisions[0].id);
        planner.forget(&decisions[0].id);
        name
    };
    assert_eq!(place(&mut fleet, &mut planner, 1, 0), "n0 1");
    for down in [true, false] {
        fleet.set_inventory(&name("east"), &inventory(&nodes(down), &[]));
    }
    assert_eq!(place(&mut fleet, &mut planner, 1, HOUR), "n1 1");
    assert_eq!(
        place(&mut fleet, &mut planner, 2, HOUR),
        "n0 1 · n1 1",
        "a preference, not a ban"
    );
    assert_eq!(place(&mut fleet, &mut planner, 1, 6 * HOUR), "n0 1");

    // A target that found no node for its pods comes second, too.
    add(&mut fleet, "west", "", &nodes(false));
    let target = |fleet: &mut Fleet, planner: &mut Planner, now_ms: i64| {
        let (decisions, _) = planner.plan(fleet, &[gang("w", 1, "gpu=8")], now_ms);
        fleet.release_all(&decisions[0].id);
        planner.forget(&decisions[0].id);
        decisions[0].parts[0].target.to_string()
    };
    assert_eq!(target(&mut fleet, &mut planner, 6 * HOUR), "east");
    planner.refused(&name("east"), 6 * HOUR);
    assert_eq!(target(&mut fleet, &mut planner, 6 * HOUR), "west");
    assert_eq!(target(&mut fleet, &mut planner, 11 * HOUR), "east");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// However nodes come and go: the gang stays whole and in its rack, no healthy pod moves, nothing is promised twice, and nobody
    /// is left without a node while there is one.
    #[test]
    fn swaps_are_exact(pods in 1_i64..4, flips in prop::collection::vec((0_usize..7, any::<bool>()), 1..12)) {
        let mut case = Case::new(5, 2, racked(pods));
        let rack = case.request.current[0].domain.clone();
        for (which, unusable) in flips {
            let lost_before: Vec<NodeShare> = case.request.current[0].nodes.clone();
            case.nodes[which].unusable = unusable;
            case.report();
            let decision = case.plan();
            prop_assert_eq!(decision.pods(), pods);
            prop_assert_eq!(&decision.parts[0].domain, &rack);
            let now = &decision.parts[0].nodes;
            let good = |share: &NodeShare| case.nodes.iter().any(|node| node.name == share.name && !node.unusable);
            for share in lost_before.iter().filter(|share| good(share)) {
                prop_assert!(now.contains(share), "moved a healthy one: {:?} to {:?}", lost_before, now);
            }
            let named: i64 = now.iter().map(|share| share.pods).sum();
            prop_assert_eq!(named, pods);
            let inside = |n: &N| n.labels == if rack["rack"] == "r1" { "zone=z1 rack=r1" } else { "zone=z1 rack=r2" };
            let spare = case.nodes.iter().filter(|n| inside(n) && !n.unusable && !now.iter().any(|share| share.name == n.name)).count();
            let holes = now.iter().filter(|share| !good(share)).count();
            prop_assert!(holes == 0 || spare < holes, "{holes} holes, {spare} to spare: {:?}", decision);
            prop_assert_eq!(decision.explanation.reason.is_some(), holes > 0);
            for n in case.nodes.iter().filter(|n| !n.unusable) {
                let mine = now.iter().filter(|share| share.name == n.name).map(|share| share.pods).sum::<i64>();
                let free = case.fleet.free_on("east", &n.name).map(|free| free.get(GPU));
                prop_assert_eq!(free, Some(8 - 8 * mine), "{}", n.name);
            }
            case.request = settled(&case.request, &decision);
        }
    }
}
