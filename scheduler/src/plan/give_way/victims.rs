//! Who may be asked to give way, on what ground, and what that costs.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::reason::Reason;

use super::{Claim, Shares};
use crate::fleet::{CPU_TIME, Fleet, Share, TargetName, WorkloadId, is_extended};
use crate::plan::Request;
use crate::plan::accounts::Accounts;
use crate::plan::book::{Book, Booked};
use crate::plan::draft;
use crate::plan::orders::Orders;
use crate::plan::reserve;
use crate::shares::{Ask, Excess, QueueId, QueueTree, Standing};

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
    /// The same priority in a queue with time slicing, and its turn is later.
    Slice,
    /// Its branch of the tree has more than it is entitled to.
    Reclaim(Excess),
}

impl Ground {
    /// In the claimant's own queue.
    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::Priority | Self::Slice)
    }

    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Priority => Reason::PreemptedByPriority,
            Self::Slice => Reason::ReplacedInTimeSlice,
            Self::Reclaim(_) => Reason::ReclaimedByEntitledQueue,
        }
    }
}

/// Somebody who may be asked.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) id: WorkloadId,
    pub(super) ground: Ground,
    /// What it holds on nodes, by target.
    pub(super) holds: Shares,
    /// Pods by role that it can do without.
    pub(super) spare: BTreeMap<String, i64>,
    pub(super) price: Price,
}

/// What it costs to evict one; less is better, the fields in the order of their weight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::plan) struct Price {
    pub(super) priority: i32,
    /// In a time slice: the later its turn, the less.
    pub(super) turn: i64,
    /// Work that is lost, in thousandths of a second of one device.
    pub(super) devices_ms: i128,
    /// The same for a thousandth of a CPU.
    pub(super) cpu_ms: i128,
    /// It has several pods.
    pub(super) gang: bool,
}

impl Price {
    /// What it costs to evict two.
    pub(in crate::plan) fn plus(self, other: Self) -> Self {
        Self {
            priority: self.priority.max(other.priority),
            turn: self.turn.max(other.turn),
            devices_ms: self.devices_ms + other.devices_ms,
            cpu_ms: self.cpu_ms + other.cpu_ms,
            gang: self.gang || other.gang,
        }
    }
}

/// What a set of evictions costs; less is better, the fields in the order of their weight. To shrink costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    pub(super) priority: Option<i32>,
    pub(super) turn: Option<i64>,
    pub(super) devices_ms: i128,
    pub(super) cpu_ms: i128,
    pub(super) workloads: usize,
    pub(super) gangs: usize,
    pub(super) shrunk: i64,
    pub(super) ids: Vec<WorkloadId>,
}

impl Cost {
    pub(super) fn add(&mut self, candidate: &Candidate) {
        self.priority = self.priority.max(Some(candidate.price.priority));
        self.turn = self.turn.max(Some(candidate.price.turn));
        self.devices_ms += candidate.price.devices_ms;
        self.cpu_ms += candidate.price.cpu_ms;
        self.workloads += 1;
        self.gangs += usize::from(candidate.price.gang);
        self.ids.push(candidate.id.clone());
    }
}

/// Everybody with something on one of these targets who may be asked, the cheapest first; and when the first of those may be asked who
/// have not run long enough. `anywhere`: not in the claimant's own queue alone.
pub(super) fn candidates(
    fleet: &mut Fleet,
    book: &Book,
    orders: &Orders,
    accounts: &mut Accounts,
    claim: &Claim<'_>,
    (targets, anywhere): (&[TargetName], bool),
) -> (Vec<Candidate>, Option<i64>) {
    let claimant = claim.needs.request;
    let asks = accounts.asks(claimant);
    let targets: BTreeSet<&TargetName> = targets.iter().collect();
    let mine = accounts.queue(claimant);
    let reclaims = accounts.shares.is_below(mine, &asks);
    let among = if anywhere && reclaims {
        QueueTree::ROOT
    } else {
        mine
    };
    let mut all = Vec::new();
    let mut later: Option<i64> = None;
    for (from_ms, id) in accounts.evictable(among) {
        if later.is_some_and(|later| from_ms >= later) {
            // So are all who come after it.
            break;
        }
        let Some(booked) = book.get(id).filter(|_| !(claim.settled)(id)) else {
            continue;
        };
        let Some(ground) = ground(booked, (claimant, mine, reclaims), orders, accounts, &asks)
        else {
            continue;
        };
        let stays = |name: &TargetName| {
            let hold = fleet
                .target(name.as_str())
                .and_then(|target| target.held(id));
            hold.is_some_and(|hold| hold.passed_on.is_empty())
        };
        let mut there = fleet.holders(id);
        there.retain(|name| targets.contains(name) && stays(name));
        if there.is_empty() {
            continue;
        }
        if let Some(until) = protected_until(&booked.request, claim.now_ms) {
            later = draft::earliest(later, Some(until));
            continue;
        }
        let holds = there.into_iter().map(|name| {
            let shares = reserve::whereabouts(fleet, &name, &booked.request);
            (name, shares)
        });
        let holds: Shares = holds.filter(|(_, shares)| !shares.is_empty()).collect();
        if holds.is_empty() {
            continue;
        }
        all.push(Candidate {
            id: id.clone(),
            ground,
            holds,
            spare: spare(&booked.request),
            price: Price {
                turn: match (ground, orders.turn(id)) {
                    (Ground::Slice, Some(turn)) => -turn.rank,
                    _ => 0,
                },
                ..price(fleet, &booked.request, claim.now_ms)
            },
        });
    }
    all.sort_by(|a, b| (&a.price, &a.id).cmp(&(&b.price, &b.id)));
    (all, later)
}

/// Until when a workload is inside its minimum run time.
pub(in crate::plan) fn protected_until(request: &Request, now_ms: i64) -> Option<i64> {
    request
        .current
        .iter()
        .filter(|part| !part.evicting && request.min_runtime_ms > 0)
        .map(|part| {
            let started = part.started_ms.unwrap_or(now_ms);
            started.saturating_add(request.min_runtime_ms)
        })
        .filter(|until| *until > now_ms)
        .max()
}

/// The ground on which a workload may be asked to give way to another, of this queue. `reclaims`: which is below what it is entitled to.
fn ground(
    booked: &Booked,
    (claimant, mine, reclaims): (&Request, QueueId, bool),
    orders: &Orders,
    accounts: &Accounts,
    asks: &Ask,
) -> Option<Ground> {
    let victim = &booked.request;
    if victim.id == claimant.id
        || !victim.preemptible
        || victim.finished
        || booked.gave_way_to.contains(&claimant.id)
    {
        return None;
    }
    let other = accounts.queue(victim);
    if mine == other {
        if victim.priority < claimant.priority {
            return Some(Ground::Priority);
        }
        let slice =
            victim.priority == claimant.priority && orders.may_replace(&claimant.id, &victim.id);
        return slice.then_some(Ground::Slice);
    }
    if !reclaims {
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
    if candidate.ground.is_own() {
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
        && (!shares.falls_below(other, parent, &uses, false)
            || shares.standing(mine, &asks) == Standing::Guaranteed
                && !shares.is_at_guarantee(other, parent, &uses))
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
pub(in crate::plan) fn price(fleet: &Fleet, request: &Request, now_ms: i64) -> Price {
    let mut price = Price {
        priority: request.priority,
        turn: 0,
        devices_ms: 0,
        cpu_ms: 0,
        gang: request.pods() > 1,
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
