//! What drivers and the member's scheduler say of devices (`resource.k8s.io/v1`), as much of it as the inventory needs.

use std::collections::BTreeMap;

use placement_api::api_type::ObjectKey;
use placement_api::kinds::{DeviceAttribute, DeviceClassSummary, DeviceTaint};
use placement_api::quantity::Quantity;
use placement_api::raw::RawObject;
use serde::Deserialize;
use serde_json::Value;

/// A ResourceSlice.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slice {
    /// Name of the object.
    #[serde(skip)]
    pub name: String,
    /// Resource version.
    #[serde(skip)]
    pub version: u64,
    /// Driver.
    pub driver: String,
    /// Pool.
    pub pool: Pool,
    /// Node that has the devices.
    pub node_name: Option<String>,
    /// Each device says its node itself.
    #[serde(default)]
    pub per_device_node_selection: bool,
    /// Devices.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Counters that devices of the pool share.
    #[serde(default)]
    pub shared_counters: Vec<CounterSet>,
}

/// The pool of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// Name.
    pub name: String,
    /// Only slices of the newest generation count.
    #[serde(default)]
    pub generation: i64,
    /// Slices of this generation; fewer are an update that is not complete.
    #[serde(default)]
    pub resource_slice_count: i64,
}

/// Counters by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CounterSet {
    /// Name.
    pub name: String,
    /// Counters.
    #[serde(default)]
    pub counters: BTreeMap<String, Amount>,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Name, unique in its pool.
    pub name: String,
    /// Attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, DeviceAttribute>,
    /// Capacities.
    #[serde(default)]
    pub capacity: BTreeMap<String, Amount>,
    /// What it uses up of which counters.
    #[serde(default)]
    pub consumes_counters: Vec<Consumption>,
    /// Its node, where each device says it itself.
    pub node_name: Option<String>,
    /// Taints.
    #[serde(default)]
    pub taints: Vec<DeviceTaint>,
    /// It is ready only when these conditions are met.
    #[serde(default)]
    pub binding_conditions: Vec<String>,
    /// Several claims may have it at once.
    #[serde(default)]
    pub allow_multiple_allocations: bool,
}

/// What a device uses up of one set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumption {
    /// The set.
    pub counter_set: String,
    /// Amounts by counter.
    #[serde(default)]
    pub counters: BTreeMap<String, Amount>,
}

/// An amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Amount {
    /// The amount.
    pub value: Quantity,
}

impl Slice {
    /// Reads a slice; what cannot be read is a slice without devices.
    pub fn read(object: &RawObject) -> Self {
        let read: Option<Self> = object.section_as("spec").ok().flatten();
        Self {
            name: object.metadata.name.clone(),
            version: object.metadata.resource_version.parse().unwrap_or_default(),
            ..read.unwrap_or_default()
        }
    }
}

/// A device by its identity: driver, pool, name.
pub type DeviceId = (String, String, String);

/// A ResourceClaim: which devices it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Resource version.
    pub version: u64,
    /// Devices that are its own.
    pub devices: Vec<DeviceId>,
    /// The member's scheduler has allocated it.
    pub allocated: bool,
}

impl Claim {
    /// Reads a claim. Devices that it only looks at (admin access) are not its own.
    pub fn read(object: &RawObject) -> Self {
        let status: Value = object
            .section_as("status")
            .ok()
            .flatten()
            .unwrap_or_default();
        let allocation = &status["allocation"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let results = allocation["devices"]["results"].as_array();
        let own = results
            .into_iter()
            .flatten()
            .filter(|result| result["adminAccess"] != true);
        Self {
            key: object.key(),
            version: object.metadata.resource_version.parse().unwrap_or_default(),
            devices: own
                .map(|result| {
                    (
                        text(&result["driver"]),
                        text(&result["pool"]),
                        text(&result["device"]),
                    )
                })
                .collect(),
            allocated: allocation.is_object(),
        }
    }
}

/// Reads a DeviceClass. A selector that is not CEL is one that nothing meets.
pub fn class(object: &RawObject) -> DeviceClassSummary {
    let spec: Value = object.section_as("spec").ok().flatten().unwrap_or_default();
    let selectors = spec["selectors"].as_array().into_iter().flatten();
    DeviceClassSummary {
        name: object.metadata.name.clone(),
        selectors: selectors
            .map(|one| {
                one["cel"]["expression"]
                    .as_str()
                    .unwrap_or("false")
                    .to_owned()
            })
            .collect(),
        extended_resource: spec["extendedResourceName"].as_str().map(str::to_owned),
    }
}
