//! A cluster that runs workloads.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DeviceSummary;
use crate::quantity::{Quantity, ResourceList};
use crate::toleration::Taint;

/// A cluster that runs workloads; labels of the object say where it is.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inhaul.dev",
    version = "v1alpha1",
    kind = "SyncTarget",
    plural = "synctargets",
    shortname = "target",
    shortname = "st",
    category = "inhaul",
    status = "SyncTargetStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes"),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.kubernetesVersion"
    ),
    printcolumn(
        name = "Cordoned",
        type_ = "boolean",
        json_path = ".spec.unschedulable",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct SyncTargetSpec {
    /// Cordoned: keeps what it has, takes nothing new.
    #[serde(default)]
    pub unschedulable: bool,
    /// Everything that has a refuge moves away.
    #[serde(default)]
    pub drain: bool,
    /// Taints: NoSchedule, PreferNoSchedule, NoExecute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Price of an hour, any one currency for the fleet: of one CPU, one GiB of memory or storage, one device.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cost: BTreeMap<String, Quantity>,
    /// g CO2 per kWh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carbon_intensity: Option<u32>,
    /// Names of the data that is there: work with the annotation `inhaul.dev/data` prefers such targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
}

/// What the scheduler knows of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncTargetStatus {
    /// Generation of the spec that this status has taken into account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Registered, Ready, Schedulable, APIsCompatible; Valid where a field cannot be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One word for people: Pending, Ready, Cordoned, Draining, Drained, Lost.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Number of nodes.
    #[serde(default)]
    pub nodes: i64,
    /// Allocatable, summed over healthy nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: ResourceList,
    /// What is free of it, decisions that have not started yet taken off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub free: ResourceList,
    /// Accelerators by product and sharing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceSummary>,
    /// Locations that this target belongs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<String>,
    /// Workloads assigned to it.
    #[serde(default)]
    pub workloads: i64,
    /// Version of the member's API server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kubernetes_version: String,
    /// UID of the member's kube-system namespace; never changes once known.
    #[serde(
        default,
        rename = "clusterUID",
        skip_serializing_if = "Option::is_none"
    )]
    pub cluster_uid: Option<String>,
    /// How draining stands, while `spec.drain` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    /// Where something went wrong lately; the 64 worst.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<Trouble>,
}

/// Something went wrong on a node or a target: new work keeps away from it where there is a choice, half as much after each hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// Node; absent: the target found no node for what it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Weight at that time: each event adds 1024.
    pub weight: i64,
    /// When it happened last (RFC 3339).
    pub at: String,
}

/// How draining a target stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainStatus {
    /// Workloads that are moving.
    #[serde(default)]
    pub moving: i64,
    /// Workloads that have no room elsewhere.
    #[serde(default)]
    pub stuck: i64,
    /// The first 50 of the stuck ones, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stuck_workloads: Vec<StuckWorkload>,
}

/// A workload that a drain cannot move.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StuckWorkload {
    /// `namespace/Kind/name` of the root object.
    pub workload: String,
    /// Why it has no refuge.
    pub message: String,
}
