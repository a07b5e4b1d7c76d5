//! What is scheduled as one piece.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failover, ObjectRef};
use crate::quantity::ResourceList;
use crate::reason::Reason;

/// What is scheduled as one piece: demand, decision and why. One writer, the scheduler; `status` is
/// a plain field so that one write carries all of it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inhaul.dev",
    version = "v1alpha1",
    kind = "Workload",
    plural = "workloads",
    namespaced,
    shortname = "wl",
    category = "inhaul",
    status = "WorkloadState",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.root.kind"),
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.root.name"),
    printcolumn(name = "Queue", type_ = "string", json_path = ".spec.queue"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Where", type_ = "string", json_path = ".status.where"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// The object of the user.
    pub root: ObjectRef,
    /// The Placement that selected it.
    pub placement: String,
    /// Other Placements that selected it too and lost, for `explain`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_selected_by: Vec<String>,
    /// Pods it wants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_sets: Vec<WorkloadPodSet>,
    /// What it asks for in words, for tables: "2×8 gpu, one rack", "6 replicas".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wants: String,
    /// Queue.
    pub queue: String,
    /// Priority: value of the PriorityClass, 0 where none is named.
    #[serde(default)]
    pub priority: i32,
    /// Failover, resolved.
    #[serde(default)]
    pub failover: Failover,
    /// How long it is expected to run (Go duration).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_runtime: Option<String>,
    /// Earlier runs of its series that the expected run time is made of: nine of ten took no longer. Absent: its owner says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past_runs: Option<u32>,
    /// Number of its newest assignment; grows with every decision that changes something.
    #[serde(default)]
    pub epoch: i64,
    /// Leadership that wrote it.
    #[serde(default)]
    pub term: i64,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assignments: Vec<WorkloadAssignment>,
}

/// Pods of one role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPodSet {
    /// Name of the role.
    pub name: String,
    /// Pods.
    pub count: i64,
    /// Pods from which on it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_count: Option<i64>,
    /// What one pod asks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: ResourceList,
}

/// One target that runs all or part of a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadAssignment {
    /// Target.
    pub target: String,
    /// Epoch of the Assignment there.
    pub epoch: i64,
    /// Replicas there; absent: the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// Topology domain that was decided, label → value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub domain: BTreeMap<String, String>,
    /// Nodes that were decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeShare>,
    /// It is being taken away: a tombstone is written and the member has not confirmed yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub evicting: bool,
    /// Why it is being taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted_for: Option<Reason>,
}

/// Pods of one role on one node.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct NodeShare {
    /// Role of the pods.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod_set: String,
    /// Node.
    pub name: String,
    /// Pods on it.
    pub pods: i64,
}

/// How scheduling stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadState {
    /// Pending, Assigned, Evicting or Finished.
    #[serde(default)]
    pub state: WorkloadPhase,
    /// Where, in words for tables: "eu-1 4 · us-1 2".
    #[serde(default, rename = "where", skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// First reason; absent where it is placed without trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Every target that was considered, and why it was rejected or what spoke for it; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanation: Vec<TargetVerdict>,
    /// Targets avoided after they refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// Since when it has been in this state (RFC 3339).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// While it waits and is promised a start: when (RFC 3339), or earlier. Only one workload of each queue is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_start: Option<String>,
    /// How long it ran, if it did so in one go and ended well (Go duration): what is expected of the next of its series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_for: Option<String>,
    /// When it was last moved to other nodes for the sake of others (RFC 3339): counts in the budget of the defragmentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_at: Option<String>,
}

/// State of scheduling of a workload.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum WorkloadPhase {
    /// Waits.
    #[default]
    Pending,
    /// Has its place.
    Assigned,
    /// Is being taken away from a target.
    Evicting,
    /// Its work is done; stays so.
    Finished,
}

/// What the planner found of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetVerdict {
    /// Target.
    pub target: String,
    /// Reason.
    pub reason: Reason,
    /// In words, with numbers.
    pub message: String,
}

/// A target that refused the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Target.
    pub target: String,
    /// The member's own message.
    pub message: String,
    /// Times it refused in a row.
    pub count: i64,
    /// Avoided until then (RFC 3339).
    pub until: String,
}
