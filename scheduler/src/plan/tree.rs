//! Topology domains: a tree over the nodes of a target, from the labels of the levels.
//!
//! A domain is known by the values of its level and of all wider ones, for rack `r1` may exist in two zones.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::kinds::TopologyMode;

use super::Closeness;
use crate::fleet::{HOSTNAME, NOWHERE, Target};

/// A level at which a gang may be held together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// One node.
    Node,
    /// A level of the fleet, counted from the widest.
    Depth(usize),
    /// A label that is no level of the fleet: its values are the domains.
    Label(String),
    /// The whole target.
    Target,
}

/// Levels in the order in which they are tried: from the narrowest up to the one that was asked for, or up to the whole target where
/// closeness is a wish.
pub(super) fn climb(levels: &[String], topology: Option<&Closeness>, waited_ms: i64) -> Vec<Level> {
    let Some(topology) = topology else {
        return vec![Level::Target];
    };
    let relaxed = topology
        .relax_after_ms
        .is_some_and(|after| waited_ms >= after);
    let wish = topology.mode == TopologyMode::Preferred || relaxed;
    let mut order = vec![Level::Node];
    let deepest = (0..levels.len()).rev();
    if topology.level == HOSTNAME {
        if wish {
            order.extend(deepest.map(Level::Depth));
        }
    } else if let Some(asked) = levels.iter().position(|level| *level == topology.level) {
        order.extend(
            deepest
                .filter(|depth| wish || *depth >= asked)
                .map(Level::Depth),
        );
    } else {
        order.push(Level::Label(topology.level.clone()));
    }
    if wish {
        order.push(Level::Target);
    }
    order
}

/// The domains of a level by number, in the order of their paths.
pub(super) enum Numbering<'a> {
    /// One domain.
    Target,
    /// Each node is one.
    Node,
    /// A level of the fleet.
    Level(&'a [usize]),
    /// A label of its own.
    Label(Vec<usize>),
}

impl<'a> Numbering<'a> {
    pub(super) fn new(level: &Level, target: &'a Target) -> Self {
        match level {
            Level::Target => Self::Target,
            Level::Node => Self::Node,
            Level::Depth(depth) => Self::Level(target.domains(*depth)),
            Level::Label(key) => {
                let values: Vec<Option<&str>> =
                    target.nodes().map(|node| node.label(key)).collect();
                let known: BTreeSet<&str> = values.iter().copied().flatten().collect();
                let known: Vec<&str> = known.into_iter().collect();
                let number = |value: Option<&str>| {
                    value
                        .and_then(|value| known.binary_search(&value).ok())
                        .unwrap_or(NOWHERE)
                };
                Self::Label(values.iter().copied().map(number).collect())
            }
        }
    }

    /// Number of a node's domain; [`NOWHERE`] for a node without the label of the level.
    pub(super) fn of(&self, node: usize) -> usize {
        match self {
            Self::Target => 0,
            Self::Node => node,
            Self::Level(numbers) => numbers.get(node).copied().unwrap_or(NOWHERE),
            Self::Label(numbers) => numbers.get(node).copied().unwrap_or(NOWHERE),
        }
    }
}

/// The domains of a level among these nodes, in the order of their paths.
pub(super) fn domains(level: &Level, target: &Target, nodes: &[usize]) -> Vec<Vec<usize>> {
    let numbering = Numbering::new(level, target);
    let mut domains: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &node in nodes {
        domains.entry(numbering.of(node)).or_default().push(node);
    }
    domains.remove(&NOWHERE);
    domains.into_values().collect()
}

/// What people call a domain: its own name, or its path.
pub(super) fn name(
    levels: &[String],
    level: &Level,
    target: &Target,
    nodes: &[usize],
    full: bool,
) -> String {
    let Some(there) = nodes.first().map(|node| &target.node_list()[*node]) else {
        return String::new();
    };
    let label = |key: &String| there.labels.get(key).cloned().unwrap_or_default();
    match level {
        Level::Target => String::new(),
        Level::Node => there.name().to_string(),
        Level::Label(key) => label(key),
        Level::Depth(depth) if full => levels[..=*depth]
            .iter()
            .map(label)
            .filter(|value| !value.is_empty())
            .collect::<Vec<_>>()
            .join("/"),
        Level::Depth(depth) => levels.get(*depth).map(label).unwrap_or_default(),
    }
}

/// The parts of a domain one level down: a node without that level's label stands for itself. Empty below the last level.
pub(super) fn children(
    levels: &[String],
    level: &Level,
    target: &Target,
    nodes: &[usize],
) -> Option<(Level, Vec<Vec<usize>>)> {
    let first = match level {
        Level::Node => return None,
        Level::Target => 0,
        Level::Depth(depth) => depth + 1,
        Level::Label(_) => levels.len(),
    };
    // Levels that none of these nodes has say nothing about closeness.
    let has = |depth: &usize| {
        let numbers = target.domains(*depth);
        nodes.iter().any(|node| numbers[*node] != NOWHERE)
    };
    let below = (first..levels.len())
        .find(has)
        .map_or(Level::Node, Level::Depth);
    let numbering = Numbering::new(&below, target);
    let mut groups: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for &node in nodes {
        let number = numbering.of(node);
        let alone = if number == NOWHERE { node } else { 0 };
        groups.entry((number, alone)).or_default().push(node);
    }
    Some((below, groups.into_values().collect()))
}

/// Labels that say which domain of the level that was asked for a node is in, wider levels included.
pub(super) fn labels(
    levels: &[String],
    level: &Level,
    target: &Target,
    node: usize,
) -> BTreeMap<String, String> {
    let of = |keys: &[String]| {
        let node = &target.node_list()[node];
        keys.iter()
            .filter_map(|key| Some((key.clone(), node.label(key)?.to_owned())))
            .collect()
    };
    match level {
        Level::Target => BTreeMap::new(),
        Level::Node => {
            let mut all: BTreeMap<String, String> = of(levels);
            all.extend(of(&[HOSTNAME.to_owned()]));
            all
        }
        Level::Label(key) => of(std::slice::from_ref(key)),
        Level::Depth(depth) => of(&levels[..=*depth]),
    }
}

/// The level that was asked for, by itself.
pub(super) fn asked(levels: &[String], topology: &Closeness) -> Level {
    if topology.level == HOSTNAME {
        return Level::Node;
    }
    levels
        .iter()
        .position(|level| *level == topology.level)
        .map_or_else(|| Level::Label(topology.level.clone()), Level::Depth)
}

/// Whether `a` is at least as wide as `b`.
pub(super) fn at_least_as_wide(a: &Level, b: &Level) -> bool {
    let rank = |level: &Level| match level {
        Level::Target => 0,
        Level::Depth(depth) => depth + 1,
        Level::Label(_) => usize::MAX - 1,
        Level::Node => usize::MAX,
    };
    rank(a) <= rank(b)
}
