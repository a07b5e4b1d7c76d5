//! What there is to divide among the queues.

use placement_api::devices::PARTS;

use super::closed::alike;
use super::{Policy, consumed};
use crate::fleet::{Fleet, Node, TargetState};
use crate::shares::{Capacity, ProductCapacity};

/// All of the Ready targets, and what runs on those that take nothing new. Devices are physical ones. Beside it a node of each kind of
/// devices.
pub(super) fn capacity(fleet: &Fleet, policy: &Policy) -> (Capacity, Vec<Node>) {
    let mut capacity = Capacity::default();
    let mut kinds: Vec<Node> = Vec::new();
    for (_, target) in fleet.targets() {
        let all = match target.state {
            TargetState::Ready => true,
            TargetState::Cordoned | TargetState::Draining => false,
            TargetState::Pending | TargetState::Lost => continue,
        };
        for node in target.nodes() {
            if node.unusable.is_some() && all {
                continue;
            }
            let there = if all {
                node.allocatable.clone()
            } else {
                node.in_use()
            };
            let amounts = fleet.resources().vector(&there);
            let parts = consumed::of_node(&amounts, node, all);
            if !parts.is_empty() && !kinds.iter().any(|known| alike(known, node)) {
                kinds.push(node.clone());
            }
            for (device, parts) in &parts {
                let Some(product) = &device.product else {
                    continue;
                };
                let entry =
                    capacity
                        .products
                        .entry(product.clone())
                        .or_insert_with(|| ProductCapacity {
                            resource: device.resource.clone(),
                            devices: 0,
                            throughput: policy.throughput_of(product),
                            memory_mib: node.device_memory_mib(),
                        });
                entry.devices += parts / PARTS;
            }
            let devices = consumed::summed(&parts).resources;
            let others = amounts
                .iter()
                .filter(|(name, _)| !devices.contains_key(*name));
            let counted = devices
                .iter()
                .map(|(name, parts)| (name.as_str(), parts / PARTS));
            for (name, amount) in others.chain(counted) {
                let sum = capacity.resources.get(name) + amount.max(0);
                capacity.resources.set(name, sum);
            }
        }
    }
    (capacity, kinds)
}
