//! The devices of one node.

use std::collections::BTreeMap;
use std::sync::Arc;

use placement_api::devices::{PARTS, class_resource};
use placement_api::kinds::{DeviceShape, InventoryStatus, NodeDevices as Reported};

use super::Catalog;
use super::catalog::is_behind;

/// The devices of one node and how many of them are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeDevices {
    /// Classes of the target: number by name.
    pub(super) classes: Arc<BTreeMap<String, usize>>,
    pub(super) layout: Arc<Layout>,
    /// Allocated devices, by group.
    pub(super) taken: Vec<i64>,
    /// Extended resources that the node has by its devices only.
    pub(super) backed: Arc<[String]>,
}

/// What nodes have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) groups: Vec<Group>,
    /// Shared counters, in thousandths.
    pub(super) counters: Vec<i64>,
    /// What each counter counts: the last word of its name, by number.
    pub(super) kinds: Vec<usize>,
    /// Words by number.
    pub(super) words: usize,
    /// The set that each counter is of: each stands for a physical device.
    pub(super) sets: Vec<usize>,
}

/// Devices that are alike and use the same counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) number: usize,
    pub(super) shape: Arc<DeviceShape>,
    pub(super) count: i64,
    /// What one of them uses up, by counter, in thousandths.
    pub(super) uses: Vec<(usize, i64)>,
    /// What one of them is of a physical device, in [`PARTS`].
    pub(super) parts: i64,
}

/// Layouts and classes of one report, read once for all nodes.
pub(crate) struct Report {
    classes: Arc<BTreeMap<String, usize>>,
    extended: Vec<(String, String)>,
    layouts: BTreeMap<String, Arc<Layout>>,
}

/// What the nodes of a target have as plain amounts, for one class or extended resource.
pub(crate) struct ClassAmount {
    /// Name of the resource.
    pub(crate) resource: String,
    /// Devices without taint.
    pub(crate) all: i64,
    /// Of them each by itself could be allocated.
    pub(crate) free: i64,
    /// It is an extended resource, and counts only where the node has it not by itself.
    pub(crate) extended: bool,
}

impl Report {
    pub(crate) fn new(status: &InventoryStatus, catalog: &mut Catalog) -> Self {
        let shapes: BTreeMap<&str, (usize, Arc<DeviceShape>)> = status
            .device_shapes
            .iter()
            .map(|shape| (shape.id.as_str(), catalog.shape(shape)))
            .collect();
        let classes = status.device_classes.iter();
        let extended = classes
            .clone()
            .filter_map(|class| Some((class.extended_resource.clone()?, class.name.clone())));
        Self {
            extended: extended.collect(),
            classes: Arc::new(
                classes
                    .map(|class| (class.name.clone(), catalog.class(class)))
                    .collect(),
            ),
            layouts: status
                .device_layouts
                .iter()
                .map(|layout| (layout.id.clone(), Arc::new(Layout::new(layout, &shapes))))
                .collect(),
        }
    }

    /// The devices of a node; `None`: it has none that are known.
    pub(crate) fn node(
        &self,
        reported: Option<&Reported>,
        has: impl Fn(&str) -> bool,
    ) -> Option<NodeDevices> {
        let reported = reported?;
        let layout = Arc::clone(self.layouts.get(&reported.layout)?);
        let mut taken = reported.taken.clone();
        taken.resize(layout.groups.len(), 0);
        for (taken, group) in taken.iter_mut().zip(&layout.groups) {
            *taken = (*taken).clamp(0, group.count);
        }
        let implied = self
            .classes
            .keys()
            .map(|class| format!("deviceclass.resource.kubernetes.io/{class}"));
        let named = self.extended.iter().map(|(resource, _)| resource.clone());
        let mut backed: Vec<String> = named.chain(implied).filter(|name| !has(name)).collect();
        backed.sort();
        backed.dedup();
        Some(NodeDevices {
            classes: Arc::clone(&self.classes),
            layout,
            taken,
            backed: backed.into(),
        })
    }

    /// The devices of a node by class and by extended resource.
    pub(crate) fn amounts(&self, node: &NodeDevices, catalog: &mut Catalog) -> Vec<ClassAmount> {
        let left = node.counters_left(&node.taken);
        let mut amounts = Vec::new();
        for (class, number) in self.classes.iter() {
            let (mut all, mut free) = (0, 0);
            for (group, taken) in node.layout.groups.iter().zip(&node.taken) {
                let open = group.shape.taints.is_empty();
                if open && catalog.meets(*number, &[], group.number) == Ok(true) {
                    let room = group.uses.iter().map(|(at, use_)| left[*at] / use_);
                    all += group.count;
                    free += (group.count - taken)
                        .min(room.min().unwrap_or(i64::MAX))
                        .max(0);
                }
            }
            amounts.push(ClassAmount {
                resource: class_resource(class),
                all,
                free,
                extended: false,
            });
            for resource in node.backed.iter() {
                let named = self
                    .extended
                    .iter()
                    .any(|(name, of)| name == resource && of == class);
                if named || is_implied(resource, class) {
                    amounts.push(ClassAmount {
                        resource: resource.clone(),
                        all,
                        free,
                        extended: true,
                    });
                }
            }
        }
        amounts
    }
}

fn is_implied(resource: &str, class: &str) -> bool {
    is_behind(
        &placement_api::kinds::DeviceClassSummary {
            name: class.to_owned(),
            ..Default::default()
        },
        resource,
    )
}

impl NodeDevices {
    /// The same node with nothing taken.
    pub(crate) fn empty(&self) -> Self {
        Self {
            taken: vec![0; self.taken.len()],
            ..self.clone()
        }
    }

    /// Counters less what so many devices of each group use.
    pub(super) fn counters_left(&self, taken: &[i64]) -> Vec<i64> {
        let mut left = self.layout.counters.clone();
        for (group, taken) in self.layout.groups.iter().zip(taken) {
            for (at, amount) in &group.uses {
                left[*at] -= amount * taken;
            }
        }
        left
    }
}

impl Layout {
    fn new(
        layout: &placement_api::kinds::DeviceLayout,
        shapes: &BTreeMap<&str, (usize, Arc<DeviceShape>)>,
    ) -> Self {
        let names: Vec<&String> = layout.counters.keys().collect();
        let word = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let mut words: Vec<String> = names.iter().map(|name| word(name)).collect();
        let kinds = words.clone();
        words.sort();
        words.dedup();
        let counters: Vec<i64> = layout
            .counters
            .values()
            .map(|amount| amount.milli_value())
            .collect();
        let mut sets: Vec<&str> = names.iter().map(|name| set(name)).collect();
        sets.sort_unstable();
        sets.dedup();
        let measures: Vec<&str> = names.iter().map(|name| measure(name)).collect();
        let group = |one: &placement_api::kinds::DeviceGroup| {
            let (number, shape) = shapes.get(one.shape.as_str())?;
            let uses = one.uses.iter().map(|(name, amount)| {
                let at = names.binary_search(&name).ok()?;
                Some((at, amount.milli_value()))
            });
            // A counter that is not there is one that nobody can use.
            let uses: Option<Vec<(usize, i64)>> = uses.collect();
            let parts = parts(&measures, &counters, uses.as_deref().unwrap_or_default());
            Some(Group {
                parts,
                number: *number,
                shape: Arc::clone(shape),
                count: if uses.is_some() { one.count.max(0) } else { 0 },
                uses: uses
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|(_, amount)| *amount > 0)
                    .collect(),
            })
        };
        Self {
            // A shape that is not there keeps the place of its group.
            groups: layout
                .groups
                .iter()
                .map(|one| group(one).unwrap_or_else(Group::unknown))
                .collect(),
            sets: names
                .iter()
                .map(|name| sets.binary_search(&set(name)).unwrap_or(0))
                .collect(),
            counters,
            kinds: kinds
                .iter()
                .map(|kind| words.binary_search(kind).unwrap_or(0))
                .collect(),
            words: words.len(),
        }
    }
}

impl Group {
    fn unknown() -> Self {
        Self {
            number: usize::MAX,
            shape: Arc::default(),
            count: 0,
            uses: Vec::new(),
            parts: 0,
        }
    }
}

/// The set that a counter is of.
fn set(counter: &str) -> &str {
    counter.rsplit_once('/').map_or("", |(set, _)| set)
}

/// What a counter is a piece of: those that differ only by a number (`memory-slice-0`, `memory-slice-1`) measure one thing together.
fn measure(counter: &str) -> &str {
    let digits = |letter: char| letter.is_ascii_digit();
    counter.trim_end_matches(digits).trim_end_matches('-')
}

/// What a device that uses this of the counters is of a physical one: as much as it takes of what it takes most of.
fn parts(measures: &[&str], counters: &[i64], uses: &[(usize, i64)]) -> i64 {
    let of = |(counter, _): &(usize, i64)| {
        let same = |at: &usize| measures[*at] == measures[*counter];
        let all: i64 = (0..counters.len())
            .filter(same)
            .map(|at| counters[at])
            .sum();
        let mine: i64 = uses
            .iter()
            .filter(|(at, _)| same(at))
            .map(|(_, uses)| uses)
            .sum();
        (i128::from(mine), i128::from(all.max(1)))
    };
    let most = uses.iter().map(of).map(|(mine, all)| {
        let parts = (mine * i128::from(PARTS) + all - 1) / all;
        i64::try_from(parts).unwrap_or(PARTS)
    });
    most.max().map_or(PARTS, |parts| parts.clamp(0, PARTS))
}
