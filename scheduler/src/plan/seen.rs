//! A target as a gang sees it: what its nodes and domains hold, and what speaks for each.

use std::collections::BTreeMap;

use placement_api::kinds::Packing;

use super::gang::{Ask, nodes_within};
use super::needs::Needs;
use super::score::Numbers;
use super::span::{Span, spans};
use super::tree::{self, Level, Numbering, asked};
use crate::fleet::{Fleet, NOWHERE, Target, TargetName};

/// A target as a gang sees it.
pub(super) struct Seen<'a> {
    pub(super) name: &'a TargetName,
    pub(super) target: &'a Target,
    pub(super) nodes: Vec<usize>,
    /// Copies by role and node, each role as if it were alone.
    copies: Vec<Vec<i64>>,
    /// Copies of the leading role on nodes that are not to be avoided.
    proper: Vec<i64>,
    /// The domain in which its spares would be, where it asks for some.
    around: Option<Level>,
}

/// What one domain holds, each role as if it were alone.
pub(super) struct Room {
    pub(super) number: usize,
    copies: Vec<i64>,
    proper: i64,
}

impl Room {
    pub(super) fn holds(&self, wants: &[i64]) -> bool {
        self.copies
            .iter()
            .zip(wants)
            .all(|(copies, want)| copies >= want)
    }
}

impl<'a> Seen<'a> {
    pub(super) fn new(
        fleet: &'a Fleet,
        needs: &Needs<'_>,
        ask: &Ask<'_>,
        name: &'a TargetName,
    ) -> Option<Self> {
        let target = fleet.target(name.as_str())?;
        let copies: Vec<Vec<i64>> = needs
            .sets
            .iter()
            .map(|need| need.copies_on(target))
            .collect();
        let mut nodes = nodes_within(target, &ask.within);
        if let (Some(topology), false) =
            (&needs.request.topology, ask.levels.contains(&Level::Target))
        {
            // Who must be in one rack cannot be on a node that is in none.
            nodes.retain(|node| {
                target.node_list()[*node]
                    .labels
                    .contains_key(&topology.level)
            });
        }
        if !copies.is_empty() {
            nodes.retain(|node| copies.iter().any(|copies| copies[*node] > 0));
        }
        let leading = needs.leading();
        let mut proper = copies.get(leading).cloned().unwrap_or_default();
        for node in &nodes {
            if proper.get(*node).is_some_and(|copies| *copies > 0)
                && needs.sets[leading].avoidance(&target.node_list()[*node], fleet) > 0
            {
                proper[*node] = 0;
            }
        }
        Some(Self {
            name,
            target,
            nodes,
            copies,
            proper,
            around: around(fleet, needs),
        })
    }

    pub(super) fn total(&self, set: usize) -> i64 {
        self.copies.get(set).map_or(0, |copies| {
            self.nodes.iter().map(|node| copies[*node]).sum()
        })
    }

    /// Whether the whole target holds each role by itself.
    pub(super) fn may_hold(&self, wants: &[i64]) -> bool {
        wants
            .iter()
            .enumerate()
            .all(|(set, want)| *want == 0 || self.total(set) >= *want)
    }

    /// The domains of a level that have nodes for it, by number.
    pub(super) fn rooms(&self, level: &Level) -> Vec<Room> {
        let numbering = Numbering::new(level, self.target);
        if *level == Level::Target {
            let copies = (0..self.copies.len()).map(|set| self.total(set)).collect();
            let proper = self
                .nodes
                .iter()
                .filter_map(|node| self.proper.get(*node))
                .sum();
            return vec![Room {
                number: 0,
                copies,
                proper,
            }];
        }
        let mut order: Vec<(usize, usize)> = self
            .nodes
            .iter()
            .map(|node| (numbering.of(*node), *node))
            .collect();
        order.sort_unstable();
        let mut rooms: Vec<Room> = Vec::new();
        for (number, node) in order.into_iter().filter(|(number, _)| *number != NOWHERE) {
            if rooms.last().is_none_or(|room| room.number != number) {
                rooms.push(Room {
                    number,
                    copies: vec![0; self.copies.len()],
                    proper: 0,
                });
            }
            let Some(room) = rooms.last_mut() else {
                continue;
            };
            for (sum, copies) in room.copies.iter_mut().zip(&self.copies) {
                *sum += copies[node];
            }
            room.proper += self.proper.get(node).copied().unwrap_or(0);
        }
        rooms
    }

    pub(super) fn nodes_of(&self, level: &Level, number: usize) -> Vec<usize> {
        let numbering = Numbering::new(level, self.target);
        self.nodes
            .iter()
            .copied()
            .filter(|node| numbering.of(*node) == number)
            .collect()
    }

    /// What speaks for the domains of a level beside their room, where closeness was asked for.
    pub(super) fn spans(
        &self,
        fleet: &Fleet,
        needs: &Needs<'_>,
        level: &Level,
        wants: &[i64],
    ) -> BTreeMap<usize, Span> {
        let leading = needs.leading();
        let (Some(topology), Packing::Pack, Some(copies)) = (
            &needs.request.topology,
            needs.packing,
            self.copies.get(leading),
        ) else {
            return BTreeMap::new();
        };
        let asked = asked(fleet.levels(), topology);
        let levels = (level, &asked);
        spans(
            fleet,
            levels,
            self.target,
            &self.nodes,
            copies,
            wants[leading],
        )
    }

    /// What speaks for one of its domains.
    pub(super) fn numbers(
        &self,
        needs: &Needs<'_>,
        room: &Room,
        ask: &Ask<'_>,
        (level, span): (&Level, Span),
    ) -> Numbers {
        let leading = needs.leading();
        let want = ask.wants.get(leading).copied().unwrap_or(0);
        let copies = room.copies.get(leading).copied().unwrap_or(0);
        let width = ask.levels.iter().position(|one| one == level);
        let numbers = Numbers {
            topology: width.and_then(|one| i64::try_from(one).ok()).unwrap_or(0),
            ..Numbers::of_target(needs, self.name, self.target, &ask.wants)
        };
        Numbers {
            spares: self.spares_lacking(needs, level, room.number, want),
            parts: i64::try_from(span.parts).unwrap_or(i64::MAX),
            around: span.around,
            ..numbers.with_room(needs, want, copies, room.proper)
        }
    }

    /// Spare nodes that would be missing beside a gang in a domain, as if its leading role were alone and filled its nodes.
    fn spares_lacking(&self, needs: &Needs<'_>, level: &Level, number: usize, want: i64) -> i64 {
        let Some(around) = &self.around else {
            return 0;
        };
        let wide = if tree::at_least_as_wide(level, around) {
            level
        } else {
            around
        };
        let inside = self.nodes_of(level, number);
        let numbering = Numbering::new(wide, self.target);
        let whole = inside.first().map(|node| numbering.of(*node));
        let near = self
            .nodes
            .iter()
            .filter(|node| Some(numbering.of(**node)) == whole);
        let copies = |node: &usize| self.copies.get(needs.leading()).map_or(0, |all| all[*node]);
        let mut own: Vec<i64> = inside.iter().map(copies).collect();
        own.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = want;
        let used = own.iter().take_while(|copies| {
            let more = left > 0;
            left -= **copies;
            more
        });
        let used = used.count();
        let each = own.first().copied().unwrap_or(0).min(want);
        let fit = near.filter(|node| copies(node) >= each).count();
        let spare = i64::try_from(fit.saturating_sub(used)).unwrap_or(i64::MAX);
        (needs.request.spares - spare).max(0)
    }
}

/// The level of the domain in which spares would be.
fn around(fleet: &Fleet, needs: &Needs<'_>) -> Option<Level> {
    let request = needs.request;
    let asked = || {
        request
            .topology
            .as_ref()
            .map(|one| asked(fleet.levels(), one))
    };
    (request.spares > 0).then(|| asked().unwrap_or(Level::Target))
}
