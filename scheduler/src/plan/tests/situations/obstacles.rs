//! Where somebody may not run, and where somebody would rather run.

use placement_api::kinds::{Packing, Strategy, TopologyMode};
use placement_api::reason::Reason;
use placement_api::toleration::{TaintEffect, Toleration};

use super::super::build::*;
use super::{HOUR, at, one, reason, verdict};
use crate::fleet::{Fleet, TargetState};
use crate::plan::{Avoid, Outcome, Request, plan};

/// Makes one thing wrong.
type Prepare = fn(&mut Fleet, &mut Request);

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
