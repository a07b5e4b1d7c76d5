//! A node, as much of it as the inventory needs.

use std::collections::BTreeMap;

use placement_api::quantity::ResourceList;
use placement_api::raw::RawObject;
use placement_api::toleration::Taint;
use serde::Deserialize;
use serde_json::Value;

/// A node of the member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints that are not the node controller's own.
    pub taints: Vec<Taint>,
    /// Allocatable.
    pub allocatable: ResourceList,
    /// Why it takes nothing; `None`: it does.
    pub unusable: Option<String>,
}

impl Node {
    /// Reads a node; what cannot be read counts as empty.
    pub fn read(object: &RawObject) -> Self {
        let spec: Value = object.section_as("spec").ok().flatten().unwrap_or_default();
        let status: Value = object
            .section_as("status")
            .ok()
            .flatten()
            .unwrap_or_default();
        let mut taints: Vec<Taint> = spec["taints"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|taint| Taint::deserialize(taint).ok())
            // Said by `unusable`, and gone in a moment.
            .filter(|taint| !taint.key.starts_with("node.kubernetes.io/"))
            .collect();
        taints.sort();
        let ready = status["conditions"].as_array().is_some_and(|all| {
            all.iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True")
        });
        let unusable = if object.is_deleting() || !ready {
            Some("NotReady".to_owned())
        } else if spec["unschedulable"] == true {
            Some("Cordoned".to_owned())
        } else {
            None
        };
        Self {
            name: object.metadata.name.clone(),
            labels: object.metadata.labels.clone(),
            taints,
            allocatable: ResourceList::deserialize(&status["allocatable"]).unwrap_or_default(),
            unusable,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_makes_a_node_unusable() {
        let node = |unschedulable: bool, ready: &str| {
            Node::read(
                &RawObject::from_value(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
                    "spec": {"unschedulable": unschedulable, "taints": [
                        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}, {"key": "gpu", "value": "yes", "effect": "NoSchedule"}]},
                    "status": {"allocatable": {"cpu": "4", "pods": "110"}, "conditions": [{"type": "Ready", "status": ready}]}}))
                .unwrap(),
            )
        };
        let good = node(false, "True");
        assert_eq!(
            (
                good.unusable.as_deref(),
                good.taints.len(),
                good.allocatable.len()
            ),
            (None, 1, 2)
        );
        assert_eq!(node(true, "True").unusable.as_deref(), Some("Cordoned"));
        assert_eq!(node(true, "Unknown").unusable.as_deref(), Some("NotReady"));
    }
}
