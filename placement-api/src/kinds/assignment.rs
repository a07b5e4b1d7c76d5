//! One workload on one target.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failover, NodeShare, ObjectRef, any_object};

/// One workload on one target: spec by the scheduler, status by the agent.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inhaul.dev",
    version = "v1alpha1",
    kind = "Assignment",
    plural = "assignments",
    namespaced,
    shortname = "asg",
    category = "inhaul",
    status = "AssignmentStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Workload", type_ = "string", json_path = ".spec.workload.name"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".spec.epoch"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentSpec {
    /// The root object on the hub.
    pub workload: ObjectRef,
    /// Grows every time the workload is assigned anew; an older epoch never wins.
    pub epoch: i64,
    /// Leadership of the scheduler that wrote it.
    pub term: i64,
    /// SHA-256 over everything below that the agent acts on.
    pub digest: String,
    /// Active, or Removed: the tombstone.
    pub state: AssignmentState,
    /// Objects to apply, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Manifest>,
    /// Secrets to copy from the target's namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_refs: Vec<SecretRef>,
    /// Pod templates inside the root manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_sets: Vec<AssignedPodSet>,
    /// Replicas on this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// Domain that was decided: every level, label → value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub domain: BTreeMap<String, String>,
    /// Nodes that were decided; where there are some, pods are gated and released one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeShare>,
    /// The target whose assignment of the same workload this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// Failover, resolved.
    #[serde(default)]
    pub failover: Failover,
    /// How to read the root object, where its kind is not built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpretation: Option<Interpretation>,
}

/// Whether an assignment is to run or to go.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum AssignmentState {
    /// To run.
    #[default]
    Active,
    /// To be deleted on the member: the only order to delete that there is.
    Removed,
}

/// An object to apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The object as it is to be on the member.
    #[schemars(schema_with = "any_object")]
    pub object: serde_json::Value,
    /// Plural of its kind, as the hub serves it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plural: String,
    /// resourceVersion of the hub's object it was made from: of an object that several assignments
    /// carry, the newest wins.
    #[serde(default)]
    pub source_version: i64,
}

/// A Secret that travels beside the assignment.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the copy in the target's namespace on the hub.
    pub copy: String,
    /// Namespace on the member.
    pub namespace: String,
    /// Name on the member.
    pub name: String,
}

/// Pods of one role inside the root manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssignedPodSet {
    /// Name of the role.
    pub name: String,
    /// Pods of this role on this target.
    pub count: i64,
    /// JSON pointer to the pod template in the root manifest; absent: the kind has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What one pod asks, for the agent's check that a node still has it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: crate::quantity::ResourceList,
}

/// How the agent reads a root object whose kind is not built in: the part of its KindProfile that it needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Interpretation {
    /// CEL over `object`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<String>,
    /// CEL over `object`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// CEL over `object`; only asked of finished ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<String>,
    /// JSON pointers that are carried up; absent: `/status`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
}

/// What the agent reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentStatus {
    /// Generation of the spec that this status is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// Epoch that this status is about.
    #[serde(default)]
    pub epoch: i64,
    /// Session of the agent that wrote it.
    #[serde(default)]
    pub session: i64,
    /// Where it stands.
    #[serde(default)]
    pub phase: AssignmentPhase,
    /// Applied, Healthy; with the member's own message where something is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Objects that are not applied or not healthy, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ManifestStatus>,
    /// Status of the root object on the member, at most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub root_status: Option<serde_json::Value>,
    /// `metadata.generation` of the root object on the member, beside the `observedGeneration` in its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_generation: Option<i64>,
    /// Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsSummary>,
}

/// Where an assignment stands on the member.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum AssignmentPhase {
    /// Seen, nothing applied yet.
    #[default]
    Pending,
    /// Applied; not healthy yet.
    Applied,
    /// Applied and healthy.
    Healthy,
    /// Applied, and its controller says that it failed or makes no progress.
    Degraded,
    /// The member does not take it; the condition has its message.
    Refused,
    /// The work is done, with success; stays so.
    Succeeded,
    /// The work is done, without success; stays so.
    Failed,
    /// Everything is gone from the member.
    Removed,
}

/// One object that needs attention.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManifestStatus {
    /// The object.
    #[serde(rename = "ref")]
    pub reference: ObjectRef,
    /// Applied as ordered.
    pub applied: bool,
    /// Healthy.
    pub healthy: bool,
    /// The member's message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Pods of an assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodsSummary {
    /// Pods that exist and have not ended.
    #[serde(default)]
    pub total: i64,
    /// Of them ready.
    #[serde(default)]
    pub ready: i64,
    /// Of them not bound to a node.
    #[serde(default)]
    pub pending: i64,
    /// Pods that ended without success.
    #[serde(default)]
    pub failed: i64,
    /// At most five failing pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingPod>,
}

/// Why a pod fails.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct FailingPod {
    /// Pod.
    pub name: String,
    /// Container.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// Waiting or termination reason, such as CrashLoopBackOff.
    pub reason: String,
    /// Exit code of the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Last message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}
