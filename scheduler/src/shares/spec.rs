//! What a platform owner says of one queue, as plain data.

use std::collections::BTreeMap;

use placement_api::kinds::QueueOrder;
use placement_api::quantity::ResourceVector;
use serde::{Deserialize, Serialize};

/// One queue. Amounts are in base units (millicores, bytes, devices). `Default` is a queue under the root, weight 1, that
/// lends, without guarantee and without limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueSpec {
    /// Its name, unique in the tree.
    pub name: String,
    /// Name of its parent; empty: the root.
    pub parent: String,
    /// Share of the surplus among siblings; 0 gets what the others leave.
    pub weight: u32,
    /// Orders siblings for the surplus; never touches a guarantee.
    pub priority: i32,
    /// Who is next inside the queue.
    pub order: QueueOrder,
    /// With `Size` or `FinishTime`: running workloads may be stopped for others of equal priority.
    pub time_slicing: bool,
    /// Amounts that are its own, by resource. 0 is said too: it caps what those below are guaranteed; absent is the sum of theirs.
    pub guaranteed: BTreeMap<String, i64>,
    /// Amounts that it never exceeds, by resource. 0 is a limit, absent is none.
    pub limit: BTreeMap<String, i64>,
    /// Finer than the resource.
    pub accelerators: Vec<AcceleratorSpec>,
    /// Whether the unused part of its guarantee is lent.
    pub lend: bool,
    /// Use before now, in resource-hours: breaks ties.
    pub past_use: ResourceVector,
    /// Something in the object could not be read (a quantity, a selector): the queue is unusable for this reason.
    pub unreadable: Option<String>,
}

/// Amounts of one accelerator product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AcceleratorSpec {
    /// Product as the nodes' labels say it.
    pub product: String,
    /// Devices that are its own.
    pub guaranteed: Option<i64>,
    /// Devices that it never exceeds. 0 is a limit.
    pub limit: Option<i64>,
}

impl Default for QueueSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            parent: String::new(),
            weight: 1,
            priority: 0,
            order: QueueOrder::Age,
            time_slicing: false,
            guaranteed: BTreeMap::new(),
            limit: BTreeMap::new(),
            accelerators: Vec::new(),
            lend: true,
            past_use: ResourceVector::new(),
            unreadable: None,
        }
    }
}

impl QueueSpec {
    /// What is wrong with this queue alone, whatever the others are: the field, and the way out.
    pub(super) fn problem(&self) -> Option<String> {
        if let Some(unreadable) = &self.unreadable {
            return Some(unreadable.clone());
        }
        for (field, name, amount) in self.amounts() {
            if amount < 0 {
                return Some(format!(
                    "{field} of {name} is {amount}: amounts are not negative; write 0 or more, or leave it out"
                ));
            }
        }
        let mut products: Vec<&str> = Vec::new();
        for accelerator in &self.accelerators {
            if accelerator.product.is_empty() {
                return Some(
                    "spec.accelerators has an entry without product: name it as the nodes' labels do"
                        .to_owned(),
                );
            }
            if products.contains(&accelerator.product.as_str()) {
                return Some(format!(
                    "spec.accelerators names {} twice: keep one entry for each product",
                    accelerator.product
                ));
            }
            products.push(&accelerator.product);
        }
        None
    }

    fn amounts(&self) -> impl Iterator<Item = (&'static str, &str, i64)> {
        let guaranteed = self
            .guaranteed
            .iter()
            .map(|(name, amount)| ("spec.guaranteed", name.as_str(), *amount));
        let limit = self
            .limit
            .iter()
            .map(|(name, amount)| ("spec.limit", name.as_str(), *amount));
        let finer = self.accelerators.iter().flat_map(|one| {
            let guaranteed = one.guaranteed.map(|amount| {
                (
                    "spec.accelerators[].guaranteed",
                    one.product.as_str(),
                    amount,
                )
            });
            let limit = one
                .limit
                .map(|amount| ("spec.accelerators[].limit", one.product.as_str(), amount));
            guaranteed.into_iter().chain(limit)
        });
        guaranteed.chain(limit).chain(finer)
    }
}
