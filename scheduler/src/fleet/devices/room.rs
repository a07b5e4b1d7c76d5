//! The devices of a node less those that decisions have reserved.

use std::sync::Arc;

use super::search::{self, Ask};
use super::{DeviceNeed, NodeDevices};

/// The devices of a node, and pods whose devices are reserved there. A negative number of pods gives devices back that are
/// reported as taken: of those who make room for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    node: Arc<NodeDevices>,
    held: Vec<(Arc<DeviceNeed>, i64)>,
}

/// Adds pods to a list that is sorted by need and has no zeros.
pub(crate) fn add(list: &mut Vec<(Arc<DeviceNeed>, i64)>, need: &Arc<DeviceNeed>, pods: i64) {
    match list.binary_search_by(|(have, _)| have.cmp(need)) {
        Ok(at) => {
            list[at].1 += pods;
            if list[at].1 == 0 {
                list.remove(at);
            }
        }
        Err(at) if pods != 0 => list.insert(at, (Arc::clone(need), pods)),
        Err(_) => {}
    }
}

impl Room {
    pub(crate) fn new(node: Arc<NodeDevices>) -> Self {
        Self {
            node,
            held: Vec::new(),
        }
    }

    /// Reserves the devices of so many pods; gives them back where it is negative.
    pub(crate) fn hold(&mut self, need: &Arc<DeviceNeed>, pods: i64) {
        add(&mut self.held, need, pods);
    }

    /// How many pods with this need fit beside what is reserved, at most `most`.
    pub(crate) fn copies(&self, need: &DeviceNeed, most: i64) -> i64 {
        if most <= 0 {
            return 0;
        }
        if let Some(copies) = search::quick(&self.node, &self.held, need) {
            return copies.min(most);
        }
        let given_back = self.held.iter().filter(|(_, pods)| *pods < 0);
        let taken = search::give_back(&self.node, given_back.map(|(need, pods)| (&**need, -pods)));
        let held = || self.held.iter().filter(|(_, pods)| *pods > 0);
        let Some(one) = Ask::of(&self.node, need, 1, 0) else {
            return 0;
        };
        if one.is_empty() {
            // An extended resource that this node has by itself.
            return most;
        }
        let mut others = Vec::new();
        for (index, (need, pods)) in held().enumerate() {
            // Who has it and cannot be told what he may have, has all that he could.
            others.extend(Ask::of(&self.node, need, *pods, index + 1).unwrap_or_default());
        }
        if let Some(copies) = search::simple(&self.node, &taken, &others, &one) {
            return copies.min(most);
        }
        if need.is_shared() {
            let mut asks = one;
            asks.extend(others);
            let fits = search::fits(&self.node, &taken, search::without_repeats(asks));
            return if fits { most } else { 0 };
        }
        search::count(
            &self.node,
            &taken,
            search::without_repeats(others),
            &one,
            most,
        )
    }

    /// The devices of the node.
    pub(crate) fn node(&self) -> &NodeDevices {
        &self.node
    }
}
