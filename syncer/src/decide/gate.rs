//! Which gated pod gets which node.
//!
//! The hub decides nodes for a number of pods per role; pods come and go. A pod that the hub's numbers have no more room for (the
//! surge of a rolling update) is released into the domain without a node. A pod whose place is on a node that takes nothing now stays
//! gated: the hub swaps the node, or it comes back (docs/decisions/0007-hot-swap.md).

use std::collections::BTreeMap;

use placement_api::kinds::NodeShare;
use placement_api::names::{GATE, NODE_ANNOTATION};
use placement_api::toleration::{TaintEffect, tolerates};
use serde_json::{Map, Value, json};

use super::node::Node;
use super::pod::Pod;

/// Label that names a node, on every node.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// A gated pod and where it may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Index into the pods that were given.
    pub pod: usize,
    /// The node; `None`: anywhere in the domain.
    pub node: Option<String>,
}

/// Pods by role and node that the hub has decided.
pub(super) fn places(shares: &[NodeShare]) -> BTreeMap<(&str, &str), i64> {
    let mut places = BTreeMap::new();
    for share in shares {
        *places
            .entry((share.pod_set.as_str(), share.name.as_str()))
            .or_default() += share.pods;
    }
    places
}

/// What to release now. Pods that have ended or are on their way out hold no place any more; `open` says whether a node takes a pod.
pub fn release(
    shares: &[NodeShare],
    pods: &[&Pod],
    open: &dyn Fn(&str, &Pod) -> bool,
) -> Vec<Release> {
    let mut free = places(shares);
    for pod in pods.iter().filter(|pod| pod.is_live()) {
        if let Some(node) = pod.given.as_deref()
            && let Some(left) = free.get_mut(&(pod.pod_set.as_str(), node))
        {
            *left -= 1;
        }
    }
    let mut gated: Vec<usize> = (0..pods.len())
        .filter(|i| pods[*i].gated && pods[*i].is_live())
        .collect();
    gated.sort_by(|a, b| pods[*a].order().cmp(&pods[*b].order()));
    gated
        .into_iter()
        .filter_map(|index| {
            let pod = pods[index];
            let mut places: Vec<(&str, &mut i64)> = free
                .iter_mut()
                .filter(|((of, _), left)| *of == pod.pod_set && **left > 0)
                .map(|((_, node), left)| (*node, left))
                .collect();
            let at = places.iter().position(|(node, _)| open(node, pod));
            let waits = at.is_none() && !places.is_empty();
            let node = places.get_mut(at.unwrap_or(0)).map(|(node, left)| {
                **left -= 1;
                (*node).to_owned()
            });
            (!waits).then_some(Release { pod: index, node })
        })
        .collect()
}

/// Whether a node takes this pod: it is there, it takes something, and drives the pod not away.
pub fn is_open(node: Option<&Node>, pod: &Pod) -> bool {
    node.is_some_and(|node| {
        node.unusable.is_none()
            && tolerates(&pod.tolerations, &node.taints, &[TaintEffect::NoExecute]).is_ok()
    })
}

/// The one patch that gives a pod its node or domain and lifts the gate. `live` is the pod as it was just read; `hostname` is the
/// label of the node. Operations `test` make it fail if somebody else changed what it rests on.
pub fn patch(
    live: &Value,
    hostname: Option<&str>,
    node: Option<&str>,
    domain: &BTreeMap<String, String>,
) -> Vec<Value> {
    let mut requirements: Vec<Value> = domain
        .iter()
        .map(|(key, value)| json!({"key": key, "operator": "In", "values": [value]}))
        .collect();
    if let Some(hostname) = hostname {
        requirements.push(json!({"key": HOSTNAME, "operator": "In", "values": [hostname]}));
    }
    let gates = live["spec"]["schedulingGates"].clone();
    let left: Vec<Value> = gates
        .as_array()
        .map(|gates| {
            gates
                .iter()
                .filter(|gate| gate["name"] != GATE)
                .cloned()
                .collect()
        })
        .unwrap_or_default();
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": live["metadata"]["uid"]}),
        json!({"op": "test", "path": "/spec/schedulingGates", "value": gates}),
    ];
    if live["metadata"]["annotations"].is_object() {
        let path = annotation_path(NODE_ANNOTATION);
        operations.push(json!({"op": "add", "path": path, "value": node.unwrap_or_default()}));
    } else {
        let mut annotations = Map::new();
        annotations.insert(NODE_ANNOTATION.to_owned(), node.unwrap_or_default().into());
        operations
            .push(json!({"op": "add", "path": "/metadata/annotations", "value": annotations}));
    }
    if !requirements.is_empty() {
        let affinity = with_requirements(&live["spec"]["affinity"], &requirements);
        operations.push(json!({"op": "add", "path": "/spec/affinity", "value": affinity}));
    }
    operations.push(if left.is_empty() {
        json!({"op": "remove", "path": "/spec/schedulingGates"})
    } else {
        json!({"op": "replace", "path": "/spec/schedulingGates", "value": left})
    });
    operations
}

/// Where an annotation is, for a JSON patch.
pub(super) fn annotation_path(name: &str) -> String {
    let name = name.replace('~', "~0").replace('/', "~1");
    format!("/metadata/annotations/{name}")
}

/// Terms are alternatives, so the requirements go into every one.
fn with_requirements(affinity: &Value, requirements: &[Value]) -> Value {
    let mut affinity = if affinity.is_object() {
        affinity.clone()
    } else {
        json!({})
    };
    let required = &mut affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"];
    match required.as_array_mut() {
        Some(terms) if !terms.is_empty() => {
            for term in terms {
                let mut all = term["matchExpressions"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                all.extend(requirements.iter().cloned());
                term["matchExpressions"] = all.into();
            }
        }
        _ => *required = json!([{ "matchExpressions": requirements }]),
    }
    affinity
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(node: &str, pods: i64) -> NodeShare {
        NodeShare {
            pod_set: "main".into(),
            name: node.into(),
            pods,
        }
    }

    fn pod(name: &str, given: Option<&str>, gated: bool) -> Pod {
        Pod {
            name: name.into(),
            pod_set: "main".into(),
            given: given.map(str::to_owned),
            gated,
            phase: "Pending".into(),
            ..Pod::default()
        }
    }

    fn released(shares: &[NodeShare], pods: &[Pod]) -> Vec<(String, Option<String>)> {
        let refs: Vec<&Pod> = pods.iter().collect();
        release(shares, &refs, &|_, _| true)
            .into_iter()
            .map(|r| (pods[r.pod].name.clone(), r.node))
            .collect()
    }

    #[test]
    fn places_are_filled_once() {
        let shares = [share("n1", 1), share("n2", 1)];
        let some = |name: &str, node: &str| (name.to_owned(), Some(node.to_owned()));
        let both = [pod("b", None, true), pod("a", None, true)];
        assert_eq!(released(&shares, &both), [some("a", "n1"), some("b", "n2")]);
        let one_is_there = [pod("a", Some("n1"), false), pod("b", None, true)];
        assert_eq!(released(&shares, &one_is_there), [some("b", "n2")]);
        let surge = [
            pod("a", Some("n1"), false),
            pod("b", Some("n2"), false),
            pod("c", None, true),
        ];
        assert_eq!(released(&shares, &surge), [("c".to_owned(), None)]);
        let mut failed = pod("a", Some("n1"), false);
        failed.phase = "Failed".into();
        assert_eq!(
            released(&shares, &[failed, pod("a2", None, true)]),
            [some("a2", "n1")]
        );
        let mut going = pod("a", Some("n1"), false);
        going.deleting = true;
        assert_eq!(
            released(&[share("n1", 1)], &[going, pod("a2", None, true)]),
            [some("a2", "n1")]
        );
        let mut other = pod("x", None, true);
        other.pod_set = "other".into();
        assert_eq!(
            released(&shares, &[other]),
            [("x".to_owned(), None)],
            "another role has no places"
        );
    }

    #[test]
    fn a_place_on_a_node_that_takes_nothing_waits_for_the_hub() {
        let pods = [
            pod("a", Some("n2"), false),
            pod("b", None, true),
            pod("c", None, true),
        ];
        let released = |shares: &[NodeShare], shut: &str| -> Vec<(String, Option<String>)> {
            let refs: Vec<&Pod> = pods.iter().collect();
            release(shares, &refs, &|node, _| node != shut)
                .into_iter()
                .map(|r| (pods[r.pod].name.clone(), r.node))
                .collect()
        };
        let some = |name: &str, node: &str| (name.to_owned(), Some(node.to_owned()));
        let shares = [share("n1", 1), share("n2", 1), share("n3", 1)];
        assert_eq!(released(&shares, ""), [some("b", "n1"), some("c", "n3")]);
        assert_eq!(
            released(&shares, "n1"),
            [some("b", "n3")],
            "c keeps its gate"
        );
        let none_left = [share("n1", 1), share("n2", 1)];
        assert_eq!(
            released(&none_left, "n1"),
            [("c".to_owned(), None)],
            "b waits for n1; c is beyond the hub's numbers"
        );
        // The hub has swapped n1 for n4.
        let swapped = [share("n2", 1), share("n3", 1), share("n4", 1)];
        assert_eq!(released(&swapped, "n1"), [some("b", "n3"), some("c", "n4")]);
    }

    #[test]
    fn which_nodes_are_open() {
        let mut node = Node::default();
        let plain = Pod::default();
        assert!(is_open(Some(&node), &plain));
        assert!(!is_open(None, &plain));
        node.taints =
            serde_json::from_value(json!([{"key": "k", "effect": "NoSchedule"}])).unwrap();
        assert!(
            is_open(Some(&node), &plain),
            "the member's scheduler says so"
        );
        node.taints = serde_json::from_value(json!([{"key": "k", "effect": "NoExecute"}])).unwrap();
        assert!(!is_open(Some(&node), &plain));
        let tolerant = Pod {
            tolerations: serde_json::from_value(json!([{"operator": "Exists"}])).unwrap(),
            ..Pod::default()
        };
        assert!(is_open(Some(&node), &tolerant));
        node.unusable = Some("NotReady".into());
        assert!(!is_open(Some(&node), &tolerant));
    }

    #[test]
    fn ranks_keep_their_order() {
        let pods: Vec<Pod> = (0..12)
            .rev()
            .map(|i| Pod {
                index: Some(i),
                ..pod(&format!("train-{i}-x"), None, true)
            })
            .collect();
        let order: Vec<String> = released(&[share("n1", 6), share("n2", 6)], &pods)
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        assert_eq!(order[1..3], ["train-1-x", "train-2-x"]);
        assert_eq!(order[10], "train-10-x");
    }

    #[test]
    fn one_patch_gives_the_node_and_lifts_the_gate() {
        let live = json!({
            "metadata": {"uid": "u", "annotations": {"a": "b"}},
            "spec": {"schedulingGates": [{"name": "other"}, {"name": GATE}],
                "affinity": {"podAffinity": {}, "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "x", "operator": "Exists"}]}, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]}}}},
        });
        let domain = BTreeMap::from([("rack".to_owned(), "r1".to_owned())]);
        let operations = patch(&live, Some("host1"), Some("n1"), &domain);
        let mut after = live.clone();
        let find = |path: &str| {
            operations
                .iter()
                .find(|op| op["path"] == path && op["op"] != "test")
                .unwrap()
        };
        assert_eq!(
            find("/spec/schedulingGates")["value"],
            json!([{"name": "other"}])
        );
        assert_eq!(
            find("/metadata/annotations/inhaul.dev~1node")["value"],
            "n1"
        );
        after["spec"]["affinity"] = find("/spec/affinity")["value"].clone();
        let terms = after["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].as_array().unwrap();
        assert_eq!(terms[0]["matchExpressions"].as_array().unwrap().len(), 3);
        assert_eq!(terms[1]["matchExpressions"].as_array().unwrap().len(), 2);
        assert!(after["spec"]["affinity"]["podAffinity"].is_object());

        let bare = json!({"metadata": {"uid": "u"}, "spec": {"schedulingGates": [{"name": GATE}]}});
        let operations = patch(&bare, None, None, &BTreeMap::new());
        assert_eq!(operations.last().unwrap()["op"], "remove");
        assert!(operations.iter().all(|op| op["path"] != "/spec/affinity"));
    }

    proptest! {
        /// However pods come and go, no place is given twice.
        #[test]
        fn no_node_gets_more_than_its_share(shares in prop::collection::vec(0_i64..4, 1..4), gated in 0_usize..12, placed in 0_usize..6) {
            let shares: Vec<NodeShare> = shares.iter().enumerate().map(|(i, n)| share(&format!("n{i}"), *n)).collect();
            let mut pods: Vec<Pod> = (0..gated).map(|i| pod(&format!("g{i}"), None, true)).collect();
            let mut room: Vec<(String, i64)> = shares.iter().map(|s| (s.name.clone(), s.pods)).collect();
            for i in 0..placed {
                if let Some((node, left)) = room.iter_mut().find(|(_, left)| *left > 0) {
                    *left -= 1;
                    pods.push(pod(&format!("p{i}"), Some(node), false));
                }
            }
            let refs: Vec<&Pod> = pods.iter().collect();
            let out = release(&shares, &refs, &|_, _| true);
            prop_assert_eq!(out.len(), gated);
            for share in &shares {
                let there = pods.iter().filter(|p| p.given.as_deref() == Some(&share.name)).count();
                let new = out.iter().filter(|r| r.node.as_deref() == Some(&share.name)).count();
                prop_assert!(i64::try_from(there + new).unwrap() <= share.pods);
            }
        }
    }
}
