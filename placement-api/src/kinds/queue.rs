//! A tree of fair shares.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{Quantity, ResourceList};

/// A node in the tree of fair shares over all targets and accelerator types.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inhaul.dev",
    version = "v1alpha1",
    kind = "Queue",
    plural = "queues",
    shortname = "q",
    category = "inhaul",
    status = "QueueStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Parent", type_ = "string", json_path = ".spec.parent"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".spec.weight"),
    printcolumn(
        name = "Waiting",
        type_ = "integer",
        json_path = ".status.waiting.workloads"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct QueueSpec {
    /// Parent queue; absent: under the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Share of the surplus among siblings; 0 gets what the others leave.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: u32,
    /// Orders siblings for the surplus; never touches a guarantee.
    #[serde(default)]
    pub priority: i32,
    /// Who is next inside the queue.
    #[serde(default)]
    pub order: QueueOrder,
    /// With Size or FinishTime: running workloads may be stopped for others of equal priority.
    #[serde(default)]
    pub time_slicing: bool,
    /// Amounts that are its own.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub guaranteed: ResourceList,
    /// Amounts that it never exceeds.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub limit: ResourceList,
    /// Finer than the resource: per product.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accelerators: Vec<QueueAccelerator>,
    /// Whether the unused part of the guarantee is lent; absent: true.
    #[serde(default = "yes")]
    pub lend: bool,
    /// Namespaces that may use it; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

/// Order inside a queue; higher priority always goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QueueOrder {
    /// First submitted, first planned.
    #[default]
    Age,
    /// Shortest remaining work first.
    Size,
    /// Smallest laxity against its fair finish first.
    FinishTime,
}

/// Amounts of one accelerator product.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueAccelerator {
    /// Product as the nodes' labels say it.
    pub product: String,
    /// Devices that are its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guaranteed: Option<Quantity>,
    /// Devices that it never exceeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Quantity>,
}

/// How a queue stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// Valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What it may use now.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub entitled: ResourceList,
    /// What it uses.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub used: ResourceList,
    /// What waits; `workloads` counts them, the rest are amounts.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub waiting: ResourceList,
    /// What it used before, where past use counts (`fairnessHalfLife` of the FleetPolicy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past_use: Option<PastUse>,
}

/// What a queue used before, each hour weighing half as much as one a half-life later. In resource-hours: 100 `nvidia.com/gpu` are 100
/// devices for one hour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastUse {
    /// As of when (RFC 3339). It is written when what is used changes; until then the same use goes on.
    pub at: String,
    /// By resource.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub resources: ResourceList,
    /// Devices by product.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub products: ResourceList,
}
