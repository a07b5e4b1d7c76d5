//! One situation after another, each with what must come out.

use std::collections::BTreeMap;

use placement_api::kinds::{
    DivideBy, FailoverMode, Packing, SpreadConstraint, Strategy, TopologyMode,
};
use placement_api::reason::Reason;
use placement_api::toleration::{TaintEffect, Toleration};

use super::build::*;
use crate::fleet::{Fleet, TargetState};
use crate::plan::{Avoid, Change, Decision, FailoverRule, Outcome, Request, Step, Waiting, plan};

/// Makes one thing wrong.
type Prepare = fn(&mut Fleet, &mut Request);

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

#[test]
fn a_gang_fits_or_waits_and_says_why() {
    for (request, place_, why, text) in [
        (gang("a", 8, "gpu=4"), "east 8", None, ""),
        (
            gang("a", 9, "gpu=4"),
            "",
            Some(Reason::InsufficientCapacity),
            "no target has room for 9 pods × 4 nvidia.com/gpu; east: room for 8 of 9 pods",
        ),
        (
            gang("a", 1, "gpu=5"),
            "",
            Some(Reason::Impossible),
            "nothing in the fleet could ever hold it: a pod asks 5 nvidia.com/gpu, the largest node has 4 nvidia.com/gpu",
        ),
        (
            gang("a", 1, "amd.com/gpu=1"),
            "",
            Some(Reason::NoDevice),
            "east: no node has amd.com/gpu",
        ),
        (
            gang("a", 1, "cpu=33"),
            "",
            Some(Reason::Impossible),
            "nothing in the fleet could ever hold it: a pod asks 33 cpu, the largest node has 32 cpu",
        ),
        (gang("a", 0, "gpu=1"), "east 0", None, ""),
    ] {
        let decision = one(&mut racks(), &request);
        assert_eq!(
            (
                place(&decision).as_str(),
                reason(&decision),
                decision.explanation.message.as_str()
            ),
            (place_, why, text)
        );
    }
}

#[test]
fn required_topology_is_never_crossed() {
    let mut fleet = racks();
    let mut request = gang("a", 3, "gpu=4");
    request.topology = in_one("rack", TopologyMode::Required);
    let decision = one(&mut fleet, &request);
    assert_eq!(reason(&decision), Some(Reason::TopologyTooSmall));
    assert_eq!(
        verdict(&decision, "east"),
        "TopologyTooSmall room for 8 pods, but 2 in z1/r1 and 2 in z1/r2 and 2 in z2/r1 and less in 1 more"
    );
    request.topology = in_one("zone", TopologyMode::Required);
    let decision = one(&mut fleet, &request);
    assert_eq!(nodes(&decision), "z1-r1-0 1 · z1-r1-1 1 · z1-r2-0 1");
    assert_eq!(decision.parts[0].domain, pairs("zone=z1"));
}

#[test]
fn the_lowest_level_then_the_tightest_domain() {
    let mut fleet = racks();
    let first = one(&mut fleet, &gang("fill", 1, "gpu=3"));
    assert_eq!(nodes(&first), "z1-r1-0 1");
    let mut request = gang("a", 5, "gpu=1");
    request.topology = in_one("zone", TopologyMode::Required);
    let decision = one(&mut fleet, &request);
    assert_eq!(
        nodes(&decision),
        "z1-r1-0 1 · z1-r1-1 4",
        "the rack with five left is the tightest, its path has both levels"
    );
    assert_eq!(
        decision.parts[0].domain,
        pairs("zone=z1"),
        "but it may be replaced anywhere in the zone"
    );
    request.pod_sets[0].count = 4;
    request.id = "b".into();
    let decision = one(&mut fleet, &request);
    assert_eq!(
        nodes(&decision),
        "z1-r2-0 4",
        "one node is the lowest level"
    );
}

#[test]
fn preferred_climbs_and_required_may_be_relaxed() {
    let mut request = gang("a", 3, "gpu=4");
    request.topology = in_one("rack", TopologyMode::Preferred);
    let decision = one(&mut racks(), &request);
    assert_eq!(
        nodes(&decision),
        "z1-r1-0 1 · z1-r1-1 1 · z1-r2-0 1",
        "no rack holds it, a zone does"
    );
    let mut relaxed = request.clone();
    relaxed.topology = in_one("rack", TopologyMode::Required);
    relaxed.topology.as_mut().expect("topology").relax_after_ms = Some(HOUR);
    let (waiting, report) = plan(&mut racks(), std::slice::from_ref(&relaxed), HOUR - 1);
    assert_eq!(
        (reason(&waiting[0]), report.next_wake_ms),
        (Some(Reason::TopologyTooSmall), Some(HOUR))
    );
    assert_eq!(place(&at(&mut racks(), &relaxed, HOUR)), "east 3");
    request.pod_sets[0].count = 8;
    assert_eq!(
        place(&one(&mut racks(), &request)),
        "east 8",
        "the whole target at last"
    );
}

#[test]
fn several_roles_share_nodes_exactly() {
    let mut fleet = fleet();
    add(
        &mut fleet,
        "t",
        "",
        &[
            node("a", "", "cpu=10 gpu=1 pods=9"),
            node("b", "", "cpu=7 pods=9"),
        ],
    );
    let mut request = gang("w", 1, "gpu=1 cpu=4");
    request.pod_sets.push(set("rest", 2, "cpu=6"));
    let decision = one(&mut fleet, &request);
    assert_eq!(place(&decision), "t 3");
    assert_eq!(nodes(&decision), "a 1 · a 1 · b 1");
    request.pod_sets[1].count = 3;
    request.id = "x".into();
    let decision = one(&mut fleet_of_two(), &request);
    assert_eq!(
        reason(&decision),
        Some(Reason::InsufficientCapacity),
        "each role fits by itself, together they do not"
    );
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

#[test]
fn obstacles_of_targets() {
    let ready = || {
        let mut fleet = fleet();
        add(
            &mut fleet,
            "a",
            "region=eu",
            &[node("n", "product=H100", "gpu=4 cpu=8")],
        );
        location(&mut fleet, &[("eu", "region=eu"), ("us", "region=us")]);
        fleet
    };
    let cases: [(Prepare, Reason, &str); 10] = [
        (
            |f, _| state(f, "a", TargetState::Cordoned, 0),
            Reason::TargetCordoned,
            "a: cordoned: takes nothing new",
        ),
        (
            |f, _| state(f, "a", TargetState::Draining, 0),
            Reason::TargetCordoned,
            "a: being drained: takes nothing new",
        ),
        (
            |f, _| state(f, "a", TargetState::Lost, HOUR - 60_000),
            Reason::TargetLost,
            "a: lost: last contact 1970-01-01T00:59:00Z",
        ),
        (
            |f, _| taints(f, "a", vec![taint("maintenance", TaintEffect::NoSchedule)]),
            Reason::TaintNotTolerated,
            "a: taint maintenance:NoSchedule is not tolerated",
        ),
        (
            |_, r| r.tiers = vec!["us".to_owned()],
            Reason::NoLocation,
            "no Ready target in us",
        ),
        (
            |_, r| r.tiers = vec!["moon".to_owned()],
            Reason::NoLocation,
            "Location \"moon\" does not exist",
        ),
        (
            |_, r| r.kinds = ["x.io/v1/Thing".to_owned()].into(),
            Reason::KindNotServed,
            "a: does not serve x.io/v1/Thing",
        ),
        (
            |_, r| r.pod_sets[0].node_selector = pairs("product=A100"),
            Reason::SelectorMismatch,
            "a: no node matches product=A100",
        ),
        (
            |_, r| {
                let avoid = Avoid {
                    until_ms: HOUR + 30_000,
                    message: "quota exceeded".to_owned(),
                };
                r.avoid = [(name("a"), avoid)].into();
            },
            Reason::RefusedByTarget,
            "a: refused it: quota exceeded (tried again at 1970-01-01T01:00:30Z)",
        ),
        (
            |_, r| r.suspended = true,
            Reason::Suspended,
            "its object says that it is suspended",
        ),
    ];
    for (prepare, why, message) in cases {
        let (mut fleet, mut request) = (ready(), gang("w", 1, "gpu=1"));
        prepare(&mut fleet, &mut request);
        let decision = one(&mut fleet, &request);
        assert_eq!(
            (
                decision.outcome,
                reason(&decision),
                decision.explanation.message.as_str()
            ),
            (Outcome::Wait, Some(why), message)
        );
    }
    let mut tolerant = gang("w", 1, "gpu=1");
    tolerant.tolerations = vec![Toleration::exists("maintenance")];
    let mut fleet = ready();
    taints(
        &mut fleet,
        "a",
        vec![taint("maintenance", TaintEffect::NoSchedule)],
    );
    assert_eq!(place(&one(&mut fleet, &tolerant)), "a 1");
}

#[test]
fn obstacles_of_nodes() {
    let mut fleet = fleet();
    let mut tainted = node("n", "", "gpu=4 cpu=8");
    tainted.taints = vec![taint("gpu", TaintEffect::NoSchedule)];
    let mut down = node("m", "", "gpu=4 cpu=8");
    down.unusable = true;
    add(&mut fleet, "a", "", &[tainted.clone()]);
    add(&mut fleet, "b", "", &[down]);
    let mut request = gang("w", 1, "gpu=1");
    let decision = one(&mut fleet, &request);
    assert_eq!(
        verdict(&decision, "a"),
        "TaintNotTolerated every node that could hold it has the taint gpu:NoSchedule"
    );
    assert_eq!(
        verdict(&decision, "b"),
        "InsufficientCapacity every node that could hold it is unusable (NotReady)"
    );
    assert_eq!(
        reason(&decision),
        Some(Reason::InsufficientCapacity),
        "nearest to starting first"
    );
    request.pod_sets[0].tolerations = vec![Toleration::exists("gpu")];
    assert_eq!(place(&one(&mut fleet, &request)), "a 1");
}

#[test]
fn tiers_in_order() {
    let mut fleet = fleet();
    add(&mut fleet, "eu", "region=eu", &[node("n", "", "gpu=4")]);
    add(&mut fleet, "us", "region=us", &[node("n", "", "gpu=8")]);
    location(&mut fleet, &[("eu", "region=eu"), ("us", "region=us")]);
    for (count, tiers, expected) in [
        (4, ["eu", "us"], "eu 4"),
        (5, ["eu", "us"], "us 5"),
        (4, ["us", "eu"], "us 4"),
        (9, ["us", "eu"], ""),
    ] {
        let mut request = gang("w", count, "gpu=1");
        request.tiers = tiers.map(str::to_owned).to_vec();
        assert_eq!(place(&one(&mut fleet.clone(), &request)), expected);
        request.strategy = Strategy::Divide;
        let divided = place(&one(&mut fleet.clone(), &request));
        assert_eq!(
            divided,
            if count == 9 { "eu 1 · us 8" } else { expected },
            "over the first tier that holds all, else over all in order"
        );
    }
}

#[test]
fn priority_then_age_then_id_and_nobody_blocks() {
    let mut fleet = fleet();
    add(&mut fleet, "a", "", &[node("n", "", "gpu=8")]);
    let with = |id: &str, count, priority, submitted_ms| Request {
        priority,
        submitted_ms,
        ..gang(id, count, "gpu=1")
    };
    let requests = [
        with("young", 4, 0, 2),
        with("old", 4, 0, 1),
        with("big", 9, 100, 0),
        with("high", 4, 10, 3),
        with("z-same", 1, 0, 2),
    ];
    let (decisions, _) = plan(&mut fleet, &requests, HOUR);
    let placed: Vec<bool> = decisions
        .iter()
        .map(|one| one.outcome == Outcome::Place)
        .collect();
    assert_eq!(placed, [false, true, false, true, false]);
}

#[test]
fn dividing_follows_room_and_what_runs_stays() {
    let mut fleet = fleet();
    add(&mut fleet, "a", "", &[node("n", "", "cpu=8 pods=110")]);
    add(&mut fleet, "b", "", &[node("n", "", "cpu=4 pods=110")]);
    let mut request = divide("w", 6, "cpu=1");
    let first = one(&mut fleet, &request);
    assert_eq!((place(&first).as_str(), first.epoch), ("a 4 · b 2", 1));
    assert!(
        first.parts.iter().all(|part| part.nodes.is_empty()),
        "plain pods get no nodes"
    );
    request = settled(&request, &first);
    assert_eq!(one(&mut fleet, &request).outcome, Outcome::Keep);

    request.pod_sets[0].count = 9;
    let more = one(&mut fleet, &request);
    assert_eq!(place(&more), "a 6 · b 3");
    assert!(
        more.parts
            .iter()
            .all(|part| part.change == Change::Grown && part.epoch == 2),
        "growth has an epoch of its own"
    );
    request = settled(&request, &more);

    request.pod_sets[0].count = 4;
    let fewer = one(&mut fleet, &request);
    assert_eq!((place(&fewer).as_str(), fewer.epoch), ("a 3 · b 1", 2));
    assert!(
        fewer
            .parts
            .iter()
            .all(|part| part.change == Change::Shrunk && part.epoch == 2)
    );
    request = settled(&request, &fewer);
    assert_eq!(
        fleet.free_of("a").get("cpu"),
        5000,
        "what shrinks gives back what was only assumed"
    );

    request.pod_sets[0].count = 20;
    let partly = one(&mut fleet, &request);
    assert_eq!(
        (place(&partly).as_str(), reason(&partly)),
        ("a 8 · b 4", Some(Reason::InsufficientCapacity))
    );
    assert!(
        partly
            .explanation
            .message
            .starts_with("12 of 20 replicas have a place; no target has room for"),
        "{}",
        partly.explanation.message
    );
    request = settled(&request, &partly);

    request.pod_sets[0].count = 0;
    let none = one(&mut fleet, &request);
    assert_eq!(place(&none), "a 0", "one part reports the status");
    assert_eq!((none.leaving.len(), none.leaving[0].step), (1, Step::Now));
}

#[test]
fn dividing_waits_below_its_minimum() {
    let mut fleet = fleet();
    add(&mut fleet, "a", "", &[node("n", "", "cpu=3 pods=110")]);
    let mut request = divide("w", 6, "cpu=1");
    request.pod_sets[0].min_count = Some(4);
    let decision = one(&mut fleet, &request);
    assert_eq!(
        (decision.outcome, reason(&decision)),
        (Outcome::Wait, Some(Reason::InsufficientCapacity))
    );
    request.pod_sets[0].min_count = Some(3);
    assert_eq!(place(&one(&mut fleet, &request)), "a 3");
}

#[test]
fn dividing_by_weight() {
    let mut fleet = fleet();
    for (target, region) in [
        ("eu-1", "eu"),
        ("eu-2", "eu"),
        ("us-1", "us"),
        ("ap-1", "ap"),
    ] {
        add(
            &mut fleet,
            target,
            &format!("region={region}"),
            &[node("n", "", "cpu=8 pods=110")],
        );
    }
    location(&mut fleet, &[("eu", "region=eu"), ("us", "region=us")]);
    for (weights, count, expected) in [
        (vec![("eu", 2), ("us", 1)], 9, "eu-1 3 · eu-2 3 · us-1 3"),
        (vec![("eu-1", 3), ("us", 1)], 4, "eu-1 3 · us-1 1"),
        (vec![("eu-1", 1)], 10, "ap-1 1 · eu-1 8 · eu-2 1"),
    ] {
        let mut request = divide("w", count, "cpu=1");
        request.divide_by = DivideBy::Weight;
        request.weights = weights
            .iter()
            .map(|(name, weight)| ((*name).to_owned(), *weight))
            .collect();
        assert_eq!(
            place(&one(&mut fleet.clone(), &request)),
            expected,
            "{weights:?}"
        );
    }
}

#[test]
fn spread_is_a_condition() {
    let constraint = |key: &str, min, max, skew| SpreadConstraint {
        topology_key: key.to_owned(),
        min_groups: min,
        max_groups: max,
        max_skew: skew,
    };
    let mut fleet = fleet();
    add(
        &mut fleet,
        "a",
        "region=eu",
        &[
            node("n", "zone=z1", "cpu=8 pods=110"),
            node("m", "zone=z2", "cpu=2 pods=110"),
        ],
    );
    add(
        &mut fleet,
        "b",
        "region=us",
        &[node("n", "zone=z1", "cpu=2 pods=110")],
    );
    for (spread, count, expected, why) in [
        (
            constraint("region", Some(2), None, Some(1)),
            4,
            "a 2 · b 2",
            None,
        ),
        (
            constraint("region", Some(2), None, Some(1)),
            6,
            "a 3 · b 2",
            Some(Reason::SpreadImpossible),
        ),
        (
            constraint("region", Some(3), None, None),
            4,
            "",
            Some(Reason::SpreadImpossible),
        ),
        (constraint("region", None, Some(1), None), 4, "a 4", None),
        (
            constraint("zone", Some(2), None, Some(2)),
            6,
            "a 5 · b 1",
            None,
        ),
    ] {
        let mut request = divide("w", count, "cpu=1");
        request.spread = vec![spread.clone()];
        let decision = one(&mut fleet.clone(), &request);
        assert_eq!(
            (place(&decision).as_str(), reason(&decision)),
            (expected, why),
            "{spread:?}"
        );
    }
    let mut gang = gang("g", 4, "cpu=1");
    gang.spread = vec![constraint("zone", Some(2), None, Some(1))];
    assert_eq!(
        nodes(&one(&mut fleet.clone(), &gang)),
        "m 2 · n 2",
        "nodes are named, for the spread is over nodes"
    );
    gang.spread = vec![constraint("region", Some(2), None, None)];
    assert_eq!(
        reason(&one(&mut fleet.clone(), &gang)),
        Some(Reason::SpreadImpossible),
        "one target has one region"
    );
    gang.gang_per_target = Some(1);
    assert_eq!(place(&one(&mut fleet, &gang)), "a 3 · b 1");
}

#[test]
fn gangs_over_several_targets() {
    let mut fleet = fleet();
    for (target, cpus) in [("a", 4), ("b", 3), ("c", 2)] {
        add(
            &mut fleet,
            target,
            "",
            &[node("n", "", &format!("cpu={cpus} pods=110"))],
        );
    }
    for (count, least, expected) in [
        (4, 1, "a 4"),
        (5, 1, "a 4 · b 1"),
        (5, 2, "a 3 · b 2"),
        (7, 3, "a 4 · b 3"),
        (9, 2, "a 4 · b 3 · c 2"),
        (9, 3, ""),
        (10, 1, ""),
        (8, 4, ""),
    ] {
        let mut request = gang("w", count, "cpu=1");
        request.gang_per_target = Some(least);
        assert_eq!(
            place(&one(&mut fleet.clone(), &request)),
            expected,
            "{count} with {least} each"
        );
    }
}

#[test]
fn elastic_gangs_run_from_their_minimum_and_grow() {
    let mut fleet = racks();
    let mut request = gang("w", 4, "gpu=4");
    request.pod_sets[0].min_count = Some(2);
    request.topology = in_one("rack", TopologyMode::Required);
    let blocker = Request {
        priority: 1,
        ..gang("blocker", 1, "gpu=4")
    };
    let (decisions, _) = plan(&mut fleet, &[blocker.clone(), request.clone()], HOUR);
    assert_eq!(
        (place(&decisions[1]).as_str(), reason(&decisions[1])),
        ("east 2", Some(Reason::TopologyTooSmall))
    );
    assert_eq!(decisions[1].parts[0].domain, pairs("zone=z1 rack=r2"));
    request = settled(&request, &decisions[1]);
    assert_eq!(
        one(&mut fleet, &request).outcome,
        Outcome::Keep,
        "its rack is full, the others do not help"
    );
}

#[test]
fn duplicates_everywhere_ready_and_untainted() {
    let mut fleet = fleet();
    for target in ["a", "b", "c", "d"] {
        add(&mut fleet, target, "", &[node("n", "", "cpu=4 pods=110")]);
    }
    state(&mut fleet, "b", TargetState::Cordoned, 0);
    taints(
        &mut fleet,
        "c",
        vec![taint("soft", TaintEffect::PreferNoSchedule)],
    );
    let mut request = gang("w", 3, "cpu=1");
    request.strategy = Strategy::Duplicate;
    let decision = one(&mut fleet, &request);
    assert_eq!(
        (place(&decision).as_str(), reason(&decision)),
        ("a 3 · d 3", None)
    );
    request = settled(&request, &decision);
    state(&mut fleet, "b", TargetState::Ready, 0);
    let decision = one(&mut fleet, &request);
    assert_eq!(place(&decision), "a 3 · b 3 · d 3");
    assert_eq!(
        decision
            .parts
            .iter()
            .map(|part| part.epoch)
            .collect::<Vec<_>>(),
        [1, 2, 1]
    );
    let config = Request {
        pod_sets: Vec::new(),
        id: "cm".into(),
        ..request.clone()
    };
    let config = Request {
        current: Vec::new(),
        ..config
    };
    assert_eq!(
        place(&one(&mut fleet, &config)),
        "a 0 · b 0 · d 0",
        "without pods it takes no room"
    );
}

#[test]
fn pods_without_devices_keep_off_devices_and_pack_or_spread() {
    let mut fleet = fleet();
    add(
        &mut fleet,
        "a",
        "",
        &[
            node("cpu-1", "", "cpu=4 pods=110"),
            node("cpu-2", "", "cpu=6 pods=110"),
            node("gpu-1", "", "gpu=8 cpu=64 pods=110"),
        ],
    );
    let mut request = gang("w", 4, "cpu=1");
    request.topology = in_one("zone", TopologyMode::Preferred);
    for (packing, count, expected) in [
        (None, 4, "cpu-1 1 · cpu-2 3"),
        (Some(Packing::Pack), 4, "cpu-1 4"),
        (Some(Packing::Pack), 5, "cpu-2 5"),
        (Some(Packing::Spread), 11, "cpu-1 4 · cpu-2 6 · gpu-1 1"),
    ] {
        request
            .topology
            .clone_from(&if packing == Some(Packing::Pack) {
                in_one("kubernetes.io/hostname", TopologyMode::Preferred)
            } else {
                in_one("zone", TopologyMode::Preferred)
            });
        request.packing = packing.or(Some(Packing::Spread));
        request.pod_sets[0].count = count;
        assert_eq!(
            nodes(&one(&mut fleet.clone(), &request)),
            expected,
            "{packing:?} {count}"
        );
    }
    let mut inference = divide("i", 3, "gpu=1");
    inference.packing = None;
    assert_eq!(
        nodes(&one(&mut fleet, &inference)),
        "gpu-1 3",
        "devices: nodes are named"
    );
}

#[test]
fn drains_move_what_has_a_refuge() {
    let fresh = || {
        let mut fleet = fleet();
        add(&mut fleet, "a", "", &[node("n", "", "cpu=4 pods=110")]);
        add(&mut fleet, "b", "", &[node("n", "", "cpu=4 pods=110")]);
        fleet
    };
    for (mode, first_step, first_place, second_place) in [
        (
            FailoverMode::Overlap,
            Step::WhenReplaced,
            "a 3 · b 3",
            "b 3",
        ),
        (FailoverMode::Never, Step::Now, "b 3", "b 3"),
    ] {
        let mut fleet = fresh();
        let mut request = Request {
            failover: FailoverRule {
                mode,
                after_ms: 1,
                fencer: false,
            },
            ..gang("w", 3, "cpu=1")
        };
        request = settled(&request, &one(&mut fleet, &request));
        assert_eq!(request.current[0].target, name("a"));
        state(&mut fleet, "a", TargetState::Draining, HOUR);
        let moved = one(&mut fleet, &request);
        assert_eq!(place(&moved), first_place, "{mode:?}");
        assert_eq!(
            (moved.leaving[0].reason, moved.leaving[0].step),
            (Reason::Drained, first_step)
        );
        let new = moved
            .parts
            .iter()
            .find(|part| part.target == name("b"))
            .expect("new part");
        assert_eq!(
            (new.replaces.as_ref(), new.epoch, new.change),
            (Some(&name("a")), 2, Change::New)
        );

        let next = after(&request, &moved);
        let waiting = one(&mut fleet, &next);
        assert_eq!(
            waiting.outcome,
            Outcome::Keep,
            "{mode:?}: no second refuge, {waiting:?}"
        );
        let healthy = Request {
            current: next
                .current
                .iter()
                .map(|part| crate::plan::Current {
                    healthy: true,
                    ..part.clone()
                })
                .collect(),
            ..next
        };
        let done = one(&mut fleet, &healthy);
        assert_eq!(place(&done), second_place, "{mode:?}");
        assert_eq!(
            done.outcome,
            if mode == FailoverMode::Overlap {
                Outcome::Place
            } else {
                Outcome::Keep
            }
        );
    }
    let mut fleet = fresh();
    let mut request = gang("w", 3, "cpu=1");
    request = settled(&request, &one(&mut fleet, &request));
    one(&mut fleet, &gang("other", 2, "cpu=1"));
    state(&mut fleet, "a", TargetState::Draining, HOUR);
    let stuck = one(&mut fleet, &request);
    assert_eq!(
        (stuck.outcome, stuck.leaving[0].step, place(&stuck).as_str()),
        (Outcome::Keep, Step::Stuck, "a 3")
    );
    assert_eq!(
        stuck.leaving[0].message,
        "no target has room for 3 pods × 1 cpu (2 targets); b: room for 2 of 3 pods"
    );
    assert_eq!(
        stuck.explanation.message,
        format!("a is being drained; {}", stuck.leaving[0].message)
    );
    assert_eq!(
        verdict(&stuck, "b"),
        "InsufficientCapacity room for 2 of 3 pods"
    );
    let mut waiting = Waiting::new();
    waiting.note(&request, &stuck);
    let event = fleet.release_all(&"other".into());
    assert!(
        waiting.wake(&event).contains(&request.id),
        "it is woken when room appears"
    );
}

#[test]
fn no_execute_moves_and_cordon_does_not() {
    let mut fleet = fleet();
    add(&mut fleet, "a", "", &[node("n", "", "cpu=4 pods=110")]);
    add(&mut fleet, "b", "", &[node("n", "", "cpu=4 pods=110")]);
    let mut request = gang("w", 3, "cpu=1");
    request = settled(&request, &one(&mut fleet, &request));
    state(&mut fleet, "a", TargetState::Cordoned, HOUR);
    assert_eq!(one(&mut fleet.clone(), &request).outcome, Outcome::Keep);
    taints(&mut fleet, "a", vec![taint("k", TaintEffect::NoSchedule)]);
    assert_eq!(one(&mut fleet.clone(), &request).outcome, Outcome::Keep);
    taints(&mut fleet, "a", vec![taint("k", TaintEffect::NoExecute)]);
    let moved = one(&mut fleet, &request);
    assert_eq!(
        (place(&moved).as_str(), moved.leaving[0].reason),
        ("b 3", Reason::TargetTainted)
    );
}

#[test]
fn lost_targets() {
    let minute = 60_000;
    let fresh = |lost: i64| {
        let mut fleet = fleet();
        for target in ["a", "b", "c"] {
            add(&mut fleet, target, "", &[node("n", "", "cpu=4 pods=110")]);
        }
        state(&mut fleet, "a", TargetState::Lost, lost);
        fleet
    };
    let rule = |mode, fencer| FailoverRule {
        mode,
        after_ms: 5 * minute,
        fencer,
    };
    for (rule, age, why, place_, wake) in [
        (
            rule(FailoverMode::Never, false),
            60,
            Some(Reason::FailoverNever),
            "a 3",
            None,
        ),
        (
            rule(FailoverMode::Fenced, false),
            60,
            Some(Reason::FailoverNever),
            "a 3",
            None,
        ),
        (
            rule(FailoverMode::Fenced, true),
            4,
            Some(Reason::FencePending),
            "a 3",
            Some(minute),
        ),
        (rule(FailoverMode::Fenced, true), 5, None, "b 3", None),
        (
            rule(FailoverMode::Overlap, false),
            4,
            Some(Reason::TargetLost),
            "a 3",
            Some(minute),
        ),
        (rule(FailoverMode::Overlap, false), 5, None, "b 3", None),
    ] {
        let mut before = fresh(0);
        state(&mut before, "a", TargetState::Ready, 0);
        let mut request = Request {
            failover: rule,
            ..gang("w", 3, "cpu=1")
        };
        request = settled(&request, &one(&mut before, &request));
        let mut fleet = fresh(HOUR - age * minute);
        let (decisions, report) = plan(&mut fleet, std::slice::from_ref(&request), HOUR);
        let decision = &decisions[0];
        assert_eq!(
            (reason(decision), place(decision).as_str()),
            (why, place_),
            "{rule:?} after {age}m"
        );
        assert_eq!(report.next_wake_ms, wake.map(|later| HOUR + later));
        if place_ == "b 3" {
            assert_eq!(
                (decision.leaving[0].step, decision.leaving[0].reason),
                (Step::Now, Reason::TargetLost)
            );
        }
        // Two of three lost at once: the hub's own fault.
        state(&mut fleet, "b", TargetState::Lost, HOUR - age * minute + 1);
        let (decisions, report) = plan(&mut fleet, std::slice::from_ref(&request), HOUR + HOUR);
        assert!(report.hub_degraded);
        assert_eq!(
            (reason(&decisions[0]), decisions[0].outcome),
            (Some(Reason::HubDegraded), Outcome::Keep)
        );
    }
}

/// A fleet through a partition of the hub: what each step must lead to, for work that may have two copies and work that may not.
#[test]
fn mass_loss_moves_nothing_and_passes() {
    use TargetState::{Lost, Ready};
    const MINUTE: i64 = 60_000;
    let mut fleet = fleet();
    let names = ["a", "b", "c", "d", "e"];
    for target in names {
        add(
            &mut fleet,
            target,
            "",
            &[node("n", "", "cpu=4 gpu=4 pods=110")],
        );
    }
    let mut overlap = Request {
        failover: FailoverRule {
            mode: FailoverMode::Overlap,
            after_ms: 5 * MINUTE,
            fencer: false,
        },
        ..gang("overlap", 2, "gpu=1")
    };
    overlap = settled(&overlap, &one(&mut fleet, &overlap));
    let mut never = gang("never", 4, "gpu=1");
    never = settled(&never, &one(&mut fleet, &never));
    assert_eq!(
        (
            overlap.current[0].target.as_str(),
            never.current[0].target.as_str()
        ),
        ("a", "b")
    );
    // Time, the targets and since when they are lost, and then: degraded, where `overlap` goes, why, and how `never` stands.
    type Step<'a> = (
        i64,
        &'a [(&'a str, i64)],
        bool,
        &'a str,
        Option<Reason>,
        Option<Reason>,
    );
    let steps: [Step<'_>; 7] = [
        (60, &[], false, "a 2", None, None),
        // Three of five within a minute, one of them has nothing to do with us.
        (
            61,
            &[("a", 60), ("b", 60), ("d", 60)],
            true,
            "a 2",
            Some(Reason::HubDegraded),
            Some(Reason::HubDegraded),
        ),
        // However long it lasts.
        (
            600,
            &[("a", 60), ("b", 60), ("d", 60)],
            true,
            "a 2",
            Some(Reason::HubDegraded),
            Some(Reason::HubDegraded),
        ),
        // They come back one by one: with two of five left it is the targets' own fault again, and the time since counts.
        (
            601,
            &[("a", 60), ("b", 60)],
            false,
            "c 2",
            None,
            Some(Reason::FailoverNever),
        ),
        (
            602,
            &[("a", 601)],
            false,
            "a 2",
            Some(Reason::TargetLost),
            None,
        ),
        (607, &[("a", 601)], false, "c 2", None, None),
        (608, &[], false, "a 2", None, None),
    ];
    for (minute, lost, degraded, place_, why, never_why) in steps {
        for target in names {
            let since = lost
                .iter()
                .find(|(name, _)| *name == target)
                .map(|(_, since)| *since);
            let (state_, contact) = since.map_or((Ready, minute), |since| (Lost, since));
            state(&mut fleet, target, state_, contact * MINUTE);
        }
        let mut trial = fleet.clone();
        let requests = [overlap.clone(), never.clone()];
        let (decisions, report) = plan(&mut trial, &requests, minute * MINUTE);
        assert_eq!(report.hub_degraded, degraded, "minute {minute}");
        assert_eq!(
            (place(&decisions[0]).as_str(), reason(&decisions[0])),
            (place_, why),
            "minute {minute}"
        );
        assert_eq!(
            (place(&decisions[1]).as_str(), reason(&decisions[1])),
            ("b 4", never_why),
            "minute {minute}"
        );
        assert_eq!(decisions[1].outcome, Outcome::Keep);
    }
}

#[test]
fn a_divided_workload_replaces_only_what_was_lost() {
    let mut fleet = fleet();
    for target in ["a", "b", "c"] {
        add(&mut fleet, target, "", &[node("n", "", "cpu=4 pods=110")]);
    }
    let mut request = divide("w", 6, "cpu=1");
    request = settled(&request, &one(&mut fleet, &request));
    state(&mut fleet, "a", TargetState::Lost, HOUR);
    let decision = at(&mut fleet, &request, HOUR + 300_000);
    assert_eq!(
        (
            place(&decision).as_str(),
            decision.leaving[0].target.as_str()
        ),
        ("b 3 · c 3", "a")
    );
}

#[test]
fn a_refused_target_is_avoided_until_then() {
    let mut fleet = fleet();
    add(&mut fleet, "a", "", &[node("n", "", "cpu=4 pods=110")]);
    let mut request = gang("w", 3, "cpu=1");
    request = settled(&request, &one(&mut fleet, &request));
    request.current[0].evicting = true;
    request.avoid = [(
        name("a"),
        Avoid {
            until_ms: HOUR + 30_000,
            message: "denied by policy".to_owned(),
        },
    )]
    .into();
    let (decisions, report) = plan(&mut fleet, std::slice::from_ref(&request), HOUR);
    assert_eq!(
        (decisions[0].outcome, report.next_wake_ms),
        (Outcome::Wait, Some(HOUR + 30_000))
    );
    assert_eq!(
        reason(&decisions[0]),
        Some(Reason::RefusedByTarget),
        "the member's message at once, not only when it has confirmed"
    );
    request.current.clear();
    let decision = one(&mut fleet, &request);
    assert_eq!(reason(&decision), Some(Reason::RefusedByTarget));
    assert_eq!(place(&at(&mut fleet, &request, HOUR + 30_000)), "a 3");
}

#[test]
fn what_runs_once_says_whom_it_waits_for() {
    let mut fleet = fleet();
    for target in ["a", "b", "c"] {
        add(&mut fleet, target, "", &[node("n", "", "cpu=4 pods=110")]);
    }
    let mut request = gang("w", 3, "cpu=1");
    request = settled(&request, &one(&mut fleet, &request));
    state(&mut fleet, "a", TargetState::Draining, HOUR);
    request = after(&request, &one(&mut fleet, &request));
    let new = request.current.iter_mut().find(|part| !part.evicting);
    new.expect("new part").started = false;
    assert_eq!(reason(&one(&mut fleet, &request)), None);
    state(&mut fleet, "a", TargetState::Lost, HOUR);
    let decision = one(&mut fleet, &request);
    let message = "starts on b when a, which is lost, has confirmed that it stopped";
    assert_eq!(
        (reason(&decision), decision.explanation.message.as_str()),
        (Some(Reason::FailoverNever), message)
    );
}

#[test]
fn an_event_wakes_whom_it_may_help() {
    let mut fleet = fleet();
    let nodes = [node("n", "", "gpu=4 cpu=64 pods=110")];
    add(&mut fleet, "a", "", &nodes);
    let first = gang("first", 4, "gpu=1");
    let (gpu, cpu) = (gang("gpu", 1, "gpu=1"), gang("cpu", 2, "cpu=64"));
    let mut waiting = Waiting::new();
    let requests = [first.clone(), gpu.clone(), cpu.clone()];
    let (decisions, _) = plan(&mut fleet, &requests, HOUR);
    requests
        .iter()
        .zip(&decisions)
        .for_each(|(request, decision)| waiting.note(request, decision));
    assert_eq!(waiting.len(), 2);
    assert!(
        waiting
            .wake(&fleet.set_inventory(&name("a"), &inventory(&nodes, &[])))
            .is_empty(),
        "nothing new, nobody woken"
    );
    let event = fleet.release_all(&first.id);
    assert_eq!(
        waiting
            .wake(&event)
            .iter()
            .map(crate::fleet::WorkloadId::as_str)
            .collect::<Vec<_>>(),
        ["gpu"]
    );
    let more = [nodes[0].clone(), node("m", "", "cpu=64 pods=110")];
    let event = fleet.set_inventory(&name("a"), &inventory(&more, &[]));
    assert_eq!(
        waiting.wake(&event).len(),
        2,
        "a new node may help everybody"
    );
    let (decisions, _) = plan(&mut fleet, &requests[1..], HOUR);
    assert!(decisions.iter().all(|one| one.outcome == Outcome::Place));
    requests[1..]
        .iter()
        .zip(&decisions)
        .for_each(|(request, decision)| waiting.note(request, decision));
    assert!(waiting.is_empty());
}

#[test]
fn finished_and_vanished_parts_give_back_their_room() {
    let mut fleet = fleet();
    add(&mut fleet, "a", "", &[node("n", "", "gpu=4")]);
    let mut request = gang("w", 4, "gpu=1");
    request = settled(&request, &one(&mut fleet, &request));
    assert_eq!(fleet.free_of("a").get(GPU), 0);
    let mut undone = request.clone();
    undone.current.clear();
    undone.suspended = true;
    let mut other = fleet.clone();
    assert_eq!(one(&mut other, &undone).outcome, Outcome::Wait);
    assert_eq!(
        other.free_of("a").get(GPU),
        4,
        "a decision that was not written"
    );
    request.finished = true;
    assert_eq!(one(&mut fleet, &request).outcome, Outcome::Keep);
    assert_eq!(fleet.free_of("a").get(GPU), 4);
}

#[test]
fn a_new_leader_reserves_what_runs() {
    let mut fleet = fleet();
    let nodes = [node("n", "", "gpu=4"), node("m", "", "gpu=4")];
    add(&mut fleet, "a", "", &nodes);
    let mut request = gang("w", 4, "gpu=1");
    let decision = one(&mut fleet, &request);
    request = settled(&request, &decision);
    let mut fresh = self::fleet();
    add(&mut fresh, "a", "", &nodes);
    crate::plan::adopt(&mut fresh, &request);
    assert_eq!(fresh.free_of("a"), fleet.free_of("a"));
    assert_eq!(one(&mut fresh, &request).outcome, Outcome::Keep);
    assert_eq!(fresh.free_of("a"), fleet.free_of("a"));
    // Unnamed and counted: nothing is taken off twice.
    fresh.set_inventory(&name("a"), &inventory(&nodes, &[("w", 1)]));
    request.current[0].nodes.clear();
    crate::plan::adopt(&mut fresh, &request);
    assert_eq!(fresh.free_of("a").get(GPU), 8);
    let _: BTreeMap<String, i64> = request.current[0].counts.clone();
}
