//! Targets and nodes.

use std::collections::BTreeMap;

use super::super::read::{Node, Reader};
use super::super::{NodeSpec, TargetSpec};
use super::{taints, unique};
use crate::fleet::TargetState;

/// Most nodes of one line.
const MOST_NODES: i64 = 1_000_000;

pub(super) fn targets(r: &mut Reader, node: Option<Node<'_>>) -> Vec<TargetSpec> {
    let mut seen = BTreeMap::new();
    let nodes = r.items(
        node,
        "[{target: east, nodes: [{name: e-a, capacity: {gpu: 8}}]}]",
    );
    nodes
        .iter()
        .filter_map(|node| target(r, node, &mut seen))
        .collect()
}

fn target(r: &mut Reader, node: &Node<'_>, seen: &mut BTreeMap<String, u64>) -> Option<TargetSpec> {
    let states = [
        ("Ready", TargetState::Ready),
        ("Cordoned", TargetState::Cordoned),
        ("Draining", TargetState::Draining),
        ("Lost", TargetState::Lost),
    ];
    let known = [
        "target",
        "labels",
        "taints",
        "state",
        "lostFor",
        "kinds",
        "cost",
        "carbonIntensity",
        "data",
        "nodes",
    ];
    let f = r.fields(node, "a target", &known)?;
    let name_node = r.required(&f, "target", "east");
    let name = name_node.as_ref().and_then(|node| r.name(node));
    if let (Some(node), Some(name)) = (&name_node, &name) {
        unique(r, seen, node, name, "target");
    }
    let state = f
        .get("state")
        .and_then(|node| r.choice(&node, &states))
        .unwrap_or(TargetState::Ready);
    let kinds = f.get("kinds").map(|node| {
        let items = r.items(Some(node), "[Deployment, Job]");
        items.iter().filter_map(|node| r.name(node)).collect()
    });
    let mut cost = BTreeMap::new();
    for (key, node) in r.entries(f.get("cost"), "{gpu: \"2.10\"}") {
        if let Some(quantity) = r.quantity(&node) {
            let name = if key.text == "gpu" {
                super::super::read::GPU
            } else {
                &key.text
            };
            cost.insert(name.to_owned(), quantity);
        }
    }
    let mut prefixes = BTreeMap::new();
    let nodes = r.items(f.get("nodes"), "[{name: e-a, capacity: {gpu: 8, cpu: 64}}]");
    let nodes = nodes
        .iter()
        .filter_map(|node| one_node(r, node, &mut prefixes))
        .collect();
    Some(TargetSpec {
        line: node.line(),
        name: name?,
        labels: r.labels(f.get("labels"), "{region: eu}"),
        taints: taints(r, f.get("taints")),
        state,
        lost_for_ms: f
            .get("lostFor")
            .and_then(|node| r.duration(&node))
            .unwrap_or(0),
        kinds,
        cost,
        carbon_intensity: f.get("carbonIntensity").and_then(|node| r.quantity(&node)),
        data: super::names(r, f.get("data"), "[imagenet]"),
        nodes,
    })
}

fn one_node(r: &mut Reader, node: &Node<'_>, seen: &mut BTreeMap<String, u64>) -> Option<NodeSpec> {
    let known = [
        "name", "count", "labels", "taints", "healthy", "capacity", "devices",
    ];
    let f = r.fields(node, "a node", &known)?;
    let name_node = r.required(&f, "name", "e-a");
    let name = name_node.as_ref().and_then(|node| r.name(node));
    if let (Some(node), Some(name)) = (&name_node, &name) {
        unique(r, seen, node, name, "node");
    }
    let count = f
        .get("count")
        .map_or(Some(1), |node| r.integer(&node, 0, MOST_NODES));
    let capacity = r.required(&f, "capacity", "{gpu: 8, cpu: 64, memory: 512Gi}");
    let amounts = r.amounts(capacity);
    let devices = super::devices(r, f.get("devices"));
    Some(NodeSpec {
        name: name?,
        count: count?,
        labels: r.labels(f.get("labels"), "{zone: z1, rack: r1}"),
        taints: taints(r, f.get("taints")),
        healthy: f
            .get("healthy")
            .and_then(|node| r.bool(&node))
            .unwrap_or(true),
        capacity: amounts.into_iter().collect(),
        devices,
    })
}
