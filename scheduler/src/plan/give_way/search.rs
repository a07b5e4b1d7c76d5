//! The cheapest pods of others in one region that make room for a claimant.
//!
//! Room is made step by step: on every node the cheapest that gives room for at least one pod more is looked up, and the cheapest of these steps
//! is taken, until the claimant fits; then everything that turns out not to be needed is put back, the dearest first.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::victims::{Candidate, Cost, Yield, on_node};
use super::{Eviction, Shares};
use crate::fleet::{Amounts, Fleet, Share, TargetName};
use crate::plan::needs::{Needs, SetNeed};

/// Workloads on one node up to which all subsets are looked at.
const EXACT: usize = 10;

/// Nodes by target.
pub(super) type Region = Vec<(TargetName, Vec<usize>)>;

/// What has been chosen so far, by position of the candidate.
pub(super) struct Chosen<'a> {
    candidates: &'a [Candidate],
    taken: BTreeMap<usize, Yield>,
}

/// One step: who gives what on a node, for so many pods more.
struct Move {
    /// Candidates that go whole.
    whole: Vec<usize>,
    /// Candidates that shrink, and by which pods.
    shrink: Vec<(usize, TargetName, Share)>,
    gain: i64,
    cost: Cost,
}

/// Chooses until the claimant fits. `false`: it cannot be made to fit here; what was chosen has to be undone.
pub(super) fn cheapest(
    fleet: &mut Fleet,
    needs: &Needs<'_>,
    region: &Region,
    chosen: &mut Chosen<'_>,
    fits: &dyn Fn(&Fleet) -> bool,
) -> bool {
    let wants = if needs.divides() {
        needs
            .sets
            .iter()
            .map(|need| need.set.min_count.unwrap_or(1).min(need.set.count))
            .collect()
    } else {
        needs.minimums()
    };
    loop {
        let short = needs
            .sets
            .iter()
            .zip(&wants)
            .map(|(need, want)| (need, want - room(fleet, need, region)))
            .find(|(_, missing)| *missing > 0);
        if short.is_none() && fits(fleet) {
            break;
        }
        // All roles have room by themselves: more of the leading one makes room for all together.
        let (need, missing) = short.unwrap_or((&needs.sets[needs.leading()], 1));
        let moves = region.iter().flat_map(|(name, nodes)| {
            nodes
                .iter()
                .filter_map(|node| step(fleet, need, name, *node, chosen))
                .map(|step| Move {
                    // More than what is missing is worth nothing.
                    gain: step.gain.min(missing),
                    ..step
                })
                .collect::<Vec<_>>()
        });
        let Some(best) = moves.min_by(cheaper) else {
            return false;
        };
        chosen.take(fleet, best);
    }
    chosen.put_back(fleet, fits);
    true
}

fn room(fleet: &Fleet, need: &SetNeed<'_>, region: &Region) -> i64 {
    region
        .iter()
        .filter_map(|(name, nodes)| Some((fleet.target(name.as_str())?, nodes)))
        .flat_map(|(target, nodes)| {
            nodes
                .iter()
                .map(|node| need.copies(&target.node_list()[*node]))
        })
        .sum()
}

/// Less of what counts first per pod that is gained, then less in all.
fn cheaper(a: &Move, b: &Move) -> Ordering {
    let per_pod = |x: i128, y: i128| (x * i128::from(b.gain)).cmp(&(y * i128::from(a.gain)));
    a.cost
        .priority
        .cmp(&b.cost.priority)
        .then(a.cost.turn.cmp(&b.cost.turn))
        .then(per_pod(a.cost.devices_ms, b.cost.devices_ms))
        .then(per_pod(a.cost.cpu_ms, b.cost.cpu_ms))
        .then(a.cost.cmp(&b.cost))
        .then(b.gain.cmp(&a.gain))
}

/// The cheapest that gives room for at least one more pod on a node.
fn step(
    fleet: &Fleet,
    need: &SetNeed<'_>,
    name: &TargetName,
    position: usize,
    chosen: &Chosen<'_>,
) -> Option<Move> {
    let node = fleet.target(name.as_str())?.node_list().get(position)?;
    if node.unusable.is_some() || need.tainted(node).is_some() || !need.selects(node) {
        return None;
    }
    let had = need.demand.copies_in(&node.free).max(0);
    let mut free = node.free.clone();
    let mut there: Vec<(usize, Vec<Share>)> = Vec::new();
    for (index, candidate) in chosen.candidates.iter().enumerate() {
        if matches!(chosen.taken.get(&index), Some(Yield::Everything)) {
            continue;
        }
        let Some(shares) = candidate.holds.get(name) else {
            continue;
        };
        let mut here: Vec<Share> = on_node(shares, node.name().as_str()).cloned().collect();
        chosen.less_taken(index, name, &mut here);
        if !here.is_empty() {
            there.push((index, here));
        }
    }
    let gain = |free: &Amounts| need.demand.copies_in(free).max(0) - had;
    // Elastic ones first: they lose nothing but pods.
    let mut shrink: Vec<(usize, TargetName, Share)> = Vec::new();
    for (index, here) in &there {
        for share in here {
            let spare = chosen.spare(*index, &share.pod_set, &shrink);
            let mut pods = 0;
            while pods < share.pods.min(spare) && gain(&free) == 0 {
                pods += 1;
                free.add(&share.demand, 1);
            }
            if pods > 0 {
                let part = Share {
                    pods,
                    ..share.clone()
                };
                shrink.push((*index, name.clone(), part));
            }
        }
    }
    if gain(&free) > 0 {
        let cost = Cost {
            shrunk: shrink.iter().map(|(_, _, share)| share.pods).sum(),
            ..Cost::default()
        };
        return Some(Move {
            whole: Vec::new(),
            gain: gain(&free),
            shrink,
            cost,
        });
    }
    evict(need, &node.free, there, chosen.candidates)
}

/// The cheapest that give room for one more pod by going: exactly where there are few, else a good choice.
fn evict(
    need: &SetNeed<'_>,
    free: &Amounts,
    there: Vec<(usize, Vec<Share>)>,
    candidates: &[Candidate],
) -> Option<Move> {
    let had = need.demand.copies_in(free).max(0);
    let gain = |who: &[&(usize, Vec<Share>)]| {
        let mut free = free.clone();
        for share in who.iter().flat_map(|(_, shares)| shares) {
            free.add(&share.demand, share.pods);
        }
        need.demand.copies_in(&free).max(0) - had
    };
    let cost = |who: &[&(usize, Vec<Share>)]| {
        let mut cost = Cost::default();
        for (index, _) in who {
            cost.add(&candidates[*index]);
        }
        cost
    };
    // They come by price; as many as it takes, and then without those who turn out not to be needed.
    let enough =
        (1..=there.len()).find(|count| gain(&there[..*count].iter().collect::<Vec<_>>()) > 0)?;
    let mut whole: Vec<&(usize, Vec<Share>)> = there[..enough].iter().collect();
    for at in (0..whole.len()).rev() {
        let mut less = whole.clone();
        less.remove(at);
        if gain(&less) > 0 {
            whole = less;
        }
    }
    let highest = cost(&whole).priority;
    let allowed: Vec<&(usize, Vec<Share>)> = there
        .iter()
        .filter(|(index, _)| Some(candidates[*index].price.priority) <= highest)
        .collect();
    if allowed.len() <= EXACT {
        for subset in 1_u32..1 << allowed.len() {
            let some: Vec<&(usize, Vec<Share>)> = allowed
                .iter()
                .enumerate()
                .filter(|(at, _)| subset & (1 << at) != 0)
                .map(|(_, one)| *one)
                .collect();
            if cost(&some) < cost(&whole) && gain(&some) > 0 {
                whole = some;
            }
        }
    }
    Some(Move {
        gain: gain(&whole),
        cost: cost(&whole),
        whole: whole.into_iter().map(|(index, _)| *index).collect(),
        shrink: Vec::new(),
    })
}

impl<'a> Chosen<'a> {
    pub(super) fn new(candidates: &'a [Candidate]) -> Self {
        Self {
            candidates,
            taken: BTreeMap::new(),
        }
    }

    /// What it costs.
    pub(super) fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        for (index, what) in &self.taken {
            match what {
                Yield::Everything => cost.add(&self.candidates[*index]),
                Yield::Pods(shares) => {
                    cost.shrunk += shares
                        .values()
                        .flatten()
                        .map(|share| share.pods)
                        .sum::<i64>();
                }
            }
        }
        cost
    }

    /// Hands the room on in the fleet.
    pub(super) fn apply(&mut self, fleet: &mut Fleet) {
        for (index, what) in &self.taken {
            self.hand_on(fleet, *index, Some(what));
        }
    }

    /// Gives everything back to those who have it.
    pub(super) fn undo(&mut self, fleet: &mut Fleet) {
        for index in self.taken.keys() {
            self.hand_on(fleet, *index, None);
        }
    }

    pub(super) fn evictions(&self) -> Vec<Eviction> {
        self.taken
            .iter()
            .map(|(index, what)| Eviction {
                victim: self.candidates[*index].id.clone(),
                reason: self.candidates[*index].reason,
                what: what.clone(),
            })
            .collect()
    }

    fn take(&mut self, fleet: &mut Fleet, step: Move) {
        for index in step.whole {
            self.taken.insert(index, Yield::Everything);
            self.hand_on(fleet, index, Some(&Yield::Everything));
        }
        for (index, target, share) in step.shrink {
            let mut shares = match self.taken.remove(&index) {
                Some(Yield::Pods(shares)) => shares,
                _ => Shares::new(),
            };
            shares.entry(target).or_default().push(share);
            let what = Yield::Pods(shares);
            self.hand_on(fleet, index, Some(&what));
            self.taken.insert(index, what);
        }
    }

    /// What is not needed stays, the dearest first.
    fn put_back(&mut self, fleet: &mut Fleet, fits: &dyn Fn(&Fleet) -> bool) {
        let order: Vec<usize> = self.taken.keys().rev().copied().collect();
        for index in order {
            let Some(what) = self.taken.remove(&index) else {
                continue;
            };
            self.hand_on(fleet, index, None);
            if !fits(fleet) {
                self.hand_on(fleet, index, Some(&what));
                self.taken.insert(index, what);
            }
        }
    }

    fn hand_on(&self, fleet: &mut Fleet, index: usize, what: Option<&Yield>) {
        let candidate = &self.candidates[index];
        for (target, shares) in &candidate.holds {
            let shares = match what {
                None => Vec::new(),
                Some(Yield::Everything) => shares.clone(),
                Some(Yield::Pods(some)) => some.get(target).cloned().unwrap_or_default(),
            };
            fleet.pass_on(&candidate.id, target, shares);
        }
    }

    /// Takes off what a candidate gives on a target already.
    fn less_taken(&self, index: usize, target: &TargetName, shares: &mut Vec<Share>) {
        let Some(Yield::Pods(taken)) = self.taken.get(&index) else {
            return;
        };
        for gone in taken.get(target).into_iter().flatten() {
            let same =
                |share: &&mut Share| share.node == gone.node && share.pod_set == gone.pod_set;
            if let Some(share) = shares.iter_mut().find(same) {
                share.pods -= gone.pods;
            }
        }
        shares.retain(|share| share.pods > 0);
    }

    /// Pods of a role that a candidate can still do without.
    fn spare(&self, index: usize, pod_set: &str, more: &[(usize, TargetName, Share)]) -> i64 {
        let all = self.candidates[index]
            .spare
            .get(pod_set)
            .copied()
            .unwrap_or(0);
        let taken: i64 = match self.taken.get(&index) {
            Some(Yield::Pods(shares)) => shares
                .values()
                .flatten()
                .filter(|share| *share.pod_set == *pod_set)
                .map(|share| share.pods)
                .sum(),
            _ => 0,
        };
        let now: i64 = more
            .iter()
            .filter(|(other, _, share)| *other == index && *share.pod_set == *pod_set)
            .map(|(_, _, share)| share.pods)
            .sum();
        all - taken - now
    }
}
