//! Devices that can be cut, as MIG cuts them.

use std::collections::BTreeMap;

use placement_api::devices::PARTS;
use placement_api::kinds::InventoryStatus;
use placement_api::quantity::ResourceVector;
use serde_json::{Value, json};

use super::{cel, claim, class, copies, exactly, fleet, group, mixed, shape, status};
use crate::fleet::Physical;

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
