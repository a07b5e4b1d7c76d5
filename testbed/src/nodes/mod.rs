//! Node pools from a small description to Node objects, as cloud providers and NVIDIA's device plugin and GPU feature
//! discovery (GFD) make them look. Pure: text in, objects out.
//!
//! ```yaml
//! pools:                        # for every member that `members` does not name
//! - {name: cpu, count: 3, capacity: {cpu: 32, memory: 128Gi}}
//! members:
//!   member1:
//!     region: eu
//!     pools:
//!     - name: h100
//!       count: 4
//!       capacity: {cpu: 192, memory: 2Ti}
//!       racks: 2                # two racks of two nodes; `racks: {size: 8}` fills racks of eight
//!       clique: rack            # one NVLink clique for each rack, or `pool`, or `node`
//!       gpu: {product: NVIDIA-H100-80GB-HBM3, memory: 81559, count: 8}
//!     - name: dra
//!       count: 2
//!       capacity: {cpu: 64, memory: 512Gi}
//!       devices: {driver: gpu.example.com, count: 4, attributes: {productName: H100}, capacity: {memory: 80Gi}}
//! ```

mod devices;
mod gpu;

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::devices::Devices;
pub use self::gpu::{Gpu, Mig, MigStrategy, Sharing, SharingStrategy};

/// Label with the name of a node's pool.
pub const POOL_LABEL: &str = "testbed.inhaul.dev/pool";

/// Topology label of a node's rack.
pub const RACK_LABEL: &str = "topology.kubernetes.io/rack";

/// The NVLink clique of a node, as GFD writes it.
pub const CLIQUE_LABEL: &str = "nvidia.com/gpu.clique";

/// The nodes of a fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Pools of members that `members` does not name.
    #[serde(default)]
    pub pools: Vec<Pool>,
    /// Members by name.
    #[serde(default)]
    pub members: BTreeMap<String, Member>,
}

/// One member's nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Region of all pools that name none.
    #[serde(default)]
    pub region: Option<String>,
    /// Its pools.
    pub pools: Vec<Pool>,
}

/// Nodes that are alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Pool {
    /// Name, and first part of the names of its nodes.
    pub name: String,
    /// Number of nodes.
    pub count: u32,
    /// Resources of a node: cpu, memory, pods (110 if not given), any other. GPUs come from `gpu`.
    pub capacity: BTreeMap<String, Value>,
    /// What pods may use of it, where that is less.
    #[serde(default)]
    pub allocatable: BTreeMap<String, Value>,
    /// Further labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints, as in a Node.
    #[serde(default)]
    pub taints: Vec<Value>,
    /// GPUs of a node.
    #[serde(default)]
    pub gpu: Option<Gpu>,
    /// Devices of a node that a driver publishes (DRA).
    #[serde(default)]
    pub devices: Option<Devices>,
    /// Racks, into which the nodes are put in order.
    #[serde(default)]
    pub racks: Option<Racks>,
    /// Who shares an NVLink clique.
    #[serde(default)]
    pub clique: Option<Clique>,
    /// Region label.
    #[serde(default)]
    pub region: Option<String>,
    /// Zone label.
    #[serde(default)]
    pub zone: Option<String>,
    /// Instance type label; the pool's name if not given.
    #[serde(default)]
    pub instance_type: Option<String>,
}

/// How the nodes of a pool are put into racks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Racks {
    /// This many racks, filled evenly.
    Count(u32),
    /// Racks of this many nodes.
    Size {
        /// Nodes in a rack.
        size: u32,
    },
}

/// Which nodes of a pool share an NVLink clique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clique {
    /// All of the pool.
    Pool,
    /// Those of a rack.
    Rack,
    /// Each node for itself.
    Node,
}

impl Description {
    /// The nodes of the demo: `nodes/demo.yaml`.
    pub fn demo() -> Result<Self> {
        Self::parse(include_str!("../../nodes/demo.yaml"))
    }

    /// Reads a description and checks it.
    pub fn parse(text: &str) -> Result<Self> {
        let mut new: Self =
            serde_yaml_ng::from_str(text).context("the description of nodes cannot be read")?;
        for member in new.members.values_mut() {
            for pool in &mut member.pools {
                pool.region = pool.region.take().or_else(|| member.region.clone());
            }
        }
        for (name, pools) in new
            .members
            .iter()
            .map(|(name, member)| (name.as_str(), &member.pools))
            .chain([("any member", &new.pools)])
        {
            check(pools).with_context(|| format!("nodes of {name}"))?;
        }
        Ok(new)
    }

    /// The pools of a member.
    pub fn pools_of(&self, member: &str) -> &[Pool] {
        self.members
            .get(member)
            .map_or(&self.pools, |member| &member.pools)
    }
}

fn check(pools: &[Pool]) -> Result<()> {
    for (at, pool) in pools.iter().enumerate() {
        let name = &pool.name;
        if name.is_empty()
            || !name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        {
            bail!("pool name {name:?}: use small letters, digits and -");
        }
        if pools[..at].iter().any(|other| other.name == *name) {
            bail!("two pools are called {name}");
        }
        if matches!(pool.racks, Some(Racks::Count(0) | Racks::Size { size: 0 })) {
            bail!("pool {name}: racks: 0 is no number of racks; leave it out");
        }
        if pool.clique == Some(Clique::Rack) && pool.racks.is_none() {
            bail!("pool {name}: clique: rack needs racks");
        }
        for resource in ["cpu", "memory"] {
            if !pool.capacity.contains_key(resource) {
                bail!("pool {name}: capacity.{resource} is missing");
            }
        }
        for taint in &pool.taints {
            if !taint["key"].is_string() || !taint["effect"].is_string() {
                bail!("pool {name}: a taint needs key and effect");
            }
        }
    }
    Ok(())
}

impl Pool {
    /// Its Node objects, `<pool>-1` to `<pool>-<count>`, Ready from the start: kwok keeps them so.
    pub fn nodes(&self) -> Vec<Value> {
        (0..self.count).map(|index| self.node(index)).collect()
    }

    /// ResourceSlices of its nodes and DeviceClasses, with the plural of their kinds.
    pub fn devices(&self) -> Vec<(&'static str, Value)> {
        let Some(devices) = &self.devices else {
            return Vec::new();
        };
        let slices = (0..self.count).flat_map(|index| devices.slices(&self.node_name(index)));
        let classes = devices
            .classes()
            .into_iter()
            .map(|class| ("deviceclasses", class));
        classes
            .chain(slices.map(|slice| ("resourceslices", slice)))
            .collect()
    }

    fn node_name(&self, index: u32) -> String {
        format!("{}-{}", self.name, index + 1)
    }

    fn node(&self, index: u32) -> Value {
        let name = self.node_name(index);
        let capacity = self.resources(&self.capacity);
        let mut allocatable = capacity.clone();
        allocatable.extend(
            self.allocatable
                .iter()
                .map(|(resource, amount)| (resource.clone(), quantity(amount))),
        );
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": self.labels_of(index, &name)},
            "spec": {"taints": self.taints},
            "status": {
                "capacity": capacity,
                "allocatable": allocatable,
                "nodeInfo": {
                    "architecture": "amd64", "operatingSystem": "linux", "osImage": "Ubuntu 24.04.3 LTS",
                    "kernelVersion": "6.8.0", "containerRuntimeVersion": "kwok", "kubeletVersion": "", "kubeProxyVersion": "",
                    "machineID": "", "systemUUID": "", "bootID": "",
                },
            },
        })
    }

    fn resources(&self, given: &BTreeMap<String, Value>) -> Map<String, Value> {
        let mut resources = Map::from_iter([("pods".to_owned(), json!("110"))]);
        resources.extend(
            given
                .iter()
                .map(|(resource, amount)| (resource.clone(), quantity(amount))),
        );
        resources.extend(
            self.gpu
                .iter()
                .flat_map(Gpu::resources)
                .map(|(resource, amount)| (resource, json!(amount.to_string()))),
        );
        resources
    }

    fn labels_of(&self, index: u32, name: &str) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from(
            [
                ("kubernetes.io/hostname", name),
                ("kubernetes.io/os", "linux"),
                ("kubernetes.io/arch", "amd64"),
                (
                    "node.kubernetes.io/instance-type",
                    self.instance_type.as_deref().unwrap_or(&self.name),
                ),
                (POOL_LABEL, &self.name),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let mut put = |key: &str, value: Option<String>| {
            labels.extend(value.map(|value| (key.to_owned(), value)));
        };
        put("topology.kubernetes.io/region", self.region.clone());
        put("topology.kubernetes.io/zone", self.zone.clone());
        put(
            RACK_LABEL,
            self.rack(index).map(|rack| format!("r{}", rack + 1)),
        );
        put(CLIQUE_LABEL, self.clique(index));
        labels.extend(self.gpu.iter().flat_map(Gpu::labels));
        labels.extend(self.labels.clone());
        labels
    }

    /// The rack of a node, counted from 0.
    fn rack(&self, index: u32) -> Option<u32> {
        let size = match self.racks? {
            Racks::Count(count) => self.count.div_ceil(count),
            Racks::Size { size } => size,
        };
        index.checked_div(size)
    }

    /// `<UUID of the NVLink domain>.<clique>`, as GFD writes it.
    fn clique(&self, index: u32) -> Option<String> {
        let number = match self.clique? {
            Clique::Pool => 0,
            Clique::Rack => self.rack(index)?,
            Clique::Node => index,
        };
        Some(format!("{}.{number}", gpu::domain_uuid(&self.name)))
    }
}

/// A quantity as the API wants it: text, whatever YAML took it for.
fn quantity(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(text),
        other => json!(other.to_string()),
    }
}

/// Pools in one line: `7 nodes · 32 × H100 in 2 racks`.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'a>(pub &'a [Pool]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: u32 = self.0.iter().map(|pool| pool.count).sum();
        write!(f, "{nodes} node{}", if nodes == 1 { "" } else { "s" })?;
        for pool in self.0 {
            if let Some(devices) = &pool.devices {
                write!(
                    f,
                    " · {} × {} (DRA)",
                    pool.count * devices.count,
                    devices.driver
                )?;
            }
            let Some(gpu) = &pool.gpu else { continue };
            write!(f, " · {} × {}", pool.count * gpu.count, gpu.short_product())?;
            match pool.count.checked_sub(1).and_then(|last| pool.rack(last)) {
                Some(0) => f.write_str(" in 1 rack")?,
                Some(last) => write!(f, " in {} racks", last + 1)?,
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
