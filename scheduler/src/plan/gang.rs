//! Gangs: whole or not at all, in the tightest domain of the whole fleet.

use std::collections::BTreeMap;

use placement_api::kinds::Packing;

use super::fill::{Pick, extend, fill, places};
use super::needs::Needs;
use super::pick::{Place, pick};
use super::seen::{Score, Seen};
use super::tree::{Level, asked, children, climb};
use super::{several, spread};
use crate::fleet::{Fleet, Target, TargetName};

/// What is put on one target beside what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) target: TargetName,
    /// Pods by role, by position.
    pub(super) counts: Vec<i64>,
    pub(super) picks: Vec<Pick>,
    /// Level at which the gang is held together.
    pub(super) level: Level,
    /// Number of the device on which its share of one sits, where that was chosen.
    pub(super) device: Option<u16>,
}

/// Labels that all nodes must have, or must not have at all: the domain of what already runs.
pub(super) type Within = BTreeMap<String, Option<String>>;

/// What is to be placed together.
pub(super) struct Ask<'a> {
    pub(super) wants: Vec<i64>,
    pub(super) minimums: Vec<i64>,
    pub(super) tiers: &'a [Vec<TargetName>],
    pub(super) levels: Vec<Level>,
    pub(super) within: Within,
}

/// Levels at which the pods of a request may be held together, the narrowest first.
pub(super) fn levels(fleet: &Fleet, needs: &Needs<'_>, now_ms: i64) -> Vec<Level> {
    // Without pods there is nothing to hold together.
    let topology = needs
        .request
        .topology
        .as_ref()
        .filter(|_| needs.request.pods() > 0);
    let mut levels = climb(
        fleet.levels(),
        topology,
        now_ms.saturating_sub(needs.request.waits_since_ms),
    );
    if let Some(topology) = topology
        && needs.request.packing == Some(Packing::Spread)
    {
        // Who wants to be spread does not want the narrowest domain, only not a wider one than was asked for.
        let asked = asked(fleet.levels(), topology);
        levels.retain(|level| super::tree::at_least_as_wide(level, &asked));
    }
    levels
}

/// Places the gang: the first tier that holds all of it, there the narrowest level, there the tightest domain. Where nothing holds all,
/// an elastic gang takes the domain that holds the most, if that is enough to run.
pub(super) fn gang(fleet: &Fleet, needs: &Needs<'_>, ask: &Ask<'_>) -> Option<Vec<Added>> {
    for tier in ask.tiers {
        if let Some(added) = whole(fleet, needs, ask, tier) {
            return Some(vec![added]);
        }
        if let Some(added) = over_several(fleet, needs, ask, tier) {
            return Some(added);
        }
    }
    if ask.minimums == ask.wants {
        return None;
    }
    let parts = ask
        .tiers
        .iter()
        .filter_map(|tier| partial(fleet, needs, ask, tier));
    // Of equal ones the first tier's.
    let total = |added: &Added| added.counts.iter().sum::<i64>();
    parts
        .reduce(|best, next| {
            if total(&next) > total(&best) {
                next
            } else {
                best
            }
        })
        .map(|added| vec![added])
}

/// Positions of the nodes inside the domain of what already runs.
pub(super) fn nodes_within(target: &Target, within: &Within) -> Vec<usize> {
    let inside = |labels: &placement_api::selector::Labels| {
        within
            .iter()
            .all(|(key, value)| labels.get(key) == value.as_ref())
    };
    let nodes = target.node_list().iter().enumerate();
    nodes
        .filter(|(_, node)| node.unusable.is_none() && inside(&node.labels))
        .map(|(index, _)| index)
        .collect()
}

fn whole(fleet: &Fleet, needs: &Needs<'_>, ask: &Ask<'_>, tier: &[TargetName]) -> Option<Added> {
    if spread::beyond_one_target(fleet, needs).is_some() {
        return None;
    }
    let seen: Vec<Seen<'_>> = tier
        .iter()
        .filter_map(|name| Seen::new(fleet, needs, ask, name))
        .filter(|one| one.may_hold(&ask.wants))
        .collect();
    let exact = needs.sets.len() <= 1 && needs.request.spread.is_empty();
    for level in &ask.levels {
        let mut candidates: Vec<(Score<'_>, &Seen<'_>)> = Vec::new();
        for one in &seen {
            let mut rooms = one.rooms(level);
            rooms.retain(|domain| domain.holds(&ask.wants));
            if rooms.is_empty() {
                continue;
            }
            let spans = one.spans(fleet, needs, level, &ask.wants);
            for domain in rooms {
                let span = spans.get(&domain.number).copied().unwrap_or_default();
                candidates.push((one.score(needs, &domain, &ask.wants, span), one));
            }
        }
        if exact {
            candidates = candidates
                .into_iter()
                .min_by(|a, b| a.0.cmp(&b.0))
                .into_iter()
                .collect();
        } else {
            candidates.sort_by(|a, b| a.0.cmp(&b.0));
        }
        for (score, one) in candidates {
            let nodes = one.nodes_of(level, score.domain);
            if let Some(picks) = arrange(fleet, needs, one.target, level, &nodes, &ask.wants) {
                return Some(Added {
                    target: one.name.clone(),
                    counts: ask.wants.clone(),
                    picks,
                    level: level.clone(),
                    device: None,
                });
            }
        }
    }
    None
}

/// A gang over several targets, the fewest that hold it, with at least `gang_per_target` pods in each.
fn over_several(
    fleet: &Fleet,
    needs: &Needs<'_>,
    ask: &Ask<'_>,
    tier: &[TargetName],
) -> Option<Vec<Added>> {
    let least = needs.request.gang_per_target?.max(1);
    if !ask.levels.contains(&Level::Target) {
        return None;
    }
    let leading = needs.leading();
    let mut seen: Vec<Seen<'_>> = tier
        .iter()
        .filter_map(|name| Seen::new(fleet, needs, ask, name))
        .collect();
    seen.sort_by(|a, b| {
        b.total(leading)
            .cmp(&a.total(leading))
            .then(a.name.cmp(b.name))
    });
    if spread::over_targets(fleet, needs) && needs.sets.len() == 1 {
        return spread::gang(fleet, needs, tier, ask.wants[0], least);
    }
    let parts = if let [want] = ask.wants[..] {
        let rooms: Vec<i64> = seen.iter().map(|one| one.total(0)).collect();
        let shares = several::shares(&rooms, want, least)?;
        shares
            .into_iter()
            .map(|(at, pods)| (at, vec![pods]))
            .collect()
    } else {
        greedily(fleet, needs, ask, &seen, least)?
    };
    let added = parts.into_iter().map(|(position, counts)| {
        let one = &seen[position];
        let picks = arrange(
            fleet,
            needs,
            one.target,
            &Level::Target,
            &one.nodes,
            &counts,
        )?;
        Some(Added {
            target: one.name.clone(),
            counts,
            picks,
            level: Level::Target,
            device: None,
        })
    });
    added.collect()
}

/// Pods of several roles by target, the largest target first.
fn greedily(
    fleet: &Fleet,
    needs: &Needs<'_>,
    ask: &Ask<'_>,
    seen: &[Seen<'_>],
    least: i64,
) -> Option<Vec<(usize, Vec<i64>)>> {
    let leading = needs.leading();
    let mut left = ask.wants.clone();
    let mut parts: Vec<(usize, Vec<i64>)> = Vec::new();
    for (position, one) in seen.iter().enumerate() {
        let mut picks = Vec::new();
        extend(
            fleet,
            needs,
            one.target,
            &one.nodes,
            &mut picks,
            &left,
            needs.packing,
        );
        let counts: Vec<i64> = (0..left.len())
            .map(|set| {
                picks
                    .iter()
                    .filter(|pick| pick.set == set)
                    .map(|pick| pick.pods)
                    .sum()
            })
            .collect();
        if counts.iter().sum::<i64>() < least {
            continue;
        }
        left.iter_mut()
            .zip(&counts)
            .for_each(|(left, taken)| *left -= taken);
        parts.push((position, counts));
        let rest: i64 = left.iter().sum();
        if rest == 0 {
            break;
        }
        // The last one must get its least: what it lacks is left over by the largest.
        let (largest, lead) = (&mut parts[0].1, least - rest);
        if rest < least && largest[leading] > lead && largest.iter().sum::<i64>() - lead >= least {
            largest[leading] -= lead;
            left[leading] += lead;
        }
    }
    left.iter().all(|left| *left <= 0).then_some(parts)
}

/// The domain that holds the most of an elastic gang, if it is enough.
fn partial(fleet: &Fleet, needs: &Needs<'_>, ask: &Ask<'_>, tier: &[TargetName]) -> Option<Added> {
    let level = ask
        .levels
        .last()
        .filter(|_| spread::beyond_one_target(fleet, needs).is_none())?;
    let mut best: Option<(i64, Added)> = None;
    for name in tier {
        let Some(one) = Seen::new(fleet, needs, ask, name) else {
            continue;
        };
        if !one.may_hold(&ask.minimums) {
            continue;
        }
        let rooms = one.rooms(level);
        for domain in rooms.iter().filter(|domain| domain.holds(&ask.minimums)) {
            let nodes = one.nodes_of(level, domain.number);
            let Some(mut picks) = seat(fleet, needs, one.target, &nodes, &ask.minimums) else {
                continue;
            };
            if !spread::over_nodes(fleet, needs) {
                extend(
                    fleet,
                    needs,
                    one.target,
                    &nodes,
                    &mut picks,
                    &ask.wants,
                    needs.packing,
                );
            }
            let count = |set| {
                picks
                    .iter()
                    .filter(|pick: &&Pick| pick.set == set)
                    .map(|pick| pick.pods)
                    .sum::<i64>()
            };
            let counts: Vec<i64> = (0..ask.wants.len()).map(count).collect();
            let total = counts.iter().sum();
            if best.as_ref().is_none_or(|(most, _)| total > *most) {
                best = Some((
                    total,
                    Added {
                        target: name.clone(),
                        counts,
                        picks,
                        level: level.clone(),
                        device: None,
                    },
                ));
            }
        }
    }
    best.map(|(_, added)| added)
        .filter(|added| added.counts.iter().sum::<i64>() > 0)
}

/// Nodes for the pods inside one domain, all or nothing; spread over groups of nodes where that is asked.
pub(super) fn seat(
    fleet: &Fleet,
    needs: &Needs<'_>,
    target: &Target,
    nodes: &[usize],
    wants: &[i64],
) -> Option<Vec<Pick>> {
    if spread::over_nodes(fleet, needs) && needs.sets.len() == 1 {
        return spread::within(fleet, needs, target, nodes, wants[0]);
    }
    fill(fleet, needs, target, nodes, wants, needs.packing)
}

/// The same, with the fewest parts of the domain, level by level.
fn arrange(
    fleet: &Fleet,
    needs: &Needs<'_>,
    target: &Target,
    level: &Level,
    nodes: &[usize],
    wants: &[i64],
) -> Option<Vec<Pick>> {
    let active: Vec<usize> = (0..wants.len()).filter(|set| wants[*set] > 0).collect();
    let by_tree = needs.request.topology.is_some()
        && needs.packing == Packing::Pack
        && !spread::over_nodes(fleet, needs);
    let (true, [set]) = (by_tree, &active[..]) else {
        return seat(fleet, needs, target, nodes, wants);
    };
    let copies = needs.sets[*set].copies_on(target);
    let mut picks = Vec::new();
    descend(
        fleet,
        needs,
        target,
        level,
        nodes,
        &copies,
        (*set, wants[*set]),
        &mut picks,
    );
    picks.sort_unstable();
    (picks.iter().map(|pick| pick.pods).sum::<i64>() == wants[*set]).then_some(picks)
}

#[expect(clippy::too_many_arguments, reason = "one recursion over plain values")]
fn descend(
    fleet: &Fleet,
    needs: &Needs<'_>,
    target: &Target,
    level: &Level,
    nodes: &[usize],
    copies: &[i64],
    (set, want): (usize, i64),
    picks: &mut Vec<Pick>,
) {
    let Some((below, parts)) = children(fleet.levels(), level, target, nodes) else {
        picks.extend(nodes.first().map(|node| Pick {
            set,
            node: *node,
            pods: want,
        }));
        return;
    };
    if below == Level::Node {
        let chosen = pick(
            &places(fleet, needs, target, set, nodes, copies),
            want,
            Packing::Pack,
        );
        picks.extend(
            chosen
                .into_iter()
                .map(|(node, pods)| Pick { set, node, pods }),
        );
        return;
    }
    let place = |(index, part): (usize, &Vec<usize>)| {
        let room = part.iter().map(|node| copies[*node]).sum();
        Place {
            index,
            copies: room,
            avoidance: 0,
            free: room,
        }
    };
    let boxes: Vec<Place> = parts.iter().enumerate().map(place).collect();
    for (index, pods) in pick(&boxes, want, Packing::Pack) {
        descend(
            fleet,
            needs,
            target,
            &below,
            &parts[index],
            copies,
            (set, pods),
            picks,
        );
    }
}
