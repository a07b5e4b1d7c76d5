//! What an agent reports becomes nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use placement_api::kinds::{InventoryNode, InventoryStatus, NodeClass, NodeShare};
use placement_api::quantity::ResourceVector;
use placement_api::resources::PODS;
use placement_api::selector::Labels;

use super::amounts::POD_SLOTS;
use super::devices::{Catalog, Report};
use super::topology::domains;
use super::{
    Amounts, Event, Fleet, HOSTNAME, Node, NodeName, Resources, Share, Target, TargetName,
    UNLIMITED, WorkloadId,
};

impl Fleet {
    /// Takes in what an agent reports. Decisions that the report counts are no longer taken off; the others still are.
    pub fn set_inventory(&mut self, name: &TargetName, status: &InventoryStatus) -> Event {
        let target = self.targets.entry(name.clone()).or_default();
        let before = std::mem::take(&mut target.nodes);
        let served: BTreeSet<String> = status.served.iter().cloned().collect();
        let same_kinds = target.served.as_ref() == Some(&served);
        target.served = Some(served);
        let known = self.devices.size();
        target.nodes = nodes(status, &mut self.resources, &mut self.devices);
        if self.devices.size() != known {
            // Which devices meet a need was found before there were these.
            target.renew(&mut self.devices);
        }
        target.counted = status
            .counted
            .iter()
            .filter(|one| one.epoch > 0)
            .map(|one| (WorkloadId::from(&one.name), one.epoch))
            .collect();
        target.seen = status
            .counted
            .iter()
            .filter(|one| !one.nodes.is_empty())
            .map(|one| (WorkloadId::from(&one.name), one.nodes.clone()))
            .collect();
        target.domains = domains(&self.levels, &target.nodes);
        target.recount();
        target.spread_trouble();
        self.index.touch(name, None);
        let mut event = changes(&before, &target.nodes, &self.resources, name);
        if target.state != super::TargetState::Ready || event.targets.contains(name) {
            self.shape += 1;
        }
        if !same_kinds {
            event.merge(Event::target(name));
        }
        self.note_failures(name, &before);
        event
    }

    /// The same for a fleet that is described (simulation): all kinds are served.
    pub fn serve_everything(&mut self, name: &TargetName) {
        if let Some(target) = self.targets.get_mut(name) {
            target.served = None;
            self.index.touch(name, None);
        }
    }
}

/// What is more than before: free room by resource, or another shape of the nodes.
fn changes(before: &[Node], after: &[Node], resources: &Resources, name: &TargetName) -> Event {
    let old: BTreeMap<&NodeName, &Node> = before.iter().map(|node| (&node.name, node)).collect();
    let mut freed = BTreeSet::new();
    for node in after {
        let Some(old) = old.get(&node.name) else {
            return Event::target(name);
        };
        let reshaped = old.labels != node.labels
            || old.taints != node.taints
            || old.allocatable != node.allocatable;
        if reshaped || old.unusable != node.unusable {
            return Event::target(name);
        }
        freed.extend(
            node.free
                .above(&old.free)
                .map(|number| resources.name(number).to_owned()),
        );
    }
    if after.len() < before.len() {
        return Event::target(name);
    }
    Event::freed(freed)
}

fn nodes(status: &InventoryStatus, resources: &mut Resources, catalog: &mut Catalog) -> Vec<Node> {
    let report = Report::new(status, catalog);
    let classes: BTreeMap<&str, Class> = status
        .classes
        .iter()
        .map(|class| (class.id.as_str(), Class::new(class, resources)))
        .collect();
    let empty = Class::new(&NodeClass::default(), resources);
    let mut nodes: Vec<Node> = status
        .nodes
        .iter()
        .map(|reported| {
            let class = classes.get(reported.class.as_str()).unwrap_or(&empty);
            let mut node = class.node(reported, resources);
            add_devices(&mut node, reported, &report, resources, catalog);
            node
        })
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes.dedup_by(|a, b| a.name == b.name);
    nodes
}

/// The devices of drivers, as they are and as plain amounts.
fn add_devices(
    node: &mut Node,
    reported: &InventoryNode,
    report: &Report,
    resources: &mut Resources,
    catalog: &mut Catalog,
) {
    let numbers: Vec<usize> = node.allocatable.positive().collect();
    let has = |name: &str| numbers.iter().any(|number| resources.name(*number) == name);
    let Some(devices) = report.node(reported.devices.as_ref(), has) else {
        return;
    };
    let mut extended = BTreeSet::new();
    for amount in report.amounts(&devices, catalog) {
        let number = resources.number(&amount.resource);
        let more = extended.contains(&number);
        let add = |had: i64, new: i64| if more { had + new } else { new };
        let all = add(node.allocatable.get(number), amount.all);
        let free = add(node.reported.get(number), amount.free);
        node.allocatable.set(number, all);
        node.reported.set(number, free);
        if amount.extended {
            extended.insert(number);
        }
    }
    node.allocatable.set_devices(devices.empty());
    node.reported.set_devices(devices);
    node.free = node.reported.clone();
}

struct Class {
    labels: Labels,
    taints: Arc<[placement_api::toleration::Taint]>,
    allocatable: Amounts,
}

impl Class {
    fn new(class: &NodeClass, resources: &mut Resources) -> Self {
        let vector = ResourceVector::from(&class.allocatable);
        let mut allocatable = resources.amounts(&vector);
        if !class.allocatable.contains_key(PODS) {
            allocatable.set(POD_SLOTS, UNLIMITED);
        }
        Self {
            labels: class.labels.clone(),
            taints: class.taints.clone().into(),
            allocatable,
        }
    }

    fn node(&self, node: &InventoryNode, resources: &mut Resources) -> Node {
        let mut labels = self.labels.clone();
        labels.extend(node.labels.clone());
        labels
            .entry(HOSTNAME.to_owned())
            .or_insert_with(|| node.name.clone());
        let mut reported = self.allocatable.clone();
        for (name, quantity) in &node.free {
            reported.set(
                resources.number(name),
                ResourceVector::base_units(name, *quantity),
            );
        }
        Node {
            labels: Arc::new(labels),
            taints: self.taints.clone(),
            allocatable: self.allocatable.clone(),
            free: reported.clone(),
            unusable: node.unusable.clone(),
            name: NodeName::from(&node.name),
            reported,
            ..Node::default()
        }
    }
}

impl Target {
    /// Looks again which devices meet the needs of what is reserved here.
    fn renew(&mut self, catalog: &mut Catalog) {
        for hold in self.holds.values_mut() {
            let shares = hold.assumed.iter_mut().chain(&mut hold.claimed);
            for share in shares.chain(&mut hold.passed_on) {
                if let Some(need) = share.demand.devices() {
                    let need = Arc::new(need.renewed(catalog));
                    let demand = (*share.demand).clone().with_devices(Some(need));
                    share.demand = Arc::new(demand);
                }
            }
        }
    }

    /// Drops what the report counts, then takes the rest off the nodes.
    pub(super) fn recount(&mut self) {
        for (id, hold) in &mut self.holds {
            if self
                .counted
                .get(id)
                .is_some_and(|epoch| *epoch >= hold.epoch)
            {
                hold.assumed.clear();
            }
            if hold.claimed.is_empty() && hold.assumed.is_empty() {
                // What the report does not see any more it does not count as used either.
                let seen = self.seen.get(id).map_or(&[][..], Vec::as_slice);
                still_seen(&mut hold.passed_on, seen);
            }
        }
        for node in &mut self.nodes {
            node.assumed = Amounts::default();
            node.claimed = Amounts::default();
            node.open.clear();
            node.passed_on = Amounts::default();
        }
        let holds = std::mem::take(&mut self.holds);
        for hold in holds.values() {
            self.take(hold, 1);
        }
        self.holds = holds;
        self.nodes.iter_mut().for_each(Node::settle);
    }
}

/// Cuts what was passed on to the pods that are there still.
fn still_seen(passed_on: &mut Vec<Share>, seen: &[NodeShare]) {
    for share in passed_on.iter_mut() {
        let there = seen.iter().filter(|one| {
            *one.name == *share.node.as_str()
                && (one.pod_set.is_empty() || *one.pod_set == *share.pod_set)
        });
        share.pods = share.pods.min(there.map(|one| one.pods).sum());
    }
    passed_on.retain(|share| share.pods > 0);
}
