//! Queues.

use std::collections::BTreeMap;

use placement_api::kinds::QueueOrder;

use super::super::QueueSpec;
use super::super::read::{Node, Reader};
use super::unique;

pub(super) fn queues(r: &mut Reader, node: Option<Node<'_>>) -> Vec<QueueSpec> {
    let mut seen = BTreeMap::new();
    let nodes = r.items(node, "[{name: research, weight: 1}]");
    nodes
        .iter()
        .filter_map(|node| queue(r, node, &mut seen))
        .collect()
}

fn queue(r: &mut Reader, node: &Node<'_>, seen: &mut BTreeMap<String, u64>) -> Option<QueueSpec> {
    let orders = [
        ("Age", QueueOrder::Age),
        ("Size", QueueOrder::Size),
        ("FinishTime", QueueOrder::FinishTime),
    ];
    let known = [
        "name",
        "parent",
        "weight",
        "priority",
        "guaranteed",
        "limit",
        "lend",
        "order",
        "timeSlicing",
        "pastUse",
        "accelerators",
        "namespaces",
    ];
    let f = r.fields(node, "a queue", &known)?;
    let name_node = r.required(&f, "name", "research");
    let name = name_node.as_ref().and_then(|node| r.name(node));
    if let (Some(node), Some(name)) = (&name_node, &name) {
        unique(r, seen, node, name, "queue");
    }
    let parent = f
        .get("parent")
        .and_then(|node| r.text(&node, "research"))
        .filter(|parent| !parent.is_empty());
    let weight = f
        .get("weight")
        .and_then(|node| r.integer(&node, 0, 1_000_000));
    let priority = f
        .get("priority")
        .and_then(|node| r.integer(&node, i64::from(i32::MIN), i64::from(i32::MAX)));
    let mut past_use = BTreeMap::new();
    for (key, node) in r.entries(f.get("pastUse"), "{gpu: 100}") {
        if let (Some(resource), Some(quantity)) = (r.resource(key, &node), r.quantity(&node)) {
            past_use.insert(resource, quantity);
        }
    }
    let mut products = BTreeMap::new();
    let mut accelerators = Vec::new();
    for node in r.items(f.get("accelerators"), "[{product: H100, guaranteed: 4}]") {
        let Some(a) = r.fields(
            &node,
            "an accelerator type",
            &["product", "guaranteed", "limit"],
        ) else {
            continue;
        };
        let product = r
            .required(&a, "product", "H100")
            .and_then(|node| r.name(&node));
        let mut devices = |field: &str| {
            a.get(field)
                .and_then(|node| r.amount(&node, super::super::read::GPU))
        };
        let (guaranteed, limit) = (devices("guaranteed"), devices("limit"));
        if let Some(product) = product {
            unique(r, &mut products, &node, &product, "product");
            accelerators.push((product, guaranteed, limit));
        }
    }
    let namespaces = f.get("namespaces").map(|node| {
        let items = r.items(Some(node), "[vision]");
        items.iter().filter_map(|node| r.name(node)).collect()
    });
    Some(QueueSpec {
        line: node.line(),
        name: name?,
        parent,
        weight: weight
            .and_then(|weight| u32::try_from(weight).ok())
            .unwrap_or(1),
        priority: priority
            .and_then(|one| i32::try_from(one).ok())
            .unwrap_or(0),
        guaranteed: r.amounts(f.get("guaranteed")),
        limit: r.amounts(f.get("limit")),
        lend: f.get("lend").and_then(|node| r.bool(&node)).unwrap_or(true),
        order: f
            .get("order")
            .and_then(|node| r.choice(&node, &orders))
            .unwrap_or_default(),
        time_slicing: f
            .get("timeSlicing")
            .and_then(|node| r.bool(&node))
            .unwrap_or(false),
        past_use,
        accelerators,
        namespaces,
    })
}
