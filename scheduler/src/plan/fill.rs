//! Whether a set of nodes holds pods of several roles, and where they go.
//!
//! One role is counted exactly. Several roles compete for the same nodes, which is bin packing: first two quick orders are tried, then all
//! ways are searched within a budget of steps, so small cases are exact and large ones stay fast.

use placement_api::kinds::Packing;

use super::needs::{Needs, SetNeed};
use super::pick::{Place, pick};
use crate::fleet::{Amounts, Demand, Fleet, Target};

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
        let copies = needs.sets[set].copies_among(target, nodes.iter().copied());
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
    if active.iter().any(|set| trial.room(*set) < wants[*set]) {
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
        if let Some(at) = nodes.iter().position(|node| *node == one.node) {
            trial.take(one.set, at, one.pods);
        }
    }
    for (set, want) in wants.iter().enumerate() {
        let had: i64 = have
            .iter()
            .filter(|one| one.set == set)
            .map(|one| one.pods)
            .sum();
        for (at, pods) in trial.pick(fleet, set, want - had, packing) {
            trial.take(set, at, pods);
            let node = nodes[at];
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

/// Free amounts while trying, by position in `nodes`.
struct Trial<'a> {
    needs: &'a Needs<'a>,
    target: &'a Target,
    nodes: &'a [usize],
    free: Vec<Amounts>,
    /// What one pod takes; where roles compete a share counts as a device of its own.
    demands: Vec<Demand>,
    allowed: Vec<Vec<bool>>,
    steps: u32,
}

impl<'a> Trial<'a> {
    fn new(needs: &'a Needs<'a>, target: &'a Target, nodes: &'a [usize]) -> Self {
        let there = |node: &usize| &target.node_list()[*node];
        let allowed = |need: &SetNeed<'_>| {
            nodes
                .iter()
                .map(|node| need.copies(there(node)) > 0)
                .collect()
        };
        Self {
            needs,
            target,
            nodes,
            free: nodes.iter().map(|node| there(node).free.clone()).collect(),
            demands: needs.sets.iter().map(|need| need.demand.apart()).collect(),
            allowed: needs.sets.iter().map(allowed).collect(),
            steps: 0,
        }
    }

    fn copies(&self, set: usize, at: usize) -> i64 {
        if self.allowed[set][at] {
            self.demands[set].copies_in(&self.free[at])
        } else {
            0
        }
    }

    fn room(&self, set: usize) -> i64 {
        (0..self.nodes.len()).map(|at| self.copies(set, at)).sum()
    }

    fn take(&mut self, set: usize, at: usize, pods: i64) {
        self.free[at].add(&self.demands[set], -pods);
    }

    /// Size of a pod: devices first.
    fn weight(&self, set: usize) -> (i64, i64) {
        let need = &self.needs.sets[set];
        let devices = need
            .devices
            .iter()
            .map(|number| need.demand.get(*number))
            .sum();
        (devices, need.demand.get(need.main))
    }

    /// Positions and pods for one role.
    fn pick(&self, fleet: &Fleet, set: usize, want: i64, packing: Packing) -> Vec<(usize, i64)> {
        let need = &self.needs.sets[set];
        let place = |at: usize| Place {
            index: at,
            copies: self.copies(set, at),
            avoidance: need.avoidance(&self.target.node_list()[self.nodes[at]], fleet),
            free: self.free[at].get(need.main),
        };
        let places: Vec<Place> = (0..self.nodes.len()).map(place).collect();
        pick(&places, want, packing)
    }

    fn greedy(
        &mut self,
        fleet: &Fleet,
        order: &[usize],
        wants: &[i64],
        packing: Packing,
    ) -> Option<Vec<Pick>> {
        let mut taken = Vec::new();
        let mut whole = true;
        for &set in order {
            let picked = self.pick(fleet, set, wants[set], packing);
            whole &= picked.iter().map(|(_, pods)| pods).sum::<i64>() == wants[set];
            for (at, pods) in picked {
                self.take(set, at, pods);
                taken.push((set, at, pods));
            }
            if !whole {
                break;
            }
        }
        for (set, at, pods) in &taken {
            self.take(*set, *at, -pods);
        }
        whole.then(|| self.picks(&taken))
    }

    fn search(&mut self, order: &[usize], wants: &[i64]) -> Option<Vec<Pick>> {
        let mut taken = Vec::new();
        self.steps = 0;
        let (first, rest) = order.split_first()?;
        if self.descend(*first, rest, 0, wants[*first], wants, &mut taken) {
            Some(self.picks(&taken))
        } else {
            None
        }
    }

    /// Puts `left` pods of `set` on the nodes from position `from` on, then the other roles.
    fn descend(
        &mut self,
        set: usize,
        rest: &[usize],
        from: usize,
        left: i64,
        wants: &[i64],
        taken: &mut Vec<(usize, usize, i64)>,
    ) -> bool {
        self.steps += 1;
        if self.steps > BUDGET {
            return false;
        }
        if left == 0 {
            return match rest.split_first() {
                None => true,
                Some((next, rest)) => self.descend(*next, rest, 0, wants[*next], wants, taken),
            };
        }
        if from >= self.nodes.len() {
            return false;
        }
        let later: i64 = (from + 1..self.nodes.len())
            .map(|at| self.copies(set, at))
            .sum();
        let most = self.copies(set, from).min(left);
        for pods in ((left - later).max(0)..=most).rev() {
            self.take(set, from, pods);
            if pods > 0 {
                taken.push((set, from, pods));
            }
            if self.descend(set, rest, from + 1, left - pods, wants, taken) {
                return true;
            }
            if pods > 0 {
                taken.pop();
            }
            self.take(set, from, -pods);
        }
        false
    }

    fn picks(&self, taken: &[(usize, usize, i64)]) -> Vec<Pick> {
        let mut picks: Vec<Pick> = taken
            .iter()
            .map(|(set, at, pods)| Pick {
                set: *set,
                node: self.nodes[*at],
                pods: *pods,
            })
            .collect();
        picks.sort_unstable();
        picks
    }
}
