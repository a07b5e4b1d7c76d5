//! Matching and counting, in tables and against a naive second implementation.

mod claims;
mod held;
mod naive;
mod partitions;

use placement_api::devices::DeviceClaim;
use placement_api::kinds::{
    DeviceClassSummary, DeviceGroup, DeviceLayout, DeviceShape, InventoryNode, InventoryStatus,
    NodeClass, NodeDevices as Reported,
};
use placement_api::quantity::{Quantity, ResourceVector};
use placement_api::selector::Labels;
use serde_json::{Value, json};

use crate::fleet::{Fleet, TargetName, TargetState};

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
