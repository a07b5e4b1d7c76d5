//! The one place where scenarios call the planner.

use std::collections::BTreeMap;

use placement_api::quantity::{Quantity, ResourceVector};
use placement_api::resources::CPU;

use super::outcome::QueueShare;
use super::{Scenario, words};
use crate::fleet::WorkloadId;
use crate::plan::{Planner, Policy};
use crate::record::Core;
use crate::shares::{AcceleratorSpec, Named, QueueSpec};

/// Sets the planner up as the file says.
pub(super) fn planner(scenario: &Scenario, core: &mut Core) {
    let config = &scenario.config;
    core.set_policy(Policy {
        throughput: config
            .throughput
            .iter()
            .map(|(product, times)| (product.clone(), times.milli_value()))
            .collect(),
        half_life_ms: config.fairness_half_life_ms,
        age_limit_ms: config.age_limit_ms,
        moves_per_hour: u32::try_from(config.defragment).unwrap_or(u32::MAX),
    });
    core.set_queues(queues(scenario));
}

/// The queues of the file.
pub(super) fn queues(scenario: &Scenario) -> Vec<QueueSpec> {
    scenario.queues.iter().map(queue).collect()
}

/// When a workload that waits is promised to start.
pub(super) fn expected_ms(planner: &Planner, id: &WorkloadId) -> Option<i64> {
    planner.promised_ms(id)
}

/// How the queues of the file stand after a cycle.
pub(super) fn shares(scenario: &Scenario, planner: &Planner) -> BTreeMap<String, QueueShare> {
    let shares = planner.shares();
    let mut found = BTreeMap::new();
    for queue in &scenario.queues {
        let Ok(id) = shares.tree().find(&queue.name) else {
            continue;
        };
        let standing = shares.standings(id);
        let share = QueueShare {
            entitled: amounts(&standing.entitled),
            used: amounts(&standing.used),
            dominant_share: standing.dominant_share as f64 / 1e6,
        };
        found.insert(queue.name.clone(), share);
    }
    found
}

fn queue(queue: &super::QueueSpec) -> QueueSpec {
    let whole = |(name, amount): (&String, &Quantity)| {
        (name.clone(), ResourceVector::base_units(name, *amount))
    };
    QueueSpec {
        name: queue.name.clone(),
        parent: queue.parent.clone().unwrap_or_default(),
        weight: queue.weight,
        priority: queue.priority,
        order: queue.order,
        time_slicing: queue.time_slicing,
        guaranteed: queue.guaranteed.clone(),
        limit: queue.limit.clone(),
        accelerators: queue
            .accelerators
            .iter()
            .map(|(product, guaranteed, limit)| AcceleratorSpec {
                product: product.clone(),
                guaranteed: *guaranteed,
                limit: *limit,
            })
            .collect(),
        lend: queue.lend,
        past_use: queue.past_use.iter().map(whole).collect(),
        unreadable: None,
    }
}

/// As scenario files write them: devices, CPUs, bytes. Figures for people; they decide nothing.
fn amounts(named: &Named) -> BTreeMap<String, f64> {
    let whole = |name: &str, thousandths: i64| {
        let base = thousandths as f64 / 1000.0;
        if name == CPU { base / 1000.0 } else { base }
    };
    named
        .resources
        .iter()
        .map(|(name, amount)| (words::short(name).to_owned(), whole(name, *amount)))
        .collect()
}
