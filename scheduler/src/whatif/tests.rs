//! Questions about a small fleet, and that asking changes nothing.

use placement_api::kinds::TopologyMode;
use placement_api::reason::Reason;

use super::{Change, Outlook, View, differences};
use crate::scenario;

const FLEET: &str = "
config: {levels: [rack]}
queues:
- {name: vision, guaranteed: {gpu: 4}}
- {name: speech, guaranteed: {gpu: 4}}
fleet:
- target: east
  nodes: [{name: a, labels: {rack: r1, product: H100}, capacity: {gpu: 8, cpu: 64}}]
- target: west
  nodes:
  - {name: b, labels: {rack: r1, product: A100}, capacity: {gpu: 2, cpu: 64}}
  - {name: c, labels: {rack: r2, product: A100}, capacity: {gpu: 2, cpu: 64}}
workloads:
- {name: old, queue: vision, submitted: -2h, pods: [{count: 8, requests: {gpu: 1}, selector: {product: H100}}], minCount: 8,
   state: Running, runsOn: [{target: east, node: a-0, count: 8, started: -2h}], failover: Overlap}
- {name: wide, queue: speech, submitted: -1h, pods: [{count: 4, requests: {gpu: 1}, selector: {product: A100}}], topology: {level: rack}}
- {name: first, queue: vision, submitted: -20m, pods: [{count: 4, requests: {gpu: 1}, selector: {product: H100}}]}
- {name: second, queue: vision, submitted: -10m, pods: [{count: 4, requests: {gpu: 1}, selector: {product: H100}}]}
";

fn view() -> View {
    scenario::view(&scenario::parse("fleet.yaml", FLEET).expect("a scenario"))
}

fn asked(text: &str) -> Outlook {
    let change = Change::parse(text).expect(text);
    view().change(&change).expect(text).plan()
}

#[test]
fn as_it_is_the_first_stays_and_the_others_wait() {
    let outlook = view().plan();
    assert_eq!(
        outlook.workloads["old"].places,
        [("east".to_owned(), 8)].into()
    );
    let waits = |name: &str| {
        (
            outlook.workloads[name].reason,
            outlook.workloads[name].position,
        )
    };
    assert_eq!(waits("wide"), (Some(Reason::TopologyTooSmall), Some(1)));
    assert_eq!((waits("first").1, waits("second").1), (Some(1), Some(2)));
    assert!(differences(&outlook, &view().plan()).is_empty());
}

#[test]
fn a_wish_in_place_of_a_condition_starts_it() {
    let wide = &asked("workload wide topology Preferred").workloads["wide"];
    assert_eq!(wide.places, [("west".to_owned(), 4)].into());
    let change = Change::Topology {
        workload: "old".to_owned(),
        mode: Some(TopologyMode::Preferred),
    };
    let error = view().change(&change).expect_err("it has none");
    assert!(error.contains("asks for no topology"), "{error}");
}

#[test]
fn priority_says_who_gives_way_to_whom() {
    let outlook = asked("workload second priority +100");
    let second = &outlook.workloads["second"];
    assert_eq!(second.places, [("east".to_owned(), 4)].into());
    assert_eq!(second.after, ["old".to_owned()].into());
    let old = &outlook.workloads["old"].leaves[0];
    assert_eq!(
        (old.target.as_str(), old.reason),
        ("east", Reason::PreemptedByPriority)
    );
    let changed = differences(&view().plan(), &outlook);
    let ids: Vec<&str> = changed.iter().map(|one| one.id.as_str()).collect();
    assert!(
        ids.contains(&"old") && ids.contains(&"second") && !ids.contains(&"wide"),
        "{ids:?}"
    );
}

#[test]
fn another_product_another_target_a_lost_one() {
    let product = asked("workload first product A100");
    assert_eq!(
        product.workloads["first"].places,
        [("west".to_owned(), 4)].into()
    );
    let error = view().change(&Change::parse("workload first product B200").unwrap());
    assert_eq!(
        error.expect_err("nobody has it"),
        "there is no product \"B200\"; write one of A100, H100"
    );
    let added = asked("target add north like east");
    assert_eq!(
        added.workloads["first"].places,
        [("north".to_owned(), 4)].into()
    );
    assert_eq!(
        added.workloads["second"].places,
        [("north".to_owned(), 4)].into()
    );
    let lost = asked("target lose east");
    assert_ne!(lost.workloads["old"], view().plan().workloads["old"]);
    let cordoned = asked("target cordon west");
    assert_eq!(
        cordoned.workloads["wide"].reason,
        Some(Reason::TargetCordoned)
    );
}

#[test]
fn quota_moves_what_a_queue_is_entitled_to() {
    let gpu =
        |outlook: &Outlook, queue: &str| outlook.queues[queue].entitled["nvidia.com/gpu"].value();
    let (before, after) = (view().plan(), asked("queue speech guaranteed gpu =0"));
    assert!(gpu(&after, "speech") <= gpu(&before, "speech"));
    let limit = asked("queue vision limit gpu =4");
    assert_eq!(gpu(&limit, "vision"), 4);
    for (text, part) in [
        (
            "queue visoin weight +1",
            "there is no queue \"visoin\"; write one of vision, speech",
        ),
        (
            "queue vision limit gpu +1",
            "has no limit of nvidia.com/gpu; write `=N`",
        ),
        (
            "workload nobody priority +1",
            "there is no workload \"nobody\"",
        ),
        ("target lose north", "write one of east, west"),
        ("target add east like west", "is there already"),
    ] {
        let change = Change::parse(text).expect(text);
        let error = view().change(&change).expect_err(text);
        assert!(error.contains(part), "{error}");
    }
}

const LINE: &str = "
queues: [{name: vision}]
fleet:
- target: east
  nodes: [{name: a, capacity: {gpu: 8, cpu: 64}}]
workloads:
- {name: old, queue: vision, submitted: -2h, runtime: 3h, pods: [{count: 8, requests: {gpu: 1}}], minCount: 8,
   state: Running, runsOn: [{target: east, node: a-0, count: 8, started: -2h}]}
- {name: first, queue: vision, submitted: -50m, runtime: 1h, pods: [{count: 6, requests: {gpu: 1}}], minCount: 6}
- {name: second, queue: vision, submitted: -40m, pods: [{count: 4, requests: {gpu: 1}}], minCount: 4}
- {name: third, queue: vision, submitted: -30m, runtime: 1h, pods: [{count: 8, requests: {gpu: 1}}], minCount: 8}
";

#[test]
fn who_waits_may_expect_a_start_as_far_as_run_times_are_known() {
    let view = scenario::view(&scenario::parse("line.yaml", LINE).expect("a scenario"));
    let starts = |outlook: &Outlook| {
        ["old", "first", "second", "third"].map(|name| {
            let expected = outlook.workloads[name].expected_ms;
            expected.map(|at| (at - view.now_ms) / 60_000)
        })
    };
    let before = view.plan();
    // The last stands behind one of unknown run time.
    assert_eq!(starts(&before), [None, Some(60), Some(120), None]);
    let change = Change::parse("target add west like east").expect("a change");
    let after = view.change(&change).expect("another target").plan();
    assert_eq!(
        after.workloads["first"].places,
        [("west".to_owned(), 6)].into()
    );
    assert_eq!(starts(&after), [None, None, Some(60), Some(60)]);
    let changed = differences(&before, &after);
    assert!(changed.iter().any(|one| one.id == "second"), "{changed:?}");
}
