//! The devices of a node less those that decisions have reserved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::search::{self, Ask};
use super::{DeviceNeed, NodeDevices};

/// The devices of a node, and pods whose devices are reserved there. A negative number of pods gives devices back that are
/// reported as taken: of those who make room for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    node: Arc<NodeDevices>,
    held: Vec<(Arc<DeviceNeed>, i64)>,
    /// Claims that pods have together whose devices are among those that are taken, and how many pods that are there name each.
    there: BTreeMap<String, i64>,
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
            there: BTreeMap::new(),
        }
    }

    /// Says which claims that pods have together are reported as taken.
    pub(crate) fn know(&mut self, there: &BTreeMap<String, i64>) {
        self.there.clone_from(there);
    }

    /// Whether claims are reported as taken that were not before: who names them needs no more devices.
    pub(crate) fn knows_more(&self, before: &Self) -> bool {
        let mut there = self.there.keys();
        there.any(|claim| !before.there.contains_key(claim))
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
        let given_back = || self.held.iter().filter(|(_, pods)| *pods < 0);
        // While one is left who names a claim, its devices are neither given back nor needed again.
        let mut there = self.there.clone();
        for (need, pods) in given_back() {
            for claim in need.shared() {
                if let Some(left) = there.get_mut(claim) {
                    *left += pods;
                }
            }
        }
        let stay: BTreeSet<&str> = there
            .iter()
            .filter(|(_, left)| **left > 0)
            .map(|(claim, _)| claim.as_str())
            .collect();
        let asks = |need, pods, number| {
            let mut asks = Ask::of(&self.node, need, pods, number)?;
            asks.retain(|ask| !ask.is_of(&stay));
            Some(asks)
        };
        let back = given_back().enumerate();
        let back = back.map(|(number, (need, pods))| asks(need, -pods, number));
        let back = back.flat_map(Option::unwrap_or_default).collect();
        let taken = search::give_back(&self.node, back);
        let held = || self.held.iter().filter(|(_, pods)| *pods > 0);
        let Some(one) = asks(need, 1, 0) else {
            return 0;
        };
        if one.is_empty() {
            // An extended resource that this node has by itself, or claims that others have here.
            return most;
        }
        let mut others = Vec::new();
        for (index, (need, pods)) in held().enumerate() {
            // Who has it and cannot be told what he may have, has all that he could.
            others.extend(asks(need, *pods, index + 1).unwrap_or_default());
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
