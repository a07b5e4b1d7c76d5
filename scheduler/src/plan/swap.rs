//! Hot swap: nodes of a running workload that are lost are replaced by others inside its domain; the rest is pinned.
//!
//! ```text
//! Current.nodes -> lost (gone, unusable, driven off, fewer devices) -> room next to the pinned nodes, then wider, never out of a
//! required domain -> the same part with other nodes and a new epoch, or a sentence that names the lost nodes
//! ```
//!
//! Swaps are planned before anything else of a cycle, for a gang with a hole holds all its other nodes for nothing.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{NodeShare, TargetVerdict, TopologyMode};
use placement_api::reason::Reason;

use super::draft::Draft;
use super::fill::{Pick, extend, fill};
use super::gang::{Within, nodes_within};
use super::give_way::{Eviction, Yield};
use super::needs::Needs;
use super::stand_in::hand_on;
use super::tree::Level;
use super::why::findings;
use super::{Change, Current, Decision, Outcome, Request, eligible, reserve, spread, words};
use crate::fleet::{Event, Fleet, HOSTNAME, Target, TargetName, TargetState, WorkloadId};

/// What became of the lost nodes of one workload.
#[derive(Clone, Debug)]
pub(super) struct Swapped {
    /// The workload with what it has from now on; reserved in the fleet.
    pub(super) request: Request,
    /// What was replaced by what, by target.
    replaced: BTreeMap<TargetName, String>,
    /// What has no replacement yet.
    missing: Vec<Missing>,
    /// Who used its spare nodes and leaves them.
    pub(super) evictions: Vec<Eviction>,
}

#[derive(Clone, Debug)]
struct Missing {
    reason: Reason,
    message: String,
    verdict: Option<TargetVerdict>,
    lacks: BTreeSet<String>,
}

/// Pods that have lost their node.
struct Lost {
    share: NodeShare,
    why: String,
}

/// Whether a workload has pods on nodes that were decided: nobody else can lose them.
pub(super) fn concerns(request: &Request) -> bool {
    let mut parts = request.current.iter();
    parts.any(|part| !part.evicting && !part.nodes.is_empty())
}

/// Whether a workload has lost nodes that can be replaced.
pub(super) fn is_hit(fleet: &Fleet, needs: &Needs<'_>) -> bool {
    swappable(needs) && {
        let mut parts = needs.request.current.iter();
        parts.any(|part| {
            standing(fleet, needs, part).is_some_and(|there| !lost(needs, there, part).is_empty())
        })
    }
}

fn swappable(needs: &Needs<'_>) -> bool {
    let request = needs.request;
    needs.named && !request.finished && !request.suspended && request.blocked.is_none()
}

/// The target of a part on named nodes that stays there.
fn standing<'a>(fleet: &'a Fleet, needs: &Needs<'_>, part: &Current) -> Option<&'a Target> {
    if part.evicting || part.nodes.is_empty() {
        return None;
    }
    let target = fleet.target(part.target.as_str())?;
    // What is reported of a lost target is old, and from a drained one everything leaves anyway.
    let stays = matches!(target.state, TargetState::Ready | TargetState::Cordoned);
    (stays && eligible::driven_away(needs.request, target).is_none()).then_some(target)
}

/// Swaps again what was missing, on nodes that these workloads have handed on. Those whose room is not used get it back.
pub(super) fn again(
    fleet: &mut Fleet,
    first: Swapped,
    guests: &[WorkloadId],
    now_ms: i64,
    freed: &mut Event,
) -> Swapped {
    let request = first.request.clone();
    let needs = Needs::new(fleet, &request);
    let Some(mut second) = swap(fleet, &needs, now_ms, freed) else {
        return first;
    };
    let used = |target: &TargetName, node: &str| {
        let on = |request: &Request| {
            let mut parts = request.current.iter().filter(|part| part.target == *target);
            parts.any(|part| part.nodes.iter().any(|share| share.name == node))
        };
        on(&second.request) && !on(&request)
    };
    let mut evictions = first.evictions.clone();
    for guest in guests {
        let mut targets = fleet.holders(guest).into_iter();
        let leaves = targets.any(|name| {
            let target = fleet.target(name.as_str());
            let hold = target.and_then(|target| target.held(guest));
            let mut shares = hold.into_iter().flat_map(|hold| &hold.passed_on);
            shares.any(|share| used(&name, share.node.as_str()))
        });
        if leaves {
            evictions.push(Eviction {
                victim: guest.clone(),
                reason: Reason::ReclaimedByEntitledQueue,
                what: Yield::Everything,
            });
        } else {
            hand_on(fleet, guest, false);
        }
    }
    second.evictions = evictions;
    for (target, message) in first.replaced {
        second.replaced.entry(target).or_insert(message);
    }
    second
}

/// Replaces the lost nodes of a workload. `None`: it has lost none.
pub(super) fn swap(
    fleet: &mut Fleet,
    needs: &Needs<'_>,
    now_ms: i64,
    freed: &mut Event,
) -> Option<Swapped> {
    let request = needs.request;
    if !swappable(needs) {
        return None;
    }
    let mut swapped: Option<Swapped> = None;
    for (position, part) in request.current.iter().enumerate() {
        let Some(target) = standing(fleet, needs, part) else {
            continue;
        };
        let lost = lost(needs, target, part);
        if lost.is_empty() {
            continue;
        }
        let state = swapped.get_or_insert_with(|| Swapped {
            request: request.clone(),
            replaced: BTreeMap::new(),
            missing: Vec::new(),
            evictions: Vec::new(),
        });
        let wants = by_role(needs, lost.iter().map(|one| &one.share));
        let found = replacement(fleet, needs, target, part, &lost, &wants);
        let held = found.as_deref().map_or_else(
            || vec![0; wants.len()],
            |picks| {
                (0..wants.len())
                    .map(|set| of_role(picks, set))
                    .collect::<Vec<i64>>()
            },
        );
        let left: Vec<i64> = wants
            .iter()
            .zip(&held)
            .map(|(want, held)| want - held)
            .collect();
        if let Some(picks) = found {
            let new = seated(needs, target, part, &lost, &picks, request.epoch + 1);
            let names = |picks: &[Pick]| -> String {
                let names: BTreeSet<&str> = picks
                    .iter()
                    .map(|pick| target.node_list()[pick.node].name().as_str())
                    .collect();
                names.into_iter().collect::<Vec<_>>().join(", ")
            };
            let pods = words::many(held.iter().sum(), "pod");
            let message = format!("{pods} of {}: now on {}", described(&lost), names(&picks));
            state.replaced.insert(part.target.clone(), message);
            state.request.epoch = request.epoch + 1;
            freed.merge(reserve::swap(fleet, needs, &new, part, &picks));
            state.request.current[position] = new;
        }
        if left.iter().any(|left| *left > 0) {
            let without = missing(fleet, needs, part, &lost, left, now_ms);
            state.missing.push(without);
        }
    }
    swapped
}

impl Swapped {
    /// Whether something has no replacement.
    pub(super) fn lacks(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Says in the decision that was made about the rest what was swapped and what is missing.
    pub(super) fn mark(&self, decision: &mut Decision) {
        for (target, message) in &self.replaced {
            let kept = decision
                .parts
                .iter_mut()
                .find(|part| part.target == *target && part.change == Change::Kept);
            let Some(part) = kept else { continue };
            part.change = Change::Swapped;
            decision.explanation.verdicts.push(TargetVerdict {
                target: target.to_string(),
                reason: Reason::Placed,
                message: message.clone(),
            });
            if decision.outcome == Outcome::Keep {
                decision.outcome = Outcome::Place;
            }
        }
        for one in &self.missing {
            let explanation = &mut decision.explanation;
            match explanation.reason {
                None => {
                    explanation.reason = Some(one.reason);
                    explanation.message.clone_from(&one.message);
                }
                Some(_) => {
                    explanation.message = format!("{}; {}", one.message, explanation.message);
                }
            }
            explanation.verdicts.extend(one.verdict.clone());
            decision.lacks.extend(one.lacks.iter().cloned());
        }
        let verdicts = &mut decision.explanation.verdicts;
        verdicts.sort_by(|a, b| a.target.cmp(&b.target));
    }
}

/// Pods of a part whose node is gone, unusable, drives them off, or has fewer devices than are promised on it.
fn lost(needs: &Needs<'_>, target: &Target, part: &Current) -> Vec<Lost> {
    let mut lost = Vec::new();
    let mut short: BTreeSet<&str> = BTreeSet::new();
    for share in &part.nodes {
        let Some(need) = needs.of_share(share) else {
            continue;
        };
        let all = |why: String| Lost {
            share: share.clone(),
            why,
        };
        let Some(node) = target.node(&share.name) else {
            lost.push(all("gone".to_owned()));
            continue;
        };
        if let Some(why) = &node.unusable {
            lost.push(all(why.clone()));
        } else if let Some(taint) = need.driven_off(node) {
            lost.push(all(format!("taint {}", words::taint(taint))));
        } else if !short.contains(share.name.as_str()) {
            let pods = node.beyond(&need.demand, &need.devices).min(share.pods);
            if pods > 0 {
                // One role at a time; what it does not make up for is found in the next cycle.
                short.insert(&share.name);
                let share = NodeShare {
                    pods,
                    ..share.clone()
                };
                let why = "devices are unhealthy".to_owned();
                lost.push(Lost { share, why });
            }
        }
    }
    lost
}

/// Nodes for the lost pods: as near to the pinned ones as there is room. What is elastic takes what there is, else all or nothing.
fn replacement(
    fleet: &Fleet,
    needs: &Needs<'_>,
    target: &Target,
    part: &Current,
    lost: &[Lost],
    wants: &[i64],
) -> Option<Vec<Pick>> {
    let gone: BTreeSet<&str> = lost.iter().map(|one| one.share.name.as_str()).collect();
    let pinned: Vec<usize> = part
        .nodes
        .iter()
        .filter(|share| !gone.contains(share.name.as_str()))
        .filter_map(|share| target.position(&share.name))
        .collect();
    let over_nodes = spread::over_nodes(fleet, needs);
    let packing = if over_nodes {
        placement_api::kinds::Packing::Spread
    } else {
        needs.packing
    };
    let open = |within: &Within| -> Vec<usize> {
        let mut nodes = nodes_within(target, within);
        nodes.retain(|node| {
            let name = target.node_list()[*node].name().as_str();
            !gone.contains(name)
                && (!over_nodes || keeps_spread(fleet, needs, target, *node, &pinned, &gone))
        });
        nodes
    };
    let rings = rings(fleet, needs, target, part, &pinned);
    let whole = rings
        .iter()
        .find_map(|within| fill(fleet, needs, target, &open(within), wants, packing));
    let elastic = needs
        .sets
        .iter()
        .any(|need| need.set.gang_minimum() < need.set.count || needs.divides());
    if whole.is_some() || !elastic {
        return whole;
    }
    let mut some = Vec::new();
    extend(
        fleet,
        needs,
        target,
        &open(rings.last()?),
        &mut some,
        wants,
        packing,
    );
    Some(some).filter(|picks| !picks.is_empty())
}

/// Domains around the pinned nodes from the narrowest to the widest that is allowed.
pub(super) fn rings(
    fleet: &Fleet,
    needs: &Needs<'_>,
    target: &Target,
    part: &Current,
    pinned: &[usize],
) -> Vec<Within> {
    let label = |node: usize, key: &String| {
        let value = target.node_list()[node].label(key);
        value.map(str::to_owned)
    };
    let common: Vec<(String, Option<String>)> =
        pinned.split_first().map_or_else(Vec::new, |(first, rest)| {
            let agreed = |key: &&String| {
                rest.iter()
                    .all(|node| label(*node, key) == label(*first, key))
            };
            fleet
                .levels()
                .iter()
                .take_while(agreed)
                .map(|key| (key.clone(), label(*first, key)))
                .collect()
        });
    let mut rings: Vec<Within> = Vec::new();
    let bases = [Some(decided(part)), (!is_required(needs)).then(Within::new)];
    for base in bases.into_iter().flatten() {
        for length in (0..=common.len()).rev() {
            let mut ring: Within = common[..length].iter().cloned().collect();
            ring.extend(base.clone());
            if !rings.contains(&ring) {
                rings.push(ring);
            }
        }
    }
    rings
}

fn decided(part: &Current) -> Within {
    let domain = part.domain.iter();
    domain
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect()
}

/// Whether what runs may never leave its domain, however long it waits: its healthy pods stay where they are.
fn is_required(needs: &Needs<'_>) -> bool {
    let topology = needs.request.topology.as_ref();
    topology.is_some_and(|topology| topology.mode == TopologyMode::Required)
}

/// Whether a pod on this node stands in nobody's way who must be spread: in the group of a lost node, or in one without pods.
fn keeps_spread(
    fleet: &Fleet,
    needs: &Needs<'_>,
    target: &Target,
    node: usize,
    pinned: &[usize],
    gone: &BTreeSet<&str>,
) -> bool {
    let keys = needs.request.spread.iter().map(|one| &one.topology_key);
    let of_nodes = keys.filter(|key| !super::needs::is_target_label(fleet, key));
    let value = |node: usize, key: &str| {
        let there = &target.node_list()[node];
        if key == HOSTNAME {
            Some(there.name().to_string())
        } else {
            there.labels.get(key).cloned()
        }
    };
    of_nodes.into_iter().all(|key| {
        let group = value(node, key);
        let taken = pinned.iter().any(|other| value(*other, key) == group);
        let vacant = gone
            .iter()
            .filter_map(|name| target.position(name))
            .any(|other| value(other, key) == group);
        vacant || !taken
    })
}

/// The part as it is after the swap.
fn seated(
    needs: &Needs<'_>,
    target: &Target,
    part: &Current,
    lost: &[Lost],
    picks: &[Pick],
    epoch: i64,
) -> Current {
    let mut nodes = part.nodes.clone();
    let mut held: Vec<i64> = (0..needs.sets.len())
        .map(|set| of_role(picks, set))
        .collect();
    for one in lost {
        let Some(set) = needs.position_of(&one.share) else {
            continue;
        };
        // An elastic one may have found room for some only; the others keep their place in the books.
        let moved = one.share.pods.min(held[set]);
        held[set] -= moved;
        let there = nodes
            .iter_mut()
            .find(|node| node.name == one.share.name && node.pod_set == one.share.pod_set);
        if let Some(node) = there {
            node.pods -= moved;
        }
    }
    nodes.retain(|node| node.pods > 0);
    let mut domain = part.domain.clone();
    for pick in picks {
        let node = &target.node_list()[pick.node];
        domain.retain(|key, value| node.label(key) == Some(value.as_str()));
        let (name, role) = (
            node.name().to_string(),
            needs.sets[pick.set].name.to_string(),
        );
        match nodes
            .iter_mut()
            .find(|have| have.name == name && have.pod_set == role)
        {
            Some(have) => have.pods += pick.pods,
            None => nodes.push(NodeShare {
                pod_set: role,
                name,
                pods: pick.pods,
            }),
        }
    }
    nodes.sort();
    Current {
        epoch,
        nodes,
        domain,
        healthy: false,
        ..part.clone()
    }
}

/// Why there is no replacement.
fn missing(
    fleet: &Fleet,
    needs: &Needs<'_>,
    part: &Current,
    lost: &[Lost],
    left: Vec<i64>,
    now_ms: i64,
) -> Missing {
    let pods: i64 = left.iter().sum();
    let within = if is_required(needs) {
        decided(part)
    } else {
        Within::new()
    };
    let draft = Draft {
        asked: left,
        levels: vec![Level::Target],
        within,
        only: Some([part.target.clone()].into()),
        ..Draft::default()
    };
    let found = findings(fleet, needs, &draft, &BTreeSet::new(), now_ms);
    let verdict = found.verdicts.into_iter().next();
    let why = verdict.as_ref().map_or_else(
        || "there is no other place for it".to_owned(),
        |verdict| verdict.message.clone(),
    );
    let (pods, whose) = (
        words::many(pods, "pod"),
        if pods == 1 { "its" } else { "their" },
    );
    Missing {
        reason: verdict
            .as_ref()
            .map_or(Reason::InsufficientCapacity, |verdict| verdict.reason),
        message: format!(
            "{pods} lost {whose} place on {} and cannot go elsewhere on {}: {why}",
            described(lost),
            part.target
        ),
        verdict,
        lacks: found.lacks,
    }
}

/// "n1 (NotReady), n2 (gone)".
fn described(lost: &[Lost]) -> String {
    let nodes: BTreeMap<&str, &str> = lost
        .iter()
        .map(|one| (one.share.name.as_str(), one.why.as_str()))
        .collect();
    let named: Vec<String> = nodes
        .into_iter()
        .map(|(name, why)| format!("{name} ({why})"))
        .collect();
    named.join(", ")
}

fn by_role<'a>(needs: &Needs<'_>, shares: impl Iterator<Item = &'a NodeShare>) -> Vec<i64> {
    let mut counts = vec![0; needs.sets.len()];
    for share in shares {
        if let Some(set) = needs.position_of(share) {
            counts[set] += share.pods;
        }
    }
    counts
}

fn of_role(picks: &[Pick], set: usize) -> i64 {
    let of = picks.iter().filter(|pick| pick.set == set);
    of.map(|pick| pick.pods).sum()
}
