//! Gangs: whole, close together, over several targets, elastic.

use placement_api::kinds::TopologyMode;
use placement_api::reason::Reason;

use super::super::build::*;
use super::{HOUR, at, fleet_of_two, one, racks, reason, verdict};
use crate::plan::{Outcome, Request, plan};

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
