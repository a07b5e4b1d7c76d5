//! Devices that drivers publish in ResourceSlices (DRA), as the agent reports them: what many devices have in common is said
//! once (a shape), what many nodes have in common too (a layout), so that a node costs a name and a few numbers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::ResourceList;

/// A DeviceClass of the member.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct DeviceClassSummary {
    /// Name.
    pub name: String,
    /// CEL expressions that a device of the class meets, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<String>,
    /// Extended resource by which pods may ask for devices of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_resource: Option<String>,
}

/// Devices that differ only in name and place.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct DeviceShape {
    /// Short id, stable for the same content.
    pub id: String,
    /// Driver.
    pub driver: String,
    /// Attributes by name; a name without a domain belongs to the driver.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, DeviceAttribute>,
    /// Capacities by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: ResourceList,
    /// Taints that keep claims away which do not tolerate them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<DeviceTaint>,
    /// Attributes that the devices have, but each a value of its own, which is not reported (UUIDs, PCI addresses).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsaid: Vec<String>,
}

/// The value of an attribute: one of the four.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct DeviceAttribute {
    /// A number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int: Option<i64>,
    /// True or false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bool: Option<bool>,
    /// A text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string: Option<String>,
    /// A version by semver.org.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A taint of a device.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct DeviceTaint {
    /// Key.
    pub key: String,
    /// Value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// NoSchedule or NoExecute.
    pub effect: String,
}

/// The devices of a node, as many nodes have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceLayout {
    /// Short id, stable for the same content.
    pub id: String,
    /// Counters that devices share, `pool/set/counter`, the pool as its number within the node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: ResourceList,
    /// Devices that are alike and use the same counters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<DeviceGroup>,
}

/// Devices of one node that are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceGroup {
    /// Id of their shape.
    pub shape: String,
    /// How many.
    pub count: i64,
    /// What one of them uses up of which counter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uses: ResourceList,
}

/// The devices of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeDevices {
    /// Id of their layout.
    pub layout: String,
    /// How many of each group are allocated to claims; absent: none, and beyond the end too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<i64>,
}
