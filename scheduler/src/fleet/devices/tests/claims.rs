//! What a claim asks and which devices meet it.

use std::sync::Arc;

use placement_api::devices::class_resource;
use placement_api::quantity::{Quantity, ResourceVector};
use serde_json::{Value, json};

use super::{
    cel, claim, claim_with, class, copies, copies_of, exactly, fleet, group, mixed, shape, status,
};
use crate::fleet::{NodeName, Share, TargetName, WorkloadId};

#[test]
fn claims_against_a_node() {
    let one = |class: &str, fields: Value| vec![claim(json!([exactly(class, fields)]))];
    let numa = "resource.kubernetes.io/numaNode";
    for (name, claims, taken, expected) in [
        ("any GPU", one("gpu", json!({})), vec![], 8),
        ("some are taken", one("gpu", json!({})), vec![1, 2, 3], 2),
        ("two each", one("gpu", json!({"count": 2})), vec![1], 3),
        (
            "by selector",
            one(
                "gpu",
                json!({"selectors": cel(r#"device.attributes["d"].size == 40"#)}),
            ),
            vec![0, 0, 1],
            3,
        ),
        (
            "two selectors",
            one(
                "gpu",
                json!({"selectors": [cel(r#"device.attributes["d"].size == 80"#)[0], cel(r#"device.attributes["resource.kubernetes.io"].numaNode == 1"#)[0]]}),
            ),
            vec![],
            2,
        ),
        (
            "nothing matches",
            one(
                "gpu",
                json!({"selectors": cel(r#"device.attributes["d"].size == 99"#)}),
            ),
            vec![],
            0,
        ),
        ("no such class", one("tpu", json!({})), vec![], 0),
        (
            "nine are not there",
            one("gpu", json!({"count": 9})),
            vec![],
            0,
        ),
        (
            "all of them",
            one("large", json!({"allocationMode": "All"})),
            vec![],
            1,
        ),
        (
            "all, but one is taken",
            one("large", json!({"allocationMode": "All"})),
            vec![1],
            0,
        ),
        (
            "all of the others",
            one("large", json!({"allocationMode": "All"})),
            vec![0, 0, 4],
            1,
        ),
        (
            "two requests of classes that overlap",
            vec![claim(json!([
                exactly("large", json!({"count": 3})),
                exactly("gpu", json!({"count": 3}))
            ]))],
            vec![],
            1,
        ),
        (
            "two claims of one pod",
            vec![
                claim(json!([exactly("gpu", json!({"count": 3}))])),
                claim(json!([exactly("nic", json!({}))])),
            ],
            vec![],
            2,
        ),
        (
            "beside each other on one NUMA node",
            vec![claim_with(
                json!([exactly("gpu", json!({})), exactly("nic", json!({}))]),
                json!([{"matchAttribute": numa}]),
            )],
            vec![],
            2,
        ),
        (
            "but not where the cards are elsewhere",
            vec![claim_with(
                json!([exactly("gpu", json!({})), exactly("nic", json!({}))]),
                json!([{"matchAttribute": numa}]),
            )],
            vec![0, 2, 4],
            0,
        ),
        (
            "a constraint for one request only",
            vec![claim_with(
                json!([
                    exactly("gpu", json!({"count": 4})),
                    exactly("nic", json!({}))
                ]),
                json!([{"matchAttribute": numa, "requests": ["r-gpu"]}]),
            )],
            vec![],
            1,
        ),
        (
            "an attribute that they do not have",
            vec![claim_with(
                json!([exactly("gpu", json!({}))]),
                json!([{"matchAttribute": "d/rack"}]),
            )],
            vec![],
            0,
        ),
        (
            "what reads an attribute that some devices of the class lack gives up, as Kubernetes does",
            one(
                "nic",
                json!({"selectors": cel(r#"device.attributes["d"].size == 80"#)}),
            ),
            vec![],
            0,
        ),
    ] {
        assert_eq!(
            copies(&mut fleet(&mixed(&taken)), &claims),
            expected,
            "{name}"
        );
    }
}

#[test]
fn prioritised_lists_in_order() {
    let list = claim(json!([{"name": "r", "firstAvailable": [
        {"name": "a", "deviceClassName": "large", "count": 2}, {"name": "b", "deviceClassName": "gpu"}]}]));
    // Two large ones are a pod's; or one of any kind.
    for (taken, pods, rank) in [(vec![], 8, 0), (vec![1, 2], 5, 1), (vec![2, 2, 4], 0, 1)] {
        let mut fleet = fleet(&mixed(&taken));
        let demand = fleet.demand(&ResourceVector::new(), std::slice::from_ref(&list));
        let free = &fleet.target("t").expect("target").node_list()[0].free;
        assert_eq!(
            (demand.copies_in(free), demand.rank_in(free)),
            (pods, rank),
            "{taken:?}"
        );
    }
}

#[test]
fn taints_and_tolerations() {
    let mut sick = shape("sick", json!({}));
    sick.taints = vec![placement_api::kinds::DeviceTaint {
        key: "xid".into(),
        value: "79".into(),
        effect: "NoSchedule".into(),
    }];
    let status = status(
        vec![class("gpu", "true")],
        vec![shape("ok", json!({})), sick],
        &[],
        vec![group("ok", 2, &[]), group("sick", 2, &[])],
        &[],
    );
    let mut fleet = fleet(&status);
    let tolerant = json!({"tolerations": [{"key": "xid", "operator": "Exists"}]});
    for (fields, expected) in [
        (json!({}), 2),
        (tolerant.clone(), 4),
        (json!({"allocationMode": "All"}), 0),
        (
            json!({"allocationMode": "All", "tolerations": tolerant["tolerations"]}),
            1,
        ),
    ] {
        assert_eq!(
            copies(
                &mut fleet,
                &[claim(json!([exactly("gpu", fields.clone())]))]
            ),
            expected,
            "{fields}"
        );
    }
    assert_eq!(
        fleet.free_of("t").get(&class_resource("gpu")),
        2,
        "it has left capacity"
    );
}

#[test]
fn extended_resources_that_are_devices() {
    let mut gpu = class("gpu", "true");
    gpu.extended_resource = Some("nvidia.com/gpu".to_owned());
    let mut report = status(
        vec![gpu],
        vec![shape("ok", json!({}))],
        &[],
        vec![group("ok", 4, &[])],
        &[1],
    );
    let mut by_claim = fleet(&report);
    let asks: ResourceVector = [("nvidia.com/gpu".to_owned(), 2)].into_iter().collect();
    assert_eq!(copies_of(&mut by_claim, &asks, &[]), 1);
    assert_eq!(
        copies(&mut by_claim, &[claim(json!([exactly("gpu", json!({}))]))]),
        3
    );
    // One takes from the other.
    let demand = Arc::new(by_claim.demand(&asks, &[]));
    let share = Share {
        node: NodeName::from("n"),
        pod_set: Arc::from("main"),
        demand,
        pods: 1,
        devices: Vec::new(),
    };
    by_claim.hold(
        &WorkloadId::from("w"),
        &TargetName::from("t"),
        1,
        vec![share.clone()],
        vec![share],
    );
    assert_eq!(
        copies(&mut by_claim, &[claim(json!([exactly("gpu", json!({}))]))]),
        1
    );
    // Where a device plugin has the resource, claims and plugin are two things.
    report.classes[0]
        .allocatable
        .insert("nvidia.com/gpu".to_owned(), Quantity::from_units(8));
    let mut by_plugin = fleet(&report);
    assert_eq!(copies_of(&mut by_plugin, &asks, &[]), 4);
    let demand = Arc::new(by_plugin.demand(&asks, &[]));
    let share = Share {
        node: NodeName::from("n"),
        pod_set: Arc::from("main"),
        demand,
        pods: 4,
        devices: Vec::new(),
    };
    by_plugin.hold(
        &WorkloadId::from("w"),
        &TargetName::from("t"),
        1,
        vec![share.clone()],
        vec![share],
    );
    assert_eq!(
        copies(&mut by_plugin, &[claim(json!([exactly("gpu", json!({}))]))]),
        3
    );
}
