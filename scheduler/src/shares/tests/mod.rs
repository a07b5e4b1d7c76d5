//! Judges of the division: a second, naive implementation; laws; the arithmetic of the peers; the planner's questions.

mod laws;
mod naive;
mod questions;
mod speed;
mod table;

use std::collections::BTreeMap;

use placement_api::quantity::ResourceVector;

use super::*;

pub(super) const GPU: &str = "nvidia.com/gpu";

/// Full names of the short ones in the tables. 0 is kept.
pub(super) fn named(amounts: &[(&str, i64)]) -> BTreeMap<String, i64> {
    let full = |name: &str| if name == "gpu" { GPU } else { name }.to_owned();
    amounts
        .iter()
        .map(|(name, amount)| (full(name), *amount))
        .collect()
}

/// The same, without zeros.
pub(super) fn vector(amounts: &[(&str, i64)]) -> ResourceVector {
    named(amounts).into()
}

pub(super) fn queue(name: &str) -> QueueSpec {
    QueueSpec {
        name: name.to_owned(),
        ..QueueSpec::default()
    }
}

impl QueueSpec {
    pub(super) fn under(mut self, parent: &str) -> Self {
        self.parent = parent.to_owned();
        self
    }

    pub(super) fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    pub(super) fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    pub(super) fn guaranteed(mut self, amounts: &[(&str, i64)]) -> Self {
        self.guaranteed = named(amounts);
        self
    }

    pub(super) fn limit(mut self, amounts: &[(&str, i64)]) -> Self {
        self.limit = named(amounts);
        self
    }

    pub(super) fn keeps(mut self) -> Self {
        self.lend = false;
        self
    }

    pub(super) fn product(
        mut self,
        product: &str,
        guaranteed: Option<i64>,
        limit: Option<i64>,
    ) -> Self {
        self.accelerators.push(AcceleratorSpec {
            product: product.to_owned(),
            guaranteed,
            limit,
        });
        self
    }
}

/// Shares over such a capacity, with such waiting demands.
pub(super) fn shares(
    specs: Vec<QueueSpec>,
    capacity: &[(&str, i64)],
    demands: &[(&str, &[(&str, i64)])],
) -> Shares {
    let (tree, problems) = QueueTree::new(specs);
    assert!(problems.is_empty(), "{problems:?}");
    let mut shares = Shares::new(tree);
    shares.set_capacity(Capacity {
        resources: vector(capacity),
        products: BTreeMap::new(),
    });
    for (name, amounts) in demands {
        let ask = shares.ask(&vector(amounts), &Devices::default());
        let queue = shares.tree().find(name).expect(name);
        shares.wait(queue, &ask);
    }
    shares.divide();
    shares
}

impl Shares {
    /// Entitlement of a queue in a resource, in thousandths.
    pub(super) fn entitled(&self, name: &str, resource: &str) -> i64 {
        let queue = self.tree().find(name).expect(name);
        let resource = if resource == "gpu" { GPU } else { resource };
        let entitled = self.standings(queue).entitled.resources;
        entitled.get(resource).copied().unwrap_or(0)
    }

    pub(super) fn id(&self, name: &str) -> QueueId {
        self.tree().find(name).expect(name)
    }

    pub(super) fn gpus(&mut self, count: i64) -> Ask {
        self.ask(&vector(&[("gpu", count)]), &Devices::default())
    }

    pub(super) fn gpus_of(&mut self, product: &str, count: i64) -> Ask {
        self.ask(
            &ResourceVector::new(),
            &Devices::whole(&BTreeMap::from([(product.to_owned(), count)])),
        )
    }
}
