//! What the member has and what of it is free: nodes and pods in, `Inventory.status` out.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::api_type::ObjectKey;
use placement_api::devices::{Sharing, share};
use placement_api::kinds::{CountedAssignment, DeviceSummary, InventoryNode, NodeClass, NodeShare};
use placement_api::quantity::ResourceList;
use placement_api::raw::digest_of;
use placement_api::resources::ResourceVector;
use serde_json::json;

use super::gate;
use super::node::Node;
use super::pod::Pod;

/// The computed parts of the inventory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stock {
    /// Classes, by id.
    pub classes: Vec<NodeClass>,
    /// Nodes, by name.
    pub nodes: Vec<InventoryNode>,
    /// Accelerators.
    pub devices: Vec<DeviceSummary>,
}

/// Labels whose values differ from node to node or from rack to rack.
fn is_local(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    matches!(key, "kubernetes.io/hostname" | "nvidia.com/gpu.clique")
        || key.starts_with("topology.")
        || key.starts_with("network.topology.")
        || key.starts_with("failure-domain.")
        || [
            "rack",
            "block",
            "clique",
            "host",
            "hostname",
            "superpod",
            "row",
            "serial",
            "machine-id",
        ]
        .contains(&name)
}

/// A label with more values than this, and more than half as many as there are nodes, is no property of a class.
const CLASS_VALUES: usize = 16;

/// Counts what there is.
pub fn take_stock<'a>(
    nodes: impl Iterator<Item = &'a Node> + Clone,
    pods: impl Iterator<Item = &'a Pod>,
) -> Stock {
    let mut used: BTreeMap<&str, ResourceVector> = BTreeMap::new();
    for pod in pods.filter(|pod| pod.holds_resources()) {
        used.entry(&pod.node).or_default().add(&pod.requests);
    }
    let local = local_labels(nodes.clone());
    let mut classes = BTreeMap::new();
    let mut stock = Stock::default();
    let mut devices = BTreeMap::new();
    for node in nodes {
        let (own, shared): (BTreeMap<_, _>, BTreeMap<_, _>) = node
            .labels
            .clone()
            .into_iter()
            .partition(|(key, _)| local.contains(key.as_str()));
        let id = class_id(&shared, node);
        classes.entry(id.clone()).or_insert_with(|| NodeClass {
            id: id.clone(),
            labels: shared,
            taints: node.taints.clone(),
            allocatable: node.allocatable.clone(),
        });
        let all = ResourceVector::from(&node.allocatable);
        let taken = used.get(node.name.as_str()).cloned().unwrap_or_default();
        let mut free = ResourceVector::new();
        for (name, amount) in all.iter() {
            free.set(name, (amount - taken.get(name)).max(0));
        }
        if node.unusable.is_none() {
            count_devices(&mut devices, node, &all, &free);
        }
        stock.nodes.push(InventoryNode {
            name: node.name.clone(),
            class: id,
            labels: own,
            free: changed(&all, &free),
            unusable: node.unusable.clone(),
            devices: None,
        });
    }
    stock.nodes.sort_by(|a, b| a.name.cmp(&b.name));
    stock.classes = classes.into_values().collect();
    stock.devices = devices
        .into_iter()
        .map(|((resource, product, sharing), sum)| DeviceSummary {
            resource,
            product,
            sharing: sharing.as_str().to_owned(),
            total: sum.total,
            free: sum.free,
            physical: (sharing != Sharing::Whole).then_some(sum.physical),
        })
        .collect();
    stock
}

/// The most places of pods that are reported one by one: about 200 KiB.
const MOST_PLACES: usize = 4_096;

/// An assignment, for [`counted`].
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// Epoch of the Assignment.
    pub epoch: i64,
    /// Pods per role that its templates make; `None`: its kind has none.
    pub pods: Option<i64>,
    /// The root has ended.
    pub finished: bool,
    /// The root says that it is healthy.
    pub healthy: bool,
    /// Nodes that the order names; empty: none.
    pub nodes: &'a [NodeShare],
}

/// The assignments with pods that the free amounts include, by name.
///
/// An epoch is counted when all its pods are there and bound, or the work has ended. Where the order names nodes, a
/// pod elsewhere is none of them: after a hot swap the new node's room is assumed to be used until its pod is there, though the lost
/// pod may still be listed. Pods that cannot be told (kinds without a template) are taken to be there when the root says that it is
/// healthy. Where the order names no nodes the report says where the pods are, so that the hub knows what room they would give.
pub fn counted<'a>(
    assignments: impl Iterator<Item = (&'a str, Option<Expected<'a>>)>,
    pods_of: impl Fn(&str) -> Vec<&'a Pod>,
    is_allocated: impl Fn(&ObjectKey) -> bool,
) -> Vec<CountedAssignment> {
    let mut all = Vec::new();
    for (name, expected) in assignments {
        let pods = pods_of(name);
        let is_counted = |expected: &Expected<'_>| {
            expected.finished
                || expected.pods.map_or(expected.healthy, |count| {
                    settled(&pods, expected.nodes, &is_allocated) >= count
                })
        };
        let names_nodes = expected.as_ref().is_some_and(|one| !one.nodes.is_empty());
        let one = CountedAssignment {
            name: name.to_owned(),
            epoch: expected.filter(is_counted).map_or(0, |one| one.epoch),
            nodes: if names_nodes {
                Vec::new()
            } else {
                places(&pods)
            },
        };
        if one.epoch > 0 || !one.nodes.is_empty() {
            all.push(one);
        }
    }
    all.sort();
    let mut shares = 0;
    for one in &mut all {
        shares += one.nodes.len();
        if shares > MOST_PLACES {
            one.nodes.clear();
        }
    }
    all.retain(|one| one.epoch > 0 || !one.nodes.is_empty());
    all
}

/// Where pods hold room, those that are being deleted included.
fn places(pods: &[&Pod]) -> Vec<NodeShare> {
    let mut places: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod.holds_resources()) {
        *places.entry((&pod.node, &pod.pod_set)).or_default() += 1;
    }
    places
        .into_iter()
        .map(|((node, pod_set), pods)| NodeShare {
            name: node.to_owned(),
            pod_set: pod_set.to_owned(),
            pods,
        })
        .collect()
}

/// Pods that are bound where they should be, or have ended.
fn settled(pods: &[&Pod], nodes: &[NodeShare], is_allocated: &impl Fn(&ObjectKey) -> bool) -> i64 {
    let mut places = gate::places(nodes);
    let mut count = 0;
    for pod in pods.iter().filter(|pod| !pod.deleting) {
        // What its claims hold has to be seen as well; they come by another watch.
        let bound = pod.holds_resources()
            && pod.claims.iter().all(is_allocated)
            && (nodes.is_empty()
                || places
                    .get_mut(&(pod.pod_set.as_str(), pod.node.as_str()))
                    .is_some_and(|left| {
                        *left -= 1;
                        *left >= 0
                    }));
        count += i64::from(bound || pod.has_ended());
    }
    count
}

fn local_labels<'a>(nodes: impl Iterator<Item = &'a Node> + Clone) -> BTreeSet<&'a str> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut count = 0;
    for node in nodes {
        count += 1;
        for (key, value) in &node.labels {
            values.entry(key).or_default().insert(value);
        }
    }
    values
        .into_iter()
        .filter(|(key, values)| {
            is_local(key) || (values.len() > CLASS_VALUES && values.len() * 2 > count)
        })
        .map(|(key, _)| key)
        .collect()
}

fn class_id(labels: &BTreeMap<String, String>, node: &Node) -> String {
    let mut id = digest_of(&json!([labels, node.taints, node.allocatable]));
    id.truncate(10);
    id
}

/// Amounts that are not wholly free.
fn changed(all: &ResourceVector, free: &ResourceVector) -> ResourceList {
    let mut out = ResourceVector::new();
    let mut zero = Vec::new();
    for (name, amount) in all.iter() {
        let left = free.get(name);
        if left == 0 {
            zero.push(name.to_owned());
        } else if left != amount {
            out.set(name, left);
        }
    }
    let mut list = out.to_list();
    // A vector has no zeros; here a missing name would mean "wholly free".
    list.extend(
        zero.into_iter()
            .map(|name| (name, placement_api::quantity::Quantity::ZERO)),
    );
    list
}

/// Extended resources are devices, but for those that Kubernetes itself counts.
fn is_device(resource: &str) -> bool {
    resource.contains('/')
        && !resource.starts_with("hugepages-")
        && !resource.starts_with("attachable-volumes-")
        && !resource.starts_with("kubernetes.io/")
}

/// Devices of one resource, product and sharing.
#[derive(Default)]
struct Sum {
    total: i64,
    free: i64,
    physical: i64,
}

fn count_devices(
    devices: &mut BTreeMap<(String, String, Sharing), Sum>,
    node: &Node,
    all: &ResourceVector,
    free: &ResourceVector,
) {
    for (resource, total) in all
        .iter()
        .filter(|(resource, total)| is_device(resource) && *total > 0)
    {
        let vendor = resource.split('/').next().unwrap_or_default();
        let product = node.labels.get(&format!("{vendor}/gpu.product"));
        let share = share(resource, &node.labels);
        let key = (
            resource.to_owned(),
            product.cloned().unwrap_or_default(),
            share.sharing,
        );
        let sum = devices.entry(key).or_default();
        sum.total += total;
        sum.free += free.get(resource);
        // Nodes do not share a device: each rounds up by itself.
        sum.physical += share.physical(total);
    }
}

#[cfg(test)]
mod tests {
    use placement_api::quantity::Quantity;

    use super::*;

    fn node(name: &str, rack: &str, gpus: &str) -> Node {
        let labels = [
            ("kubernetes.io/hostname", name),
            ("topology.kubernetes.io/rack", rack),
            ("nvidia.com/gpu.product", "H100"),
            ("pool", "gpu"),
        ];
        let amounts = [("cpu", "8"), ("pods", "110"), ("nvidia.com/gpu", gpus)];
        Node {
            name: name.into(),
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
            allocatable: amounts
                .iter()
                .map(|(k, v)| ((*k).into(), Quantity::parse(v).unwrap()))
                .collect(),
            ..Node::default()
        }
    }

    fn pod(node: &str, phase: &str, gpus: i64) -> Pod {
        let mut requests = ResourceVector::new();
        requests.set("cpu", 500);
        requests.set("pods", 1);
        requests.set("nvidia.com/gpu", gpus);
        Pod {
            node: node.into(),
            phase: phase.into(),
            requests,
            ..Pod::default()
        }
    }

    #[test]
    fn classes_free_amounts_and_devices() {
        let mut nodes = [
            node("n2", "r1", "8"),
            node("n1", "r1", "8"),
            node("n3", "r2", "8"),
            node("n4", "r2", "4"),
        ];
        nodes[2].unusable = Some("Cordoned".into());
        let pods = [
            pod("n1", "Running", 8),
            pod("n2", "Running", 2),
            pod("n2", "Succeeded", 6),
            pod("", "Pending", 8),
        ];
        let stock = take_stock(nodes.iter(), pods.iter());
        assert_eq!(
            stock.classes.len(),
            2,
            "the four GPUs make a class of their own"
        );
        assert_eq!(
            stock
                .nodes
                .iter()
                .map(|n| n.name.as_str())
                .collect::<Vec<_>>(),
            ["n1", "n2", "n3", "n4"]
        );
        let free = |i: usize, name: &str| stock.nodes[i].free.get(name).map(ToString::to_string);
        assert_eq!(
            free(0, "nvidia.com/gpu").as_deref(),
            Some("0"),
            "none left is not the same as all left"
        );
        assert_eq!(free(0, "cpu").as_deref(), Some("7500m"));
        assert_eq!(free(1, "nvidia.com/gpu").as_deref(), Some("6"));
        assert!(stock.nodes[3].free.is_empty(), "wholly free");
        assert_eq!(stock.nodes[2].labels["topology.kubernetes.io/rack"], "r2");
        assert!(
            !stock.classes[0]
                .labels
                .contains_key("kubernetes.io/hostname")
        );
        assert_eq!(stock.classes[0].labels["pool"], "gpu");
        let gpu = &stock.devices[0];
        assert_eq!(
            (
                gpu.product.as_str(),
                gpu.sharing.as_str(),
                gpu.total,
                gpu.free
            ),
            ("H100", "Whole", 20, 10)
        );
        assert_eq!(
            take_stock(nodes.iter().rev(), pods.iter()),
            stock,
            "order does not matter"
        );
    }

    #[test]
    fn labels_with_a_value_per_node_belong_to_the_node() {
        let nodes: Vec<Node> = (0..40)
            .map(|i| {
                let mut node = node(&format!("n{i}"), "r1", "8");
                node.labels.insert("vendor/asset-tag".into(), i.to_string());
                node
            })
            .collect();
        let stock = take_stock(nodes.iter(), std::iter::empty());
        assert_eq!(stock.classes.len(), 1);
        assert_eq!(stock.nodes[0].labels["vendor/asset-tag"], "0");
    }

    fn once(expected: Expected<'_>) -> impl Iterator<Item = (&str, Option<Expected<'_>>)> {
        std::iter::once(("a", Some(expected)))
    }

    fn is_whole(counted: &[CountedAssignment]) -> bool {
        counted.iter().any(|one| one.epoch > 0)
    }

    #[test]
    fn where_the_pods_are_is_said_of_those_whose_nodes_nobody_decided() {
        let mut leaving = pod("n1", "Running", 1);
        leaving.deleting = true;
        let pods = [
            pod("n2", "Running", 1),
            leaving,
            pod("n2", "Pending", 1),
            pod("n3", "Succeeded", 1),
            pod("", "Pending", 1),
        ];
        let nodes = [NodeShare {
            name: "n2".into(),
            pods: 2,
            ..NodeShare::default()
        }];
        let expected = |nodes| Expected {
            epoch: 3,
            pods: Some(3),
            finished: false,
            healthy: false,
            nodes,
        };
        let whereabouts = |assignment| {
            let all = counted(
                std::iter::once(("a", assignment)),
                |_| pods.iter().collect(),
                |_| true,
            );
            let there = all.into_iter().flat_map(|one| one.nodes);
            let pairs: Vec<(String, i64)> = there.map(|one| (one.name, one.pods)).collect();
            pairs
        };
        let there = vec![("n1".to_owned(), 1), ("n2".to_owned(), 2)];
        assert_eq!(whereabouts(Some(expected(&[]))), there);
        assert_eq!(whereabouts(None), there, "it is leaving");
        assert_eq!(whereabouts(Some(expected(&nodes))), []);
    }

    #[test]
    fn counted_when_bound_or_ended() {
        let pods = [
            pod("n1", "Running", 1),
            pod("", "Pending", 1),
            pod("n1", "Succeeded", 1),
        ];
        let expected = |count: Option<i64>, finished, healthy| Expected {
            epoch: 3,
            pods: count,
            finished,
            healthy,
            nodes: &[],
        };
        let cases = [
            (expected(Some(2), false, false), vec![0, 1], false),
            (expected(Some(2), false, false), vec![0, 2], true),
            (expected(Some(3), false, true), vec![0, 2], false),
            (expected(Some(3), true, false), vec![], true),
            (expected(Some(0), false, false), vec![], true),
            (expected(None, false, false), vec![], false),
            (expected(None, false, true), vec![], true),
        ];
        for (case, which, is_counted) in cases {
            let got = counted(
                once(case.clone()),
                |_| which.iter().map(|i| &pods[*i]).collect(),
                |_| false,
            );
            assert_eq!(is_whole(&got), is_counted, "{case:?}");
        }
    }

    #[test]
    fn a_pod_on_a_node_that_was_swapped_counts_for_nothing() {
        let share = |name: &str, pods| NodeShare {
            name: name.into(),
            pods,
            ..NodeShare::default()
        };
        let pods = [
            pod("n1", "Running", 1),
            pod("n1", "Running", 1),
            pod("n2", "Running", 1),
            pod("n1", "Succeeded", 1),
        ];
        for (nodes, which, is_counted) in [
            (vec![share("n1", 1), share("n2", 1)], vec![0, 2], true),
            (vec![share("n1", 1), share("n3", 1)], vec![0, 2], false),
            (vec![share("n1", 1), share("n3", 1)], vec![0, 3], true),
            (vec![share("n1", 1), share("n2", 1)], vec![0, 1], false),
            (vec![share("n1", 2)], vec![0, 1], true),
        ] {
            let expected = Expected {
                epoch: 3,
                pods: Some(2),
                finished: false,
                healthy: false,
                nodes: &nodes,
            };
            let got = counted(
                once(expected),
                |_| which.iter().map(|i| &pods[*i]).collect(),
                |_| false,
            );
            assert_eq!(is_whole(&got), is_counted, "{nodes:?} {which:?}");
        }
    }

    #[test]
    fn counted_when_the_claims_are_seen_too() {
        let mut one = pod("n1", "Running", 0);
        one.claims = vec![ObjectKey::new("n", "gpu-x")];
        let expected = Expected {
            epoch: 1,
            pods: Some(1),
            finished: false,
            healthy: true,
            nodes: &[],
        };
        for allocated in [false, true] {
            let got = counted(once(expected.clone()), |_| vec![&one], |_| allocated);
            assert_eq!(is_whole(&got), allocated);
        }
    }

    #[test]
    fn shares_of_a_device_say_how_many_there_are() {
        let mut shared = node("n1", "r1", "8");
        shared
            .labels
            .insert("nvidia.com/gpu.replicas".into(), "4".into());
        shared.labels.insert(
            "nvidia.com/gpu.sharing-strategy".into(),
            "time-slicing".into(),
        );
        let mut mixed = node("n2", "r1", "0");
        mixed
            .allocatable
            .insert("nvidia.com/mig-1g.10gb".into(), Quantity::from_units(14));
        let stock = take_stock(
            [shared, mixed, node("n3", "r1", "2")].iter(),
            std::iter::empty(),
        );
        let found: Vec<(&str, i64, Option<i64>)> = stock
            .devices
            .iter()
            .map(|d| (d.sharing.as_str(), d.total, d.physical))
            .collect();
        assert_eq!(
            found,
            [
                ("Whole", 2, None),
                ("TimeSliced", 8, Some(2)),
                ("MIG", 14, Some(2))
            ]
        );
    }
}
