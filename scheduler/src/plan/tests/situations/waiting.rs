//! Whose turn it is, who is woken, and whose room it was.

use std::collections::BTreeMap;

use placement_api::reason::Reason;

use super::super::build::*;
use super::{HOUR, one, reason};
use crate::fleet::TargetState;
use crate::plan::{Outcome, Request, Waiting, plan};

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
