//! What speaks for one domain beside its own room: in how few domains of the level that was asked for a gang would be there, and how
//! little is left around it, so that small gangs leave whole racks to large ones.

use std::collections::BTreeMap;

use super::seen::Room;
use super::tree::{Level, Numbering, at_least_as_wide};
use crate::fleet::{Fleet, NOWHERE, Target};

/// Less is better, the fields in the order of their weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// Domains of the asked level that the gang would be in, where it has to be in several.
    pub(super) parts: usize,
    /// Copies left in the next wider domain.
    pub(super) around: i64,
}

/// Copies by the number of a part and, where a node is in none, the node.
type Parts = BTreeMap<(usize, usize), i64>;

/// The spans of `want` pods in these domains of a level, in their order. `copies` is by node.
pub(super) fn spans(
    fleet: &Fleet,
    (level, asked): (&Level, &Level),
    target: &Target,
    nodes: &[usize],
    copies: &[i64],
    want: i64,
    rooms: &[Room],
) -> Vec<Span> {
    let mut around: Vec<i64> = Vec::new();
    let outer = outer(fleet.levels(), level, target, nodes);
    let outside = |node: usize| outer.as_ref().map_or(NOWHERE, |outer| outer.of(node));
    for &node in nodes {
        let number = outside(node);
        if number == NOWHERE {
            continue;
        }
        if around.len() <= number {
            around.resize(number + 1, 0);
        }
        around[number] += copies[node];
    }
    let mut parts: BTreeMap<usize, Parts> = BTreeMap::new();
    if level != asked && at_least_as_wide(level, asked) {
        let (numbering, inner) = (Numbering::new(level, target), Numbering::new(asked, target));
        for &node in nodes {
            let number = inner.of(node);
            // A node that is in none is one by itself.
            let alone = if number == NOWHERE { node } else { 0 };
            let parts = parts.entry(numbering.of(node)).or_default();
            *parts.entry((number, alone)).or_default() += copies[node];
        }
    }
    let span = |room: &Room| Span {
        parts: parts
            .get(&room.number)
            .map_or(0, |parts| fewest(parts.values().copied().collect(), want)),
        around: around.get(outside(room.first)).copied().unwrap_or(0),
    };
    rooms.iter().map(span).collect()
}

/// The narrowest level wider than this one that these nodes have.
fn outer<'a>(
    levels: &[String],
    level: &Level,
    target: &'a Target,
    nodes: &[usize],
) -> Option<Numbering<'a>> {
    let below = match level {
        Level::Node => levels.len(),
        Level::Depth(depth) => *depth,
        Level::Label(_) | Level::Target => 0,
    };
    (0..below)
        .rev()
        .map(|depth| Numbering::new(&Level::Depth(depth), target))
        .find(|outer| nodes.iter().any(|node| outer.of(*node) != NOWHERE))
}

/// How many of these hold so many, the largest first.
fn fewest(mut parts: Vec<i64>, want: i64) -> usize {
    parts.sort_unstable_by(|a, b| b.cmp(a));
    let mut held = 0;
    let short = parts.iter().take_while(|part| {
        let more = held < want;
        held += **part;
        more
    });
    short.count()
}
