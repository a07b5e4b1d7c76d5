//! What a target has and uses.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NodeShare;
use super::devices::{DeviceClassSummary, DeviceLayout, DeviceShape, NodeDevices};
use crate::quantity::ResourceList;
use crate::toleration::Taint;

/// What a target has and uses: spec by the scheduler, status by the agent.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inhaul.dev",
    version = "v1alpha1",
    kind = "Inventory",
    plural = "inventories",
    namespaced,
    shortname = "inv",
    category = "inhaul",
    status = "InventoryStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.kubernetesVersion"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct InventorySpec {
    /// UID of the hub's kube-system namespace: the marker of everything the agent owns.
    #[serde(rename = "hubUID")]
    pub hub_uid: String,
    /// Name of the target.
    pub target: String,
    /// The agent starts nothing new for a term below this one; a new leader raises it before it writes.
    #[serde(default)]
    pub min_term: i64,
}

/// What the agent reports, at most once per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryStatus {
    /// Session of the agent that wrote it.
    #[serde(default)]
    pub session: i64,
    /// UID of the member's kube-system namespace.
    #[serde(rename = "clusterUID")]
    pub cluster_uid: String,
    /// gitVersion of the member's API server.
    #[serde(default)]
    pub kubernetes_version: String,
    /// Version of the agent.
    #[serde(default)]
    pub agent_version: String,
    /// Classes of nodes: everything that many nodes have in common.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<NodeClass>,
    /// Nodes, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<InventoryNode>,
    /// Accelerators by product and sharing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceSummary>,
    /// DeviceClasses, by name (DRA).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_classes: Vec<DeviceClassSummary>,
    /// Shapes of the devices that drivers publish (DRA).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_shapes: Vec<DeviceShape>,
    /// What sets of devices nodes have (DRA).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_layouts: Vec<DeviceLayout>,
    /// Kinds that the member serves and the agent may write, as `group/version/Kind`, `v1/Kind` for the core group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub served: Vec<String>,
    /// Assignments with pods that the free amounts include.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<CountedAssignment>,
    /// Trouble of the agent that people should know of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Nodes that differ only in name, topology and use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeClass {
    /// Short id, stable for the same content.
    pub id: String,
    /// Labels without the host name, addresses and topology that differs from node to node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Allocatable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allocatable: ResourceList,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryNode {
    /// Name.
    pub name: String,
    /// Id of its class.
    pub class: String,
    /// Labels beyond those of its class (topology).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What is free; a resource that is missing here is wholly free.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub free: ResourceList,
    /// Why it takes nothing: NotReady, Cordoned; absent: it takes work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// Its devices, as drivers publish them (DRA).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<NodeDevices>,
}

/// Accelerators of one product.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct DeviceSummary {
    /// Resource, such as `nvidia.com/gpu`; for devices of DRA their driver.
    pub resource: String,
    /// Product as the nodes' labels say it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub product: String,
    /// Whole, MIG, TimeSliced or MPS.
    #[serde(default)]
    pub sharing: String,
    /// Devices on healthy nodes.
    pub total: i64,
    /// Of them free.
    pub free: i64,
    /// Physical devices behind them, where several of them share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical: Option<i64>,
}

/// An assignment with pods that are counted.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct CountedAssignment {
    /// Name of the Assignment.
    pub name: String,
    /// Epoch of which every pod is counted; 0: not all of them are, or it is leaving.
    #[serde(default)]
    pub epoch: i64,
    /// Where its pods are, if it names no nodes itself. Missing also where the member has very many such pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeShare>,
}
