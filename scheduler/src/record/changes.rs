//! What of an inventory differs from the one before, and the way back.

use std::collections::BTreeMap;

use placement_api::kinds::{CountedAssignment, InventoryNode, InventoryStatus};
use serde::Serialize;
use serde_json::Value;

use super::digest::digest;
use super::line::Inventory;
use crate::fleet::TargetName;

type Digest = [u8; 16];

/// The inventory of a target as it was last written, in digests.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    fields: BTreeMap<String, Digest>,
    nodes: BTreeMap<String, Digest>,
    counted: BTreeMap<String, Digest>,
}

/// The inventory of a target as it was last read.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    fields: BTreeMap<String, Value>,
    nodes: BTreeMap<String, InventoryNode>,
    counted: BTreeMap<String, CountedAssignment>,
}

/// Something in a list that is sorted by name.
trait Named: Clone + Serialize {
    fn name(&self) -> &str;
}

impl Named for InventoryNode {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for CountedAssignment {
    fn name(&self) -> &str {
        &self.name
    }
}

/// What is to be written of an inventory. `before` is what was written of this target; absent: nothing, or something that
/// cannot be the base of a difference.
pub(super) fn write(
    target: TargetName,
    mut status: InventoryStatus,
    before: Option<Written>,
) -> (Inventory, Option<Written>) {
    let mut line = Inventory::of(target);
    if !(sorted(&status.nodes) && sorted(&status.counted)) {
        // Lists in another order than ours are kept as they are.
        line.whole = Some(Box::new(status));
        return (line, None);
    }
    let first = before.is_none();
    let before = before.unwrap_or_default();
    let whole = first.then(|| Box::new(status.clone()));
    let nodes = std::mem::take(&mut status.nodes);
    let counted = std::mem::take(&mut status.counted);
    let fields = fields(&status);
    let after = Written {
        fields: digests(fields.iter().map(|(name, value)| (name.as_str(), value))),
        nodes: digests(nodes.iter().map(|node| (node.name(), node))),
        counted: digests(counted.iter().map(|one| (one.name(), one))),
    };
    if first {
        line.whole = whole;
        return (line, Some(after));
    }
    line.fields = fields
        .into_iter()
        .filter(|(name, _)| before.fields.get(name) != after.fields.get(name))
        .collect();
    let gone = gone(&before.fields, &after.fields).into_iter();
    line.fields.extend(gone.map(|name| (name, Value::Null)));
    line.nodes = changed(nodes, &before.nodes, &after.nodes);
    line.nodes_gone = self::gone(&before.nodes, &after.nodes);
    line.counted = changed(counted, &before.counted, &after.counted);
    line.counted_gone = self::gone(&before.counted, &after.counted);
    (line, Some(after))
}

impl Known {
    /// Takes in a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(&mut self, line: Inventory) -> Result<InventoryStatus, String> {
        if let Some(whole) = line.whole {
            let mut rest = (*whole).clone();
            let nodes = std::mem::take(&mut rest.nodes).into_iter();
            let counted = std::mem::take(&mut rest.counted).into_iter();
            *self = Self {
                fields: fields(&rest),
                nodes: nodes.map(|node| (node.name.clone(), node)).collect(),
                counted: counted.map(|one| (one.name.clone(), one)).collect(),
            };
            return Ok(*whole);
        }
        if self.fields.is_empty() {
            return Err(format!(
                "it changes the inventory of {}, of which no line before has the whole",
                line.target
            ));
        }
        for (name, value) in line.fields {
            if value.is_null() {
                self.fields.remove(&name);
            } else {
                self.fields.insert(name, value);
            }
        }
        self.nodes.retain(|name, _| !line.nodes_gone.contains(name));
        let nodes = line.nodes.into_iter();
        self.nodes
            .extend(nodes.map(|node| (node.name.clone(), node)));
        self.counted
            .retain(|name, _| !line.counted_gone.contains(name));
        let counted = line.counted.into_iter();
        self.counted
            .extend(counted.map(|one| (one.name.clone(), one)));
        let rest = self.fields.clone().into_iter().collect();
        let status: InventoryStatus = serde_json::from_value(Value::Object(rest))
            .map_err(|error| format!("the inventory of {}: {error}", line.target))?;
        Ok(InventoryStatus {
            nodes: self.nodes.values().cloned().collect(),
            counted: self.counted.values().cloned().collect(),
            ..status
        })
    }
}

fn sorted(list: &[impl Named]) -> bool {
    list.windows(2).all(|pair| pair[0].name() < pair[1].name())
}

/// The fields of an inventory, those that have something.
fn fields(status: &InventoryStatus) -> BTreeMap<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}

fn digests<'a, T: Serialize + 'a>(
    values: impl Iterator<Item = (&'a str, &'a T)>,
) -> BTreeMap<String, Digest> {
    values
        .map(|(name, value)| (name.to_owned(), digest(value)))
        .collect()
}

fn changed<T: Named>(
    list: Vec<T>,
    before: &BTreeMap<String, Digest>,
    after: &BTreeMap<String, Digest>,
) -> Vec<T> {
    list.into_iter()
        .filter(|one| before.get(one.name()) != after.get(one.name()))
        .collect()
}

fn gone(before: &BTreeMap<String, Digest>, after: &BTreeMap<String, Digest>) -> Vec<String> {
    before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .cloned()
        .collect()
}
