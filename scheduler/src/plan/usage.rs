//! What a workload uses and wants, as amounts on the account of its queue. What it has together with others by a claim that they name is told
//! apart: see [`super::joint`].

use std::collections::{BTreeMap, BTreeSet};

use placement_api::devices::{DeviceClaim, class_resource};
use placement_api::quantity::ResourceVector;

use super::{PodSetRequest, Request, consumed};
use crate::fleet::{Fleet, Node, TargetName, TargetState};
use crate::shares::{Ask, Shares};

/// What a workload has.
#[derive(Debug, Default)]
pub(super) struct Used {
    /// Its own.
    pub(super) uses: Ask,
    /// What its parts on lost targets would need elsewhere.
    pub(super) lost: Ask,
    /// Claims that it has together with whoever names them.
    pub(super) joins: Joins,
    /// Those that its parts on lost targets have there.
    pub(super) left: BTreeMap<String, Ask>,
}

/// Claims (`namespace/name`) by where they are: each target has its own copy.
pub(super) type Joins = BTreeMap<(String, TargetName), Joined>;

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Joined {
    /// What its devices are.
    pub(super) ask: Ask,
    /// Nodes on which its pods are, where that is known.
    pub(super) nodes: BTreeSet<String>,
}

/// Pods by role that it wants and does not have. What is being taken away is not there any more.
pub(super) fn missing(request: &Request) -> Vec<(usize, i64)> {
    let copies = |set: &str| -> i64 {
        let parts = request.current.iter().filter(|part| !part.evicting);
        parts.filter_map(|part| part.counts.get(set)).sum()
    };
    request
        .pod_sets
        .iter()
        .enumerate()
        .map(|(index, set)| (index, (set.count - copies(&set.name)).max(0)))
        .collect()
}

/// What so many pods ask of their own: on the nodes where it is least. A product is named where the pods can be on that one alone.
pub(super) fn ask(
    fleet: &mut Fleet,
    kinds: &[Node],
    request: &Request,
    pods: &[(usize, i64)],
    shares: &mut Shares,
) -> Ask {
    let mut sum = Ask::default();
    for (index, count) in pods.iter().filter(|(_, count)| *count > 0) {
        let set = &request.pod_sets[*index];
        let one = least(fleet, kinds, set, shares);
        sum = sum.plus(&one.times(*count));
    }
    sum
}

/// What one pod asks before its node is known.
fn least(fleet: &mut Fleet, kinds: &[Node], set: &PodSetRequest, shares: &mut Shares) -> Ask {
    let need = fleet.device_need(&set.requests, &set.claims);
    let devices = consumed::anywhere(&set.requests, &set.node_selector, need.as_deref(), kinds);
    shares.ask(&set.requests, &devices)
}

/// Claims that so many pods will have together with whoever names them, and it has none of yet.
pub(super) fn lacks(
    fleet: &mut Fleet,
    kinds: &[Node],
    request: &Request,
    pods: &[(usize, i64)],
    joins: &Joins,
    shares: &mut Shares,
) -> BTreeMap<String, Ask> {
    let mut lacks = BTreeMap::new();
    for (index, _) in pods.iter().filter(|(_, count)| *count > 0) {
        let set = &request.pod_sets[*index];
        for (name, claim) in together(set) {
            if !joins.keys().any(|(have, _)| have == name) && !lacks.contains_key(name) {
                let ask = of_claim(fleet, kinds, set, (name, claim), None, shares);
                lacks.insert(name.to_owned(), ask);
            }
        }
    }
    lacks
}

/// What its parts use, and what those on lost targets would need.
pub(super) fn used(
    fleet: &mut Fleet,
    kinds: &[Node],
    request: &Request,
    shares: &mut Shares,
) -> Used {
    let mut used = Used::default();
    for part in request.current.iter().filter(|part| !part.evicting) {
        let target = fleet.target(part.target.as_str());
        let lost = target.is_some_and(|target| target.state == TargetState::Lost);
        for (name, count) in &part.counts {
            let Some(set) = request.pod_set(name) else {
                continue;
            };
            let need = fleet.device_need(&set.requests, &set.claims);
            let here: Vec<(&str, i64)> = part
                .nodes
                .iter()
                .filter(|share| share.pod_set == *name || share.pod_set.is_empty())
                .map(|share| (share.name.as_str(), share.pods))
                .collect();
            let mut left = *count;
            let mut sum = Ask::default();
            for (node, pods) in &here {
                let target = fleet.target(part.target.as_str());
                let devices = match target.and_then(|target| target.node(node)) {
                    Some(node) => consumed::on_node(&set.requests, need.as_deref(), node),
                    None => consumed::by_name(&set.requests, &set.node_selector),
                };
                let pods = left.min(*pods);
                sum = sum.plus(&shares.ask(&set.requests, &devices).times(pods));
                left -= pods;
            }
            let one = if set.claims.is_empty() {
                let devices = consumed::by_name(&set.requests, &set.node_selector);
                shares.ask(&set.requests, &devices)
            } else {
                // Of claims the requests do not say what is taken.
                least(fleet, kinds, set, shares)
            };
            sum = sum.plus(&one.times(left));
            if lost {
                used.lost = used.lost.plus(&sum);
            } else {
                used.uses = used.uses.plus(&sum);
            }
            for (claim, of) in together(set).filter(|_| *count > 0) {
                let target = fleet.target(part.target.as_str());
                let mut known = here.iter().map(|(node, _)| *node);
                let node = known.find_map(|node| target?.node(node)).cloned();
                let ask = of_claim(fleet, kinds, set, (claim, of), node.as_ref(), shares);
                if lost {
                    used.left.entry(claim.to_owned()).or_insert(ask);
                    continue;
                }
                let key = (claim.to_owned(), part.target.clone());
                let joined = used.joins.entry(key).or_insert_with(|| Joined {
                    ask,
                    nodes: BTreeSet::new(),
                });
                joined
                    .nodes
                    .extend(here.iter().map(|(node, _)| (*node).to_owned()));
            }
        }
    }
    used
}

/// Claims of these pods that all who name them have together.
pub(super) fn together(set: &PodSetRequest) -> impl Iterator<Item = (&str, &DeviceClaim)> {
    let named = |claim: &'_ DeviceClaim| claim.shared.is_some();
    let claims = set.claims.iter().filter(move |claim| named(claim));
    claims.filter_map(|claim| Some((claim.shared.as_deref()?, claim)))
}

/// The devices of such a claim: on this node, or at least.
pub(super) fn of_claim(
    fleet: &mut Fleet,
    kinds: &[Node],
    set: &PodSetRequest,
    (name, claim): (&str, &DeviceClaim),
    node: Option<&Node>,
    shares: &mut Shares,
) -> Ask {
    let mut by_class = ResourceVector::new();
    for (class, count) in claim.by_class() {
        let resource = class_resource(class);
        by_class.set(&resource, by_class.get(&resource).saturating_add(count));
    }
    let need = fleet.device_need(&set.requests, &set.claims);
    let devices = need.map(|need| match node {
        Some(node) => consumed::together(&need, name, node),
        None => consumed::together_anywhere(&need, name, &set.node_selector, kinds),
    });
    shares.ask(&by_class, &devices.unwrap_or_default())
}
