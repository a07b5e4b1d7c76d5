//! Targets that are drained, cordoned or lost.

use placement_api::kinds::FailoverMode;
use placement_api::reason::Reason;
use placement_api::toleration::TaintEffect;

use super::super::build::*;
use super::{HOUR, at, one, reason, verdict};
use crate::fleet::TargetState;
use crate::plan::{Change, FailoverRule, Outcome, Request, Step, Waiting, plan};

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
