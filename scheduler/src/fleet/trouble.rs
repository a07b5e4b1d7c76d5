//! Nodes that fail, and what is remembered of it on the targets.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fleet, Node, NodeName, Target, TargetName, is_extended};

/// What the agent says of a node whose kubelet does not answer. Whoever cordons a node does it on purpose.
const NOT_READY: &str = "NotReady";

impl Fleet {
    /// Whether nodes have failed since they were asked for last.
    pub(crate) fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Nodes that have failed since this was asked last.
    pub(crate) fn take_failures(&mut self) -> BTreeSet<(TargetName, NodeName)> {
        std::mem::take(&mut self.failures)
    }

    /// How much a target and nodes of it are to be avoided for what went wrong there; nodes that are not named not at all.
    pub(crate) fn set_trouble(
        &mut self,
        name: &TargetName,
        whole: i64,
        nodes: BTreeMap<NodeName, i64>,
    ) {
        if let Some(target) = self.targets.get_mut(name) {
            if target.trouble == whole && target.troubled == nodes {
                return;
            }
            self.index.touch(name, None);
            target.trouble = whole;
            target.troubled = nodes;
            target.spread_trouble();
        }
    }

    /// Compares a report with the one before: nodes that were usable and do not answer, or have lost devices.
    pub(super) fn note_failures(&mut self, name: &TargetName, before: &[Node]) {
        let Some(target) = self.targets.get(name) else {
            return;
        };
        let failed = target.nodes.iter().filter(|node| {
            let old = before
                .binary_search_by(|old| old.name.cmp(&node.name))
                .ok()
                .map(|at| &before[at]);
            old.is_some_and(|old| old.unusable.is_none() && self.has_failed(old, node))
        });
        let failed: Vec<NodeName> = failed.map(|node| node.name.clone()).collect();
        let failed = failed.into_iter().map(|node| (name.clone(), node));
        self.failures.extend(failed);
    }

    fn has_failed(&self, old: &Node, new: &Node) -> bool {
        if let Some(why) = &new.unusable {
            return why == NOT_READY;
        }
        let mut less = old.allocatable.above(&new.allocatable);
        less.any(|number| is_extended(self.resources.name(number)))
    }
}

impl Target {
    /// Writes what is remembered of nodes on the nodes.
    pub(super) fn spread_trouble(&mut self) {
        if self.troubled.is_empty() && self.nodes.iter().all(|node| node.trouble == 0) {
            return;
        }
        for node in &mut self.nodes {
            node.trouble = self.troubled.get(&node.name).copied().unwrap_or(0);
        }
    }
}
