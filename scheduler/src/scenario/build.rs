//! From the file to the model that the live scheduler plans on, through the same calls.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::devices::{
    DeviceAlternative, DeviceClaim, DeviceCount, DeviceRequest, class_resource,
};
use placement_api::kinds::{
    DeviceAttribute, DeviceClassSummary, DeviceGroup, DeviceLayout, DeviceShape, InventoryNode,
    InventoryStatus, NodeClass, NodeDevices, NodeShare, Strategy,
};
use placement_api::names::DEFAULT_QUEUE;
use placement_api::quantity::{Quantity, ResourceList, ResourceVector};
use placement_api::reason::Reason;
use placement_api::resources::{CPU, MEMORY};
use placement_api::selector::{LabelSelector, Labels};

use super::{RunsOn, Scenario, Stage, TargetSpec, WorkloadSpec};
use crate::ask::one_node;
use crate::fleet::{HOSTNAME, PRODUCT_LABELS, Rates, TargetName, WorkloadId};
use crate::plan::{Avoid, Closeness, Current, FailoverRule, PodSetRequest, Request};
use crate::record::Core;

/// The fleet of the file.
pub(super) fn fleet(scenario: &Scenario, core: &mut Core) {
    core.set_levels(scenario.config.levels.clone());
    for target in &scenario.fleet {
        let name = TargetName::from(&target.name);
        core.set_inventory(&name, &inventory(target));
        if target.kinds.is_none() {
            core.serve_everything(&name);
        }
        core.set_target(
            &name,
            target.labels.clone(),
            target.taints.clone(),
            target.state,
            scenario.now_ms - target.lost_for_ms,
        );
        let carbon = target.carbon_intensity.map(Quantity::value);
        let (rates, _) = Rates::read(&target.cost, carbon, &target.data);
        core.set_rates(&name, rates);
    }
    let selectors = scenario
        .workloads
        .iter()
        .flat_map(|workload| &workload.locations);
    core.set_locations(
        selectors
            .map(|labels| (location(labels), selector(labels)))
            .collect(),
    );
}

/// What the planner is asked of each workload that has arrived.
pub(super) fn requests(scenario: &Scenario) -> BTreeMap<WorkloadId, Request> {
    scenario
        .workloads
        .iter()
        .filter(|workload| workload.submitted_ms <= scenario.now_ms)
        .map(|workload| {
            (
                WorkloadId::from(&workload.name),
                request(scenario, workload),
            )
        })
        .collect()
}

/// What the targets of the file report.
pub(super) fn inventories(scenario: &Scenario) -> BTreeMap<TargetName, InventoryStatus> {
    let targets = scenario.fleet.iter();
    targets
        .map(|target| (TargetName::from(&target.name), inventory(target)))
        .collect()
}

fn inventory(target: &TargetSpec) -> InventoryStatus {
    let class = |(index, node): (usize, &super::NodeSpec)| NodeClass {
        id: index.to_string(),
        labels: node.labels.clone(),
        taints: node.taints.clone(),
        allocatable: list(&node.capacity),
    };
    let nodes = target.nodes.iter().enumerate().flat_map(|(index, node)| {
        (0..node.count).map(move |number| InventoryNode {
            name: format!("{}-{number}", node.name),
            class: index.to_string(),
            devices: (!node.devices.is_empty()).then(|| NodeDevices {
                layout: index.to_string(),
                taken: Vec::new(),
            }),
            unusable: (!node.healthy).then(|| "unhealthy".to_owned()),
            ..InventoryNode::default()
        })
    });
    let nodes: Vec<InventoryNode> = nodes.collect();
    let (device_classes, device_shapes, device_layouts) = devices(target);
    InventoryStatus {
        device_classes,
        device_shapes,
        device_layouts,
        classes: target.nodes.iter().enumerate().map(class).collect(),
        nodes,
        served: target.kinds.clone().unwrap_or_default(),
        ..InventoryStatus::default()
    }
}

/// Devices of drivers: a class for each driver, and a layout for each line of nodes.
fn devices(target: &TargetSpec) -> (Vec<DeviceClassSummary>, Vec<DeviceShape>, Vec<DeviceLayout>) {
    let (mut classes, mut shapes, mut layouts) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (index, node) in target.nodes.iter().enumerate() {
        let mut groups = Vec::new();
        for (driver, count) in &node.devices {
            classes.insert(
                driver.clone(),
                DeviceClassSummary {
                    name: driver.clone(),
                    selectors: vec![format!("device.driver == {driver:?}")],
                    extended_resource: None,
                },
            );
            let product = PRODUCT_LABELS
                .iter()
                .find_map(|label| node.labels.get(*label));
            let product = product.map(|product| DeviceAttribute {
                string: Some(product.clone()),
                ..DeviceAttribute::default()
            });
            let shape = format!("{index}/{driver}");
            groups.push(DeviceGroup {
                shape: shape.clone(),
                count: *count,
                ..DeviceGroup::default()
            });
            shapes.push(DeviceShape {
                id: shape,
                driver: driver.clone(),
                attributes: product
                    .map(|product| ("productName".to_owned(), product))
                    .into_iter()
                    .collect(),
                ..DeviceShape::default()
            });
        }
        layouts.push(DeviceLayout {
            id: index.to_string(),
            groups,
            ..DeviceLayout::default()
        });
    }
    (classes.into_values().collect(), shapes, layouts)
}

/// Claims of one pod.
fn claims(namespace: &str, set: &super::PodSpec) -> Vec<DeviceClaim> {
    let request = |(class, count): (&String, &i64)| DeviceRequest {
        name: class.clone(),
        alternatives: vec![DeviceAlternative {
            class: class.clone(),
            count: DeviceCount::Exact(*count),
            ..DeviceAlternative::default()
        }],
    };
    let claim = |claim: &super::ClaimSpec| DeviceClaim {
        shared: claim
            .shared
            .as_ref()
            .map(|name| format!("{namespace}/{name}")),
        requests: claim.devices.iter().map(request).collect(),
        ..DeviceClaim::default()
    };
    set.claims.iter().map(claim).collect()
}

/// Back to quantities. `ResourceVector::to_list` leaves out what is 0, which is right here: an absent resource is none.
fn list(vector: &ResourceVector) -> ResourceList {
    vector
        .iter()
        .map(|(name, amount)| {
            let quantity = match name {
                CPU => Quantity::from_milli(amount),
                MEMORY => Quantity::from_bytes(amount),
                _ => Quantity::from_units(amount),
            };
            (name.to_owned(), quantity)
        })
        .collect()
}

/// Name of the Location that a tier stands for: what it selects.
pub(super) fn location(labels: &Labels) -> String {
    if labels.is_empty() {
        return "any target".to_owned();
    }
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

fn selector(labels: &Labels) -> LabelSelector {
    LabelSelector {
        match_labels: labels.clone(),
        ..LabelSelector::default()
    }
}

fn request(scenario: &Scenario, workload: &WorkloadSpec) -> Request {
    let level = |level: &str| {
        if level == "node" {
            HOSTNAME.to_owned()
        } else {
            level.to_owned()
        }
    };
    let topology = workload
        .topology
        .as_ref()
        .map(|(name, mode, relax)| Closeness {
            level: level(name),
            mode: *mode,
            relax_after_ms: *relax,
        });
    // Pods that have devices together are where these are, as in the live scheduler.
    let mut claims = workload.pods.iter().flat_map(|set| &set.claims);
    let together = claims.any(|claim| claim.shared.is_some());
    let topology = if together { Some(one_node()) } else { topology };
    let strategy = match workload.strategy {
        Strategy::Divide if together => Strategy::Gang,
        other => other,
    };
    let mut spread = workload.spread.clone();
    for rule in &mut spread {
        rule.topology_key = level(&rule.topology_key);
    }
    let current = current(scenario, workload, topology.as_ref());
    Request {
        id: WorkloadId::from(&workload.name),
        kind: workload
            .kind
            .clone()
            .unwrap_or_else(|| "Workload".to_owned()),
        namespace: workload.namespace.clone(),
        name: workload.name.clone(),
        kinds: workload.kind.iter().cloned().collect(),
        pod_sets: workload
            .pods
            .iter()
            .map(|set| pod_set(&workload.namespace, set))
            .collect(),
        strategy,
        gang_per_target: workload.gang_per_target,
        tiers: workload.locations.iter().map(location).collect(),
        tolerations: workload.tolerations.clone(),
        topology,
        spread,
        divide_by: workload.divide_by,
        weights: workload.weights.clone(),
        packing: Some(workload.packing),
        scoring: workload.scoring.clone(),
        data: workload.data.iter().cloned().collect(),
        spares: workload.spares,
        queue: workload.queue.clone().unwrap_or_default(),
        priority: workload.priority,
        submitted_ms: workload.submitted_ms,
        waits_since_ms: workload.submitted_ms,
        failover: FailoverRule {
            mode: workload.failover,
            after_ms: workload.after_ms,
            fencer: true,
        },
        epoch: i64::from(!current.is_empty()),
        current,
        avoid: workload
            .refused
            .iter()
            .map(|(target, message, until_ms)| {
                let avoid = Avoid {
                    until_ms: *until_ms,
                    message: message.clone(),
                };
                (TargetName::from(target), avoid)
            })
            .collect(),
        preemptible: workload.preemptible,
        min_runtime_ms: workload.min_runtime_ms,
        checkpoint_ms: workload.checkpoint_ms,
        runtime_ms: workload.runtime_ms,
        suspended: workload.stage == Stage::Suspended,
        blocked: blocked(scenario, workload),
        ..Request::default()
    }
}

fn pod_set(namespace: &str, set: &super::PodSpec) -> PodSetRequest {
    let claims = claims(namespace, set);
    let mut requests = set.requests.clone();
    let own = claims.iter().filter(|claim| claim.shared.is_none());
    for (class, count) in own.flat_map(DeviceClaim::by_class) {
        let resource = class_resource(class);
        requests.set(&resource, requests.get(&resource).saturating_add(count));
    }
    PodSetRequest {
        name: set.name.clone(),
        count: set.count,
        min_count: set.min_count,
        requests,
        gpu_share_milli: 0,
        claims,
        node_selector: set.selector.clone(),
        affinity: None,
        tolerations: set.tolerations.clone(),
        gateable: true,
    }
}

/// Parts by target, as the planner would have decided them.
fn current(
    scenario: &Scenario,
    workload: &WorkloadSpec,
    topology: Option<&Closeness>,
) -> Vec<Current> {
    let targets: BTreeSet<&str> = workload
        .runs_on
        .iter()
        .map(|part| part.target.as_str())
        .collect();
    let part = |target: &str| {
        let here: Vec<&RunsOn> = workload
            .runs_on
            .iter()
            .filter(|part| part.target == target)
            .collect();
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for part in &here {
            *counts.entry(part.pods.clone()).or_default() += part.count;
        }
        let known = here.iter().all(|part| part.node.is_some());
        let share = |part: &&&RunsOn| NodeShare {
            pod_set: part.pods.clone(),
            name: part.node.clone().unwrap_or_default(),
            pods: part.count,
        };
        let mut nodes: Vec<NodeShare> = here
            .iter()
            .filter(|_| known)
            .filter(|part| part.count > 0)
            .map(|part| share(&part))
            .collect();
        nodes.sort();
        Current {
            target: TargetName::from(target),
            epoch: 1,
            counts,
            domain: domain(scenario, target, &nodes, topology),
            nodes,
            evicting: false,
            started: true,
            healthy: true,
            started_ms: here.iter().map(|part| part.started_ms).min(),
        }
    };
    targets.into_iter().map(part).collect()
}

/// The narrowest domain, not narrower than what was asked, that all these nodes are in.
fn domain(
    scenario: &Scenario,
    target: &str,
    nodes: &[NodeShare],
    topology: Option<&Closeness>,
) -> BTreeMap<String, String> {
    let mut domain = BTreeMap::new();
    let (Some(topology), Some(target)) = (topology, scenario.target(target)) else {
        return domain;
    };
    let labels: BTreeMap<String, &Labels> = target
        .all_nodes()
        .filter(|(name, _)| nodes.iter().any(|node| node.name == *name))
        .map(|(name, node)| (name, &node.labels))
        .collect();
    for key in &scenario.config.levels {
        let mut values: Vec<Option<&String>> =
            labels.values().map(|labels| labels.get(key)).collect();
        values.dedup();
        match values[..] {
            [Some(value)] => domain.insert(key.clone(), value.clone()),
            [None] => None,
            _ => return domain,
        };
        if *key == topology.level {
            return domain;
        }
    }
    if let (HOSTNAME, Some(name), 1) = (topology.level.as_str(), labels.keys().next(), labels.len())
    {
        domain.insert(HOSTNAME.to_owned(), name.clone());
    }
    domain
}

/// A queue that is not there, or that the namespace may not use.
fn blocked(scenario: &Scenario, workload: &WorkloadSpec) -> Option<(Reason, String)> {
    let name = workload.queue.as_deref()?;
    let Some(queue) = scenario.queues.iter().find(|queue| queue.name == name) else {
        if name == DEFAULT_QUEUE {
            return None;
        }
        let known: Vec<&str> = scenario
            .queues
            .iter()
            .map(|queue| queue.name.as_str())
            .collect();
        let known = if known.is_empty() {
            DEFAULT_QUEUE.to_owned()
        } else {
            known.join(", ")
        };
        let message = format!("queue {name:?} does not exist; known queues: {known}");
        return Some((Reason::UnknownQueue, message));
    };
    let allowed = queue
        .namespaces
        .as_ref()
        .is_none_or(|list| list.contains(&workload.namespace));
    (!allowed).then(|| {
        let message = format!(
            "namespace {} may not use queue {name:?}",
            workload.namespace
        );
        (Reason::QueueNotAllowed, message)
    })
}
