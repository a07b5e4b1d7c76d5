//! The devices of the member (DRA): slices, claims and classes in, shapes, layouts and what is taken out.
//!
//! ```text
//! ResourceSlices -> complete pools of one node -> devices -> shape (what they are) + group (what they use of counters)
//! ResourceClaims -> allocated devices ------------------------> taken, per group
//! ```
//!
//! Only what is known for sure is reported: a pool that is being replaced, a device that several claims may share or that is not
//! of one node is left out, and named as a problem where a person should know.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{
    DeviceClassSummary, DeviceGroup, DeviceLayout, DeviceShape, DeviceSummary, DeviceTaint,
    NodeDevices,
};
use placement_api::quantity::ResourceList;
use placement_api::raw::digest_of;
use placement_api::resources::{fits, sub_saturating};
use serde_json::json;

use super::slice::{Amount, Claim, Device, DeviceId, Slice};

/// What the devices of the member are and which are taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Devices {
    /// Classes, by name.
    pub classes: Vec<DeviceClassSummary>,
    /// Shapes, by id.
    pub shapes: Vec<DeviceShape>,
    /// Layouts, by id.
    pub layouts: Vec<DeviceLayout>,
    /// Devices by node.
    pub nodes: BTreeMap<String, NodeDevices>,
    /// For people: by driver, product and sharing.
    pub summaries: Vec<DeviceSummary>,
    /// What is left out although somebody may count on it.
    pub problems: Vec<String>,
}

/// Attributes that each device has a value of its own for.
const OWN: [&str; 14] = [
    "uuid",
    "parentUUID",
    "serial",
    "index",
    "minor",
    "parentMinor",
    "parentIndex",
    "pciAddr",
    "parentPciAddr",
    "pciBusID",
    "pciBusId",
    "cardIndex",
    "renderIndex",
    "gpuModuleID",
];
/// An attribute with more values than this among the devices of a driver, and more than half as many as there are devices, is
/// none that many devices have in common.
const VALUES: usize = 16;

/// Counts the devices. `usable` says of a node whether it takes work.
pub fn take_devices<'a>(
    slices: impl Iterator<Item = &'a Slice>,
    claims: impl Iterator<Item = &'a Claim>,
    classes: impl Iterator<Item = &'a DeviceClassSummary>,
    usable: impl Fn(&str) -> bool,
) -> Devices {
    let mut out = Devices {
        classes: classes.cloned().collect(),
        ..Devices::default()
    };
    out.classes.sort();
    let pools = pools(slices);
    let (local, problems) = of_nodes(&pools);
    out.problems = problems;
    let own = own_attributes(&local);
    let allocated: BTreeSet<&DeviceId> = claims.flat_map(|claim| &claim.devices).collect();
    let mut shapes: BTreeMap<String, DeviceShape> = BTreeMap::new();
    let mut layouts: BTreeMap<String, DeviceLayout> = BTreeMap::new();
    let mut sums: BTreeMap<(String, String, &str), Sum<'_>> = BTreeMap::new();
    for (node, pools) in &local {
        let mut groups: BTreeMap<(String, Uses), (i64, i64)> = BTreeMap::new();
        let mut counters = ResourceList::new();
        for (number, pool) in pools.iter().enumerate() {
            let mut left = pool.counters(number);
            counters.extend(left.clone());
            let id = |device: &Device| {
                let (driver, pool) = (pool.driver.to_owned(), pool.name.to_owned());
                (driver, pool, device.name.clone())
            };
            let (used, free): (Vec<&Device>, Vec<&Device>) = pool
                .devices
                .iter()
                .partition(|device| allocated.contains(&id(device)));
            for device in &used {
                left = sub_saturating(&left, &Uses::of(number, device).list);
            }
            let devices = used.iter().map(|device| (device, true));
            for (device, taken) in devices.chain(free.iter().map(|device| (device, false))) {
                let shape = shape(pool.driver, device, &own);
                let uses = Uses::of(number, device);
                if usable(node) {
                    let key = (pool.driver.to_owned(), product(device), sharing(device));
                    let open = shape.taints.is_empty();
                    let sum = sums.entry(key).or_default();
                    sum.total += i64::from(open);
                    sum.free += i64::from(open && !taken && fits(&uses.list, &left));
                    let sets = device.consumes_counters.iter();
                    sum.sets
                        .extend(sets.map(|one| (*node, number, one.counter_set.as_str())));
                }
                let group = groups.entry((shape.id.clone(), uses)).or_default();
                group.0 += 1;
                group.1 += i64::from(taken);
                shapes.entry(shape.id.clone()).or_insert(shape);
            }
        }
        let mut layout = DeviceLayout {
            id: String::new(),
            counters,
            groups: Vec::new(),
        };
        let mut taken = Vec::new();
        for ((shape, uses), (count, used)) in groups {
            layout.groups.push(DeviceGroup {
                shape,
                count,
                uses: uses.list,
            });
            taken.push(used);
        }
        while taken.last() == Some(&0) {
            taken.pop();
        }
        layout.id = short(&json!([layout.counters, layout.groups]));
        out.nodes.insert(
            (*node).to_owned(),
            NodeDevices {
                layout: layout.id.clone(),
                taken,
            },
        );
        layouts.entry(layout.id.clone()).or_insert(layout);
    }
    out.shapes = shapes.into_values().collect();
    out.layouts = layouts.into_values().collect();
    out.summaries = sums
        .into_iter()
        .map(|((driver, product, sharing), sum)| DeviceSummary {
            resource: driver,
            product,
            sharing: sharing.to_owned(),
            total: sum.total,
            free: sum.free,
            physical: (!sum.sets.is_empty())
                .then(|| i64::try_from(sum.sets.len()).unwrap_or(i64::MAX)),
        })
        .collect();
    out
}

/// Devices of one driver, product and sharing.
#[derive(Default)]
struct Sum<'a> {
    total: i64,
    free: i64,
    /// Sets of counters that they share: each stands for a physical device.
    sets: BTreeSet<(&'a str, usize, &'a str)>,
}

/// The newest complete generation of every pool.
fn pools<'a>(
    slices: impl Iterator<Item = &'a Slice>,
) -> BTreeMap<(&'a str, &'a str), Vec<&'a Slice>> {
    let mut pools: BTreeMap<(&str, &str), Vec<&Slice>> = BTreeMap::new();
    for slice in slices.filter(|slice| !slice.driver.is_empty()) {
        let pool = pools.entry((&slice.driver, &slice.pool.name)).or_default();
        let newest = pool.first().map_or(i64::MIN, |first| first.pool.generation);
        if slice.pool.generation > newest {
            pool.clear();
        }
        if slice.pool.generation >= newest {
            pool.push(slice);
        }
    }
    pools.retain(|_, slices| {
        slices.sort_by(|a, b| a.name.cmp(&b.name));
        let complete = slices.first().is_some_and(|first| {
            i64::try_from(slices.len()) == Ok(first.pool.resource_slice_count)
        });
        let mut names = BTreeSet::new();
        let unique = slices
            .iter()
            .flat_map(|slice| &slice.devices)
            .all(|device| names.insert(&device.name));
        complete && unique
    });
    pools
}

/// The devices of one pool on one node.
struct Local<'a> {
    driver: &'a str,
    name: &'a str,
    slices: Vec<&'a Slice>,
    devices: Vec<&'a Device>,
}

impl Local<'_> {
    /// The counters that its devices share.
    fn counters(&self, number: usize) -> ResourceList {
        let sets = self.slices.iter().flat_map(|slice| &slice.shared_counters);
        let all = sets.flat_map(|set| {
            let named = |(name, amount): (&String, &Amount)| {
                (format!("{number}/{}/{name}", set.name), amount.value)
            };
            set.counters.iter().map(named)
        });
        all.collect()
    }
}

/// Pools by the node that has their devices, and what is left out.
fn of_nodes<'a>(
    pools: &BTreeMap<(&'a str, &'a str), Vec<&'a Slice>>,
) -> (BTreeMap<&'a str, Vec<Local<'a>>>, Vec<String>) {
    let mut local: BTreeMap<&str, Vec<Local<'_>>> = BTreeMap::new();
    let (mut elsewhere, mut shared, mut late): (BTreeSet<&str>, BTreeSet<&str>, BTreeSet<&str>) =
        Default::default();
    for ((driver, name), slices) in pools {
        let mut by_node: BTreeMap<&str, Vec<&Device>> = BTreeMap::new();
        for slice in slices {
            for device in &slice.devices {
                let own = slice.per_device_node_selection.then_some(&device.node_name);
                let node = own.unwrap_or(&slice.node_name).as_deref();
                match node.filter(|node| !node.is_empty()) {
                    None => drop(elsewhere.insert(driver)),
                    Some(_) if device.allow_multiple_allocations => drop(shared.insert(driver)),
                    Some(_) if !device.binding_conditions.is_empty() => drop(late.insert(driver)),
                    Some(node) => by_node.entry(node).or_default().push(device),
                }
            }
        }
        let counted = slices.iter().any(|slice| !slice.shared_counters.is_empty());
        if counted && by_node.len() > 1 {
            // Counters that nodes share are nobody's.
            elsewhere.insert(driver);
            continue;
        }
        for (node, devices) in by_node {
            local.entry(node).or_default().push(Local {
                driver,
                name,
                slices: slices.clone(),
                devices,
            });
        }
    }
    let say = |drivers: BTreeSet<&str>, what: &str| {
        (!drivers.is_empty()).then(|| {
            let drivers: Vec<&str> = drivers.into_iter().collect();
            format!(
                "devices of {} {what} and are not counted",
                drivers.join(", ")
            )
        })
    };
    let problems = [
        say(elsewhere, "do not belong to one node"),
        say(shared, "may be shared by several claims"),
        say(late, "are ready only on further conditions"),
    ];
    (local, problems.into_iter().flatten().collect())
}

/// Attributes, by driver, whose values say which device it is and not what it is.
fn own_attributes<'a>(local: &BTreeMap<&str, Vec<Local<'a>>>) -> BTreeSet<(&'a str, &'a str)> {
    let mut values: BTreeMap<(&str, &str), BTreeSet<_>> = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for pool in local.values().flatten() {
        *counts.entry(pool.driver).or_default() += pool.devices.len();
        for device in &pool.devices {
            for (name, value) in &device.attributes {
                values.entry((pool.driver, name)).or_default().insert(value);
            }
        }
    }
    values
        .into_iter()
        .filter(|((driver, name), values)| {
            let short = name.rsplit('/').next().unwrap_or(name);
            let devices = counts.get(driver).copied().unwrap_or_default();
            OWN.contains(&short) || (values.len() > VALUES && values.len() * 2 > devices)
        })
        .map(|(key, _)| key)
        .collect()
}

fn shape(driver: &str, device: &Device, own: &BTreeSet<(&str, &str)>) -> DeviceShape {
    let (unsaid, said): (Vec<_>, Vec<_>) = device
        .attributes
        .iter()
        .partition(|(name, _)| own.contains(&(driver, name.as_str())));
    let mut taints: Vec<DeviceTaint> = device
        .taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .cloned()
        .collect();
    taints.sort();
    taints.dedup();
    let mut shape = DeviceShape {
        id: String::new(),
        driver: driver.to_owned(),
        attributes: said
            .into_iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        capacity: device
            .capacity
            .iter()
            .map(|(name, amount)| (name.clone(), amount.value))
            .collect(),
        taints,
        unsaid: unsaid.into_iter().map(|(name, _)| name.clone()).collect(),
    };
    shape.id = short(&json!(shape));
    shape
}

fn short(value: &serde_json::Value) -> String {
    let mut id = digest_of(value);
    id.truncate(10);
    id
}

/// What a device uses of the counters of its node, comparable.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Uses {
    list: ResourceList,
}

impl Uses {
    fn of(pool: usize, device: &Device) -> Self {
        let mut list = ResourceList::new();
        for consumption in &device.consumes_counters {
            for (name, amount) in &consumption.counters {
                if !amount.value.is_zero() {
                    let key = format!("{pool}/{}/{name}", consumption.counter_set);
                    list.insert(key, amount.value);
                }
            }
        }
        Self { list }
    }
}

/// The product, as most drivers name it.
fn product(device: &Device) -> String {
    let text = |name: &str| device.attributes.get(name)?.string.clone();
    let product = text("productName").or_else(|| text("model"));
    let profile = text("profile").map(|profile| format!(" {profile}"));
    let product = product.unwrap_or_default();
    format!("{product}{}", profile.unwrap_or_default())
}

fn sharing(device: &Device) -> &'static str {
    let kind = device
        .attributes
        .get("type")
        .and_then(|kind| kind.string.as_deref());
    match kind {
        Some("mig") => "MIG",
        Some("gpu") => "Whole",
        _ if device.consumes_counters.is_empty() => "Whole",
        _ => "Partition",
    }
}

#[cfg(test)]
mod tests {
    use placement_api::raw::RawObject;
    use serde_json::{Value, json};

    use super::*;

    fn slice(value: &Value) -> Slice {
        Slice::read(&RawObject::from_value(value).unwrap())
    }

    fn gpus(node: &str, count: usize) -> Slice {
        let device = |i: usize| {
            json!({"name": format!("gpu-{i}"),
            "attributes": {"type": {"string": "gpu"}, "productName": {"string": "H100"}, "uuid": {"string": format!("GPU-{node}-{i}")}, "numaNode": {"int": i / 4}},
            "capacity": {"memory": {"value": "80Gi"}}})
        };
        slice(
            &json!({"metadata": {"name": format!("{node}-a")}, "spec": {"driver": "gpu.nvidia.com", "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}, "devices": (0..count).map(device).collect::<Vec<_>>()}}),
        )
    }

    fn claim(name: &str, node: &str, devices: &[&str], extra: &Value) -> Claim {
        let results: Vec<Value> = devices
            .iter()
            .map(|device| {
                let mut one = json!({"request": "r", "driver": "gpu.nvidia.com", "pool": node, "device": device});
                one.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
                one
            })
            .collect();
        Claim::read(&RawObject::from_value(&json!({"metadata": {"namespace": "n", "name": name}, "status": {"allocation": {"devices": {"results": results}}}})).unwrap())
    }

    fn take(slices: &[Slice], claims: &[Claim]) -> Devices {
        take_devices(slices.iter(), claims.iter(), std::iter::empty(), |_| true)
    }

    #[test]
    fn nodes_that_are_alike_share_a_layout() {
        let slices = [gpus("n1", 8), gpus("n2", 8), gpus("n3", 4)];
        let none = json!({});
        let claims = [
            claim("a", "n1", &["gpu-0", "gpu-5"], &none),
            claim("b", "n2", &["gpu-1"], &json!({"adminAccess": true})),
            claim("c", "n9", &["gone"], &none),
        ];
        let devices = take(&slices, &claims);
        assert_eq!(
            (devices.layouts.len(), devices.shapes.len()),
            (2, 2),
            "two NUMA nodes are two shapes, whatever the UUIDs"
        );
        assert_eq!(devices.shapes[0].unsaid, ["uuid"]);
        assert_eq!(devices.nodes["n1"].layout, devices.nodes["n2"].layout);
        assert_eq!(devices.nodes["n1"].taken, [1, 1]);
        assert!(
            devices.nodes["n2"].taken.is_empty(),
            "who only looks takes nothing"
        );
        let sum = &devices.summaries[0];
        assert_eq!(
            (
                sum.resource.as_str(),
                sum.product.as_str(),
                sum.sharing.as_str(),
                sum.total,
                sum.free
            ),
            ("gpu.nvidia.com", "H100", "Whole", 20, 18)
        );
        let mut turned = slices.to_vec();
        turned.reverse();
        assert_eq!(take(&turned, &claims), devices, "order does not matter");
    }

    #[test]
    fn only_the_newest_complete_generation_counts() {
        let mut old = gpus("n1", 8);
        let mut new = gpus("n1", 2);
        new.name = "n1-b".into();
        new.pool.generation = 2;
        assert_eq!(take(&[old.clone(), new.clone()], &[]).summaries[0].total, 2);
        new.pool.resource_slice_count = 2;
        assert!(
            take(&[old.clone(), new.clone()], &[]).nodes.is_empty(),
            "half of it is there"
        );
        let mut twin = gpus("n1", 2);
        twin.name = "n1-c".into();
        twin.pool = new.pool.clone();
        assert!(
            take(&[new, twin], &[]).nodes.is_empty(),
            "two devices of one name"
        );
        old.driver.clear();
        assert!(take(&[old], &[]).nodes.is_empty(), "not to be read");
    }

    #[test]
    fn partitions_use_up_their_counters() {
        let partition = |name: &str, slices: i64| {
            json!({"name": name, "attributes": {"type": {"string": "mig"}, "profile": {"string": format!("{slices}g")}},
            "consumesCounters": [{"counterSet": "gpu-0", "counters": {"slices": {"value": slices}}}]})
        };
        let devices = [
            partition("a", 3),
            partition("b", 3),
            partition("c", 7),
            partition("d", 1),
        ];
        let both = [
            slice(
                &json!({"metadata": {"name": "s"}, "spec": {"driver": "gpu.nvidia.com", "nodeName": "n1", "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 2},
                "sharedCounters": [{"name": "gpu-0", "counters": {"slices": {"value": "7"}}}]}}),
            ),
            slice(
                &json!({"metadata": {"name": "t"}, "spec": {"driver": "gpu.nvidia.com", "nodeName": "n1", "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 2}, "devices": devices}}),
            ),
        ];
        let devices = take(&both, &[claim("x", "n1", &["a"], &json!({}))]);
        let layout = &devices.layouts[0];
        assert_eq!(layout.counters["0/gpu-0/slices"].value(), 7);
        assert_eq!(
            layout.groups.iter().map(|group| group.count).sum::<i64>(),
            4
        );
        let free: BTreeMap<&str, (i64, i64, Option<i64>)> = devices
            .summaries
            .iter()
            .map(|sum| (sum.product.as_str(), (sum.total, sum.free, sum.physical)))
            .collect();
        assert_eq!(free[" 3g"], (2, 1, Some(1)));
        assert_eq!(free[" 7g"], (1, 0, Some(1)), "a third of it is away");
        assert_eq!(free[" 1g"], (1, 1, Some(1)));
    }

    #[test]
    fn what_is_not_of_one_node_is_named_and_left_out() {
        let mut net = gpus("", 2);
        net.node_name = None;
        let mut shared = gpus("n2", 1);
        shared.devices[0].allow_multiple_allocations = true;
        let mut late = gpus("n3", 1);
        late.devices[0].binding_conditions = vec!["attached".into()];
        let devices = take(&[net, shared, late], &[]);
        assert!(devices.nodes.is_empty());
        assert_eq!(devices.problems.len(), 3, "{:?}", devices.problems);
        let mut per_device = gpus("", 2);
        per_device.node_name = None;
        per_device.per_device_node_selection = true;
        per_device.devices[0].node_name = Some("n4".into());
        per_device.devices[1].node_name = Some("n5".into());
        assert_eq!(take(&[per_device], &[]).nodes.len(), 2);
    }

    #[test]
    fn tainted_devices_leave_at_once() {
        let mut sick = gpus("n1", 2);
        sick.devices[0].taints = vec![DeviceTaint {
            key: "gpu.nvidia.com/xid".into(),
            value: "79".into(),
            effect: "NoExecute".into(),
        }];
        sick.devices[1].taints = vec![DeviceTaint {
            key: "gpu.nvidia.com/xid".into(),
            value: "13".into(),
            effect: "None".into(),
        }];
        let devices = take(&[sick], &[]);
        assert_eq!(
            (devices.summaries[0].total, devices.summaries[0].free),
            (1, 1)
        );
        assert_eq!(
            devices
                .shapes
                .iter()
                .filter(|shape| !shape.taints.is_empty())
                .count(),
            1
        );
    }

    #[test]
    fn attributes_with_a_value_per_device_are_not_said() {
        let mut slices: Vec<Slice> = (0..10).map(|i| gpus(&format!("n{i}"), 4)).collect();
        for (i, device) in slices
            .iter_mut()
            .flat_map(|slice| &mut slice.devices)
            .enumerate()
        {
            device.attributes.insert(
                "vendor/asset".into(),
                placement_api::kinds::DeviceAttribute {
                    int: Some(i64::try_from(i).unwrap()),
                    ..Default::default()
                },
            );
        }
        let devices = take(&slices, &[]);
        assert_eq!(devices.shapes.len(), 1);
        assert_eq!(devices.shapes[0].unsaid, ["uuid", "vendor/asset"]);
    }
}
