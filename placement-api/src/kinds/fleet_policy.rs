//! What holds for the whole fleet.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;

/// What holds for the whole fleet; one object named `default`, all fields optional.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inhaul.dev",
    version = "v1alpha1",
    kind = "FleetPolicy",
    plural = "fleetpolicies",
    shortname = "fp",
    category = "inhaul",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct FleetPolicySpec {
    /// Node labels from wide to narrow; absent: region, zone, rack, NVLink clique.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_levels: Vec<String>,
    /// Relative throughput of accelerator products.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accelerators: Vec<AcceleratorThroughput>,
    /// Half-life of past use (Go duration).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fairness_half_life: Option<String>,
    /// Longest wait before a workload is promoted where short ones go first (Go duration).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_limit: Option<String>,
    /// Budget of the defragmentation pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defragmentation: Option<Defragmentation>,
}

/// Relative throughput of one accelerator product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceleratorThroughput {
    /// Product as the nodes' labels say it.
    pub product: String,
    /// Work per hour relative to a product with 1.
    pub throughput: Quantity,
}

/// Budget of the defragmentation pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Defragmentation {
    /// Workloads that may be moved per hour; 0 switches it off.
    #[serde(default)]
    pub max_moves_per_hour: u32,
}
