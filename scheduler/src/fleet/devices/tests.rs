//! Matching and counting, in tables and against a naive second implementation.

use std::collections::BTreeMap;
use std::sync::Arc;

use placement_api::devices::{DeviceClaim, PARTS, class_resource};
use placement_api::kinds::{
    DeviceClassSummary, DeviceGroup, DeviceLayout, DeviceShape, InventoryNode, InventoryStatus,
    NodeClass, NodeDevices as Reported,
};
use placement_api::quantity::{Quantity, ResourceVector};
use placement_api::selector::Labels;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fleet::{Fleet, NodeName, Physical, Share, TargetName, TargetState, WorkloadId};

/// A shape by id: `{"a": {"size": {"int": 3}}}`.
fn shape(id: &str, attributes: Value) -> DeviceShape {
    DeviceShape {
        id: id.to_owned(),
        driver: "d".to_owned(),
        attributes: serde_json::from_value(attributes).expect("attributes"),
        ..DeviceShape::default()
    }
}

fn class(name: &str, selector: &str) -> DeviceClassSummary {
    DeviceClassSummary {
        name: name.to_owned(),
        selectors: vec![selector.to_owned()],
        extended_resource: None,
    }
}

fn group(shape: &str, count: i64, uses: &[(&str, i64)]) -> DeviceGroup {
    DeviceGroup {
        shape: shape.to_owned(),
        count,
        uses: uses
            .iter()
            .map(|(name, amount)| ((*name).to_owned(), Quantity::from_units(*amount)))
            .collect(),
    }
}

/// One node `n` with this layout.
fn status(
    classes: Vec<DeviceClassSummary>,
    shapes: Vec<DeviceShape>,
    counters: &[(&str, i64)],
    groups: Vec<DeviceGroup>,
    taken: &[i64],
) -> InventoryStatus {
    InventoryStatus {
        classes: vec![NodeClass {
            id: "c".to_owned(),
            allocatable: [("cpu".to_owned(), Quantity::from_units(64))].into(),
            ..NodeClass::default()
        }],
        nodes: vec![InventoryNode {
            name: "n".to_owned(),
            class: "c".to_owned(),
            devices: Some(Reported {
                layout: "l".to_owned(),
                taken: taken.to_vec(),
            }),
            ..InventoryNode::default()
        }],
        device_classes: classes,
        device_shapes: shapes,
        device_layouts: vec![DeviceLayout {
            id: "l".to_owned(),
            counters: counters
                .iter()
                .map(|(name, amount)| ((*name).to_owned(), Quantity::from_units(*amount)))
                .collect(),
            groups,
        }],
        ..InventoryStatus::default()
    }
}

fn fleet(status: &InventoryStatus) -> Fleet {
    let mut fleet = Fleet::new();
    let target = TargetName::from("t");
    fleet.set_target(&target, Labels::new(), Vec::new(), TargetState::Ready, 0);
    fleet.set_inventory(&target, status);
    fleet
}

fn claim(requests: Value) -> DeviceClaim {
    claim_with(requests, json!([]))
}

fn claim_with(requests: Value, constraints: Value) -> DeviceClaim {
    let spec = json!({"devices": {"requests": requests, "constraints": constraints}});
    DeviceClaim::read("c", None, &spec).expect("a claim")
}

fn exactly(class: &str, fields: Value) -> Value {
    let mut exactly = json!({"deviceClassName": class});
    exactly
        .as_object_mut()
        .expect("an object")
        .extend(fields.as_object().expect("an object").clone());
    json!({"name": format!("r-{class}"), "exactly": exactly})
}

fn cel(expression: &str) -> Value {
    json!([{"cel": {"expression": expression}}])
}

fn copies(fleet: &mut Fleet, claims: &[DeviceClaim]) -> i64 {
    copies_of(fleet, &ResourceVector::new(), claims)
}

fn copies_of(fleet: &mut Fleet, requests: &ResourceVector, claims: &[DeviceClaim]) -> i64 {
    let demand = fleet.demand(requests, claims);
    demand.copies_in(&fleet.target("t").expect("target").node_list()[0].free)
}

/// Eight GPUs of two sizes on two NUMA nodes, and two network cards.
fn mixed(taken: &[i64]) -> InventoryStatus {
    let gpu = |size: i64, numa: i64| json!({"type": {"string": "gpu"}, "size": {"int": size}, "resource.kubernetes.io/numaNode": {"int": numa}});
    status(
        vec![
            class("gpu", r#"device.attributes["d"].type == "gpu""#),
            class("large", r#"device.attributes["d"].?size.orValue(0) == 80"#),
            class("nic", r#"device.attributes["d"].type == "nic""#),
        ],
        vec![
            shape("large-0", gpu(80, 0)),
            shape("large-1", gpu(80, 1)),
            shape("small-1", gpu(40, 1)),
            shape(
                "nic-1",
                json!({"type": {"string": "nic"}, "resource.kubernetes.io/numaNode": {"int": 1}}),
            ),
        ],
        &[],
        vec![
            group("large-0", 2, &[]),
            group("large-1", 2, &[]),
            group("small-1", 4, &[]),
            group("nic-1", 2, &[]),
        ],
        taken,
    )
}

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
fn what_is_reserved_is_counted_once_whatever_the_member_allocates() {
    let mut fleet = fleet(&mixed(&[]));
    let any = claim(json!([exactly("gpu", json!({}))]));
    let large = claim(json!([exactly("large", json!({}))]));
    let hold = |fleet: &mut Fleet, id: &str, claim: &DeviceClaim, pods: i64| {
        let demand = Arc::new(fleet.demand(&ResourceVector::new(), std::slice::from_ref(claim)));
        let share = Share {
            node: NodeName::from("n"),
            pod_set: Arc::from("main"),
            demand,
            pods,
            devices: Vec::new(),
        };
        fleet.hold(
            &WorkloadId::from(id),
            &TargetName::from("t"),
            1,
            vec![share.clone()],
            vec![share],
        );
    };
    hold(&mut fleet, "a", &any, 5);
    assert_eq!(copies(&mut fleet, std::slice::from_ref(&any)), 3);
    assert_eq!(
        copies(&mut fleet, std::slice::from_ref(&large)),
        3,
        "the five may be had without all large ones"
    );
    hold(&mut fleet, "b", &large, 3);
    assert_eq!(copies(&mut fleet, std::slice::from_ref(&any)), 0);
    assert_eq!(copies(&mut fleet, std::slice::from_ref(&large)), 0);
    // The member's scheduler took other devices than one may think of; the report counts them.
    let mut report = mixed(&[1, 2, 2]);
    report.counted = vec![placement_api::kinds::CountedAssignment {
        name: "a".to_owned(),
        epoch: 1,
        ..placement_api::kinds::CountedAssignment::default()
    }];
    fleet.set_inventory(&TargetName::from("t"), &report);
    assert_eq!(
        copies(&mut fleet, std::slice::from_ref(&any)),
        0,
        "three free, three promised to b"
    );
    fleet.release(&WorkloadId::from("b"), &TargetName::from("t"));
    assert_eq!(
        copies(&mut fleet, std::slice::from_ref(&large)),
        1,
        "as reported"
    );
    assert_eq!(copies(&mut fleet, std::slice::from_ref(&any)), 3);
    fleet.release(&WorkloadId::from("a"), &TargetName::from("t"));
    assert_eq!(
        copies(&mut fleet, std::slice::from_ref(&any)),
        3,
        "until the report says that they are free"
    );
}

#[test]
fn who_gives_way_gives_devices_back() {
    let mut fleet = fleet(&mixed(&[2, 2, 4]));
    let any = claim(json!([exactly("gpu", json!({"count": 2}))]));
    let demand = fleet.demand(&ResourceVector::new(), std::slice::from_ref(&any));
    let mut free = fleet.target("t").expect("target").node_list()[0]
        .free
        .clone();
    assert_eq!(demand.copies_in(&free), 0);
    free.add(&demand, 3);
    assert_eq!(demand.copies_in(&free), 3);
    free.add(&demand, -2);
    assert_eq!(demand.copies_in(&free), 1);
}

#[test]
fn a_claim_that_pods_have_together_counts_once() {
    let spec = json!({"devices": {"requests": [exactly("gpu", json!({"count": 5}))]}});
    let shared =
        |name: &str| DeviceClaim::read("c", Some(name.to_owned()), &spec).expect("a claim");
    let mut fleet = fleet(&mixed(&[]));
    assert!(
        copies(&mut fleet, &[shared("ns/a")]) > 100,
        "as many pods as like"
    );
    let demand = Arc::new(fleet.demand(&ResourceVector::new(), &[shared("ns/a")]));
    let share = Share {
        node: NodeName::from("n"),
        pod_set: Arc::from("main"),
        demand,
        pods: 3,
        devices: Vec::new(),
    };
    fleet.hold(
        &WorkloadId::from("w"),
        &TargetName::from("t"),
        1,
        vec![share.clone()],
        vec![share],
    );
    assert!(
        copies(&mut fleet, &[shared("ns/a")]) > 100,
        "it has them already"
    );
    assert_eq!(
        copies(&mut fleet, &[shared("ns/b")]),
        0,
        "another has no five more"
    );
    assert_eq!(
        copies(&mut fleet, &[claim(json!([exactly("gpu", json!({}))]))]),
        3
    );
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

#[test]
fn classes_that_come_later_count_for_what_is_reserved_too() {
    let mut report = mixed(&[]);
    let classes = std::mem::take(&mut report.device_classes);
    let mut fleet = fleet(&report);
    let any = claim(json!([exactly("gpu", json!({}))]));
    let demand = Arc::new(fleet.demand(&ResourceVector::new(), std::slice::from_ref(&any)));
    let share = Share {
        node: NodeName::from("n"),
        pod_set: Arc::from("main"),
        demand,
        pods: 5,
        devices: Vec::new(),
    };
    fleet.hold(
        &WorkloadId::from("w"),
        &TargetName::from("t"),
        1,
        vec![share.clone()],
        vec![share],
    );
    report.device_classes = classes;
    let event = fleet.set_inventory(&TargetName::from("t"), &report);
    assert!(!event.targets.is_empty(), "who waits is woken");
    assert_eq!(copies(&mut fleet, &[any]), 3);
}

/// One H100 that can be cut as NVIDIA's driver offers it: seven slices of compute and eight of memory, each placement a device.
fn mig(gpus: usize) -> InventoryStatus {
    let profiles = [
        ("1g", 1, 1, vec![0, 1, 2, 3, 4, 5, 6]),
        ("2g", 2, 2, vec![0, 2, 4]),
        ("3g", 3, 4, vec![0, 4]),
        ("7g", 7, 8, vec![0]),
    ];
    let mut counters = Vec::new();
    let mut groups = Vec::new();
    for gpu in 0..gpus {
        counters.push((format!("0/gpu-{gpu}/compute"), 7));
        for slice in 0..8 {
            counters.push((format!("0/gpu-{gpu}/memory-slice-{slice}"), 1));
        }
        for (name, compute, memory, starts) in &profiles {
            for start in starts {
                let mut uses = vec![(format!("0/gpu-{gpu}/compute"), *compute)];
                uses.extend(
                    (*start..start + memory)
                        .map(|slice| (format!("0/gpu-{gpu}/memory-slice-{slice}"), 1)),
                );
                let uses: Vec<(&str, i64)> = uses
                    .iter()
                    .map(|(name, amount)| (name.as_str(), *amount))
                    .collect();
                groups.push(group(name, 1, &uses));
            }
        }
    }
    let counters: Vec<(&str, i64)> = counters
        .iter()
        .map(|(name, amount)| (name.as_str(), *amount))
        .collect();
    let shapes = profiles
        .iter()
        .map(|(name, ..)| shape(name, json!({"profile": {"string": name}})));
    status(
        vec![class("mig", "true")],
        shapes.collect(),
        &counters,
        groups,
        &[],
    )
}

#[test]
fn mig_by_counters() {
    let profile = |name: &str, count: i64| {
        exactly(
            "mig",
            json!({"count": count, "selectors": cel(&format!(r#"device.attributes["d"].profile == "{name}""#))}),
        )
    };
    for (gpus, requests, expected) in [
        (1, vec![profile("1g", 1)], 7),
        (1, vec![profile("2g", 1)], 3),
        (1, vec![profile("3g", 1)], 2),
        (1, vec![profile("7g", 1)], 1),
        (
            1,
            vec![profile("3g", 1), profile("2g", 1), profile("1g", 2)],
            1,
        ),
        (1, vec![profile("7g", 1), profile("1g", 1)], 0),
        (8, vec![profile("1g", 1)], 56),
        // Six GPUs with two of 3g each, two with seven of 1g: two of 3g leave no memory for anything else.
        (8, vec![profile("3g", 1), profile("1g", 1)], 12),
        (2, vec![profile("1g", 7)], 2),
    ] {
        // Names of requests have to differ.
        let requests: Vec<Value> = requests
            .into_iter()
            .enumerate()
            .map(|(at, mut request)| {
                request["name"] = json!(format!("r{at}"));
                request
            })
            .collect();
        let name = json!(requests).to_string();
        assert_eq!(
            copies(&mut fleet(&mig(gpus)), &[claim(json!(requests))]),
            expected,
            "{gpus} × {name}"
        );
    }
}

#[test]
fn what_partitions_are_of_a_device() {
    for (requests, parts) in [
        (vec![("1g", 1)], PARTS / 7),
        (vec![("2g", 1)], 2 * PARTS / 7),
        // Of the memory it takes half, of the compute three sevenths.
        (vec![("3g", 1)], PARTS / 2),
        (vec![("7g", 1)], PARTS),
        (vec![("1g", 3), ("2g", 1)], 5 * PARTS / 7),
    ] {
        let mut fleet = fleet(&mig(2));
        let requests: Vec<Value> = requests
            .iter()
            .map(|(name, count)| {
                let selector = cel(&format!(r#"device.attributes["d"].profile == "{name}""#));
                let mut request = exactly("mig", json!({"count": count, "selectors": selector}));
                request["name"] = json!(format!("r-{name}"));
                request
            })
            .collect();
        let need = fleet.device_need(&ResourceVector::new(), &[claim(json!(requests))]);
        let node = fleet.target("t").expect("target").node_list()[0].clone();
        let devices = node.allocatable.devices().expect("devices");
        let gpu = Physical {
            resource: "d".to_owned(),
            product: None,
        };
        assert_eq!(
            devices.consumed(&need.expect("a need")),
            BTreeMap::from([(gpu.clone(), parts)])
        );
        assert_eq!(devices.physical(), BTreeMap::from([(gpu, 2)]));
    }
    // Eight whole GPUs, and two cards of another kind but the same driver.
    let node = fleet(&mixed(&[])).target("t").expect("target").node_list()[0].clone();
    let devices = node.allocatable.devices().expect("devices").physical();
    assert_eq!(devices.values().sum::<i64>(), 10);
}

/// A small node: groups of three shapes with uses of two counters, and what is taken.
#[derive(Clone, Debug)]
struct Small {
    counters: [i64; 2],
    groups: Vec<(usize, i64, [i64; 2], i64)>,
}

fn small() -> impl Strategy<Value = Small> {
    let group = (0_usize..3, 1_i64..3, [0_i64..3, 0_i64..3], 0_i64..2);
    ([2_i64..7, 2_i64..7], prop::collection::vec(group, 1..5))
        .prop_map(|(counters, groups)| Small { counters, groups })
}

impl Small {
    fn status(&self) -> InventoryStatus {
        let groups = self.groups.iter().map(|(of, count, uses, _)| {
            let uses: Vec<(&str, i64)> = [("0/s/a", uses[0]), ("0/s/b", uses[1])]
                .into_iter()
                .filter(|(_, amount)| *amount > 0)
                .collect();
            group(&of.to_string(), *count, &uses)
        });
        let taken: Vec<i64> = self
            .groups
            .iter()
            .map(|(_, count, _, taken)| (*taken).min(*count))
            .collect();
        status(
            (0..3)
                .map(|i| {
                    class(
                        &format!("from-{i}"),
                        &format!(r#"device.attributes["d"].kind >= {i}"#),
                    )
                })
                .collect(),
            (0..3)
                .map(|i| shape(&i.to_string(), json!({"kind": {"int": i}})))
                .collect(),
            &[("0/s/a", self.counters[0]), ("0/s/b", self.counters[1])],
            groups.collect(),
            &taken,
        )
    }

    /// Devices one by one that are not taken, and the counters that are left.
    fn devices(&self) -> (Vec<(usize, [i64; 2])>, [i64; 2]) {
        let (mut devices, mut left) = (Vec::new(), self.counters);
        for (of, count, uses, taken) in &self.groups {
            let taken = (*taken).min(*count);
            left[0] -= uses[0] * taken;
            left[1] -= uses[1] * taken;
            devices.extend((taken..*count).map(|_| (*of, *uses)));
        }
        (devices, left)
    }
}

/// The naive way: every device for every request.
fn naive(
    devices: &[(usize, [i64; 2])],
    left: [i64; 2],
    asks: &[usize],
    used: &mut Vec<bool>,
) -> bool {
    let Some((first, rest)) = asks.split_first() else {
        return true;
    };
    for (at, (kind, uses)) in devices.iter().enumerate() {
        if used[at] || kind < first || (0..2).any(|i| uses[i] > left[i]) {
            continue;
        }
        used[at] = true;
        let less = [left[0] - uses[0], left[1] - uses[1]];
        let found = naive(devices, less, rest, used);
        used[at] = false;
        if found {
            return true;
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Counters, overlapping classes and what others have reserved: exactly as many pods as the naive way finds.
    #[test]
    fn as_many_as_the_naive_way_finds(small in small(), held in prop::collection::vec((0_usize..3, 1_i64..3), 0..3), ask in (0_usize..3, 1_i64..3)) {
        let (devices, left) = small.devices();
        // A member would not have allocated more than there is.
        prop_assume!(left.iter().all(|left| *left >= 0));
        let mut fleet = fleet(&small.status());
        let of = |class: usize, count: i64| claim(json!([exactly(&format!("from-{class}"), json!({"count": count}))]));
        let mut asks: Vec<usize> = Vec::new();
        for (number, (class, count)) in held.iter().enumerate() {
            let more: Vec<usize> = asks.iter().copied().chain((0..*count).map(|_| *class)).collect();
            if naive(&devices, left, &more, &mut vec![false; devices.len()]) {
                asks = more;
                let demand = Arc::new(fleet.demand(&ResourceVector::new(), &[of(*class, *count)]));
                let share = Share { node: NodeName::from("n"), pod_set: Arc::from("main"), demand, pods: 1, devices: Vec::new() };
                fleet.hold(&WorkloadId::from(format!("w{number}")), &TargetName::from("t"), 1, vec![share.clone()], vec![share]);
            }
        }
        let mut expected = 0;
        loop {
            asks.extend((0..ask.1).map(|_| ask.0));
            if !naive(&devices, left, &asks, &mut vec![false; devices.len()]) {
                break;
            }
            expected += 1;
        }
        prop_assert_eq!(copies(&mut fleet, &[of(ask.0, ask.1)]), expected);
        // No counter and no class is ever below zero by what is reserved.
        let free = fleet.free_of("t");
        let classes: BTreeMap<String, i64> = (0..3).map(|i| class_resource(&format!("from-{i}"))).map(|name| (name.clone(), free.get(&name))).collect();
        prop_assert!(classes.values().all(|amount| *amount >= 0), "{:?}", classes);
    }
}
