//! Why a target does not hold a workload, with numbers, and which resource would have to become free there.

use std::collections::BTreeSet;

use placement_api::kinds::{Strategy, TargetVerdict};
use placement_api::reason::Reason;

use super::draft::Draft;
use super::gang::{nodes_within, seat};
use super::needs::{Needs, SetNeed};
use super::tally::{Holding, Tally, is_open};
use super::tree::Level;
use super::words;
use super::{devices, eligible, spread, tree};
use crate::fleet::{Fleet, Node, Target, TargetName};

/// What was found of the whole fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Findings {
    pub(super) verdicts: Vec<TargetVerdict>,
    pub(super) lacks: BTreeSet<String>,
}

/// Why one target does not hold it.
struct Short {
    reason: Reason,
    message: String,
    lacks: BTreeSet<usize>,
}

/// A verdict on every target that does not hold what the draft asked for; of several obstacles the hardest to overcome.
pub(super) fn findings(
    fleet: &Fleet,
    needs: &Needs<'_>,
    draft: &Draft,
    except: &BTreeSet<TargetName>,
    now_ms: i64,
) -> Findings {
    let mut findings = Findings::default();
    let looked_at = |name: &TargetName| draft.only.as_ref().is_none_or(|only| only.contains(name));
    for (name, target) in fleet
        .targets()
        .filter(|(name, _)| !except.contains(*name) && looked_at(name))
    {
        let verdict = verdict(fleet, needs, draft, (name, target, None), now_ms);
        let lacks = verdict.lacks.iter();
        findings
            .lacks
            .extend(lacks.map(|number| fleet.resources().name(*number).to_owned()));
        findings.verdicts.extend(verdict.said);
    }
    findings
}

/// What one target says.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// Absent: it holds what was asked for.
    pub(super) said: Option<TargetVerdict>,
    /// Resources of which more there would help.
    pub(super) lacks: BTreeSet<usize>,
}

/// The verdict on one target; what it holds of the only role may be known.
pub(super) fn verdict(
    fleet: &Fleet,
    needs: &Needs<'_>,
    draft: &Draft,
    (name, target, kept): (&TargetName, &Target, Option<&Tally>),
    now_ms: i64,
) -> Verdict {
    let obstacle = eligible::obstacle(fleet, needs.request, name, target, now_ms);
    let elsewhere = needs
        .apart(name)
        .map(|message| (Reason::InsufficientCapacity, message));
    let short = match &obstacle {
        Some((Reason::NoLocation, _)) => None,
        _ if elsewhere.is_some() => None,
        _ => shortfall(fleet, needs, (target, kept), draft),
    };
    let mut lacks = BTreeSet::new();
    if let Some(short) = &short {
        lacks.clone_from(&short.lacks);
    }
    let found = obstacle
        .into_iter()
        .chain(elsewhere)
        .chain(short.map(|short| (short.reason, short.message)))
        .max_by_key(|(reason, _)| *reason);
    let said = found.map(|(reason, message)| TargetVerdict {
        target: name.to_string(),
        reason,
        message,
    });
    Verdict { said, lacks }
}

/// The first reason and one sentence, out of the verdicts.
pub(super) fn summary(
    fleet: &Fleet,
    needs: &Needs<'_>,
    verdicts: &[TargetVerdict],
) -> (Reason, String) {
    let request = needs.request;
    let Some(nearest) = verdicts.iter().map(|verdict| verdict.reason).min() else {
        let none = if fleet.targets().next().is_none() {
            "no target is registered"
        } else {
            "no target can take it"
        };
        return (Reason::NoLocation, none.to_owned());
    };
    let counted = verdicts
        .iter()
        .filter(|verdict| verdict.reason != Reason::NoLocation)
        .count();
    let hopeless = |verdict: &&TargetVerdict| {
        !matches!(
            verdict.reason,
            Reason::Impossible | Reason::NoDevice | Reason::SelectorMismatch | Reason::NoLocation
        )
    };
    let impossible = verdicts
        .iter()
        .find(|verdict| verdict.reason == Reason::Impossible);
    if let (Some(verdict), None) = (impossible, verdicts.iter().find(hopeless)) {
        return (
            Reason::Impossible,
            format!(
                "nothing in the fleet could ever hold it: {}",
                verdict.message
            ),
        );
    }
    let among = match counted {
        0 | 1 => String::new(),
        count => format!(" ({count} targets)"),
    };
    let first = verdicts.iter().filter(|verdict| verdict.reason == nearest);
    let best = first
        .clone()
        .next()
        .map(|verdict| format!("{}: {}", verdict.target, verdict.message))
        .unwrap_or_default();
    let asks = words::asks(needs);
    let message = match nearest {
        Reason::InsufficientCapacity => format!("no target has room for {asks}{among}; {best}"),
        Reason::TopologyTooSmall => {
            let level = request
                .topology
                .as_ref()
                .map_or("domain", |topology| words::level(&topology.level));
            format!("no {level} with room for {asks}{among}; {best}")
        }
        Reason::NoLocation if !request.tiers.is_empty() => {
            let unknown = request
                .tiers
                .iter()
                .any(|name| fleet.location(name).is_none());
            let none = format!("no Ready target in {}", request.tiers.join(", "));
            if unknown {
                words::not_in(fleet, &request.tiers)
            } else {
                none
            }
        }
        _ if first.count() == 1 => best,
        _ => format!("{best}{among}"),
    };
    (nearest, message)
}

/// Why the target, taking work, does not hold all of it; `None` if it does.
fn shortfall(
    fleet: &Fleet,
    needs: &Needs<'_>,
    (target, kept): (&Target, Option<&Tally>),
    draft: &Draft,
) -> Option<Short> {
    let wants = &draft.asked;
    let lacking = |need| lacking(fleet, Holding { need, target, kept });
    if let (Strategy::Gang, Some(rule), None) = (
        needs.request.strategy,
        spread::beyond_one_target(fleet, needs),
        needs.request.gang_per_target,
    ) {
        let message = format!(
            "a gang on one target has one {}",
            needs.request.spread[rule].topology_key
        );
        return Some(Short {
            reason: Reason::SpreadImpossible,
            message,
            lacks: BTreeSet::new(),
        });
    }
    let sets = needs.sets.iter().zip(wants).filter(|(_, want)| **want > 0);
    let worst = sets
        .filter_map(|(need, want)| set_shortfall(fleet, Holding { need, target, kept }, *want))
        .max_by_key(|short| short.reason);
    if let Some(mut worst) = worst {
        let alone = needs.sets.len() == 1 && !worst.lacks.is_empty();
        if worst.reason == Reason::InsufficientCapacity && !alone {
            // Fewer pods of one role may do, if the others find room.
            let sets = needs.sets.iter().zip(wants).filter(|(_, want)| **want > 0);
            worst.lacks.extend(sets.flat_map(|(need, _)| lacking(need)));
        }
        return Some(worst);
    }
    if needs.sets.is_empty() {
        return None;
    }
    let lacks = needs.sets.iter().flat_map(lacking).collect();
    let level = draft.levels.last()?;
    let nodes = nodes_within(target, &draft.within);
    let domains = tree::domains(level, target, &nodes);
    if domains
        .iter()
        .any(|nodes| seat(fleet, needs, target, nodes, wants).is_some())
    {
        return None;
    }
    if spread::over_nodes(fleet, needs) {
        return Some(Short {
            reason: Reason::SpreadImpossible,
            message: "its nodes cannot meet the spread".to_owned(),
            lacks,
        });
    }
    if !draft.within.is_empty() {
        let domain: Vec<&str> = draft
            .within
            .values()
            .flatten()
            .map(String::as_str)
            .collect();
        let message = format!(
            "{} has no room for {} more",
            domain.join("/"),
            words::many(wants.iter().sum(), "pod")
        );
        return Some(Short {
            reason: Reason::TopologyTooSmall,
            message,
            lacks,
        });
    }
    if *level == Level::Target {
        let message = "each role has room by itself, but not all of them together".to_owned();
        return Some(Short {
            reason: Reason::InsufficientCapacity,
            message,
            lacks,
        });
    }
    let key = needs
        .request
        .topology
        .as_ref()
        .map_or("", |topology| topology.level.as_str());
    Some(Short {
        reason: Reason::TopologyTooSmall,
        message: domain_rooms(fleet, needs, target, (level, &domains), key),
        lacks,
    })
}

/// "room for 4 pods, but 2 in r1 and 2 in r2"; domains of the same name by their path: "2 in z1/r1".
fn domain_rooms(
    fleet: &Fleet,
    needs: &Needs<'_>,
    target: &Target,
    (level, domains): (&Level, &[Vec<usize>]),
    key: &str,
) -> String {
    let copies = needs.sets[needs.leading()].copies_on(target);
    let total: i64 = copies.iter().sum();
    let room = |nodes: &Vec<usize>| nodes.iter().map(|node| copies[*node]).sum::<i64>();
    let named = |full: bool| -> Vec<String> {
        domains
            .iter()
            .map(|nodes| tree::name(fleet.levels(), level, target, nodes, full))
            .collect()
    };
    let mut names = named(false);
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        names = named(true);
    }
    let mut rooms: Vec<(i64, &str)> = domains
        .iter()
        .map(room)
        .zip(names.iter().map(String::as_str))
        .filter(|(room, _)| *room > 0)
        .collect();
    if rooms.is_empty() {
        return format!(
            "room for {}, but none of it in a {} (no label {key})",
            words::many(total, "pod"),
            words::level(key)
        );
    }
    rooms.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let more = rooms.len().saturating_sub(3);
    let mut parts: Vec<String> = rooms
        .iter()
        .take(3)
        .map(|(room, name)| format!("{room} in {name}"))
        .collect();
    if more > 0 {
        parts.push(format!("less in {more} more"));
    }
    format!(
        "room for {}, but {}",
        words::many(total, "pod"),
        parts.join(" and ")
    )
}

/// Why a target has no room for so many pods of a role.
fn set_shortfall(fleet: &Fleet, holding: Holding<'_>, want: i64) -> Option<Short> {
    let Holding { need, target, .. } = holding;
    if let Some((reason, message)) = devices::obstacle(need, target) {
        return Some(Short {
            reason,
            message,
            lacks: BTreeSet::new(),
        });
    }
    if let Some(hindrance) = hindrance(fleet, holding) {
        return Some(hindrance);
    }
    let room = holding.room();
    if room >= want {
        return None;
    }
    if let Some(why) = limit(need, target, want - room) {
        return Some(Short {
            reason: Reason::QueueLimit,
            message: why.to_owned(),
            lacks: lacking(fleet, holding),
        });
    }
    let name = words::resource(fleet.resources().name(need.main));
    let message = if room > 0 {
        format!("room for {room} of {}", words::many(want, "pod"))
    } else if let Some(message) = devices::full(need) {
        message
    } else if need.devices.is_empty() {
        format!(
            "full: no node has {} free",
            words::amounts(&need.set.requests)
        )
    } else {
        match holding.free() {
            0 => format!("full: none of {} {name} free", holding.all()),
            free => format!(
                "{free} {name} free, but no node has room for {}",
                words::amounts(&need.set.requests)
            ),
        }
    };
    Some(Short {
        reason: Reason::InsufficientCapacity,
        message,
        lacks: lacking(fleet, holding),
    })
}

/// The limit of a queue without which there would be room for so many more pods of a role.
fn limit<'a>(need: &'a SetNeed<'_>, target: &Target, more: i64) -> Option<&'a str> {
    if need.closed_nowhere() {
        return None;
    }
    let closed = |node: &&Node| {
        need.closed_by(node).is_some() && node.unusable.is_none() && is_open(need, node)
    };
    let nodes: Vec<&Node> = target.nodes().filter(closed).collect();
    let beyond = nodes.iter().map(|node| need.demand.copies_in(&node.free));
    let why = nodes.first().and_then(|node| need.closed_by(node));
    why.filter(|_| beyond.sum::<i64>() >= more)
}

/// Why no node takes pods of a role, whatever is free there; `None` if one does.
fn hindrance(fleet: &Fleet, holding: Holding<'_>) -> Option<Short> {
    if holding.takes_some() {
        return None;
    }
    let need = holding.need;
    let nodes = holding.target.node_list();
    let hard = |reason, message| {
        Some(Short {
            reason,
            message,
            lacks: BTreeSet::new(),
        })
    };
    let named = |number: usize| words::resource(fleet.resources().name(number));
    if let Some(device) = need
        .devices
        .iter()
        .find(|device| nodes.iter().all(|node| node.allocatable.get(**device) <= 0))
    {
        return hard(Reason::NoDevice, format!("no node has {}", named(*device)));
    }
    if nodes.is_empty() {
        return hard(Reason::InsufficientCapacity, "it has no nodes".to_owned());
    }
    let matching: Vec<_> = nodes.iter().filter(|node| need.selects(node)).collect();
    if matching.is_empty() {
        return hard(
            Reason::SelectorMismatch,
            format!("no node matches {}", words::selector(need)),
        );
    }
    let equipped = |node: &Node| {
        need.devices
            .iter()
            .all(|device| node.allocatable.get(*device) > 0)
    };
    if !matching.iter().any(|node| equipped(node)) {
        let device = need
            .devices
            .first()
            .map_or_else(String::new, |device| named(*device));
        return hard(
            Reason::NoDevice,
            format!(
                "no node that matches {} has {device}",
                words::selector(need)
            ),
        );
    }
    let large: Vec<_> = matching
        .iter()
        .filter(|node| need.demand.copies_in(&node.allocatable) > 0)
        .collect();
    if large.is_empty() {
        if let Some(message) = devices::impossible(need, &matching) {
            return hard(Reason::Impossible, message);
        }
        let tight = matching
            .iter()
            .filter(|node| equipped(node))
            .map(|node| need.demand.scarcest_in(&node.allocatable))
            .min();
        let number = tight.unwrap_or(need.main);
        let most = matching
            .iter()
            .map(|node| node.allocatable.get(number))
            .max()
            .unwrap_or(0);
        let name = fleet.resources().name(number);
        let show = |amount: i64| words::amounts(&[(name.to_owned(), amount)].into_iter().collect());
        let has = if most > 0 {
            format!("the largest node has {}", show(most))
        } else {
            format!("no node has {}", words::resource(name))
        };
        return hard(
            Reason::Impossible,
            format!("a pod asks {}, {has}", show(need.demand.get(number))),
        );
    }
    let open: Vec<_> = large
        .iter()
        .filter(|node| need.tainted(node).is_none())
        .collect();
    if let (true, Some(taint)) = (
        open.is_empty(),
        large.iter().find_map(|node| need.tainted(node)),
    ) {
        return hard(
            Reason::TaintNotTolerated,
            format!(
                "every node that could hold it has the taint {}",
                words::taint(taint)
            ),
        );
    }
    let within: Vec<_> = open
        .iter()
        .filter(|node| need.closed_by(node).is_none())
        .collect();
    if let (true, Some(why)) = (
        within.is_empty(),
        open.iter().find_map(|node| need.closed_by(node)),
    ) {
        return Some(Short {
            reason: Reason::QueueLimit,
            message: why.to_owned(),
            lacks: need.devices.iter().copied().collect(),
        });
    }
    let usable: Vec<_> = within
        .iter()
        .filter(|node| node.unusable.is_none())
        .collect();
    if usable.is_empty() {
        let why = within
            .iter()
            .find_map(|node| node.unusable.as_deref())
            .unwrap_or("unusable");
        return hard(
            Reason::InsufficientCapacity,
            format!("every node that could hold it is unusable ({why})"),
        );
    }
    None
}

/// Resources of which more on some node would give room for more pods.
fn lacking(fleet: &Fleet, holding: Holding<'_>) -> BTreeSet<usize> {
    let mut lacks = devices::resources(fleet, holding.need);
    lacks.extend(holding.lacks());
    lacks
}
