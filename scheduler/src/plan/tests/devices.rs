//! Claims for devices: where they land, and what is said where they do not.

use placement_api::devices::{DeviceClaim, class_resource};
use placement_api::kinds::{
    DeviceClassSummary, DeviceGroup, DeviceLayout, DeviceShape, DeviceTaint, InventoryStatus,
    NodeDevices,
};
use placement_api::reason::Reason;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::build::*;
use crate::fleet::{Fleet, TargetState};
use crate::plan::{Request, Waiting, plan};

/// Nodes with so many devices of a kind, and of them taken: `("n1", "large", 4, 1)`.
fn report(nodes: &[(&str, &str, i64, i64)]) -> InventoryStatus {
    let plain: Vec<N> = nodes
        .iter()
        .map(|(name, ..)| node(name, "", "cpu=64 pods=110"))
        .collect();
    let mut report = inventory(&plain, &[]);
    report.device_classes = ["large", "small", "gpu"]
        .map(|name| DeviceClassSummary {
            name: name.to_owned(),
            selectors: vec![match name {
                "gpu" => "true".to_owned(),
                kind => format!(r#"device.attributes["d"].kind == "{kind}""#),
            }],
            extended_resource: None,
        })
        .into();
    for (at, (_, kind, count, taken)) in nodes.iter().enumerate() {
        report.device_shapes.push(DeviceShape {
            id: (*kind).to_owned(),
            driver: "d".to_owned(),
            attributes: serde_json::from_value(json!({"kind": {"string": kind}}))
                .expect("attributes"),
            taints: if *kind == "sick" {
                vec![DeviceTaint {
                    key: "xid".to_owned(),
                    value: "79".to_owned(),
                    effect: "NoSchedule".to_owned(),
                }]
            } else {
                Vec::new()
            },
            ..DeviceShape::default()
        });
        let layout = format!("{kind}-{count}");
        report.device_layouts.push(DeviceLayout {
            id: layout.clone(),
            groups: vec![DeviceGroup {
                shape: (*kind).to_owned(),
                count: *count,
                ..DeviceGroup::default()
            }],
            ..DeviceLayout::default()
        });
        if *count > 0 {
            report.nodes[at].devices = Some(NodeDevices {
                layout,
                taken: vec![*taken],
            });
        }
    }
    report
}

fn target(fleet: &mut Fleet, target: &str, nodes: &[(&str, &str, i64, i64)]) {
    fleet.set_inventory(&name(target), &report(nodes));
    fleet.set_target(&name(target), pairs(""), Vec::new(), TargetState::Ready, 0);
}

fn with(mut request: Request, requests: Value) -> Request {
    let spec = json!({"devices": {"requests": requests}});
    let claim = DeviceClaim::read("c", None, &spec).expect("a claim");
    for set in &mut request.pod_sets {
        for one in &claim.requests {
            if let [one] = &one.alternatives[..] {
                let count = claim.counts().map(|(_, count)| count).sum();
                set.requests.set(&class_resource(&one.class), count);
            }
        }
        set.claims = vec![claim.clone()];
    }
    request
}

fn exactly(class: &str, count: i64) -> Value {
    json!([{"name": "r", "exactly": {"deviceClassName": class, "count": count}}])
}

fn first(classes: &[(&str, i64)]) -> Value {
    let one = |(class, count): &(&str, i64)| json!({"name": class, "deviceClassName": class, "count": count});
    json!([{"name": "r", "firstAvailable": classes.iter().map(one).collect::<Vec<_>>()}])
}

#[test]
fn claims_land_where_the_devices_are() {
    let mut fleet = fleet();
    target(
        &mut fleet,
        "a",
        &[
            ("n1", "large", 4, 0),
            ("n2", "small", 4, 0),
            ("n3", "none", 0, 0),
        ],
    );
    target(
        &mut fleet,
        "b",
        &[("n4", "large", 2, 0), ("n5", "none", 0, 0)],
    );
    for (name, requests, pods, expected_place, expected_nodes) in [
        ("the tightest", exactly("large", 1), 2, "b 2", "n4 2"),
        (
            "where there are four",
            exactly("large", 4),
            1,
            "a 1",
            "n1 1",
        ),
        ("of any class", exactly("gpu", 4), 2, "a 2", "n1 1 · n2 1"),
        (
            "the first of a list",
            first(&[("large", 2), ("small", 1)]),
            1,
            "b 1",
            "n4 1",
        ),
        (
            "the next, where the first is nowhere",
            first(&[("large", 5), ("small", 1)]),
            1,
            "a 1",
            "n2 1",
        ),
    ] {
        let request = with(gang("w", pods, "cpu=1"), requests);
        let (decisions, _) = plan(&mut fleet.clone(), std::slice::from_ref(&request), 0);
        assert_eq!(
            (place(&decisions[0]).as_str(), nodes(&decisions[0]).as_str()),
            (expected_place, expected_nodes),
            "{name}"
        );
    }
    // Who asks for no devices leaves the nodes that have them to others.
    let (decisions, _) = plan(&mut fleet, &[divide("w", 4, "cpu=1")], 0);
    assert_eq!(nodes(&decisions[0]), "", "nodes are not named");
    let free = |node: &str, target: &str| fleet.free_on(target, node).expect("node").get("cpu");
    assert_eq!(
        (free("n1", "a"), free("n2", "a"), free("n4", "b")),
        (64_000, 64_000, 64_000)
    );
}

#[test]
fn why_claims_wait() {
    let mut fleet = fleet();
    target(
        &mut fleet,
        "a",
        &[
            ("n1", "large", 4, 4),
            ("n2", "small", 2, 1),
            ("n3", "sick", 1, 0),
        ],
    );
    let large = "devices of class large";
    let of = |class: &str, selector: &str| json!([{"name": "r", "exactly": {"deviceClassName": class, "selectors": [{"cel": {"expression": selector}}]}}]);
    for (requests, reason, message) in [
        (exactly("tpu", 1), Reason::NoDevice, "no node has devices of class tpu".to_owned()),
        (of("large", r#"device.attributes["d"].kind == "x""#), Reason::SelectorMismatch, r#"none of 4 devices of class large meets device.attributes["d"].kind == "x""#.to_owned()),
        (of("gpu", r#"device.attributes["d"].rack == "x""#), Reason::SelectorMismatch, r#"whether devices of class gpu match cannot be told: "device.attributes[\"d\"].rack == \"x\"": the device has no rack"#.to_owned()),
        (of("gpu", r#"device.attributes["d"].kind == "sick""#), Reason::TaintNotTolerated, "1 device of class gpu would do, but for the taint xid=79:NoSchedule".to_owned()),
        (exactly("large", 5), Reason::Impossible, "a pod asks 5 large, the largest node has 4 large".to_owned()),
        (exactly("large", 1), Reason::InsufficientCapacity, format!("full: none of 4 {large} free")),
        (exactly("small", 2), Reason::InsufficientCapacity, "1 devices of class small free, but no node has room for 2 small".to_owned()),
        (first(&[("tpu", 1), ("large", 1)]), Reason::InsufficientCapacity, "full: no node has 1 tpu or 1 large free".to_owned()),
        (first(&[("large", 9), ("small", 9)]), Reason::Impossible, "no node, empty, has 9 large or 9 small at once".to_owned()),
    ] {
        let request = with(gang("w", 1, "cpu=1"), requests);
        let (decisions, _) = plan(&mut fleet.clone(), std::slice::from_ref(&request), 0);
        let verdict = &decisions[0].explanation.verdicts[0];
        assert_eq!((verdict.reason, verdict.message.as_str()), (reason, message.as_str()));
        assert_eq!(decisions[0].explanation.reason, Some(reason));
    }
}

#[test]
fn a_freed_device_wakes_who_waits_for_its_class() {
    let mut fleet = fleet();
    target(
        &mut fleet,
        "a",
        &[("n1", "large", 1, 1), ("n2", "small", 1, 1)],
    );
    let mut waiting = Waiting::new();
    for (id, requests) in [
        ("l", exactly("large", 1)),
        ("s", exactly("small", 1)),
        ("f", first(&[("tpu", 1), ("large", 1)])),
    ] {
        let request = with(gang(id, 1, "cpu=1"), requests);
        let (decisions, _) = plan(&mut fleet, std::slice::from_ref(&request), 0);
        waiting.note(&request, &decisions[0]);
    }
    let event = fleet.set_inventory(
        &name("a"),
        &report(&[("n1", "large", 1, 0), ("n2", "small", 1, 1)]),
    );
    assert!(event.targets.is_empty(), "{event:?}");
    let woken: Vec<String> = waiting
        .wake(&event)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(woken, ["f", "l"]);
}

proptest! {
    /// However many claims there are, no node is promised more devices than it has, and nobody waits while one is free.
    #[test]
    fn no_device_is_promised_twice(
        counts in prop::collection::vec((0_usize..2, 0_i64..5, 0_i64..3), 1..4),
        asks in prop::collection::vec((0_usize..3, 1_i64..3, 1_i64..3), 1..6),
    ) {
        let kinds = ["large", "small"];
        let names: Vec<String> = (0..counts.len()).map(|i| format!("n{i}")).collect();
        let nodes: Vec<(&str, &str, i64, i64)> = counts.iter().zip(&names)
            .map(|((kind, count, taken), name)| (name.as_str(), kinds[*kind], *count, (*taken).min(*count))).collect();
        let mut fleet = fleet();
        target(&mut fleet, "a", &nodes);
        let classes = ["large", "small", "gpu"];
        let requests: Vec<Request> = asks.iter().enumerate()
            .map(|(i, (class, count, pods))| with(gang(&format!("w{i}"), *pods, "cpu=1"), exactly(classes[*class], *count))).collect();
        let (decisions, _) = plan(&mut fleet, &requests, 0);
        for (at, (node, kind, count, taken)) in nodes.iter().enumerate() {
            let promised: i64 = decisions.iter().zip(&asks).map(|(decision, (_, each, _))| {
                decision.parts.iter().flat_map(|part| &part.nodes).filter(|one| one.name == *node).map(|one| one.pods * each).sum::<i64>()
            }).sum();
            prop_assert!(promised <= count - taken, "{node} {kind}: {promised} of {} at {at}", count - taken);
        }
        for (decision, request) in decisions.iter().zip(&requests) {
            if decision.parts.is_empty() {
                let set = &request.pod_sets[0];
                let demand = fleet.demand(&set.requests, &set.claims);
                let free = fleet.target("a").expect("target").nodes().map(|node| demand.copies_in(&node.free));
                prop_assert!(free.sum::<i64>() < set.count, "{:?}", decision.explanation);
            }
        }
    }
}
