//! Who gives way: a claimant that fits nowhere takes the room of others, if there is a ground for it.
//!
//! ```text
//! claimant -> regions (the domains that could hold it) -> per region the cheapest pods that make room -> the cheapest region
//!                                                              |                                             |
//!                                       grounds, protection <--/          what is not needed is put back <---/
//! ```
//!
//! Every step makes a workload of higher priority run in place of ones of lower priority, and nobody gives way twice to the same claimant, so
//! this ends: see `docs/decisions/0006-why-preemption-ends.md`.

mod exact;
mod search;
mod victims;

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::NodeShare;
use placement_api::reason::Reason;

use super::accounts::Accounts;
use super::book::Book;
use super::draft::Draft;
use super::needs::Needs;
use super::orders::Orders;
use super::{Change, Decision, Explanation, Leaving, Outcome, Part, Step, tree, words};
use crate::fleet::{Fleet, Share, TargetName, WorkloadId};

pub(super) use search::Region;
pub(super) use victims::{Price, Yield, price, protected_until};

/// Steps of the search for less lost work, about a millisecond.
const EXACT_STEPS: u32 = 20_000;

/// Who gives way to the claimant.
#[derive(Clone, Debug)]
pub(super) struct Eviction {
    pub(super) victim: WorkloadId,
    /// Why there is a ground.
    pub(super) reason: Reason,
    /// All of it, or some pods.
    pub(super) what: Yield,
}

/// Whether a workload that was drafted may ask others to give way: it wants to start, is not held back, and has no room.
pub(super) fn is_claimant(needs: &Needs<'_>, draft: &Draft) -> bool {
    let request = needs.request;
    let runs = request.current.iter().any(|part| !part.evicting);
    draft.missing.is_some()
        && draft.added.is_empty()
        && draft.leaving.is_empty()
        && !runs
        && !needs.sets.is_empty()
        && !request.suspended
        && !request.finished
        && request.blocked.is_none()
}

/// A claim on the room of others.
pub(super) struct Claim<'a> {
    pub(super) needs: &'a Needs<'a>,
    /// Workloads that this cycle has decided about already.
    pub(super) settled: &'a dyn Fn(&WorkloadId) -> bool,
    /// Queues whose spares yield to it.
    pub(super) yielding: &'a BTreeSet<String>,
    pub(super) now_ms: i64,
}

/// Finds the cheapest workloads that make room for the claimant, and room on the account of its queue, and hands their room on in the
/// fleet, so that a draft finds it.
///
/// # Errors
/// Nothing is found and nothing is changed; the time from which on somebody may be asked who has not run long enough yet.
pub(super) fn find(
    fleet: &mut Fleet,
    book: &Book,
    orders: &Orders,
    accounts: &mut Accounts,
    claim: &Claim<'_>,
) -> Result<Vec<Eviction>, Option<i64>> {
    let needs = claim.needs;
    let request = needs.request;
    let asks = accounts.asks(request);
    let below = accounts.several() && accounts.shares.is_below(accounts.queue(request), &asks);
    let inside = book.runs_below(&request.queue, request.priority) || orders.slices(&request.id);
    if !inside && !below {
        return Err(None);
    }
    let tiers = needs.tiers(fleet, claim.now_ms);
    let targets: Vec<TargetName> = tiers.into_iter().flatten().collect();
    let (candidates, later) =
        victims::candidates(fleet, book, orders, accounts, claim, (&targets, below));
    if candidates.is_empty() {
        return Err(later);
    }
    let regions = regions(fleet, needs, &targets, claim.now_ms);
    for some in by_payer(candidates) {
        let mut found: Vec<(victims::Cost, search::Chosen, &Region)> = Vec::new();
        for region in &regions {
            let mut search = search::Search::new(fleet, accounts, claim, &some);
            let fits = search.cheapest(region);
            let chosen = search.undo();
            if fits {
                found.push((search::cost(&some, &chosen), chosen, region));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let chosen = cheaper(fleet, accounts, claim, &some, &found)
            .or_else(|| Some(found.into_iter().next()?.1));
        if let Some(chosen) = chosen {
            search::Search::new(fleet, accounts, claim, &some).apply(&chosen);
            return Ok(search::evictions(&some, chosen));
        }
    }
    Err(later)
}

/// Gives everybody back what was found for a claimant that may not have it.
pub(super) fn take_back(fleet: &mut Fleet, accounts: &mut Accounts, found: &[Eviction]) {
    for eviction in found {
        for target in fleet.holders(&eviction.victim) {
            fleet.pass_on(&eviction.victim, &target, Vec::new());
        }
        accounts.pretend(&eviction.victim, false);
    }
}

/// Looks for victims that lose less work than the best choice so far, in the most promising regions first.
fn cheaper(
    fleet: &mut Fleet,
    accounts: &mut Accounts,
    claim: &Claim<'_>,
    candidates: &[victims::Candidate],
    found: &[(victims::Cost, search::Chosen, &Region)],
) -> Option<search::Chosen> {
    let (_, first, _) = found.first()?;
    let mut least = exact::Sum::NOTHING;
    for (index, what) in first {
        if *what != Yield::Everything {
            return None;
        }
        least = least.plus(&candidates[*index].price);
    }
    if !least.loses_work() {
        return None;
    }
    let (mut best, mut steps) = (None, EXACT_STEPS);
    for (_, _, region) in found {
        let exact = exact::Exact::new(fleet, claim, candidates, region, least, &mut steps)?;
        for (sum, set) in exact.cheaper() {
            let mut search = search::Search::new(fleet, accounts, claim, candidates);
            let fits = search.accepts(&set);
            let chosen = search.undo();
            if fits {
                (least, best) = (sum, Some(chosen));
                break;
            }
        }
    }
    best
}

/// Who may be asked together: with those of lower priority in the claimant's own queue the branch of the tree that is most above its
/// entitlement, or the next where that is of no use; at last all.
fn by_payer(all: Vec<victims::Candidate>) -> Vec<Vec<victims::Candidate>> {
    let mut payers: Vec<crate::shares::Excess> = all
        .iter()
        .filter_map(|one| match one.ground {
            victims::Ground::Reclaim(excess) => Some(excess),
            victims::Ground::Priority | victims::Ground::Slice => None,
        })
        .collect();
    payers.sort_unstable_by(|a, b| b.cmp(a));
    payers.dedup();
    let mut groups: Vec<Vec<victims::Candidate>> = Vec::new();
    if payers.len() > 1 {
        for payer in payers {
            let some = all.iter().filter(|one| match one.ground {
                victims::Ground::Priority | victims::Ground::Slice => true,
                victims::Ground::Reclaim(excess) => excess == payer,
            });
            groups.push(some.cloned().collect());
        }
    }
    if !all.is_empty() {
        groups.push(all);
    }
    groups
}

/// Nodes by target among which room could be made: what is divided may be anywhere, a gang is in one domain.
pub(super) fn regions(
    fleet: &Fleet,
    needs: &Needs<'_>,
    targets: &[TargetName],
    now_ms: i64,
) -> Vec<Region> {
    let everywhere = needs.divides() || needs.request.gang_per_target.is_some();
    let nodes = |name: &TargetName| -> Vec<usize> {
        let count = fleet
            .target(name.as_str())
            .map_or(0, |target| target.node_list().len());
        (0..count).collect()
    };
    if everywhere {
        return vec![
            targets
                .iter()
                .map(|name| (name.clone(), nodes(name)))
                .collect(),
        ];
    }
    let levels = super::gang::levels(fleet, needs, now_ms);
    let Some(widest) = levels.last() else {
        return Vec::new();
    };
    targets
        .iter()
        .filter_map(|name| Some((name, fleet.target(name.as_str())?)))
        .flat_map(|(name, target)| {
            tree::domains(widest, target, &nodes(name))
                .into_iter()
                .map(|nodes| vec![(name.clone(), nodes)])
        })
        .collect()
}

/// What is decided about one that gives way.
pub(super) fn decision(book: &Book, claimant: &Needs<'_>, eviction: &Eviction) -> Option<Decision> {
    let request = &book.get(&eviction.victim)?.request;
    let mut message = message(claimant, request.priority, eviction.reason);
    if let Yield::Pods(shares) = &eviction.what {
        let has = request.current.iter().flat_map(|part| part.counts.values());
        let all: i64 = has.sum();
        let given: i64 = shares.values().flatten().map(|share| share.pods).sum();
        message = format!("shrinks from {all} to {} pods: {message}", all - given);
    }
    let mut parts = Vec::new();
    let mut leaving = Vec::new();
    for part in request.current.iter().filter(|part| !part.evicting) {
        let mut kept = Part {
            target: part.target.clone(),
            epoch: part.epoch,
            change: Change::Kept,
            counts: part.counts.clone(),
            domain: part.domain.clone(),
            nodes: part.nodes.clone(),
            replaces: None,
            after: BTreeSet::new(),
        };
        match &eviction.what {
            Yield::Pods(shares) => {
                if let Some(shares) = shares.get(&part.target) {
                    kept.change = Change::Shrunk;
                    kept.nodes = without(&part.nodes, shares);
                    for share in shares {
                        if let Some(count) = kept.counts.get_mut(&*share.pod_set) {
                            *count -= share.pods;
                        }
                    }
                }
                parts.push(kept);
            }
            Yield::Everything => leaving.push(Leaving {
                target: part.target.clone(),
                reason: eviction.reason,
                step: Step::Now,
                message: message.clone(),
            }),
        }
    }
    let whole = matches!(eviction.what, Yield::Everything);
    let asked = request.pod_sets.iter().flat_map(|set| set.requests.iter());
    let lacks = asked
        .filter(|(_, amount)| *amount > 0)
        .map(|(name, _)| name.to_owned())
        .collect();
    Some(Decision {
        id: request.id.clone(),
        outcome: Outcome::Place,
        parts,
        leaving,
        epoch: request.epoch + i64::from(whole),
        explanation: Explanation {
            reason: Some(if whole {
                Reason::Evicted
            } else {
                eviction.reason
            }),
            message,
            verdicts: Vec::new(),
        },
        // Who has shrunk grows when any of this is free again, though nothing else may happen to it until then.
        lacks,
    })
}

fn message(claimant: &Needs<'_>, priority: i32, reason: Reason) -> String {
    let request = claimant.request;
    let name = words::reference(request);
    match reason {
        Reason::ReclaimedByEntitledQueue if request.queue.is_empty() => {
            format!("gives way to {name}, which is entitled to this room")
        }
        Reason::ReclaimedByEntitledQueue => {
            format!(
                "gives way to {name} of queue {}, which is entitled to this room",
                request.queue
            )
        }
        Reason::OverranEstimate => {
            format!("has run past its estimate; {name} was promised to start here now")
        }
        Reason::Defragmented => {
            format!("moves to other nodes, so that {name} has its room in one piece")
        }
        Reason::ReplacedInTimeSlice => {
            format!(
                "gives way to {name}, whose turn it is in queue {}",
                request.queue
            )
        }
        _ => format!(
            "gives way to {name}, which has priority {} over {priority}",
            request.priority
        ),
    }
}

fn without(nodes: &[NodeShare], gone: &[Share]) -> Vec<NodeShare> {
    let mut left = nodes.to_vec();
    for share in gone {
        for node in left
            .iter_mut()
            .filter(|node| *node.name == *share.node.as_str() && *node.pod_set == *share.pod_set)
        {
            node.pods -= share.pods;
        }
    }
    left.retain(|node| node.pods > 0);
    left
}

/// Pods by target that are handed on.
pub(super) type Shares = BTreeMap<TargetName, Vec<Share>>;
