//! The ledger on the member.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ObjectRef;

/// What was or is about to be applied for one assignment. Written before the first write that it announces.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inhaul.dev",
    version = "v1alpha1",
    kind = "AppliedAssignment",
    plural = "appliedassignments",
    namespaced,
    shortname = "applied",
    category = "inhaul",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Workload", type_ = "string", json_path = ".spec.workload.name"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".spec.epoch"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AppliedAssignmentSpec {
    /// UID of the hub that ordered it.
    #[serde(rename = "hubUID")]
    pub hub_uid: String,
    /// The root object on the hub.
    pub workload: ObjectRef,
    /// Epoch.
    pub epoch: i64,
    /// Term of the scheduler that ordered it.
    pub term: i64,
    /// Digest of the order.
    pub digest: String,
    /// The root has ended; it is never started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<FinishedRecord>,
    /// Objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<LedgerObject>,
}

/// How finished work ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FinishedRecord {
    /// With success.
    pub succeeded: bool,
    /// Last status that was seen, at most 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::any_object")]
    pub root_status: Option<serde_json::Value>,
}

/// One object of the ledger.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct LedgerObject {
    /// The object; `uid` is empty until it was seen.
    #[serde(rename = "ref")]
    pub reference: ObjectRef,
    /// Plural of its kind.
    pub plural: String,
    /// Digest of what was ordered.
    #[serde(default)]
    pub digest: String,
}
