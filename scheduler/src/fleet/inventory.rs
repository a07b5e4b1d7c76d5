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
        let mut event = changes(&before, &target.nodes, &self.resources, name);
        if same_kinds && event.targets.is_empty() && !before.is_empty() {
            // The same nodes: mostly few of them stand otherwise than before.
            let pairs = before.iter().zip(&target.nodes).enumerate();
            for (position, _) in pairs.filter(|(_, (old, new))| !stands_like(old, new)) {
                self.index.touch(name, Some(position));
            }
        } else {
            self.index.touch(name, None);
        }
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

/// Whether a node stands as it did, its shape apart.
fn stands_like(old: &Node, new: &Node) -> bool {
    old.free == new.free && old.open == new.open
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
            || old.host != node.host
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
        if node.free.knows_more(&old.free) {
            let devices = node.allocatable.positive();
            let names = devices.map(|number| resources.name(number).to_owned());
            freed.extend(names);
        }
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
    let mut labels = BTreeSet::new();
    let mut nodes: Vec<Node> = status
        .nodes
        .iter()
        .map(|reported| {
            let class = classes.get(reported.class.as_str()).unwrap_or(&empty);
            let mut node = class.node(reported, resources, &mut labels);
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
    labels: Arc<Labels>,
    /// What the label says, for all of its nodes.
    host: Option<NodeName>,
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
        let mut labels = class.labels.clone();
        let host = labels.remove(HOSTNAME);
        Self {
            labels: Arc::new(labels),
            host: host.map(NodeName::from),
            taints: class.taints.clone().into(),
            allocatable,
        }
    }

    /// One of its nodes; `known` are the labels of those before it.
    fn node(
        &self,
        node: &InventoryNode,
        resources: &mut Resources,
        known: &mut BTreeSet<Arc<Labels>>,
    ) -> Node {
        let name = NodeName::from(&node.name);
        let host = match node.labels.get(HOSTNAME) {
            Some(host) if *host != node.name => Some(NodeName::from(host)),
            Some(_) => None,
            None => self.host.clone(),
        };
        let mut reported = self.allocatable.clone();
        for (name, quantity) in &node.free {
            reported.set(
                resources.number(name),
                ResourceVector::base_units(name, *quantity),
            );
        }
        Node {
            labels: self.labels_of(node, known),
            taints: self.taints.clone(),
            allocatable: self.allocatable.clone(),
            free: reported.clone(),
            unusable: node.unusable.clone(),
            host: Some(host.unwrap_or_else(|| name.clone())),
            name,
            reported,
            ..Node::default()
        }
    }

    /// The labels of a node, shared with those of `known` that have the same.
    fn labels_of(&self, node: &InventoryNode, known: &mut BTreeSet<Arc<Labels>>) -> Arc<Labels> {
        let own = || node.labels.iter().filter(|(key, _)| *key != HOSTNAME);
        if own().next().is_none() {
            return Arc::clone(&self.labels);
        }
        let mut labels = Labels::clone(&self.labels);
        labels.extend(own().map(|(key, value)| (key.clone(), value.clone())));
        if let Some(same) = known.get(&labels) {
            return Arc::clone(same);
        }
        let labels = Arc::new(labels);
        known.insert(Arc::clone(&labels));
        labels
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

#[cfg(test)]
mod tests {
    use placement_api::quantity::{Quantity, ResourceList};

    use super::*;

    #[test]
    fn nodes_that_differ_in_their_host_name_alone_share_their_labels() {
        let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        let node = |name: &str, labels: Labels| InventoryNode {
            name: name.to_owned(),
            class: "c".to_owned(),
            labels,
            ..InventoryNode::default()
        };
        let status = InventoryStatus {
            classes: vec![NodeClass {
                id: "c".to_owned(),
                labels: label("model", "a100"),
                ..NodeClass::default()
            }],
            nodes: vec![
                node("n1", Labels::new()),
                node("n2", label(HOSTNAME, "other")),
                node("n3", label("rack", "r1")),
                node("n4", label("rack", "r1")),
                node("n5", label("model", "h100")),
            ],
            ..InventoryStatus::default()
        };
        let nodes = nodes(&status, &mut Resources::default(), &mut Catalog::default());
        let shared = |a: usize, b: usize| Arc::ptr_eq(&nodes[a].labels, &nodes[b].labels);
        assert!(shared(0, 1) && shared(2, 3) && !shared(0, 2));
        let said = |key| nodes.iter().map(|node| node.label(key)).collect::<Vec<_>>();
        assert_eq!(
            said(HOSTNAME),
            ["n1", "other", "n3", "n4", "n5"].map(Some),
            "one's own, else the name"
        );
        assert_eq!(
            said("model"),
            ["a100", "a100", "a100", "a100", "h100"].map(Some)
        );
        assert_eq!(said("rack"), [None, None, Some("r1"), Some("r1"), None]);
    }

    #[test]
    fn of_a_report_only_nodes_that_stand_otherwise_are_looked_at_again() {
        let amount = |gpus: i64| -> ResourceList {
            [("nvidia.com/gpu".to_owned(), Quantity::from_units(gpus))].into()
        };
        let report = |free: &[i64]| InventoryStatus {
            classes: vec![NodeClass {
                id: "c".to_owned(),
                allocatable: amount(8),
                ..NodeClass::default()
            }],
            nodes: free
                .iter()
                .enumerate()
                .map(|(number, gpus)| InventoryNode {
                    name: format!("n{number}"),
                    class: "c".to_owned(),
                    free: amount(*gpus),
                    ..InventoryNode::default()
                })
                .collect(),
            ..InventoryStatus::default()
        };
        let name = TargetName::from("t");
        let mut fleet = Fleet::new();
        // Free GPUs by node; how many nodes are looked at again, or nothing: all.
        for (free, again) in [
            (&[8, 8, 8][..], None),
            (&[8, 8, 8], Some(0)),
            (&[8, 5, 8], Some(1)),
            (&[6, 8, 8], Some(2)),
            (&[6, 8, 8, 8], None),
            (&[6, 8, 8, 8], Some(0)),
        ] {
            let read = fleet.index().changes_end();
            fleet.set_inventory(&name, &report(free));
            let changes = fleet.index().changes_since(read).expect("not long ago");
            let nodes = changes.iter().filter(|one| one.node.is_some()).count();
            assert_eq!((nodes == changes.len()).then_some(nodes), again, "{free:?}");
        }
    }
}
