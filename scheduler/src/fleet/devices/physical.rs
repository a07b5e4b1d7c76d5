//! What claims are of physical devices, whatever drivers cut those into.
//!
//! Devices that draw on the same set of counters are parts of one physical device; a part is as much of it as it takes of what it
//! takes most of, so that a 1g partition is a seventh and not a device.

use std::collections::BTreeMap;

use placement_api::devices::{DeviceCount, attribute, physical_product, resource_of_driver};
use placement_api::kinds::DeviceShape;

use super::search::choices;
use super::{DeviceNeed, NodeDevices};

/// Physical devices, or parts of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Physical {
    /// The resource that counts them.
    pub(crate) resource: String,
    /// Product, where the driver says it.
    pub(crate) product: Option<String>,
}

impl NodeDevices {
    /// Whether the node has this extended resource by its devices only.
    pub(crate) fn backs(&self, resource: &str) -> bool {
        self.backed
            .binary_search_by(|name| name.as_str().cmp(resource))
            .is_ok()
    }

    /// Whether it has the same devices, taken or not.
    pub(crate) fn is_laid_out_like(&self, other: &Self) -> bool {
        self.layout == other.layout
    }

    /// How many physical devices without taint there are.
    pub(crate) fn physical(&self) -> BTreeMap<Physical, i64> {
        let mut found: BTreeMap<Physical, i64> = BTreeMap::new();
        let mut sets: BTreeMap<usize, Physical> = BTreeMap::new();
        let groups = self.layout.groups.iter();
        for group in groups.filter(|group| group.shape.taints.is_empty() && group.count > 0) {
            let device = of_shape(&group.shape);
            if let Some((counter, _)) = group.uses.first() {
                sets.entry(self.layout.sets[*counter]).or_insert(device);
            } else {
                *found.entry(device).or_default() += group.count;
            }
        }
        for device in sets.into_values() {
            *found.entry(device).or_default() += 1;
        }
        found
    }

    /// What is taken of them, in `PARTS` of a device.
    pub(crate) fn taken_parts(&self) -> BTreeMap<Physical, i64> {
        let mut found: BTreeMap<Physical, i64> = BTreeMap::new();
        for (group, taken) in self.layout.groups.iter().zip(&self.taken) {
            if *taken > 0 {
                *found.entry(of_shape(&group.shape)).or_default() +=
                    group.parts.saturating_mul(*taken);
            }
        }
        found
    }

    /// What one pod with this need takes here, in `PARTS` of a device: of each request the first alternative that the node has, in the
    /// largest devices that meet it: which ones the member's scheduler takes is not known, and a limit has to hold. A claim that several pods have together is nobody's own.
    pub(crate) fn consumed(&self, need: &DeviceNeed) -> BTreeMap<Physical, i64> {
        self.consumed_by(need, None)
    }

    /// The same of what all pods that name a claim have together.
    pub(crate) fn consumed_together(
        &self,
        need: &DeviceNeed,
        claim: &str,
    ) -> BTreeMap<Physical, i64> {
        self.consumed_by(need, Some(claim))
    }

    fn consumed_by(&self, need: &DeviceNeed, shared: Option<&str>) -> BTreeMap<Physical, i64> {
        let mut found: BTreeMap<Physical, i64> = BTreeMap::new();
        let here = need.claims.iter().filter(|claim| {
            let backed = |name: &String| self.backs(name);
            claim.shared.as_deref() == shared && claim.backs.as_ref().is_none_or(backed)
        });
        for request in here.flat_map(|claim| &claim.requests) {
            let Some(all) = choices(self, request) else {
                continue;
            };
            let Some(choice) = all.first() else { continue };
            let groups = || {
                choice
                    .groups
                    .iter()
                    .map(|group| &self.layout.groups[*group])
            };
            let Some(largest) = groups().max_by_key(|group| group.parts) else {
                continue;
            };
            let parts = match choice.count {
                DeviceCount::Exact(count) => largest.parts.saturating_mul(count),
                DeviceCount::All => groups()
                    .map(|group| group.parts.saturating_mul(group.count))
                    .sum(),
            };
            *found.entry(of_shape(&largest.shape)).or_default() += parts;
        }
        found
    }
}

fn of_shape(shape: &DeviceShape) -> Physical {
    let text = |name: &str| attribute(shape, name)?.string.as_deref();
    let product = text("productName").or_else(|| text("model"));
    Physical {
        resource: resource_of_driver(&shape.driver),
        product: product.map(physical_product),
    }
}
