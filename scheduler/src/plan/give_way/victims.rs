//! Who may be asked to give way, on what ground, and what that costs.

use std::collections::BTreeMap;

use placement_api::reason::Reason;

use super::{Claim, Shares};
use crate::fleet::{CPU_TIME, Fleet, Share, TargetName, WorkloadId, is_extended};
use crate::plan::Request;
use crate::plan::accounts::Accounts;
use crate::plan::book::{Book, Booked};
use crate::shares::{Ask, Excess, Standing};

/// What a workload gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plan) enum Yield {
    /// It runs on with fewer pods: an elastic workload. This is not an eviction.
    Pods(Shares),
    /// All of it.
    Everything,
}

/// Why somebody may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// Lower priority in the same queue.
    Priority,
    /// Its branch of the tree has more than it is entitled to.
    Reclaim(Excess),
}

impl Ground {
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Priority => Reason::PreemptedByPriority,
            Self::Reclaim(_) => Reason::ReclaimedByEntitledQueue,
        }
    }
}

/// Somebody who may be asked.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) id: WorkloadId,
    pub(super) ground: Ground,
    /// What it holds on nodes that were decided, by target.
    pub(super) holds: Shares,
    /// Pods by role that it can do without.
    pub(super) spare: BTreeMap<String, i64>,
    pub(super) price: Price,
}

/// What it costs to evict one; less is better, the fields in the order of their weight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Price {
    pub(super) priority: i32,
    /// Work that is lost, in thousandths of a second of one device.
    pub(super) devices_ms: i128,
    /// The same for a thousandth of a CPU.
    pub(super) cpu_ms: i128,
}

/// What a set of evictions costs; less is better, the fields in the order of their weight. To shrink costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    pub(super) priority: Option<i32>,
    pub(super) devices_ms: i128,
    pub(super) cpu_ms: i128,
    pub(super) workloads: usize,
    pub(super) shrunk: i64,
    pub(super) ids: Vec<WorkloadId>,
}

impl Cost {
    pub(super) fn add(&mut self, candidate: &Candidate) {
        self.priority = self.priority.max(Some(candidate.price.priority));
        self.devices_ms += candidate.price.devices_ms;
        self.cpu_ms += candidate.price.cpu_ms;
        self.workloads += 1;
        self.ids.push(candidate.id.clone());
    }
}

/// Everybody with a hold on one of these targets who may be asked, the cheapest first.
pub(super) fn candidates(
    fleet: &Fleet,
    book: &Book,
    accounts: &mut Accounts,
    claim: &Claim<'_>,
    targets: &[TargetName],
) -> Vec<Candidate> {
    let claimant = claim.needs.request;
    let asks = accounts.asks(claimant);
    let mut found: BTreeMap<WorkloadId, Candidate> = BTreeMap::new();
    for name in targets {
        let Some(target) = fleet.target(name.as_str()) else {
            continue;
        };
        for (id, hold) in target.holds() {
            if hold.claimed.is_empty() || !hold.passed_on.is_empty() || (claim.settled)(id) {
                continue;
            }
            if let Some(candidate) = found.get_mut(id) {
                candidate.holds.insert(name.clone(), hold.claimed.clone());
                continue;
            }
            let Some((booked, ground)) = book.get(id).and_then(|booked| {
                let ground = ground(booked, claimant, accounts, &asks, claim.now_ms)?;
                Some((booked, ground))
            }) else {
                continue;
            };
            let candidate = Candidate {
                id: id.clone(),
                ground,
                holds: [(name.clone(), hold.claimed.clone())].into(),
                spare: spare(&booked.request),
                price: price(fleet, &booked.request, claim.now_ms),
            };
            found.insert(id.clone(), candidate);
        }
    }
    let mut all: Vec<Candidate> = found.into_values().collect();
    all.sort_by(|a, b| (&a.price, &a.id).cmp(&(&b.price, &b.id)));
    all
}

/// The ground on which a workload may be asked to give way to another.
fn ground(
    booked: &Booked,
    claimant: &Request,
    accounts: &Accounts,
    asks: &Ask,
    now_ms: i64,
) -> Option<Ground> {
    let victim = &booked.request;
    let protected = |started: Option<i64>| {
        victim.min_runtime_ms > 0
            && started.is_none_or(|started| now_ms < started.saturating_add(victim.min_runtime_ms))
    };
    let parts = || victim.current.iter().filter(|part| !part.evicting);
    if victim.id == claimant.id
        || !victim.preemptible
        || victim.finished
        || booked.gave_way_to.contains(&claimant.id)
        || parts().any(|part| protected(part.started_ms))
    {
        return None;
    }
    let (mine, other) = (accounts.queue(claimant), accounts.queue(victim));
    if mine == other {
        return (victim.priority < claimant.priority).then_some(Ground::Priority);
    }
    if !accounts.shares.is_below(mine, asks) {
        return None;
    }
    accounts
        .shares
        .excess(mine, other, asks)
        .filter(|excess| excess.share > 0)
        .map(Ground::Reclaim)
}

/// Whether a candidate may still be asked, with those gone who were chosen before.
pub(super) fn may_go(accounts: &mut Accounts, candidate: &Candidate, claimant: &Request) -> bool {
    if candidate.ground == Ground::Priority {
        return true;
    }
    let asks = accounts.asks(claimant);
    let mine = accounts.queue(claimant);
    let Some((other, uses)) = accounts.uses(&candidate.id) else {
        return false;
    };
    let shares = &accounts.shares;
    let above = shares
        .excess(mine, other, &asks)
        .is_some_and(|excess| excess.share > 0);
    let parent = shares.tree().meet(mine, other).parent;
    // One gang may reach across the line, for a claim within a guarantee.
    above
        && (!shares.falls_below(other, parent, uses, false)
            || shares.standing(mine, &asks) == Standing::Guaranteed)
}

/// Pods beyond those that it needs to run.
fn spare(request: &Request) -> BTreeMap<String, i64> {
    request
        .pod_sets
        .iter()
        .map(|set| {
            let least = match request.strategy {
                placement_api::kinds::Strategy::Divide => set.min_count.unwrap_or(1),
                _ => set.gang_minimum(),
            };
            let runs: i64 = request
                .current
                .iter()
                .filter(|part| !part.evicting)
                .filter_map(|part| part.counts.get(&set.name))
                .sum();
            (set.name.clone(), (runs - least).max(0))
        })
        .collect()
}

/// Work since the start or the last save, over all that it has.
fn price(fleet: &Fleet, request: &Request, now_ms: i64) -> Price {
    let mut price = Price {
        priority: request.priority,
        devices_ms: 0,
        cpu_ms: 0,
    };
    for part in request.current.iter().filter(|part| !part.evicting) {
        let Some(started) = part.started_ms else {
            continue;
        };
        let since = request
            .checkpoint_ms
            .map_or(started, |saved| saved.clamp(started, now_ms.max(started)));
        let lost = i128::from(now_ms.saturating_sub(since).max(0));
        for set in &request.pod_sets {
            let pods = i128::from(part.counts.get(&set.name).copied().unwrap_or(0));
            for (name, amount) in set.requests.iter() {
                let amount = pods * i128::from(amount) * lost;
                if is_extended(name) {
                    price.devices_ms += amount;
                } else if name == fleet.resources().name(CPU_TIME) {
                    price.cpu_ms += amount;
                }
            }
        }
    }
    price
}

/// Pods of these shares on one node.
pub(super) fn on_node<'a>(shares: &'a [Share], node: &'a str) -> impl Iterator<Item = &'a Share> {
    shares
        .iter()
        .filter(move |share| share.node.as_str() == node)
}
