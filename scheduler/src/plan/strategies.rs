//! The three ways to distribute a workload's pods, applied to what it has and what it lacks.

use placement_api::reason::Reason;

use super::draft::{Draft, Has, counts, exits, leaving, replaced, scaled_down, stuck};
use super::gang::{Added, Ask, Within, gang};
use super::moves::Way;
use super::needs::Needs;
use super::tree::Level;
use super::{Current, Leaving, Step, divide, words};
use crate::fleet::{Fleet, TargetName, TargetState};

/// Replicas divided over targets: what runs stays, what is missing goes where there is room.
pub(super) fn divided(
    fleet: &Fleet,
    needs: &Needs<'_>,
    has: &Has<'_>,
    tiers: &[Vec<TargetName>],
    draft: &mut Draft,
) {
    let want = needs.wants()[0];
    let minimum = needs.sets[0].set.min_count.unwrap_or(1).clamp(0, want);
    let count = |parts: &[&Current]| {
        parts
            .iter()
            .map(|part| divide::replicas(needs, part))
            .sum::<i64>()
    };
    let mut base = has.base.clone();
    if want == 0 {
        return divided_to_nothing(fleet, needs, has, tiers, draft);
    }
    let more = want - count(&base);
    draft.asked = vec![1];
    if more <= 0 {
        let after = divide::shrink(fleet, needs, &base, -more);
        for part in &base {
            let left = after.get(&part.target).copied().unwrap_or(0);
            if left == 0 {
                draft.leaving.push(scaled_down(part));
            } else if left < divide::replicas(needs, part) {
                draft.shrunk.insert(part.target.clone(), vec![left]);
            }
        }
        base.retain(|part| after.get(&part.target).is_some_and(|left| *left > 0));
        return replaced(&has.exits, &base, draft);
    }
    let refuge = divide::grow(fleet, needs, &base, tiers, more);
    let found = |added: &Result<Vec<Added>, _>| {
        added.as_ref().map_or(0, |added| {
            added.iter().flat_map(|one| &one.counts).sum::<i64>()
        })
    };
    if found(&refuge) == more {
        draft.added = refuge.unwrap_or_default();
        for part in &base {
            let grows = draft.added.iter().any(|one| one.target == part.target);
            if divide::replicas(needs, part) == 0 && !grows {
                draft.leaving.push(scaled_down(part));
            }
        }
        return exits(&has.exits, draft);
    }
    // Not everything has a place. What is only to move stays where it is; the rest takes what there is.
    let (dead, movable): (Vec<_>, Vec<_>) = has
        .exits
        .iter()
        .partition(|(_, exit)| exit.way == Way::Replace);
    draft.asked = vec![more];
    let elsewhere = (refuge.as_ref().err().copied(), found(&refuge), more);
    for (part, exit) in &movable {
        base.push(part);
        draft.leaving.push(stuck(part, exit));
    }
    let more = want - count(&base);
    let least = (minimum - count(&base)).max(1);
    let partial = if movable.is_empty() {
        refuge
    } else {
        divide::grow(fleet, needs, &base, tiers, more.max(0))
    };
    let placed = found(&partial);
    let rule = partial.as_ref().err().copied().or(elsewhere.0);
    if placed >= least && more > 0 {
        draft.added = partial.unwrap_or_default();
        draft.leaving.extend(
            dead.iter()
                .map(|(part, exit)| leaving(part, exit, Step::Now)),
        );
    } else {
        draft
            .leaving
            .extend(dead.iter().map(|(part, exit)| stuck(part, exit)));
    }
    if let Some((rule, groups)) = rule {
        draft.notes.push((
            Reason::SpreadImpossible,
            spread_impossible(needs, rule, groups),
        ));
    }
    let room = || {
        tiers
            .iter()
            .flatten()
            .filter_map(|name| fleet.target(name.as_str()))
            .flat_map(|target| needs.sets[0].copies_on(target))
            .sum::<i64>()
    };
    let (holds, sought) = if more > 0 {
        (placed, more)
    } else {
        (elsewhere.1, elsewhere.2)
    };
    if rule.is_none() && !needs.request.spread.is_empty() && room() >= sought {
        let keys: Vec<&str> = needs
            .request
            .spread
            .iter()
            .map(|one| one.topology_key.as_str())
            .collect();
        let message = format!(
            "there is room, but the spread over {} leaves places for {holds} of {sought} more",
            keys.join(", ")
        );
        draft.notes.push((Reason::SpreadImpossible, message));
    }
    let missing = more - draft.added.iter().flat_map(|one| &one.counts).sum::<i64>();
    if missing > 0 {
        draft.missing = Some(vec![missing]);
    }
}

/// No replicas wanted: one part stays, so that the object's status is still reported.
fn divided_to_nothing(
    fleet: &Fleet,
    needs: &Needs<'_>,
    has: &Has<'_>,
    tiers: &[Vec<TargetName>],
    draft: &mut Draft,
) {
    let Some((first, rest)) = has.base.split_first() else {
        return ganged(fleet, needs, has, tiers, draft);
    };
    if divide::replicas(needs, first) > 0 {
        draft.shrunk.insert(first.target.clone(), vec![0]);
    }
    draft
        .leaving
        .extend(rest.iter().map(|part| scaled_down(part)));
    replaced(&has.exits, &[first], draft);
}

/// A gang: it gets what it lacks where it is, or all of it anywhere.
pub(super) fn ganged(
    fleet: &Fleet,
    needs: &Needs<'_>,
    has: &Has<'_>,
    tiers: &[Vec<TargetName>],
    draft: &mut Draft,
) {
    let together = needs.request.gang_per_target.is_none() && has.base.len() > 1;
    if together {
        let one = only_one(fleet, needs, has, draft);
        return ganged(fleet, needs, &one, tiers, draft);
    }
    let runs = counts(needs, &has.base);
    let wants = needs.wants();
    let more: Vec<i64> = wants
        .iter()
        .zip(&runs)
        .map(|(want, run)| (want - run).max(0))
        .collect();
    let minimums: Vec<i64> = needs
        .minimums()
        .iter()
        .zip(&runs)
        .map(|(min, run)| (min - run).max(0))
        .collect();
    // Nobody moves in order to become smaller.
    let moving = counts(needs, &still_running(has));
    let minimums: Vec<i64> = minimums
        .iter()
        .zip(&moving)
        .zip(&more)
        .map(|((min, moving), more)| (*min).max(*moving).min(*more))
        .collect();
    draft.asked.clone_from(&more);
    shrink_gang(fleet, needs, &has.base, &wants, draft);
    if !has.base.is_empty() && more.iter().all(|more| *more == 0) {
        return replaced(&has.exits, &has.base, draft);
    }
    let grown;
    let mut tiers = tiers;
    if let Some(first) = has.base.first() {
        if needs.request.gang_per_target.is_none() {
            let here = |name: &&TargetName| has.base.iter().any(|part| part.target == **name);
            grown = vec![
                tiers
                    .iter()
                    .flatten()
                    .filter(here)
                    .cloned()
                    .collect::<Vec<_>>(),
            ];
            tiers = &grown;
            draft.only = Some(has.base.iter().map(|part| part.target.clone()).collect());
        }
        if !draft.levels.contains(&Level::Target) {
            draft.within = domain(fleet, needs, first);
            if !draft.within.is_empty() {
                // It stays in its domain; inside it every place is as good.
                draft.levels = vec![Level::Target];
            }
        }
    }
    let ask = Ask {
        wants: more.clone(),
        minimums,
        tiers,
        levels: draft.levels.clone(),
        within: draft.within.clone(),
    };
    if let Some(added) = gang(fleet, needs, &ask) {
        let placed = |set: usize| added.iter().map(|one| one.counts[set]).sum::<i64>();
        let missing: Vec<i64> = more
            .iter()
            .enumerate()
            .map(|(set, more)| more - placed(set))
            .collect();
        draft.missing = missing
            .iter()
            .any(|missing| *missing > 0)
            .then_some(missing);
        draft.added = added;
        return exits(&has.exits, draft);
    }
    draft
        .leaving
        .extend(has.exits.iter().map(|(part, exit)| stuck(part, exit)));
    // What is only to move still runs.
    let moving = still_running(has);
    let runs = counts(needs, &moving);
    let missing: Vec<i64> = more
        .iter()
        .zip(&runs)
        .map(|(more, run)| (more - run).max(0))
        .collect();
    if moving.is_empty() || missing.iter().any(|missing| *missing > 0) {
        draft.missing = Some(missing);
    }
}

/// After an interrupted move a gang may have two parts: the one with the most of it stays, of equal ones that which runs well.
fn only_one<'a>(fleet: &Fleet, needs: &Needs<'_>, has: &Has<'a>, draft: &mut Draft) -> Has<'a> {
    let mut base = has.base.clone();
    let useful = |part: &Current| {
        let pods = counts(needs, &[part]);
        pods.iter()
            .zip(needs.wants())
            .map(|(has, want)| (*has).min(want))
            .sum::<i64>()
    };
    base.sort_by_key(|part| {
        (
            is_lost(fleet, part),
            std::cmp::Reverse(useful(part)),
            !part.healthy,
            !part.started,
        )
    });
    let rest = base.split_off(1);
    let runs = base.iter().all(|part| part.healthy && part.started);
    for part in rest {
        let step = if runs || !part.started {
            Step::Now
        } else {
            Step::WhenReplaced
        };
        draft.leaving.push(Leaving {
            step,
            message: "it has its place elsewhere".to_owned(),
            ..scaled_down(part)
        });
    }
    Has {
        base,
        exits: has.exits.clone(),
    }
}

fn is_lost(fleet: &Fleet, part: &Current) -> bool {
    fleet
        .target(part.target.as_str())
        .is_none_or(|target| target.state == TargetState::Lost)
}

/// Parts that run and should move.
fn still_running<'a>(has: &Has<'a>) -> Vec<&'a Current> {
    has.exits
        .iter()
        .filter(|(_, exit)| exit.way != Way::Replace)
        .map(|(part, _)| *part)
        .collect()
}

/// The domain of a part; a level that its nodes have no label for belongs to it too.
fn domain(fleet: &Fleet, needs: &Needs<'_>, part: &Current) -> Within {
    let mut within: Within = part
        .domain
        .iter()
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect();
    let asked = needs
        .request
        .topology
        .as_ref()
        .map(|topology| super::tree::asked(fleet.levels(), topology));
    if let (Some(Level::Depth(depth)), false) = (asked, within.is_empty()) {
        for key in &fleet.levels()[..=depth] {
            within.entry(key.clone()).or_insert(None);
        }
    }
    within
}

/// Whole copies: each part by itself is a gang on its target.
pub(super) fn duplicated(
    fleet: &Fleet,
    needs: &Needs<'_>,
    has: &Has<'_>,
    tiers: &[Vec<TargetName>],
    draft: &mut Draft,
) {
    let wants = needs.wants();
    draft.asked.clone_from(&wants);
    let mut missing = vec![0; wants.len()];
    for (part, exit) in &has.exits {
        draft.leaving.push(leaving(part, exit, Step::Now));
    }
    let mut copy = |draft: &mut Draft, target: &TargetName, more: Vec<i64>, minimums: Vec<i64>| {
        let tiers = [vec![target.clone()]];
        let ask = Ask {
            wants: more.clone(),
            minimums,
            tiers: &tiers,
            levels: draft.levels.clone(),
            within: Within::new(),
        };
        match gang(fleet, needs, &ask) {
            Some(added) => draft.added.extend(added),
            None => missing
                .iter_mut()
                .zip(&more)
                .for_each(|(missing, more)| *missing += more),
        }
    };
    for part in &has.base {
        shrink_gang(fleet, needs, &[part], &wants, draft);
        let runs = counts(needs, &[part]);
        let more: Vec<i64> = wants
            .iter()
            .zip(&runs)
            .map(|(want, run)| (want - run).max(0))
            .collect();
        if more.iter().any(|more| *more > 0) {
            copy(draft, &part.target, more.clone(), more);
        }
    }
    let untainted = |name: &&TargetName| {
        fleet.target(name.as_str()).is_some_and(|target| {
            super::needs::soft_taints(&needs.request.tolerations, &target.taints) == 0
        })
    };
    let mut targets: Vec<&TargetName> = tiers.iter().flatten().filter(untainted).collect();
    targets.sort_unstable();
    for target in targets {
        if !needs
            .request
            .current
            .iter()
            .any(|part| part.target == *target)
        {
            copy(draft, target, wants.clone(), wants.clone());
        }
    }
    let nowhere = has.base.is_empty() && draft.added.is_empty();
    if nowhere || missing.iter().any(|missing| *missing > 0) {
        draft.missing = Some(missing);
    }
}

/// Takes what is too much from the last parts.
fn shrink_gang(
    fleet: &Fleet,
    needs: &Needs<'_>,
    parts: &[&Current],
    wants: &[i64],
    draft: &mut Draft,
) {
    let mut parts = parts.to_vec();
    // What runs well is kept; after an interrupted move there may be two.
    parts.sort_by_key(|part| (is_lost(fleet, part), !part.healthy, !part.started));
    let mut left = wants.to_vec();
    for (position, part) in parts.iter().enumerate() {
        let has = counts(needs, &[part]);
        let keeps: Vec<i64> = has
            .iter()
            .zip(&left)
            .map(|(has, left)| (*has).min(*left))
            .collect();
        for (left, keeps) in left.iter_mut().zip(&keeps) {
            *left -= keeps;
        }
        if position > 0 && keeps.iter().all(|keeps| *keeps == 0) {
            draft.leaving.push(scaled_down(part));
        } else if keeps != has {
            draft.shrunk.insert(part.target.clone(), keeps);
        }
    }
}

fn spread_impossible(needs: &Needs<'_>, rule: usize, groups: usize) -> String {
    let Some(one) = needs.request.spread.get(rule) else {
        return String::new();
    };
    let there = words::many(i64::try_from(groups).unwrap_or(i64::MAX), "group");
    let least = one.min_groups.unwrap_or(1);
    format!(
        "must be spread over at least {least} values of {}, and there are {there} with room",
        one.topology_key
    )
}
