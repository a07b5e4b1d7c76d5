//! Devices of a node as a driver publishes them for dynamic resource allocation (DRA): ResourceSlices of a pool for each node, and
//! DeviceClasses. Names and counters are those of NVIDIA's driver.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Devices that a slice may have where they use counters.
const PER_SLICE: usize = 64;
/// Sets of counters that a slice may have.
const SETS_PER_SLICE: usize = 8;
/// Profiles of an 80 GB GPU: compute slices, memory slices, and where a partition may begin.
const PROFILES: [(&str, u32, u32, &[u32]); 4] = [
    ("1g.10gb", 1, 1, &[0, 1, 2, 3, 4, 5, 6]),
    ("2g.20gb", 2, 2, &[0, 2, 4]),
    ("3g.40gb", 3, 4, &[0, 4]),
    ("7g.80gb", 7, 8, &[0]),
];

/// The devices of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Devices {
    /// Driver; its DeviceClass has the same name.
    pub driver: String,
    /// Devices in the node.
    pub count: u32,
    /// Attributes of each: texts, numbers, true or false. `type`, `uuid` and `resource.kubernetes.io/numaNode` are added.
    #[serde(default)]
    pub attributes: BTreeMap<String, Value>,
    /// Capacities of each.
    #[serde(default)]
    pub capacity: BTreeMap<String, Value>,
    /// Each may be cut into MIG partitions, which belong to the class `mig.<driver>`.
    #[serde(default)]
    pub partitions: bool,
    /// Extended resource by which pods may ask for them without a claim.
    #[serde(default)]
    pub extended_resource: Option<String>,
}

impl Devices {
    /// The ResourceSlices of a node.
    pub(super) fn slices(&self, node: &str) -> Vec<Value> {
        let devices: Vec<Value> = (0..self.count)
            .flat_map(|index| self.devices(node, index))
            .collect();
        let mut specs: Vec<Value> = devices
            .chunks(PER_SLICE)
            .map(|devices| json!({"devices": devices}))
            .collect();
        if self.partitions {
            let sets: Vec<Value> = (0..self.count).map(counters).collect();
            specs.extend(
                sets.chunks(SETS_PER_SLICE)
                    .map(|sets| json!({"sharedCounters": sets})),
            );
        }
        let total = specs.len();
        let slice = |(number, mut spec): (usize, Value)| {
            spec["driver"] = json!(self.driver);
            spec["nodeName"] = json!(node);
            spec["pool"] = json!({"name": node, "generation": 1, "resourceSliceCount": total});
            json!({
                "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
                "metadata": {"name": format!("{node}-{}-{number}", self.driver)},
                "spec": spec,
            })
        };
        specs.into_iter().enumerate().map(slice).collect()
    }

    /// The DeviceClasses that the driver is installed with.
    pub(super) fn classes(&self) -> Vec<Value> {
        let driver = &self.driver;
        let class = |name: String, kind: &str| {
            let selector = format!(
                r#"device.driver == "{driver}" && device.attributes["{driver}"].type == "{kind}""#
            );
            json!({
                "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass",
                "metadata": {"name": name},
                "spec": {"selectors": [{"cel": {"expression": selector}}]},
            })
        };
        let mut whole = class(driver.clone(), "gpu");
        if let Some(resource) = &self.extended_resource {
            whole["spec"]["extendedResourceName"] = json!(resource);
        }
        let mut classes = vec![whole];
        if self.partitions {
            classes.push(class(format!("mig.{driver}"), "mig"));
        }
        classes
    }

    /// A device, and its partitions.
    fn devices(&self, node: &str, index: u32) -> Vec<Value> {
        let mut attributes: Map<String, Value> = self
            .attributes
            .iter()
            .map(|(name, value)| (name.clone(), attribute(value)))
            .collect();
        let numa = u64::from(index) * 2 / u64::from(self.count.max(1));
        attributes.insert(
            "resource.kubernetes.io/numaNode".to_owned(),
            json!({"int": numa}),
        );
        attributes.insert(
            "uuid".to_owned(),
            json!({"string": format!("GPU-{node}-{index}")}),
        );
        let capacity: Map<String, Value> = self
            .capacity
            .iter()
            .map(|(name, amount)| (name.clone(), json!({"value": super::quantity(amount)})))
            .collect();
        let device = |name: String, kind: &str, more: &[(&str, Value)]| {
            let mut attributes = attributes.clone();
            attributes.insert("type".to_owned(), json!({"string": kind}));
            attributes.extend(
                more.iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone())),
            );
            json!({"name": name, "attributes": attributes})
        };
        let mut whole = device(format!("gpu-{index}"), "gpu", &[]);
        whole["capacity"] = json!(capacity);
        if !self.partitions {
            return vec![whole];
        }
        whole["consumesCounters"] = json!([consumption(index, 7, 0..8)]);
        let mut all = vec![whole];
        for (profile, compute, memory, starts) in PROFILES {
            for start in starts {
                let name = format!("gpu-{index}-mig-{}-{start}", profile.replace('.', "-"));
                let mut part = device(name, "mig", &[("profile", json!({"string": profile}))]);
                part["capacity"] = json!({"memory": {"value": format!("{}Gi", memory * 10)}});
                part["consumesCounters"] =
                    json!([consumption(index, compute, *start..start + memory)]);
                all.push(part);
            }
        }
        all
    }
}

fn set_name(index: u32) -> String {
    format!("gpu-{index}-counter-set")
}

/// What a GPU can be cut into: seven slices of compute and eight of memory.
fn counters(index: u32) -> Value {
    let mut counters = Map::from_iter([("compute".to_owned(), json!({"value": "7"}))]);
    counters.extend((0..8).map(|slice| (format!("memory-slice-{slice}"), json!({"value": "1"}))));
    json!({"name": set_name(index), "counters": counters})
}

fn consumption(index: u32, compute: u32, memory: std::ops::Range<u32>) -> Value {
    let mut counters =
        Map::from_iter([("compute".to_owned(), json!({"value": compute.to_string()}))]);
    counters.extend(memory.map(|slice| (format!("memory-slice-{slice}"), json!({"value": "1"}))));
    json!({"counterSet": set_name(index), "counters": counters})
}

fn attribute(value: &Value) -> Value {
    match value {
        Value::Bool(value) => json!({"bool": value}),
        Value::Number(number) if number.is_i64() => json!({"int": number}),
        Value::String(text) => json!({"string": text}),
        other => json!({"string": other.to_string()}),
    }
}
