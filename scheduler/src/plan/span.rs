//! What speaks for one domain beside its own room: in how few domains of the level that was asked for a gang would be there, and how
//! little is left around it, so that small gangs leave whole racks to large ones.

use std::collections::BTreeMap;

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

/// The spans of `want` pods in each domain of a level, by the domain's number. `copies` is by node.
pub(super) fn spans(
    fleet: &Fleet,
    (level, asked): (&Level, &Level),
    target: &Target,
    nodes: &[usize],
    copies: &[i64],
    want: i64,
) -> BTreeMap<usize, Span> {
    let numbering = Numbering::new(level, target);
    let outer = outer(fleet.levels(), level, target, nodes);
    let inner =
        (level != asked && at_least_as_wide(level, asked)).then(|| Numbering::new(asked, target));
    let mut around: BTreeMap<usize, i64> = BTreeMap::new();
    // By domain: the one around it, and its parts. A node that is in none is one by itself.
    let mut rooms: BTreeMap<usize, (usize, Parts)> = BTreeMap::new();
    for &node in nodes {
        let outside = outer.as_ref().map_or(NOWHERE, |outer| outer.of(node));
        *around.entry(outside).or_default() += copies[node];
        let parts = &mut rooms
            .entry(numbering.of(node))
            .or_insert_with(|| (outside, BTreeMap::new()))
            .1;
        if let Some(inner) = &inner {
            let number = inner.of(node);
            let alone = if number == NOWHERE { node } else { 0 };
            *parts.entry((number, alone)).or_default() += copies[node];
        }
    }
    let span = |(outside, parts): (usize, Parts)| Span {
        parts: fewest(parts.into_values().collect(), want),
        around: if outside == NOWHERE {
            0
        } else {
            around[&outside]
        },
    };
    rooms
        .into_iter()
        .map(|(number, room)| (number, span(room)))
        .collect()
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
