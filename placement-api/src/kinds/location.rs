//! A named class of targets.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;

/// A named class of targets: what users may know of the fleet.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "inhaul.dev",
    version = "v1alpha1",
    kind = "Location",
    plural = "locations",
    shortname = "loc",
    category = "inhaul",
    status = "LocationStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Targets", type_ = "integer", json_path = ".status.targets"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.ready"),
    printcolumn(
        name = "Description",
        type_ = "string",
        json_path = ".spec.description"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct LocationSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Targets whose labels match; empty selects every target.
    #[serde(default)]
    pub target_selector: LabelSelector,
    /// Price of an hour on its targets, as in a SyncTarget; what a SyncTarget says itself comes first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cost: BTreeMap<String, Quantity>,
    /// g CO2 per kWh on its targets that say nothing themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carbon_intensity: Option<u32>,
    /// Names of the data that all of its targets have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
}

/// How many targets a Location has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocationStatus {
    /// Targets that match.
    #[serde(default)]
    pub targets: i64,
    /// Those of them that are Ready.
    #[serde(default)]
    pub ready: i64,
}
