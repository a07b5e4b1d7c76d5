//! A draft becomes a decision: parts with epochs, nodes and domains, reservations, and the explanation.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::{FailoverMode, NodeShare, Strategy, TargetVerdict};
use placement_api::reason::Reason;

use super::draft::Draft;
use super::fill::Pick;
use super::gang::Added;
use super::needs::Needs;
use super::tree::{self, Level};
use super::verdicts::Verdicts;
use super::why::{findings, summary};
use super::{
    Change, Current, Decision, Explanation, Outcome, Part, Step, eligible, reserve, score, words,
};
use crate::fleet::{Event, Fleet, Target, TargetName};

/// Targets up to which a decision lists why the others were not taken; a Workload shows no more.
const MOST_VERDICTS: usize = 50;

/// Targets from which on nothing is said about those that were not taken: looking at all costs more than deciding.
const MANY_TARGETS: usize = 200;
/// Nodes of a target up to which a decision says how much room there was.
const MOST_COUNTED: usize = 256;
/// Nodes of all targets up to which the room on those that were not taken is counted.
const FEW_NODES: usize = 2_048;

/// Writes the decision and reserves what it takes; adds to `freed` what it gives back.
pub(super) fn write_out(
    fleet: &mut Fleet,
    verdicts: &mut Verdicts,
    needs: &Needs<'_>,
    mut draft: Draft,
    now_ms: i64,
    freed: &mut Event,
) -> Decision {
    let request = needs.request;
    let explanation = explain(fleet, verdicts, needs, &mut draft, now_ms);
    let gone: BTreeSet<&TargetName> = draft
        .leaving
        .iter()
        .filter(|one| one.step == Step::Now)
        .map(|one| &one.target)
        .collect();
    let changed = !draft.added.is_empty() || !draft.shrunk.is_empty() || !gone.is_empty();
    let renewed = !draft.added.is_empty() || !gone.is_empty();
    let epoch = request.epoch + i64::from(renewed);
    let mut replaces = places_taken(needs, &draft);
    let mut parts: Vec<Part> = Vec::new();
    for part in request
        .current
        .iter()
        .filter(|part| !part.evicting && !gone.contains(&part.target))
    {
        parts.push(kept(needs, part, &draft));
    }
    for added in &draft.added {
        if let Some(position) = parts.iter().position(|part| part.target == added.target) {
            grow(fleet, needs, &mut parts[position], added, epoch);
        } else {
            parts.push(new(fleet, needs, added, epoch, replaces.pop()));
        }
    }
    parts.sort_by(|a, b| a.target.cmp(&b.target));
    for part in parts.iter().filter(|part| part.change == Change::Shrunk) {
        freed.merge(reserve::trim(fleet, needs, part));
    }
    for added in &draft.added {
        let named = parts
            .iter()
            .any(|part| part.target == added.target && !part.nodes.is_empty());
        reserve::reserve(fleet, needs, &added.target, epoch, added, named);
    }
    let outcome = match (changed, parts.is_empty()) {
        (true, _) => Outcome::Place,
        (false, true) if !request.finished => Outcome::Wait,
        (false, _) => Outcome::Keep,
    };
    Decision {
        id: request.id.clone(),
        outcome,
        parts,
        leaving: draft.leaving,
        epoch,
        explanation: explanation.0,
        lacks: explanation.1,
    }
}

/// Targets whose parts new ones take the place of, the first last.
fn places_taken(needs: &Needs<'_>, draft: &Draft) -> Vec<TargetName> {
    let moved = draft
        .leaving
        .iter()
        .filter(|one| one.step != Step::Stuck && one.reason != Reason::Placed)
        .map(|one| &one.target);
    let going = needs
        .request
        .current
        .iter()
        .filter(|part| part.evicting)
        .map(|part| &part.target);
    let mut all: Vec<TargetName> = moved.chain(going).cloned().collect();
    all.reverse();
    if needs.request.strategy == Strategy::Duplicate {
        Vec::new()
    } else {
        all
    }
}

fn kept(needs: &Needs<'_>, part: &Current, draft: &Draft) -> Part {
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
    if let Some(counts) = draft.shrunk.get(&part.target) {
        kept.change = Change::Shrunk;
        kept.counts = needs
            .sets
            .iter()
            .zip(counts)
            .map(|(need, count)| (need.name.to_string(), *count))
            .collect();
        kept.nodes = fewer_nodes(&part.nodes, &kept.counts);
    }
    kept
}

/// Takes pods off the nodes with the fewest of them, so that nodes become free.
fn fewer_nodes(nodes: &[NodeShare], counts: &BTreeMap<String, i64>) -> Vec<NodeShare> {
    let mut left = nodes.to_vec();
    for (set, count) in counts {
        let has: i64 = left
            .iter()
            .filter(|node| node.pod_set == *set)
            .map(|node| node.pods)
            .sum();
        let mut surplus = (has - count).max(0);
        while surplus > 0 {
            let fewest = left
                .iter_mut()
                .filter(|node| node.pod_set == *set && node.pods > 0)
                .min_by(|a, b| a.pods.cmp(&b.pods).then(b.name.cmp(&a.name)));
            let Some(node) = fewest else { break };
            let taken = node.pods.min(surplus);
            node.pods -= taken;
            surplus -= taken;
        }
    }
    left.retain(|node| node.pods > 0);
    left
}

fn new(
    fleet: &Fleet,
    needs: &Needs<'_>,
    added: &Added,
    epoch: i64,
    replaces: Option<TargetName>,
) -> Part {
    let mut part = Part {
        target: added.target.clone(),
        epoch,
        change: Change::New,
        counts: BTreeMap::new(),
        domain: BTreeMap::new(),
        nodes: Vec::new(),
        replaces,
        after: BTreeSet::new(),
    };
    count(needs, &mut part, added);
    let Some(target) = fleet.target(added.target.as_str()) else {
        return part;
    };
    if needs.named {
        part.nodes = nodes(needs, target, &added.picks);
    }
    if let (Some(topology), Some(first)) = (&needs.request.topology, added.picks.first()) {
        // Never narrower than what was asked for, so that a replaced pod may be anywhere in there.
        let asked = tree::asked(fleet.levels(), topology);
        let level = if tree::at_least_as_wide(&added.level, &asked) {
            &added.level
        } else {
            &asked
        };
        if *level != Level::Target {
            part.domain = tree::labels(fleet.levels(), level, target, first.node);
        }
    }
    part
}

fn grow(fleet: &Fleet, needs: &Needs<'_>, part: &mut Part, added: &Added, epoch: i64) {
    let had_nodes = !part.nodes.is_empty() || part.counts.values().all(|count| *count == 0);
    count(needs, part, added);
    part.change = Change::Grown;
    part.epoch = epoch;
    if let (true, true, Some(target)) =
        (needs.named, had_nodes, fleet.target(added.target.as_str()))
    {
        for share in nodes(needs, target, &added.picks) {
            match part
                .nodes
                .iter_mut()
                .find(|node| node.name == share.name && node.pod_set == share.pod_set)
            {
                Some(node) => node.pods += share.pods,
                None => part.nodes.push(share),
            }
        }
        part.nodes.sort();
    }
}

fn count(needs: &Needs<'_>, part: &mut Part, added: &Added) {
    for (need, pods) in needs.sets.iter().zip(&added.counts) {
        if *pods > 0 || needs.sets.len() == 1 {
            *part.counts.entry(need.name.to_string()).or_default() += pods;
        }
    }
}

fn nodes(needs: &Needs<'_>, target: &Target, picks: &[Pick]) -> Vec<NodeShare> {
    let share = |pick: &Pick| NodeShare {
        pod_set: needs.sets[pick.set].name.to_string(),
        name: target.node_list()[pick.node].name().to_string(),
        pods: pick.pods,
    };
    let mut shares: Vec<NodeShare> = picks.iter().map(share).collect();
    shares.sort();
    shares
}

/// The explanation, and what the workload lacks.
fn explain(
    fleet: &mut Fleet,
    verdicts: &mut Verdicts,
    needs: &Needs<'_>,
    draft: &mut Draft,
    now_ms: i64,
) -> (Explanation, BTreeSet<String>) {
    let request = needs.request;
    let stuck = draft.leaving.iter().any(|one| one.step == Step::Stuck);
    if draft.missing.is_none() && !stuck {
        return (content(fleet, needs, draft, now_ms), BTreeSet::new());
    }
    let except: BTreeSet<TargetName> = match request.strategy {
        Strategy::Duplicate => request
            .current
            .iter()
            .map(|part| part.target.clone())
            .collect(),
        _ => BTreeSet::new(),
    };
    let mut found = verdicts.findings(fleet, needs, draft, &except, now_ms);
    let refused = |target: &TargetName| {
        request
            .avoid
            .get(target)
            .is_some_and(|avoid| avoid.until_ms > now_ms)
    };
    for part in request
        .current
        .iter()
        .filter(|part| part.evicting && !refused(&part.target))
    {
        let message = "its earlier part there is still being taken away".to_owned();
        found
            .verdicts
            .retain(|verdict| verdict.target != part.target.as_str());
        found.verdicts.push(TargetVerdict {
            target: part.target.to_string(),
            reason: Reason::Evicted,
            message,
        });
    }
    found.verdicts.sort_by(|a, b| a.target.cmp(&b.target));
    let lacks = found.lacks;
    let (mut reason, mut message) = summary(fleet, needs, &found.verdicts);
    if let Some((noted, why)) = note(draft)
        && (noted < reason || found.verdicts.is_empty() || noted == Reason::SpreadImpossible)
    {
        (reason, message) = (noted, why);
    }
    let mut lacks = lacks;
    if let Some(refused) = &draft.refused {
        (reason, message) = refused.clone();
        // Whatever of it is given back may be its queue's.
        let asked = needs.sets.iter().flat_map(|need| need.set.requests.iter());
        lacks.extend(asked.map(|(name, _)| name.to_owned()));
        let claimed = needs
            .sets
            .iter()
            .flat_map(|need| super::devices::resources(fleet, need));
        lacks.extend(claimed.map(|number| fleet.resources().name(number).to_owned()));
    }
    // What should leave and has no refuge is named with the reason why; what runs stays.
    for one in draft
        .leaving
        .iter_mut()
        .filter(|one| one.step == Step::Stuck)
    {
        let whole = format!("{}; {message}", one.message);
        if one.reason != Reason::TargetLost {
            one.message.clone_from(&message);
        }
        message = whole;
    }
    if let Some(running) = running(needs, draft) {
        message = format!("{running}; {message}");
    }
    (
        Explanation {
            reason: Some(reason),
            message,
            verdicts: found.verdicts,
        },
        lacks,
    )
}

/// Everything has its place: what spoke for it, and what is nevertheless wrong.
fn content(fleet: &Fleet, needs: &Needs<'_>, draft: &Draft, now_ms: i64) -> Explanation {
    let request = needs.request;
    if let Some((reason, message)) = note(draft) {
        return Explanation {
            reason: Some(reason),
            message,
            verdicts: Vec::new(),
        };
    }
    if draft.added.is_empty() {
        return Explanation::default();
    }
    let chosen: BTreeSet<TargetName> = draft.added.iter().map(|one| one.target.clone()).collect();
    let mut verdicts: Vec<TargetVerdict> = draft
        .added
        .iter()
        .map(|one| accepted(fleet, needs, one))
        .collect();
    let nodes = || -> usize {
        let targets = fleet.targets();
        targets.map(|(_, target)| target.node_list().len()).sum()
    };
    if fleet.target_count() <= MOST_VERDICTS && nodes() <= FEW_NODES {
        verdicts.extend(findings(fleet, needs, draft, &chosen, now_ms).verdicts);
    } else if fleet.target_count() <= MANY_TARGETS {
        let others = fleet.targets().filter(|(name, _)| !chosen.contains(*name));
        let obstacle = |(name, target): (&TargetName, &Target)| {
            let (reason, message) = eligible::obstacle(fleet, request, name, target, now_ms)?;
            Some(TargetVerdict {
                target: name.to_string(),
                reason,
                message,
            })
        };
        verdicts.extend(others.filter_map(obstacle).take(MOST_VERDICTS));
    }
    verdicts.sort_by(|a, b| a.target.cmp(&b.target));
    Explanation {
        reason: None,
        message: String::new(),
        verdicts,
    }
}

fn accepted(fleet: &Fleet, needs: &Needs<'_>, added: &Added) -> TargetVerdict {
    let pods: i64 = added.counts.iter().sum();
    let nodes = added
        .picks
        .iter()
        .map(|pick| pick.node)
        .collect::<BTreeSet<_>>()
        .len();
    let mut message = match (pods, needs.named) {
        (0, _) => "takes it".to_owned(),
        (pods, true) => format!(
            "{} on {}",
            words::many(pods, "pod"),
            words::many(i64::try_from(nodes).unwrap_or(i64::MAX), "node")
        ),
        (pods, false) => words::many(pods, "pod"),
    };
    if let (Some(need), Some(target)) = (
        needs.sets.get(needs.leading()),
        fleet.target(added.target.as_str()),
    ) && target.node_list().len() <= MOST_COUNTED
    {
        let room: i64 = need.copies_on(target).iter().sum();
        message = format!("{message}; there was room for {room}");
    }
    if let Some(target) = fleet.target(added.target.as_str()) {
        let said = score::shown(needs, &added.target, target, &added.counts);
        if !said.is_empty() {
            message = format!("{message}; {said}");
        }
    }
    TargetVerdict {
        target: added.target.to_string(),
        reason: Reason::Placed,
        message,
    }
}

/// The note that is nearest to starting.
fn note(draft: &Draft) -> Option<(Reason, String)> {
    draft
        .notes
        .iter()
        .min_by_key(|(reason, _)| *reason)
        .cloned()
}

/// "5 of 8 replicas run" where that is so.
fn running(needs: &Needs<'_>, draft: &Draft) -> Option<String> {
    let want = needs.request.pods();
    let missing: i64 = draft.missing.iter().flatten().sum();
    if needs.request.strategy == Strategy::Duplicate || want <= missing || missing == 0 {
        return None;
    }
    let verb = if needs.request.failover.mode == FailoverMode::Overlap {
        "have a place"
    } else {
        "run"
    };
    let noun = if needs.request.strategy == Strategy::Divide {
        "replica"
    } else {
        "pod"
    };
    Some(format!(
        "{} of {} {verb}",
        want - missing,
        words::many(want, noun)
    ))
}
