//! The cheapest pods of others in one region that make room for a claimant.
//!
//! Room is made step by step: on every node the cheapest that gives room for at least one pod more is looked up, and the cheapest of these steps
//! is taken, until the claimant fits; then everything that turns out not to be needed is put back, the dearest first.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use placement_api::reason::Reason;

use super::victims::{Candidate, Cost, Yield, may_go, on_node};
use super::{Claim, Eviction, Shares};
use crate::fleet::{Amounts, Fleet, Share, TargetName, take_off};
use crate::plan::accounts::Accounts;
use crate::plan::draft;
use crate::plan::needs::SetNeed;

/// Workloads on one node up to which all subsets are looked at.
const EXACT: usize = 10;

/// Nodes by target.
pub(in crate::plan) type Region = Vec<(TargetName, Vec<usize>)>;

/// What was chosen, by position of the candidate.
pub(super) type Chosen = BTreeMap<usize, Yield>;

/// A search in one region; what it tries is done in the fleet and on the accounts, and undone.
pub(super) struct Search<'a> {
    fleet: &'a mut Fleet,
    accounts: &'a mut Accounts,
    claim: &'a Claim<'a>,
    candidates: &'a [Candidate],
    taken: Chosen,
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

/// What a choice costs.
pub(super) fn cost(candidates: &[Candidate], chosen: &Chosen) -> Cost {
    let mut cost = Cost::default();
    for (index, what) in chosen {
        match what {
            Yield::Everything => cost.add(&candidates[*index]),
            Yield::Pods(shares) => {
                let pods = shares.values().flatten().map(|share| share.pods);
                cost.shrunk += pods.sum::<i64>();
            }
        }
    }
    cost
}

/// Who gives what.
pub(super) fn evictions(candidates: &[Candidate], chosen: Chosen) -> Vec<Eviction> {
    chosen
        .into_iter()
        .map(|(index, what)| Eviction {
            victim: candidates[index].id.clone(),
            reason: candidates[index].ground.reason(),
            what,
        })
        .collect()
}

impl<'a> Search<'a> {
    pub(super) fn new(
        fleet: &'a mut Fleet,
        accounts: &'a mut Accounts,
        claim: &'a Claim<'a>,
        candidates: &'a [Candidate],
    ) -> Self {
        Self {
            fleet,
            accounts,
            claim,
            candidates,
            taken: Chosen::new(),
        }
    }

    /// Chooses until the claimant fits. `false`: it cannot be made to fit here.
    pub(super) fn cheapest(&mut self, region: &Region) -> bool {
        let needs = self.claim.needs;
        let wants = if needs.divides() {
            needs
                .sets
                .iter()
                .map(|need| need.set.min_count.unwrap_or(1).min(need.set.count))
                .collect()
        } else {
            needs.minimums()
        };
        if !self.within_limits() {
            return false;
        }
        loop {
            let short = needs
                .sets
                .iter()
                .zip(&wants)
                .map(|(need, want)| (need, want - room(self.fleet, need, region)))
                .find(|(_, missing)| *missing > 0);
            if short.is_none() && self.fits() {
                break;
            }
            // All roles have room by themselves: more of the leading one makes room for all together.
            let (need, missing) = short.unwrap_or((&needs.sets[needs.leading()], 1));
            let mut allowed = self.allowed();
            loop {
                let Some(best) = self.best_step(need, missing, region, &allowed) else {
                    return false;
                };
                match self.take(best) {
                    None => break,
                    // Each of a step may go, but not all of them.
                    Some(beyond) => allowed[beyond] = false,
                }
            }
        }
        self.put_back();
        true
    }

    /// Whether the claimant fits if just these go, each of them while it may be asked.
    pub(super) fn accepts(&mut self, set: &[usize]) -> bool {
        let request = self.claim.needs.request;
        for index in set {
            if !may_go(self.accounts, &self.candidates[*index], request) {
                return false;
            }
            self.hand_on(*index, Some(&Yield::Everything));
            self.taken.insert(*index, Yield::Everything);
        }
        self.fits()
    }

    /// Hands the room on in the fleet.
    pub(super) fn apply(&mut self, chosen: &Chosen) {
        for (index, what) in chosen {
            self.hand_on(*index, Some(what));
        }
    }

    /// Gives everything back to those who have it, and says what was chosen.
    pub(super) fn undo(mut self) -> Chosen {
        let chosen = std::mem::take(&mut self.taken);
        for index in chosen.keys() {
            self.hand_on(*index, None);
        }
        chosen
    }

    fn fits(&mut self) -> bool {
        let needs = self.claim.needs;
        if self.accounts.may_start(needs.request).is_err() {
            return false;
        }
        let draft = draft::draft(self.fleet, needs, false, self.claim.now_ms);
        !draft.added.is_empty()
    }

    /// A queue at its limit evicts its own, the cheapest first; where the limit is that of a queue above, all who are inside that one.
    fn within_limits(&mut self) -> bool {
        let request = self.claim.needs.request;
        for index in 0..self.candidates.len() {
            let Err(refusal) = self.accounts.may_start(request) else {
                return true;
            };
            let candidate = &self.candidates[index];
            let counts = refusal.reason == Reason::QueueLimit
                && self.accounts.is_within(&candidate.id, refusal.queue);
            if candidate.ground.is_own() || counts && may_go(self.accounts, candidate, request) {
                self.hand_on(index, Some(&Yield::Everything));
                self.taken.insert(index, Yield::Everything);
            }
        }
        self.accounts.may_start(request).is_ok()
    }

    /// Who may be asked now, with those gone who were chosen before.
    fn allowed(&mut self) -> Vec<bool> {
        let request = self.claim.needs.request;
        self.candidates
            .iter()
            .map(|candidate| may_go(self.accounts, candidate, request))
            .collect()
    }

    /// The cheapest step on any node of a region.
    fn best_step(
        &self,
        need: &SetNeed<'_>,
        missing: i64,
        region: &Region,
        allowed: &[bool],
    ) -> Option<Move> {
        let nodes = region
            .iter()
            .flat_map(|(name, nodes)| nodes.iter().map(move |node| (name, *node)));
        nodes
            .filter_map(|(name, node)| self.step(need, name, node, allowed))
            .map(|step| Move {
                // More than what is missing is worth nothing.
                gain: step.gain.min(missing),
                ..step
            })
            .min_by(cheaper)
    }

    /// The cheapest that gives room for at least one more pod on a node.
    fn step(
        &self,
        need: &SetNeed<'_>,
        name: &TargetName,
        position: usize,
        allowed: &[bool],
    ) -> Option<Move> {
        let node = self
            .fleet
            .target(name.as_str())?
            .node_list()
            .get(position)?;
        if node.unusable.is_some() || need.tainted(node).is_some() || !need.may_use(node) {
            return None;
        }
        let had = need.demand.copies_in(&node.free).max(0);
        let mut free = node.free.clone();
        let mut there: Vec<(usize, Vec<Share>)> = Vec::new();
        for (index, candidate) in self.candidates.iter().enumerate() {
            if !allowed[index] || matches!(self.taken.get(&index), Some(Yield::Everything)) {
                continue;
            }
            let Some(shares) = candidate.holds.get(name) else {
                continue;
            };
            let mut here: Vec<Share> = on_node(shares, node.name().as_str()).cloned().collect();
            self.less_taken(index, name, &mut here);
            if !here.is_empty() {
                there.push((index, here));
            }
        }
        let gain = |free: &Amounts| need.demand.copies_in(free).max(0) - had;
        // Elastic ones first: they lose nothing but pods.
        let mut shrink: Vec<(usize, TargetName, Share)> = Vec::new();
        for (index, here) in &there {
            for share in here {
                let spare = self.spare(*index, &share.pod_set, &shrink);
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
        evict(need, &node.free, there, self.candidates)
    }

    /// Takes a step, or says which of its candidates may not go with those before it.
    fn take(&mut self, step: Move) -> Option<usize> {
        for (at, index) in step.whole.iter().enumerate() {
            if !may_go(
                self.accounts,
                &self.candidates[*index],
                self.claim.needs.request,
            ) {
                for back in &step.whole[..at] {
                    self.taken.remove(back);
                    self.hand_on(*back, None);
                }
                return Some(*index);
            }
            self.taken.insert(*index, Yield::Everything);
            self.hand_on(*index, Some(&Yield::Everything));
        }
        for (index, target, share) in step.shrink {
            let mut shares = match self.taken.remove(&index) {
                Some(Yield::Pods(shares)) => shares,
                _ => Shares::new(),
            };
            shares.entry(target).or_default().push(share);
            let what = Yield::Pods(shares);
            self.hand_on(index, Some(&what));
            self.taken.insert(index, what);
        }
        None
    }

    /// What is not needed stays, the dearest first.
    fn put_back(&mut self) {
        let order: Vec<usize> = self.taken.keys().rev().copied().collect();
        for index in order {
            let Some(what) = self.taken.remove(&index) else {
                continue;
            };
            self.hand_on(index, None);
            if !self.fits() || !self.may_all_go() {
                self.hand_on(index, Some(&what));
                self.taken.insert(index, what);
            }
        }
    }

    /// Whether each of those who go may go after the others: who stays after all may have been the ground for it.
    fn may_all_go(&mut self) -> bool {
        let request = self.claim.needs.request;
        let whole = self.taken.iter();
        let whole = whole.filter(|(_, what)| **what == Yield::Everything);
        let others: Vec<usize> = whole
            .map(|(index, _)| *index)
            .filter(|index| !self.candidates[*index].ground.is_own())
            .collect();
        others.into_iter().all(|index| {
            self.hand_on(index, None);
            let may = may_go(self.accounts, &self.candidates[index], request);
            self.hand_on(index, Some(&Yield::Everything));
            may
        })
    }

    fn hand_on(&mut self, index: usize, what: Option<&Yield>) {
        let candidate = &self.candidates[index];
        for (target, shares) in &candidate.holds {
            let shares = match what {
                None => Vec::new(),
                Some(Yield::Everything) => shares.clone(),
                Some(Yield::Pods(some)) => some.get(target).cloned().unwrap_or_default(),
            };
            self.fleet.pass_on(&candidate.id, target, shares);
        }
        let whole = matches!(what, Some(Yield::Everything));
        self.accounts.pretend(&candidate.id, whole);
    }

    /// Takes off what a candidate gives on a target already.
    fn less_taken(&self, index: usize, target: &TargetName, shares: &mut Vec<Share>) {
        let Some(Yield::Pods(taken)) = self.taken.get(&index) else {
            return;
        };
        if let Some(gone) = taken.get(target) {
            take_off(shares, gone);
        }
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
