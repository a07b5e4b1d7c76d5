//! Whether a set of nodes holds pods of several roles, and where they go.
//!
//! One role is counted exactly. Several roles compete for the same nodes, which is bin packing: first two quick orders are tried, then all
//! ways are searched within a budget of steps, so small cases are exact and large ones stay fast.

use placement_api::kinds::Packing;

use super::needs::Needs;
use super::pick::{Place, pick};
use crate::fleet::{Amounts, Fleet, Target};

/// Steps of the search; about two milliseconds.
const BUDGET: u32 = 20_000;

/// Pods of one role on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pick {
    /// Position of the role in the request.
    pub(super) set: usize,
    /// Position of the node in its target.
    pub(super) node: usize,
    /// Pods.
    pub(super) pods: i64,
}

/// Places on one role's terms.
pub(super) fn places(
    fleet: &Fleet,
    needs: &Needs<'_>,
    target: &Target,
    set: usize,
    nodes: &[usize],
    copies: &[i64],
) -> Vec<Place> {
    let need = &needs.sets[set];
    let place = |node: &usize| {
        let there = &target.node_list()[*node];
        Place {
            index: *node,
            copies: copies[*node],
            avoidance: need.avoidance(there, fleet),
            free: there.free.get(need.main),
        }
    };
    nodes
        .iter()
        .filter(|node| copies[**node] > 0)
        .map(place)
        .collect()
}

/// Puts `wants` pods of each role on these nodes, all or nothing.
pub(super) fn fill(
    fleet: &Fleet,
    needs: &Needs<'_>,
    target: &Target,
    nodes: &[usize],
    wants: &[i64],
    packing: Packing,
) -> Option<Vec<Pick>> {
    let active: Vec<usize> = (0..wants.len()).filter(|set| wants[*set] > 0).collect();
    if let [set] = active[..] {
        let copies = needs.sets[set].copies_on(target);
        let picked = pick(
            &places(fleet, needs, target, set, nodes, &copies),
            wants[set],
            packing,
        );
        let held: i64 = picked.iter().map(|(_, pods)| pods).sum();
        return (held == wants[set]).then(|| {
            picked
                .into_iter()
                .map(|(node, pods)| Pick { set, node, pods })
                .collect()
        });
    }
    let mut trial = Trial::new(needs, target, nodes);
    if active.iter().any(|set| {
        nodes
            .iter()
            .map(|node| trial.copies(*set, *node))
            .sum::<i64>()
            < wants[*set]
    }) {
        return None;
    }
    let mut order = active.clone();
    order.sort_by_key(|set| std::cmp::Reverse(trial.weight(*set)));
    trial
        .greedy(fleet, &order, wants, packing)
        .or_else(|| {
            trial.greedy(
                fleet,
                &order.iter().rev().copied().collect::<Vec<_>>(),
                wants,
                packing,
            )
        })
        .or_else(|| trial.search(&order, wants))
}

/// Adds as many pods of each role as fit, up to `wants`, to what is already picked.
pub(super) fn extend(
    fleet: &Fleet,
    needs: &Needs<'_>,
    target: &Target,
    nodes: &[usize],
    have: &mut Vec<Pick>,
    wants: &[i64],
    packing: Packing,
) {
    let mut trial = Trial::new(needs, target, nodes);
    for one in have.iter() {
        trial.take(one.set, one.node, one.pods);
    }
    for (set, want) in wants.iter().enumerate() {
        let had: i64 = have
            .iter()
            .filter(|one| one.set == set)
            .map(|one| one.pods)
            .sum();
        for (node, pods) in trial.pick(fleet, set, want - had, packing) {
            trial.take(set, node, pods);
            match have
                .iter_mut()
                .find(|one| one.set == set && one.node == node)
            {
                Some(one) => one.pods += pods,
                None => have.push(Pick { set, node, pods }),
            }
        }
    }
    have.sort_unstable();
}

/// Free amounts while trying.
struct Trial<'a> {
    needs: &'a Needs<'a>,
    target: &'a Target,
    nodes: &'a [usize],
    free: Vec<Amounts>,
    allowed: Vec<Vec<bool>>,
    steps: u32,
}

impl<'a> Trial<'a> {
    fn new(needs: &'a Needs<'a>, target: &'a Target, nodes: &'a [usize]) -> Self {
        let allowed = needs
            .sets
            .iter()
            .map(|need| {
                target
                    .node_list()
                    .iter()
                    .map(|node| need.copies(node) > 0)
                    .collect()
            })
            .collect();
        let free = target
            .node_list()
            .iter()
            .map(|node| node.free.clone())
            .collect();
        Self {
            needs,
            target,
            nodes,
            free,
            allowed,
            steps: 0,
        }
    }

    fn copies(&self, set: usize, node: usize) -> i64 {
        if self.allowed[set][node] {
            self.needs.sets[set].demand.copies_in(&self.free[node])
        } else {
            0
        }
    }

    fn take(&mut self, set: usize, node: usize, pods: i64) {
        self.free[node].add(&self.needs.sets[set].demand, -pods);
    }

    /// Size of a pod: devices first.
    fn weight(&self, set: usize) -> (i64, i64) {
        let need = &self.needs.sets[set];
        (
            need.devices
                .iter()
                .map(|number| need.demand.get(*number))
                .sum(),
            need.demand.get(need.main),
        )
    }

    fn pick(&self, fleet: &Fleet, set: usize, want: i64, packing: Packing) -> Vec<(usize, i64)> {
        let copies: Vec<i64> = (0..self.free.len())
            .map(|node| self.copies(set, node))
            .collect();
        pick(
            &places(fleet, self.needs, self.target, set, self.nodes, &copies),
            want,
            packing,
        )
    }

    fn greedy(
        &mut self,
        fleet: &Fleet,
        order: &[usize],
        wants: &[i64],
        packing: Packing,
    ) -> Option<Vec<Pick>> {
        let mut picks = Vec::new();
        let mut whole = true;
        for &set in order {
            let picked = self.pick(fleet, set, wants[set], packing);
            whole &= picked.iter().map(|(_, pods)| pods).sum::<i64>() == wants[set];
            for (node, pods) in picked {
                self.take(set, node, pods);
                picks.push(Pick { set, node, pods });
            }
            if !whole {
                break;
            }
        }
        for one in &picks {
            self.take(one.set, one.node, -one.pods);
        }
        picks.sort_unstable();
        whole.then_some(picks)
    }

    fn search(&mut self, order: &[usize], wants: &[i64]) -> Option<Vec<Pick>> {
        let mut picks = Vec::new();
        self.steps = 0;
        let (first, rest) = order.split_first()?;
        if !self.descend(*first, rest, 0, wants[*first], wants, &mut picks) {
            return None;
        }
        picks.sort_unstable();
        Some(picks)
    }

    /// Puts `left` pods of `set` on the nodes from position `from` on, then the other roles.
    fn descend(
        &mut self,
        set: usize,
        rest: &[usize],
        from: usize,
        left: i64,
        wants: &[i64],
        picks: &mut Vec<Pick>,
    ) -> bool {
        self.steps += 1;
        if self.steps > BUDGET {
            return false;
        }
        if left == 0 {
            return match rest.split_first() {
                None => true,
                Some((next, rest)) => self.descend(*next, rest, 0, wants[*next], wants, picks),
            };
        }
        let Some(&node) = self.nodes.get(from) else {
            return false;
        };
        let later: i64 = self.nodes[from + 1..]
            .iter()
            .map(|node| self.copies(set, *node))
            .sum();
        let most = self.copies(set, node).min(left);
        for pods in ((left - later).max(0)..=most).rev() {
            self.take(set, node, pods);
            if pods > 0 {
                picks.push(Pick { set, node, pods });
            }
            if self.descend(set, rest, from + 1, left - pods, wants, picks) {
                return true;
            }
            if pods > 0 {
                picks.pop();
            }
            self.take(set, node, -pods);
        }
        false
    }
}
