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

mod search;
mod victims;

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::NodeShare;
use placement_api::reason::Reason;

use super::book::Book;
use super::draft::{self, Draft};
use super::needs::Needs;
use super::orders::Orders;
use super::{Change, Decision, Explanation, Leaving, Outcome, Part, Step, eligible, tree, words};
use crate::fleet::{Fleet, Share, TargetName, WorkloadId};

pub(super) use victims::Yield;

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

/// Finds the cheapest workloads that make room for the claimant and hands their room on in the fleet, so that a draft finds it. `settled`:
/// workloads that this cycle has decided about already. Nothing is changed where nothing is found.
pub(super) fn find(
    fleet: &mut Fleet,
    book: &Book,
    orders: &Orders,
    needs: &Needs<'_>,
    settled: &dyn Fn(&WorkloadId) -> bool,
    now_ms: i64,
) -> Option<Vec<Eviction>> {
    let tiers = eligible::tiers(fleet, needs.request, now_ms);
    let targets: Vec<TargetName> = tiers.into_iter().flatten().collect();
    let candidates = victims::candidates(fleet, book, orders, needs, &targets, settled, now_ms);
    if candidates.is_empty() {
        return None;
    }
    let fits = |fleet: &Fleet| {
        let draft = draft::draft(fleet, needs, false, now_ms);
        !draft.added.is_empty()
    };
    let mut best: Option<(victims::Cost, search::Chosen<'_>)> = None;
    for region in regions(fleet, needs, &targets, now_ms) {
        let mut chosen = search::Chosen::new(&candidates);
        let found = search::cheapest(fleet, needs, &region, &mut chosen, &fits);
        chosen.undo(fleet);
        if !found {
            continue;
        }
        let cost = chosen.cost();
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, chosen));
        }
    }
    let (_, mut chosen) = best?;
    chosen.apply(fleet);
    Some(chosen.evictions())
}

/// Nodes by target among which room could be made: what is divided may be anywhere, a gang is in one domain.
fn regions(
    fleet: &Fleet,
    needs: &Needs<'_>,
    targets: &[TargetName],
    now_ms: i64,
) -> Vec<search::Region> {
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
    let message = message(claimant, request.priority, eviction.reason);
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
        lacks: BTreeSet::new(),
    })
}

fn message(claimant: &Needs<'_>, priority: i32, reason: Reason) -> String {
    let request = claimant.request;
    let name = words::reference(request);
    match reason {
        Reason::ReclaimedByEntitledQueue => {
            format!(
                "gives way to {name} of queue {}, which is entitled to this room",
                request.queue
            )
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
