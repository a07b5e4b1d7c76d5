//! What pods take of physical devices: of a MIG partition its slices, of a device that several share in turns their part, of a
//! claim what the driver says that it uses up. Queues are charged for this and not for how many names were given to it.

use std::collections::BTreeMap;

use placement_api::devices::{
    PARTS, class_of_resource, physical_product, physical_resource, share,
};
use placement_api::quantity::ResourceVector;
use placement_api::selector::Labels;

use super::closed::is_said;
use crate::fleet::{DeviceNeed, Node, PRODUCT_LABELS, Physical, is_extended};
use crate::shares::Devices;

/// In [`PARTS`] of a device.
pub(super) type Parts = BTreeMap<Physical, i64>;

/// What one pod takes on a node, beside what it has together with others.
pub(super) fn on_node(
    requests: &ResourceVector,
    need: Option<&DeviceNeed>,
    node: &Node,
) -> Devices {
    let mut parts = by_labels(requests, node);
    if let Some((there, need)) = node.allocatable.devices().zip(need) {
        add(&mut parts, there.consumed(need));
    }
    summed(&parts)
}

/// What a claim that pods have together takes on a node.
pub(super) fn together(need: &DeviceNeed, claim: &str, node: &Node) -> Devices {
    let there = node.allocatable.devices();
    summed(&there.map_or_else(Parts::new, |there| there.consumed_together(need, claim)))
}

/// What it takes at least, before its node is known.
pub(super) fn together_anywhere(
    need: &DeviceNeed,
    claim: &str,
    selector: &Labels,
    kinds: &[Node],
) -> Devices {
    let there = kinds
        .iter()
        .filter(|node| is_selected(selector, node))
        .map(|node| together(need, claim, node));
    let all = there.filter(|there| !there.resources.is_empty());
    all.reduce(|least, there| least.lower(&there))
        .unwrap_or_default()
}

/// What one pod takes at least, before its node is known: a product only where it can be on that one alone. `kinds` has a node of each kind of
/// devices.
pub(super) fn anywhere(
    requests: &ResourceVector,
    selector: &Labels,
    need: Option<&DeviceNeed>,
    kinds: &[Node],
) -> Devices {
    let by_name = by_name(requests, selector);
    let found = kinds
        .iter()
        .filter(|node| is_selected(selector, node))
        .map(|node| on_node(requests, need, node));
    // A kind that has none of the devices is none of its places.
    let all = found.filter(|there| there.resources.len() >= by_name.resources.len().max(1));
    all.reduce(|least, there| least.lower(&there))
        .unwrap_or(by_name)
}

/// Whether pods with this selector may be on nodes with such devices.
fn is_selected(selector: &Labels, node: &Node) -> bool {
    let mut labels = selector.iter().filter(|(key, _)| is_said(key));
    labels.all(|(key, value)| node.label(key) == Some(value.as_str()))
}

/// What one pod takes by what it says itself: a product where its selector names that.
pub(super) fn by_name(requests: &ResourceVector, selector: &Labels) -> Devices {
    summed(&by_names(requests, selector, |_| false))
}

/// Physical devices of a node: all of them, or those in use. What is left of a device that is cut is of no use to anybody else, so a part counts
/// as all of it.
pub(super) fn of_node(amounts: &ResourceVector, node: &Node, all: bool) -> Parts {
    let mut parts = by_labels(amounts, node);
    if let Some(there) = node.allocatable.devices() {
        let more = if all {
            let whole = there.physical().into_iter();
            whole
                .map(|(device, count)| (device, count * PARTS))
                .collect()
        } else {
            there.taken_parts()
        };
        add(&mut parts, more);
    }
    for one in parts.values_mut() {
        *one = (*one + PARTS - 1) / PARTS * PARTS;
    }
    parts
}

/// Sums by resource and by product.
pub(super) fn summed(parts: &Parts) -> Devices {
    let mut devices = Devices::default();
    for (Physical { resource, product }, parts) in parts {
        *devices.resources.entry(resource.clone()).or_default() += parts;
        if let Some(product) = product {
            *devices.products.entry(product.clone()).or_default() += parts;
        }
    }
    devices
}

fn by_labels(amounts: &ResourceVector, node: &Node) -> Parts {
    let there = node.allocatable.devices();
    by_names(amounts, &node.labels, |name| {
        there.is_some_and(|there| there.backs(name))
    })
}

/// What names of resources and labels say; `backed` are those that claims stand for.
fn by_names(amounts: &ResourceVector, labels: &Labels, backed: impl Fn(&str) -> bool) -> Parts {
    let mut parts = Parts::new();
    for (name, amount) in amounts.iter().filter(|(_, amount)| *amount > 0) {
        if !is_extended(name) || class_of_resource(name).is_some() || backed(name) {
            continue;
        }
        let physical = Physical {
            resource: physical_resource(name),
            product: product_of(name, labels),
        };
        let sum = parts.entry(physical).or_default();
        *sum = sum.saturating_add(share(name, labels).in_parts(amount));
    }
    parts
}

/// The product of the devices of a resource: that of its vendor, where labels name the vendor.
fn product_of(resource: &str, labels: &Labels) -> Option<String> {
    let vendor = resource.split_once('/').map(|(vendor, _)| vendor);
    let fits = |label: &&&str| {
        label
            .split_once('/')
            .is_none_or(|(of, _)| Some(of) == vendor)
    };
    PRODUCT_LABELS
        .iter()
        .filter(fits)
        .find_map(|label| labels.get(*label))
        .map(|product| physical_product(product))
}

fn add(parts: &mut Parts, more: Parts) {
    for (device, amount) in more {
        let sum = parts.entry(device).or_default();
        *sum = sum.saturating_add(amount);
    }
}
