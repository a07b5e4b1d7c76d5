//! Orders, time slices and promises in the planner.

use placement_api::kinds::QueueOrder;
use placement_api::reason::Reason;

use super::build::*;
use crate::fleet::{Event, Fleet, WorkloadId};
use crate::plan::{Decision, Outcome, Planner, Policy, Request, Step};
use crate::shares::{QueueSpec, QueueTree};

const HOUR: i64 = 3_600_000;

/// One target with two nodes of 8 GPUs, one queue.
fn world(order: QueueOrder, time_slicing: bool) -> (Planner, Fleet) {
    let mut fleet = fleet();
    add(
        &mut fleet,
        "t",
        "",
        &[node("a", "rack=r1", "gpu=8"), node("b", "rack=r1", "gpu=8")],
    );
    let mut planner = Planner::new();
    let queue = QueueSpec {
        name: "q".to_owned(),
        order,
        time_slicing,
        ..QueueSpec::default()
    };
    planner.set_queues(QueueTree::new(vec![queue]).0);
    (planner, fleet)
}

fn job(id: &str, submitted_ms: i64, gpus: i64, runtime_ms: Option<i64>) -> Request {
    Request {
        queue: "q".to_owned(),
        submitted_ms,
        waits_since_ms: submitted_ms,
        runtime_ms,
        min_runtime_ms: 0,
        checkpoint_ms: Some(i64::MAX / 4),
        ..gang(id, 1, &format!("gpu={gpus}"))
    }
}

/// Plans one and says where it runs, or why it waits.
fn ask(
    planner: &mut Planner,
    fleet: &mut Fleet,
    request: &mut Request,
    now: i64,
) -> (String, Vec<Decision>) {
    let (mut decisions, _) = planner.plan(fleet, std::slice::from_ref(request), now);
    let decision = decisions.remove(0);
    let said = match decision.outcome {
        Outcome::Wait => format!("{:?}", decision.explanation.reason.unwrap()),
        _ => nodes(&decision),
    };
    if !decision.parts.is_empty() {
        *request = settled(request, &decision);
        for part in &mut request.current {
            part.started_ms = Some(now);
        }
        planner.adopt(fleet, request);
    }
    (said, decisions)
}

fn end(planner: &mut Planner, fleet: &mut Fleet, id: &str) -> Event {
    let id = WorkloadId::from(id);
    planner.forget(&id);
    fleet.release_all(&id)
}

#[test]
fn what_is_behind_a_promise_starts_beside_it_or_ends_in_time() {
    let (mut planner, mut fleet) = world(QueueOrder::Age, false);
    let now = 1000 * HOUR;
    let mut first = job("first", 0, 8, Some(10 * HOUR));
    let mut small = job("small", 1, 2, Some(HOUR));
    assert_eq!(ask(&mut planner, &mut fleet, &mut first, now).0, "a 1");
    assert_eq!(ask(&mut planner, &mut fleet, &mut small, now).0, "b 1");
    // Needs a whole node: b is free when `small` ends.
    let mut head = job("head", 2, 8, Some(HOUR));
    assert_eq!(
        ask(&mut planner, &mut fleet, &mut head, now).0,
        "InsufficientCapacity"
    );
    assert_eq!(planner.promised_ms(&head.id), Some(now + HOUR));
    let mut long = job("long", 3, 4, Some(2 * HOUR));
    let mut unknown = job("unknown", 4, 1, None);
    let mut exact = job("exact", 5, 4, Some(HOUR));
    assert_eq!(
        ask(&mut planner, &mut fleet, &mut long, now).0,
        "ReservedForOlder"
    );
    assert_eq!(
        ask(&mut planner, &mut fleet, &mut unknown, now).0,
        "ReservedForOlder"
    );
    assert_eq!(
        ask(&mut planner, &mut fleet, &mut exact, now).0,
        "b 1",
        "ends exactly then"
    );
    let event = end(&mut planner, &mut fleet, "small");
    assert!(!event.is_nothing());
    end(&mut planner, &mut fleet, "exact");
    assert_eq!(
        ask(&mut planner, &mut fleet, &mut long, now + HOUR).0,
        "ReservedForOlder"
    );
    assert_eq!(
        ask(&mut planner, &mut fleet, &mut head, now + HOUR).0,
        "b 1"
    );
    assert_eq!(planner.promised_ms(&head.id), None);
}

#[test]
fn a_promise_counts_with_a_minute_to_start_and_who_takes_longer_is_waited_for() {
    let (mut planner, mut fleet) = world(QueueOrder::Age, false);
    let now = 1000 * HOUR;
    let mut first = job("first", 0, 8, Some(10 * HOUR));
    let mut slow = job("slow", 1, 8, Some(HOUR));
    assert_eq!(ask(&mut planner, &mut fleet, &mut first, now).0, "a 1");
    let (decisions, _) = planner.plan(&mut fleet, std::slice::from_ref(&slow), now);
    slow = settled(&slow, &decisions[0]);
    // Nobody has seen it start yet.
    let head = job("head", 2, 8, Some(HOUR));
    planner.plan(&mut fleet, std::slice::from_ref(&head), now);
    let promised = now + 60_000 + HOUR;
    assert_eq!(planner.promised_ms(&head.id), Some(promised));
    // It has pulled its image for ten minutes.
    let started = now + 10 * 60_000;
    for part in &mut slow.current {
        part.started_ms = Some(started);
    }
    planner.adopt(&mut fleet, &slow);
    let (decisions, report) = planner.plan(&mut fleet, std::slice::from_ref(&head), promised);
    assert!(decisions[0].parts.is_empty(), "it has not overrun");
    assert_eq!(report.wake_ms.get(&head.id), Some(&(started + HOUR)));
    let (decisions, _) = planner.plan(&mut fleet, std::slice::from_ref(&head), started + HOUR);
    assert_eq!(decisions[0].parts.len(), 1, "now it yields");
}

#[test]
fn who_overran_yields_when_the_promise_is_due() {
    for (preemptible, priority, yields) in [(true, 0, true), (false, 0, false), (true, 1, false)] {
        let (mut planner, mut fleet) = world(QueueOrder::Age, false);
        let now = 1000 * HOUR;
        let mut first = job("first", 0, 8, Some(10 * HOUR));
        let mut liar = job("liar", 1, 4, Some(HOUR));
        liar.preemptible = preemptible;
        liar.priority = priority;
        assert_eq!(ask(&mut planner, &mut fleet, &mut first, now).0, "a 1");
        assert_eq!(ask(&mut planner, &mut fleet, &mut liar, now).0, "b 1");
        let mut head = job("head", 2, 8, Some(HOUR));
        ask(&mut planner, &mut fleet, &mut head, now);
        assert_eq!(planner.promised_ms(&head.id), Some(now + HOUR));
        let (said, others) = ask(&mut planner, &mut fleet, &mut head, now + HOUR);
        let gone: Vec<_> = others
            .iter()
            .flat_map(|one| &one.leaving)
            .filter(|one| one.step == Step::Now)
            .map(|one| one.reason)
            .collect();
        if yields {
            assert_eq!(
                (said.as_str(), gone),
                ("b 1", vec![Reason::OverranEstimate])
            );
        } else {
            assert_eq!((said.as_str(), gone), ("InsufficientCapacity", vec![]));
        }
    }
}

#[test]
fn a_smaller_one_takes_its_slice() {
    for (order, slicing, gives_way) in [
        (QueueOrder::Size, true, true),
        (QueueOrder::Size, false, false),
        (QueueOrder::Age, true, false),
    ] {
        let (mut planner, mut fleet) = world(order, slicing);
        let now = 1000 * HOUR;
        let mut long = job("long", now, 16, Some(100 * HOUR));
        long.pod_sets[0].count = 2;
        long.pod_sets[0].requests = job("x", 0, 8, None).pod_sets[0].requests.clone();
        assert_eq!(ask(&mut planner, &mut fleet, &mut long, now).0, "a 1 · b 1");
        let mut small = job("small", now + HOUR, 1, Some(HOUR));
        let (said, others) = ask(&mut planner, &mut fleet, &mut small, now + HOUR);
        let reasons: Vec<_> = others
            .iter()
            .flat_map(|one| &one.leaving)
            .map(|one| one.reason)
            .collect();
        if gives_way {
            assert_eq!(
                (said.as_str(), reasons),
                ("a 1", vec![Reason::ReplacedInTimeSlice])
            );
        } else {
            assert_eq!((said.as_str(), reasons), ("InsufficientCapacity", vec![]));
        }
    }
}

#[test]
fn a_higher_priority_is_not_kept_out_by_a_promise() {
    let (mut planner, mut fleet) = world(QueueOrder::Age, false);
    let now = 1000 * HOUR;
    let mut first = job("first", 0, 8, Some(10 * HOUR));
    let mut small = job("small", 1, 2, Some(HOUR));
    ask(&mut planner, &mut fleet, &mut first, now);
    ask(&mut planner, &mut fleet, &mut small, now);
    let mut head = job("head", 2, 8, Some(HOUR));
    ask(&mut planner, &mut fleet, &mut head, now);
    let mut urgent = job("urgent", 3, 4, None);
    urgent.priority = 1;
    assert_eq!(ask(&mut planner, &mut fleet, &mut urgent, now).0, "b 1");
    assert_eq!(planner.promised_ms(&head.id), None, "it yielded");
    ask(&mut planner, &mut fleet, &mut head, now);
    assert_eq!(
        planner.promised_ms(&head.id),
        Some(now + 10 * HOUR),
        "made anew"
    );
}

/// Nodes by workload of those that have their place now.
fn placed(decisions: &[Decision]) -> Vec<(String, String)> {
    let new = decisions.iter().filter(|one| !one.parts.is_empty());
    new.map(|one| (one.id.to_string(), nodes(one))).collect()
}

#[test]
fn who_takes_turns_moves_for_another_in_its_queue() {
    for (order, slicing, moves) in [
        (QueueOrder::Size, true, true),
        (QueueOrder::Size, false, false),
        (QueueOrder::Age, true, false),
    ] {
        let (mut planner, mut fleet) = world(order, slicing);
        let now = 1000 * HOUR;
        for (id, place) in [("one", "a 1"), ("gone", "a 1"), ("two", "b 1")] {
            let mut short = job(id, now, 4, Some(2 * HOUR));
            assert_eq!(ask(&mut planner, &mut fleet, &mut short, now).0, place);
        }
        end(&mut planner, &mut fleet, "gone");
        // Four GPUs are free on each node, and nobody's turn is later.
        let mut long = job("long", now, 8, Some(100 * HOUR));
        let (said, others) = ask(&mut planner, &mut fleet, &mut long, now + HOUR);
        let reasons: Vec<_> = others
            .iter()
            .flat_map(|one| &one.leaving)
            .map(|one| one.reason)
            .collect();
        if moves {
            assert_eq!(
                (said.as_str(), reasons),
                ("a 1", vec![Reason::Defragmented])
            );
        } else {
            assert_eq!((said.as_str(), reasons), ("InsufficientCapacity", vec![]));
        }
    }
}

#[test]
fn of_a_size_queue_the_first_of_each_shape_is_woken() {
    let (mut planner, mut fleet) = world(QueueOrder::Size, true);
    let now = 1000 * HOUR;
    for id in ["r1", "r2"] {
        let mut runs = job(id, now, 8, Some(HOUR));
        ask(&mut planner, &mut fleet, &mut runs, now);
    }
    let waiting = [
        job("w1", now, 8, Some(50 * HOUR)),
        job("w2", now, 8, Some(9 * HOUR)),
        job("w3", now, 8, Some(20 * HOUR)),
        job("w4", now, 4, Some(70 * HOUR)),
    ];
    let (decisions, report) = planner.plan(&mut fleet, &waiting, now);
    assert!(placed(&decisions).is_empty());
    let timed: Vec<&str> = report.wake_ms.keys().map(WorkloadId::as_str).collect();
    assert_eq!(timed, ["w2", "w4"], "time helps the others through them");
    let first = |planner: &Planner, event: &Event| -> Vec<String> {
        planner
            .wake(event)
            .iter()
            .map(WorkloadId::to_string)
            .collect()
    };
    let event = planner.forget(&waiting[1].id);
    assert_eq!(
        first(&planner, &event),
        ["w3", "w4"],
        "somebody must follow"
    );
    let event = end(&mut planner, &mut fleet, "r1");
    assert_eq!(first(&planner, &event), ["w3", "w4"]);
    let woken = [waiting[2].clone(), waiting[3].clone()];
    let (decisions, report) = planner.plan(&mut fleet, &woken, now + 1);
    assert_eq!(placed(&decisions), [("w3".to_owned(), "a 1".to_owned())]);
    assert!(report.wake_ms.contains_key("w1"), "it was looked at next");
}

#[test]
fn who_is_promoted_is_looked_at_before_those_who_were_first() {
    let (mut planner, mut fleet) = world(QueueOrder::Size, false);
    planner.set_policy(Policy {
        age_limit_ms: Some(5 * HOUR),
        ..Policy::default()
    });
    let now = 1000 * HOUR;
    for id in ["r1", "r2"] {
        let mut runs = job(id, now, 8, Some(30 * HOUR));
        ask(&mut planner, &mut fleet, &mut runs, now);
    }
    let waiting = [
        job("old", now, 8, Some(50 * HOUR)),
        job("young", now + 3 * HOUR, 8, Some(HOUR)),
    ];
    let (_, report) = planner.plan(&mut fleet, &waiting, now + 3 * HOUR);
    assert_eq!(report.wake_ms.keys().next().unwrap().as_str(), "young");
    let (decisions, _) = planner.plan(&mut fleet, &waiting[1..], now + 5 * HOUR);
    let ids: Vec<&str> = decisions.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["young", "old"]);
    assert_eq!(
        planner.promised_ms(&waiting[0].id),
        Some(now + 30 * HOUR),
        "nobody else is promised anything"
    );
}

#[test]
fn the_shortest_of_a_shape_passes_a_promise_that_its_first_would_be_in_the_way_of() {
    let (mut planner, mut fleet) = world(QueueOrder::Size, false);
    planner.set_policy(Policy {
        age_limit_ms: Some(5 * HOUR),
        ..Policy::default()
    });
    let now = 1000 * HOUR;
    for (id, gpus, hours) in [("r1", 8, 40), ("r2", 4, 10), ("r3", 4, 10)] {
        let mut runs = job(id, now, gpus, Some(hours * HOUR));
        ask(&mut planner, &mut fleet, &mut runs, now);
    }
    let then = now + HOUR;
    let head = job("head", now - 30 * HOUR, 8, Some(HOUR));
    let first = job("first", now - 20 * HOUR, 4, Some(90 * HOUR));
    let next = job("next", now, 4, Some(30 * HOUR));
    let short = job("short", now, 4, Some(2 * HOUR));
    let all = [head.clone(), first.clone(), next, short];
    let (decisions, _) = planner.plan(&mut fleet, &all, then);
    assert!(placed(&decisions).is_empty());
    assert_eq!(planner.promised_ms(&head.id), Some(now + 10 * HOUR));
    let event = end(&mut planner, &mut fleet, "r3");
    let woken: Vec<_> = planner.wake(&event).into_iter().collect();
    assert_eq!(woken, [first.id.clone(), head.id.clone()]);
    let (decisions, _) = planner.plan(&mut fleet, &[first, head], then + 1);
    assert_eq!(placed(&decisions), [("short".to_owned(), "b 1".to_owned())]);
    assert_eq!(decisions.len(), 3, "{decisions:?}");
}
