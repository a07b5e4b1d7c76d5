//! Topology domains: a tree over the nodes of a target, from the labels of the levels.
//!
//! A domain is known by the values of its level and of all wider ones, for rack `r1` may exist in two zones.

use std::collections::BTreeMap;

use placement_api::kinds::TopologyMode;

use super::Closeness;
use crate::fleet::{HOSTNAME, Target};

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

/// The domains of a level among these nodes, by path. A node without the label of the level is in none.
pub(super) fn domains(
    levels: &[String],
    level: &Level,
    target: &Target,
    nodes: &[usize],
) -> BTreeMap<Vec<String>, Vec<usize>> {
    let mut domains: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    for &node in nodes {
        if let Some(path) = path(levels, level, target, node) {
            domains.entry(path).or_default().push(node);
        }
    }
    domains
}

/// The parts of a domain one level down: a node without that level's label stands for itself. Empty below the last level.
pub(super) fn children(
    levels: &[String],
    level: &Level,
    target: &Target,
    nodes: &[usize],
) -> Option<(Level, Vec<Vec<usize>>)> {
    let below = match level {
        Level::Node => return None,
        Level::Target if levels.is_empty() => Level::Node,
        Level::Target => Level::Depth(0),
        Level::Depth(depth) if depth + 1 < levels.len() => Level::Depth(depth + 1),
        Level::Depth(_) | Level::Label(_) => Level::Node,
    };
    let mut groups: BTreeMap<(Vec<String>, usize), Vec<usize>> = BTreeMap::new();
    for &node in nodes {
        let key = path(levels, &below, target, node)
            .map_or_else(|| (Vec::new(), node + 1), |path| (path, 0));
        groups.entry(key).or_default().push(node);
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
        let labels = &target.node_list()[node].labels;
        keys.iter()
            .filter_map(|key| labels.get(key).map(|value| (key.clone(), value.clone())))
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

fn path(levels: &[String], level: &Level, target: &Target, node: usize) -> Option<Vec<String>> {
    let there = &target.node_list()[node];
    match level {
        Level::Target => Some(Vec::new()),
        Level::Node => Some(vec![there.name().to_string()]),
        Level::Label(key) => there.labels.get(key).map(|value| vec![value.clone()]),
        Level::Depth(depth) => {
            there.labels.get(&levels[*depth])?;
            Some(
                levels[..=*depth]
                    .iter()
                    .map(|key| there.labels.get(key).cloned().unwrap_or_default())
                    .collect(),
            )
        }
    }
}
