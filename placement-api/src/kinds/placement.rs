//! Which objects go where, and how.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failover, KindRef, any_value};
use crate::toleration::Toleration;

/// Which objects go where, and how. Of several that select one object the one with the higher
/// precedence wins, then the more specific, then the older.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inhaul.dev",
    version = "v1alpha1",
    kind = "Placement",
    plural = "placements",
    shortname = "pl",
    category = "inhaul",
    status = "PlacementStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Strategy", type_ = "string", json_path = ".spec.strategy"),
    printcolumn(name = "Selected", type_ = "integer", json_path = ".status.selected"),
    printcolumn(
        name = "Queue",
        type_ = "string",
        json_path = ".spec.queue",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PlacementSpec {
    /// Namespaces whose objects it selects; absent: all but Inhaul's and kube-*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Kinds; absent: every kind with pods that has a KindProfile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<KindRef>,
    /// Labels of the objects; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_selector: Option<LabelSelector>,
    /// Higher wins when two Placements select one object.
    #[serde(default)]
    pub precedence: i32,
    /// Tiers in order of preference; absent: every target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<LocationRef>,
    /// Taints of targets and nodes that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Gang, Divide or Duplicate; absent: Divide for Deployments, else Gang.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Gang over several targets, with at least so many pods in each; absent: one target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gang_per_target: Option<u32>,
    /// Closeness of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<TopologyRequest>,
    /// Spread over groups of targets or nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<SpreadConstraint>,
    /// Proportion of a divided workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divide: Option<Divide>,
    /// Pack or Spread over nodes; absent: Pack for what asks for GPUs, else Spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packing: Option<Packing>,
    /// What speaks for one target or domain rather than another: tiers in order, weights of topology, faults, occupancy, locality, cost,
    /// carbon and blastRadius inside one; absent: the documented order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scoring: Vec<BTreeMap<String, u32>>,
    /// Default queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// What happens when a target is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// What an eviction may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,
    /// What differs per target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
}

/// A Location by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocationRef {
    /// Name of the Location.
    pub name: String,
}

/// How the pods of a workload are distributed over targets.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Strategy {
    /// Whole, on one target.
    Gang,
    /// Replicas divided over targets.
    Divide,
    /// One whole copy on each target.
    Duplicate,
}

/// Closeness of the pods of a gang.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologyRequest {
    /// Node label of the level, such as `topology.kubernetes.io/rack`.
    pub level: String,
    /// Required or Preferred.
    #[serde(default)]
    pub mode: TopologyMode,
    /// Time after which Required becomes Preferred (Go duration).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relax_after: Option<String>,
}

/// Whether closeness is a condition or a wish.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum TopologyMode {
    /// A condition.
    #[default]
    Required,
    /// A wish: climbs level by level.
    Preferred,
}

/// Spread over the groups that a label of targets or nodes makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpreadConstraint {
    /// Label of targets or nodes.
    pub topology_key: String,
    /// At least so many groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_groups: Option<u32>,
    /// At most so many groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_groups: Option<u32>,
    /// Largest difference of replicas between two groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_skew: Option<u32>,
}

/// Proportion of a divided workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Divide {
    /// By free capacity or by weights.
    #[serde(default)]
    pub by: DivideBy,
    /// Weights per Location or target name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u32>,
    /// Runs from so many replicas on; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_count: Option<u32>,
}

/// What the proportion follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DivideBy {
    /// Free capacity, counted in replicas that fit nodes.
    #[default]
    FreeCapacity,
    /// The weights given.
    Weight,
}

/// Choice of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Packing {
    /// Few nodes, full.
    Pack,
    /// Many nodes, headroom on each.
    Spread,
}

/// What an eviction may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Not evicted before it has run so long (Go duration); absent: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_runtime: Option<String>,
    /// May be evicted for others; absent: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preemptible: Option<bool>,
}

/// Changes of manifests for some targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// Targets; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_selector: Option<LabelSelector>,
    /// Kinds; absent: the root object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<KindRef>,
    /// RFC 6902 operations.
    #[serde(default)]
    pub patch: Vec<PatchOperation>,
}

/// One RFC 6902 operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PatchOperation {
    /// add, remove, replace, move, copy or test.
    pub op: String,
    /// JSON pointer.
    pub path: String,
    /// JSON pointer, for move and copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Value, for add, replace and test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub value: Option<serde_json::Value>,
}

/// How a Placement stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementStatus {
    /// Generation of the spec that this status has taken into account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Valid: False names the field that is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Objects that it places.
    #[serde(default)]
    pub selected: i64,
}
