//! What the nodes of a target hold of one role, summed up: a node that changes is taken off the sums and added again, so that a target
//! that is full need not be counted anew for everybody whom it refuses.

use std::collections::{BTreeMap, BTreeSet};

use super::needs::SetNeed;
use crate::fleet::{Change, Node, Target};

/// Sums over the nodes of a target.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Pods that fit now.
    room: i64,
    /// Nodes that would take one if nothing ran there.
    takers: i64,
    /// What these have of the resource that fit is measured by, free and in all.
    free: i64,
    all: i64,
    /// Nodes where pods may be, by the resource that is the scarcest there.
    scarcest: BTreeMap<usize, i64>,
}

impl Tally {
    /// All nodes of a target.
    pub(super) fn of(need: &SetNeed<'_>, target: &Target) -> Self {
        let mut tally = Self::default();
        for node in target.node_list() {
            tally.add(need, node, 1);
        }
        tally
    }

    /// The same after these changes; `None`: more has changed than single nodes.
    pub(super) fn after(mut self, need: &SetNeed<'_>, changes: &[&Change]) -> Option<Self> {
        for change in changes {
            let swap = change.node.as_ref()?;
            for (state, times) in [(&swap.before, -1), (&swap.after, 1)] {
                if let Some(node) = state {
                    self.add(need, node, times);
                }
            }
        }
        Some(self)
    }

    fn add(&mut self, need: &SetNeed<'_>, node: &Node, times: i64) {
        if node.unusable.is_some() || need.tainted(node).is_some() || !need.may_use(node) {
            return;
        }
        self.room += times * need.copies(node);
        *self
            .scarcest
            .entry(need.demand.scarcest_in(&node.free))
            .or_default() += times;
        if need.demand.copies_in(&node.allocatable) > 0 {
            self.takers += times;
            self.free += times * node.free.get(need.main).max(0);
            self.all += times * node.allocatable.get(need.main).max(0);
        }
    }
}

/// What a target holds of a role: out of sums where they are kept, else counted when it is asked.
#[derive(Clone, Copy)]
pub(super) struct Holding<'a> {
    pub(super) need: &'a SetNeed<'a>,
    pub(super) target: &'a Target,
    pub(super) kept: Option<&'a Tally>,
}

impl Holding<'_> {
    /// Pods that fit now.
    pub(super) fn room(self) -> i64 {
        let count = || self.nodes().map(|node| self.need.copies(node)).sum();
        self.kept.map_or_else(count, |kept| kept.room)
    }

    /// Whether some node would take pods if nothing ran there.
    pub(super) fn takes_some(self) -> bool {
        // Mostly one of the first does.
        let look = || self.nodes().any(|node| would_take(self.need, node));
        self.kept.map_or_else(look, |kept| kept.takers > 0)
    }

    /// What such nodes have free of the resource that fit is measured by.
    pub(super) fn free(self) -> i64 {
        let count = || self.sum(|node| node.free.get(self.need.main));
        self.kept.map_or_else(count, |kept| kept.free)
    }

    /// What they have of it when empty.
    pub(super) fn all(self) -> i64 {
        let count = || self.sum(|node| node.allocatable.get(self.need.main));
        self.kept.map_or_else(count, |kept| kept.all)
    }

    /// Resources of which more on some node would give room for more pods.
    pub(super) fn lacks(self) -> BTreeSet<usize> {
        if let Some(kept) = self.kept {
            let some = kept.scarcest.iter().filter(|(_, nodes)| **nodes > 0);
            return some.map(|(number, _)| *number).collect();
        }
        let need = self.need;
        let mut lacks = BTreeSet::new();
        for node in self.nodes().filter(|node| node.unusable.is_none()) {
            // There are few resources and many nodes: most lack what others lack.
            let number = need.demand.scarcest_in(&node.free);
            if !lacks.contains(&number) && need.tainted(node).is_none() && need.may_use(node) {
                lacks.insert(number);
            }
        }
        lacks
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.target.nodes()
    }

    fn sum(self, amount: impl Fn(&Node) -> i64) -> i64 {
        // Whether there is anything is asked before the rest: in a full fleet it answers for most nodes.
        let some = self.nodes().map(|node| (amount(node), node));
        some.filter(|(some, node)| *some > 0 && would_take(self.need, node))
            .map(|(some, _)| some)
            .sum()
    }
}

/// Whether a node would take pods of a role if nothing ran there.
fn would_take(need: &SetNeed<'_>, node: &Node) -> bool {
    node.unusable.is_none() && need.closed_by(node).is_none() && is_open(need, node)
}

/// The same, limits of queues and what is wrong with the node left out.
pub(super) fn is_open(need: &SetNeed<'_>, node: &Node) -> bool {
    need.tainted(node).is_none()
        && need.selects(node)
        && need.demand.copies_in(&node.allocatable) > 0
}
