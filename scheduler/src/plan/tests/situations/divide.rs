//! Divided and duplicated work, and spread.

use placement_api::kinds::{DivideBy, SpreadConstraint, Strategy};
use placement_api::reason::Reason;
use placement_api::toleration::TaintEffect;

use super::super::build::*;
use super::{one, reason};
use crate::fleet::TargetState;
use crate::plan::{Change, Outcome, Request, Step};

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
