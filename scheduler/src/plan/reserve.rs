//! Decisions and what they reserve in the fleet.

use std::collections::BTreeSet;
use std::sync::Arc;

use placement_api::kinds::NodeShare;

use super::fill::{Pick, places};
use super::gang::Added;
use super::needs::Needs;
use super::pick::pick;
use super::{Current, Request};
use crate::fleet::{Event, Fleet, NodeName, Share, Target, TargetName};

/// Brings the reservations of a workload in line with what it has. Returns what became free by it.
pub(super) fn adopt(fleet: &mut Fleet, needs: &Needs<'_>) -> Event {
    let request = needs.request;
    let mut event = Event::nothing();
    let has: BTreeSet<&TargetName> = request.current.iter().map(|part| &part.target).collect();
    for target in fleet.holders(&request.id) {
        if request.finished || !has.contains(&target) {
            event.merge(fleet.release(&request.id, &target));
        }
    }
    for part in request.current.iter().filter(|_| !request.finished) {
        event.merge(adopt_part(fleet, needs, part));
    }
    event
}

/// Reserves what is new on a target, beside what the workload has there.
pub(super) fn reserve(
    fleet: &mut Fleet,
    needs: &Needs<'_>,
    target: &TargetName,
    epoch: i64,
    added: &Added,
    named: bool,
) {
    let id = &needs.request.id;
    let Some(there) = fleet.target(target.as_str()) else {
        return;
    };
    let (mut assumed, mut claimed) = there
        .held(id)
        .map(|hold| (hold.assumed.clone(), hold.claimed.clone()))
        .unwrap_or_default();
    let new = added.picks.iter().map(|pick| Share {
        devices: added.device.into_iter().collect(),
        ..share(needs, there, pick)
    });
    let new: Vec<Share> = new.collect();
    if named {
        claimed.extend(new.iter().cloned());
    }
    assumed.extend(new);
    fleet.hold(id, target, epoch, assumed, claimed);
}

/// Gives back what a smaller part does not need any more. Returns what became free by it.
pub(super) fn trim(fleet: &mut Fleet, needs: &Needs<'_>, part: &super::Part) -> Event {
    let id = &needs.request.id;
    let Some(hold) = fleet
        .target(part.target.as_str())
        .and_then(|target| target.held(id))
    else {
        return Event::nothing();
    };
    let count = |set: &str| part.counts.get(set).copied().unwrap_or(0);
    let claimed = if part.nodes.is_empty() {
        cut(&hold.claimed, count)
    } else {
        shares_of(needs, &part.nodes)
    };
    // Where nothing is counted yet, what is assumed is what is claimed.
    let assumed = if hold.assumed == hold.claimed {
        claimed.clone()
    } else {
        cut(&hold.assumed, count)
    };
    fleet.hold(id, &part.target, part.epoch, assumed, claimed)
}

/// Moves what a part has reserved from lost nodes to others. Returns what became free by it.
pub(super) fn swap(
    fleet: &mut Fleet,
    needs: &Needs<'_>,
    new: &Current,
    old: &Current,
    picks: &[Pick],
) -> Event {
    let id = &needs.request.id;
    let Some(target) = fleet.target(new.target.as_str()) else {
        return Event::nothing();
    };
    let kept = |share: &Share| {
        let of = |nodes: &[NodeShare]| -> i64 {
            nodes
                .iter()
                .filter(|node| {
                    *node.name == *share.node.as_str() && *node.pod_set == *share.pod_set
                })
                .map(|node| node.pods)
                .sum()
        };
        // What is assumed on a node that is new or has more than before is as it was; the new pods come on top.
        share.pods.min(of(&new.nodes)).min(of(&old.nodes))
    };
    let held = target.held(id).map(|hold| hold.assumed.as_slice());
    let mut assumed: Vec<Share> = held
        .unwrap_or_default()
        .iter()
        .map(|share| Share {
            pods: kept(share),
            ..share.clone()
        })
        .filter(|share| share.pods > 0)
        .collect();
    assumed.extend(picks.iter().map(|pick| share(needs, target, pick)));
    let claimed = shares_of(needs, &new.nodes);
    fleet.hold(id, &new.target, new.epoch, assumed, claimed)
}

fn adopt_part(fleet: &mut Fleet, needs: &Needs<'_>, part: &Current) -> Event {
    let id = &needs.request.id;
    let Some(target) = fleet.target(part.target.as_str()) else {
        return Event::nothing();
    };
    let count = |set: &str| part.counts.get(set).copied().unwrap_or(0);
    let claimed = shares_of(needs, &part.nodes);
    let assumed = match target.held(id) {
        Some(hold) if hold.epoch == part.epoch => {
            let unnamed = claimed.is_empty() && hold.claimed.is_empty();
            if unnamed && !part.evicting && !hold.passed_on.is_empty() {
                // It has shrunk; which pods go is the member's choice, so that from now on the report alone says what is free.
                let assumed = cut(&hold.left(), count);
                fleet.pass_on(id, &part.target, Vec::new());
                return fleet.hold(id, &part.target, part.epoch, assumed, claimed);
            }
            let assumed = cut(&hold.assumed, count);
            if assumed == hold.assumed && claimed == hold.claimed {
                return Event::nothing();
            }
            assumed
        }
        _ if target.counts(id, part.epoch) => Vec::new(),
        _ if !claimed.is_empty() => claimed.clone(),
        _ => {
            // Nobody named nodes: assume those that the planner would take, without what this workload holds itself.
            fleet.release(id, &part.target);
            guess(fleet, needs, part)
        }
    };
    fleet.hold(id, &part.target, part.epoch, assumed, claimed)
}

/// Where the pods of a workload are on a target: on the nodes that were decided, or were assumed, or where the report sees them.
pub(crate) fn whereabouts(fleet: &mut Fleet, name: &TargetName, request: &Request) -> Vec<Share> {
    let Some(target) = fleet.target(name.as_str()) else {
        return Vec::new();
    };
    let Some(hold) = target.held(&request.id) else {
        return Vec::new();
    };
    if !hold.claimed.is_empty() {
        return hold.claimed.clone();
    }
    if !hold.assumed.is_empty() {
        return hold.assumed.clone();
    }
    let seen = target.seen(&request.id).to_vec();
    if seen.is_empty() {
        return Vec::new();
    }
    shares_of(&Needs::new(fleet, request), &seen)
}

/// Nodes on which the pods of a part may come to run. What seems not to fit is taken off the roomiest node all the same: it does run
/// or will, and too little free is safer than too much.
fn guess(fleet: &Fleet, needs: &Needs<'_>, part: &Current) -> Vec<Share> {
    let Some(target) = fleet.target(part.target.as_str()) else {
        return Vec::new();
    };
    let nodes: Vec<usize> = (0..target.node_list().len()).collect();
    let mut shares = Vec::new();
    for (set, need) in needs.sets.iter().enumerate() {
        let want = part.counts.get(&*need.name).copied().unwrap_or(0);
        let copies = need.copies_on(target);
        let picked = pick(
            &places(fleet, needs, target, set, &nodes, &copies),
            want,
            needs.packing,
        );
        let left = want - picked.iter().map(|(_, pods)| pods).sum::<i64>();
        let allowed = nodes
            .iter()
            .filter(|node| need.selects(&target.node_list()[**node]));
        let roomiest = allowed.max_by_key(|node| {
            (
                target.node_list()[**node].free.get(need.main),
                std::cmp::Reverse(**node),
            )
        });
        if let (true, Some(node)) = (left > 0, roomiest) {
            shares.push(share(
                needs,
                target,
                &Pick {
                    set,
                    node: *node,
                    pods: left,
                },
            ));
        }
        shares.extend(
            picked
                .into_iter()
                .map(|(node, pods)| share(needs, target, &Pick { set, node, pods })),
        );
    }
    shares
}

fn share(needs: &Needs<'_>, target: &Target, pick: &Pick) -> Share {
    let need = &needs.sets[pick.set];
    let node = target.node_list()[pick.node].name().clone();
    Share {
        node,
        pod_set: need.name.clone(),
        demand: need.demand.clone(),
        pods: pick.pods,
        devices: Vec::new(),
    }
}

fn shares_of(needs: &Needs<'_>, nodes: &[NodeShare]) -> Vec<Share> {
    let share = |node: &NodeShare| {
        let need = needs
            .sets
            .iter()
            .find(|need| node.pod_set.is_empty() || *need.name == *node.pod_set)?;
        Some(Share {
            node: NodeName::from(&node.name),
            pod_set: Arc::clone(&need.name),
            demand: need.demand.clone(),
            pods: node.pods,
            devices: Vec::new(),
        })
    };
    nodes.iter().filter_map(share).collect()
}

/// The first shares of each role, up to so many pods.
fn cut(shares: &[Share], count: impl Fn(&str) -> i64) -> Vec<Share> {
    let mut used: std::collections::BTreeMap<&str, i64> = std::collections::BTreeMap::new();
    let mut kept = Vec::new();
    for share in shares {
        let used = used.entry(&share.pod_set).or_default();
        let pods = share.pods.min(count(&share.pod_set) - *used);
        if pods > 0 {
            *used += pods;
            kept.push(Share {
                pods,
                ..share.clone()
            });
        }
    }
    kept
}
