//! What an agent reports becomes nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use placement_api::kinds::{InventoryNode, InventoryStatus, NodeClass};
use placement_api::quantity::ResourceVector;
use placement_api::resources::PODS;
use placement_api::selector::Labels;

use super::amounts::POD_SLOTS;
use super::topology::domains;
use super::{
    Amounts, Event, Fleet, HOSTNAME, Node, NodeName, Resources, Target, TargetName, UNLIMITED,
    WorkloadId,
};

impl Fleet {
    /// Takes in what an agent reports. Decisions that the report counts are no longer taken off; the others still are.
    pub fn set_inventory(&mut self, name: &TargetName, status: &InventoryStatus) -> Event {
        let target = self.targets.entry(name.clone()).or_default();
        let before = std::mem::take(&mut target.nodes);
        let served: BTreeSet<String> = status.served.iter().cloned().collect();
        let same_kinds = target.served.as_ref() == Some(&served);
        target.served = Some(served);
        target.nodes = nodes(status, &mut self.resources);
        target.counted = status
            .counted
            .iter()
            .map(|one| (WorkloadId::from(&one.name), one.epoch))
            .collect();
        target.domains = domains(&self.levels, &target.nodes);
        target.recount();
        self.index.touch(name, None);
        let mut event = changes(&before, &target.nodes, &self.resources, name);
        if !same_kinds {
            event.merge(Event::target(name));
        }
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

fn nodes(status: &InventoryStatus, resources: &mut Resources) -> Vec<Node> {
    let classes: BTreeMap<&str, Class> = status
        .classes
        .iter()
        .map(|class| (class.id.as_str(), Class::new(class, resources)))
        .collect();
    let empty = Class::new(&NodeClass::default(), resources);
    let mut nodes: Vec<Node> = status
        .nodes
        .iter()
        .map(|node| {
            classes
                .get(node.class.as_str())
                .unwrap_or(&empty)
                .node(node, resources)
        })
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes.dedup_by(|a, b| a.name == b.name);
    nodes
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
