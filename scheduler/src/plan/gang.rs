//! Gangs: whole or not at all, in the tightest domain of the whole fleet.

use std::collections::BTreeMap;

use placement_api::kinds::Packing;

use super::fill::{Pick, extend, fill, places};
use super::needs::Needs;
use super::pick::{Place, pick};
use super::score::{Numbers, Rank, ranks};
use super::scoring::Dimension;
use super::seen::Seen;
use super::span::Span;
use super::tree::{Level, asked, children, climb};
use super::{several, spread};
use crate::fleet::{Fleet, Node, Target, TargetName};

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

/// A domain that holds a gang.
struct Candidate<'a> {
    numbers: Numbers,
    seen: &'a Seen<'a>,
    level: &'a Level,
    /// Number of the domain, in the order of the paths.
    domain: usize,
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
    let parts = ask.tiers.iter().flat_map(|tier| {
        let one = partial(fleet, needs, ask, tier).map(|added| vec![added]);
        one.into_iter()
            .chain(most_over_several(fleet, needs, ask, tier))
    });
    // Of equal ones the first tier's, and there the one on one target.
    let total = |parts: &[Added]| parts.iter().flat_map(|one| &one.counts).sum::<i64>();
    parts.reduce(|best, next| {
        if total(&next) > total(&best) {
            next
        } else {
            best
        }
    })
}

/// As much of an elastic gang of one role as several targets hold: what it would grow to when it runs.
fn most_over_several(
    fleet: &Fleet,
    needs: &Needs<'_>,
    ask: &Ask<'_>,
    tier: &[TargetName],
) -> Option<Vec<Added>> {
    needs.request.gang_per_target?;
    let ([want], [least]) = (&ask.wants[..], &ask.minimums[..]) else {
        return None;
    };
    let seen = tier
        .iter()
        .filter_map(|name| Seen::new(fleet, needs, ask, name));
    let room: i64 = seen.map(|one| one.total(0)).sum();
    let mut counts = (1.max(*least)..=room.min(*want)).rev();
    counts.find_map(|count| {
        let less = Ask {
            wants: vec![count],
            minimums: ask.minimums.clone(),
            levels: ask.levels.clone(),
            within: ask.within.clone(),
            ..*ask
        };
        over_several(fleet, needs, &less, tier)
    })
}

/// Positions of the nodes inside the domain of what already runs.
pub(super) fn nodes_within(target: &Target, within: &Within) -> Vec<usize> {
    let inside = |node: &Node| {
        let mut all = within.iter();
        all.all(|(key, value)| node.label(key) == value.as_deref())
    };
    let nodes = target.node_list().iter().enumerate();
    nodes
        .filter(|(_, node)| node.unusable.is_none() && inside(node))
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
    // Where closeness is weighed against other things the levels compete, else the narrowest goes first.
    let weighed = needs.request.scoring.names(Dimension::Topology);
    let together = if weighed { ask.levels.len() } else { 1 };
    for levels in ask.levels.chunks(together.max(1)) {
        let candidates = levels.iter().flat_map(|level| {
            let of_one = move |one| candidates(fleet, needs, ask, one, level);
            seen.iter().flat_map(of_one)
        });
        for one in in_order(needs, candidates, exact) {
            let Candidate { seen, level, .. } = one;
            let nodes = seen.nodes_of(level, one.domain);
            if let Some(picks) = arrange(fleet, needs, seen, level, &nodes, &ask.wants) {
                return Some(Added {
                    target: seen.name.clone(),
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

/// The domains of a level of one target that hold the gang.
fn candidates<'a>(
    fleet: &Fleet,
    needs: &Needs<'_>,
    ask: &Ask<'_>,
    seen: &'a Seen<'a>,
    level: &'a Level,
) -> Vec<Candidate<'a>> {
    let rooms = seen.rooms(needs, level, &ask.wants);
    let spans = seen.spans(fleet, needs, level, &rooms, &ask.wants);
    let all = seen.numbers(needs, ask, level);
    let found = rooms.iter().zip(spans).map(|(room, span)| Candidate {
        numbers: seen.numbers_in(needs, all, room, ask, (level, span)),
        seen,
        level,
        domain: room.number,
    });
    found.collect()
}

/// Candidates, the best first; only that one where one is enough.
fn in_order<'a>(
    needs: &Needs<'_>,
    candidates: impl Iterator<Item = Candidate<'a>>,
    one_is_enough: bool,
) -> Vec<Candidate<'a>> {
    if one_is_enough && needs.request.scoring.is_default() {
        // Then the numbers are the rank.
        let key = |one: &Candidate<'a>| (one.numbers, one.seen.name, one.domain);
        let best = candidates.min_by(|a, b| key(a).cmp(&key(b)));
        return best.into_iter().collect();
    }
    let candidates: Vec<Candidate<'a>> = candidates.collect();
    let numbers: Vec<Numbers> = candidates.iter().map(|one| one.numbers).collect();
    let ranks = ranks(&needs.request.scoring, &numbers);
    let mut ranked: Vec<(Rank, Candidate<'a>)> = ranks.into_iter().zip(candidates).collect();
    let compare = |a: &(Rank, Candidate<'_>), b: &(Rank, Candidate<'_>)| {
        let names = a.1.seen.name.cmp(b.1.seen.name);
        a.0.cmp(&b.0).then(names).then(a.1.domain.cmp(&b.1.domain))
    };
    if one_is_enough {
        let best = ranked.into_iter().min_by(compare);
        return best.map(|(_, one)| one).into_iter().collect();
    }
    ranked.sort_by(compare);
    ranked.into_iter().map(|(_, one)| one).collect()
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
    if spread::over_targets(fleet, needs) && needs.sets.len() == 1 {
        return spread::gang(fleet, needs, tier, ask.wants[0], least);
    }
    let mut seen: Vec<Seen<'_>> = tier
        .iter()
        .filter_map(|name| Seen::new(fleet, needs, ask, name))
        .collect();
    let mut parts = None;
    if !needs.request.scoring.is_default() {
        sort(needs, ask, &mut seen, false);
        parts = shared(fleet, needs, ask, &seen, least);
    }
    if parts.is_none() {
        // Nothing holds it on fewer targets than the largest.
        sort(needs, ask, &mut seen, true);
        parts = shared(fleet, needs, ask, &seen, least);
    }
    let added = parts?;
    let added = added.into_iter().map(|(position, counts)| {
        let one = &seen[position];
        let picks = arrange(fleet, needs, one, &Level::Target, &one.nodes, &counts)?;
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

/// Puts targets in the order in which they are filled: the best first, or the largest.
fn sort(needs: &Needs<'_>, ask: &Ask<'_>, seen: &mut Vec<Seen<'_>>, largest: bool) {
    let leading = needs.leading();
    let numbers: Vec<Numbers> = seen
        .iter()
        .map(|one| Numbers {
            occupancy: -one.total(leading),
            ..Numbers::of_target(needs, one.name, one.target, &ask.wants)
        })
        .collect();
    let ranks = ranks(&needs.request.scoring, &numbers);
    let size = |one: &Seen<'_>| if largest { one.total(leading) } else { 0 };
    let mut ranked: Vec<_> = ranks.into_iter().zip(seen.drain(..)).collect();
    ranked.sort_by(|(a, one), (b, other)| {
        let by_size = size(other).cmp(&size(one));
        by_size.then(a.cmp(b)).then(one.name.cmp(other.name))
    });
    seen.extend(ranked.into_iter().map(|(_, one)| one));
}

/// Pods by target and role, filling the targets in their order.
fn shared(
    fleet: &Fleet,
    needs: &Needs<'_>,
    ask: &Ask<'_>,
    seen: &[Seen<'_>],
    least: i64,
) -> Option<Vec<(usize, Vec<i64>)>> {
    let [want] = ask.wants[..] else {
        return greedily(fleet, needs, ask, seen, least);
    };
    let rooms: Vec<i64> = seen.iter().map(|one| one.total(0)).collect();
    let shares = several::shares(&rooms, want, least)?;
    let parts = shares.into_iter().map(|(at, pods)| (at, vec![pods]));
    Some(parts.collect())
}

/// Pods of several roles by target, in the order of the targets.
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

/// The domain that holds the most of an elastic gang, if it is enough; of equal ones the best.
fn partial(fleet: &Fleet, needs: &Needs<'_>, ask: &Ask<'_>, tier: &[TargetName]) -> Option<Added> {
    let level = ask
        .levels
        .last()
        .filter(|_| spread::beyond_one_target(fleet, needs).is_none())?;
    let mut found: Vec<(Numbers, Added)> = Vec::new();
    for name in tier {
        let Some(one) = Seen::new(fleet, needs, ask, name) else {
            continue;
        };
        if !one.may_hold(&ask.minimums) {
            continue;
        }
        let all = one.numbers(needs, ask, level);
        for domain in &one.rooms(needs, level, &ask.minimums) {
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
            let added = Added {
                target: name.clone(),
                counts,
                picks,
                level: level.clone(),
                device: None,
            };
            found.push((
                one.numbers_in(needs, all, domain, ask, (level, Span::default())),
                added,
            ));
        }
    }
    let numbers: Vec<Numbers> = found.iter().map(|(numbers, _)| *numbers).collect();
    let ranks = ranks(&needs.request.scoring, &numbers);
    let pods = |added: &Added| added.counts.iter().sum::<i64>();
    ranks
        .into_iter()
        .zip(found.into_iter().map(|(_, added)| added))
        .filter(|(_, added)| pods(added) > 0)
        // Of equal ones the first: targets by name, domains by path.
        .min_by(|(a, one), (b, other)| pods(other).cmp(&pods(one)).then_with(|| a.cmp(b)))
        .map(|(_, added)| added)
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
    seen: &Seen<'_>,
    level: &Level,
    nodes: &[usize],
    wants: &[i64],
) -> Option<Vec<Pick>> {
    let target = seen.target;
    let active: Vec<usize> = (0..wants.len()).filter(|set| wants[*set] > 0).collect();
    let by_tree = needs.request.topology.is_some()
        && needs.packing == Packing::Pack
        && !spread::over_nodes(fleet, needs);
    let (true, [set]) = (by_tree, &active[..]) else {
        return seat(fleet, needs, target, nodes, wants);
    };
    let mut picks = Vec::new();
    descend(
        fleet,
        needs,
        target,
        level,
        nodes,
        &seen.copies[*set],
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
